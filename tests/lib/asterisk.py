"""Asterisk as a customer's PBX: registers with the switch as a trunk, calls out and is called, with PJSIP.

It runs in the newer Debian's folder with a configuration and a control socket of its own beneath /run there.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import audio
from .peers import newer_debian, stop
from .ports import free_port, free_range, give_back
from .waiting import wait_until

TONE_SECONDS = 60  # it plays the file again, with a gap between
# No more than a PBX of this kind needs: it starts in half a second, and what is not loaded cannot interfere.
MODULES = """
    res_sorcery_memory res_sorcery_config res_sorcery_astdb res_timing_timerfd res_pjproject res_pjsip res_pjsip_pubsub
    res_pjsip_session res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_authenticator_digest
    res_pjsip_outbound_authenticator_digest res_pjsip_outbound_registration res_pjsip_endpoint_identifier_ip
    res_pjsip_registrar res_pjsip_nat res_pjsip_rfc3326 res_pjsip_logger res_pjsip_dtmf_info chan_pjsip res_rtp_asterisk
    res_srtp res_crypto codec_ulaw codec_alaw codec_g722 codec_resample format_wav format_pcm app_playback app_mixmonitor
    res_clioriginate app_senddtmf app_echo app_dial app_read app_verbose func_channel func_callerid pbx_config bridge_simple bridge_native_rtp
""".split()

ASTERISK_CONF = """
[directories]
astetcdir => {home}
astmoddir => {modules}
astvarlibdir => {home}/lib
astdbdir => {home}
astkeydir => {home}/lib
astdatadir => /usr/share/asterisk
astagidir => {home}
astspooldir => {home}/spool
astrundir => {home}
astlogdir => {home}
astsbindir => /usr/sbin
[options]
nocolor = yes
"""

# 10x is answered, hears a tone and is recorded; 11x has to press three keys first; 2xx is sent on through the trunk.
EXTENSIONS_CONF = """
[general]
[from-trunk]
exten => _10X,1,Answer()
 same => n,Goto(talk,s,1)
exten => _11X,1,Answer()
 same => n,Read(PRESSED,,3,,1,20)
 same => n,Verbose(pressed: ${{PRESSED}})
 same => n,Goto(talk,s,1)
exten => _2XX,1,Dial(PJSIP/13105550${{EXTEN}}@trunk,30)
[talk]
exten => s,1,MixMonitor({home}/mixed.wav,r({home}/heard.wav))
 same => n(again),Playback({home}/tone)
 same => n,Goto(again)
