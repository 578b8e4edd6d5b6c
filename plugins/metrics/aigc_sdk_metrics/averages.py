"""Scores of pictures that are means over them: against a reference each, a label, a caption; and the Inception Score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError, InputError, NotOffered, shown
from aigc_sdk.protocols import Evaluator

from .accumulate import KEPT, Array, Batch, Figure, Rows, Summed, Sums, ratio
from .features import View
from .similarity import PSNR_PROTOCOL, SSIM_PROTOCOL, WINDOW, psnr, ssim
from .visual_batch import ImageBatch, VisualBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .clip import CLIP

INCEPTION_KEPT = 1024  # blocks of a thousand probabilities each: 8 MB


class Average(Summed):
    """The mean of one value per sample. A metric writes `values`."""

    size = 2
    title: str
    """The score's name."""
    protocol: str
    higher_is_better = True

    def __init__(self, batch: type[VisualBatch] = ImageBatch, keep: int = KEPT) -> None:
        super().__init__(keep)
        self.batch = batch  # type: ignore[misc]

    @abstractmethod
    def values(self, batch: Any) -> NDArray[np.float64]:
        """One per sample, (n,)."""

    def measure(self, batch: Any) -> Array:
        """[value, 1]."""
        values = self.values(batch)
        return np.column_stack([values, np.ones(len(values))])

    def figures(self) -> dict[str, Figure]:
        """The mean."""
        return {self.title: Figure(partial(ratio), self.protocol, self.higher_is_better)}


class PSNR(Average):
    """Peak signal to noise ratio against a reference each."""

    name = title = "psnr"
    needs_references = True
    protocol = PSNR_PROTOCOL

    def values(self, batch: VisualBatch) -> NDArray[np.float64]:
        """In dB."""
        return _by_frame(psnr, batch.pairs(self.name))


class SSIM(Average):
    """Structural similarity to a reference each."""

    name = title = "ssim"
    needs_references = True
    protocol = SSIM_PROTOCOL

    def check(self, batch: Batch) -> None:
        """Refuse pictures that the window does not fit in."""
        super().check(batch)
        assert isinstance(batch, VisualBatch)
        for index, (mine, _) in enumerate(batch.pairs(self.name)):
            height, width = mine.shape[-3:-1]
            if min(height, width) < WINDOW:
                message = (
                    f"samples[{index}] is {width}x{height}; ssim needs {WINDOW}x{WINDOW} pixels or more, so resize both"
                )
                raise DataError(message, field="samples")

    def values(self, batch: VisualBatch) -> NDArray[np.float64]:
        """From -1 to 1."""
        return _by_frame(ssim, batch.pairs(self.name))


class PerceptualDistance(Average):
    """The distance of a network's layers, as LPIPS without its learned weights."""

    name = "perceptual_distance"
    needs_references = True
    higher_is_better = False

    def __init__(self, view: View, keep: int = KEPT) -> None:
        super().__init__(keep=keep)
        self.view, self.title = view, view.backbone.title(self.name)
        self.protocol = (
            "LPIPS (Zhang et al. 2018) without learned weights: layers' vectors of length 1, squared distance, mean over "
            f"positions, sum over layers, mean over pictures; network {view.backbone.name}: {view.backbone.about}"
        )

    def check(self, batch: Batch) -> None:
        """Refuse references that are no pictures."""
        super().check(batch)
        assert isinstance(batch, VisualBatch)
        batch.pairs(self.name)

    def values(self, batch: VisualBatch) -> NDArray[np.float64]:
        """From 0 on."""
        seen = self.view.of(batch)
        assert seen.distances is not None
        return seen.distances


class InceptionScore(Summed):
    """exp of the mean divergence of each picture's classes from those of all (Salimans et al. 2016), in one split."""

    name = "inception_score"
    batch = ImageBatch
    size = 0  # until the network says how many classes there are

    def __init__(self, view: View, keep: int = INCEPTION_KEPT) -> None:
        super().__init__(keep=keep)
        self.view, self.title = view, view.backbone.title(self.name)

    def measure(self, batch: VisualBatch) -> Array:
        """[probability of each class, sum of p log p, 1]."""
        backbone = self.view.backbone
        probabilities = self.view.of(batch).samples.probabilities
        if probabilities is None:
            message = f"{backbone.name} gives no probabilities of classes, which inception_score needs; use one that classifies"
            raise NotOffered(message)
        made = probability_sums(probabilities)
        if not self.sums.count:
            self.sums = Sums(made.shape[1], self.sums.keep)
        return made

    def merge(self, other: Self) -> None:
        """Add up; one that has seen nothing does not know how many classes there are."""
        if type(other) is type(self) and not self.sums.count:
            self.sums = Sums(len(other.sums.rest), self.sums.keep)
        if type(other) is not type(self) or other.sums.count:
            super().merge(other)

    def figures(self) -> dict[str, Figure]:
        """From 1 to the number of classes."""
        backbone = self.view.backbone
        protocol = (
            f"exp of the mean KL divergence, natural logarithm, 1 split; network {backbone.name}: {backbone.about}"
        )
        return {self.title: Figure(inception_score, protocol, higher_is_better=True)}

    def rows(self, statistics: Array) -> Rows:
        """Nothing: the score of one picture is 1."""
        return ()


