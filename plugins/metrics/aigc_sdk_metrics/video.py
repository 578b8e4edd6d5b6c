"""The evaluator of films."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from aigc_sdk.artifacts import Image, Video
from aigc_sdk.errors import InputError, shown
from aigc_sdk.protocols import OptionsClass

from .accumulate import Array, Batch, Figure, Metric, Summed, ratio
from .averages import PSNR, SSIM
from .features import Backbone
from .motion import BLOCK, REACH, Flow, block_matching, flicker, smoothness, warping_error
from .opening import known
from .sets import MAKERS as SETS
from .visual import VisualMetrics, VisualOptions
from .visual_batch import VideoBatch


class VideoOptions(VisualOptions):
    """What is measured, with which networks, against which films."""

    metrics: tuple[str, ...] = Field(
        ("flicker", "smoothness"),
        min_length=1,
        strict=False,
        description="any of psnr, ssim, flicker, smoothness, warping_error, frechet_distance, frechet_infinity, "
        "kernel_distance, precision, recall, density, coverage, copies",
    )
    features: str | None = Field(None, description="folder or hub id of a film model, such as a VideoMAE")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known(names, [*MAKERS, *SETS])


class VideoMetrics(VisualMetrics):
    """Scores of films: their frames against references, how they move, and the set against a set of real films.

        judge = aigc_sdk.evaluator("video-metrics")
        report = judge.evaluate(films)  # flicker and smoothness
        report = judge.evaluate(films, metrics=("frechet_distance",), features="videomae-base", real="films")

    features: a network of your own that looks at films. real: Videos that the set is compared with. flow: from two frames to
    where each pixel goes, (h, w, 2); block matching where it is left out.
    Any score of pictures per frame: give `frames(films)` to image-metrics.
    """

    Options: ClassVar[OptionsClass] = VideoOptions
    name = "video-metrics"
    batch = VideoBatch

    def __init__(
        self,
        *,
        device: str = "auto",
        features: Backbone | None = None,
        real: Sequence[Video] | None = None,
        flow: Flow | None = None,
    ) -> None:
        if flow is not None and not callable(flow):
            raise InputError(f"flow is {shown(flow)}; pass a function of two frames", field="flow")
        super().__init__(device=device, features=features, real=real, flow=flow)

    def make(self, name: str, options: VideoOptions) -> Metric:
        """One metric that is no set score."""
        return MAKERS[name](self)

    def opened(self, source: str) -> Backbone:
        """The film model in a folder."""
        from .networks import open_folder

        return open_folder(source, device=self.device, films=True)

    @property
    def flow(self) -> Flow:
        """What tells where pixels go."""
        return self._own["flow"] or block_matching


class Movement(Summed):
    """One value per film that its own frames decide; the mean over films that have one."""

    batch = VideoBatch
    size = 2
    name = "movement"

    def __init__(
        self, name: str, value: Callable[..., float | None], frames: int, how: str, *, higher_is_better: bool = False
    ) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        self.value, self.frames, self.how, self.higher_is_better = value, frames, how, higher_is_better

    def check(self, batch: Batch) -> None:
        """Refuse films of too few frames."""
        assert isinstance(batch, VideoBatch)
        batch.least(self.frames, self.name)

    def measure(self, batch: Any) -> Array:
        """[value, 1]; zeros for a film without a value."""
        values = [self.value(each) for each in batch.contents]
        return np.array([[0.0, 0.0] if each is None else [each, 1.0] for each in values])

    def figures(self) -> dict[str, Figure]:
        """The mean."""
        needs = "a film with pixels that can be followed from frame to frame"
        return {self.name: Figure(partial(ratio), f"{self.how}, mean over films", self.higher_is_better, needs)}


def frames(films: Iterable[Video], every: int = 1) -> list[Image]:
    """Every so many-th frame of all films as pictures, for image-metrics; `info` says of which film and frame each is."""
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError(f"every={every!r}: give a whole number from 1 on", field="every")
    return [
        Image(film.frames[index], origin=film.origin, info={**film.info, "film": number, "frame": index})
        for number, film in enumerate(films)
        for index in range(0, len(film.frames), every)
    ]


def _how(flow: Flow) -> str:
    if flow is block_matching:
        return f"flow by block matching of luma, blocks {BLOCK}x{BLOCK}, up to {REACH} pixels"
    return f"flow by {getattr(flow, '__name__', type(flow).__name__)}"


def _smoothness(judge: VideoMetrics) -> Metric:
    how = "1 - mean absolute error of each frame as half-way between its neighbours, values 0 to 1"
    value = partial(smoothness, flow=judge.flow)
    return Movement("smoothness", value, 3, f"{how}, {_how(judge.flow)}", higher_is_better=True)


def _warping_error(judge: VideoMetrics) -> Metric:
    how = "mean squared difference of each frame and the next one warped to it, values 0 to 1, without what is hidden in either"
    return Movement("warping_error", partial(warping_error, flow=judge.flow), 2, f"{how}, {_how(judge.flow)}")


MAKERS: dict[str, Callable[[VideoMetrics], Metric]] = {
    "psnr": lambda judge: PSNR(VideoBatch),
    "ssim": lambda judge: SSIM(VideoBatch),
    "flicker": lambda judge: Movement(
        "flicker", flicker, 2, "mean absolute difference of neighbouring frames, values 0 to 1, movement included"
    ),
    "smoothness": _smoothness,
    "warping_error": _warping_error,
}
"""How each metric is made that is no set score."""
