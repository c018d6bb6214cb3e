"""A switch, phones and PBXs that register with it as connections of their own, and a carrier `bob` that we play ourselves."""

from . import sdp
from .certificates import Authority
from .ports import free_port
from .sdp import Sdp
from .sip_ua import Ua
from .tenant import Tenant
from .tone_port import TonePort
from .waiting import wait_until

OUR_HZ = 440
TRUNK = {
    "connection_is_carrier_trunk": "no",
    "connection_sip_registration_username": "acme",
    "connection_sip_registration_password": "s3cret",
    "connection_require_sip_authentication_enabled": "yes",
}
ENCRYPTED = {"connection_require_encrypted_audio_enabled": "yes"}


class Office:
    """bob is on UDP with RTP, his tone has 440 Hz; eleven digits lead to him, a phone's name to the phone. More options
    of the switch as arguments."""

    def __init__(self, own_switch, folder, *options):
        self.folder, self.phones = folder, []
        self.authority = Authority(folder)
        certificate, key = self.authority.sign("switch")
        self.tls_port = free_port()
        self.switch = own_switch(
            "--sip-tls", f"127.0.0.1:{self.tls_port}", "--tls-certificate", certificate, "--tls-key", key,
            "--tls-trust", self.authority.certificate, *options,
        )  # fmt: skip
        self.tenant = Tenant(self.switch)
        self.bob, self.rtp = Ua(user="bob"), TonePort(OUR_HZ)
        self.tenant.connection("b", self.bob.hostport)
        self.tenant.rule("sip:1??????????@*", self.tenant.host("b"))

    def phone(self, name, kind, tone_hz, transport="UDP", fields=(), numbers=None, password="s3cret", **more):
        """A peer of that class (`Asterisk`, `Baresip`, `Pjsua2`) that is registered as connection `name`, and called by
        that name or by `numbers`, a pattern. With another `password` than ours it is started only."""
        self.tenant.connection(name, "", **{**TRUNK, "connection_sip_transport_protocol": transport, **dict(fields)})
        self.tenant.rule(f"sip:{numbers or name}@*", self.tenant.host(name))
        door = ("127.0.0.1", self.tls_port) if transport == "TLS" else self.switch.sip_address()
        one = kind(self.folder, door, self.tenant.host(name), "acme", password, tone_hz, transport=transport,
                   authority=self.authority, **more)  # fmt: skip
        self.phones.append(one)
        one.start()
        return one.registered() if password == "s3cret" else one

    def number(self, user="13105550100"):
        """The URI that a phone calls."""
        host, port = self.switch.sip_address()
        return f"sip:{user}@{host}:{port}"

    def invites(self, name):
        """bob's INVITE to a phone."""
        uri = f"sip:12125550111@{self.tenant.host('b')}"
        offer = sdp.audio("127.0.0.1", self.rtp.port)
        return self.bob.invite(self.switch.sip_address(), self.number(name), uri, offer)

    def calls(self, name):
        """bob calls a phone; the answered call, his tone playing."""
        call = self.invites(name)
        self.rtp.play(Sdp(call.expect(200, 20).body).rtp)
        call.ack()
        return call

    def is_called(self, rtp=None):
        """bob answers; the call, his tone playing."""
        leg, rtp = self.bob.incoming(20), rtp or self.rtp
        offered = Sdp(leg.invite.body)
        rtp.play(offered.rtp)
        rtp.event = offered.event or sdp.TELEPHONE_EVENT
        leg.answer(sdp.audio("127.0.0.1", rtp.port, event=rtp.event))
        return leg

    def hears(self, frequency_hz, seconds=2, slips=0):
        """bob hears the tone for that long from now on, every packet of it; `slips` are those of the phone's own clock."""
        self.rtp.forget()
        wait_until(
            "bob hears the phone", lambda: self.rtp.heard_seconds(frequency_hz, seconds), 20 + 2 * seconds, every=0.2
        )
        self.rtp.assert_heard(frequency_hz, seconds, slips)

    def close(self, told=False):
        """Ends all; with `told` what the phones have to say goes to the report."""
        for phone in self.phones:
            if told:
                print(phone.evidence())
            phone.stop()
        self.bob.close()
        self.rtp.close()
