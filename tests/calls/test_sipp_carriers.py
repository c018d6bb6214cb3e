"""The same calls with SIPp on both sides, which knows nothing of our test tools."""

import signal

import pytest

from lib.ports import waiting_bytes
from lib.sipp import Sipp, SippPair
from lib.tenant import Tenant
from lib.waiting import wait_until

PROVEN = {
    "connection_sip_registration_username": "strowger",
    "connection_sip_registration_password": "between-exchanges",
}
PROOF = ("-au", "strowger", "-ap", "between-exchanges")


@pytest.mark.parametrize("a, b", [("UDP", "UDP"), ("TCP", "TCP"), ("UDP", "TCP"), ("TCP", "UDP")])
def test_answer(sipp, a, b):
    callee = sipp.callee("callee", calls=5, transport=b)
    caller = sipp.caller("caller", calls=5, transport=a, options=("-d", 200))
    assert caller.finish()["SuccessfulCall(C)"] == "5"
    callee.finish()


def test_a_carrier_is_asked_again_when_the_switch_had_to_wait_for_its_turn(own_switch, tmp_path):
    """The carrier has answered, and the switch had no time to read that before it was due to ask again."""
    switch = own_switch()
    pair = SippPair(Tenant(switch), tmp_path)
    callee = pair.callee("callee")
    callee.process.send_signal(signal.SIGSTOP)
    caller = pair.caller("caller", options=("-d", 200))
    wait_until("the INVITE", lambda: waiting_bytes(callee.port), every=0.002)
    switch.process.send_signal(signal.SIGSTOP)
    callee.process.send_signal(signal.SIGCONT)
    once = wait_until("the answers", lambda: waiting_bytes(switch.sip_port), every=0.002)
    # SIPp repeats its answer half a second after it, which is more than that after the INVITE.
    wait_until("SIPp repeats them", lambda: waiting_bytes(switch.sip_port) > 2 * once)
    switch.process.send_signal(signal.SIGCONT)
    caller.finish()
    callee.finish()
    pair.stop()


def test_answer_over_ipv6(sipp):
    callee = sipp.callee("callee", host="::1")
    sipp.caller("caller", host="::1", options=("-d", 200)).finish()
    callee.finish()


def test_callee_hangs_up(sipp):
    callee = sipp.callee("callee_hangs_up", options=("-d", 200))
    sipp.caller("caller_hung_up_on").finish()
    callee.finish()


def test_busy(sipp):
    callee = sipp.callee("callee_busy")
    sipp.caller("caller_gets_486").finish()
    callee.finish()


def test_no_answer_and_cancel(sipp):
    callee = sipp.callee("callee_rings_only")
    sipp.caller("caller_cancels").finish()
    callee.finish()


def test_no_route(sipp):
    sipp.caller("caller_gets_404").finish()


def test_hold_and_resume(sipp):
    callee = sipp.callee("callee_is_held")
    sipp.caller("caller_holds", options=("-d", 200)).finish()
    callee.finish()


def test_we_challenge_the_caller(sipp):
    callee = sipp.callee("callee")
    asked = {"connection_require_sip_authentication_enabled": "yes", **PROVEN}
    sipp.caller("caller_authenticates", a=asked, options=("-d", 200, *PROOF)).finish()
    callee.finish()


@pytest.mark.parametrize("status", [401, 407])
def test_the_callee_challenges_us(sipp, status):
    ours = {"connection_sip_authenticate_as_client_enabled": "yes", **PROVEN}
    # We register where we have credentials: the callee hears that REGISTER and the call.
    callee = sipp.callee(f"callee_challenges_{status}", b=ours, calls=2)
    sipp.caller("caller", options=("-d", 200)).finish()
    callee.finish()


def test_one_call_too_many(sipp):
    callee = sipp.callee("callee", b={"limits_max_active_calls_term": 1})
    first = sipp.caller("caller", options=("-d", 3000))
    wait_until("the first call is up", lambda: sipp.tenant.read("b")["active-calls-term-current"] == 1)
    keys = {"from_host": sipp.tenant.host("a"), "called": "1", "caller": "2"}
    second = Sipp(sipp.folder, "caller_gets_503", remote=sipp.switch.sip_address(), keys=keys).start()
    sipp.running.append(second)
    second.finish()
    first.finish()
    callee.finish()
