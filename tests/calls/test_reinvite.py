"""Changes of a running call: hold and resume from either side, late offers, glare, UPDATE."""

import pytest

from lib import sdp
from lib.sdp import Sdp

A, B = 4000, 5000


def up(two):
    return two.established(sdp.audio("127.0.0.1", A), sdp.audio("127.0.0.1", B))


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_hold_and_resume(carriers, who):
    two = carriers()
    call, leg = up(two)
    holder, held = (call, leg) if who == "caller" else (leg, call)
    for version, asked, answered in ((2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")):
        holder.reinvite(sdp.audio("127.0.0.1", A, version=version, direction=asked))
        again = held.expect("INVITE")
        assert Sdp(again.body).direction == asked
        held.reply(again, 200, sdp.audio("127.0.0.1", B, version=version, direction=answered))
        assert Sdp(holder.expect(200).body).direction == answered
        holder.ack()
        held.expect("ACK")
    two.hang_up(call, leg)


def test_the_origin_line_of_a_changed_offer_counts_up_by_one(carriers):
    """RFC 3264 section 8: same session, version one higher; some phones ignore an offer that jumps."""
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", A))
    leg = two.bob.incoming()
    session, version = Sdp(leg.invite.body).origin
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", B))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    call.reinvite(sdp.audio("127.0.0.1", A, version=40, direction="sendonly"))
    again = leg.expect("INVITE")
    assert Sdp(again.body).origin == (session, version + 1)
    leg.reply(again, 200, sdp.audio("127.0.0.1", B, version=2, direction="recvonly"))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_a_refused_change_leaves_the_call_as_it_was(carriers):
    two = carriers()
    call, leg = up(two)
    call.reinvite(sdp.audio("127.0.0.1", A, version=2, direction="inactive"))
    leg.reply(leg.expect("INVITE"), 488)
    leg.expect("ACK")
    call.expect(488)
    two.hang_up(call, leg)


def test_late_offer(carriers):
    """An INVITE without SDP: the offer comes in the 200, the answer in the ACK."""
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    assert leg.invite.body == b""
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", B))
    offer = Sdp(call.expect(200).body)
    assert offer.port != B
    call.ack(sdp.audio("127.0.0.1", A))
    answer = Sdp(leg.expect("ACK").body)
    assert answer.port not in (A, offer.port)
    two.hang_up(call, leg)


def test_late_offer_in_a_reinvite(carriers):
    two = carriers()
    call, leg = up(two)
    call.reinvite()
    again = leg.expect("INVITE")
    assert again.body == b""
    leg.reply(again, 200, sdp.audio("127.0.0.1", B, version=2))
    assert Sdp(call.expect(200).body).port != B
    call.ack(sdp.audio("127.0.0.1", A, version=2))
    assert Sdp(leg.expect("ACK").body).port != A
    two.hang_up(call, leg)


def test_glare(carriers):
    """Both sides change the call at once: a side that has an offer of ours open hears 491 (RFC 3261 section 14.2)."""
    two = carriers()
    call, leg = up(two)
    call.reinvite(sdp.audio("127.0.0.1", A, version=2, direction="sendonly"))
    pending = leg.expect("INVITE")
    leg_invite = leg.request("INVITE", body=sdp.audio("127.0.0.1", B, version=2, direction="inactive"))
    refused = two.bob.response_to(leg_invite)
    assert refused.status == 491
    two.bob.send(leg.ack_for_failure(refused), leg.destination)
    leg.reply(pending, 200, sdp.audio("127.0.0.1", B, version=2, direction="recvonly"))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_update_changes_the_call_without_an_ack(carriers):
    two = carriers()
    call, leg = up(two)
    update = call.request("UPDATE", body=sdp.audio("127.0.0.1", A, version=2, direction="sendonly"))
    again = leg.expect("UPDATE")
    assert Sdp(again.body).direction == "sendonly"
    leg.reply(again, 200, sdp.audio("127.0.0.1", B, version=2, direction="recvonly"))
    response = two.alice.response_to(update)
    assert response.status == 200 and Sdp(response.body).direction == "recvonly"
    two.hang_up(call, leg)


def test_info_passes_with_its_body(carriers):
    two = carriers()
    call, leg = up(two)
    info = call.request("INFO", body=b"Signal=5\r\nDuration=160\r\n", content_type="application/dtmf-relay")
    got = leg.expect("INFO")
    assert got.body == b"Signal=5\r\nDuration=160\r\n" and got.get("Content-Type") == "application/dtmf-relay"
    leg.reply(got, 200)
    assert two.alice.response_to(info).status == 200
    two.hang_up(call, leg)


def test_a_transfer_within_a_call_is_not_allowed_and_leaves_the_call_up(carriers):
    two = carriers()
    call, leg = up(two)
    refer = call.request("REFER", headers=[("Refer-To", "<sip:elsewhere@127.0.0.1>")])
    refused = two.alice.response_to(refer)
    assert refused.status == 405 and "REFER" not in refused.get("Allow")
    two.hang_up(call, leg)


def test_the_remote_target_follows_the_newest_contact(carriers, ua):
    """A re-INVITE from a phone that moved: what we send next goes to the new Contact."""
    two = carriers()
    call, leg = up(two)
    moved = ua(user="alice-moved")
    request = call.build("INVITE", sdp.audio("127.0.0.1", A, version=2), contact=moved.contact)
    call.invite = two.alice.send(request, two.door)
    leg.reply(leg.expect("INVITE"), 200, sdp.audio("127.0.0.1", B, version=2))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    bye = leg.request("BYE")
    call.ua = moved
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200
