"""Asterisk as a customer's PBX, with PJSIP: registers with us as a trunk, calls out, is called; audio both ways.

The far side is a carrier on UDP with RTP that we play ourselves, so that its audio is checked packet by packet.
"""

import pytest

from lib import asterisk, audio, sdp
from lib.certificates import Authority
from lib.ports import free_port
from lib.sdp import Sdp
from lib.sip_ua import Ua
from lib.tenant import Tenant
from lib.tone_port import TonePort
from lib.waiting import wait_until

TRUNK = {
    "connection_is_carrier_trunk": "no",
    "connection_sip_registration_username": "acme",
    "connection_sip_registration_password": "s3cret",
    "connection_require_sip_authentication_enabled": "yes",
    "connection_translation_request_user": "[*]",
}
WAYS = {
    "udp": ("UDP", {}),
    "tcp": ("TCP", {"connection_sip_transport_protocol": "TCP"}),
    "tls": (
        "TLS",
        {"connection_sip_transport_protocol": "TLS", "connection_require_encrypted_audio_enabled": "yes"},
    ),
}
ENDS = "connection-sip-registration-expires-datetime"
OUR_HZ = 440


class Site:
    """A switch, a carrier `bob` with a tone to play, and the customer's Asterisk."""

    def __init__(self, own_switch, folder, way, password="s3cret"):
        authority = Authority(folder)
        certificate, key = authority.sign("switch")
        tls_port = free_port()
        self.switch = own_switch(
            "--sip-tls", f"127.0.0.1:{tls_port}", "--tls-certificate", certificate, "--tls-key", key,
            "--tls-trust", authority.certificate,
        )  # fmt: skip
        transport, fields = WAYS[way]
        self.tenant = Tenant(self.switch)
        self.bob, self.rtp = Ua(user="bob"), TonePort(OUR_HZ)
        self.tenant.connection("b", self.bob.hostport)
        self.tenant.connection("p", "", **{**TRUNK, **fields})
        self.tenant.rule("sip:???@*", self.tenant.host("p"))
        self.tenant.rule("sip:1??????????@*", self.tenant.host("b"))
        door = ("127.0.0.1", tls_port) if transport == "TLS" else self.switch.sip_address()
        tls = (authority.certificate, *authority.sign("pbx")) if transport == "TLS" else None
        self.pbx = asterisk.Asterisk(door, self.tenant.host("p"), "acme", password, transport, tls)

    def invites(self, number):
        """bob's INVITE for `number` to the switch."""
        host, port = self.switch.sip_address()
        return self.bob.invite(
            (host, port), f"sip:{number}@{host}:{port}", f"sip:12125550111@{self.tenant.host('b')}",
            sdp.audio("127.0.0.1", self.rtp.port),
        )  # fmt: skip

    def calls(self, number):
        """bob calls through the switch; the answered call, his tone playing."""
        call = self.invites(number)
        self.rtp.play(Sdp(call.expect(200, 20).body).rtp)
        call.ack()
        return call

    def is_called(self, rtp=None):
        """bob answers; the call, his tone playing."""
        leg, rtp = self.bob.incoming(20), rtp or self.rtp
        rtp.play(Sdp(leg.invite.body).rtp)
        leg.answer(sdp.audio("127.0.0.1", rtp.port))
        return leg

    def close(self):
        self.bob.close()
        self.rtp.close()
        self.pbx.stop()


@pytest.fixture
def site(own_switch, tmp_path, request):
    made = []

    def make(way, **more):
        made.append(Site(own_switch, tmp_path, way, **more))
        made[-1].pbx.start()
        return made[-1]

    yield make
    for one in made:
        if not getattr(request.node, "passed", False):
            print(one.pbx.evidence())
        one.close()


def heard_by_bob(one, frequency_hz=asterisk.TONE_HZ, seconds=2):
    """Waits until it is long enough, and asserts that every packet of it came."""
    wait_until("bob hears the PBX", lambda: one.rtp.heard_seconds(frequency_hz, seconds), 20, every=0.2)
    audio.assert_tone(one.rtp.samples(), frequency_hz, seconds)


@pytest.mark.parametrize("way", WAYS)
def test_asterisk_registers_and_calls_both_ways(site, way):
    one = site(way)
    one.pbx.registered()
    call = one.calls("100")
    heard_by_bob(one)
    call.bye()
    audio.assert_tone(one.pbx.heard(), OUR_HZ, 1.8)

    one.rtp.forget()
    one.pbx.call("13105550100")
    leg = one.is_called()
    heard_by_bob(one)
    one.pbx.hang_up()
    leg.expect_bye()
    audio.assert_tone(one.pbx.heard(), OUR_HZ, 1.8)

    one.pbx.unregister()
    wait_until("the registration is taken back", lambda: not one.tenant.read("p")[ENDS], 10)
    one.invites("100").expect(404)


def test_asterisk_with_a_wrong_password_stays_outside(site):
    one = site("udp", password="guessed")
    wait_until("Asterisk was refused", lambda: "Rejected" in one.pbx.say("pjsip show registrations"), 20, every=0.3)
    assert not one.tenant.read("p")[ENDS]
    one.pbx.call("13105550100")
    wait_until("Asterisk gave up", lambda: one.pbx.channels() == 0, 20, every=0.3)
    one.bob.no_call()


def test_keys_pressed_are_heard_by_asterisk_and_its_own_by_the_carrier(site):
    one = site("tls")
    one.pbx.registered()
    call = one.calls("110")
    one.rtp.press("159")
    assert wait_until("Asterisk knows the keys", one.pbx.pressed, 10, every=0.3) == "159"
    call.bye()

    one.pbx.call("13105550100", "keys")
    leg = one.is_called()
    wait_until("the keys", lambda: len(one.rtp.keys()) == 3, 20, every=0.2)
    assert one.rtp.keys() == "15#"
    leg.bye()


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_asterisk_sends_on_comes_back_through_the_same_trunk(site, way):
    """Call forwarding by a PBX: two calls through one trunk, joined in Asterisk, hung up from either end."""
    one = site(way)
    one.pbx.registered()
    other = TonePort(620)
    try:
        for who in ("caller", "callee"):
            call = one.invites("200")
            leg = one.is_called(other)
            one.rtp.play(Sdp(call.expect(200, 20).body).rtp)
            call.ack()
            heard_by_bob(one, 620, 5)
            audio.assert_tone(other.samples(), OUR_HZ, 4)
            first, last = (call, leg) if who == "caller" else (leg, call)
            bye = first.request("BYE")
            last.expect_bye()
            assert one.bob.response_to(bye).status == 200
            one.rtp.forget(), other.forget()
    finally:
        other.close()
