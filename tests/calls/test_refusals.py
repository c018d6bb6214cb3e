"""Final answers of the called side come back to the caller as they are."""

import pytest

from lib.sip_message import param


@pytest.mark.parametrize("status", [404, 480, 486, 488, 600, 603])
def test_refusal_of_the_callee_reaches_the_caller(carriers, status):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, status)
    leg.expect("ACK")
    call.expect(status)


def test_redirection_is_not_followed_blindly(carriers):
    """A 302 of a carrier is not an order to call whatever it names; the caller hears that the call failed."""
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 302, headers=[("Contact", "<sip:900@192.0.2.1>")])
    leg.expect("ACK")
    response = two.alice.response_to(call.invite)
    assert response.status >= 300
    call.ua.send(call.ack_for_failure(response), call.destination)


def test_reason_of_the_callee_reaches_the_caller(carriers):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486, headers=[("Reason", 'Q.850;cause=17;text="User busy"')])
    leg.expect("ACK")
    reason = call.expect(486).get("Reason", "")
    assert reason.startswith("Q.850") and param(reason, "cause") == "17"


def test_reason_of_a_hangup_reaches_the_other_side(carriers):
    two = carriers()
    call, leg = two.established()
    bye = call.request("BYE", headers=[("Reason", 'Q.850;cause=16;text="Normal call clearing"')])
    got = leg.expect_bye()
    assert param(got.get("Reason", ""), "cause") == "16"
    assert two.alice.response_to(bye).status == 200


def test_a_callee_that_never_says_anything_fails_the_call_in_seconds(carriers):
    """No answer at all, not even 100, is a dead target: the caller must not wait for 32 seconds."""
    two = carriers()
    call = two.call()
    two.bob.incoming(trying=False)
    response = two.alice.response_to(call.invite, seconds=10)
    assert response.status in (408, 503), response.text
    call.ua.send(call.ack_for_failure(response), call.destination)
