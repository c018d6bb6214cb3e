"""Kamailio as a carrier: registration and every INVITE with digest, Record-Route, over UDP, TCP and TLS; audio both ways.

And the same carrier with rtpengine in the path of its media, with RTP and with SRTP towards us.
"""

import pytest

from lib import audio, sdp
from lib.certificates import Authority
from lib.kamailio import carrier as kamailio_carrier
from lib.ports import free_port
from lib.rtpengine import Rtpengine
from lib.sdp import Sdp
from lib.sip_ua import Ua
from lib.tenant import Tenant
from lib.tone_port import TonePort
from lib.waiting import wait_until

CUSTOMER_HZ, GATEWAY_HZ = 440, 1000
ENDS = "connection-sip-registration-expires-datetime"
REGISTERED = "connection-sip-registration-datetime"
REALM = "carrier.example.net"
TRUNK = {
    "connection_sip_authenticate_as_client_enabled": "yes",
    "connection_sip_registration_username": "trunk",
    "connection_sip_registration_password": "s3cret",
    "connection_sip_registration_realm": REALM,
}


class Line:
    """A customer `alice` behind the switch, and a gateway `bob` behind the carrier; both play tones."""

    def __init__(self, switch, folder, transport, tls=None, rtpengine=None, profile="RTP/AVP", granted=600,
                 **fields):  # fmt: skip
        self.switch, self.tenant = switch, Tenant(switch)
        self.alice, self.bob = Ua(user="alice"), Ua(user="bob")
        self.near, self.far = TonePort(CUSTOMER_HZ), TonePort(GATEWAY_HZ)
        self.rtpengine = rtpengine
        self.carrier = kamailio_carrier(
            folder, "trunk", "s3cret", REALM, self.bob.port, tls=tls, rtpengine=rtpengine, profile=profile,
            granted=granted,
        ).start()
        port = self.carrier.tls_port if transport == "TLS" else self.carrier.port
        self.tenant.connection("a", self.alice.hostport)
        self.tenant.connection("k", f"127.0.0.1:{port}", connection_sip_transport_protocol=transport, **TRUNK, **fields)
        self.tenant.rule("sip:1??????????@*", self.tenant.host("k"))
        self.tenant.rule("sip:trunk@*", self.tenant.host("a"))

    def registered(self):
        wait_until("the trunk is registered", lambda: self.tenant.read("k")[ENDS], 10)
        return self

    def out(self):
        """alice calls bob: (her call, his leg), both playing."""
        host, port = self.switch.sip_address()
        call = self.alice.invite((host, port), f"sip:13105550100@{host}:{port}", f"sip:2@{self.tenant.host('a')}",
                                 sdp.audio("127.0.0.1", self.near.port))  # fmt: skip
        leg = self.bob.incoming()
        self._talk(call, self.near, leg, self.far)
        return call, leg

    def into(self):
        """bob calls alice by way of where the trunk registered: (his call, her leg), both playing."""
        call = self.knock()
        leg = self.alice.incoming()
        self._talk(call, self.far, leg, self.near)
        return call, leg

    def knock(self):
        """bob's INVITE to the carrier for the trunk."""
        address = (self.carrier.host, self.carrier.port)
        return self.bob.invite(address, f"sip:trunk@{self.carrier.address}", f"sip:2@{self.tenant.host('k')}",
                               sdp.audio("127.0.0.1", self.far.port))  # fmt: skip

    def _talk(self, call, caller, leg, callee):
        callee.play(Sdp(leg.invite.body).rtp)
        leg.reply(leg.invite, 180)
        call.expect(180)
        leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", callee.port))
        caller.play(Sdp(call.expect(200).body).rtp)
        call.ack()
        leg.expect("ACK")

    def hear_each_other(self, seconds=1.5):
        for port in (self.near, self.far):
            port.forget()
        for port, frequency_hz in ((self.near, GATEWAY_HZ), (self.far, CUSTOMER_HZ)):
            wait_until(
                f"{frequency_hz} Hz", lambda p=port, f=frequency_hz: p.heard_seconds(f, seconds), 15, every=0.2
            )
            audio.assert_tone(port.samples(), frequency_hz, seconds)

    def hang_up(self, first, last):
        bye = first.request("BYE")
        last.expect_bye()
        assert first.ua.response_to(bye).status == 200

    def evidence(self):
        return self.carrier.evidence() + (self.rtpengine.evidence() if self.rtpengine else "")

    def close(self):
        for one in (self.alice, self.bob, self.near, self.far):
            one.close()
        self.carrier.stop()


