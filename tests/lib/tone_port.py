"""An RTP port that plays a tone without end, as a phone does, and keeps what it hears."""

import array
import collections
import selectors
import threading
import time

from . import audio
from .rtp import PTIME_SECONDS, SAMPLES, Port

# How much of its time a foreign sender may lose to a busy machine.
LATE_SHARE = 0.25


class TonePort(Port):
    """A `Port` with a thread that sends a tone in G.711 every 20 ms from `play` until `quiet`, and always listens."""

    def __init__(self, frequency_hz, host="127.0.0.1", payload_type=0, **more):
        super().__init__(host, **more)
        self.frequency_hz, self.payload_type = frequency_hz, payload_type
        # A second holds a whole number of periods of each whole frequency, so its packets can be played in a circle.
        second = audio.LAWS[payload_type].encode(audio.tone(frequency_hz, 1))
        self.packets = [second[start : start + SAMPLES] for start in range(0, len(second), SAMPLES)]
        self.destination = None
        self.event = 101  # payload type of telephone events
        self.latest = 0.0  # seconds that the worst packet was late, on a busy machine
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def play(self, destination):
        """From now on the tone goes to `destination`."""
        self.destination = destination

    def quiet(self):
        self.destination = None

    def press(self, keys):
        """Presses the keys one after the other, each with a pause after it; the tone stops for good."""
        destination = self.destination
        self.quiet()
        time.sleep(2 * PTIME_SECONDS)  # the thread may be sending
        for key in keys:
            self.send_dtmf(destination, key, self.event)
            self.timestamp += 10 * SAMPLES
            time.sleep(10 * PTIME_SECONDS)

    def close(self):
        self.ended.set()
        self.thread.join(5)
        super().close()

    def _run(self):
        number, due = 0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self.rtp, selectors.EVENT_READ)
            selector.register(self.rtcp, selectors.EVENT_READ)
            while not self.ended.is_set():
                while (left := due - time.monotonic()) > 0:
                    if selector.select(left):
                        self.drain()
                self.latest = max(self.latest, time.monotonic() - due)
                due += PTIME_SECONDS
                if destination := self.destination:
                    self.send(destination, self.payload_type, self.packets[number % len(self.packets)])
                    number += 1

    def forget(self):
        """What was heard until now does not count."""
        self.received.clear()

    def samples(self):
        """What was heard, as `samples` puts it together."""
        return samples(list(self.received), self.payload_type)

    def assert_heard(self, frequency_hz, seconds, slips=0):
        """The tone came for that long, no packet of it is missing, and the timestamps fit; see `audio.assert_tone`."""
        audio.assert_tone(self.samples(), frequency_hz, seconds, slips=slips)
        late = late_frames(list(self.received), self.payload_type)
        assert late <= seconds / PTIME_SECONDS * LATE_SHARE, f"timestamps are {late} frames ahead of the packets"

    def heard(self, frequency_hz):
        return audio.Heard(self.samples(), frequency_hz)

    def heard_seconds(self, frequency_hz, seconds):
        """For `wait_until`: whether the tone has been heard that long; what has been heard, if not long enough."""
        heard = self.heard(frequency_hz)
        return heard if heard.seconds >= seconds else None

    def keys(self):
        return keys_pressed(list(self.received), self.event)


def _stream(packets, payload_type):
    """The packets of that type of the stream that most of them belong to."""
    audible = [packet for packet in packets if packet.payload_type == payload_type]
    if not audible:
        return []
    ((ssrc, _),) = collections.Counter(packet.ssrc for packet in audible).most_common(1)
    return [packet for packet in audible if packet.ssrc == ssrc]


def samples(packets, payload_type=0):
    """The audio of the packets in the order of their numbers, silence where one is missing.

    Not by their timestamps: who is late on a busy machine lets the timestamp jump, and goes on where the audio was.
    """
    audible = _stream(packets, payload_type)
    if not audible:
        return array.array("h")
    # Numbers wrap; what came first may have been overtaken by a few.
    start = audible[0].sequence
    placed = {(packet.sequence - start + 2**15) % 2**16 - 2**15: packet.payload for packet in audible}
    heard = array.array("h")
    for place in range(min(placed), max(placed) + 1):
        payload = placed.get(place)
        heard.extend(audio.LAWS[payload_type].decode(payload) if payload is not None else bytes(SAMPLES))
    return heard


def late_frames(packets, payload_type=0):
    """By how many frames the timestamps have gone on more than the audio, in all."""
    audible = _stream(packets, payload_type)
    gone = lambda one, other: ((other.timestamp - one.timestamp) % 2**32) / SAMPLES  # noqa: E731
    numbered = lambda one, other: (other.sequence - one.sequence) % 2**16  # noqa: E731
    return sum(abs(gone(*pair) - numbered(*pair)) for pair in zip(audible, audible[1:]) if 0 < numbered(*pair) < 2**15)


def keys_pressed(packets, payload_type=101):
    """The keys that RFC 4733 events tell of, each once, whatever the number of its packets; only those that ended."""
    pressed = {}
    for packet in packets:
        if packet.payload_type == payload_type and len(packet.payload) >= 4 and packet.payload[1] & 0x80:
            pressed.setdefault((packet.ssrc, packet.timestamp), "0123456789*#ABCD"[packet.payload[0]])
    return "".join(pressed.values())
