"""What is said again and what is not, over a transport that loses messages."""

import time

from lib import sdp
from lib.sip_ua import Ua
from lib.tenant import Carriers
from lib.waiting import wait_until


def repeats_within(ua, seconds):
    """How many messages came again, byte for byte, within that time."""
    before, deadline = ua.repeats, time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ua._collect(left)
    return ua.repeats - before


def wait_for_repeats(ua, count):
    """Until `count` messages more came again. When exactly they do is proven on simulated time."""
    until = ua.repeats + count
    wait_until(f"{count} repeats", lambda: ua._collect(0.02) or ua.repeats >= until)


def test_an_invite_nobody_answers_is_repeated(carriers):
    """Timer A: after 0.5 s, 1 s more, 2 s more."""
    two = carriers()
    call = two.call()
    leg = two.bob.incoming(trying=False)
    wait_for_repeats(two.bob, 2)
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_an_invite_that_is_being_tried_is_not_repeated(carriers):
    two = carriers()
    call = two.call()
    leg = two.bob.incoming()
    # On a busy machine the INVITE may have been repeated before our 100 was read; the next is due a second later.
    repeats_within(two.bob, 0.6)
    assert repeats_within(two.bob, 1.2) == 0
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_an_answer_is_repeated_until_it_is_acknowledged(carriers):
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    call.expect(200)
    wait_for_repeats(two.alice, 2)
    call.ack()
    leg.expect("ACK")
    # What was on its way when the ACK was read has come; the next would have been due within two seconds.
    repeats_within(two.alice, 0.6)
    assert repeats_within(two.alice, 2.0) == 0
    two.hang_up(call, leg)


def test_an_answer_that_comes_again_is_acknowledged_again(carriers):
    two = carriers()
    call, leg = two.established()
    before = two.bob.repeats
    leg.reply(leg.invite, 200)
    again = lambda: two.bob.repeats > before or any(m.method == "ACK" for m in two.bob.inbox)  # noqa: E731
    wait_until("an ACK", lambda: two.bob._collect(0.02) or again())
    repeats_within(two.bob, 0.3)
    acks = [m for m in two.bob.inbox if m.method == "ACK"]
    assert two.bob.repeats + len(acks) == before + 1
    two.bob.inbox.clear()
    two.hang_up(call, leg)


def test_over_tcp_nothing_is_repeated(carriers):
    two = carriers(alice=("127.0.0.1", "TCP"), bob=("127.0.0.1", "TCP"))
    call = two.call()
    leg = two.bob.incoming(trying=False)
    assert repeats_within(two.bob, 1.2) == 0
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_a_request_too_large_for_udp_goes_by_tcp(carriers):
    """RFC 3261 section 18.1.1: over 1,300 bytes the next hop's TCP is tried first."""
    two = carriers()
    streams = Ua(transport="TCP", port=two.bob.port, user="bob-over-tcp")
    call = two.call(body=sdp.audio("127.0.0.1", 4000, extra=[f"a=x-padding-{n}:{'x' * 60}" for n in range(20)]))
    leg = streams.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    streams.close()


def test_a_request_too_large_for_udp_goes_by_udp_where_there_is_no_tcp(carriers):
    two = carriers()
    call = two.call(body=sdp.audio("127.0.0.1", 4000, extra=[f"a=x-padding-{n}:{'x' * 60}" for n in range(20)]))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_a_lost_stream_is_opened_again_for_the_hangup(carriers):
    """The caller's TCP connection breaks during the call; the BYE reaches it at its Contact."""
    two: Carriers = carriers(alice=("127.0.0.1", "TCP"))
    call, leg = two.established()
    flows = two.switch.metric("strowger_tcp_flows")
    stream = two.alice.stream_to(two.door)
    two.alice.selector.unregister(stream.sock)
    stream.sock.close()
    stream.closed = True
    wait_until("the switch knows", lambda: two.switch.metric("strowger_tcp_flows") < flows)
    bye = leg.request("BYE")
    call.expect_bye()
    assert two.bob.response_to(bye).status == 200
