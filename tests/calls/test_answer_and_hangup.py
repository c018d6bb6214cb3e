"""The plain call: ringing, answer, hang-up from either side."""

from lib import sdp
from lib.sip_message import host_of, uri_of
from lib.waiting import wait_until


def test_ringing_and_answer_reach_the_caller(carriers):
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_callee_hangs_up(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    bye = leg.request("BYE")
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200


def test_both_sides_hang_up_at_once(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    one, other = call.request("BYE"), leg.request("BYE")
    assert two.alice.response_to(one).status in (200, 481)
    assert two.bob.response_to(other).status in (200, 481)


def test_the_two_legs_share_no_identifier(carriers):
    """A B2BUA makes a dialog of its own: the far side learns neither Call-ID nor tag nor address of the caller."""
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    seen = leg.invite.text
    assert leg.invite.call_id != call.call_id
    assert call.call_id not in seen
    assert len(leg.invite.all("Via")) == 1
    assert f":{two.alice.port}" not in seen
    assert host_of(uri_of(leg.invite.get("Contact"))) == "127.0.0.1"
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_counters_of_the_connections_follow_the_call(carriers):
    two = carriers()
    before = two.tenant.read("a")["active-calls-orig-since-startup"]
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    assert two.tenant.read("a")["active-calls-orig-current"] == 1
    assert two.tenant.read("b")["active-calls-term-current"] == 1
    assert two.tenant.read("a")["active-calls-orig-since-startup"] == before + 1
    assert two.tenant.read("b")["active-calls-term-since-startup"] == before + 1
    bye = call.request("BYE")
    leg.expect_bye()
    two.alice.response_to(bye)
    wait_until("the counters are back", lambda: two.tenant.read("b")["active-calls-term-current"] == 0)
