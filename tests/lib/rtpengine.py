"""rtpengine as the relay of a carrier's edge, in user space, told what to do by Kamailio."""

import pathlib
import subprocess

from .peers import program, stop
from .ports import free_port, free_range, give_back


class Rtpengine:
    """One rtpengine on loopback; `control` is where its protocol is spoken."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.control = f"127.0.0.1:{free_port()}"
        self.first, self.last = free_range(80)
        self.process = None

    def start(self):
        command = [
            program("rtpengine"), "--config-file=none", "--foreground", "--log-stderr", "--log-level=6", "--table=-1",
            "--interface=127.0.0.1", f"--listen-ng={self.control}", f"--port-min={self.first}", f"--port-max={self.last}",
            "--num-threads=2", f"--pidfile={self.folder}/rtpengine.pid",
        ]  # fmt: skip
        with open(self.folder / "rtpengine.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def evidence(self):
        return (self.folder / "rtpengine.log").read_text(errors="replace")[-6000:]

    def stop(self):
        stop(self.process)
        give_back(self.first, self.last)
