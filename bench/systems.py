"""The systems that are measured. Each takes calls at `door` and sends them to carrier B at `callee`.

A system has a name, a door, the SIPp scenario and options of its caller, the most calls a second that it is asked for,
the pids of its processes, and can be started and stopped. All run on loopback.
"""

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from processes import tree  # noqa: E402

from lib.ports import free_port, free_range, give_back  # noqa: E402
from lib.sip_ua import Ua  # noqa: E402
from lib.switch import Switch  # noqa: E402
from lib.tenant import PLAN  # noqa: E402
from lib.waiting import wait_until  # noqa: E402

PORTS_PER_CALL = 4  # of a call with media: RTP and RTCP on either side
RTP_PORTS = 1000 * PORTS_PER_CALL
THREADS = 2
START_SECONDS = 300  # a million records are read
PEERS = True  # False: only ours
PASSWORD = "correct horse"


class System:
    scenario, sipp, rate_most = "caller", (), 1_000_000


class Strowger(System):
    """The switch: two trunks and a rule, made over its API."""

    name = "strowger"

    def __init__(self, callee, relay=False, digest=False, name=None, rtp_ports=RTP_PORTS, host="127.0.0.1", options=()):
        self.name = name or Strowger.name
        self.folder = tempfile.mkdtemp(prefix="strowger-bench-")
        self.callee, self.relay, self.digest, self.rtp_ports = callee, relay, digest, rtp_ports
        self.host, self.options = host, options
        if digest:
            self.scenario, self.sipp = "caller_authenticates", ("-au", "alice", "-ap", PASSWORD)

    def start(self, prepare=None):
        """With `prepare`, that is done to the stopped switch once the records are there."""
        self.switch = self._launch()
        self._make_records()
        if prepare:
            self.switch.stop()
            prepare(self.switch)
            begun = time.monotonic()
            self.switch = self._launch()
            self.start_seconds = time.monotonic() - begun
        self.from_host = "a1.example.net"
        self.door = self.switch.sip_address()
        return self

    def _launch(self):
        begun = time.monotonic()
        switch = Switch(
            f"{self.folder}/data", sip=(self.host,), rtp_ports=self.rtp_ports,
            options=("--port-quiet-seconds", 1, "--log-level", "warn", "--media-timeout-seconds", 0, *self.options),
        ).launch()  # fmt: skip
        wait_until("the switch is ready", switch.healthy_or_dead, START_SECONDS)
        self.start_seconds = time.monotonic() - begun
        return switch

    def _make_records(self):
        # Named as records.py knows them.
        api = self.switch.api
        api.create("/domains", {"synchronous": "yes", "domain": "d1.example", "reseller": "bench", "description": "bench"})
        api.create("/domains/d1.example/dialplans", {"dial-rule-dial-plan": PLAN, "dial-rule-description": "bench"})
        for name, address in ("a1", "127.0.0.1"), ("b1", self.callee):
            asked = self.digest and name == "a1"
            api.create("/connections", {
                "domain": "d1.example",
                "connection-orig-match-pattern": f"sip*@{name}.example.net",
                "connection-address": address,
                "dial-plan": PLAN,
                "connection-is-carrier-trunk": "yes",
                "connection-audio-relay-enabled": "yes" if self.relay else "no",
                **({"connection-require-sip-authentication-enabled": "yes",
                    "connection-sip-registration-username": "alice",
                    "connection-sip-registration-password": PASSWORD} if asked else {}),
            })  # fmt: skip
        api.create(f"/domains/d1.example/dialplans/{PLAN}/dialrules", {
            "synchronous": "yes",
            "dial-rule-matching-to-uri": "*",
            "dial-rule-application": "to-connection",
            "dial-rule-translation-destination-user": "[*]",
            "dial-rule-translation-destination-host": "b1.example.net",
        })  # fmt: skip

    def time_of_a_change_ms(self):
        """A PUT on one connection: its answer says that the record is on the disk and the shards obey it."""
        self.changes = getattr(self, "changes", 0) + 1
        begun = time.monotonic()
        answer = self.switch.api.put(
            "/domains/d1.example/connections/sip*@a1.example.net", {"description": f"change {self.changes}"}
        )
        assert answer.status in (200, 202), answer
        return (time.monotonic() - begun) * 1000

    def pids(self):
        return tree(self.switch.process.pid)

    def stop(self):
        if hasattr(self, "switch"):
            self.switch.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Kamailio(System):
    """A proxy that stays in the dialog and keeps its state; with `relay`, rtpengine in user space beside it."""

    from_host = "a.example.net"

    def __init__(self, callee, relay=False, root=None, rtp_ports=RTP_PORTS):
        self.rtp_ports = rtp_ports
        # In a chroot the programs see the folder under the same name.
        self.root = root
        self.name = name_of("kamailio", root) + (" + " + name_of("rtpengine", root) if relay else "")
        self.folder = tempfile.mkdtemp(prefix="kamailio-bench-")
        self.callee, self.relay = callee, relay
        self.processes = []

    def start(self):
        self.door = ("127.0.0.1", free_port())
        if self.root:
            os.makedirs(f"{self.root}{self.folder}")
        shutil.copy(HERE / "kamailio.cfg", f"{self.root or ''}{self.folder}")
        command = [
            "kamailio", "-f", f"{self.folder}/kamailio.cfg", "-DD", "-E", "-m", "512", "-M", "32",
            "-w", self.folder, "-Y", self.folder, "-l", f"udp:127.0.0.1:{self.door[1]}",
            "-A", f'NEXT_HOP="sip:{self.callee}"', "-A", f"WORKERS={THREADS}",
        ]  # fmt: skip
        if self.relay:
            control = free_port()
            self.ports = first, last = free_range(self.rtp_ports)
            self._launch([
                "rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
                "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{control}", f"--port-min={first}", f"--port-max={last}",
                f"--num-threads={THREADS}", f"--pidfile={self.folder}/rtpengine.pid",
            ])  # fmt: skip
            command += ["-A", f'RTPENGINE="udp:127.0.0.1:{control}"']
        self._launch(command)
        prober = Ua(user="probe")

        def alive():
            try:
                return prober.ask(self.door, "OPTIONS", f"sip:127.0.0.1:{self.door[1]}", seconds=0.3).status == 200
            except (AssertionError, OSError):
                return False

        wait_until("Kamailio answers OPTIONS", alive, 20)
        prober.close()
        return self

    def _launch(self, command):
        log = open(f"{self.folder}/{command[0]}.log", "wb")
        command = inside(self.root, command)
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def pids(self):
        return [pid for process in self.processes for pid in tree(process.pid)]

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.relay:
            give_back(*self.ports)
        for folder in {self.folder, f"{self.root or ''}{self.folder}"}:
            shutil.rmtree(folder, ignore_errors=True)


