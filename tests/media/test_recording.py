"""Recordings: who is heard on which side, without gaps, and what becomes of them when the disk or the switch does not last."""

import os
import pathlib
import shutil
import stat
import subprocess
import time

import pytest

from lib import audio, sdp
from lib.rtp import SAMPLES, packet
from lib.sdp import Sdp
from lib.srtp import Sender
from lib.switch import run
from lib.tenant import Carriers, Tenant
from lib.tone_port import TonePort
from lib.waiting import wait_until

# Neither is a multiple of the other, and a slip of one sample turns neither by more than 30 degrees.
LEFT_HZ, RIGHT_HZ = 440, 600
RECORDED = {"connection_record_all_calls_enabled": "yes"}

# A sender that this machine kept waiting for longer than this has left a gap of its own, which is in the recording.
STALLED_SECONDS = 0.25
ATTEMPTS = 4


class SealedTonePort(TonePort):
    """A `TonePort` whose packets are sealed. They are made before the call: that takes this Python its time."""

    def __init__(self, frequency_hz, seconds, **more):
        super().__init__(frequency_hz, **more)
        self.keys = Sender()
        self.sealed = [
            self.keys.seal(packet(0, self.sequence + n, self.timestamp + n * SAMPLES, self.ssrc,
                                  self.packets[n % len(self.packets)]))
            for n in range(int(seconds * 50))
        ]  # fmt: skip

    def send(self, destination, payload_type=0, payload=None, marker=False):
        if self.sent < len(self.sealed):
            self.rtp.sendto(self.sealed[self.sent], destination)
            self.sent += 1


