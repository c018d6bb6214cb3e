#!/usr/bin/env python3
"""CPU and memory per call and per relayed packet, ours next to other switches, in the same run.

    bench/run                      everything, about half an hour
    bench/run calls media          some of it; the names are below
    bench/run --quick              everything, shorter runs, about eight minutes
    bench/run --runs 5 --rate 300

    calls              a call through two connections, no media: CPU, memory, failures
    digest             the same, the caller has to authenticate
    calls-with-relay   a call with its media ports set up
    growth             CPU per call with more and more calls held
    domains            CPU per call with more and more domains
    million            a million connections: start, memory, CPU per call, time of a change
    media              CPU per relayed RTP packet

Method: SIPp plays both carriers over loopback; the CPU time is what the kernel says the server's threads ran between
the first and the last call; the memory is the growth of their proportional set size while calls are held. All systems
of a measurement are up at once and take their turns, run by run, so that a noisy minute meets all of them. Every
figure is the median of the runs. The load generator's own work is not counted, but it shares the machine: compare the
systems of one run, not figures of different machines.

Peers are what is installed: Debian's, and newer ones in the folder of scripts/newer-debian.sh, which needs root.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import media as relays
import records
import systems
from processes import memory_kib, run_seconds
from systems import Strowger

from lib.ports import free_port
from lib.sipp import Sipp

ROOT = pathlib.Path(__file__).resolve().parents[1]
WARM_UP_CALLS = 300
CALL_MS = 100
# As many calls with media as one address has ports for, outside the range that clients get theirs from.
RELAYED_MOST = 4_000
# Calls up while others are measured; the last is sixteen times the first.
HELD = (500, 2_000, 8_000)
DOMAINS = (1, 100, 10_000)
MILLION_DOMAINS, MILLION_CONNECTIONS = 10_000, 1_000_000


class Carriers:
    """SIPp as callee for the whole measurement, and as caller for each run."""

    def __init__(self, folder):
        self.folder = folder
        self.callee = Sipp(folder, "callee", calls=10_000_000, seconds=3600, media_port=free_port()).start()
        self.address = self.callee.address

    def calls(self, system, count, rate, milliseconds=CALL_MS, wait=True):
        """`count` calls at `rate` per second, each that long. Returns the SIPp process."""
        keys = {"from_host": system.from_host, "called": "13105550100", "caller": "12125550111", "user": "alice"}
        caller = Sipp(self.folder, system.scenario, calls=count, remote=system.door, keys=keys, seconds=900,
                      media_port=free_port(), options=("-r", rate, "-d", milliseconds, "-l", count + 10, *system.sipp)).start()  # fmt: skip
        if wait:
            caller.process.wait(900)
        return caller

    def close(self):
        self.callee.stop()


def good(caller):
    stats = caller.stats()
    return int(stats["SuccessfulCall(C)"]), int(stats["FailedCall(C)"])


def call_cpu(all_systems, carriers, options):
    """By system: CPU µs per call of each run, and how many calls failed."""
    figures = {system.name: {"cpu_us_runs": [], "failed": 0} for system in all_systems}
    for system in all_systems:
        carriers.calls(system, WARM_UP_CALLS, 100)
    for _ in range(options.runs):
        for system in all_systems:
            rate = min(options.rate, system.rate_most)
            before = run_seconds(system.pids())
            passed, bad = good(carriers.calls(system, options.calls, rate))
            time.sleep(0.3)
            figure = figures[system.name]
            figure["cpu_us_runs"].append((run_seconds(system.pids()) - before) / max(1, passed) * 1e6)
            figure["failed"] += bad
    for figure in figures.values():
        figure["cpu_us_per_call"] = statistics.median(figure["cpu_us_runs"])
    return figures


def call_memory(system, carriers, options, wanted):
    """How many of the `wanted` calls are up when their transactions are over, and KiB for each."""
    carriers.calls(system, WARM_UP_CALLS // 2, 50)
    time.sleep(1)
    ramp = wanted / options.hold_rate
    before = memory_kib(system.pids())
    caller = carriers.calls(system, wanted, options.hold_rate, int((ramp + options.settle + 4) * 1000), wait=False)
    time.sleep(ramp + options.settle)
    held = int(caller.stats()["CurrentCall"])
    grown = memory_kib(system.pids()) - before
    caller.stop()
    return held, grown / max(1, held)


def measure_calls(options, folder, kinds, held=True, **more):
    """CPU µs per call, failed calls and, when `held`, KiB per held call, of each kind of system."""
    carriers = Carriers(folder)
    running = []
    try:
        for kind in kinds:
            running.append(kind(carriers.address, **more).start())
        figures = call_cpu(running, carriers, options)
        while running:
            running.pop().stop()
        # A system that has not carried load yet: else the calls held are served from what is already its own.
        wanted = min(options.held, RELAYED_MOST) if more.get("relay") else options.held
        ports = {"rtp_ports": (wanted + WARM_UP_CALLS) * systems.PORTS_PER_CALL} if more.get("relay") else {}
        for kind in kinds if held and wanted else ():
            system = kind(carriers.address, **more, **ports)
            running.append(system.start())
            figure = figures[system.name]
            figure["held"], figure["kib_per_call"] = call_memory(system, carriers, options, wanted)
            running.pop().stop()
    finally:
        for system in running:
            system.stop()
        carriers.close()
    return figures


def calls(options, folder):
    return measure_calls(options, folder, systems.callers())


def digest(options, folder):
    return measure_calls(options, folder, [Strowger], held=False, digest=True)


def calls_with_relay(options, folder):
    return measure_calls(options, folder, systems.relayers(), relay=True)


def growth(options, folder):
    """CPU per call while others are up. Every size has a switch of its own, and they take turns."""
    carriers = Carriers(folder)
    running, holders = [], []
    try:
        for held in HELD:
            system = Strowger(carriers.address, name=f"{held} calls held").start()
            running.append(system)
            holders.append(carriers.calls(system, held, options.hold_rate, 3_600_000, wait=False))
        time.sleep(max(HELD) / options.hold_rate + options.settle)
        return call_cpu(running, carriers, options)
    finally:
        for holder in holders:
            holder.stop()
        for system in running:
            system.stop()
        carriers.close()


def domains(options, folder):
    """CPU per call while there are other domains, each with two connections and a rule."""
    carriers = Carriers(folder)
    running = []
    try:
        for count in DOMAINS:
            system = Strowger(carriers.address, name=f"{count} domains")
            running.append(system.start(lambda switch, count=count: records.multiply(switch.data, count)))
        return call_cpu(running, carriers, options)
    finally:
        for system in running:
            system.stop()
        carriers.close()


def million(options, folder):
    """A million connections in ten thousand domains: start, memory, CPU per call, time of a change."""
    carriers = Carriers(folder)
    few, many = Strowger(carriers.address, name="2 connections"), Strowger(carriers.address, name="1,000,000 connections")
    each = MILLION_CONNECTIONS // MILLION_DOMAINS
    try:
        few.start()
        many.start(lambda switch: records.multiply(switch.data, MILLION_DOMAINS, each))
        figures = {}
        for system in few, many:
            figures[system.name] = {
                "start_s": system.start_seconds,
                "mib": memory_kib(system.pids()) / 1024,
                "change_ms": statistics.median(system.time_of_a_change_ms() for _ in range(31)),
            }
        for name, figure in call_cpu([few, many], carriers, options).items():
            figures[name].update(figure)
        return figures
    finally:
        few.stop()
        many.stop()
        carriers.close()


def media(options, folder):
    """CPU µs per relayed RTP packet. bench/media.py does this at several loads, with SRTP too."""
    load = f"{folder}/rtp_load"
    subprocess.run(["cc", "-O2", "-o", load, ROOT / "bench/rtp_load.c"], check=True)
    once = argparse.Namespace(runs=1, seconds=options.seconds)
    names = ["strowger", *(["rtpengine-26", "rtpengine-10"] if systems.PEERS else []), "echo"]
    names = [name for name in names if not relays.missing(name, beside=False)]
    runs = {name: [] for name in names}
    for _ in range(options.runs):
        for name in names:
            runs[name] += relays.measure(name, relays.Loopback(), options.streams, once, load, folder)
    packets = options.streams * options.seconds * relays.PACKETS_PER_SECOND
    return {
        name: {
            "cpu_us_per_packet": statistics.median(cpu for cpu, _ in of_one),
            "lost_percent": 100 * max(lost for _, lost in of_one) / packets,
            "cpu_us_runs": [cpu for cpu, _ in of_one],
        }
        for name, of_one in runs.items()
    }


MEASUREMENTS = {
    "calls": calls,
    "digest": digest,
    "calls-with-relay": calls_with_relay,
    "growth": growth,
    "domains": domains,
    "million": million,
    "media": media,
}
# Figure, title, unit, digits. A figure is shown of each system that has it, and its ratio to the first system's.
FIGURES = [
    ("cpu_us_per_call", "CPU per call", "µs", 0),
    ("kib_per_call", "memory per held call", "KiB", 1),
    ("held", "calls held for that", "", 0),
    ("failed", "failed calls", "", 0),
    ("cpu_us_per_packet", "CPU per relayed RTP packet", "µs", 2),
    ("lost_percent", "RTP packets lost", "%", 2),
    ("start_s", "time from start to ready", "s", 1),
    ("mib", "memory with no call up", "MiB", 0),
    ("change_ms", "PUT on a connection, until calls obey", "ms", 1),
]
TITLES = {
    "calls": "a call, signalling only",
    "digest": "a call, digest on the inbound side",
    "calls-with-relay": "a call, media ports set up",
    "growth": "a call while others are up",
    "domains": "a call while there are other domains",
    "million": "a million connections in ten thousand domains",
    "media": "RTP through the relay",
}


def table(results, options):
    """Systems side by side; in brackets the first system's figure divided by this one's."""
    for name, figures in results.items():
        print(f"\n{TITLES[name]}")
        print(f"  {'':40}" + "".join(f"{system:>28}" for system in figures))
        for figure, title, unit, digits in FIGURES:
            values = [figure_of.get(figure) for figure_of in figures.values()]
            if all(value is None for value in values):
                continue
            cells = []
            for value in values:
                ratio = f" ({values[0] / value:4.2f})" if unit not in ("", "%") and value and values[0] else ""
                cells.append("" if value is None else f"{value:.{digits}f} {unit}{ratio}")
            print(f"  {title:40}" + "".join(f"{cell:>28}" for cell in cells))
    print(
        f"\nmedian of {options.runs} runs; {options.calls} calls at {options.rate} per second; "
        f"{options.streams} streams for {options.seconds} s\n{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=list(MEASUREMENTS), help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--calls", type=int, help="calls of one run")
    parser.add_argument("--rate", type=int, default=500, help="calls per second")
    parser.add_argument("--held", type=int, help=f"calls held at once for the memory figure, {RELAYED_MOST} at most with media; 0 leaves it out")
    parser.add_argument("--hold-rate", type=int, default=200, help="calls per second while they are built up")
    parser.add_argument("--settle", type=int, help="seconds until held calls are looked at; transactions last 32")
    parser.add_argument("--streams", type=int, default=200, help="RTP streams, two per call")
    parser.add_argument("--seconds", type=int, help="length of one media run")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures to this file")
    parser.add_argument("--only", choices=["strowger"], help="measure no other system")
    options = parser.parse_args()
    shorter = {"runs": 3, "calls": 2500, "held": 2000, "settle": 36, "seconds": 5}
    usual = {"runs": 5, "calls": 5000, "held": 10_000, "settle": 40, "seconds": 8}
    for name, value in (shorter if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.only:
        systems.PEERS = False
    results = {}
    for name in options.what:
        if name not in MEASUREMENTS:
            parser.error(f"{name} is not one of {', '.join(MEASUREMENTS)}")
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results[name] = MEASUREMENTS[name](options, folder)
        print(f"  {json.dumps(results[name])}", file=sys.stderr, flush=True)
    table(results, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
