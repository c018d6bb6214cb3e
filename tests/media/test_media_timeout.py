"""A call on which nobody is heard any more is ended, and only that one."""

import pytest

from lib import sdp
from lib.rtp import talk
from lib.sdp import Sdp
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


@pytest.fixture
def impatient(own_switch):
    """Two carriers around a switch that ends a call after two silent seconds."""
    two = Carriers(Tenant(own_switch("--media-timeout-seconds", 2)))
    yield two
    two.close()


def test_silence_ends_the_call_on_both_sides(impatient, rtp):
    two = impatient
    one, other = rtp(voice=1), rtp(voice=2)
    call, leg = two.established(sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port))
    bye = call.expect_bye()
    leg.expect_bye()
    assert bye.get("Reason"), "the far side is told why"
    record = wait_until("the call's record", two.switch.cdrs)[-1]
    assert record["release_side"] == "switch"
    assert record["answered_ms"] is not None


def test_a_call_that_is_heard_goes_on(impatient, rtp):
    two = impatient
    one, other = rtp(voice=3), rtp(voice=4)
    call, leg = two.established(sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port))
    to_a, to_b = Sdp(call.response.body).rtp, Sdp(leg.invite.body).rtp
    talk([(one, to_a), (other, to_b)], packets=160)  # 3.2 s
    two.hang_up(call, leg)


def test_a_held_call_may_be_silent(impatient, rtp):
    two = impatient
    one, other = rtp(voice=5), rtp(voice=6)
    call, leg = two.established(sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port))
    call.reinvite(sdp.audio("127.0.0.1", one.port, version=2, direction="inactive"))
    leg.reply(leg.expect("INVITE"), 200, sdp.audio("127.0.0.1", other.port, version=2, direction="inactive"))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.alice.nothing("the end of the call", lambda m: m.method == "BYE" and m.is_request, 3.5)
    two.hang_up(call, leg)
