"""baresip as a phone: SRTP that it insists on, hold and resume, keys, Opus from end to end; audio both ways."""

import pytest

from lib import audio, sdp
from lib.baresip import Baresip
from lib.office import ENCRYPTED, OUR_HZ, Office
from lib.sdp import Sdp
from lib.waiting import wait_until

ITS_HZ, OTHER_HZ = 1000, 620
# Its library of this version (libre 1.1) gives up when any challenge is not for MD5, wherever it stands.
OLD_DIGEST = ("--digest-algorithms", "MD5")


@pytest.fixture
def office(own_switch, tmp_path, request):
    one = Office(own_switch, tmp_path, *OLD_DIGEST)
    yield one
    one.close(told=not getattr(request.node, "passed", False))


def phone_of(office, name="p", tone_hz=ITS_HZ, **more):
    return office.phone(name, Baresip, tone_hz, **more)


def test_srtp_that_the_phone_insists_on(office):
    phone = phone_of(office, transport="TLS", fields=ENCRYPTED, media="srtp-mand")
    call = office.calls("p")
    office.hears(ITS_HZ)
    call.bye()
    phone.await_event("CALL_CLOSED")
    audio.assert_tone(phone.heard(), OUR_HZ, 1.8, slips=audio.PEER_SLIPS)

    phone.dial(office.number())
    leg = office.is_called()
    office.hears(ITS_HZ)
    phone.say("hangup")
    leg.expect_bye()
    phone.await_event("CALL_CLOSED")
    audio.assert_tone(phone.heard(), OUR_HZ, 1.8, slips=audio.PEER_SLIPS)


def test_a_phone_in_the_clear_is_refused_where_srtp_is_required(office):
    phone = phone_of(office, fields=ENCRYPTED)
    phone.dial(office.number())
    assert "488" in phone.await_event("CALL_CLOSED")["param"]
    office.bob.no_call()


@pytest.mark.parametrize("media", [None, "srtp-mand"])
def test_hold_resume_and_keys(office, media):
    phone = phone_of(office, media=media, fields=ENCRYPTED if media else {})
    phone.dial(office.number())
    leg = office.is_called()
    office.hears(ITS_HZ, 1)

    phone.say("hold")
    held = leg.expect("INVITE")
    assert Sdp(held.body).direction == "sendonly"
    leg.reply(held, 200, sdp.audio("127.0.0.1", office.rtp.port, version=2, direction="recvonly", event=office.rtp.event))
    leg.expect("ACK")
    office.rtp.quiet()
    office.rtp.forget()

    phone.say("resume")
    resumed = leg.expect("INVITE")
    assert Sdp(resumed.body).direction == "sendrecv"
    assert Sdp(resumed.body).rtp == Sdp(held.body).rtp, "the relay's port stays"
    leg.reply(resumed, 200, sdp.audio("127.0.0.1", office.rtp.port, version=3, event=office.rtp.event))
    leg.expect("ACK")
    office.rtp.play(Sdp(resumed.body).rtp)
    office.hears(ITS_HZ, 1)

    phone.press("15#")
    wait_until("the keys", lambda: len(office.rtp.keys()) == 3, 10)
    assert office.rtp.keys() == "15#"
    leg.bye()
    phone.await_event("CALL_CLOSED")


def test_opus_passes_from_end_to_end(office):
    """Between two phones, one with SRTP and one with RTP: the relay opens and seals what it does not understand."""
    one = phone_of(office, "p", ITS_HZ, codec="opus", media="srtp-mand", fields=ENCRYPTED)
    other = phone_of(office, "q", OTHER_HZ, codec="opus")
    one.dial(office.number("q"))
    for phone in (one, other):
        phone.await_event("CALL_ESTABLISHED")
    grown = lambda phone: phone.log() and len(phone.heard()) > 2.5 * phone.rate_hz  # noqa: E731
    for phone in (one, other):
        wait_until("a recording of 2.5 s", lambda: grown(phone), 20, every=0.3)
    other.say("hangup")
    for phone in (one, other):
        phone.await_event("CALL_CLOSED")
    audio.assert_tone(one.heard(), OTHER_HZ, 2, one.rate_hz, slips=audio.PEER_SLIPS)
    audio.assert_tone(other.heard(), ITS_HZ, 2, other.rate_hz, slips=audio.PEER_SLIPS)
