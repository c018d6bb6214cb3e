#!/usr/bin/env python3
"""CPU per relayed RTP packet at several numbers of streams: ours, rtpengine in two versions, and the bare limit.

    bench/media                                 everything that is installed, about fifteen minutes
    bench/media --streams 200 400 --systems strowger rtpengine-26
    bench/media --beside                        the phones on a host beside this one, which only root can make

Systems: `strowger` (as it starts by itself), `strowger-epoll` (as it is where io_uring is forbidden), `rtpengine-10`
(Debian 12), `rtpengine-26` (a newer Debian in a chroot; scripts/newer-debian.sh installs it, root runs it), `echo` (a
few lines of C that decide nothing), and `…-srtp` for the first four: SRTP with keys in SDP on one side of each call
and RTP on the other. `strowger-kernel` is ours with the kernel relaying ordinary streams by itself; only `--beside` has it.

Method: as bench/bench.py's. `bench/rtp_load.c` sends a packet of 172 bytes for each stream every 20 ms over loopback;
the CPU time is what the kernel's scheduler says the server's threads ran, by the packets that came out. All systems of
one number of streams are measured one after another, in rounds, so that a busy machine is busy for all of them.

With `--beside` the phones are in a network namespace at the end of a cable (veth). What the kernel does by itself is
charged to nobody or to the wrong one, so there the whole machine is counted: the phones' sending and receiving is in
every figure, and nothing else should run.
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile

import systems
from processes import machine_seconds, run_seconds, tree
from systems import Strowger

from lib import sdp, srtp
from lib.namespace import Namespace
from lib.ports import free_port, free_range, give_back
from lib.sdp import Sdp
from lib.sip_ua import Ua
from lib.waiting import wait_until

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
NEWER_DEBIAN = CACHE / "strowger-test-peers/newer-debian"
FIRST_PORT = 34_000
WARM_UP_SECONDS, PACKETS_PER_SECOND = 2, 50


class Loopback:
    """The phones are where the relay is."""

    here, there, command, seconds = "127.0.0.1", "127.0.0.2", (), staticmethod(run_seconds)

    def close(self):
        pass


class Beside(Namespace):
    """The phones are on a host beside that of the relay."""

    def __init__(self):
        super().__init__()
        self.command = ("ip", "netns", "exec", self.name)

    def seconds(self, _pids):
        return machine_seconds()


def offer(place, port, sender=None):
    """A description of a phone; with `sender` its media are sealed."""
    if sender is None:
        return sdp.audio(place.there, port, payloads=(0,))
    return sdp.audio(place.there, port, payloads=(0,), extra=[sender.crypto]).replace(b"RTP/AVP", b"RTP/SAVP")


class Ours:
    """Strowger: calls between two of its trunks."""

    def __init__(self, engine, fast_path="off"):
        self.options = ("--media-engine", engine, "--media-fast-path", fast_path)

    def start(self, place, streams, sender):
        self.bob, self.alice, targets = Ua(user="bob"), Ua(user="alice"), []
        self.system = Strowger(self.bob.hostport, relay=True, rtp_ports=2 * streams + 100, host=place.here,
                               options=self.options).start()  # fmt: skip
        door, number = self.system.door, "13105550100"
        for at in range(0, streams, 2):
            port = FIRST_PORT + 2 * at
            call = self.alice.invite(door, to=f"sip:{number}@{door[0]}:{door[1]}",
                                     from_uri=f"sip:12125550111@{self.system.from_host}", body=offer(place, port, sender))  # fmt: skip
            leg = self.bob.incoming()
            to_bob = Sdp(leg.invite.body).rtp
            leg.reply(leg.invite, 200, offer(place, port + 2))
            targets += [Sdp(call.expect(200).body).rtp, to_bob]
            call.ack()
            leg.expect("ACK")
        return targets

    def pids(self):
        return self.system.pids()

    def stop(self):
        self.system.stop()
        self.alice.close()
        self.bob.close()


class Rtpengine:
    """rtpengine in user space, told what to do by its own protocol."""

    def __init__(self, folder=None):
        self.folder, self.asked = folder, 0

    def start(self, place, streams, sender):
        self.work, control = tempfile.TemporaryDirectory(prefix="bench-"), free_port()
        self.ports = first, last = free_range(2 * streams + 100)
        program = ["chroot", self.folder, "/usr/bin/rtpengine"] if self.folder else [systems.find("rtpengine")]
        log = open(f"{self.work.name}/log", "wb")
        self.process = subprocess.Popen(
            [*program, "--config-file=none", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
             f"--interface={place.here}", f"--listen-ng=127.0.0.1:{control}", f"--port-min={first}", f"--port-max={last}",
             f"--num-threads={systems.THREADS}", f"--pidfile=/tmp/rtpengine-bench-{control}.pid"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", control))
        self.socket.settimeout(2)
        wait_until("rtpengine answers", lambda: self._ask(command="ping").get(b"result") == b"pong", 20)
        targets = []
        plain = {"transport-protocol": "RTP/AVP"} if sender else {}
        for at in range(0, streams, 2):
            port, call = FIRST_PORT + 2 * at, {"call-id": f"call-{at}", "from-tag": "a"}
            to_bob = self._ask(command="offer", sdp=offer(place, port, sender), **call, **plain)
            to_alice = self._ask(command="answer", sdp=offer(place, port + 2), **call, **{"to-tag": "b"})
            targets += [Sdp(to_alice[b"sdp"]).rtp, Sdp(to_bob[b"sdp"]).rtp]
        return targets

    def _ask(self, **words):
        self.asked += 1
        cookie = b"%d " % self.asked
        with contextlib.suppress(OSError):
            self.socket.send(cookie + encode(words))
            # What answers an earlier question came too late.
            while not (answer := self.socket.recv(65536)).startswith(cookie):
                pass
            return decode(answer[len(cookie) :])[0]
        return {}

    def pids(self):
        return tree(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.socket.close()
        give_back(*self.ports)
        self.work.cleanup()


class Echo:
    """Nothing but the way through the kernel and back."""

    def start(self, place, streams, sender):
        self.work = tempfile.TemporaryDirectory(prefix="bench-")
        program = f"{self.work.name}/rtp_echo"
        subprocess.run(["cc", "-O2", "-o", program, HERE / "rtp_echo.c"], check=True)
        self.ports = first, _ = free_range(2 * streams)
        self.process = subprocess.Popen([program, place.here, str(first), str(streams)])
        bound = lambda: len(os.listdir(f"/proc/{self.process.pid}/fd")) >= streams + 4  # noqa: E731
        wait_until("the echo has its sockets", bound, 20)
        return [(place.here, first + 2 * at) for at in range(streams)]

    def pids(self):
        return tree(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        give_back(*self.ports)
        self.work.cleanup()


def encode(value):
    """Bencode, in which rtpengine is spoken to."""
    match value:
        case bytes():
            return b"%d:%s" % (len(value), value)
        case str():
            return encode(value.encode())
        case dict():
            return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"
    raise TypeError(value)


def decode(text):
    """A value and what is behind it."""
    kind = text[:1]
    if kind == b"i":
        number, _, rest = text[1:].partition(b"e")
        return int(number), rest
    if kind not in b"dl":
        length, _, rest = text.partition(b":")
        return rest[: int(length)], rest[int(length) :]
    items, rest = [], text[1:]
    while rest[:1] != b"e":
        item, rest = decode(rest)
        items.append(item)
    return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), rest[1:]


SYSTEMS = {
    "strowger-kernel": lambda: Ours("auto", "auto"),
    "strowger": lambda: Ours("auto"),
    "strowger-epoll": lambda: Ours("epoll"),
    "rtpengine-26": lambda: Rtpengine(NEWER_DEBIAN),
    "rtpengine-10": lambda: Rtpengine(),
    "echo": Echo,
}
SEALED = "-srtp"
NAMES = [*SYSTEMS, *(name + SEALED for name in SYSTEMS if name != "echo")]


def missing(name, beside):
    """What is not there of a system."""
    if name.startswith("strowger-kernel"):
        # The kernel leaves what is sealed to us.
        return not beside or name.endswith(SEALED)
    if name.startswith("rtpengine-26"):
        return not (NEWER_DEBIAN / "usr/bin/rtpengine").exists() or os.geteuid() != 0
    return name.startswith("rtpengine-10") and not systems.have("rtpengine")


def measure(name, place, streams, options, load, folder):
    """CPU µs per packet and lost packets, of each run."""
    kind = name.removesuffix(SEALED)
    sender, sealed = None, []
    if name != kind:
        sender = srtp.Sender()
        sealed = [seal(sender, (WARM_UP_SECONDS + options.runs * options.seconds) * PACKETS_PER_SECOND, folder)]
    system, start = SYSTEMS[kind](), 0
    try:
        lines = "".join(f"{host} {port}\n" for host, port in system.start(place, streams, sender))
        runs = []
        for seconds in [WARM_UP_SECONDS] + [options.seconds] * options.runs:
            before = place.seconds(system.pids())
            command = [*place.command, load, place.there, str(FIRST_PORT), str(seconds), *(sealed and [*sealed, str(start)])]
            counted = json.loads(subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout)
            spent = place.seconds(system.pids()) - before
            runs.append((spent / max(1, counted["received"]) * 1e6, counted["sent"] - counted["received"]))
            start += seconds * PACKETS_PER_SECOND
        return runs[1:]
    finally:
        system.stop()


def seal(sender, packets, folder):
    """A file of sealed packets."""
    path = f"{folder}/sealed"
    with open(path, "wb") as file:
        for number in range(packets):
            header = b"\x80\x00" + number.to_bytes(2) + (160 * number).to_bytes(4) + b"ST\0\0"
            file.write(sender.seal(header + b"\xd5" * 160))
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 200, 400, 2000], help="RTP streams, two per call")
    parser.add_argument("--systems", nargs="+", choices=NAMES, help="all that are installed")
    parser.add_argument("--beside", action="store_true", help="phones in a network namespace; the whole machine is counted")
    parser.add_argument("--runs", type=int, default=1, help="in one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures to this file")
    options = parser.parse_args()
    wanted = options.systems or [name for name in NAMES if not missing(name, options.beside)]
    place, figures = Beside() if options.beside else Loopback(), {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        load = f"{folder}/rtp_load"
        subprocess.run(["cc", "-O2", "-o", load, HERE / "rtp_load.c"], check=True)
        for streams in options.streams:
            for _ in range(options.rounds):
                for name in wanted:
                    runs = measure(name, place, streams, options, load, folder)
                    figures.setdefault(name, {}).setdefault(streams, []).extend(runs)
                    print(f"  {name} {streams}: {runs}", file=sys.stderr, flush=True)
    place.close()
    whole = ", of the whole machine" if options.beside else ""
    print(f"CPU µs per packet{whole}, median of {options.rounds * options.runs} runs of {options.seconds} s (packets lost in the worst)\n")
    print(f"{'streams':22}" + "".join(f"{streams:>18}" for streams in options.streams))
    for name, rows in figures.items():
        cells = [f"{statistics.median(cpu for cpu, _ in runs):.2f} ({max(lost for _, lost in runs)})" for runs in rows.values()]
        print(f"{name:22}" + "".join(f"{cell:>18}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
