"""Asterisk as a customer's PBX, with PJSIP: registers with us as a trunk, calls out, is called; audio both ways.

The far side is a carrier on UDP with RTP that we play ourselves, so that its audio is checked packet by packet.
"""

import pytest

from lib import audio
from lib.asterisk import Asterisk
from lib.office import ENCRYPTED, OUR_HZ, Office
from lib.sdp import Sdp
from lib.tone_port import TonePort
from lib.waiting import wait_until

ITS_HZ, THIRD_HZ = 1000, 620
ENDS = "connection-sip-registration-expires-datetime"
# Without it the number that was called would only stand in the To header of what it gets.
TRUNK = {"connection_translation_request_user": "[*]"}
WAYS = {"udp": ("UDP", False), "tcp": ("TCP", False), "tls": ("TLS", True)}


@pytest.fixture
def office(own_switch, tmp_path, request):
    one = Office(own_switch, tmp_path)
    yield one
    one.close(told=not getattr(request.node, "passed", False))


def pbx_of(office, way, **more):
    transport, srtp = WAYS[way]
    fields = {**TRUNK, **(ENCRYPTED if srtp else {})}
    return office.phone("p", Asterisk, ITS_HZ, transport=transport, srtp=srtp, fields=fields, numbers="???", **more)


@pytest.mark.parametrize("way", WAYS)
def test_asterisk_registers_and_calls_both_ways(office, way):
    pbx = pbx_of(office, way)
    call = office.calls("100")
    office.hears(ITS_HZ)
    call.bye()
    audio.assert_tone(pbx.heard(), OUR_HZ, 1.8, slips=audio.PEER_SLIPS)

    pbx.call("13105550100")
    leg = office.is_called()
    office.hears(ITS_HZ)
    pbx.hang_up()
    leg.expect_bye()
    audio.assert_tone(pbx.heard(), OUR_HZ, 1.8, slips=audio.PEER_SLIPS)

    pbx.unregister()
    wait_until("the registration is taken back", lambda: not office.tenant.read("p")[ENDS], 10)
    office.invites("100").expect(404)


def test_asterisk_with_a_wrong_password_stays_outside(office):
    pbx = pbx_of(office, "udp", password="guessed")
    wait_until("Asterisk was refused", lambda: "Rejected" in pbx.say("pjsip show registrations"), 20, every=0.3)
    assert not office.tenant.read("p")[ENDS]
    pbx.call("13105550100")
    wait_until("Asterisk gave up", lambda: pbx.channels() == 0, 20, every=0.3)
    office.bob.no_call()


def test_keys_pressed_are_heard_by_asterisk_and_its_own_by_the_carrier(office):
    pbx = pbx_of(office, "tls")
    call = office.calls("110")
    office.rtp.press("159")
    assert wait_until("Asterisk knows the keys", pbx.pressed, 10, every=0.3) == "159"
    call.bye()

    pbx.call("13105550100", "keys")
    leg = office.is_called()
    wait_until("the keys", lambda: len(office.rtp.keys()) == 3, 20, every=0.2)
    assert office.rtp.keys() == "15#"
    leg.bye()


def test_a_pbx_with_a_law_and_a_carrier_with_mu_law(office):
    """The relay recodes, and what a foreign coder made of the tone is the tone in the other law."""
    office.tenant.change("b", connection_pcmu_only_enabled="yes")
    pbx = pbx_of(office, "udp", codecs="alaw")
    pbx.call("13105550100")
    leg = office.is_called()
    assert 0 in Sdp(leg.invite.body).payloads and 8 not in Sdp(leg.invite.body).payloads
    office.hears(ITS_HZ)
    leg.bye()
    audio.assert_tone(pbx.heard(), OUR_HZ, 1.8, slips=audio.PEER_SLIPS)


@pytest.mark.parametrize("way", ["udp", *(pytest.param(way, marks=pytest.mark.long) for way in ("tcp", "tls"))])
def test_asterisk_is_found_after_a_crash_of_the_switch(office, way):
    """Over UDP where it registered from; its stream is gone, so over TCP and TLS the switch opens one to its Contact."""
    pbx = pbx_of(office, way)
    wait_until("the registration is in the store", lambda: office.tenant.read("p")[ENDS], 10)
    office.switch.kill()
    office.switch.start()
    call = office.calls("100")
    office.hears(ITS_HZ, 1)
    call.bye()
    pbx.call("13105550100")
    leg = office.is_called()
    office.hears(ITS_HZ, 1)
    leg.bye()


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_asterisk_sends_on_comes_back_through_the_same_trunk(office, way):
    """Call forwarding by a PBX: two calls through one trunk, joined in Asterisk, hung up from either end."""
    pbx_of(office, way)
    other = TonePort(THIRD_HZ)
    try:
        for who in ("caller", "callee"):
            call = office.invites("200")
            leg = office.is_called(other)
            office.rtp.play(Sdp(call.expect(200, 20).body).rtp)
            call.ack()
            office.hears(THIRD_HZ, 5)
            audio.assert_tone(other.samples(), OUR_HZ, 4, slips=audio.PEER_SLIPS)
            first, last = (call, leg) if who == "caller" else (leg, call)
            bye = first.request("BYE")
            last.expect_bye()
            assert office.bob.response_to(bye).status == 200
            other.forget()
    finally:
        other.close()
