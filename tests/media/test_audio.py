"""Audio that really passes: numbered packets sent on one side, counted and compared on the other."""

from lib import sdp
from lib.rtp import listen, talk, until_heard, until_one_hears
from lib.sdp import Sdp
from lib.waiting import wait_until


def connect(two, one, other, host_a="127.0.0.1", host_b="127.0.0.1"):
    """An answered call between two RTP ports: (call, leg, where alice sends to, where bob sends to)."""
    call = two.call(body=sdp.audio(host_a, one.port))
    leg = two.bob.incoming()
    to_switch_b = Sdp(leg.invite.body).rtp
    leg.reply(leg.invite, 200, sdp.audio(host_b, other.port))
    to_switch_a = Sdp(call.expect(200).body).rtp
    call.ack()
    leg.expect("ACK")
    until_heard(one, to_switch_a, other, to_switch_b)
    return call, leg, to_switch_a, to_switch_b


def test_audio_passes_both_ways_unchanged(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=0x11), rtp(voice=0x22)
    call, leg, to_a, to_b = connect(two, one, other)
    talk([(one, to_a), (other, to_b)], packets=50)
    assert (other.heard(one), one.heard(other)) == (50, 50)
    assert [packet.sequence for packet in other.received] == list(range(one.sequence - 50, one.sequence))
    assert {packet.ssrc for packet in other.received} == {one.ssrc}
    two.hang_up(call, leg)


def test_each_side_hears_the_relay_and_not_the_other_side(carriers, rtp):
    """Packets come from the very port that stands in the SDP, or a NAT in between would drop them."""
    two = carriers()
    one, other = rtp(voice=1), rtp(voice=2)
    call, leg, to_a, to_b = connect(two, one, other)
    talk([(one, to_a), (other, to_b)], packets=5)
    assert {packet.source for packet in one.received} == {to_a}
    assert {packet.source for packet in other.received} == {to_b}
    assert to_a != to_b
    ports = range(two.switch.rtp_first, two.switch.rtp_last + 1)
    assert to_a[1] in ports and to_b[1] in ports
    two.hang_up(call, leg)


def test_audio_between_ipv4_and_ipv6(carriers, rtp):
    two = carriers(bob=("::1", "UDP"))
    one, other = rtp(voice=3), rtp("::1", voice=4)
    call, leg, to_a, to_b = connect(two, one, other, host_b="::1")
    talk([(one, to_a), (other, to_b)], packets=10)
    assert (other.heard(one), one.heard(other)) == (10, 10)
    two.hang_up(call, leg)


def test_early_media_is_heard_before_the_answer(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=5), rtp(voice=6)
    call = two.call(body=sdp.audio("127.0.0.1", one.port))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 183, sdp.audio("127.0.0.1", other.port))
    call.expect(183)
    until_one_hears(one, other, Sdp(leg.invite.body).rtp)
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", other.port))
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)


def test_rtcp_passes_both_ways(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=7), rtp(voice=8)
    call, leg, to_a, to_b = connect(two, one, other)
    rtcp_a, rtcp_b = Sdp(call.response.body).rtcp, Sdp(leg.invite.body).rtcp
    report = bytes([0x80, 201, 0, 1]) + one.ssrc.to_bytes(4, "big")
    one.rtcp.sendto(report, rtcp_a)
    other.rtcp.sendto(report, rtcp_b)
    both = lambda: listen([one, other], 0.02) or (one.received_rtcp and other.received_rtcp)  # noqa: E731
    wait_until("the reports", both)
    assert [data for data, _ in other.received_rtcp] == [report]
    assert [data for data, _ in one.received_rtcp] == [report]
    two.hang_up(call, leg)


def test_dtmf_events_pass_unchanged(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=9), rtp(voice=10)
    call, leg, to_a, to_b = connect(two, one, other)
    talk([(one, to_a), (other, to_b)], packets=3)
    for digit in "15#":
        one.send_dtmf(to_a, digit)
    last = lambda: any(packet.sequence == one.sequence - 1 for packet in other.received)  # noqa: E731
    wait_until("the last of the keys", lambda: listen([other], 0.02) or last())
    events = [packet for packet in other.received if packet.payload_type == 101]
    assert len(events) == 3 * 8
    assert [packet.payload[0] for packet in events if packet.marker] == [1, 5, 11]
    assert Sdp(leg.invite.body).has("a=rtpmap:101 telephone-event/8000")
    two.hang_up(call, leg)


def test_after_a_hold_the_audio_flows_again(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=11), rtp(voice=12)
    call, leg, to_a, to_b = connect(two, one, other)
    for version, asked, answered in ((2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")):
        call.reinvite(sdp.audio("127.0.0.1", one.port, version=version, direction=asked))
        leg.reply(leg.expect("INVITE"), 200, sdp.audio("127.0.0.1", other.port, version=version, direction=answered))
        call.expect(200)
        call.ack()
        leg.expect("ACK")
    talk([(one, to_a), (other, to_b)], packets=10)
    assert (other.heard(one), one.heard(other)) == (10, 10)
    two.hang_up(call, leg)


def test_a_reinvite_moves_the_audio_to_a_new_address(carriers, rtp):
    two = carriers()
    one, other, moved = rtp(voice=13), rtp(voice=14), rtp(voice=15)
    call, leg, to_a, to_b = connect(two, one, other)
    talk([(one, to_a), (other, to_b)], packets=5)
    call.reinvite(sdp.audio("127.0.0.1", moved.port, version=2))
    leg.reply(leg.expect("INVITE"), 200, sdp.audio("127.0.0.1", other.port))
    to_a = Sdp(call.expect(200).body).rtp
    call.ack()
    leg.expect("ACK")
    until_heard(moved, to_a, other, to_b)
    talk([(moved, to_a), (other, to_b)], packets=10)
    assert (other.heard(moved), moved.heard(other)) == (10, 10)
    two.hang_up(call, leg)


def test_the_record_counts_the_packets_of_each_direction(carriers, rtp):
    two = carriers()
    one, other = rtp(voice=16), rtp(voice=17)
    call, leg, to_a, to_b = connect(two, one, other)
    talk([(one, to_a), (other, to_b)], packets=20)
    one.sequence += 5  # five packets that got lost on their way to us
    talk([(one, to_a)], packets=10)
    two.hang_up(call, leg)
    media = two.record(call)["media"]
    for stream, port in (("from_orig", one), ("from_term", other)):
        # All but those sent before the relay knew of the answer.
        assert port.sent - 3 <= media[stream]["packets"] <= port.sent
        assert media[stream]["bytes"] == media[stream]["packets"] * 172
    assert media["from_orig"]["lost"] == 5 and media["from_term"]["lost"] == 0


def test_without_relay_the_addresses_pass(carriers):
    two = carriers(a={"connection_audio_relay_enabled": "no"}, b={"connection_audio_relay_enabled": "no"})
    call = two.call(body=sdp.audio("127.0.0.1", 4000))
    leg = two.bob.incoming()
    assert Sdp(leg.invite.body).rtp == ("127.0.0.1", 4000)
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
    assert Sdp(call.expect(200).body).rtp == ("127.0.0.1", 5000)
    call.ack()
    leg.expect("ACK")
    two.hang_up(call, leg)
