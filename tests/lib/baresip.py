"""baresip as a phone: plays a tone from a file, keeps what it hears in a WAV file, obeys over its control port."""

import json
import pathlib
import socket
import subprocess
import threading

from . import audio
from .peers import program, stop
from .ports import free_port, free_range, give_back
from .waiting import wait_until

CODECS = {"pcmu": ("PCMU/8000/1", 8000, 1), "pcma": ("PCMA/8000/1", 8000, 1), "opus": ("opus/48000/2", 48000, 2)}
TONE_SECONDS = 120  # the file has to be longer than any call, for its end ends the call

CONFIG = """
sip_listen 127.0.0.1:{port}
sip_cafile {ca}
call_local_timeout 60
call_max_calls 4
audio_source aufile,{folder}/tone.wav
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
rtp_ports {rtp_first}-{rtp_last}
jitter_buffer_delay 2-20
module_path {modules}
module g711.so
module opus.so
module aufile.so
module aubridge.so
module sndfile.so
module srtp.so
module dtls_srtp.so
module ctrl_tcp.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {folder}
"""


class Baresip:
    """One phone with one account: `username` at `host`, by way of the switch at `door`. `media` is its word for the
    encryption: srtp-mand, srtp, dtls_srtp or None. It takes every call at once."""

    def __init__(self, folder, door, host, username, password, tone_hz, codec="pcmu", media=None, transport="UDP",
                 register=True, authority=None):  # fmt: skip
        self.folder = pathlib.Path(folder) / f"baresip-{tone_hz}"
        self.folder.mkdir()
        self.port, self.control = free_port(), free_port()
        self.rtp_first, self.rtp_last = free_range(40)
        name, self.rate_hz, channels = CODECS[codec]
        second = audio.tone(tone_hz, 1, self.rate_hz)
        audio.write_wav(self.folder / "tone.wav", second * TONE_SECONDS, self.rate_hz, channels)
        modules = next(path for path in map(pathlib.Path, MODULES) if path.is_dir())
        (self.folder / "config").write_text(CONFIG.format(
            port=self.port, folder=self.folder, rtp_first=self.rtp_first, rtp_last=self.rtp_last, modules=modules,
            control=self.control, ca=authority.certificate if authority else "",
        ))  # fmt: skip
        (self.folder / "contacts").write_text("")
        words = [
            f"<sip:{username}@{host}>", f"auth_user={username}", f"auth_pass={password}", "answermode=auto",
            f'outbound="sip:{door[0]}:{door[1]};transport={transport.lower()}"', f"audio_codecs={name}", "ptime=20",
            f"regint={120 if register else 0}", *([f"mediaenc={media}"] if media else []),
        ]  # fmt: skip
        (self.folder / "accounts").write_text(";".join(words) + "\n")
        self.process, self.sock = None, None
        self.answers, self.events = {}, []
        self.number = 0

    def start(self):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [program("baresip"), "-4", "-v", "-s", "-f", str(self.folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        wait_until("baresip is ready", lambda: "baresip is ready" in self.log(), 20)
        self.sock = socket.create_connection(("127.0.0.1", self.control), 5)
        self.sock.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def _listen(self):
        """Reads netstrings: answers to commands, and events."""
        waiting = b""
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            waiting += data
            while b":" in waiting:
                length, _, rest = waiting.partition(b":")
                if len(rest) <= int(length):
                    break
                message, waiting = json.loads(rest[: int(length)]), rest[int(length) + 1 :]
                if message.get("response"):
                    self.answers[message["token"]] = message
                else:
                    self.events.append(message)

    def say(self, command, params=""):
        """One command of its menu; what it prints."""
        assert self.process.poll() is None, f"baresip ended:\n{self.evidence()}"
        self.number += 1
        token = str(self.number)
        text = json.dumps({"command": command, "params": params, "token": token}).encode()
        self.sock.sendall(b"%d:%s," % (len(text), text))
        wait_until(f"baresip answers {command}", lambda: token in self.answers, 10)
        answer = self.answers[token]
        assert answer["ok"], f"baresip, {command} {params}: {answer['data']}\n{self.evidence()}"
        return answer["data"]

    def await_event(self, kind, seconds=20):
        """The next event of that kind that was not taken yet, e.g. CALL_ESTABLISHED."""

        def come():
            for event in self.events:
                if event.get("type") == kind:
                    self.events.remove(event)
                    return event
            return None

        try:
            return wait_until(f"baresip says {kind}", come, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.evidence()}") from None

    def registered(self):
        try:
            wait_until("baresip is registered", lambda: "OK" in self.say("reginfo"), 20, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.evidence()}") from None
        return self

    def dial(self, uri):
        self.say("dial", uri)

    def press(self, keys):
        """Presses and lets go of each key."""
        for key in keys:
            self.say("sndcode", key)

    def heard(self):
        """What the last call's far end sent: complete once the call is over. Samples; their rate is `self.rate_hz`."""
        dumps = sorted(self.folder.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime)
        assert dumps, f"baresip recorded nothing:\n{self.evidence()}"
        samples, rate_hz = audio.read_wav(dumps[-1])
        assert rate_hz == self.rate_hz
        return samples

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def evidence(self):
        return self.log()[-12000:]

    def stop(self):
        if self.sock:
            self.sock.close()
        stop(self.process)
        give_back(self.rtp_first, self.rtp_last)


MODULES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")