class Accuracy(Average):
    """The part of the pictures that a judge takes for their label.

    judge: a function from a list of Images to a label each, or an Evaluator whose rows have a "label".
    Labels are the references, or else each sample's info["label"].
    """

    name = "accuracy"

    def __init__(self, judge: Any, name: str = "", keep: int = KEPT) -> None:
        super().__init__(keep=keep)
        if not callable(judge) and not isinstance(judge, Evaluator):
            message = f"judge is {shown(judge)}; pass a function from pictures to labels, or an Evaluator"
            raise InputError(message, field="judge")
        who = name or getattr(judge, "__name__", type(judge).__name__)
        self.judge, self.title = judge, f"accuracy[{who}]"
        self.protocol = f"part of the pictures that the judge {who} takes for their label"

    def check(self, batch: Batch) -> None:
        """Refuse pictures without labels."""
        assert isinstance(batch, VisualBatch)
        batch.words(self.name, "label", kind="label")

    def values(self, batch: VisualBatch) -> NDArray[np.float64]:
        """1 or 0."""
        wanted = batch.words(self.name, "label", kind="label")
        found = [str(each) for each in self._labels(list(batch.samples))]
        if len(found) != len(wanted):
            message = f"the judge gave {len(found)} labels for {len(wanted)} pictures; it must give one each"
            raise InputError(message, field="judge")
        return np.array([float(mine == its) for mine, its in zip(found, wanted, strict=True)])

    def _labels(self, images: list[Image]) -> Sequence[Any]:
        if not isinstance(self.judge, Evaluator):
            return list(self.judge(images))
        rows = self.judge.evaluate([Image(each.pixels) for each in images]).rows
        if any("label" not in row for row in rows):
            raise InputError('the judge\'s rows have no "label"; pass one that classifies', field="judge")
        return [row["label"] for row in rows]


class ClipScore(Average):
    """How well pictures fit their captions: 100 times the cosine of CLIP's vectors (after Hessel et al. 2021).

    The paper's CLIPScore is 0.025 times this, with "A photo depicts" before each caption; here captions are as they are.
    Captions are the references, or else the prompt in each sample's origin.
    """

    name = "clip_score"

    def __init__(self, clip: CLIP, keep: int = KEPT) -> None:
        super().__init__(keep=keep)
        self.clip, self.title = clip, f"{self.name}[{clip.name}]"
        self.protocol = (
            f"100 max(0, cosine) of picture and caption, captions as they are, mean over pictures; {clip.described}"
        )

    def check(self, batch: Batch) -> None:
        """Refuse pictures without captions."""
        assert isinstance(batch, VisualBatch)
        batch.words(self.name, "prompt", kind="caption")

    def values(self, batch: VisualBatch) -> NDArray[np.float64]:
        """From 0 to 100."""
        captions = batch.words(self.name, "prompt", kind="caption")
        images = batch.once((id(self.clip), "images"), lambda: self.clip.pictures(batch.contents))
        cosines = np.einsum("nd,nd->n", images, self.clip.captions(captions))
        return np.asarray(100 * cosines.clip(0))


def _by_frame(value: Callable[..., float], pairs: Sequence[tuple[Any, Any]]) -> NDArray[np.float64]:
    """The value of each pair of pictures, or its mean over the frames of each pair of films."""
    return np.array(
        [
            value(mine, its) if mine.ndim == 3 else np.mean([value(*frames) for frames in zip(mine, its, strict=True)])
            for mine, its in pairs
        ]
    )


def probability_sums(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """What `inception_score` adds up of probabilities (n, classes): (n, classes + 2). Raises DataError where they are none."""
    precise = probabilities.astype(np.float64)
    if (precise < 0).any() or not np.allclose(precise.sum(1), 1, atol=1e-4):
        raise DataError("probabilities of classes must be 0 or more and add up to 1; apply softmax", field="samples")
    logs = np.log(precise, out=np.zeros_like(precise), where=precise > 0)
    return np.column_stack([precise, (precise * logs).sum(1), np.ones(len(precise))])


def inception_score(sums: Array) -> Array:
    """From sums (..., classes + 2) as `probability_sums` makes them."""
    mean = sums[..., :-1] / sums[..., -1:]
    all_of_them, inner = mean[..., :-1], mean[..., -1]
    logs = np.log(all_of_them, out=np.zeros_like(all_of_them), where=all_of_them > 0)
    return np.exp(inner - (all_of_them * logs).sum(-1))


def inception_score_of(probabilities: NDArray[np.floating], splits: int = 1) -> tuple[float, float]:
    """The Inception Score of probabilities (n, classes): mean and standard deviation over `splits` parts in their order.

    The paper's protocol is 10 splits of 50,000 pictures.
    """
    if not 1 <= splits <= len(probabilities):
        raise DataError(
            f"{len(probabilities)} pictures cannot be split into {splits}; pass more, or fewer splits", field="splits"
        )
    sums = probability_sums(probabilities)
    scores: list[float] = [float(inception_score(each.sum(0))) for each in np.array_split(sums, splits)]
    return float(np.mean(scores)), float(np.std(scores))
