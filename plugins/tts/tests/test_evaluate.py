"""The judge of speech: words, likeness to recordings, time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk.artifacts import Audio, Image
from aigc_sdk.errors import DataError, MissingDependency, OptionError, UnknownBackend
from aigc_sdk_tts import evaluate
from aigc_sdk_tts.evaluate import SpeechJudge
from aigc_sdk_tts.model import TTS

TEXTS = ["We will all be away in May.", "Please send the letter."]
BESIDE = ("mcd", "log_f0_rmse", "voicing_error", "duration_error")


@pytest.fixture(scope="module")
def judge() -> SpeechJudge:
    return SpeechJudge(TTS.open(device="cpu"))


@pytest.fixture(scope="module")
def recordings(judge: SpeechJudge) -> list[Audio]:
    """The same sentences, said a little slower and higher."""
    return [judge.model.generate(text, seed=5, speed=0.8, pitch=1.2)[0] for text in TEXTS]


def test_speech_is_like_itself(judge: SpeechJudge) -> None:
    own = [judge.model.generate(text, seed=index)[0] for index, text in enumerate(TEXTS)]
    report = judge.evaluate(TEXTS, own, metrics=BESIDE)
    assert {name: report[name].value for name in BESIDE} == dict.fromkeys(BESIDE, 0.0)


def test_speech_is_compared_with_recordings(judge: SpeechJudge, recordings: list[Audio]) -> None:
    report = judge.evaluate(TEXTS, recordings, metrics=BESIDE)
    assert report["log_f0_rmse"].value == pytest.approx(np.log(1.2), abs=0.06)
    assert report["duration_error"].value == pytest.approx(0.2, abs=0.03)
    assert 1 < report["mcd"].value < 8
    for name in BESIDE:
        score = report[name]
        assert score.n == 2
        assert score.interval is not None
        assert not score.higher_is_better
        assert [row[name] for row in report.rows]
    assert "mel-cepstra" in report["mcd"].protocol


def test_all_metrics_stand_in_one_report(judge: SpeechJudge, recordings: list[Audio]) -> None:
    pytest.importorskip("pocketsphinx")
    pairs = list(zip(TEXTS, recordings, strict=True))
    report = judge.evaluate(TEXTS, pairs, metrics=evaluate.METRICS)
    assert set(report.scores) == set(evaluate.METRICS)
    assert all({"heard", "wanted", "mcd", "real_time_factor"} <= set(row) for row in report.rows)


def test_the_real_time_factor_says_what_it_was_timed_on(judge: SpeechJudge) -> None:
    score = judge.evaluate(TEXTS, metrics=["real_time_factor"])["real_time_factor"]
    assert 0 < score.value < 5
    assert "after one to warm up; cpu, 1 threads" in score.protocol.replace("2 threads", "1 threads")


def test_sounds_tell_their_own_time(judge: SpeechJudge) -> None:
    sound = Audio(np.full((1, 16000), 0.1, np.float32), sample_rate=16000, info={"compute_seconds": 0.25})
    assert judge.evaluate([sound], metrics=["real_time_factor"])["real_time_factor"].value == pytest.approx(0.25)


def test_a_voice_is_judged_by_its_name(tiny: Callable[..., Any]) -> None:
    judge = SpeechJudge(tiny(voices=("ann", "bob")).model)
    assert judge.evaluate(["Go."], metrics=["real_time_factor"], voice="bob").rows
    with pytest.raises(OptionError, match="no such voice"):
        judge.evaluate(["Go."], metrics=["real_time_factor"], voice="cid")


@pytest.mark.parametrize(
    ("samples", "references", "options", "error", "message"),
    [
        (TEXTS, None, {"metrics": ["mcd"]}, DataError, r"references\[0\] has no sound; mcd compare with one"),
        (TEXTS, TEXTS, {"metrics": ["mcd"]}, DataError, r"references\[0\] has no sound"),
        (TEXTS, [7, "x"], {}, DataError, r"references\[0\] is 7; give the text that is said, a sound, or a pair"),
        (TEXTS, [("a", "b"), "x"], {}, DataError, "or a pair"),
        (TEXTS, None, {"metrics": ["mcp"]}, OptionError, "no metric 'mcp'. Did you mean 'mcd'?"),
        (TEXTS, None, {"metrics": []}, OptionError, "metrics"),
        ([Image(np.zeros((8, 8, 3), np.uint8))], None, {}, DataError, "pass texts or sounds"),
        (["..."], ["?"], {"metrics": ["real_time_factor"]}, aigc_sdk.errors.PromptError, "there is nothing to say"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    judge: SpeechJudge, samples: Any, references: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        judge.evaluate(samples, references, **options)


def test_without_the_backend_that_compares_it_says_what_to_install(
    judge: SpeechJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise UnknownBackend("no backend 'speech-metrics'")

    monkeypatch.setattr(aigc_sdk, "evaluator", missing)
    with pytest.raises(MissingDependency, match=r"aigc-sdk-tts\[metrics\]"):
        judge.evaluate(TEXTS, metrics=["real_time_factor"])