@pytest.fixture
def line(switch, own_switch, tmp_path, request):
    """A factory: line("TCP"); over TLS the switch is one of its own that trusts the carrier's authority."""
    made, engines = [], []

    def make(transport="UDP", profile=None, trusted=True, **fields):
        tls, used = None, switch
        if transport == "TLS":
            authority, other = Authority(tmp_path), Authority(tmp_path, "other")
            tls = authority.sign("carrier")
            own = Authority(tmp_path, "own").sign("switch")
            trust = authority if trusted else other
            used = own_switch("--sip-tls", f"127.0.0.1:{free_port()}", "--tls-certificate", own[0], "--tls-key", own[1],
                              "--tls-trust", trust.certificate)  # fmt: skip
        if profile:
            engines.append(Rtpengine(tmp_path).start())
        made.append(Line(used, tmp_path, transport, tls, engines[-1] if profile else None, profile, **fields))
        return made[-1]

    yield make
    for one in made:
        if not getattr(request.node, "passed", False):
            print(one.evidence())
        one.close()
    for one in engines:
        one.stop()


@pytest.mark.parametrize("transport", ["UDP", "TCP", "TLS"])
def test_a_carrier_that_wants_registration_and_digest_and_stays_in_the_path(line, transport):
    one = line(transport).registered()
    call, leg = one.out()
    assert leg.invite.source == (one.carrier.host, one.carrier.port)
    assert leg.invite.get("Proxy-Authorization") is None
    one.hear_each_other()
    one.hang_up(leg, call)
    call, leg = one.into()
    one.hear_each_other()
    one.hang_up(leg, call)

    one.tenant.api.delete(f"/domains/{one.tenant.domain}/connections/sip%2A%40{one.tenant.host('k')}")
    refused = lambda: one.bob.response_to(one.knock().invite).status == 404  # noqa: E731
    wait_until("Kamailio has forgotten the trunk", refused, 10, every=0.2)


def test_a_reinvite_of_either_side_follows_the_record_route(line):
    one = line("TCP").registered()
    call, leg = one.out()
    for asker, asked, port in ((call, leg, one.near), (leg, call, one.far)):
        for direction, back in (("sendonly", "recvonly"), ("sendrecv", "sendrecv")):
            again = asker.offer(asked, sdp.audio("127.0.0.1", port.port, version=2, direction=direction))
            assert Sdp(again.body).direction == direction
            other = one.far if port is one.near else one.near
            asked.reply(again, 200, sdp.audio("127.0.0.1", other.port, version=2, direction=back))
            asker.expect(200)
            asker.ack()
            asked.expect("ACK")
    one.hear_each_other()
    one.hang_up(call, leg)


@pytest.mark.long
@pytest.mark.parametrize("transport", ["UDP", "TCP", "TLS"])
def test_the_registration_is_kept_and_comes_back_after_the_carrier_has_forgotten_it(line, transport):
    """Granted 40 seconds, so refreshed every ten; a carrier that starts anew knows nobody until the next refresh."""
    one = line(transport, granted=40).registered()
    first = one.tenant.read("k")[REGISTERED]
    wait_until("a refresh", lambda: one.tenant.read("k")[REGISTERED] > first, 40, every=0.5)
    one.carrier.stop()
    one.carrier.start()
    one.knock().expect(404)
    known = lambda: one.bob.response_to(one.knock().invite, provisional=True).status != 404  # noqa: E731
    wait_until("the carrier knows the trunk again", known, 60, every=1)


def test_a_carrier_with_a_foreign_certificate_gets_nothing(line):
    one = line("TLS", trusted=False)
    host, port = one.switch.sip_address()
    one.alice.invite((host, port), f"sip:13105550100@{host}:{port}", f"sip:2@{one.tenant.host('a')}").expect(503, 15)
    one.bob.no_call(0.2)
    assert not one.tenant.read("k")[ENDS]


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/SAVP"])
def test_rtpengine_in_front_of_us(line, profile):
    """Its relay rewrites what ours wrote; with RTP/SAVP it speaks SRTP with us and RTP with the carrier's gateway."""
    secure = {"connection_require_encrypted_audio_enabled": "yes"} if profile == "RTP/SAVP" else {}
    one = line(profile=profile, **secure).registered()
    ports = range(one.rtpengine.first, one.rtpengine.last + 1)
    call, leg = one.out()
    assert Sdp(leg.invite.body).port in ports, "the gateway sends to rtpengine"
    one.hear_each_other()
    one.near.press("7")
    wait_until("the key has passed both relays", lambda: one.far.keys() == "7", 10)
    one.hang_up(leg, call)
    call, leg = one.into()
    assert Sdp(call.response.body).port in ports
    one.hear_each_other()
    one.hang_up(call, leg)
