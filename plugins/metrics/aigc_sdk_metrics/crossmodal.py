"""The evaluator across modalities: pictures and films against captions, films against sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from aigc_sdk.artifacts import Audio, Image, Text, Video
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.protocols import Options, OptionsClass

from .accumulate import KEPT, Array, Batch, Figure, Metric, Rows, Summed, ratio
from .opening import MetricsEvaluator, known
from .speech_batch import Spoken, spoken
from .synchrony import FEWEST, Offset, offset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .clip import CLIP

BACKEND = "crossmodal-metrics"


class CrossModalOptions(Options):
    """What is measured."""

    metrics: tuple[str, ...] = Field(
        ("clip_score",), min_length=1, strict=False, description="any of clip_score, duration_gap, sync"
    )
    clip: str | None = Field(None, description="folder or hub id of a CLIP model, for clip_score")
    frames: int = Field(8, ge=1, le=10_000, description="frames of a film, evenly spread, that clip_score looks at")
    longest_offset: float = Field(0.5, gt=0, le=10, description="seconds that sync looks for the sound, each way")
    bootstrap: int = Field(1000, ge=0, le=100_000, description="resamplings of the samples for the intervals; 0: none")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the resamplings")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known(names, MAKERS)


class SceneBatch(Batch):
    """Pictures and films, and for each its caption, its sound, or a pair of both."""

    samples: tuple[Image | Video, ...]
    references: tuple[Spoken, ...] | None

    def __init__(self, samples: Sequence[Any], references: Sequence[Any] | None = None) -> None:
        for name, given in (("samples", samples), ("references", references)):
            if isinstance(given, str | Text | Audio | Image | Video):
                raise DataError(f"{name} is one {type(given).__name__}; pass a list of them", field=name)
        super().__init__(
            [_scene(each, f"samples[{index}]") for index, each in enumerate(samples)],
            None if references is None else [spoken(each, f"references[{i}]") for i, each in enumerate(references)],
        )

    def sounds(self) -> list[Audio | None]:
        """Each sample's sound: its reference's, or else a film's own."""
        own = [each.sound if isinstance(each, Video) else None for each in self.samples]
        given = [each.sound for each in self.references or ()] or [None] * len(own)
        return [theirs or ours for theirs, ours in zip(given, own, strict=True)]

    def need(self, who: str, field: str, what: str) -> None:
        """Refuse references without a text, or without a sound."""
        for index, each in enumerate(self.references or ()):
            if getattr(each, field) is None:
                raise DataError(f"references[{index}] has no {field}; {who} needs {what}", field="references")


