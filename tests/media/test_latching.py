"""Where the relay sends: to the SDP's address, to the real source behind a NAT, never to a stranger."""

from lib import sdp
from lib.rtp import talk, until_heard, until_one_hears
from lib.sdp import Sdp


def connect(two, announced, other):
    call = two.call(body=announced)
    leg = two.bob.incoming()
    to_b = Sdp(leg.invite.body).rtp
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", other.port))
    to_a = Sdp(call.expect(200).body).rtp
    call.ack()
    leg.expect("ACK")
    return call, leg, to_a, to_b


def test_before_anything_came_in_the_sdp_address_is_sent_to(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=1), rtp(voice=2)
    call, leg, to_a, to_b = connect(two, sdp.audio("127.0.0.1", one.port), other)
    until_one_hears(one, other, to_b)
    two.hang_up(call, leg)


def test_a_phone_behind_nat_is_answered_where_it_sends_from(carriers, rtp):
    """Its SDP names a private address that nobody can reach; its packets show the real one."""
    two = carriers()
    one, other = rtp(voice=3), rtp(voice=4)
    call, leg, to_a, to_b = connect(two, sdp.audio("192.0.2.33", 4000), other)
    until_heard(one, to_a, other, to_b)
    talk([(one, to_a), (other, to_b)], packets=20)
    assert (other.heard(one), one.heard(other)) == (20, 20)
    two.hang_up(call, leg)


def test_a_stranger_neither_steals_nor_adds_audio(carriers, rtp):
    two = carriers()
    one, other, thief = rtp(voice=5), rtp(voice=6), rtp(voice=7)
    call, leg, to_a, to_b = connect(two, sdp.audio("127.0.0.1", one.port), other)
    until_heard(one, to_a, other, to_b)
    talk([(one, to_a), (other, to_b), (thief, to_a)], packets=20)
    assert thief.heard(other) == 0
    assert other.heard(thief) == 0
    assert one.heard(other) == 20 and other.heard(one) == 20
    two.hang_up(call, leg)


def test_what_is_not_rtp_is_not_relayed(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=8), rtp(voice=9)
    call, leg, to_a, to_b = connect(two, sdp.audio("127.0.0.1", one.port), other)
    until_heard(one, to_a, other, to_b)
    for junk in (b"", b"\x00", b"hello", b"\x00" * 172, b"\xff" * 172):
        one.rtp.sendto(junk, to_a)
    talk([(one, to_a), (other, to_b)], packets=5)
    assert len(other.received) == 5 and other.heard(one) == 5
    two.hang_up(call, leg)
