"""Sounds: each function against what is known about the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import signal

from aigc_sdk import Audio
from aigc_sdk.errors import InputError
from aigc_sdk_process.finish import audio

RATE = 16_000


def tone(
    seconds: float = 1.0, hertz: float = 440.0, peak: float = 0.5, rate: int = RATE, channels: int = 1, **info: Any
) -> Audio:
    wave = peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), sample_rate=rate, info=info)


def word(text: str, start: float, end: float) -> dict[str, Any]:
    return {"text": text, "start": start, "end": end}


def decibels(samples: Any) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-12))


def pitch(sound: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(sound.samples[0] * np.hanning(sound.samples.shape[1])))
    return float(np.argmax(spectrum)) / sound.duration


def test_trim_takes_the_silence_away_and_moves_the_words() -> None:
    padded = np.pad(tone().samples, ((0, 0), (RATE, RATE // 2)))
    sound = Audio(padded, sample_rate=RATE, info={"words": [word("la", 1.2, 1.8)], "normalized": "la"})
    made = audio.trim(sound, keep=0.1)
    assert made.duration == pytest.approx(1.2, abs=0.02)
    assert made.info["words"] == [word("la", pytest.approx(0.3, abs=0.02), pytest.approx(0.9, abs=0.02))]
    assert made.info["normalized"] == "la"


def test_cut_shortens_words_that_reach_outside_and_drops_those_that_lie_there() -> None:
    words = [word("a", 0.0, 0.2), word("b", 0.4, 0.8), word("c", 0.9, 1.0)]
    made = audio.cut(tone(words=words), 0.3, 0.6)
    assert made.samples.shape[1] == round(0.3 * RATE)
    assert made.info["words"] == [word("b", 0.1, 0.3)]


def test_fades_begin_and_end_in_silence_and_leave_the_middle() -> None:
    sound = tone()
    made = audio.fade(sound, fade_in=0.2, fade_out=0.3)
    assert np.abs(made.samples[0, :20]).max() < 0.005
    assert np.abs(made.samples[0, -20:]).max() < 0.005
    assert np.array_equal(made.samples[:, 3200:11_200], sound.samples[:, 3200:11_200])


def test_the_gate_turns_hiss_down_and_leaves_speech_alone() -> None:
    hiss = np.random.default_rng(0).standard_normal((1, 3 * RATE)) * 0.001
    sound = Audio((hiss + np.pad(tone().samples, ((0, 0), (RATE, RATE)))).astype(np.float32), sample_rate=RATE)
    made = audio.gate(sound, below=-45, reduction=40)
    assert decibels(made.samples[:, : RATE // 2]) == pytest.approx(
        decibels(sound.samples[:, : RATE // 2]) - 40, abs=0.5
    )
    assert np.allclose(
        made.samples[:, RATE + 400 : 2 * RATE - 400], sound.samples[:, RATE + 400 : 2 * RATE - 400], atol=1e-6
    )


@pytest.mark.parametrize(("rate", "target"), [(16_000, 48_000), (48_000, 16_000), (44_100, 48_000), (22_050, 16_000)])
def test_resampling_keeps_a_tone_to_70_decibels(rate: int, target: int) -> None:
    made = audio.resample(tone(1.0, 1000, rate=rate), target)
    wanted = tone(1.0, 1000, rate=target)
    assert made.samples.shape == wanted.samples.shape
    inside = slice(target // 10, -target // 10)
    assert decibels((made.samples - wanted.samples)[:, inside]) < decibels(wanted.samples) - 70


def test_resampling_down_filters_out_what_the_lower_rate_cannot_hold() -> None:
    made = audio.resample(tone(1.0, 7000, rate=16_000), 8000)
    assert decibels(made.samples[:, 400:-400]) < -60


def test_resampling_agrees_with_scipys_fourier_method() -> None:
    noise = np.random.default_rng(1).standard_normal(RATE)
    smooth = signal.sosfiltfilt(signal.butter(8, 3000, fs=RATE, output="sos"), noise) * np.hanning(RATE) / 8
    made = audio.resample(Audio(smooth.astype(np.float32)[None], sample_rate=RATE), 24_000)
    wanted = signal.resample(smooth, 24_000)
    assert decibels(made.samples[0] - wanted) < decibels(wanted) - 55


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_stretching_changes_the_length_and_not_the_pitch_nor_the_channels(factor: float) -> None:
    made = audio.stretch(tone(2.0, channels=2, words=[word("la", 0.5, 1.0)]), factor)
    assert made.samples.shape == (2, round(2 * RATE * factor))
    assert pitch(made) == pytest.approx(440, abs=4)
    assert made.info["words"][0]["end"] == pytest.approx(factor, abs=1e-3)


def test_mono_becomes_stereo_and_stereo_mono() -> None:
    both = np.stack([tone(peak=0.2).samples[0], tone(peak=0.4).samples[0]])
    assert np.allclose(audio.channels(Audio(both, sample_rate=RATE), 1).samples, both.mean(axis=0), atol=1e-6)
    assert audio.channels(tone(), 2).samples.shape == (2, RATE)


LENGTHS = [("pad", 1.5), ("trim", 0.7), ("loop", 2.5), ("loop", 0.5), ("stretch", 1.3), ("refuse", 1.0)]


@pytest.mark.parametrize(("policy", "seconds"), LENGTHS)
def test_each_policy_gives_exactly_the_length_that_was_asked_for(policy: str, seconds: float) -> None:
    assert audio.fit(tone(), seconds, policy=policy).samples.shape[1] == round(seconds * RATE)


@pytest.mark.parametrize(("policy", "seconds"), [("pad", 0.5), ("trim", 1.5), ("refuse", 1.1), ("stretch", 9.0)])
def test_a_policy_that_does_not_apply_is_refused_with_those_that_do(policy: str, seconds: float) -> None:
    with pytest.raises(InputError, match=r"it lasts 1\.000 s") as caught:
        audio.fit(tone(), seconds, policy=policy)
    assert caught.value.field == "policy"


def test_a_loop_says_its_words_again() -> None:
    made = audio.fit(tone(words=[word("la", 0.2, 0.6)]), 2.3, policy="loop")
    assert made.info["words"] == [word("la", 0.2, 0.6), word("la", 1.2, 1.6), word("la", 2.2, 2.3)]


def test_a_crossfade_of_unlike_sounds_keeps_the_power_and_the_words_in_place() -> None:
    info = {"words": [word("x", 0.1, 0.2)]}
    waves = [np.random.default_rng(seed).standard_normal((1, RATE)) * 0.1 for seed in range(2)]
    noises = [Audio(wave.astype(np.float32), sample_rate=RATE, info=info) for wave in waves]
    made = audio.concatenate(noises, crossfade=0.5)
    assert made.duration == 1.5
    assert decibels(made.samples[:, RATE // 2 : RATE]) == pytest.approx(-20, abs=0.5)
    assert made.info["words"] == [word("x", 0.1, 0.2), word("x", 0.6, 0.7)]


def test_a_gap_is_silent_and_other_rates_and_channels_are_brought_to_the_first() -> None:
    made = audio.concatenate([tone(0.5), tone(0.5, rate=8000, channels=2)], gap=0.25)
    assert made.samples.shape == (1, round(1.25 * RATE))
    assert not made.samples[:, RATE // 2 : round(0.75 * RATE)].any()


def test_the_background_makes_way_for_the_voice() -> None:
    voice = Audio(np.pad(tone(peak=0.3).samples, ((0, 0), (2 * RATE, 2 * RATE))), sample_rate=RATE)
    music = tone(5.0, 1000, peak=0.5)
    made = audio.mix(voice, music, level=-6, duck=20, hold=0.2, ramp=0.1)
    alone = made.samples - voice.samples
    assert decibels(alone[:, :RATE]) == pytest.approx(decibels(music.samples) - 6, abs=0.1)
    assert decibels(alone[:, 2 * RATE + 800 : 3 * RATE - 800]) == pytest.approx(decibels(music.samples) - 26, abs=0.1)
    assert decibels(alone[:, -RATE:]) == pytest.approx(decibels(music.samples) - 6, abs=0.1)


def test_a_voice_that_begins_later_takes_its_words_along() -> None:
    made = audio.mix(tone(words=[word("la", 0.1, 0.9)]), tone(4.0, 100), start=1.5)
    assert made.duration == 4.0
    assert made.info["words"] == [word("la", 1.6, 2.4)]
