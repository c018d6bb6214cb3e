"""An RTP port that speaks DTLS-SRTP with OpenSSL and libsrtp, as phones do."""

import datetime
import selectors
import time

from . import sdp
from .rtp import SAMPLES, Port, Received, packet

PROFILES = {  # name of OpenSSL: (bytes of a key, bytes of a salt, name of libsrtp)
    "SRTP_AES128_CM_SHA1_80": (16, 14, "SRTP_PROFILE_AES128_CM_SHA1_80"),
    "SRTP_AEAD_AES_128_GCM": (16, 12, "SRTP_PROFILE_AEAD_AES_128_GCM"),
}
RETRY_SECONDS = 0.5  # OpenSSL waits a second before it says anything again, and looks only when it is asked to


def certificate(kind):
    """(private key, certificate) of a key of that kind: `ec` or `rsa`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "phone")])
    day, now = datetime.timedelta(days=1), datetime.datetime.utcnow()
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + 30 * day)
    )  # fmt: skip
    return key, made.sign(key, hashes.SHA256())


class SealedPort(Port):
    """A `Port` whose packets are sealed once `shake` has been through. `active` begins the handshake. What it receives
    and can open is in `received`, what it cannot in `refused`."""

    def __init__(self, active=True, key="ec", profile="SRTP_AES128_CM_SHA1_80", **more):
        super().__init__(**more)
        self.active, self.profile = active, profile
        self.key, self.certificate = certificate(key)
        self.seals = self.opens = self.ssl = None
        self.arrived, self.refused = [], 0

    @property
    def fingerprint(self):
        from OpenSSL import crypto

        digest = crypto.X509.from_cryptography(self.certificate).digest("sha256").decode()
        return f"sha-256 {digest}"

    def describe(self, setup=None, fingerprint=None, profile="UDP/TLS/RTP/SAVP", extra=(), **more):
        """A body with what a handshake needs."""
        lines = [f"a=setup:{setup or ('active' if self.active else 'passive')}",
                 f"a=fingerprint:{fingerprint or self.fingerprint}", "a=rtcp-mux", *extra]  # fmt: skip
        body = sdp.audio(self.host, self.port, extra=lines, **more)
        return body.replace(b"RTP/AVP", profile.encode())

    def _connection(self):
        from OpenSSL import SSL, crypto

        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_privatekey(crypto.PKey.from_cryptography_key(self.key))
        context.use_certificate(crypto.X509.from_cryptography(self.certificate))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_tlsext_use_srtp(self.profile.encode())
        connection = SSL.Connection(context, None)
        connection.set_ciphertext_mtu(1200)
        connection.set_connect_state() if self.active else connection.set_accept_state()
        return connection

    def shake(self, destination, fingerprint, seconds=15):
        """Shakes hands with whoever has that certificate, and then has keys. A second time means a new handshake."""
        from OpenSSL import SSL

        self.ssl, self.seals, self.opens = self._connection(), None, None
        deadline, retry = time.monotonic() + seconds, time.monotonic() + RETRY_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.rtp, selectors.EVENT_READ)
            while True:
                try:
                    self.ssl.do_handshake()
                    self._say(destination)
                    break
                except SSL.WantReadError:
                    self._say(destination)
                assert time.monotonic() < deadline, "the handshake does not end"
                if time.monotonic() >= retry:
                    retry = time.monotonic() + RETRY_SECONDS
                    SSL._lib.DTLSv1_handle_timeout(self.ssl._ssl)
                if selector.select(0.05):
                    self._take()
        shown = self.ssl.get_peer_certificate().digest("sha256").decode()
        assert f"sha-256 {shown}".lower() == fingerprint.lower(), "not the certificate that was described"
        self._key()

    def _say(self, destination):
        """Sends what OpenSSL has to say, a record in each datagram."""
        from OpenSSL import SSL

        try:
            data = self.ssl.bio_read(65536)
        except SSL.WantReadError:
            return
        while data:
            length = 13 + int.from_bytes(data[11:13], "big")
            self.rtp.sendto(data[:length], destination)
            data = data[length:]

    def _take(self):
        while True:
            try:
                data, source = self.rtp.recvfrom(2048)
            except BlockingIOError:
                return
            if 20 <= data[0] < 64:
                self.ssl.bio_write(data)
            else:
                self.arrived.append((data, source))

    def _key(self):
        import pylibsrtp

        key, salt, profile = PROFILES[self.profile]
        material = self.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client, server = (
            material[at * key : (at + 1) * key] + material[2 * key + at * salt : 2 * key + (at + 1) * salt] for at in (0, 1)
        )
        ours, theirs = (client, server) if self.active else (server, client)

        def session(material, ssrc_type):
            named = getattr(pylibsrtp.Policy, profile)
            policy = pylibsrtp.Policy(key=material, ssrc_type=ssrc_type, srtp_profile=named)
            return pylibsrtp.Session(policy=policy)

        self.seals = session(ours, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.opens = session(theirs, pylibsrtp.Policy.SSRC_ANY_INBOUND)

    def send(self, destination, payload_type=0, payload=None, marker=False):
        payload = bytes([self.voice]) * SAMPLES if payload is None else payload
        data = packet(payload_type, self.sequence, self.timestamp, self.ssrc, payload, marker)
        self.rtp.sendto(self.seals.protect(data), destination)
        self.sequence += 1
        self.timestamp += SAMPLES
        self.sent += 1
        return data

    def report(self, destination):
        """An empty receiver report, sealed, on the port of the media."""
        self.rtp.sendto(self.seals.protect_rtcp(bytes([0x80, 201, 0, 1]) + self.ssrc.to_bytes(4, "big")), destination)

    def drain(self):
        import pylibsrtp

        self._take()
        for data, source in self.arrived:
            try:
                if 192 <= data[1] <= 223:
                    self.received_rtcp.append((self.opens.unprotect_rtcp(data), source[:2]))
                else:
                    self.received.append(Received(self.opens.unprotect(data), source[:2]))
            except pylibsrtp.Error:
                self.refused += 1
        self.arrived.clear()
