"""Audio as audio: makes tones, keeps them in WAV files and in G.711, and finds them again in what was heard.

A tone that was sent into one end is looked for at the other in steps of 20 ms, the length of a packet. In each step the
part of the energy that is the tone says whether it is there; its phase, compared with an oscillator that never stops,
says whether something was cut out or repeated. 440 Hz has 8.8 periods in 20 ms, so a packet lost without silence in its
place still shows as a jump of 72 degrees.
"""

import array
import cmath
import math
import struct
import wave

RATE_HZ = 8000
STEP_SECONDS = 0.02
LOUD = 6000  # amplitude of our tones: a third below the loudest that a phone should send
PRESENT_SHARE = 0.6  # of a step's energy; two tones at once have a half each
PRESENT_AMPLITUDE = LOUD / 10
JUMP_DEGREES = 40
# Steps in some two seconds that a peer with a clock and a buffer of its own may lose on a machine with ten times more to
# do than it can. Every tenth packet lost would be more.
PEER_SLIPS = 8


def tone(frequency_hz, seconds, rate_hz=RATE_HZ, amplitude=LOUD, first=0):
    """16-bit samples of a sine; `first` is the number of its first sample, to continue one."""
    step = 2 * math.pi * frequency_hz / rate_hz
    return array.array("h", (round(amplitude * math.sin(step * n)) for n in range(first, first + int(seconds * rate_hz))))


# -- G.711 -----------------------------------------------------------------------------------------------------------


def _ulaw_to_linear(byte):
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def _alaw_to_linear(byte):
    byte ^= 0x55
    exponent, mantissa = byte >> 4 & 7, byte & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
    return magnitude if byte & 0x80 else -magnitude


def _coder(to_linear):
    """Both directions of a law as tables: byte to sample, and sample (as unsigned 16 bits) to the nearest byte."""
    decoded = [to_linear(byte) for byte in range(256)]
    ordered = sorted(range(256), key=lambda byte: decoded[byte])
    encoded, place = bytearray(65536), 0
    for sample in range(-32768, 32768):
        while place < 255 and abs(decoded[ordered[place + 1]] - sample) <= abs(decoded[ordered[place]] - sample):
            place += 1
        encoded[sample & 0xFFFF] = ordered[place]
    return decoded, encoded


class Law:
    """One law of G.711, its tables made at the first use."""

    def __init__(self, to_linear):
        self._to_linear, self._tables = to_linear, None

    def _made(self):
        self._tables = self._tables or _coder(self._to_linear)
        return self._tables

    def encode(self, samples):
        table = self._made()[1]
        return bytes(table[sample & 0xFFFF] for sample in samples)

    def decode(self, data):
        table = self._made()[0]
        return array.array("h", (table[byte] for byte in data))


PCMU, PCMA = Law(_ulaw_to_linear), Law(_alaw_to_linear)
LAWS = {0: PCMU, 8: PCMA}


# -- WAV -------------------------------------------------------------------------------------------------------------


