"""What the media fields of a connection do to descriptions and packets, with real sockets on both ends."""

import base64
import time

import pytest

from lib import sdp
from lib.rtp import PTIME_SECONDS, listen, talk, until_heard
from lib.sdp import Sdp
from lib.waiting import wait_until

COMFORT_NOISE = 13
PCMU, PCMA = 0, 8


def refused_lines(body):
    """The media whose port is zero."""
    lines = [line for line in body.decode().splitlines() if line.startswith("m=")]
    return [line[2:].split()[0] for line in lines if line.split()[1] == "0"]


def answered(two, offer, answer):
    """An answered call: (call, leg, what bob was offered, what alice was answered)."""
    call, leg = two.established(offer, answer)
    return call, leg, leg.invite.body, call.response.body


def test_blocked_video_is_left_out_of_the_offer_and_refused_in_the_answer(carriers, rtp):
    two = carriers(b={"connection-block-video-in-sdp-enabled": "yes"})
    one, other = rtp(voice=1), rtp(voice=2)
    video = b"m=video 40100 RTP/AVP 31\r\n"
    call, leg, offered, answer = answered(
        two, sdp.audio("127.0.0.1", one.port) + video, sdp.audio("127.0.0.1", other.port)
    )
    assert b"m=video" not in offered
    assert refused_lines(answer) == ["video"]
    two.hang_up(call, leg)


def test_pcmu_only_speaks_pcmu_with_a_caller_that_has_only_pcma(carriers, rtp):
    two = carriers(b={"connection-pcmu-only-enabled": "yes"})
    one, other = rtp(voice=0xD5), rtp(voice=0xFF)
    call, leg, offered, answer = answered(
        two,
        sdp.audio("127.0.0.1", one.port, payloads=(PCMA, 101)),
        sdp.audio("127.0.0.1", other.port, payloads=(PCMU, 101)),
    )
    assert list(Sdp(offered).payloads) == [PCMU, 101]
    assert list(Sdp(answer).payloads) == [PCMA, 101]
    to_a, to_b = Sdp(answer).rtp, Sdp(offered).rtp
    deadline = time.monotonic() + 20
    while not (one.received and other.received):
        assert time.monotonic() < deadline
        one.send(to_a, payload_type=PCMA)
        other.send(to_b, payload_type=PCMU)
        listen([one, other], PTIME_SECONDS)
    # Silence in A-law is silence in µ-law, give or take the smallest step.
    assert {packet.payload_type for packet in other.received} == {PCMU}
    assert all(set(packet.payload) <= {0xFE, 0xFF, 0x7F, 0x7E} for packet in other.received)
    assert {packet.payload_type for packet in one.received} == {PCMA}
    two.hang_up(call, leg)


def test_pcmu_only_holds_for_a_peer_that_answers_with_more_than_it_was_offered(carriers, rtp):
    """RFC 3264 section 6.1 lets an answer name further codecs; a carrier that does gets PCMU all the same."""
    two = carriers(b={"connection-pcmu-only-enabled": "yes"})
    one, other = rtp(voice=0xD5), rtp(voice=0xFF)
    call, leg, offered, answer = answered(
        two,
        sdp.audio("127.0.0.1", one.port, payloads=(PCMA, 101)),
        sdp.audio("127.0.0.1", other.port, payloads=(PCMU, PCMA, 101)),
    )
    assert list(Sdp(offered).payloads) == [PCMU, 101] and list(Sdp(answer).payloads) == [PCMA, 101]
    deadline = time.monotonic() + 20
    while not other.received:
        assert time.monotonic() < deadline
        one.send(Sdp(answer).rtp, payload_type=PCMA)
        listen([one, other], PTIME_SECONDS)
    assert {packet.payload_type for packet in other.received} == {PCMU}
    two.hang_up(call, leg)


def test_pcmu_only_refuses_an_offer_without_pcmu(carriers, rtp):
    two = carriers(a={"connection-pcmu-only-enabled": "yes"})
    one = rtp(voice=3)
    call = two.call(body=sdp.audio("127.0.0.1", one.port, payloads=(PCMA, 101)))
    call.expect(488)
    call.ack()


def test_a_pause_is_filled_with_comfort_noise_where_it_was_agreed(carriers, rtp):
    two = carriers(b={"connection-relay-comfort-noise-enabled": "yes"})
    one, other = rtp(voice=4), rtp(voice=5)
    call, leg, offered, answer = answered(
        two,
        sdp.audio("127.0.0.1", one.port, payloads=(PCMU, COMFORT_NOISE, 101)),
        sdp.audio("127.0.0.1", other.port, payloads=(PCMU, COMFORT_NOISE, 101)),
    )
    talk([(one, Sdp(answer).rtp), (other, Sdp(offered).rtp)], packets=10)
    one.received.clear()
    other.received.clear()
    # Not by the clock of the test, which a busy machine stops: never more often than five times a second.
    began = time.monotonic()
    wait_until("four of them", lambda: listen([one, other], 0.02) or len(other.received) >= 4)
    assert {packet.payload_type for packet in other.received} == {COMFORT_NOISE}
    assert {packet.ssrc for packet in other.received} == {one.ssrc}
    assert len(other.received) <= (time.monotonic() - began) / 0.2 + 2
    assert one.received == [], "nobody asked for it there"
    two.hang_up(call, leg)


def test_demanded_encryption_is_offered_and_a_caller_in_the_clear_is_refused(carriers, rtp):
    two = carriers(b={"connection-require-encrypted-audio-enabled": "yes"})
    one = rtp(voice=6)
    call = two.call(body=sdp.audio("127.0.0.1", one.port))
    leg = two.bob.incoming()
    line = next(line for line in leg.invite.body.decode().splitlines() if line.startswith("m=audio"))
    assert " RTP/SAVP " in line
    key = next(line for line in leg.invite.body.decode().splitlines() if line.startswith("a=crypto:"))
    tag, suite, inline = key.removeprefix("a=crypto:").split()
    assert (tag, suite) == ("1", "AES_CM_128_HMAC_SHA1_80")
    assert len(base64.b64decode(inline.removeprefix("inline:"))) == 30
    leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", rtp(voice=7).port))
    call.expect(488)
    call.ack()


def test_a_demanding_caller_must_offer_encryption(carriers, rtp):
    two = carriers(a={"connection-require-encrypted-audio-enabled": "yes"})
    one = rtp(voice=8)
    call = two.call(body=sdp.audio("127.0.0.1", one.port))
    call.expect(488)
    call.ack()


@pytest.mark.parametrize("once", [False, True])
def test_a_source_is_learned_once_where_the_record_says_so(carriers, rtp, once):
    two = carriers(a={"connection-prevent-rtp-port-change-enabled": "yes" if once else "no"})
    one, other = rtp(voice=10), rtp(voice=11)
    call, leg, offered, answer = answered(
        two, sdp.audio("127.0.0.1", one.port), sdp.audio("127.0.0.1", other.port)
    )
    to_a = Sdp(answer).rtp
    until_heard(one, to_a, other, Sdp(offered).rtp)
    # The same stream from another port, as after a NAT that forgot its mapping.
    moved = rtp(voice=12, ssrc=one.ssrc)
    moved.sequence, moved.timestamp = one.sequence, one.timestamp
    talk([(moved, to_a)], packets=5)
    other.drain()
    assert other.heard(moved) == (0 if once else 5)
    two.hang_up(call, leg)
