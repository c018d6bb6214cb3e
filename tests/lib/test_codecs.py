"""The far ends' codecs, before anything is measured with them."""

import pytest

from . import audio
from .codecs import G711, G722, Opus, ticks, tone


@pytest.mark.parametrize("make", [lambda: G711(0), lambda: G711(8), G722, Opus], ids=["PCMU", "PCMA", "G722", "Opus"])
def test_a_tone_comes_back(make):
    codec = make()
    payloads = tone(codec, 440, 1)
    assert len(payloads) == 50
    samples = sum((codec.decode(payload) for payload in payloads), start=audio.tone(1, 0))
    assert len(samples) == codec.rate_hz
    audio.assert_tone(samples, 440, 0.9, codec.rate_hz, slips=1)
    audio.assert_no_tone(samples, 620, codec.rate_hz)
    assert ticks(codec) in (160, 960)
