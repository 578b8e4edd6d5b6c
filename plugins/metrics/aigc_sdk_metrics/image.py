"""The evaluator of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from aigc_sdk import media
from aigc_sdk.artifacts import Image
from aigc_sdk.errors import InputError, OptionError
from aigc_sdk.protocols import OptionsClass, Report

from .accumulate import Metric
from .averages import PSNR, SSIM, Accuracy, ClipScore, InceptionScore, PerceptualDistance
from .features import Backbone
from .opening import known
from .sets import MAKERS as SETS
from .visual import VisualMetrics, VisualOptions
from .visual_batch import ImageBatch


class ImageOptions(VisualOptions):
    """What is measured, with which networks, against which pictures."""

    metrics: tuple[str, ...] = Field(
        ("psnr", "ssim"),
        min_length=1,
        strict=False,
        description="any of psnr, ssim, perceptual_distance, frechet_distance, frechet_infinity, kernel_distance, precision, "
        "recall, density, coverage, copies, inception_score, accuracy, clip_score",
    )
    features: str | None = Field(
        None, description="folder or hub id of the feature network; or the file of FID's Inception network"
    )
    clip: str | None = Field(None, description="folder or hub id of the CLIP model of clip_score")

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known(names, [*MAKERS, *SETS])


class ImageMetrics(VisualMetrics):
    """Scores of pictures: each against a reference, a label or a caption, and the set against a set of real ones.

        judge = aigc_sdk.evaluator("image-metrics")
        report = judge.evaluate(images, references)  # psnr and ssim
        report = judge.evaluate(images, metrics=("frechet_distance", "recall"), features="dinov2-small", real="photos")

    features, clip: networks of your own, instead of the options of these names. real: Images that the set is compared with.
    classifier: who tells labels, for accuracy: a function from a list of Images to a label each, or an Evaluator.
    """

    Options: ClassVar[OptionsClass] = ImageOptions
    name = "image-metrics"
    batch = ImageBatch

    def __init__(
        self,
        *,
        device: str = "auto",
        features: Backbone | None = None,
        real: Sequence[Image] | None = None,
        clip: Any = None,
        classifier: Any = None,
    ) -> None:
        super().__init__(device=device, features=features, real=real, clip=clip, classifier=classifier)

    def opened(self, source: str) -> Backbone:
        """A folder, or the file of the Inception network."""
        if Path(source).is_file():
            from .inception import open_inception

            return open_inception(source, device=self.device)
        return super().opened(source)

    def make(self, name: str, options: ImageOptions) -> Metric:
        """One metric that is no set score."""
        return MAKERS[name](self, options)

    def clip(self, options: ImageOptions) -> Any:
        """Who sees and reads."""
        from .clip import CLIP

        given = self.needed("clip", options, "clip_score")
        if not isinstance(given, str | CLIP):
            raise OptionError(f"clip is a {type(given).__name__}; pass a CLIP, or the folder of one", field="clip")
        return given if isinstance(given, CLIP) else self.once(("clip", given), lambda: self._clip(given))

    def classifier(self) -> Any:
        """Who tells labels."""
        if self._own["classifier"] is None:
            raise InputError("accuracy needs a judge of labels; make ImageMetrics(classifier=...)", field="classifier")
        return self._own["classifier"]

    def _clip(self, source: str) -> Any:
        from .clip import CLIP

        return CLIP.open(source, device=self.device)


MAKERS: dict[str, Callable[[ImageMetrics, ImageOptions], Metric]] = {
    "psnr": lambda judge, options: PSNR(),
    "ssim": lambda judge, options: SSIM(),
    "perceptual_distance": lambda judge, options: PerceptualDistance(judge.view(options, "perceptual_distance")),
    "inception_score": lambda judge, options: InceptionScore(judge.view(options, "inception_score")),
    "accuracy": lambda judge, options: Accuracy(judge.classifier()),
    "clip_score": lambda judge, options: ClipScore(judge.clip(options)),
}
"""How each metric is made that is no set score."""


def nearest_sheet(samples: Sequence[Image], real: Sequence[Image], report: Report, count: int = 8) -> Image:
    """The `count` samples that are nearest to a real one, each on the left of it: look at them for copies.

    report: of `samples` against `real` with the metric copies, made with real=.
    """
    keys = [key for key in (report.rows[0] if report.rows else {}) if key.startswith("nearest[")]
    if len(report.rows) != len(samples) or not keys:
        message = (
            'the report has no nearest real ones of these samples; evaluate them with metrics=("copies",) and real='
        )
        raise InputError(message, field="report")
    key = keys[0]
    order = sorted(range(len(samples)), key=lambda index: report.rows[index][f"nearest_ratio{key[len('nearest') :]}"])
    pairs = [(samples[index], real[report.rows[index][key]]) for index in order[:count]]
    return media.grid([each for pair in pairs for each in pair], columns=2)
