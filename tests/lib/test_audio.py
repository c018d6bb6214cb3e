"""The audio tools, without a switch: what they find, and what they do not let pass."""

import pytest

from . import audio

STEP = int(audio.RATE_HZ * audio.STEP_SECONDS)


def test_a_tone_is_found_with_its_length_and_frequency():
    silence = audio.tone(440, 0.5, amplitude=0)
    heard = audio.Heard(silence + audio.tone(440, 2) + silence, 440)
    assert 1.98 <= heard.seconds <= 2.02 and heard.gaps == [] and heard.jumps == 0
    assert abs(audio.Heard(audio.tone(443, 2), 440).drift_hz - 3) < 0.1
    audio.assert_no_tone(audio.tone(440, 2), 1000)


@pytest.mark.parametrize("law", [audio.PCMU, audio.PCMA])
def test_a_tone_survives_both_laws_of_g711(law):
    audio.assert_tone(law.decode(law.encode(audio.tone(1000, 1))), 1000, 0.98)


def test_the_laws_know_their_reference_values():
    """ITU-T G.711, tables 1 and 2: the codes of silence and of the loudest sample."""
    assert audio.PCMU.encode([0, 32124, -32124]) == b"\xff\x80\x00" and audio.PCMU.decode(b"\xff\x80\x00")[1] == 32124
    assert audio.PCMA.encode([8, -8, 32256, -32256]) == b"\xd5\x55\xaa\x2a"


def test_a_missing_packet_is_a_gap_and_a_packet_cut_out_is_a_jump():
    whole = audio.tone(440, 1)
    silent = whole[: 10 * STEP] + audio.tone(440, 0.02, amplitude=0) + whole[11 * STEP :]
    assert audio.Heard(silent, 440).gaps == [(0.2, 0.02)]
    cut = whole[: 10 * STEP] + whole[11 * STEP :]
    assert audio.Heard(cut, 440).gaps == [] and audio.Heard(cut, 440).jumps == 1
    for broken in (silent, cut):
        with pytest.raises(AssertionError, match="slips"):
            audio.assert_tone(broken, 440, 0.9)


def test_wav_files_keep_samples_rate_and_channels_apart(tmp_path):
    samples = audio.tone(440, 0.1, rate_hz=48000)
    audio.write_wav(tmp_path / "two.wav", samples, 48000, channels=2)
    assert audio.read_wav(tmp_path / "two.wav") == (samples, 48000)
