"""Mel-cepstra, alignment, pitch, and the scores made of them, on sounds of known properties."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_sdk import Audio
from aigc_sdk.errors import DataError, InputError
from aigc_sdk_metrics.speech_batch import SpeechBatch, resampled
from aigc_sdk_metrics.speech_pitch import pitch
from aigc_sdk_metrics.speech_spectrum import BANDS, COEFFICIENTS, DISTORTION, aligned, cepstrum, mel_bands, mel_cepstrum
from aigc_sdk_metrics.speech_voice import (
    DurationError,
    MelCepstralDistortion,
    PitchError,
    RealTimeFactor,
    SpeakerSimilarity,
    VoicingError,
)

RATE = 16_000


def harmonics(frequency: Any, rate: int = RATE, seconds: float = 0.5) -> np.ndarray:
    """A voice's source: all harmonics up to 4 kHz of a frequency, or of one per sample, falling by 6 dB an octave."""
    cycles = np.cumsum(np.broadcast_to(np.asarray(frequency, np.float64), round(seconds * rate)) / rate)
    highest = int(min(rate / 2, 4000) / np.max(frequency))
    return 0.1 * sum(np.sin(2 * np.pi * k * cycles + k) / k for k in range(1, highest + 1))


def noise(seconds: float = 0.5, rate: int = RATE, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).clip(-5, 5)


def sound(wave: np.ndarray, rate: int = RATE, **more: Any) -> Audio:
    return Audio(wave[None].astype(np.float32), sample_rate=rate, **more)


def score(metric: Any, samples: list[Audio], references: list[Any] | None = None) -> float:
    metric.update(samples, references)
    [found] = metric.compute(times=0).values()
    return float(found.value)


