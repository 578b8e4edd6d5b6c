"""The evaluator of speech."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from aigc_sdk import folder
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import suggestion
from aigc_sdk.protocols import Device, DType, Evaluator, Exam, Options, OptionsClass, Report, Source

from .accumulate import Metric, judge
from .opening import check_device, check_saved, needed, once, refuse_own
from .speech_batch import SpeechBatch, resampled_reference

BACKEND = "speech-metrics"
DEFAULT = ("mcd", "log_f0_rmse", "voicing_error", "duration_error")


class SpeechOptions(Options):
    """What is measured, and who listens."""

    metrics: tuple[str, ...] = Field(
        DEFAULT,
        min_length=1,
        strict=False,
        description="any of wer, cer, mcd, log_f0_rmse, voicing_error, duration_error, stoi, pesq, speaker_similarity, "
        "real_time_factor",
    )
    sample_rate: int | None = Field(
        None,
        ge=8000,
        le=384_000,
        description="Hz that all sounds are resampled to; None: they must have one rate already",
    )
    recogniser: str | None = Field(
        None, description="who hears words for wer and cer: pocketsphinx, or folder or hub id of a Whisper"
    )
    language: str | None = Field(
        None, min_length=2, max_length=20, description="of a Whisper of many languages, such as en; None: it guesses"
    )
    normalization: Literal["spoken", "none"] = Field(
        "spoken", description="texts for wer and cer: without case and punctuation, or as they are"
    )
    speaker_encoder: str | None = Field(
        None, description="folder or hub id of a model with an x-vector head, for speaker_similarity"
    )
    stoi_extended: bool = Field(False, description="the STOI for modulated noise")
    pesq_mode: Literal["wb", "nb"] = Field("wb", description="PESQ of wide band at 16 kHz, or of narrow band")
    bootstrap: int = Field(1000, ge=0, le=100_000, description="resamplings of the samples for the intervals; 0: none")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the resamplings")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in MAKERS:
                raise ValueError(f"there is no metric {name!r}.{suggestion(name, MAKERS)} Metrics: {', '.join(MAKERS)}")
        return tuple(dict.fromkeys(names))


class SpeechMetrics(Evaluator):
    """Scores of speech, most of them against references.

        judge = aigc_sdk.evaluator("speech-metrics")
        report = judge.evaluate(sounds, spoken)  # recordings of the same sentences
        report = judge.evaluate(sounds, texts, metrics=("wer", "cer"), recogniser="pocketsphinx")

    references: for each sample what it should say, a text; what it should sound like, an Audio; or a pair of both.
    recogniser, speaker_encoder: functions of your own, instead of the options of these names: from an Audio to a string, and
    to a vector.
    """

    Options: ClassVar[OptionsClass] = SpeechOptions

    def __init__(
        self,
        *,
        device: str = "auto",
        recogniser: Callable[[Audio], Any] | None = None,
        speaker_encoder: Callable[[Audio], Any] | None = None,
    ) -> None:
        self.device = device
        self._own = {"recogniser": recogniser, "speaker_encoder": speaker_encoder}
        self._opened: dict[tuple[Any, ...], Any] = {}

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """There is nothing to load; a folder that `save` wrote is checked."""
        check_device(device)
        check_saved(source, BACKEND, revision)
        return cls(device=device)

    def run(self, exam: Exam) -> Report:
        """All metrics in one pass; each sound is aligned, heard and encoded once."""
        options: SpeechOptions = exam.options
        metrics = list(self.metrics(options))
        checked = exam if options.sample_rate is None else _resampled(exam, options.sample_rate)
        return judge(metrics, checked, SpeechBatch, times=options.bootstrap, seed=options.seed)

    def metrics(self, options: SpeechOptions | None = None) -> Iterator[Metric]:
        """The metrics that a call with these options would use, to be updated and merged by yourself."""
        options = options or SpeechOptions.parse("SpeechMetrics", {})
        for name in options.metrics:
            yield MAKERS[name](self, options)

    def save(self, folder_: str | Path) -> None:
        """Write a folder that `open` reads. Raises NotOffered for one with functions of your own."""
        refuse_own(self, self._own)
        with folder.writing(folder_, backend=BACKEND, role="evaluator"):
            pass  # the manifest alone: there is nothing else to keep

    def to(self, device: Device) -> Self:
        """Open recognisers and encoders on `device` from now on."""
        check_device(device)
        self.device = device
        self._opened.clear()
        return self

    def recogniser(self, options: SpeechOptions) -> Any:
        """Who hears words."""
        given, language = needed(self._own, "recogniser", options, "wer"), options.language
        from .speech_models import SPHINX, PocketSphinx, Whisper

        if not isinstance(given, str):
            return given
        if given == SPHINX:
            return once(self._opened, (SPHINX,), PocketSphinx)
        return once(self._opened, (given, language), lambda: Whisper.open(given, device=self.device, language=language))

    def speaker_encoder(self, options: SpeechOptions) -> Any:
        """Who tells voices apart."""
        given = needed(self._own, "speaker_encoder", options, "speaker_similarity")
        from .speech_models import XVectors

        if not isinstance(given, str):
            return given
        return once(self._opened, ("voice", given), lambda: XVectors.open(given, device=self.device))


def _words(unit: Any) -> Callable[[SpeechMetrics, SpeechOptions], Metric]:
    def make(judge: SpeechMetrics, options: SpeechOptions) -> Metric:
        from .speech_words import WordErrors

        return WordErrors(judge.recogniser(options), unit, options.normalization)

    return make


def _voice(class_name: str) -> Callable[[SpeechMetrics, SpeechOptions], Metric]:
    def make(judge: SpeechMetrics, options: SpeechOptions) -> Metric:
        from . import speech_voice

        made: Metric = getattr(speech_voice, class_name)()
        return made

    return make


def _similarity(judge: SpeechMetrics, options: SpeechOptions) -> Metric:
    from .speech_voice import SpeakerSimilarity

    return SpeakerSimilarity(judge.speaker_encoder(options))


def _stoi(judge: SpeechMetrics, options: SpeechOptions) -> Metric:
    from .speech_quality import STOI

    return STOI(extended=options.stoi_extended)


def _pesq(judge: SpeechMetrics, options: SpeechOptions) -> Metric:
    from .speech_quality import PESQ

    return PESQ(options.pesq_mode)


MAKERS: dict[str, Callable[[SpeechMetrics, SpeechOptions], Metric]] = {
    "wer": _words("words"),
    "cer": _words("characters"),
    "mcd": _voice("MelCepstralDistortion"),
    "log_f0_rmse": _voice("PitchError"),
    "voicing_error": _voice("VoicingError"),
    "duration_error": _voice("DurationError"),
    "stoi": _stoi,
    "pesq": _pesq,
    "speaker_similarity": _similarity,
    "real_time_factor": _voice("RealTimeFactor"),
}
"""How each metric is made of the options. Modules are imported when one asks for what is in them."""


def _resampled(exam: Exam, sample_rate: int) -> Exam:
    """What is no sound is refused later, by name."""
    samples = tuple(resampled_reference(each, sample_rate) for each in exam.samples)
    given = exam.references
    references = None if given is None else tuple(resampled_reference(each, sample_rate) for each in given)
    return replace(exam, samples=samples, references=references)
