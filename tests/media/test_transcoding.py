"""Calls between far ends without a common codec, their audio encoded and decoded by libopus and spandsp."""

import time

import pytest

from lib import audio, sdp
from lib.codecs import G711, G722, Opus, heard, ticks, tone
from lib.rtp import PTIME_SECONDS, Port, listen
from lib.sdp import Sdp

EVENTS = sdp.TELEPHONE_EVENT
SECONDS = 2


def describes(port, codec, ptime=20):
    """A description with one codec and key presses at 8 kHz."""
    extra = (f"a=rtpmap:{codec.payload_type} {codec.name}",)
    body = sdp.audio("127.0.0.1", port.port, payloads=(EVENTS,), extra=extra).decode()
    line = f"m=audio {port.port} RTP/AVP"
    body = body.replace(f"{line} {EVENTS}", f"{line} {codec.payload_type} {EVENTS}")
    return body.replace("a=ptime:20", f"a=ptime:{ptime}").encode()


class Converted:
    """An answered call: alice speaks one codec, bob another, and says so when he is offered anything else."""

    def __init__(self, two, rtp, one, other, ptime=20):
        self.two, self.codecs, self.ports = two, (one, other), (rtp(voice=1), rtp(voice=2))
        self.call = two.call(body=describes(self.ports[0], one))
        self.leg = two.bob.incoming()
        self.first_offer = Sdp(self.leg.invite.body).payloads
        if other.payload_type not in self.first_offer:
            self.leg.reply(self.leg.invite, 488)
            self.leg.expect("ACK")
            self.leg = two.bob.incoming()
        offered = Sdp(self.leg.invite.body)
        self.offered = offered.payloads
        self.leg.reply(self.leg.invite, 200, describes(self.ports[1], other, ptime))
        answer = Sdp(self.call.expect(200).body)
        self.answered = answer.payloads
        self.call.ack()
        self.leg.expect("ACK")
        self.to = (answer.rtp, offered.rtp)

    def reach(self):
        """Sends silence until both sides hear something, then forgets it."""
        deadline = time.monotonic() + 10
        while not all(port.received for port in self.ports):
            assert time.monotonic() < deadline, f"heard {[len(port.received) for port in self.ports]}"
            for number in (0, 1):
                self.say(number, self.codecs[number].encode([0] * int(self.codecs[number].rate_hz * PTIME_SECONDS)))
            listen(self.ports, PTIME_SECONDS)
        listen(self.ports, 0.1)
        for port in self.ports:
            port.received.clear()

    def say(self, number, payload):
        self.ports[number].send(
            self.to[number], self.codecs[number].payload_type, payload, ticks=ticks(self.codecs[number])
        )

    def talk(self, frequencies, seconds=SECONDS):
        """Both speak at the same time; what each of them heard, packet by packet."""
        voices = [tone(codec, hz, seconds) for codec, hz in zip(self.codecs, frequencies)]
        start = time.monotonic()
        for frame in range(min(len(voice) for voice in voices)):
            for number, voice in enumerate(voices):
                self.say(number, voice[frame])
            listen(self.ports, start + (frame + 1) * PTIME_SECONDS - time.monotonic())
        listen(self.ports, 0.3)
        return [sorted(port.received, key=lambda packet: packet.sequence) for port in self.ports]

    def over(self):
        self.two.hang_up(self.call, self.leg)


def assert_one_stream(packets, codec, frame_ticks):
    """Numbers and timestamps go on without a hole, in steps of a frame."""
    assert {packet.payload_type for packet in packets} == {codec.payload_type}
    assert len({packet.ssrc for packet in packets}) == 1
    for before, after in zip(packets, packets[1:]):
        assert after.sequence == before.sequence + 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == frame_ticks


