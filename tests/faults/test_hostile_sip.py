"""What nobody sane sends: torture, mutations, slow and lying streams, floods. Calls before, during and after work."""

import contextlib
import os
import socket
import time

import pytest

from lib import sdp
from lib.mutation import Mutator
from lib.switch import ROOT
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until

TORTURE = sorted((ROOT / "crates/sip/tests/torture").rglob("*.dat"))
# Where the hostile messages come from: no record names it.
STRANGER = "127.0.0.77"
# What a process may grow by while it is bombarded, beyond what it takes for a thousand transactions that linger.
GROWTH_KIB = 96 * 1024
DATA_LIMIT = 768 << 20


class Besieged:
    """A switch with a call that is up."""

    def __init__(self, switch):
        self.switch = switch
        self.two = Carriers(Tenant(switch))
        self.up = self.talk()
        self.door = switch.sip_address()
        self.rss_kib = self.rss()

    def talk(self):
        return self.two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))

    def hang_up(self, pair):
        call, leg = pair
        bye = call.request("BYE")
        leg.expect_bye()
        assert self.two.alice.response_to(bye).status == 200

    def call(self):
        """A whole call, as everybody else makes them meanwhile."""
        self.hang_up(self.talk())

    def rss(self):
        for line in open(f"/proc/{self.switch.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        raise AssertionError("the switch is gone")

    def withstood(self):
        """Calls work, the one from before is still up, nothing panicked, and memory is bounded."""
        self.call()
        self.hang_up(self.up)
        assert self.switch.process.poll() is None
        assert self.switch.metric("strowger_panics_total") == 0
        grown = self.rss() - self.rss_kib
        assert grown < GROWTH_KIB, f"{grown} KiB more than before"
        self.two.close()


@pytest.fixture
def besieged(own_switch):
    """Ignoring would spare the switch most of it, so nobody is ignored. Memory ends at a limit of the system's, too."""
    wrapper = ("prlimit", f"--data={DATA_LIMIT}")
    options = ("--ignore-after-failures", 0, "--port-quiet-seconds", 1, "--media-timeout-seconds", 0)
    return Besieged(own_switch(*options, rtp_ports=1000, wrapper=wrapper))


def datagrams():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((STRANGER, 0))
    sock.setblocking(False)
    return sock


def drain(sock):
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def all_read(sock, door):
    """Waits until the switch has read what was sent before: else its socket would be full when the others call."""
    branch = os.urandom(8).hex()
    question = (
        f"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bK{branch};rport\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:x@y>\r\nCall-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()

    def answered():
        sock.sendto(question, door)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                if branch.encode() in sock.recv(65536):
                    return True
        return False

    wait_until("the switch answers", answered, 10)


def stream(door, source=STRANGER):
    sock = socket.create_connection(door, timeout=5, source_address=(source, 0))
    sock.settimeout(5)
    return sock


def is_closed(sock, seconds=5):
    """Whether the switch ends the stream within some time; what it says before does not matter."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def test_the_torture_messages_by_datagram(besieged):
    assert len(TORTURE) > 50
    with datagrams() as sock:
        for _ in range(2):
            for path in TORTURE:
                sock.sendto(path.read_bytes(), besieged.door)
                drain(sock)
            all_read(sock, besieged.door)
            besieged.call()
    besieged.withstood()


def test_the_torture_messages_by_stream(besieged):
    for path in TORTURE:
        with stream(besieged.door) as sock:
            sock.sendall(path.read_bytes())
    # And all of them in a row on one, for as long as it lasts.
    with stream(besieged.door) as sock, contextlib.suppress(OSError):
        for path in TORTURE:
            sock.sendall(path.read_bytes())
    besieged.withstood()


def seeds(besieged):
    """Whole valid messages of many kinds, in the words of this switch and of a tenant of its own."""
    two = Carriers(Tenant(besieged.switch))
    offer = sdp.audio("127.0.0.1", 4000)
    built = [
        two.alice.build("INVITE", two.called(), from_uri=two.from_uri, body=offer,
                        headers=[("Supported", "100rel, timer"), ("Session-Expires", "1800;refresher=uac")]),
        two.alice.build("REGISTER", two.called(), from_uri=two.from_uri, to_uri=two.from_uri, headers=[
            ("Expires", "60"), ("Authorization", 'Digest username="x", realm="y", nonce="z", uri="sip:x", response="0"'),
        ]),
        *(two.alice.build(method, two.called(), from_uri=two.from_uri)
          for method in ("OPTIONS", "BYE", "CANCEL", "ACK", "MESSAGE", "SUBSCRIBE", "REFER", "UPDATE", "PRACK")),
    ]  # fmt: skip
    whole = [message.to_bytes() for message in built]
    call, leg = two.established(offer, sdp.audio("127.0.0.1", 5000))
    # Of a call that is up: the same dialog, so that mutations reach what lies behind it.
    for one in (call, leg):
        whole += [one.build(method, cseq=900).to_bytes() for method in ("INFO", "UPDATE", "NOTIFY")]
        whole += [one.build("INVITE", body=offer, cseq=901).to_bytes()]
    whole += [path.read_bytes() for path in TORTURE]
    # What answers our requests: a response to the INVITE that bob got.
    whole.append(b"SIP/2.0 200 OK\r\n" + b"".join(
        f"{name}: {leg.invite.get(name)}\r\n".encode() for name in ("Via", "From", "To", "Call-ID", "CSeq")
    ) + b"Content-Length: 0\r\n\r\n")  # fmt: skip
    return whole


@pytest.mark.parametrize("seconds", [15, pytest.param(600, marks=pytest.mark.long)])
def test_mutated_messages(besieged, seconds):
    seed = int(os.environ.get("FAULTS_SEED", "4711"))
    print(f"FAULTS_SEED={seed}")
    mutator = Mutator(seeds(besieged), seed)
    deadline, sent = time.monotonic() + seconds, 0
    with datagrams() as sock:
        while time.monotonic() < deadline:
            for number in range(200):
                data = mutator.next()
                if mutator.random.randrange(20) == 0:
                    with contextlib.suppress(OSError), stream(besieged.door) as one:
                        one.sendall(data)
                else:
                    sock.sendto(data, besieged.door)
                sent += 1
                if number % 20 == 19:
                    drain(sock)
            all_read(sock, besieged.door)
            besieged.call()
            assert besieged.switch.metric("strowger_panics_total") == 0, f"seed {seed}, within {sent} messages"
    assert sent > 100 * seconds, "the test has hardly sent anything"
    besieged.withstood()


def test_many_streams_of_one_address_are_bounded_and_others_get_theirs(besieged):
    with contextlib.ExitStack() as stack:
        mine = []
        for _ in range(300):
            with contextlib.suppress(OSError):
                mine.append(stack.enter_context(stream(besieged.door)))
        refused = lambda: besieged.switch.metric("strowger_tcp_flows_ended_total", reason="too_many")  # noqa: E731
        wait_until("the bound is reached", lambda: refused() >= 300 - 256)
        assert besieged.switch.metric("strowger_tcp_flows") <= 256
        # Each has sent a little of a message that never ends.
        for sock in mine:
            with contextlib.suppress(OSError):
                sock.sendall(b"INVITE sip:x@y SIP/2.0\r\nVia: ")
        with stream(besieged.door, "127.0.0.78") as other:
            other.sendall(
                b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.78;branch=z9hG4bKother;rport\r\n"
                b"From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: other\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
                b"Content-Length: 0\r\n\r\n"
            )
            assert other.recv(4096).startswith(b"SIP/2.0 200")
        besieged.call()
    wait_until("the streams are gone", lambda: besieged.switch.metric("strowger_tcp_flows") == 0, 10)
    besieged.withstood()


HEAD = (
    b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.77;branch=z9hG4bKlie;rport\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:x@y>\r\nCall-ID: lie\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 99999999\r\n\r\nx",
        HEAD + b"Content-Length: 18446744073709551617\r\n\r\nx",
        HEAD + b"Content-Length: -1\r\n\r\nx",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nxxxx",
        HEAD + b"Content-Length: 0\r\n\r\n" + b"\x16\x03\x01" * 100 + b"\r\n\r\n",
        HEAD + b"X: " + b"y" * 70_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 70_000,
        b"x" * 70_000,
    ],
    ids=["huge", "overflow", "negative", "two lengths", "TLS behind it", "endless header", "HTTP", "NUL", "no end"],
)
def test_a_stream_that_lies_is_closed(besieged, data):
    with stream(besieged.door) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        assert is_closed(sock)
    besieged.withstood()


@pytest.mark.long
def test_a_message_that_comes_byte_by_byte_is_given_up(besieged):
    """However steadily it comes: half a minute for one message."""
    with stream(besieged.door) as sock:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in HEAD * 2:
                sock.sendall(bytes([byte]))
                time.sleep(0.25)
                if time.monotonic() - began > 60:
                    break
        assert is_closed(sock, 1)
    besieged.withstood()


def test_half_a_message_and_then_nothing_keeps_nobody_else_waiting(besieged):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(stream(besieged.door)).sendall(HEAD)
        for _ in range(5):
            besieged.call()
    besieged.withstood()


def test_a_flood_of_invites_without_ack_has_a_bound_and_passes(own_switch):
    """Calls to somebody who never answers, and none of the refusals is acknowledged."""
    besieged = Besieged(own_switch("--max-calls", 60, "--ignore-after-failures", 0))
    two, switch = besieged.two, besieged.switch
    two.tenant.connection("silent", address="127.0.0.99:5060")
    two.tenant.rule("sip:999*@*", two.tenant.host("silent"))
    with datagrams() as sock:
        offer = sdp.audio("127.0.0.1", 4000)
        for number in range(1500):
            invite = two.alice.build("INVITE", two.called(f"999{number}"), from_uri=two.from_uri, body=offer)
            invite.headers = [(n, v.replace(two.alice.hostport, f"{STRANGER}:5060") if n == "Via" else v)
                              for n, v in invite.headers]  # fmt: skip
            sock.sendto(invite.to_bytes(), besieged.door)
            if number % 50 == 0:
                all_read(sock, besieged.door)
                assert switch.metric("strowger_calls_active") <= 60
    assert switch.metric("strowger_calls_active") <= 60
    assert switch.metric("strowger_sip_transactions") < 10_000
    wait_until("the calls are over", lambda: switch.metric("strowger_calls_active") == 1, 40, every=0.2)
    besieged.withstood()


@pytest.mark.long
def test_after_a_flood_nothing_is_left(own_switch):
    besieged = Besieged(own_switch("--ignore-after-failures", 0, "--media-timeout-seconds", 0))
    two, switch = besieged.two, besieged.switch
    for wave in range(4):
        with datagrams() as sock:
            for number in range(10_000):
                invite = two.alice.build("INVITE", two.called(f"888{number}"), from_uri="sip:x@nobody.example")
                sock.sendto(invite.to_bytes(), besieged.door)
                if number % 100 == 99:
                    all_read(sock, besieged.door)
        besieged.call()
        wait_until("the transactions are over", lambda: switch.metric("strowger_sip_transactions") == 0, 60, every=0.5)
        # The first wave shows what it takes; the others take nothing more.
        if wave == 0:
            besieged.rss_kib = besieged.rss()
    assert besieged.rss() - besieged.rss_kib < 16 * 1024
    besieged.withstood()
    switch.assert_nothing_left()
