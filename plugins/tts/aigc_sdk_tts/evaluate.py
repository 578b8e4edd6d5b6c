"""The evaluator: whether a recogniser understands what is said, how near it is to recordings, and how fast it is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator

import aigc_sdk
from aigc_sdk.artifacts import Artifact, Audio, Text
from aigc_sdk.errors import DataError, MissingDependency, UnknownBackend, shown, suggestion
from aigc_sdk.judges import ModelEvaluator
from aigc_sdk.protocols import (
    Evaluator,
    Exam,
    Generator,
    Options,
    OptionsClass,
    Report,
    Score,
    Step,
)
from aigc_sdk.statistics import Additive

from .model import TTS
from .recogniser import Recogniser, edits, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

WER, SPEED = "wer", "real_time_factor"
BESIDE = ("mcd", "log_f0_rmse", "voicing_error", "duration_error")  # measured against sounds of the same texts
METRICS = (WER, *BESIDE, SPEED)
WARM_UP = "Once, to warm up."


class Listening(Options):
    """What is measured, and how texts are spoken."""

    metrics: tuple[str, ...] = Field(
        (WER,),
        min_length=1,
        strict=False,
        description=f"any of {', '.join(METRICS)}; those between compare with sounds",
    )
    voice: str | None = Field(None, description="one of the model's voices; none: its first")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first text's speech; the others' count up from it")
    speed: float = Field(1.0, ge=0.25, le=4.0, description="2 speaks twice as fast")
    vocabulary: tuple[str, ...] = Field(
        (), strict=False, description="the only words that are listened for, such as digits; none: all of English"
    )
    sample_rate: int | None = Field(
        None, ge=8000, le=48000, description="Hz at which sounds are compared; none: they must have one rate already"
    )
    resamples: int = Field(1000, ge=0, le=100_000, description="drawings for the 95 % interval; 0: no interval")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METRICS:
                raise ValueError(
                    f"there is no metric {name!r}.{suggestion(name, METRICS)} Metrics: {', '.join(METRICS)}"
                )
        return tuple(dict.fromkeys(names))


class SpeechJudge(ModelEvaluator[Generator[Audio]]):
    """How many words of what is said an offline recogniser mistakes, how unlike recordings it is, how long it takes.

        judge = aigc_sdk.evaluator("tts")                  # the default voice; or a folder of any speech model
        judge.evaluate(["The meeting is at nine."])         # texts, which the voice speaks
        judge.evaluate(sounds, ["the meeting is at nine"])  # sounds, and what is said in them
        judge.evaluate(texts, recordings, metrics=("mcd", "log_f0_rmse", "duration_error", "real_time_factor"))

    references: for each sample the text that is to be heard, a sound (Audio) that it is compared with, or a pair of both. Of
    texts, the words to be heard are those that the front end reads, unless a reference says otherwise.

    Scores: wer, the word error rate, which needs pip install "aigc-sdk-tts[recognise]"; the others of `metrics` are those of
    the backend speech-metrics, which needs pip install "aigc-sdk-tts[metrics]". real_time_factor is of the speech that the
    voice makes here, or of sounds that tell their own in `info["compute_seconds"]`.
    """

    Options: ClassVar[OptionsClass] = Listening
    Model = TTS

    def run(self, exam: Exam) -> Report:
        options: Listening = exam.options
        references = [
            _reference(each, index) for index, each in enumerate(exam.references or [None] * len(exam.samples))
        ]
        recogniser = Recogniser(options.vocabulary) if WER in options.metrics else None
        others = tuple(name for name in options.metrics if name != WER)
        compare = _speech_metrics() if others else None
        if SPEED in others and any(isinstance(each, Text) for each in exam.samples):
            self.model.generate(WARM_UP, seed=0)
        sounds, heard = [], []
        for index, (sample, reference) in enumerate(zip(exam.samples, references, strict=True)):
            sounds.append(self._sound(sample, index, options))
            if recogniser is not None:
                wanted = _wanted(sounds[-1], sample, reference, index)
                heard.append(_Heard(recogniser(sounds[-1]), wanted))
            exam.on_step(Step(index + 1, len(exam.samples)))
        reports = [] if recogniser is None else [_errors(heard, recogniser.described, options)]
        if compare is not None:
            given = [each.sound for each in references] if set(others) & set(BESIDE) else None
            asked: dict[str, Any] = {
                "metrics": others,
                "sample_rate": options.sample_rate,
                "bootstrap": options.resamples,
            }
            reports.append(self._told(compare.evaluate(sounds, _all(given, others), **asked), exam.samples))
        return _merged(reports)

    def _sound(self, sample: Artifact, index: int, options: Listening) -> Audio:
        """The sound of a sample; a text is spoken, and the sound tells how long that took."""
        if isinstance(sample, Audio):
            return sample
        if not isinstance(sample, Text):
            raise DataError(f"samples[{index}] is a {type(sample).__name__}; pass texts or sounds", field="samples")
        how: dict[str, Any] = {} if options.speed == 1 else {"speed": options.speed}  # some models take no speed at all
        started = time.perf_counter()
        [speech] = self.model.generate(sample.text, seed=options.seed + index, voice=options.voice, **how)
        return replace(speech, info={**speech.info, "compute_seconds": time.perf_counter() - started})

    def _told(self, report: Report, samples: Sequence[Artifact]) -> Report:
        """The real-time factor's protocol says what it was timed on."""
        if SPEED not in report.scores or not any(isinstance(each, Text) for each in samples):
            return report
        score = report[SPEED]
        where = f"{self.device}, {torch.get_num_threads()} threads" if self.device == "cpu" else self.device
        protocol = f"{score.protocol}; texts are timed here, each in one call after one to warm up; {where}"
        return replace(report, scores={**report.scores, SPEED: replace(score, protocol=protocol)})


