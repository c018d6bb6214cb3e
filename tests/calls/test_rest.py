"""Calls to which nothing happens for half a minute are packed up; nobody outside can tell."""

import time

import pytest

from lib import sdp
from lib.rtp import talk, until_heard
from lib.sdp import Sdp
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until

# Seconds after the last event of a call until it is packed up, and some.
AT_REST = 45


@pytest.fixture
def two(own_switch):
    carriers = Carriers(Tenant(own_switch("--port-quiet-seconds", 1, name="rest")))
    yield carriers
    carriers.close()


def test_calls_at_rest_talk_hold_outlive_the_process_and_end(two, rtp):
    calls = []
    for number in range(3):
        one, other = rtp(voice=0x31 + number), rtp(voice=0x41 + number)
        call, leg = two.established(sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port))
        calls.append((call, leg, one, Sdp(call.response.body).rtp, other, Sdp(leg.invite.body).rtp))
    answered = time.time()

    def resting():
        return two.switch.metric("strowger_calls_at_rest")

    def assert_talk(call):
        _, _, one, to_a, other, to_b = call
        until_heard(one, to_a, other, to_b)
        talk([(one, to_a), (other, to_b)], packets=25)
        assert (other.heard(one), one.heard(other)) == (25, 25)

    wait_until("all calls are at rest", lambda: resting() == 3, AT_REST)
    assert two.switch.metric("strowger_calls_active") == 3
    assert two.tenant.active_calls() == 6, "they count as before"

    for call in calls:
        assert_talk(call)
    assert resting() == 3, "audio wakes nobody"

    # The first is held and resumed, from the side that was called.
    call, leg, one, _, other, _ = calls[0]
    for version, asked, agreed in ((2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")):
        leg.reinvite(sdp.audio("127.0.0.1", other.port, version=version, direction=asked))
        again = call.expect("INVITE")
        assert Sdp(again.body).direction == asked
        call.reply(again, 200, sdp.audio("127.0.0.1", one.port, version=version, direction=agreed))
        assert Sdp(leg.expect(200).body).direction == agreed
        leg.ack()
        call.expect("ACK")
    assert_talk(calls[0])
    assert resting() == 2

    # The second ends, by a BYE of the side that was called.
    call, leg, *_ = calls[1]
    bye = leg.request("BYE")
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200
    record = two.record(call)
    assert record["release_text"] == "Term: Bye"
    assert abs(record["answered_ms"] / 1000 - answered) < 2
    assert abs(record["ended_ms"] / 1000 - time.time()) < 2
    assert record["media"]["from_orig"]["packets"] >= 25

    # The third outlives the process, and so does the first.
    two.switch.kill()
    two.switch.start()
    for call, leg, *ways in (calls[0], calls[2]):
        assert_talk((call, leg, *ways))
        bye = call.request("BYE")
        leg.expect_bye()
        assert two.alice.response_to(bye).status == 200
        assert two.record(call)["release_text"] == "Orig: Bye"
    wait_until("no call is left", lambda: two.switch.metric("strowger_calls_active") == 0)
    assert two.tenant.active_calls() == 0
