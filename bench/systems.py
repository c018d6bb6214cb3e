"""The systems that are measured. Each takes calls at `door` and sends them to carrier B at `CALLEE`.

A system has a name, a door, the pids of its processes, and can be started and stopped. All run on loopback.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from processes import tree  # noqa: E402

from lib.ports import free_port, free_range, give_back  # noqa: E402
from lib.sip_ua import Ua  # noqa: E402
from lib.switch import Switch  # noqa: E402
from lib.tenant import Tenant  # noqa: E402
from lib.waiting import wait_until  # noqa: E402

RTP_PORTS = 4000  # four for each call with media
THREADS = 2


class Strowger:
    """The switch: two trunks and a rule, made over its API."""

    def __init__(self, callee, relay, rtp_ports=RTP_PORTS, options=()):
        self.name = "strowger" + (" with its relay" if relay else "")
        self.rtp_ports, self.options = rtp_ports, options
        self.folder = tempfile.mkdtemp(prefix="strowger-bench-")
        self.callee, self.relay = callee, relay

    def start(self):
        self.switch = Switch(
            f"{self.folder}/data", rtp_ports=self.rtp_ports,
            options=("--port-quiet-seconds", 1, "--log-level", "warn", "--media-timeout-seconds", 0, *self.options),
        ).start()  # fmt: skip
        tenant = Tenant(self.switch)
        relay = {"connection_audio_relay_enabled": "yes" if self.relay else "no"}
        tenant.connection("a", address="127.0.0.1", **relay)
        tenant.connection("b", address=self.callee, **relay)
        tenant.rule("*", tenant.host("b"))
        self.from_host = tenant.host("a")
        self.door = self.switch.sip_address()
        return self

    def pids(self):
        return tree(self.switch.process.pid)

    def stop(self):
        self.switch.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Kamailio:
    """A proxy that stays in the dialog and keeps its state; with `relay`, rtpengine in user space beside it."""

    from_host = "a.example.net"

    def __init__(self, callee, relay):
        self.name = "Kamailio" + (" + rtpengine" if relay else "")
        self.folder = tempfile.mkdtemp(prefix="kamailio-bench-")
        self.callee, self.relay = callee, relay
        self.processes = []

    def start(self):
        self.door = ("127.0.0.1", free_port())
        command = [
            find("kamailio"), "-f", str(HERE / "kamailio.cfg"), "-DD", "-E", "-m", "512", "-M", "32",
            "-w", self.folder, "-Y", self.folder, "-l", f"udp:127.0.0.1:{self.door[1]}",
            "-A", f'NEXT_HOP="sip:{self.callee}"', "-A", f"WORKERS={THREADS}",
        ]  # fmt: skip
        if self.relay:
            control = free_port()
            self.ports = first, last = free_range(RTP_PORTS)
            self._launch([
                find("rtpengine"), "--config-file=none", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
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
        log = open(f"{self.folder}/{pathlib.Path(command[0]).name}.log", "wb")
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
        shutil.rmtree(self.folder, ignore_errors=True)


def have(program):
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin")


def find(program):
    found = have(program)
    if not found:
        raise SystemExit(f"{program} is missing: scripts/install-test-peers.sh installs it")
    return found


def version(program):
    """E.g. `5.6.3`, for the table's heading."""
    output = subprocess.run(
        [find(program), "-v" if program == "kamailio" else "--version"], capture_output=True, text=True
    )
    words = (output.stdout + output.stderr).replace(",", " ").split()
    return next((word.split("-")[0] for word in words if word[:1].isdigit() and "." in word), "?")