@dataclass(frozen=True)
class _Reference:
    """What a sample should say, and sound like."""

    text: str | None = None
    sound: Audio | None = None


@dataclass(frozen=True)
class _Heard:
    heard: list[str]
    wanted: list[str]


def _reference(given: Any, index: int) -> _Reference:
    parts = given if isinstance(given, tuple) else () if given is None else (given,)
    texts = [str(each) for each in parts if isinstance(each, str | Text)]
    sounds = [each for each in parts if isinstance(each, Audio)]
    if len(texts) > 1 or len(sounds) > 1 or len(parts) != len(texts) + len(sounds):
        raise DataError(
            f"references[{index}] is {shown(given)}; give the text that is said, a sound, or a pair (text, sound)",
            field="references",
        )
    return _Reference(texts[0] if texts else None, sounds[0] if sounds else None)


def _wanted(speech: Audio, sample: Artifact, reference: _Reference, index: int) -> list[str]:
    """The words that are to be heard."""
    own = speech.info.get("normalized", sample.text) if isinstance(sample, Text) else ""
    found = words(str(own if reference.text is None else reference.text))
    if not found:
        raise DataError(f"references[{index}] has no words; give the text that is said", field="references")
    return found


def _errors(heard: Sequence[_Heard], listener: str, options: Listening) -> Report:
    """The word error rate."""
    counts = [(edits(each.heard, each.wanted), len(each.wanted)) for each in heard]
    rows = [
        {"wer": wrong / size, "heard": " ".join(each.heard), "wanted": " ".join(each.wanted)}
        for (wrong, size), each in zip(counts, heard, strict=True)
    ]
    parts = Additive(np.array(counts, np.float64), _rate)
    protocol = (
        "edits per word over all samples; words in lower case without punctuation, dr, mr, mrs and pm written out; "
        f"heard by {listener}; interval: bootstrap over samples"
    )
    wer = Score(parts.total, len(rows), protocol, False, parts.interval(options.resamples))
    return Report({WER: wer}, rows, {WER: parts})


def _rate(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors per word, of sums (..., 2) of errors and words."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def _speech_metrics() -> Evaluator:
    """The backend that compares sounds. Raises MissingDependency where it is not installed."""
    try:
        return aigc_sdk.evaluator("speech-metrics", device="cpu")
    except UnknownBackend as error:
        raise MissingDependency(
            f"all metrics but {WER} are those of the backend speech-metrics, which is not installed: "
            'pip install "aigc-sdk-tts[metrics]"'
        ) from error


def _all(sounds: list[Audio | None] | None, metrics: Sequence[str]) -> list[Audio] | None:
    """The references' sounds, one for each sample."""
    if sounds is None:
        return None
    for index, each in enumerate(sounds):
        if each is None:
            beside = ", ".join(name for name in metrics if name in BESIDE)
            raise DataError(f"references[{index}] has no sound; {beside} compare with one", field="references")
    return [each for each in sounds if each is not None]


def _merged(reports: Sequence[Report]) -> Report:
    scores = {name: score for each in reports for name, score in each.scores.items()}
    parts = {name: part for each in reports for name, part in each.parts.items()}
    rows = [
        {key: value for row in rows for key, value in row.items()}
        for rows in zip(*(r.rows for r in reports), strict=True)
    ]
    return Report(scores, rows, parts)
