"""Stopping: running calls may end by themselves, new ones are sent elsewhere, nothing is lost."""

import pytest

from lib import sdp
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


@pytest.fixture
def draining(own_switch):
    """A factory: two carriers around a switch with that many drain seconds."""
    made = []

    def make(seconds):
        made.append(Carriers(Tenant(own_switch("--drain-seconds", seconds))))
        return made[-1]

    yield make
    for two in made:
        two.close()


def up(two):
    return two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))


def test_an_idle_switch_stops_at_once_with_zero(own_switch):
    # Far longer than any machine takes to end a process.
    switch = own_switch("--drain-seconds", 3600)
    switch.terminate()
    assert switch.wait(60) == 0


def test_draining_refuses_new_calls_and_waits_for_the_running_one(draining):
    two = draining(20)
    call, leg = up(two)
    two.switch.terminate()
    wait_until("the switch drains; a balancer sends its calls elsewhere", lambda: not two.switch.healthy())
    response = two.call().expect(503)
    assert int(response.get("Retry-After")) > 0
    assert two.switch.process.poll() is None
    call.reinvite(sdp.audio("127.0.0.1", 4000, version=2, direction="sendonly"))
    leg.reply(leg.expect("INVITE"), 200, sdp.audio("127.0.0.1", 5000, version=2, direction="recvonly"))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)
    assert two.switch.wait(60) == 0
    records = two.switch.cdrs()
    assert any(record["release_status"] == 200 and record["release_side"] == "orig" for record in records)


def test_what_still_runs_after_the_drain_time_is_hung_up_properly(draining):
    two = draining(1)
    call, leg = up(two)
    two.switch.terminate()
    call.expect_bye()
    leg.expect_bye()
    assert two.switch.wait(60) == 0
    record = two.switch.cdrs()[-1]
    assert record["release_side"] == "switch" and record["answered_ms"]


def test_a_ringing_call_is_ended_on_both_sides(draining):
    two = draining(1)
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    two.switch.terminate()
    cancel = leg.expect("CANCEL")
    leg.reply(cancel, 200)
    leg.reply(leg.invite, 487)
    response = two.alice.response_to(call.invite)
    two.alice.send(call.ack_for_failure(response), two.door)
    assert response.status >= 480
    assert two.switch.wait(60) == 0


def test_a_second_signal_does_not_wait(draining):
    two = draining(3600)
    up(two)
    two.switch.terminate()
    wait_until("the switch drains", lambda: not two.switch.healthy())
    two.switch.terminate()
    two.switch.wait(60)