[keys]
exten => s,1,Wait(1)
 same => n,SendDTMF(15#,200,120)
 same => n,Goto(talk,s,1)
"""

PJSIP_CONF = """
[global]
type = global
user_agent = Asterisk
[trunk-transport]
type = transport
protocol = {protocol}
bind = 127.0.0.1:{port}
{transport}
[trunk-auth]
type = auth
auth_type = userpass
username = {username}
password = {password}
[trunk-registration]
type = registration
transport = trunk-transport
outbound_auth = trunk-auth
server_uri = {server}
client_uri = sip:{username}@{host}
contact_user = {username}
expiration = 120
retry_interval = 2
max_random_initial_delay = 0
forbidden_retry_interval = 2
max_random_initial_delay = 0
endpoint = trunk
line = yes
[trunk]
type = aor
contact = {server}
[trunk-identify]
type = identify
endpoint = trunk
match = 127.0.0.1
[trunk]
type = endpoint
transport = trunk-transport
context = from-trunk
disallow = all
allow = {codecs}
aors = trunk
outbound_auth = trunk-auth
from_domain = {host}
from_user = 12125550100
direct_media = no
dtmf_mode = rfc4733
{endpoint}
"""


class Asterisk:
    """One Asterisk whose trunk registers as `username` at `host`, by way of the switch at `door`, over UDP, TCP or TLS.
    With `srtp` its media are SRTP. More lines for the endpoint in `endpoint`, as in pjsip.conf."""

    def __init__(self, _folder, door, host, username, password, tone_hz, transport="UDP", authority=None, srtp=False,
                 codecs="ulaw", endpoint=""):  # fmt: skip
        self.root = newer_debian("asterisk")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="strowger-", dir=self.root / "run"))
        self.home = f"/run/{self.folder.name}"
        self.port = free_port()
        self.rtp_first, self.rtp_last = free_range(40)
        self.username, self.host, self.transport = username, host, transport.lower()
        self.process = None
        (self.folder / "spool/monitor").mkdir(parents=True)
        (self.folder / "lib/keys").mkdir(parents=True)
        audio.write_wav(self.folder / "tone.wav", audio.tone(tone_hz, 1) * TONE_SECONDS)
        server = f"sip:{door[0]}:{door[1]};transport={self.transport}"
        transport_lines = ""
        if transport == "TLS":
            own = authority.sign("pbx")
            for source, name in zip((authority.certificate, *own), ("ca.pem", "own.pem", "own.key")):
                shutil.copy(source, self.folder / name)
            transport_lines = (
                f"method = tlsv1_2\ncert_file = {self.home}/own.pem\npriv_key_file = {self.home}/own.key\n"
                f"ca_list_file = {self.home}/ca.pem\nverify_server = yes\n"
            )
        if srtp:
            endpoint += "\nmedia_encryption = sdes\n"
        modules = next(path for path in self.root.glob("usr/lib/*/asterisk/modules"))
        self._write("asterisk.conf", ASTERISK_CONF.format(home=self.home, modules=f"/{modules.relative_to(self.root)}"))
        self._write("modules.conf", "[modules]\nautoload = no\n" + "".join(f"load = {one}.so\n" for one in MODULES))
        self._write("logger.conf", "[general]\n[logfiles]\nlog => notice,warning,error,verbose\n")
        self._write("rtp.conf", f"[general]\nrtpstart = {self.rtp_first}\nrtpend = {self.rtp_last}\n")
        self._write("extensions.conf", EXTENSIONS_CONF.format(home=self.home))
        self._write("pjsip.conf", PJSIP_CONF.format(
            protocol=self.transport, port=self.port, transport=transport_lines, username=username, password=password,
            server=server, host=host, codecs=codecs, endpoint=endpoint,
        ))  # fmt: skip

    def _write(self, name, text):
        (self.folder / name).write_text(text)

    def _program(self, *arguments):
        return ["chroot", str(self.root), "/usr/sbin/asterisk", "-C", f"{self.home}/asterisk.conf", *arguments]

    def start(self):
        with open(self.folder / "screen", "wb") as screen:
            self.process = subprocess.Popen(
                self._program("-f", "-vvv"), stdin=subprocess.DEVNULL, stdout=screen, stderr=screen,
                env={**os.environ, "HOME": "/root", "LC_ALL": "C"},
            )  # fmt: skip
        wait_until("Asterisk is up", lambda: "System uptime" in self.say("core show uptime", check=False), 30, every=0.2)
        self.say("pjsip set logger on")
        return self

    def say(self, command, check=True):
        """A command of Asterisk's console; what it prints."""
        assert self.process.poll() is None, f"Asterisk ended:\n{self.evidence()}"
        done = subprocess.run(self._program("-rx", command), capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}\n{self.evidence()}"
        return done.stdout

    def registered(self, seconds=20):
        def shown():
            return "Registered" in self.say("pjsip show registrations")

        try:
            wait_until("Asterisk is registered", shown, seconds, every=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.evidence()}") from None
        return self

    def unregister(self):
        self.say("pjsip send unregister trunk-registration")

    def call(self, number, context="talk"):
        """Calls `number` through the trunk; once it answers, it talks to the extension s of `context`."""
        self.say(f"channel originate PJSIP/{number}@trunk extension s@{context}")

    def pressed(self):
        """The keys that the caller of 11x pressed, once all three are known."""
        found = re.search(r"app_verbose.c: pressed: (\S+)", self.evidence())
        return found and found.group(1)

    def hang_up(self):
        """Ends every call."""
        self.say("channel request hangup all")

    def channels(self):
        return int(self.say("core show channels count").split()[0])

    def recorded_seconds(self):
        """How much of the running call's far end is in its file by now."""
        path = self.folder / "heard.wav"
        return path.stat().st_size / 2 / audio.RATE_HZ if path.exists() else 0

    def heard(self):
        """What the far end of the recorded call sent; whole once the call is over."""
        wait_until("Asterisk has no call", lambda: self.channels() == 0, 10, every=0.2)
        log = (self.folder / "log").read_text
        ended = lambda: log().count("End MixMonitor") == log().count("Begin MixMonitor") > 0  # noqa: E731
        wait_until("Asterisk's recording is finished", ended, 10)
        samples, rate_hz = audio.read_wav(self.folder / "heard.wav")
        assert rate_hz == audio.RATE_HZ
        return samples

    def evidence(self):
        """The log since the start was over."""
        log = self.folder / "log"
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = text.partition("Asterisk Ready.")[2].splitlines()
        return "\n".join(line for line in lines if "Remote UNIX" not in line)[-12000:] or text[-3000:]

    def stop(self):
        stop(self.process)
        give_back(self.rtp_first, self.rtp_last)
        shutil.rmtree(self.folder, ignore_errors=True)
