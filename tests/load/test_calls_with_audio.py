"""Many calls at 50 per second with audio: none fails, nothing is left over, each has its record."""

import pytest

from lib.ports import free_port
from lib.sipp import SippPair
from lib.tenant import Tenant
from lib.waiting import wait_until

RATE = 50
TALK_MS = 2000


@pytest.fixture
def fresh(own_switch, tmp_path):
    """Makes a switch with ports for so many calls, and a pair of SIPp around it."""
    pairs = []

    def make(calls):
        switch = own_switch("--port-quiet-seconds", 1, rtp_ports=4 * calls)
        pairs.append(SippPair(Tenant(switch), tmp_path))
        (tmp_path / "tone.ulaw").write_bytes(bytes([0x55]) * 16_000)
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.stop()


def run(fresh, calls):
    pair = fresh(calls)
    switch = pair.switch
    seconds = calls // RATE + 60
    # Each side has one media port for all its calls: the switch has a port for each, which tells them apart.
    callee = pair.callee("callee", calls=calls, options=("-rtp_echo",), media_port=free_port(), seconds=seconds)
    caller = pair.caller("caller_with_audio", calls=calls, media_port=free_port(), seconds=seconds,
                         options=("-r", RATE, "-d", TALK_MS, "-l", 1000))  # fmt: skip
    stats = caller.finish()
    callee.finish()
    assert int(stats["SuccessfulCall(C)"]) == calls and int(stats["FailedCall(C)"]) == 0
    records = wait_until("a record of every call", lambda: len(all_ := switch.cdrs()) >= calls and all_, 15, every=0.5)
    assert len(records) == calls
    assert all(record["answered_ms"] for record in records)
    assert_audio([record["media"] for record in records])
    assert len({r["id"] for r in records}) == calls
    switch.assert_nothing_left()


def assert_audio(media):
    """Every call was heard both ways, and the switch took what was sent to it.

    What the callee's side sends back went through SIPp's one echo socket, which loses packets by itself when the
    machine is busy; so that direction is held to less.
    """
    expected = TALK_MS // 20
    for side, share, loss in (("from_orig", 0.9, 0.001), ("from_term", 0.6, 0.03)):
        packets = [one[side]["packets"] for one in media]
        lost = sum(one[side]["lost"] for one in media)
        assert min(packets) >= expected * share, f"{side}: only {min(packets)} packets in a call"
        assert lost <= sum(packets) * loss, f"{side}: {lost} of {sum(packets)} packets lost"


def test_two_hundred_calls(fresh):
    run(fresh, 200)


@pytest.mark.long
def test_a_thousand_calls(fresh):
    run(fresh, 1000)
