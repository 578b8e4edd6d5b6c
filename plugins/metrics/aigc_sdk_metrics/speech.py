"""The evaluator of speech."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from aigc_sdk.artifacts import Audio
from aigc_sdk.protocols import Exam, Options, OptionsClass

from .accumulate import Metric
from .opening import MetricsEvaluator, known
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
        return known(names, MAKERS)


class SpeechMetrics(MetricsEvaluator):
    """Scores of speech, most of them against references.

        judge = aigc_sdk.evaluator("speech-metrics")
        report = judge.evaluate(sounds, spoken)  # recordings of the same sentences
        report = judge.evaluate(sounds, texts, metrics=("wer", "cer"), recogniser="pocketsphinx")

    references: for each sample what it should say, a text; what it should sound like, an Audio; or a pair of both.
    recogniser, speaker_encoder: functions of your own, instead of the options of these names: from an Audio to a string, and
    to a vector.
    """

    Options: ClassVar[OptionsClass] = SpeechOptions
    name = BACKEND
    batch = SpeechBatch

    def __init__(
        self,
        *,
        device: str = "auto",
        recogniser: Callable[[Audio], Any] | None = None,
        speaker_encoder: Callable[[Audio], Any] | None = None,
    ) -> None:
        super().__init__(device=device, recogniser=recogniser, speaker_encoder=speaker_encoder)

    def prepared(self, exam: Exam) -> Exam:
        """All sounds at the option's sample rate."""
        rate = exam.options.sample_rate
        return exam if rate is None else _resampled(exam, rate)

    def metrics(self, options: SpeechOptions | None = None) -> Iterator[Metric]:
        """The metrics that a call with these options would use, to be updated and merged by yourself."""
        options = options or SpeechOptions.parse("SpeechMetrics", {})
        for name in options.metrics:
            yield MAKERS[name](self, options)

    def recogniser(self, options: SpeechOptions) -> Any:
        """Who hears words."""
        given, language = self.needed("recogniser", options, "wer"), options.language
        from .speech_models import SPHINX, PocketSphinx, Whisper

        if not isinstance(given, str):
            return given
        if given == SPHINX:
            return self.once((SPHINX,), PocketSphinx)
        return self.once((given, language), lambda: Whisper.open(given, device=self.device, language=language))

    def speaker_encoder(self, options: SpeechOptions) -> Any:
        """Who tells voices apart."""
        given = self.needed("speaker_encoder", options, "speaker_similarity")
        from .speech_models import XVectors

        if not isinstance(given, str):
            return given
        return self.once(("voice", given), lambda: XVectors.open(given, device=self.device))


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