CODECS = {"PCMU": lambda: G711(0), "PCMA": lambda: G711(8), "G722": G722, "Opus": Opus}
PAIRS = [("PCMA", "Opus"), ("PCMA", "G722"), ("PCMU", "PCMA"), ("G722", "Opus"), ("Opus", "PCMU"), ("G722", "PCMU")]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_a_tone_sent_in_one_codec_is_heard_in_another(carriers, rtp, one, other):
    two = carriers()
    converted = Converted(two, rtp, CODECS[one](), CODECS[other]())
    codec_a, codec_b = converted.codecs
    assert converted.first_offer == [codec_a.payload_type, EVENTS], "nothing more than the caller's own at first"
    assert converted.offered[:2] == [codec_a.payload_type, EVENTS]
    assert converted.answered == [codec_a.payload_type, EVENTS]
    converted.reach()
    before = two.switch.metric("strowger_media_transcoded_total")
    heard_by_a, heard_by_b = converted.talk((440, 620))
    for codec, packets, hz in ((codec_b, heard_by_b, 440), (codec_a, heard_by_a, 620)):
        assert_one_stream(packets, codec, ticks(codec))
        # Opus begins softly, and what is left of the silence before is in its first frames.
        audio.assert_tone(heard(codec, packets), hz, SECONDS - 0.2, codec.rate_hz, slips=1)
    if {one, other} != {"PCMU", "PCMA"}:
        assert two.switch.metric("strowger_media_transcoded_total") >= before + 190
        assert two.switch.metric("strowger_transcoded_calls") == 1
    converted.over()
    media = two.record(converted.call)["media"]
    short = {"opus/48000/2": "opus/48000"}
    assert media["from_orig"]["codec"] == short.get(codec_a.name, codec_a.name)
    assert media["from_term"]["codec"] == short.get(codec_b.name, codec_b.name)


def test_keys_pressed_are_heard_in_the_other_codec(carriers, rtp):
    converted = Converted(carriers(), rtp, G711(8), Opus())
    converted.reach()
    for number in (0, 1):
        sender, receiver = converted.ports[number], converted.ports[1 - number]
        for digit in "42#":
            sender.send_dtmf(converted.to[number], digit)
            listen(converted.ports, 0.1)
        events = [packet.payload for packet in receiver.received if packet.payload_type == EVENTS]
        ends = [payload[0] for payload in events if payload[1] & 0x80]
        assert sorted(set(ends)) == sorted({4, 2, 11}) and len(ends) == 9
        # 120 ms each, on a clock of 8 kHz.
        assert {int.from_bytes(payload[2:4], "big") for payload in events if payload[1] & 0x80} == {960}
    converted.over()


def test_lost_packets_are_made_up_for(carriers, rtp):
    converted = Converted(carriers(), rtp, G711(8), Opus())
    converted.reach()
    alice, bob = converted.ports
    for number, payload in enumerate(tone(converted.codecs[0], 440, SECONDS)):
        if number % 20 == 10:
            alice.sequence, alice.timestamp = alice.sequence + 1, alice.timestamp + 160
        else:
            converted.say(0, payload)
        listen(converted.ports, PTIME_SECONDS)
    listen(converted.ports, 0.3)
    codec = converted.codecs[1]
    packets = sorted(bob.received, key=lambda packet: packet.sequence)
    assert_one_stream(packets, codec, 960)
    assert len(packets) == 100, "five were lost and five were made up"
    audio.assert_tone(heard(codec, packets), 440, SECONDS - 0.3, codec.rate_hz, slips=12)
    converted.over()


def test_packets_have_the_length_that_the_receiver_asks_for(carriers, rtp):
    converted = Converted(carriers(), rtp, Opus(), G711(0), ptime=40)
    converted.reach()
    _, heard_by_b = converted.talk((440, 620))
    assert {len(packet.payload) for packet in heard_by_b} == {320}
    assert_one_stream(heard_by_b, converted.codecs[1], 320)
    audio.assert_tone(heard(converted.codecs[1], heard_by_b), 440, SECONDS - 0.2, slips=1)
    converted.over()


@pytest.mark.parametrize("other", ["G722", "Opus"])
def test_a_peer_with_pcmu_alone_is_called_from_high_fidelity(carriers, rtp, other):
    converted = Converted(carriers(b={"connection-pcmu-only-enabled": "yes"}), rtp, CODECS[other](), G711(0))
    assert converted.first_offer == [0, EVENTS]
    converted.reach()
    heard_by_a, heard_by_b = converted.talk((440, 620))
    for codec, packets, hz in zip(converted.codecs, (heard_by_a, heard_by_b), (620, 440)):
        audio.assert_tone(heard(codec, packets), hz, SECONDS - 0.2, codec.rate_hz, slips=1)
    converted.over()


def test_without_the_relay_nothing_is_converted(carriers, rtp):
    two = carriers(a={"connection-audio-relay-enabled": "no"})
    port: Port = rtp(voice=1)
    call = two.call(body=describes(port, G711(8)))
    leg = two.bob.incoming()
    leg.reply(leg.invite, 488)
    leg.expect("ACK")
    call.expect(488)
    two.bob.no_call()