class CaptionScore(Summed):
    """How well captions fit: 100 times the cosine of CLIP's vectors, 0 where it is negative (after Hessel et al. 2021).

    A film's cosine is the mean over frames. The paper's CLIPScore is 0.025 times this, with "A photo depicts" set before
    each caption; here captions are as they are.
    """

    name = "clip_score"
    batch = SceneBatch
    needs_references = True
    size = 2

    def __init__(self, clip: CLIP, frames: int = 8, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.clip, self.frames = clip, frames

    def check(self, batch: Any) -> None:
        """Refuse scenes without a caption."""
        super().check(batch)
        batch.need(self.name, "text", "a caption")
        for index, each in enumerate(batch.references):
            if not each.text.strip():
                raise DataError(f"references[{index}] is an empty caption; say what is to be seen", field="references")

    def measure(self, batch: Any) -> Array:
        """[100 times the cosine, 1]."""
        captions = self.clip.captions([each.text for each in batch.references])
        cosines = [
            float((self.clip.pictures(self._shown(each)) @ caption).mean())
            for each, caption in zip(batch.samples, captions, strict=True)
        ]
        return np.array([[100 * max(0.0, each), 1.0] for each in cosines])

    def figures(self) -> dict[str, Figure]:
        """0 to 100, and seldom above 40."""
        protocol = (
            f"100 max(0, cosine), captions as they are; films: mean cosine of {self.frames} frames evenly spread, or of all; "
            f"mean over samples; {self.clip.described}"
        )
        return {f"clip_score[{self.clip.name}]": Figure(ratio, protocol, higher_is_better=True)}

    def _shown(self, scene: Image | Video) -> list[NDArray[np.uint8]]:
        if isinstance(scene, Image):
            return [scene.pixels]
        count = len(scene.frames)
        taken = np.unique(np.rint(np.linspace(0, count - 1, min(self.frames, count))).astype(int))
        return [scene.frames[each] for each in taken]


class FilmAndSound(Summed):
    """Compares films with their sounds."""

    batch = SceneBatch

    def check(self, batch: Any) -> None:
        """Refuse pictures, and films without a sound."""
        super().check(batch)
        for index, (each, sound) in enumerate(zip(batch.samples, batch.sounds(), strict=True)):
            if not isinstance(each, Video):
                raise DataError(f"samples[{index}] is a picture; {self.name} judges films", field="samples")
            if sound is None and batch.references is not None:
                raise DataError(
                    f"references[{index}] has no sound; {self.name} needs the film's sound, an Audio",
                    field="references",
                )
            if sound is None:
                raise DataError(
                    f"samples[{index}] has no sound; {self.name} needs one: pass references, an Audio for each film",
                    field="samples",
                )


class DurationGap(FilmAndSound):
    """How much longer a film is than its sound, or shorter."""

    name = "duration_gap"
    size = 2

    def measure(self, batch: Any) -> Array:
        """[seconds, 1]."""
        pairs = zip(batch.samples, batch.sounds(), strict=True)
        return np.array([[abs(film.duration - sound.duration), 1.0] for film, sound in pairs])

    def figures(self) -> dict[str, Figure]:
        """In seconds."""
        protocol = "difference of the lengths of film and sound in seconds, mean over films"
        return {"duration_gap": Figure(ratio, protocol, higher_is_better=False)}


class Synchrony(FilmAndSound):
    """How far the sound is off, and how well it fits there: see `aigc_sdk_metrics.synchrony.offset`.

    Rows have the offset with its sign, positive where the sound is late; None for films in which nothing moves or sounds.
    """

    name = "sync"
    size = 3

    def __init__(self, longest: float = 0.5, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.longest = longest

    def check(self, batch: Any) -> None:
        """Refuse films of a few frames."""
        super().check(batch)
        for index, each in enumerate(batch.samples):
            if len(each.frames) < FEWEST:
                message = f"samples[{index}] has {len(each.frames)} frames; sync needs {FEWEST}"
                raise DataError(message, field="samples")

    def gather(self, batch: Any) -> Rows:
        """Rows have the sign."""
        rows = super().gather(batch)
        signed = [None if each is None else each.seconds for each in self._offsets(batch)]
        return [{**row, "sound_late_by": each} for row, each in zip(rows, signed, strict=True)]

    def measure(self, batch: Any) -> Array:
        """[seconds off, 1, correlation]; zeros for films without a moment that stands out."""
        found = self._offsets(batch)
        return np.array([[0.0] * 3 if each is None else [abs(each.seconds), 1.0, each.correlation] for each in found])

    def figures(self) -> dict[str, Figure]:
        """In seconds, and -1 to 1."""
        how = (
            "mean frame difference against rise of the logarithmic level per frame's time, correlated at whole frames up to "
            f"{self.longest:g} s off; mean over films that move and sound"
        )
        needs = "a film with movements and sounds that stand out"
        return {
            "sync_offset": Figure(partial(ratio, above=0), f"distance of the best offset from 0: {how}", False, needs),
            "sync_correlation": Figure(partial(ratio, above=2), f"correlation at the best offset: {how}", True, needs),
        }

    def _offsets(self, batch: Any) -> list[Offset | None]:
        pairs = zip(batch.samples, batch.sounds(), strict=True)
        found: list[Offset | None] = batch.once(
            ("sync", self.longest), lambda: [offset(film, sound, self.longest) for film, sound in pairs]
        )
        return found


class CrossModalMetrics(MetricsEvaluator):
    """Whether pictures and films fit their captions, and films their sounds.

        judge = aigc_sdk.evaluator("crossmodal-metrics")
        report = judge.evaluate(pictures, captions, clip="models/clip-vit-base-patch32")
        report = judge.evaluate(films, sounds, metrics=("duration_gap", "sync"))

    references: for each sample its caption, a text; its sound, an Audio; or a pair of both. A film's own sound is taken
    where no other is given. clip: a CLIP of your own,
    instead of the option of this name.
    """

    Options: ClassVar[OptionsClass] = CrossModalOptions
    name = BACKEND
    batch = SceneBatch

    def __init__(self, *, device: str = "auto", clip: CLIP | None = None) -> None:
        super().__init__(device=device, clip=clip)

    def metrics(self, options: CrossModalOptions | None = None) -> Iterator[Metric]:
        """The metrics that a call with these options would use, to be updated and merged by yourself."""
        options = options or CrossModalOptions.parse("CrossModalMetrics", {})
        for name in options.metrics:
            yield MAKERS[name](self, options)

    def clip(self, options: CrossModalOptions) -> CLIP:
        """What sees and reads."""
        given = self.needed("clip", options, "clip_score")
        from .clip import CLIP

        if not isinstance(given, str | CLIP):
            raise OptionError(f"clip is a {type(given).__name__}; pass a CLIP, or the folder of one", field="clip")
        if isinstance(given, CLIP):
            return given
        found: CLIP = self.once((given,), lambda: CLIP.open(given, device=self.device))
        return found


MAKERS: dict[str, Callable[[CrossModalMetrics, CrossModalOptions], Metric]] = {
    "clip_score": lambda judge, options: CaptionScore(judge.clip(options), options.frames),
    "duration_gap": lambda judge, options: DurationGap(),
    "sync": lambda judge, options: Synchrony(options.longest_offset),
}
"""How each metric is made of the options."""


def _scene(given: Any, name: str) -> Image | Video:
    if not isinstance(given, Image | Video):
        message = f"{name} is a {type(given).__name__}; cross-modal metrics judge Image and Video"
        raise DataError(message, field="samples")
    if not (given.pixels if isinstance(given, Image) else given.frames).size:
        raise DataError(f"{name} is empty; leave it out", field="samples")
    return given
