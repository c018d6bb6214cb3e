"""`strowger upgrade`: another process takes over, and neither calls nor requests are lost."""

import os
import signal
import threading
import time

import pytest

from lib import sdp
from lib.rtp import listen, talk, until_heard
from lib.sdp import Sdp
from lib.sipp import SippPair
from lib.switch import binary, run
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


@pytest.fixture
def upgraded(own_switch):
    """A factory of switches whose last process is ended with the test."""
    made = []

    def make(*options, **more):
        made.append(own_switch("--port-quiet-seconds", 1, *options, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def heir(switch):
    """Upgrades to the same binary; the number of the new process and for how many milliseconds nobody switched calls."""
    result = switch.upgrade(binary())
    assert result.returncode == 0, result.stderr + switch.log_text()[-3000:]
    words = result.stdout.split()
    return int(words[words.index("Process") + 1]), int(words[words.index("for") + 1])


def test_calls_and_ports_go_over_to_the_new_process(upgraded, rtp):
    switch = upgraded()
    two = Carriers(Tenant(switch))
    one, other = rtp(voice=0x41), rtp(voice=0x42)
    call, leg = two.established(sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port))
    to_a, to_b = Sdp(call.response.body).rtp, Sdp(leg.invite.body).rtp
    until_heard(one, to_a, other, to_b)
    ringing = two.call(body=sdp.audio("127.0.0.1", one.port))
    rings = two.bob.incoming()
    rings.reply(rings.invite, 180)
    ringing.expect(180)
    before = switch.process.pid
    process, away_ms = heir(switch)
    assert process != before
    print(f"nobody switched calls for {away_ms} ms")
    assert switch.healthy()
    assert switch.metric("strowger_calls_active") == 2
    talk([(one, to_a), (other, to_b)], packets=25)
    assert (other.heard(one), one.heard(other)) == (25, 25)
    rings.reply(rings.invite, 200, sdp.audio("127.0.0.1", other.port))
    ringing.expect(200)
    ringing.ack()
    rings.expect("ACK")
    for caller, called in ((call, leg), (ringing, rings)):
        bye = caller.request("BYE")
        called.expect_bye()
        assert two.alice.response_to(bye).status == 200
    wait_until("both have their record", lambda: len(switch.cdrs()) == 2)
    switch.assert_nothing_left()
    two.close()


def test_audio_waits_and_is_not_lost(upgraded, rtp):
    """Every packet that was sent while nobody relayed arrives in the end."""
    switch = upgraded()
    two = Carriers(Tenant(switch))
    one, other = rtp(voice=0x43), rtp(voice=0x44)
    call, leg = two.established(sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port))
    to_a, to_b = Sdp(call.response.body).rtp, Sdp(leg.invite.body).rtp
    until_heard(one, to_a, other, to_b)
    done = threading.Event()

    def replace():
        try:
            heir(switch)
        finally:
            done.set()

    upgrading = threading.Thread(target=replace)
    upgrading.start()
    sent, arrivals = 0, []
    while not done.is_set() or sent < 50:
        one.send(to_a)
        sent += 1
        before = len(other.received)
        deadline = time.monotonic() + 0.02
        while (left := deadline - time.monotonic()) > 0:
            other.rtp.setblocking(False)
            other.drain()
            time.sleep(min(left, 0.005))
        if len(other.received) > before:
            arrivals.append(time.monotonic())
    upgrading.join()
    first, last = one.sequence - sent, one.sequence - 1
    wait_until("the last packet", lambda: listen([other], 0.02) or any(got.sequence == last for got in other.received))
    missing = sorted(set(range(first, last + 1)) - {packet.sequence for packet in other.received})
    assert not missing, f"of {sent} packets from {first} on these are missing: {missing}"
    gap = max(later - earlier for earlier, later in zip(arrivals, arrivals[1:]))
    print(f"{sent} packets, the longest pause {gap * 1000:.0f} ms")
    bye = call.request("BYE")
    leg.expect_bye()
    assert two.alice.response_to(bye).status == 200
    two.close()


def test_no_request_is_lost_while_calls_arrive(upgraded, tmp_path):
    """SIPp calls at 50 per second, without repeating anything, and the switch is replaced three times meanwhile."""
    switch = upgraded(rtp_ports=1600)
    pair = SippPair(Tenant(switch), tmp_path)
    calls = 400
    # The new process repeats what its predecessor may not have sent any more.
    callee = pair.callee("callee", calls=calls, seconds=60)
    caller = pair.caller("caller", calls=calls, seconds=60, options=("-r", 50, "-d", 500, "-nr"))
    for _ in range(3):
        target = switch.metric("strowger_calls_started_total") + 50
        wait_until("calls arrive", lambda: switch.metric("strowger_calls_started_total") >= target, 20)
        heir(switch)
    stats = caller.finish()
    callee.finish()
    assert int(stats["SuccessfulCall(C)"]) == calls and int(stats["FailedCall(C)"]) == 0
    wait_until("a record of every call", lambda: len(switch.cdrs()) >= calls, 15, every=0.5)
    records = switch.cdrs()
    assert len(records) == calls and all(record["answered_ms"] for record in records)
    pair.stop()


def test_a_binary_that_does_not_start_changes_nothing(upgraded, rtp):
    switch = upgraded()
    two = Carriers(Tenant(switch))
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    before = switch.process.pid
    for wrong in ("/bin/false", "/nowhere/at/all"):
        result = run("upgrade", "--data", switch.data, "--binary", wrong)
        assert result.returncode == 1 and wrong in result.stderr
    assert switch.process.pid == before and switch.process.poll() is None and switch.healthy()
    bye = call.request("BYE")
    leg.expect_bye()
    assert two.alice.response_to(bye).status == 200
    two.close()


def test_a_successor_that_dies_gives_the_calls_back_to_the_old_binary(upgraded, tmp_path):
    switch = upgraded()
    two = Carriers(Tenant(switch))
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    # Says that it is prepared, and ends when it is given the sockets.
    traitor = tmp_path / "traitor"
    traitor.write_text("#!/bin/sh\nprintf p >&0\nhead -c 1 >/dev/null\nexit 3\n")
    traitor.chmod(0o755)
    result = switch.upgrade(traitor)
    assert result.returncode == 1 and "The former binary runs on" in result.stderr, result.stderr
    assert switch.healthy()
    bye = call.request("BYE")
    leg.expect_bye()
    assert two.alice.response_to(bye).status == 200
    two.close()


def test_without_a_switch_there_is_nothing_to_upgrade(tmp_path):
    result = run("upgrade", "--data", tmp_path)
    assert result.returncode == 1 and "No switch runs" in result.stderr


def test_the_new_process_stops_as_the_old_one_did(upgraded):
    switch = upgraded()
    process, _ = heir(switch)
    os.kill(process, signal.SIGTERM)
    wait_until("it has ended", lambda: switch.process.poll() is not None, 10)
    again = upgraded(name=switch.data.name, http_port=switch.http_port, sip_port=switch.sip_port)
    assert again.healthy()