def write_wav(path, samples, rate_hz=RATE_HZ, channels=1):
    """The samples as 16-bit PCM, the same in every channel."""
    if channels > 1:
        samples = array.array("h", (sample for sample in samples for _ in range(channels)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def read_wav(path):
    """(samples of the first channel, rate in Hz). Reads what is there of a file whose writer did not finish its header."""
    data = open(path, "rb").read()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE", f"{path}: not a WAV file of {len(data)} bytes"
    place, rate_hz, channels = 12, RATE_HZ, 1
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], struct.unpack("<I", data[place + 4 : place + 8])[0]
        if kind == b"fmt ":
            _, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", data[place + 8 : place + 24])
            assert bits == 16, f"{path}: {bits} bits per sample"
        if kind == b"data":
            body = data[place + 8 : place + 8 + size] if size else data[place + 8 :]
            samples = array.array("h", body[: len(body) // (2 * channels) * 2 * channels])
            return samples[::channels], rate_hz
        place += 8 + size + size % 2
    return array.array("h"), rate_hz


def read_stereo(path):
    """(left, right) of a file with 16 bits, two channels and 8 kHz, by the standard library's own reader."""
    with wave.open(str(path), "rb") as file:
        form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        assert form == (2, 2, RATE_HZ), f"{path}: channels, bytes, rate are {form}"
        samples = array.array("h", file.readframes(file.getnframes()))
        assert len(samples) == 2 * file.getnframes(), f"{path}: the header counts more than there is"
    return samples[::2], samples[1::2]


# -- finding a tone --------------------------------------------------------------------------------------------------


class Heard:
    """Where the tone of `frequency_hz` is in `samples`."""

    def __init__(self, samples, frequency_hz, rate_hz=RATE_HZ):
        self.frequency_hz, self.rate_hz, self.total_seconds = frequency_hz, rate_hz, len(samples) / rate_hz
        size = int(rate_hz * STEP_SECONDS)
        turn = -2j * math.pi * frequency_hz / rate_hz
        oscillator = [cmath.exp(turn * n) for n in range(size)]
        self.steps = []  # the tone's amplitude as a complex number, or None where it is not
        for start in range(0, len(samples) - size + 1, size):
            step = samples[start : start + size]
            energy = sum(sample * sample for sample in step)
            found = sum(sample * wave for sample, wave in zip(step, oscillator)) * 2 / size * cmath.exp(turn * start)
            share = abs(found) ** 2 / 2 * size / energy if energy else 0
            self.steps.append(found if share > PRESENT_SHARE and abs(found) > PRESENT_AMPLITUDE else None)
        there = [number for number, step in enumerate(self.steps) if step is not None]
        self.first, self.last = (there[0], there[-1]) if there else (0, -1)
        self.inside = self.steps[self.first : self.last + 1]

    @property
    def seconds(self):
        """How long the tone is there, gaps not counted."""
        return sum(step is not None for step in self.inside) * STEP_SECONDS

    @property
    def gaps(self):
        """(seconds from the start, seconds long) of each silence or other sound between the tone's begin and end."""
        found, since = [], None
        for number, step in enumerate(self.inside):
            if step is None and since is None:
                since = number
            if step is not None and since is not None:
                found.append((round((self.first + since) * STEP_SECONDS, 2), round((number - since) * STEP_SECONDS, 2)))
                since = None
        return found

    def _turns(self):
        """The change of phase from each step to the next, in radians, where both have the tone."""
        pairs = zip(self.inside, self.inside[1:])
        return [cmath.phase(after / before) for before, after in pairs if before is not None and after is not None]

    @property
    def drift_hz(self):
        """How much higher the tone is than it should be: the middle one of all steps, so that jumps do not count."""
        turns = sorted(self._turns())
        return turns[len(turns) // 2] / (2 * math.pi * STEP_SECONDS) if turns else 0.0

    @property
    def jumps(self):
        """How often the tone goes on at another place than it should, as where a packet was left out or played twice."""
        middle = self.drift_hz * 2 * math.pi * STEP_SECONDS
        return sum(abs(math.degrees(turn - middle)) > JUMP_DEGREES for turn in self._turns())

    def __str__(self):
        return (
            f"{self.frequency_hz} Hz for {self.seconds:.2f} s of {self.total_seconds:.2f} s, {self.drift_hz:+.2f} Hz, "
            f"gaps (at, seconds) {self.gaps[:8]}, jumps {self.jumps}"
        )


def assert_tone(samples, frequency_hz, seconds, rate_hz=RATE_HZ, slips=0):
    """The tone is there for at least `seconds`, true to a hertz and without gaps; the `Heard`.

    `slips`: how many steps may be missing or jump in all, `PEER_SLIPS` for what a peer recorded; what comes to our own
    RTP ports has none.
    """
    heard = Heard(samples, frequency_hz, rate_hz)
    assert heard.seconds >= seconds, f"expected {seconds} s, heard {heard}"
    assert abs(heard.drift_hz) < 1, f"another frequency: {heard}"
    missing = sum(length for _, length in heard.gaps) / STEP_SECONDS
    assert missing + heard.jumps <= slips + 0.5, f"more than {slips} slips: {heard}"
    return heard


def assert_no_tone(samples, frequency_hz, rate_hz=RATE_HZ):
    heard = Heard(samples, frequency_hz, rate_hz)
    assert heard.seconds <= STEP_SECONDS, f"not expected: {heard}"