def callers():
    """The kinds of system that carry a call without media, ours first: as it comes, and with no call kept over a crash,
    as none of the peers keeps any."""
    alone = functools.partial(Strowger, name="strowger, no journal", options=("--journal", "no"))
    return [Strowger, alone, *(functools.partial(Kamailio, root=root) for root in roots("kamailio"))]


def relayers():
    """The kinds of system that relay media, ours first."""
    return [Strowger, *(functools.partial(Kamailio, root=root) for root in roots("kamailio", "rtpengine"))]


def roots(*programs):
    """Where peers are: in the newer Debian's folder, if that is there and we may enter it, and in this system."""
    if not PEERS:
        return []
    folder = subprocess.run(
        [HERE.parent / "scripts/newer-debian.sh", "--check", "kamailio", "rtpengine-daemon"], capture_output=True, text=True
    ).stdout.strip()
    newer = [folder] if folder and os.geteuid() == 0 else []
    return [root for root in (*newer, None) if all(find(program, root) for program in programs)]


def inside(root, command):
    """A command as it is run: by its full path, and in the chroot if there is one."""
    program = find(command[0], root)
    if not program:
        raise SystemExit(f"{command[0]} is missing: scripts/install-test-peers.sh installs it")
    return [*(["chroot", root] if root else []), program, *command[1:]]


def have(program, root=None):
    return find(program, root) is not None


def find(program, root=None):
    places = [f"/usr/sbin/{program}", f"/usr/bin/{program}"]
    return next((place for place in places if os.access(f"{root or ''}{place}", os.X_OK)), None)


@functools.cache
def name_of(program, root=None):
    """E.g. `kamailio 5.6.3`."""
    command = inside(root, [program, "-v" if program == "kamailio" else "--version"])
    output = subprocess.run(command, capture_output=True, text=True)
    words = (output.stdout + output.stderr).replace(",", " ").split()
    version = next((word.split("-")[0] for word in words if word[:1].isdigit() and "." in word), "?")
    return f"{program} {version.split('+')[0]}"
