"""The evaluator of speech: the contract, STOI and PESQ, what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk import Audio, Image, Text, Video
from aigc_sdk.errors import DataError, InputError, MissingDependency, NotOffered, OptionError
from aigc_sdk.testing import EvaluatorContract
from aigc_sdk_metrics.speech import SpeechMetrics
from aigc_sdk_metrics.speech_quality import PESQ, STOI

RATE = 16_000


def voice(pitch: float = 120, seconds: float = 1.0, rate: int = RATE, hiss: float = 0.0, seed: int = 0) -> Audio:
    """Syllables: harmonics that swell and fade five times a second, and some noise."""
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, int(3500 / pitch)))
    swell = np.sin(2 * np.pi * 2.5 * time) ** 2
    noisy = 0.1 * tones * swell + hiss * np.random.default_rng(seed).standard_normal(len(time)).clip(-4, 4)
    return Audio(noisy[None].astype(np.float32), sample_rate=rate)


def levels(sound: Audio) -> str:
    return "loud" if np.abs(sound.samples).max() > 0.1 else "quiet"


SILENT = Audio(np.zeros((1, RATE), np.float32), sample_rate=RATE)
SHORT = Audio(np.full((1, 100), 0.1, np.float32), sample_rate=RATE)
EMPTY = Audio(np.zeros((1, 0), np.float32), sample_rate=RATE)


class TestSpeech(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> SpeechMetrics:
        return SpeechMetrics.open()

    @pytest.fixture
    def samples(self) -> list[Any]:
        return [voice(110, 0.4), voice(130, 0.5), voice(150, 0.6)]

    @pytest.fixture
    def references(self) -> list[Any]:
        return [voice(120, 0.4), ("with words", voice(120, 0.5)), voice(120, 0.5)]


class TestSpeechQuality(TestSpeech):
    @pytest.fixture
    def samples(self) -> list[Any]:
        return [voice(hiss=0.01), voice(hiss=0.02), voice(hiss=0.05)]

    @pytest.fixture
    def references(self) -> list[Any]:
        return [voice()] * 3

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        pytest.importorskip("pystoi")
        pytest.importorskip("pesq")
        return {"metrics": ("stoi", "pesq"), "stoi_extended": True}


class TestQuality:
    def test_stoi_is_pystois_and_falls_with_noise(self) -> None:
        stoi = pytest.importorskip("pystoi").stoi
        samples = [voice(hiss=each) for each in (0.0, 0.02, 0.2)]
        metric = STOI()
        metric.update(samples, [voice()] * 3)
        expected = [stoi(voice().samples[0].astype(float), each.samples[0].astype(float), RATE) for each in samples]
        assert metric.compute(times=0)["stoi"].value == pytest.approx(np.mean(expected), abs=1e-9)
        assert expected[0] == pytest.approx(1, abs=1e-6)
        assert expected == sorted(expected, reverse=True)

    @pytest.mark.parametrize(("mode", "rate", "clean"), [("wb", 16_000, 4.64), ("nb", 8000, 4.55)])
    def test_pesq_of_the_clean_sound_is_the_best_there_is(self, mode: Any, rate: int, clean: float) -> None:
        pytest.importorskip("pesq")
        found = []
        for hiss in (0.0, 0.05):
            metric = PESQ(mode)
            metric.update([voice(rate=rate, hiss=hiss)], [voice(rate=rate)])
            found.append(metric.compute(times=0)["pesq"].value)
        assert found[0] == pytest.approx(clean, abs=0.01)
        assert found[1] < found[0]

    def test_a_missing_package_is_named_with_its_pip_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pystoi", None)
        with pytest.raises(MissingDependency, match=r"aigc-sdk-metrics\[speech\]"):
            STOI()

    def test_unequal_lengths_are_refused(self) -> None:
        pytest.importorskip("pystoi")
        with pytest.raises(DataError, match="equal length"):
            STOI().update([voice(seconds=0.9)], [voice(seconds=1.0)])

    def test_too_little_sound_is_refused(self) -> None:
        pytest.importorskip("pystoi")
        pytest.importorskip("pesq")
        with pytest.raises(DataError, match="384 ms"):
            STOI().update([voice(seconds=0.2)], [voice(seconds=0.2)])
        with pytest.raises(DataError, match=r"0\.25 s"):
            PESQ().update([voice(seconds=0.2)], [voice(seconds=0.2)])

    def test_sample_rates_that_pesq_has_no_model_of_are_refused(self) -> None:
        pytest.importorskip("pesq")
        with pytest.raises(DataError, match=r"sample_rate=16000"):
            PESQ().update([voice(rate=22_050)], [voice(rate=22_050)])


class TestReport:
    def test_a_pair_of_text_and_sound_serves_all_metrics_in_one_call(self) -> None:
        judge = SpeechMetrics(recogniser=levels, speaker_encoder=lambda sound: [1.0, float(sound.duration)])
        spoken = [("loud", voice(seconds=0.5)), (voice(seconds=0.5), Text("quiet"))]
        metrics = ("wer", "cer", "mcd", "log_f0_rmse", "duration_error", "speaker_similarity")
        report = judge.evaluate([voice(seconds=0.5)] * 2, spoken, metrics=metrics)
        assert report["wer"].value == 0.5
        assert report["mcd"].value == 0
        assert report["log_f0_rmse"].value == 0
        assert report.rows[1]["transcript"] == "loud"
        assert report.rows[0]["mcd"] == 0
        for score in report.scores.values():
            assert score.n == 2
            assert score.interval is not None
            assert "bootstrap" in score.protocol

    def test_mixed_sample_rates_are_judged_when_one_asks_for_resampling(self) -> None:
        samples, references = [voice(rate=22_050), voice(rate=16_000)], [voice(rate=16_000)] * 2
        report = SpeechMetrics().evaluate(samples, references, sample_rate=16_000, metrics=("mcd", "log_f0_rmse"))
        assert report["mcd"].value < 0.5
        assert report["log_f0_rmse"].value < 1e-3
        assert "16,000 Hz" in report["mcd"].protocol

    def test_functions_of_ones_own_cannot_be_saved(self, tmp_path: Path) -> None:
        with pytest.raises(NotOffered, match="recogniser"):
            SpeechMetrics(recogniser=levels).save(tmp_path / "judge")

    def test_it_is_found_by_name_without_importing_torch(self) -> None:
        from aigc_sdk.testing.contract import run_python

        code = (
            "import sys, aigc_sdk, aigc_sdk_metrics\n"
            "aigc_sdk.registry.register('speech', aigc_sdk_metrics.speech_metrics)\n"
            "aigc_sdk.evaluator('speech')\n"
            "sys.exit('torch' in sys.modules)"
        )
        done = run_python(["-c", code])
        assert done.returncode == 0, done.stderr


BAD: list[tuple[str, list[Any], list[Any] | None, dict[str, Any], str, str]] = [
    ("no samples", [], [], {}, "samples", "no samples"),
    ("a text for a sample", ["words"], [voice()], {}, "samples", "judge Audio"),
    ("a film for a sample", [Video(np.zeros((2, 2, 2, 3), np.uint8), fps=2)], [voice()], {}, "samples", "Video"),
    ("an empty sound", [EMPTY], [voice()], {}, "samples", "empty"),
    ("an empty reference", [voice()], [EMPTY], {}, "references", "empty"),
    ("silence", [voice(), SILENT], [voice(), voice()], {}, "samples", r"samples\[1\] is silent"),
    ("a silent reference", [voice()], [SILENT], {}, "references", r"references\[0\] is silent"),
    ("no references", [voice()], None, {}, "references", "pass references="),
    ("fewer references", [voice(), voice()], [voice()], {}, "references", "1 references for 2"),
    ("a text where a sound is needed", [voice()], ["words"], {}, "references", "has no sound"),
    ("a sound where a text is needed", [voice()], [voice()], {"metrics": ("wer",)}, "references", "has no text"),
    ("a reference of another kind", [voice()], [Image(np.zeros((2, 2, 3), np.uint8))], {}, "references", "pair"),
    ("a pair of two sounds", [voice()], [(voice(), voice())], {}, "references", "pair"),
    ("an empty pair", [voice()], [()], {}, "references", "pair"),
    ("no reference in the list", [voice()], [None], {}, "references", "pair"),
    ("rates that differ", [voice(), voice(rate=24_000)], [voice()] * 2, {}, "samples", "sample_rate=16000"),
    ("a reference of another rate", [voice()], [voice(rate=8000)], {}, "references", "8,000 Hz"),
    ("a rate below speech", [voice(rate=4000)], [voice(rate=4000)], {}, "samples", "8,000 Hz"),
    ("less than a frame", [SHORT], [voice()], {}, "samples", "6.2 ms"),
    ("an unknown metric", [voice()], [voice()], {"metrics": ("mdc",)}, "metrics", "Did you mean 'mcd'"),
    ("no metric", [voice()], [voice()], {"metrics": ()}, "metrics", "at least 1"),
    ("a rate out of range", [voice()], [voice()], {"sample_rate": 100}, "sample_rate", "greater than or equal"),
    ("no encoder", [voice()], [voice()], {"metrics": ("speaker_similarity",)}, "speaker_encoder", "speaker_encoder="),
    ("no time", [voice()], None, {"metrics": ("real_time_factor",)}, "samples", "compute_seconds"),
]


@pytest.mark.parametrize(
    ("samples", "references", "options", "field", "message"), [e[1:] for e in BAD], ids=[e[0] for e in BAD]
)
def test_it_refuses(samples: Any, references: Any, options: dict[str, Any], field: str, message: str) -> None:
    judge = SpeechMetrics(recogniser=levels)
    with pytest.raises(InputError, match=message) as caught:
        judge.evaluate(samples, references, **options)
    assert caught.value.field == field


def test_a_recogniser_that_nobody_gave_is_asked_for() -> None:
    with pytest.raises(OptionError, match="pass recogniser="):
        aigc_sdk.Evaluator.evaluate(SpeechMetrics(), [voice()], ["words"], metrics=("wer",))


def test_one_sample_has_a_score_and_no_interval() -> None:
    report = SpeechMetrics().evaluate([voice()], [voice(130)])
    assert report["mcd"].n == 1
    assert report["mcd"].interval is None
