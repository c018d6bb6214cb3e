"""A phone on PJSIP, driven through its Python module in a process of its own: if that crashes, no test does."""

import json
import os
import pathlib
import subprocess
import threading

from . import audio
from .peers import pjsua2, stop
from .ports import free_port, free_range, give_back
from .waiting import wait_until

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "interop" / "pjsua2_phone.py"
TONE_SECONDS = 180  # its player leaves a silent frame where the file begins anew
PYTHON = "/usr/bin/python3"  # the one that the installer asked pip for


class Pjsua2:
    """One phone with one account: `username` at `host`, by way of the switch at `door`. `prack`: NOT_USED, OPTIONAL or
    MANDATORY; `timer`: INACTIVE, OPTIONAL, REQUIRED or ALWAYS; `srtp`: DISABLED, OPTIONAL or MANDATORY; with `rings` it
    lets calls ring until it is told to answer."""

    def __init__(self, folder, door, host, username, password, tone_hz, codec="PCMU", transport="UDP", authority=None,
                 rings=False, prack="OPTIONAL", timer="OPTIONAL", srtp="DISABLED", ice=False):  # fmt: skip
        self.site = pjsua2()
        self.folder = pathlib.Path(folder) / f"pjsua2-{tone_hz}"
        self.folder.mkdir()
        audio.write_wav(self.folder / "tone.wav", audio.tone(tone_hz, 1) * TONE_SECONDS)
        self.rtp_first, self.rtp_last = free_range(40)
        self.words = {
            "port": free_port(), "rtp_port": self.rtp_first, "transport": transport, "host": host, "username": username,
            "password": password, "proxy": f"sip:{door[0]}:{door[1]};transport={transport.lower()};lr", "codec": codec,
            "tone": str(self.folder / "tone.wav"), "heard": str(self.folder / "heard.wav"), "ca": str(authority.certificate if authority else ""),
            "log": str(self.folder / "log"), "rings": rings, "prack": prack, "timer": timer, "srtp": srtp, "ice": ice,
        }  # fmt: skip
        self.process, self.events, self.past = None, [], []

    def start(self):
        with open(self.folder / "screen", "wb") as screen:
            self.process = subprocess.Popen(
                [PYTHON, "-B", str(SCRIPT), json.dumps(self.words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=screen, env={**os.environ, "PYTHONPATH": str(self.site)}, cwd=self.folder,
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        self.await_event("ready")
        return self

    def _listen(self):
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))

    def say(self, what, **more):
        """One command; what comes of it shows in the events."""
        self.process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
        self.process.stdin.flush()

    def await_event(self, event, seconds=20, **facts):
        """The next event of that name and those facts; it and all before it are taken."""

        def come():
            for place, one in enumerate(self.events):
                assert one["event"] != "error", f"{one['text']}\n{self.evidence()}"
                if one["event"] == event and facts.items() <= one.items():
                    self.past += self.events[: place + 1]
                    del self.events[: place + 1]
                    return one
            return None

        try:
            return wait_until(f"pjsua2 says {event} {facts or ''}", come, seconds)
        except AssertionError as error:
            told = [one for one in self.past + self.events if one["event"] != "message"]
            raise AssertionError(f"{error}; told so far: {told}\n{self.evidence()}") from None

    def registered(self):
        self.await_event("registered", code=200)
        return self

    def messages(self):
        """The text of every SIP message that it got in a transaction of a call, oldest first."""
        return [one["text"] for one in self.past + self.events if one["event"] == "message"]

    def heard(self):
        """All that it heard until now, in all calls; complete once it has stopped."""
        return audio.read_wav(self.folder / "heard.wav")[0]

    def evidence(self):
        parts = [(self.folder / name) for name in ("screen", "log")]
        return "\n".join(path.read_text(errors="replace")[-12000:] for path in parts if path.exists())

    def stop(self):
        """Ends it as a user would, so that it unregisters and its recording is finished."""
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                stop(self.process)
        give_back(self.rtp_first, self.rtp_last)