class TestPitch:
    @pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 48_000])
    @pytest.mark.parametrize("frequency", [70.0, 123.4, 220.0, 440.0])
    def test_a_voice_of_known_pitch_is_found_within_half_a_per_cent(self, frequency: float, rate: int) -> None:
        found = pitch(harmonics(frequency, rate), rate)[5:-5]
        assert found == pytest.approx(np.full(len(found), frequency), rel=0.005)

    def test_a_sine_has_its_own_pitch(self) -> None:
        time = np.arange(RATE // 2) / RATE
        found = pitch(0.5 * np.sin(2 * np.pi * 150 * time), RATE)[5:-5]
        assert found == pytest.approx(np.full(len(found), 150.0), rel=1e-3)

    def test_a_gliding_voice_is_followed(self) -> None:
        glide = np.geomspace(100, 200, RATE)
        found = pitch(harmonics(glide, seconds=1.0), RATE)
        middles = 200 + 80 * np.arange(len(found))  # of a window of 400 samples, every 80
        assert found[5:-5] == pytest.approx(glide[middles][5:-5], rel=0.01)

    def test_noise_and_silence_have_no_pitch(self) -> None:
        assert np.isnan(pitch(noise(), RATE)).all()
        assert np.isnan(pitch(np.zeros(RATE), RATE)).all()

    def test_what_is_50_dB_below_the_loudest_frame_has_no_pitch(self) -> None:
        loud = harmonics(120, seconds=0.3)
        found = pitch(np.concatenate([loud, 0.001 * loud]), RATE)
        assert np.isfinite(found[5:40]).all()
        assert np.isnan(found[-40:]).all()


class TestMelCepstrum:
    def test_it_is_the_cosine_transform_of_the_log_amplitude(self) -> None:
        middles = np.pi * (np.arange(BANDS) + 0.5) / BANDS
        log_amplitude = 0.7 - 0.5 * np.cos(3 * middles) + 0.25 * np.cos(24 * middles)
        expected = np.zeros(COEFFICIENTS)
        expected[2], expected[23] = -0.5, 0.25
        assert cepstrum(log_amplitude[None])[0] == pytest.approx(expected, abs=1e-12)

    def test_loudness_leaves_it_as_it_is(self) -> None:
        wave = harmonics(120) + noise()
        assert mel_cepstrum(wave, RATE) == pytest.approx(mel_cepstrum(0.1 * wave, RATE), abs=1e-9)

    @pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
    def test_no_band_is_empty_at_any_sample_rate(self, rate: int) -> None:
        window = round(0.025 * rate)
        bands = mel_bands(rate, 1 << (2 * window - 1).bit_length())
        assert np.isfinite(bands).all()
        assert bands.sum(1) == pytest.approx(np.ones(BANDS))


class TestAlignment:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 25), st.integers(1, 25), st.integers(0, 1000))
    def test_no_path_is_shorter(self, n: int, m: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        mine, its = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
        path = aligned(mine, its)
        assert np.linalg.norm(mine[path[:, 0]] - its[path[:, 1]], axis=1).sum() == pytest.approx(least(mine, its))

    def test_a_path_leads_from_corner_to_corner_a_step_at_a_time(self) -> None:
        rng = np.random.default_rng(0)
        path = aligned(rng.standard_normal((30, 2)), rng.standard_normal((50, 2)))
        steps = np.diff(path, axis=0)
        assert path[0].tolist() == [0, 0]
        assert path[-1].tolist() == [29, 49]
        assert set(map(tuple, steps)) <= {(0, 1), (1, 0), (1, 1)}

    def test_equal_sequences_go_side_by_side(self) -> None:
        same = np.zeros((6, 2))
        assert aligned(same, same).tolist() == [[index, index] for index in range(6)]

    def test_a_table_that_does_not_fit_is_refused(self) -> None:
        frames = np.zeros((1 << 15, 1))
        with pytest.raises(DataError, match="cut the sounds"):
            aligned(frames, frames)


def least(mine: np.ndarray, its: np.ndarray) -> float:
    """The table of Sakoe and Chiba, cell by cell."""
    table = np.full((len(mine) + 1, len(its) + 1), np.inf)
    table[0, 0] = 0
    for i, one in enumerate(mine):
        for j, other in enumerate(its):
            before = min(table[i, j], table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = np.linalg.norm(one - other) + before
    return float(table[-1, -1])


class TestMelCepstralDistortion:
    def test_a_sound_has_none_with_itself(self) -> None:
        wave = sound(harmonics(120) + noise())
        assert score(MelCepstralDistortion(), [wave], [wave]) == 0

    def test_a_change_of_volume_costs_nothing(self) -> None:
        wave = harmonics(120) + noise()
        assert score(MelCepstralDistortion(), [sound(0.25 * wave)], [sound(wave)]) == pytest.approx(0, abs=1e-3)

    def test_the_constant_is_that_of_kubichek(self) -> None:
        assert pytest.approx(10 * math.sqrt(2) / math.log(10)) == DISTORTION == pytest.approx(6.1418, abs=1e-4)

    def test_a_known_filter_costs_what_its_response_says(self) -> None:
        hiss = noise(1.0)
        brighter = np.convolve(hiss, [1, -0.9])[: len(hiss)]  # 1 - 0.9 / z
        response = np.abs(1 - 0.9 * np.exp(-2j * np.pi * np.arange(513) / 1024)) ** 2
        expected = DISTORTION * np.linalg.norm(cepstrum(0.5 * np.log(mel_bands(RATE, 1024) @ response)[None]))
        assert score(MelCepstralDistortion(), [sound(brighter)], [sound(hiss)]) == pytest.approx(expected, rel=0.02)

    def test_slower_speech_costs_little(self) -> None:
        slow, fast = (harmonics(np.linspace(100, 160, n), seconds=n / RATE) for n in (RATE, RATE // 2))
        other = harmonics(np.linspace(160, 100, RATE // 2), seconds=0.5)
        assert score(MelCepstralDistortion(), [sound(slow)], [sound(fast)]) < 0.5 * score(
            MelCepstralDistortion(), [sound(other)], [sound(fast)]
        )


class TestPitchError:
    def test_a_transposed_voice_is_off_by_the_logarithm_of_the_ratio(self) -> None:
        found = score(PitchError(), [sound(harmonics(132))], [sound(harmonics(120))])
        assert found == pytest.approx(math.log(1.1), rel=0.01)

    def test_it_is_over_all_frames_that_are_voiced_on_both_sides(self) -> None:
        metric = PitchError()
        metric.update([sound(harmonics(132)), sound(harmonics(120))], [sound(harmonics(120)), sound(harmonics(120))])
        metric.update([sound(noise())], [sound(harmonics(120))])  # adds no frame
        [found] = metric.compute(times=0).values()
        assert found.value == pytest.approx(math.log(1.1) / math.sqrt(2), rel=0.01)

    def test_speech_without_a_common_voiced_frame_has_no_value(self) -> None:
        with pytest.raises(DataError, match="voiced on both sides"):
            score(PitchError(), [sound(noise())], [sound(harmonics(120))])

    def test_voicing_errors_are_counted(self) -> None:
        voiced, hissing = sound(harmonics(120)), sound(noise())
        assert score(VoicingError(), [hissing], [voiced]) > 0.95  # its ends are cut off by the window
        assert score(VoicingError(), [voiced], [voiced]) == 0


class TestTiming:
    def test_the_duration_error_is_part_of_the_reference(self) -> None:
        samples = [sound(noise(0.6)), sound(noise(0.5))]
        assert score(DurationError(), samples, [sound(noise(0.5))] * 2) == pytest.approx(0.1)

    def test_the_real_time_factor_is_over_all_seconds(self) -> None:
        samples = [sound(noise(0.5), info={"compute_seconds": 1.0}), sound(noise(1.5), info={"compute_seconds": 0.5})]
        assert score(RealTimeFactor(), samples) == pytest.approx(0.75)

    @pytest.mark.parametrize("took", [None, -1, "1", True, math.nan, math.inf])
    def test_a_sample_that_does_not_say_how_long_it_took_is_refused(self, took: Any) -> None:
        with pytest.raises(DataError, match="compute_seconds"):
            score(RealTimeFactor(), [sound(noise(), info={"compute_seconds": took})])


class TestSpeakerSimilarity:
    def test_it_is_the_cosine_of_the_encoders_vectors(self) -> None:
        vectors = {0.5: [1.0, 0.0], 0.6: [1.0, 1.0]}
        metric = SpeakerSimilarity(lambda heard: vectors[round(heard.duration, 1)])
        found = score(metric, [sound(noise(0.5)), sound(noise(0.5))], [sound(noise(0.6)), sound(noise(0.5))])
        assert found == pytest.approx((math.sqrt(0.5) + 1) / 2)

    def test_the_score_is_named_after_the_encoder(self) -> None:
        def loudness(heard: Audio) -> list[float]:
            return [float(np.abs(heard.samples).mean()), 1.0]

        metric = SpeakerSimilarity(loudness)
        metric.update([sound(noise())], [sound(noise())])
        assert list(metric.compute(times=0)) == ["speaker_similarity[loudness]"]

    @pytest.mark.parametrize("vector", [[math.nan, 1.0], [[1.0]], [0.0, 0.0], [], 3.0])
    def test_what_is_no_vector_is_refused(self, vector: Any) -> None:
        with pytest.raises(DataError, match="one vector"):
            score(SpeakerSimilarity(lambda heard: vector), [sound(noise())], [sound(noise())])

    def test_vectors_of_changing_length_are_refused(self) -> None:
        encoder = SpeakerSimilarity(lambda heard: np.ones(heard.samples.shape[1]))
        with pytest.raises(DataError, match="one size"):
            score(encoder, [sound(noise(0.5))], [sound(noise(0.6))])


class TestGathering:
    @pytest.mark.parametrize("kind", [MelCepstralDistortion, PitchError, VoicingError, DurationError])
    def test_parts_merged_in_other_processes_give_the_score_of_the_whole(self, kind: Any) -> None:
        samples = [sound(harmonics(100 + 10 * index, seconds=0.2)) for index in range(4)]
        references = [sound(harmonics(120, seconds=0.25))] * 4
        whole, first, second, empty = (kind() for _ in range(4))
        whole.update(samples, references)
        first.update(samples[:1], references[:1])
        second.update(samples[1:], references[1:])
        empty.merge(pickle.loads(pickle.dumps(first)))
        empty.merge(kind())
        empty.merge(second)
        mine, its = empty.compute(times=50), whole.compute(times=50)
        assert mine.keys() == its.keys()
        for name, each in its.items():
            assert mine[name].value == pytest.approx(each.value)
            assert mine[name].protocol == each.protocol

    def test_sample_rates_do_not_mix_over_updates_and_merges(self) -> None:
        slow, fast = sound(harmonics(120)), sound(harmonics(120, 22_050), 22_050)
        metric, other = MelCepstralDistortion(), MelCepstralDistortion()
        metric.update([slow], [slow])
        other.update([fast], [fast])
        with pytest.raises(DataError, match=r"16,000 Hz.*22,050 Hz"):
            metric.update([fast], [fast])
        with pytest.raises(InputError, match="cannot be merged"):
            metric.merge(other)

    def test_an_interval_holds_the_value_and_the_protocol_says_how_it_came_about(self) -> None:
        metric = MelCepstralDistortion()
        metric.update([sound(harmonics(100 + 20 * index, seconds=0.2)) for index in range(6)], [sound(noise(0.2))] * 6)
        found = metric.compute()["mcd"]
        assert found.interval is not None
        assert found.interval[0] < found.value < found.interval[1]
        for part in ("coefficients 1 to 24", "16,000 Hz", "bootstrap", "time warping"):
            assert part in found.protocol


class TestResampling:
    @pytest.mark.parametrize(
        ("before", "after"), [(44_100, 16_000), (16_000, 44_100), (24_000, 16_000), (8000, 48_000)]
    )
    def test_a_tone_stays_the_same_tone(self, before: int, after: int) -> None:
        def tone(rate: int) -> np.ndarray:
            return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)

        found = resampled(sound(tone(before), before), after)
        inner = slice(after // 10, -after // 10)
        assert found.sample_rate == after
        assert found.samples.shape == (1, after)
        assert found.samples[0][inner] == pytest.approx(tone(after)[inner], abs=2e-3)

    def test_what_the_lower_rate_cannot_hold_is_gone(self) -> None:
        high = 0.5 * np.sin(2 * np.pi * 7000 * np.arange(48_000) / 48_000)
        assert np.abs(resampled(sound(high, 48_000), 8000).samples[0, 800:-800]).max() < 2e-3

    def test_what_the_sample_carries_stays_with_it(self) -> None:
        before = sound(noise(), info={"compute_seconds": 2.0}, sample=3, origin={"seed": 1})
        after = resampled(before, 8000)
        assert (after.info, after.sample, after.origin) == (before.info, 3, {"seed": 1})


def test_several_channels_are_heard_as_their_mean() -> None:
    left, right = noise(seed=1), noise(seed=2)
    both = Audio(np.stack([left, right]).astype(np.float32), sample_rate=RATE)
    assert SpeechBatch([both]).waves()[0] == pytest.approx((left + right) / 2, abs=1e-6)
