"""Other sample rates."""

from __future__ import annotations

import numpy as np
import pytest

from aigc_sdk_tts.resample import Resampler

RATES = [8000, 11025, 16000, 22050, 24000, 44100, 48000]


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_a_tone(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    made = Resampler(16000, rate).push(tone, last=True)
    assert len(made) == rate
    inner = slice(200, -200)
    np.testing.assert_allclose(made[inner], np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[inner], atol=1e-4)


@pytest.mark.parametrize("rate", RATES)
def test_pieces_join_to_the_whole(rate: int) -> None:
    noise = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    whole = Resampler(16000, rate).push(noise, last=True)
    pieces = Resampler(16000, rate)
    parts = [pieces.push(each) for each in np.split(noise, [1, 2, 40, 41, 3000])]
    parts.append(pieces.push(noise[:0], last=True))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_what_a_lower_rate_cannot_hold_is_gone() -> None:
    tone = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000).astype(np.float32)
    assert np.abs(Resampler(16000, 8000).push(tone, last=True)[100:-100]).max() < 1e-3
