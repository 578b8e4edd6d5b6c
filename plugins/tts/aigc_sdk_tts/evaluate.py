"""The evaluator: whether a recogniser understands what is said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from aigc_sdk.artifacts import Artifact, Audio, Text
from aigc_sdk.errors import DataError, NotOffered, shown
from aigc_sdk.protocols import Device, DType, Evaluator, Exam, Options, OptionsClass, Report, Score, Source, Step
from aigc_sdk.statistics import Additive

from .model import TTS
from .recogniser import Recogniser, edits, words

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Listening(Options):
    """How texts are spoken, and the error's interval found."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first text's speech; the others' count up from it")
    speed: float = Field(1.0, ge=0.25, le=4.0, description="2 speaks twice as fast")
    vocabulary: tuple[str, ...] = Field(
        (), strict=False, description="the only words that are listened for, such as digits; none: all of English"
    )
    resamples: int = Field(1000, ge=0, le=100_000, description="drawings for the 95 % interval; 0: no interval")


class Intelligibility(Evaluator):
    """How many words of what is said an offline recogniser mistakes.

        judge = aigc_sdk.evaluator("tts")                # the default voice
        judge.evaluate(["The meeting is at nine."])       # texts, which the voice speaks
        judge.evaluate(sounds, ["the meeting is at nine"])  # sounds, and what is said in them

    Of texts, the words to be heard are those that the front end reads, unless `references` say otherwise. Score: wer, the
    word error rate. It needs pocketsphinx: pip install "aigc-sdk-tts[recognise]".
    """

    Options: ClassVar[OptionsClass] = Listening

    def __init__(self, model: TTS) -> None:
        self.model = model
        self.device = model.device
        self.recogniser = Recogniser()

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Judge with the voice at `source`: None for the default voice, a folder, or a hub id."""
        model = TTS.open(source, device=device, dtype=dtype, revision=revision)
        if not isinstance(model, TTS):
            raise NotOffered(
                f"{str(source)!r} is a model of transformers; pass the sounds that it makes, and their texts"
            )
        return cls(model)

    def save(self, folder: str | Path) -> None:
        """Write the voice's folder."""
        self.model.save(folder)

    def to(self, device: Device) -> Self:
        """Move the voice to `device` and return this evaluator."""
        self.model.to(device)
        self.device = self.model.device
        return self

    def run(self, exam: Exam) -> Report:
        rows, counts = [], []
        recogniser = Recogniser(exam.options.vocabulary) if exam.options.vocabulary else self.recogniser
        for index, sample in enumerate(exam.samples):
            reference = None if exam.references is None else exam.references[index]
            speech, wanted = self._spoken(sample, reference, index, exam.options)
            heard = recogniser(speech)
            wrong = edits(heard, wanted)
            counts.append((wrong, len(wanted)))
            rows.append({"wer": wrong / len(wanted), "heard": " ".join(heard), "wanted": " ".join(wanted)})
            exam.on_step(Step(index + 1, len(exam.samples)))
        parts = Additive(np.array(counts, np.float64), _rate)
        protocol = (
            "edits per word over all samples; words in lower case without punctuation, dr, mr, mrs and pm written out; "
            f"heard by {recogniser.described}; interval: bootstrap over samples"
        )
        wer = Score(parts.total, len(rows), protocol, False, parts.interval(exam.options.resamples))
        return Report({"wer": wer}, rows, {"wer": parts})

    def _spoken(self, sample: Artifact, reference: Any, index: int, options: Listening) -> tuple[Audio, list[str]]:
        """The sound of a sample, and the words that are to be heard."""
        if reference is not None and not isinstance(reference, str | Text):
            raise DataError(
                f"references[{index}] is {shown(reference)}; give the text that is said", field="references"
            )
        if isinstance(sample, Text):
            [speech] = self.model.generate(sample.text, seed=options.seed + index, speed=options.speed)
            wanted = words(str(speech.info["normalized"] if reference is None else reference))
        elif isinstance(sample, Audio):
            speech, wanted = sample, words(str(reference or ""))
        else:
            raise DataError(f"samples[{index}] is a {type(sample).__name__}; pass texts or sounds", field="samples")
        if not wanted:
            raise DataError(f"references[{index}] has no words; give the text that is said", field="references")
        return speech, wanted


def _rate(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors per word, of sums (..., 2) of errors and words."""
    return np.asarray(sums[..., 0] / sums[..., 1])
