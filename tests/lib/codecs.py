"""Codecs that nobody here wrote, as the far ends of a call use them: libopus, and G.722 of spandsp.

Both come with rtpengine, which scripts/install-test-peers.sh installs. They are called as they lie in the system, without
a compiler. Each codec has the numbers of its RTP stream, and encodes and decodes payloads of one stream in their order.
"""

import array
import ctypes

from . import audio

FRAME_SECONDS = 0.02
OPUS_VOIP, OPUS_SET_BITRATE = 2048, 4002


def _library(name):
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise AssertionError(f"{name} is missing: scripts/install-test-peers.sh installs it") from error


class G711:
    """One law of G.711."""

    rate_hz = clock_hz = 8000

    def __init__(self, payload_type):
        self.payload_type, self.law = payload_type, audio.LAWS[payload_type]
        self.name = {0: "PCMU/8000", 8: "PCMA/8000"}[payload_type]

    def encode(self, samples):
        return self.law.encode(samples)

    def decode(self, payload):
        return self.law.decode(payload)


class G722:
    """G.722 at 64 kbit/s; its clock is half its rate (RFC 3551 §4.5.2)."""

    payload_type, name, rate_hz, clock_hz = 9, "G722/8000", 16000, 8000

    def __init__(self):
        self.library = _library("libspandsp.so.2")
        for make in (self.library.g722_encode_init, self.library.g722_decode_init):
            make.restype = ctypes.c_void_p
        self.encoder = ctypes.c_void_p(self.library.g722_encode_init(None, 64000, 0))
        self.decoder = ctypes.c_void_p(self.library.g722_decode_init(None, 64000, 0))

    def encode(self, samples):
        pcm = (ctypes.c_int16 * len(samples))(*samples)
        codes = (ctypes.c_uint8 * (len(samples) // 2))()
        count = self.library.g722_encode(self.encoder, codes, pcm, len(samples))
        return bytes(codes[:count])

    def decode(self, payload):
        pcm = (ctypes.c_int16 * (len(payload) * 2))()
        count = self.library.g722_decode(self.decoder, pcm, payload, len(payload))
        return array.array("h", pcm[:count])


class Opus:
    """Opus, at the full rate of its clock."""

    name, rate_hz, clock_hz = "opus/48000/2", 48000, 48000

    def __init__(self, payload_type=111, bits_per_second=32000):
        self.payload_type = payload_type
        self.library = _library("libopus.so.0")
        self.library.opus_encoder_create.restype = self.library.opus_decoder_create.restype = ctypes.c_void_p
        error = ctypes.c_int()
        self.encoder = ctypes.c_void_p(self.library.opus_encoder_create(48000, 1, OPUS_VOIP, ctypes.byref(error)))
        self.decoder = ctypes.c_void_p(self.library.opus_decoder_create(48000, 1, ctypes.byref(error)))
        self.library.opus_encoder_ctl(self.encoder, OPUS_SET_BITRATE, ctypes.c_int32(bits_per_second))

    def encode(self, samples):
        pcm = (ctypes.c_int16 * len(samples))(*samples)
        packet = (ctypes.c_uint8 * 1500)()
        count = self.library.opus_encode(self.encoder, pcm, len(samples), packet, 1500)
        assert count > 0, f"libopus does not encode: {count}"
        return bytes(packet[:count])

    def decode(self, payload):
        pcm = (ctypes.c_int16 * 5760)()
        count = self.library.opus_decode(self.decoder, payload, len(payload), pcm, 5760, 0)
        assert count > 0, f"libopus does not decode {payload.hex()}: {count}"
        return array.array("h", pcm[:count])


def ticks(codec):
    """Of its RTP clock in a frame."""
    return int(codec.clock_hz * FRAME_SECONDS)


def tone(codec, frequency_hz, seconds):
    """The payloads of a tone, frame by frame."""
    samples = audio.tone(frequency_hz, seconds, codec.rate_hz)
    frame = int(codec.rate_hz * FRAME_SECONDS)
    return [codec.encode(samples[start : start + frame]) for start in range(0, len(samples) - frame + 1, frame)]


def heard(codec, packets):
    """What a far end hears of these packets, which are all of its codec and without a hole."""
    samples = array.array("h")
    for packet in packets:
        assert packet.payload_type == codec.payload_type
        samples.extend(codec.decode(packet.payload))
    return samples
