"""RTP as a phone sends and receives it: numbered packets whose payload tells who sent them."""

import selectors
import socket
import struct
import time

PTIME_SECONDS = 0.02
SAMPLES = 160


def packet(payload_type, sequence, timestamp, ssrc, payload, marker=False):
    return struct.pack("!BBHII", 0x80, payload_type | (0x80 if marker else 0), sequence & 0xFFFF,
                       timestamp & 0xFFFFFFFF, ssrc) + payload  # fmt: skip


class Received:
    """One packet as it arrived."""

    def __init__(self, data, source):
        first, second, self.sequence, self.timestamp, self.ssrc = struct.unpack("!BBHII", data[:12])
        self.version, self.payload_type, self.marker = first >> 6, second & 0x7F, bool(second & 0x80)
        self.payload, self.source = data[12:], source


class Port:
    """An RTP port (even) and its RTCP port on `host`; its audio is the byte `voice` over and over."""

    def __init__(self, host="127.0.0.1", voice=0x55, ssrc=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host, self.voice = host, voice
        self.ssrc = ssrc if ssrc is not None else 0x1000 + voice
        while True:
            self.rtp = socket.socket(family, socket.SOCK_DGRAM)
            self.rtp.bind((host, 0))
            self.port = self.rtp.getsockname()[1]
            self.rtcp = socket.socket(family, socket.SOCK_DGRAM)
            try:
                assert self.port % 2 == 0
                self.rtcp.bind((host, self.port + 1))
                break
            except (OSError, AssertionError):
                self.rtp.close()
                self.rtcp.close()
        for sock in (self.rtp, self.rtcp):
            sock.setblocking(False)
        self.sequence, self.timestamp = 100, 16_000
        self.sent = 0
        self.received = []
        self.received_rtcp = []

    def close(self):
        self.rtp.close()
        self.rtcp.close()

    def send(self, destination, payload_type=0, payload=None, marker=False, ticks=SAMPLES):
        """One packet, 20 ms of audio unless `payload` says otherwise; `ticks` is what its clock counts meanwhile."""
        data = packet(payload_type, self.sequence, self.timestamp, self.ssrc,
                      bytes([self.voice]) * SAMPLES if payload is None else payload, marker)  # fmt: skip
        self.rtp.sendto(data, destination)
        self.sequence += 1
        self.timestamp += ticks
        self.sent += 1
        return data

    def send_dtmf(self, destination, digit, payload_type=101, packets=6, volume=10):
        """One key press as RFC 4733 events: same timestamp, growing duration, the end repeated three times."""
        event = "0123456789*#ABCD".index(digit)
        for number in range(packets + 2):
            end = number >= packets - 1
            duration = min(number + 1, packets) * SAMPLES
            body = struct.pack("!BBH", event, (0x80 if end else 0) | volume, duration)
            data = packet(payload_type, self.sequence, self.timestamp, self.ssrc, body, marker=number == 0)
            self.rtp.sendto(data, destination)
            self.sequence += 1
            self.sent += 1
        self.timestamp += packets * SAMPLES

    def drain(self):
        """Takes what has arrived."""
        for sock, store in ((self.rtp, self.received), (self.rtcp, self.received_rtcp)):
            while True:
                try:
                    data, source = sock.recvfrom(2048)
                except BlockingIOError:
                    break
                store.append(Received(data, source[:2]) if store is self.received else (data, source[:2]))

    def heard(self, other):
        """How many of `other`'s audio packets arrived here unchanged."""
        voice = bytes([other.voice]) * SAMPLES
        return sum(got.payload == voice and got.version == 2 for got in self.received)


def until_heard(one, one_to, other, other_to, seconds=20.0):
    """Both sides send until each has heard the other, then forget what came.

    Signalling and media run on threads of their own, so a packet sent in the very moment of the answer may come before
    the relay knows of it. Tests that count packets begin after that moment.
    """
    deadline = time.monotonic() + seconds
    while not (one.heard(other) and other.heard(one)):
        assert time.monotonic() < deadline, f"heard {one.heard(other)} and {other.heard(one)} packets in {seconds} s"
        one.send(one_to)
        other.send(other_to)
        listen([one, other], PTIME_SECONDS)
    _until_arrived([one, other], seconds)
    for port in (one, other):
        port.received.clear()


def until_one_hears(one, other, other_to, seconds=20.0):
    """Only `other` sends, until `one` has heard ten packets. See `until_heard` for why not every packet is asked for."""
    deadline = time.monotonic() + seconds
    while one.heard(other) < 10:
        assert time.monotonic() < deadline, f"heard {one.heard(other)} packets in {seconds} s"
        other.send(other_to)
        listen([one], PTIME_SECONDS)


def talk(streams, packets=25):
    """Every (port, destination) sends `packets` packets of 20 ms in step, and all ports collect what comes back.

    Of a stream that was heard anywhere meanwhile the last packet is waited for: on a busy machine it takes its time.
    """
    ports = [port for port, _ in streams]
    start = time.monotonic()
    for number in range(packets):
        for port, destination in streams:
            port.send(destination)
        listen(ports, start + (number + 1) * PTIME_SECONDS - time.monotonic())
    listen(ports, 0.15)
    _until_arrived(ports)


def _until_arrived(ports, seconds=5.0):
    """Collects until the last packet of every stream that some port has heard a packet of has come, or time is up.

    A relay keeps the order of a stream, so nothing of it comes behind its last packet. Streams that nobody hears, or
    that are numbered anew on the way, are not waited for; whether any is missing is for the test to say.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        heard = {(got.ssrc, got.sequence) for port in ports for got in port.received}
        sources = {ssrc for ssrc, _ in heard}
        if all(port.ssrc not in sources or (port.ssrc, port.sequence - 1) in heard for port in ports):
            return
        listen(ports, PTIME_SECONDS)


def listen(ports, seconds):
    """Collects what arrives within `seconds`."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for port in ports:
            selector.register(port.rtp, selectors.EVENT_READ)
            selector.register(port.rtcp, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                for port in ports:
                    port.drain()
