"""Starts and stops the switch under test: the real binary, as a user would start it."""

import json
import os
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request
from functools import partial

from . import metrics
from .api import Api
from .ports import free_port, free_range, give_back
from .waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 20
# Gauges of /metrics that count work in progress, with their labels.
IN_PROGRESS = (
    ("strowger_calls_active", {}),
    ("strowger_relays", {}),
    ("strowger_sip_sessions", {}),
    ("strowger_sip_transactions", {}),
    ("strowger_media_port_pairs", {"state": "in_use"}),
)


def binary():
    """STROWGER_BIN, else the newest build of this checkout."""
    if "STROWGER_BIN" in os.environ:
        return pathlib.Path(os.environ["STROWGER_BIN"])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    builds = [path for kind in ("release", "debug") if (path := target / kind / "strowger").exists()]
    if not builds:
        raise RuntimeError(f"no strowger binary in {target}: `make build` first, or set STROWGER_BIN")
    return max(builds, key=lambda path: path.stat().st_mtime)


def run(*arguments, timeout=30, env=None):
    """A short command of the binary, e.g. run("explain", …); the finished process with its output as text."""
    return subprocess.run(
        [binary(), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, env=clean_environment(env)
    )


def clean_environment(extra=None):
    """Our environment without STROWGER_ settings of the developer's shell."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STROWGER_")}
    return {**kept, **(extra or {})}


class Heir:
    """A switch that an upgrade has started, and that is not our child: what `subprocess.Popen` offers, as far as needed."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        try:
            state = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            state = "X"
        # Nobody may be there to ask what its last word was.
        self.returncode = 0 if state in "XZ" else None
        return self.returncode

    def wait(self, seconds):
        try:
            wait_until("the heir has ended", lambda: self.poll() is not None, seconds)
        except AssertionError as error:
            raise subprocess.TimeoutExpired("strowger", seconds) from error
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Switch:
    """One `strowger serve` on free loopback ports with its records in `data`."""

    def __init__(self, data, sip=("127.0.0.1",), rtp_ports=400, http_port=None, sip_port=None, options=(), env=None,
                 wrapper=()):  # fmt: skip
        self.data = pathlib.Path(data)
        self.http_port = http_port or free_port()
        self.sip_port = sip_port or free_port()
        self.sip_hosts = list(sip)
        self.rtp_first, self.rtp_last = free_range(rtp_ports)
        self.options, self.env = list(options), env
        self.inherits = []  # descriptors that the process is given
        self.wrapper = list(wrapper)  # a command that becomes the switch: it execs what stands behind it
        self.origin = f"http://127.0.0.1:{self.http_port}"
        self.log_path = self.data.parent / f"{self.data.name}.log"
        self.process = None

    # -- life ---------------------------------------------------------------------------------------------------

    def command(self):
        sip = [part for host in self.sip_hosts for part in ("--sip", f"{bracketed(host)}:{self.sip_port}")]
        return [
            *map(str, self.wrapper), str(binary()), "serve", "--data", str(self.data), "--http", f"127.0.0.1:{self.http_port}", *sip,
            "--rtp-ports", f"{self.rtp_first}-{self.rtp_last}", *map(str, self.options),
        ]  # fmt: skip

    def launch(self):
        """Starts the process and returns at once."""
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=clean_environment(self.env), pass_fds=self.inherits,
        )  # fmt: skip
        return self

    def start(self):
        """Starts the process and waits until it says that it is ready."""
        self.launch()
        wait_until("the switch answers /healthz with 200", self.healthy_or_dead, START_SECONDS)
        return self

    def healthy_or_dead(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the switch ended with {self.process.returncode}:\n{self.log_text()[-3000:]}")
        return self.healthy()

    def healthy(self):
        try:
            with urllib.request.urlopen(self.origin + "/healthz", timeout=2) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=STOP_SECONDS):
        """The exit code."""
        return self.process.wait(seconds)

    def kill(self):
        """As a power cut: no chance to flush."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def upgrade(self, successor):
        """Lets another binary take over; the finished command. Whoever is the switch now is `process`."""
        before = self.process
        result = run("upgrade", "--data", self.data, "--binary", successor, timeout=60)
        words = result.stdout.split() + result.stderr.replace(".", " ").split()
        for word, number in zip(words, words[1:]):
            if word.lower() == "process" and number.isdigit() and int(number) != before.pid:
                before.wait(STOP_SECONDS)
                self.process = Heir(int(number))
        return result

    def stop(self):
        """Ends the process by hook or by crook; safe to call twice. A second SIGTERM skips the draining."""
        if self.process and self.process.poll() is None:
            self.terminate()
            try:
                self.wait(2)
            except subprocess.TimeoutExpired:
                self.terminate()
                try:
                    self.wait(5)
                except subprocess.TimeoutExpired:
                    self.kill()
        if self.process and not self.log.closed:
            self.log.close()
            give_back(self.rtp_first, self.rtp_last)

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # -- faces --------------------------------------------------------------------------------------------------

    @property
    def key(self):
        """The super user's API key, written at the first start."""
        return (self.data / "superuser.key").read_text().strip()

    @property
    def api(self):
        return Api(self.origin, self.key)

    def sip_address(self, near=None):
        """Where it listens: on that host itself, if it does, else on its first."""
        return (near if near in self.sip_hosts else self.sip_hosts[0], self.sip_port)

    def metrics(self):
        return metrics.read(self.origin)

    def metric(self, name, **labels):
        return metrics.total(self.metrics(), name, **labels)

    def assert_nothing_left(self):
        """Every gauge of work in progress is back at zero, no thread ever panicked."""
        # Transactions linger for 32 s after the last answer (RFC 3261 timer H and its relatives).
        for gauge, labels in IN_PROGRESS:
            wait_until(f"{gauge} {labels} is back at 0", partial(self._is_zero, gauge, labels), 45, every=0.5)
        assert self.metric("strowger_panics_total") == 0

    def _is_zero(self, gauge, labels):
        return self.metric(gauge, **labels) == 0

    def cdrs(self):
        """All call records so far, oldest first, through the command a user has."""
        result = run("cdr", "tail", "--json", "--data", self.data, "--all", "--no-follow")
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines() if line.strip()]


def bracketed(host):
    return f"[{host}]" if ":" in host else host
