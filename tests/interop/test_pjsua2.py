"""PJSIP driven from Python: reliable provisional responses and session timers that it insists on, SRTP over TLS, hold,
keys, ICE that we do not speak; audio both ways."""

import pytest

from lib import audio, sdp
from lib.office import ENCRYPTED, OUR_HZ, Office
from lib.pjsua2 import Pjsua2
from lib.sdp import Sdp
from lib.waiting import wait_until

ITS_HZ = 1000
ACTIVE, HELD = 1, 2  # PJSUA_CALL_MEDIA_ACTIVE, …_LOCAL_HOLD


@pytest.fixture
def office(own_switch, tmp_path, request):
    one = Office(own_switch, tmp_path)
    yield one
    one.close(told=not getattr(request.node, "passed", False))


def phone(office, **more):
    return office.phone("p", Pjsua2, ITS_HZ, **more)


def hears(office, seconds=2):
    """Its null sound device is a thread with a clock, which is late now and then on a busy machine."""
    office.hears(ITS_HZ, seconds, slips=audio.PEER_SLIPS)


def test_it_calls_and_is_called_over_tls_with_srtp(office):
    one = phone(office, transport="TLS", fields=ENCRYPTED, srtp="MANDATORY")
    call = office.calls("p")
    one.await_event("state", state="CONFIRMED")
    hears(office)
    call.bye()
    one.await_event("state", state="DISCONNECTED")

    one.say("call", uri=office.number())
    leg = office.is_called()
    hears(office)
    office.rtp.press("15#")
    for key in "15#":
        one.await_event("key", digit=key)
    one.say("hang_up")
    leg.expect_bye()
    one.stop()
    audio.assert_tone(one.heard()[: 2 * audio.RATE_HZ], OUR_HZ, 1.8, slips=audio.PEER_SLIPS)


def test_it_insists_on_reliable_provisional_responses_as_caller(office):
    """RFC 3262: with Require: 100rel each 18x of ours has an RSeq, and its PRACK is answered."""
    one = phone(office, prack="MANDATORY")
    one.say("call", uri=office.number())
    leg = office.bob.incoming()
    leg.reply(leg.invite, 180)
    one.await_event("state", state="EARLY", code=180)
    (ringing,) = wait_until("the 180", lambda: [text for text in one.messages() if text.startswith("SIP/2.0 180")], 5)
    assert "\nRSeq:" in ringing and "100rel" in ringing
    office.rtp.play(Sdp(leg.invite.body).rtp)
    leg.answer(sdp.audio("127.0.0.1", office.rtp.port))
    hears(office)
    leg.bye()
    one.await_event("state", state="DISCONNECTED", code=200)


def test_it_insists_on_reliable_provisional_responses_as_callee(office):
    one = phone(office, prack="MANDATORY", rings=True)
    call = office.invites("p")
    call.expect(180)
    one.say("answer", status=200)
    office.rtp.play(Sdp(call.expect(200).body).rtp)
    call.ack()
    one.await_event("state", state="CONFIRMED")
    hears(office)
    call.bye()


@pytest.mark.parametrize("timer", ["REQUIRED", "ALWAYS"])
def test_it_insists_on_session_timers(office, timer):
    """RFC 4028 with 90 seconds, the shortest there is; who refreshes is agreed on in the 200."""
    one = phone(office, timer=timer)
    one.say("call", uri=office.number())
    leg = office.is_called()
    one.await_event("state", state="CONFIRMED")
    answers = lambda: [text for text in one.messages() if text.startswith("SIP/2.0 200") and "INVITE" in text]  # noqa: E731
    (answer,) = wait_until("the 200", answers, 5)
    assert "Session-Expires: 90" in answer
    hears(office)
    leg.bye()


@pytest.mark.long
def test_the_session_timer_is_refreshed(office):
    """Two refreshes of a session of 90 seconds, and audio without a gap through them."""
    one = phone(office, timer="ALWAYS")
    one.say("call", uri=office.number())
    leg = office.is_called()
    one.await_event("state", state="CONFIRMED")
    hears(office, 100)
    refreshes = [text for text in one.messages() if text.startswith(("UPDATE", "INVITE"))]
    assert refreshes and all("Session-Expires: 90" in text for text in refreshes)
    leg.bye()
    one.await_event("state", state="DISCONNECTED", code=200)


def test_hold_resume_and_keys(office):
    one = phone(office)
    one.say("call", uri=office.number())
    leg = office.is_called()
    hears(office, 1)
    one.await_event("media", status=ACTIVE)
    for command, direction, back, status in (
        ("hold", "sendonly", "recvonly", HELD),
        ("resume", "sendrecv", "sendrecv", ACTIVE),
    ):
        one.say(command)
        again = leg.expect("INVITE")
        assert Sdp(again.body).direction == direction
        leg.reply(again, 200, sdp.audio("127.0.0.1", office.rtp.port, version=2, direction=back, event=office.rtp.event))
        leg.expect("ACK")
        one.await_event("media", status=status)
    hears(office, 1)
    one.say("press", keys="15#")
    wait_until("the keys", lambda: len(office.rtp.keys()) == 3, 10)
    assert office.rtp.keys() == "15#"
    leg.bye()


def test_it_is_held_by_the_far_end(office):
    one = phone(office)
    call = office.calls("p")
    hears(office, 1)
    for direction, back in (("sendonly", "recvonly"), ("sendrecv", "sendrecv")):
        call.reinvite(sdp.audio("127.0.0.1", office.rtp.port, version=2, direction=direction))
        assert Sdp(call.expect(200).body).direction == back
        call.ack()
    hears(office, 1)
    call.bye()
    one.await_event("state", state="DISCONNECTED", code=200)


def test_ice_that_it_offers_is_left_alone(office):
    """We do not speak ICE: no candidate of its passes on, none of ours is invented, and it falls back to the addresses."""
    one = phone(office, ice=True)
    one.say("call", uri=office.number())
    leg = office.is_called()
    assert "candidate" not in leg.invite.body.decode() and "ice-" not in leg.invite.body.decode()
    one.await_event("state", state="CONFIRMED")
    hears(office)
    leg.bye()