@pytest.fixture
def port():
    """A factory of tone ports."""
    made = []

    def make(frequency_hz, kind=TonePort, **more):
        made.append(kind(frequency_hz, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answered(two, offer, answer):
    call, leg = two.established(offer, answer)
    return call, leg, Sdp(call.response.body).rtp, Sdp(leg.invite.body).rtp


def talk(two, one, other, seconds=3.0, crypto=()):
    """A call in which both ports play: (call, leg), and the ports have been heard for so long."""
    offer = sdp.audio("127.0.0.1", one.port, extra=crypto)
    if crypto:
        offer = offer.replace(b"RTP/AVP", b"RTP/SAVP")
    call, leg, to_a, to_b = answered(two, offer, sdp.audio("127.0.0.1", other.port))
    one.play(to_a)
    other.play(to_b)
    listener = other if crypto else one
    tone = LEFT_HZ if crypto else RIGHT_HZ
    wait_until("enough has been said", lambda: listener.heard_seconds(tone, seconds), 60, every=0.1)
    return call, leg


def undisturbed(attempt, *ports):
    """Runs `attempt` until the senders were punctual; what it returns."""
    for _ in range(ATTEMPTS):
        made = [port() for port in ports]
        result = attempt(*made)
        if all(one.latest < STALLED_SECONDS for one in made):
            break
    return result


def file_of(switch, record):
    return switch.data / record["recording"]["path"]


def assert_heard(samples, here, not_here, seconds):
    # A packet or two is early or late against our clock where the machine is busy, never more.
    audio.assert_tone(samples, here, seconds, slips=4)
    audio.assert_no_tone(samples, not_here)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("asks", ["a", "b"])
def test_each_side_is_heard_in_its_own_channel(carriers, port, asks):
    # The relay is off, and has to come in all the same.
    off = {"connection_audio_relay_enabled": "no"}
    two = carriers(**{side: {**off, **(RECORDED if side == asks else {})} for side in "ab"})

    def attempt(one, other):
        call, leg = talk(two, one, other)
        one.quiet(), other.quiet()
        two.hang_up(call, leg)
        return two.record(call)

    record = undisturbed(attempt, lambda: port(LEFT_HZ), lambda: port(RIGHT_HZ))
    recording = record["recording"]
    assert recording["failure"] is None and recording["owner"] == f"domain@{two.tenant.domain}"
    assert recording["path"].startswith(f"recordings/{two.tenant.domain}/") and record["id"] in recording["path"]
    path = file_of(two.switch, record)
    left, right = audio.read_stereo(path)
    assert_heard(left, LEFT_HZ, RIGHT_HZ, 2.8)
    assert_heard(right, RIGHT_HZ, LEFT_HZ, 2.8)
    length_ms = len(left) * 1000 // audio.RATE_HZ
    assert recording["duration_ms"] == length_ms
    talk_ms = record["ended_ms"] - record["answered_ms"]
    assert abs(length_ms - talk_ms) < 200, "as long as the call"
    assert mode(path) == 0o600
    assert {mode(folder) for folder in list(path.parents)[:3]} == {0o700}
    shown = run("cdr", "tail", "--data", two.switch.data, "--all", "--no-follow").stdout
    assert recording["path"] in shown


def test_nothing_is_recorded_where_nobody_asks(carriers, port):
    two = carriers()
    call, leg = talk(two, port(LEFT_HZ), port(RIGHT_HZ), seconds=0.5)
    two.hang_up(call, leg)
    assert "recording" not in two.record(call)
    assert not (two.switch.data / "recordings" / two.tenant.domain).exists()


def test_what_was_sealed_is_recorded_open(carriers, port):
    two = carriers(b=RECORDED)

    def attempt(one, other):
        call, leg = talk(two, one, other, seconds=2.0, crypto=[one.keys.crypto])
        two.hang_up(call, leg)
        return two.record(call)

    record = undisturbed(
        attempt, lambda: port(LEFT_HZ, SealedTonePort, seconds=20), lambda: port(RIGHT_HZ)
    )
    left, right = audio.read_stereo(file_of(two.switch, record))
    assert_heard(left, LEFT_HZ, RIGHT_HZ, 1.8)
    assert_heard(right, RIGHT_HZ, LEFT_HZ, 1.8)


def test_a_hold_is_silence_in_the_same_file(carriers, port):
    two = carriers(a=RECORDED)
    one, other = port(LEFT_HZ), port(RIGHT_HZ)
    call, leg = talk(two, one, other, seconds=1.0)
    to_a, to_b = one.destination, other.destination
    one.quiet(), other.quiet()
    # Held for as long as it takes to say so twice; then another port of the same phone goes on.
    for version, direction in ((2, "inactive"), (3, "sendrecv")):
        call.reinvite(sdp.audio("127.0.0.1", one.port, version=version, direction=direction))
        leg.reply(leg.expect("INVITE"), 200, sdp.audio("127.0.0.1", other.port, version=version, direction=direction))
        call.expect(200)
        call.ack()
        leg.expect("ACK")
        time.sleep(0.3)  # part of the recording, not a wait for anything
    before = one.heard(RIGHT_HZ).seconds
    one.play(to_a), other.play(to_b)
    wait_until("they talk again", lambda: one.heard_seconds(RIGHT_HZ, before + 1.0), 30, every=0.1)
    two.hang_up(call, leg)
    record = two.record(call)
    left, right = audio.read_stereo(file_of(two.switch, record))
    folder = file_of(two.switch, record).parent
    assert [path.name for path in folder.iterdir()] == [f"{record['id']}.wav"]
    for samples, tone in ((left, LEFT_HZ), (right, RIGHT_HZ)):
        heard = audio.Heard(samples, tone)
        assert heard.seconds >= 1.8, heard
        assert max(length for _, length in heard.gaps) >= 0.5, heard


def test_a_file_is_playable_after_kill_nine(own_switch, port):
    switch = own_switch()
    two = Carriers(Tenant(switch), a=RECORDED)
    one, other = port(LEFT_HZ), port(RIGHT_HZ)
    talk(two, one, other, seconds=4.0)
    said = other.heard(LEFT_HZ).seconds
    switch.kill()
    two.close()
    (path,) = (switch.data / "recordings").rglob("*.wav")
    left, right = audio.read_stereo(path)
    lost = said - audio.Heard(left, LEFT_HZ).seconds
    assert lost < 1.5, f"{lost:.2f} s of {said:.2f} are lost"
    assert audio.Heard(right, RIGHT_HZ).seconds > 2.0


def test_with_too_little_room_left_the_call_goes_on_without_recording(own_switch, port):
    switch = own_switch("--recording-reserve-mib", 1_000_000_000)
    two = Carriers(Tenant(switch), a=RECORDED)
    call, leg = talk(two, port(LEFT_HZ), port(RIGHT_HZ), seconds=0.5)
    two.hang_up(call, leg)
    recording = two.record(call)["recording"]
    assert recording["path"] is None and "recording_reserve_mib" in recording["failure"]
    assert switch.metric("strowger_recordings_total", outcome="failed") == 1
    assert "a call is not recorded" in switch.log_text()
    assert not list((switch.data / "recordings").rglob("*.wav"))
    two.close()


def small_disk(data, kib):
    """The command that gives a switch a disk of its own for recordings, of so many KiB; skips where there can be none."""
    unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    mount = f'mount -t tmpfs -o size={kib}k,mode=0700 strowger-test "$0" && exec "$@"'
    (data / "recordings").mkdir(parents=True, mode=0o700)
    data.chmod(0o700)
    wrapper = [*unshare, "sh", "-c", mount, data / "recordings"]
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True) if shutil.which("unshare") else None
    if tried is None or tried.returncode:
        pytest.skip(f"NO DISK CAN BE FILLED UP HERE, the test of a full one did not run: {tried and tried.stderr}")
    return wrapper


def test_a_full_disk_ends_the_recording_and_not_the_call(own_switch, port, tmp_path):
    data = tmp_path / "full"
    wrapper = small_disk(data, 96)  # three seconds
    switch = own_switch("--recording-reserve-mib", 0, name="full", wrapper=wrapper)
    two = Carriers(Tenant(switch), a=RECORDED)
    one, other = port(LEFT_HZ), port(RIGHT_HZ)
    call, leg = talk(two, one, other, seconds=1.0)
    wait_until("the disk is full", lambda: switch.metric("strowger_recordings_total", outcome="cut") == 1, 30)
    # Nobody who talks notices.
    before = one.heard(RIGHT_HZ).seconds
    wait_until("they talk on", lambda: one.heard_seconds(RIGHT_HZ, before + 2.0), 30, every=0.1)
    two.hang_up(call, leg)
    record = two.record(call)
    recording = record["recording"]
    assert recording["failure"] == "the disk is full"
    assert 1_000 < recording["duration_ms"] <= 96 * 1024 / 32
    assert record["ended_ms"] - record["answered_ms"] > recording["duration_ms"] + 1_000
    said = [line for line in switch.log_text().splitlines() if "a recording ends before its call" in line]
    assert len(said) == 1 and "the disk is full" in said[0], switch.log_text()
    # The file is in the switch's own view of the file system.
    left, right = audio.read_stereo(pathlib.Path(f"/proc/{switch.process.pid}/root{data / recording['path']}"))
    assert len(left) * 1000 // audio.RATE_HZ == recording["duration_ms"]
    assert audio.Heard(left, LEFT_HZ).seconds > 1.0 and audio.Heard(right, RIGHT_HZ).seconds > 1.0

    # Where there is no room at all, the next one does not even begin.
    call, leg = talk(two, one, other, seconds=0.5)
    two.hang_up(call, leg)
    recording = two.record(call)["recording"]
    assert recording["failure"] == "the disk is full"
    two.close()
