"""Before the answer: ringing, early media, reliable provisional responses, several early dialogs."""

import secrets

from lib import sdp
from lib.sdp import Sdp
from lib.sip_message import param


def test_early_media_passes_with_a_relay_of_our_own(carriers):
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 183, sdp.audio("127.0.0.1", 5000))
    early = Sdp(call.expect(183).body)
    assert early.port != 5000
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    assert Sdp(call.expect(200).body).port == early.port
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_reliable_ringing_is_acknowledged_to_the_callee(carriers):
    """100rel towards the callee: its 18x with Require gets a PRACK, without the caller knowing of it."""
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    assert "100rel" in leg.invite.tokens("Supported")
    leg.reply(leg.invite, 183, sdp.audio("127.0.0.1", 5000), headers=[("Require", "100rel"), ("RSeq", "7001")])
    prack = leg.expect("PRACK")
    assert prack.get("RAck").split() == ["7001", str(leg.invite.cseq), "INVITE"]
    leg.reply(prack, 200)
    assert "100rel" not in call.expect(183).tokens("Require"), "the caller did not offer it"
    leg.reply(leg.invite, 200)
    assert Sdp(call.expect(200).body).port
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_a_caller_that_requires_reliable_ringing_gets_it(carriers):
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000), headers=[("Require", "100rel"), ("Supported", "100rel")])
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    ringing = call.expect(180)
    assert "100rel" in ringing.tokens("Require")
    rack = f"{ringing.get('RSeq')} {call.invite.cseq} INVITE"
    assert call.ask("PRACK", headers=[("RAck", rack)]).status == 200
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_unacknowledged_reliable_ringing_is_repeated(carriers):
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000), headers=[("Require", "100rel")])
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    ringing = call.expect(180)
    before = two.alice.repeats
    two.alice._collect(1.0)
    two.alice._collect(1.0)
    assert two.alice.repeats > before
    assert call.ask("PRACK", headers=[("RAck", f"{ringing.get('RSeq')} {call.invite.cseq} INVITE")]).status == 200
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_a_fork_behind_the_carrier_answers_with_another_tag(carriers):
    """Two phones ring behind carrier B; the second answers. Caller and callee end up in one call."""
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    first_tag = param(leg.local, "tag")
    leg.local = leg.local.replace(first_tag, secrets.token_hex(4))
    leg.reply(leg.invite, 183, sdp.audio("127.0.0.1", 5002))
    call.expect(183)
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5002))
    call.expect(200)
    call.ack()
    assert param(leg.expect("ACK").get("To"), "tag") == param(leg.local, "tag")
    two.hang_up(call, leg)


def test_a_second_answer_of_a_fork_is_hung_up(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    winner = leg.local
    leg.local = winner.replace(param(winner, "tag"), "latecomer")
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5002))
    assert param(leg.expect("ACK").get("To"), "tag") == "latecomer"
    bye = leg.expect("BYE")
    assert param(bye.get("To"), "tag") == "latecomer"
    leg.reply(bye, 200)
    leg.local = winner
    two.hang_up(call, leg)
