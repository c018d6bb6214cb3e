#!/usr/bin/env python3
"""CPU and memory per call and per relayed packet, ours next to Kamailio and rtpengine, in the same run.

    bench/run                      everything, about eight minutes
    bench/run calls media          some of it: calls, calls-with-relay, media
    bench/run --runs 5 --rate 300

Method: SIPp plays both carriers over loopback; the CPU time is what /proc says the server's processes used (user and
system, all threads) between the first and the last call; the memory is the growth of their proportional set size
while calls are held. Every figure is the median of the runs. The load generator's own work is not counted, but it
shares the machine: compare the two systems of one run, not figures of different machines.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import systems
from processes import cpu_seconds, memory_kib
from systems import Kamailio, Strowger

from lib import sdp
from lib.ports import free_port
from lib.sdp import Sdp
from lib.sip_ua import Ua
from lib.sipp import Sipp

ROOT = pathlib.Path(__file__).resolve().parents[1]
WARM_UP_CALLS, WARM_UP_SECONDS = 200, 2
CALL_MS = 100


class Carriers:
    """SIPp as callee for the whole measurement, and as caller for each run."""

    def __init__(self, folder):
        self.folder = folder
        self.callee = Sipp(folder, "callee", calls=10_000_000, seconds=3600, media_port=free_port()).start()
        self.address = self.callee.address

    def calls(self, system, count, rate, milliseconds=CALL_MS, wait=True):
        """`count` calls at `rate` per second, each that long. Returns the SIPp process."""
        keys = {"from_host": system.from_host, "called": "13105550100", "caller": "12125550111"}
        caller = Sipp(self.folder, "caller", calls=count, remote=system.door, keys=keys, seconds=900, media_port=free_port(),
                      options=("-r", rate, "-d", milliseconds, "-l", count + 10)).start()  # fmt: skip
        if wait:
            caller.process.wait(900)
        return caller

    def close(self):
        self.callee.stop()


def good(caller):
    stats = caller.stats()
    return int(stats["SuccessfulCall(C)"]), int(stats["FailedCall(C)"])


def measure_calls(make, options, folder):
    """CPU µs per call, KiB per held call, failed calls."""
    carriers = Carriers(folder)
    try:
        cpu, failed = call_cpu(make(carriers.address).start(), carriers, options)
        # A system that has not carried load yet, each time: else the calls held are served from what is already its own.
        memory = [call_memory(make(carriers.address).start(), carriers, options) for _ in range(options.runs)]
    finally:
        carriers.close()
    median = statistics.median
    return {
        "cpu_us_per_call": median(cpu),
        "kib_per_call": median(memory),
        "failed": failed,
        "cpu_us_runs": cpu,
        "kib_runs": memory,
    }


def call_cpu(system, carriers, options):
    """CPU µs per call of each run, and how many calls failed."""
    try:
        carriers.calls(system, WARM_UP_CALLS, 50)
        cpu, failed = [], 0
        for _ in range(options.runs):
            before = cpu_seconds(system.pids())
            passed, bad = good(carriers.calls(system, options.calls, options.rate))
            time.sleep(0.3)
            cpu.append((cpu_seconds(system.pids()) - before) / max(1, passed) * 1e6)
            failed += bad
        return cpu, failed
    finally:
        system.stop()


def call_memory(system, carriers, options):
    """KiB per call while `options.held` calls are up."""
    try:
        carriers.calls(system, WARM_UP_CALLS // 2, 50)
        time.sleep(1)
        ramp = options.held / options.hold_rate
        before = memory_kib(system.pids())
        caller = carriers.calls(system, options.held, options.hold_rate, int((ramp + 6) * 1000), wait=False)
        time.sleep(ramp + 3)
        held = int(caller.stats()["CurrentCall"])
        grown = memory_kib(system.pids()) - before
        caller.process.wait(120)
        return grown / max(1, held)
    finally:
        system.stop()


def measure_media(make, options, folder):
    """CPU µs per relayed RTP packet, over `streams` streams in `streams / 2` calls."""
    load = pathlib.Path(folder) / "rtp_load"
    subprocess.run(["cc", "-O2", "-o", load, ROOT / "bench/rtp_load.c"], check=True)
    bob = Ua(user="bob")
    system = make(bob.hostport).start()
    alice = Ua(user="alice")
    try:
        first, targets, calls = 34_000, [], []
        for number in range(options.streams // 2):
            port = first + 4 * number
            call = alice.invite(system.door, to=f"sip:13105550100@{system.door[0]}:{system.door[1]}",
                                from_uri=f"sip:12125550111@{system.from_host}", body=sdp.audio("127.0.0.2", port))  # fmt: skip
            leg = bob.incoming()
            targets_b = Sdp(leg.invite.body).rtp
            leg.reply(leg.invite, 200, sdp.audio("127.0.0.2", port + 2))
            targets += [Sdp(call.expect(200).body).rtp, targets_b]
            call.ack()
            leg.expect("ACK")
            calls.append(call)
        lines = "".join(f"{host} {port}\n" for host, port in targets)
        run = lambda seconds: json.loads(  # noqa: E731
            subprocess.run(
                [load, "127.0.0.2", str(first), str(seconds)], input=lines, capture_output=True, text=True, check=True
            ).stdout
        )
        run(WARM_UP_SECONDS)
        cpu, lost = [], []
        for _ in range(options.runs):
            before = cpu_seconds(system.pids())
            counted = run(options.seconds)
            cpu.append((cpu_seconds(system.pids()) - before) / max(1, counted["received"]) * 1e6)
            lost.append(1 - counted["received"] / counted["sent"])
        return {"cpu_us_per_packet": statistics.median(cpu), "lost_percent": 100 * max(lost), "cpu_us_runs": cpu}
    finally:
        system.stop()
        alice.close()
        bob.close()


MEASUREMENTS = {
    "calls": (measure_calls, False),
    "calls-with-relay": (measure_calls, True),
    "media": (measure_media, True),
}
ROWS = [
    ("calls", "cpu_us_per_call", "CPU per call, signalling only", "µs", 0),
    ("calls", "kib_per_call", "memory per held call, signalling only", "KiB", 1),
    ("calls", "failed", "failed calls", "", 0),
    ("calls-with-relay", "cpu_us_per_call", "CPU per call, media ports set up", "µs", 0),
    ("calls-with-relay", "kib_per_call", "memory per held call, media ports set up", "KiB", 1),
    ("calls-with-relay", "failed", "failed calls", "", 0),
    ("media", "cpu_us_per_packet", "CPU per relayed RTP packet", "µs", 2),
    ("media", "lost_percent", "RTP packets lost", "%", 2),
]


def table(results, options):
    peer = f"Kamailio {systems.version('kamailio')} / rtpengine {systems.version('rtpengine')}"
    print(f"\n{'':44}{'strowger':>14}{'peer':>14}{'ours / peer':>14}     peer: {peer}")
    for name, figure, title, unit, digits in ROWS:
        if name not in results:
            continue
        ours, theirs = (results[name][side][figure] for side in ("strowger", "peer"))
        ratio = f"{ours / theirs:.2f}" if unit not in ("", "%") and theirs > 0 else ""
        print(f"{title:44}{ours:>11.{digits}f} {unit:3}{theirs:>10.{digits}f} {unit:3}{ratio:>13}")
    print(
        f"\nmedian of {options.runs} runs; {options.calls} calls at {options.rate} per second; {options.held} calls held; "
        f"{options.streams} streams for {options.seconds} s\n{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=list(MEASUREMENTS), help="calls, calls-with-relay, media")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rate", type=int, default=200, help="calls per second")
    parser.add_argument("--held", type=int, default=500, help="calls held at once for the memory figure")
    parser.add_argument("--hold-rate", type=int, default=100, help="calls per second while they are built up")
    parser.add_argument("--streams", type=int, default=200, help="RTP streams, two per call")
    parser.add_argument("--seconds", type=int, default=8, help="length of one media run")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures to this file")
    parser.add_argument("--only", choices=["strowger", "peer"], help="measure one side, to look into it")
    options = parser.parse_args()
    results = {}
    for name in options.what:
        if name not in MEASUREMENTS:
            parser.error(f"{name} is not one of {', '.join(MEASUREMENTS)}")
        measure, relay = MEASUREMENTS[name]
        for side, kind in (("strowger", Strowger), ("peer", Kamailio)):
            if options.only and side != options.only:
                continue
            print(f"{name}: {side} …", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                make = functools.partial(kind, relay=relay)
                results.setdefault(name, {})[side] = measure(make, options, folder)
            print(f"  {results[name][side]}", file=sys.stderr, flush=True)
    if not options.only:
        table(results, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
