"""Loudness: by BS.1770, beside pyloudnorm and FFmpeg, and brought to a target."""

from __future__ import annotations

import math

import av
import numpy as np
import pyloudnorm
import pytest

from aigc_sdk import Audio
from aigc_sdk.errors import InputError
from aigc_sdk_process.finish.audio import pulled
from aigc_sdk_process.finish.loudness import loudness, normalized, true_peak


def speechlike(rate: int, channels: int = 1, seconds: float = 5.0, seed: int = 0) -> Audio:
    """Noise whose level changes twice a second, with silence in between."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.choice([0.0, 0.02, 0.1, 0.3], math.ceil(seconds * 2)), rate // 2)[: int(seconds * rate)]
    return Audio(
        (rng.standard_normal((channels, len(levels))) * levels / 4).clip(-1, 1).astype(np.float32), sample_rate=rate
    )


def reference(sound: Audio) -> float:
    return float(pyloudnorm.Meter(sound.sample_rate).integrated_loudness(sound.samples.T.astype(np.float64)))


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_loudness_is_that_of_pyloudnorm_within_a_tenth(rate: int, channels: int) -> None:
    sound = speechlike(rate, channels)
    assert loudness(sound) == pytest.approx(reference(sound), abs=0.1)


def by_ffmpeg(sound: Audio) -> dict[str, float]:
    """What FFmpeg's own meter says of a stereo sound."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="fltp", sample_rate=sound.sample_rate, layout="stereo")
    meter, sink = graph.add("ebur128", "metadata=1:peak=true"), graph.add("abuffersink")
    graph.link_nodes(source, meter, sink).configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.samples), "fltp", "stereo")
    frame.sample_rate, frame.pts = sound.sample_rate, 0
    source.push(frame)
    source.push(None)
    *_, last = pulled(sink)
    return {name.removeprefix("lavfi.r128."): float(value) for name, value in last.metadata.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loudness_and_true_peak_are_those_of_ffmpegs_meter(seed: int) -> None:
    sound = speechlike(48_000, 2, seed=seed)
    found = by_ffmpeg(sound)
    assert loudness(sound) == pytest.approx(found["I"], abs=0.03)
    assert true_peak(sound) == pytest.approx(20 * math.log10(found["true_peak"]), abs=0.1)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_the_standards_sine_has_the_standards_loudness(rate: int) -> None:
    time = np.arange(rate * 3) / rate
    sine = Audio(np.sin(2 * np.pi * 997 * time).astype(np.float32)[None], sample_rate=rate)
    assert loudness(sine) == pytest.approx(-3.01, abs=0.05)


def test_silence_around_a_sound_does_not_change_its_loudness() -> None:
    sound = Audio((np.random.default_rng(0).standard_normal((1, 320_000)) / 20).astype(np.float32), sample_rate=16_000)
    padded = Audio(np.pad(sound.samples, ((0, 0), (16_000, 160_000))), sample_rate=16_000)
    assert loudness(padded) == pytest.approx(loudness(sound), abs=0.1)
    assert loudness(Audio(np.zeros((1, 16_000), np.float32), sample_rate=16_000)) == -math.inf


def test_a_peak_between_two_samples_is_found() -> None:
    time = np.arange(4800)
    between = np.sin(2 * np.pi * time / 4 + np.pi / 4).astype(np.float32)[None]  # never sampled at its top
    assert 20 * math.log10(np.abs(between).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak(Audio(between[:, 100:-100], sample_rate=48_000)) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("target", [-30.0, -23.0, -12.0])
def test_the_target_is_reached_as_pyloudnorm_measures_and_the_ceiling_kept(rate: int, target: float) -> None:
    made = normalized(speechlike(rate, 2), target, peaks="limit")
    assert reference(made) == pytest.approx(target, abs=0.1)
    assert true_peak(made) <= -1.0


def test_without_peaks_in_the_way_the_gain_is_one_number() -> None:
    sound = speechlike(16_000)
    made = normalized(sound, -40.0)
    heard = np.abs(sound.samples) > 0.01
    ratio = made.samples[heard] / sound.samples[heard]
    assert ratio.max() - ratio.min() < 1e-5


def test_peaks_in_the_way_are_refused_unless_the_limiter_is_asked_for() -> None:
    with pytest.raises(InputError, match=r'ask for -\d+\.\d LUFS or less, or pass peaks="limit"') as caught:
        normalized(speechlike(16_000), -6.0)
    assert caught.value.field == "target"
