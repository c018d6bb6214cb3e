"""A caller who gives up, in every order the messages can cross."""

from lib import sdp


def test_cancel_while_ringing(carriers):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    assert call.cancel().status == 200
    call.expect(487)
    cancel = leg.expect("CANCEL")
    assert cancel.branch == leg.invite.branch
    leg.reply(cancel, 200)
    leg.reply(leg.invite, 487)
    leg.expect("ACK")


def test_cancel_before_the_callee_said_anything_waits_for_its_first_answer(carriers):
    """RFC 3261 section 9.1: no CANCEL may go out before a provisional response came in."""
    two = carriers()
    call = two.call()
    leg = two.bob.incoming(trying=False)
    assert call.cancel().status == 200
    call.expect(487)
    two.bob.nothing("a CANCEL", lambda m: m.method == "CANCEL", 0.3)
    leg.reply(leg.invite, 180)
    leg.reply(leg.expect("CANCEL"), 200)
    leg.reply(leg.invite, 487)
    leg.expect("ACK")


def test_cancel_that_crosses_the_answer_ends_in_a_hangup(carriers):
    """The callee answered before our CANCEL reached it: the switch must acknowledge and hang up at once."""
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    assert call.cancel().status == 200
    call.expect(487)
    cancel = leg.expect("CANCEL")
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    leg.reply(cancel, 481)
    leg.expect("ACK")
    leg.expect_bye()


def test_cancel_after_the_answer_changes_nothing(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    assert call.cancel().status in (200, 481)
    two.bob.nothing("the end of the call", lambda m: m.method in ("CANCEL", "BYE"), 0.5)
    two.hang_up(call, leg)


def test_cancel_of_nothing_is_refused(carriers):
    two = carriers()
    request = two.alice.build("CANCEL", two.called(), from_uri=two.from_uri)
    two.alice.send(request, two.door)
    assert two.alice.response_to(request).status == 481


def test_reason_of_the_cancel_reaches_the_callee(carriers):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    call.cancel(headers=[("Reason", 'SIP;cause=200;text="Call completed elsewhere"')])
    call.expect(487)
    cancel = leg.expect("CANCEL")
    assert "Call completed elsewhere" in cancel.get("Reason", "")
    leg.reply(cancel, 200)
    leg.reply(leg.invite, 487)
    leg.expect("ACK")
