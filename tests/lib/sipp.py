"""Runs SIPp and reads its statistics."""

import csv
import pathlib
import subprocess

from .ports import free_port, waiting_bytes
from .waiting import wait_until

SCENARIOS = pathlib.Path(__file__).resolve().parents[1] / "sipp"
TRANSPORTS = {"UDP": "u1", "TCP": "t1"}


class Sipp:
    """One SIPp process. `calls` is how many it places or takes before it ends by itself."""

    def __init__(self, folder, scenario, calls=1, remote=None, transport="UDP", host="127.0.0.1", media_port=None,
                 keys=None, options=(), seconds=60):  # fmt: skip
        self.name = scenario
        self.port = free_port(host)
        self.host = host
        self.remote, self.seconds = remote, seconds
        self.base = pathlib.Path(folder) / f"{scenario}-{self.port}"
        command = ["sipp"]
        if remote:
            command.append(f"{'[' + remote[0] + ']' if ':' in remote[0] else remote[0]}:{remote[1]}")
        command += [
            "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", host, "-p", str(self.port), "-mi", host,
            "-t", TRANSPORTS[transport], "-m", str(calls), "-nostdin", "-timeout", str(seconds), "-timeout_error",
            "-trace_err", "-error_file", f"{self.base}.err", "-trace_stat", "-fd", "1", "-stf", f"{self.base}.csv",
            "-trace_msg", "-message_file", f"{self.base}.messages",
        ]  # fmt: skip
        if calls > 20:
            command = command[: command.index("-trace_msg")]
        if media_port:
            command += ["-mp", str(media_port)]
        for name, value in (keys or {}).items():
            command += ["-key", name, str(value)]
        command += [str(option) for option in options]
        self.command = command
        self.process = None

    def start(self):
        with open(f"{self.base}.screen", "wb") as screen:
            # In its own folder, for a few of SIPp's files have no option to be put elsewhere.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen, cwd=self.base.parent
            )
        if not self.remote:
            # A call that came before would be refused by the kernel.
            listens = lambda: waiting_bytes(self.port) is not None or self.process.poll() is not None  # noqa: E731
            wait_until(f"sipp {self.name} listens", listens)
        return self

    @property
    def address(self):
        return f"{'[' + self.host + ']' if ':' in self.host else self.host}:{self.port}"

    def stats(self):
        """The last line of SIPp's statistics: what it calls SuccessfulCall(C) and so on, as numbers where they are."""
        with open(f"{self.base}.csv") as file:
            rows = list(csv.reader(file, delimiter=";"))
        return dict(zip(rows[0], rows[-1]))

    def finish(self):
        """Waits for the end; all calls must have been good."""
        code = self.process.wait(self.seconds + 10)
        assert code == 0, f"sipp {self.name} ended with {code}\n{' '.join(self.command)}\n{self.evidence()}"
        return self.stats()

    def evidence(self):
        text = ""
        for kind in ("err", "messages", "screen"):
            path = pathlib.Path(f"{self.base}.{kind}")
            if path.exists() and kind != "screen":
                text += f"--- {kind}\n{path.read_text(errors='replace')[-4000:]}\n"
        return text

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class SippPair:
    """Carrier A and carrier B, both SIPp, around one tenant's two connections."""

    def __init__(self, tenant, folder):
        self.tenant, self.switch, self.folder = tenant, tenant.switch, folder
        self.running = []

    def callee(self, scenario, b=None, options=(), keys=None, **more):
        """Starts carrier B and creates its connection and the rule that leads to it."""
        sipp = Sipp(self.folder, scenario, keys=keys, options=options, **more).start()
        self.running.append(sipp)
        transport = {"connection_sip_transport_protocol": more.get("transport", "UDP")}
        self.tenant.connection("b", address=sipp.address, **{**transport, **(b or {})})
        self.tenant.rule("*", self.tenant.host("b"))
        return sipp

    def caller(self, scenario, a=None, options=(), keys=None, **more):
        """Creates carrier A's connection and starts its calls."""
        host = more.get("host", "127.0.0.1")
        keys = {"from_host": self.tenant.host("a"), "called": "13105550100", "caller": "12125550111", **(keys or {})}
        sipp = Sipp(self.folder, scenario, remote=self.switch.sip_address(host), keys=keys, options=options, **more)
        self.tenant.connection("a", address=sipp.address, **(a or {}))
        self.running.append(sipp.start())
        return sipp

    def stop(self):
        for sipp in self.running:
            sipp.stop()
