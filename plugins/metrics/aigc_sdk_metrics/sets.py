"""Scores of a set of samples against a set of real ones, by the features of one network, looked at once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np

from aigc_sdk.errors import DataError, InputError
from aigc_sdk.protocols import Score
from aigc_sdk.statistics import Additive

from .accumulate import KEPT, TIMES, Batch, Metric, Rows, bootstrapped, require_samples
from .features import View
from .frechet import Moments, contributions, extrapolated, frechet_distance
from .gathered import Gathered
from .kernels import kernel_contributions, subset_distances
from .neighbours import COPIED, Densities, Manifolds, Nearest, densities, manifolds, nearest
from .visual_batch import VisualBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

SUBSETS = "subsets"
NORMAL = 1.959964  # standard errors that hold 95 % of a normal distribution on either side
FEW = 10  # samples per feature; below, the bias of a Fréchet distance is told


@dataclass(frozen=True)
class SetProtocol:
    """What can be chosen about these scores."""

    neighbours: int = 3
    """k of precision and recall."""
    density_neighbours: int = 5
    """k of density and coverage."""
    kid_subsets: int = 0
    """0: the kernel distance of all; else the mean over so many random subsets."""
    kid_subset_size: int = 1000
    keep: int = KEPT
    """Features that are kept of either set."""


@dataclass(frozen=True)
class Found:
    """One score, and what it is the mean of where it is one."""

    value: float
    protocol: str
    n: int
    higher_is_better: bool
    units: NDArray[np.float64]
    """Their mean is the value, their scatter makes the interval."""
    of: str = "samples"
    error: float = 0.0
    """A standard error to be added to that of the units."""
    least: float = -np.inf
    """No value is below it, and so no interval."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """What each unit adds to the value: (units, 1)."""
        return self.units[:, None] / len(self.units)


class SetScores(Metric):
    """The scores of `names` by the features of one network; the real set is `real`, or the references that come."""

    name = "set scores"

    def __init__(
        self,
        batch: type[Batch],
        view: View,
        names: Sequence[str],
        real: Gathered | None = None,
        protocol: SetProtocol | None = None,
        *,
        seed: int = 0,
    ) -> None:
        for each in names:
            if each not in MAKERS:
                raise InputError(f"there is no set score {each!r}; there are {', '.join(MAKERS)}", field="names")
        self.batch = batch  # type: ignore[misc]
        self.view, self.names, self.real, self.seed = view, tuple(names), real, seed
        self.protocol = protocol or SetProtocol()
        self.mine, self.its = Gathered(self.protocol.keep), real or Gathered(self.protocol.keep)
        if real is None:
            self.its.source = "the references"
        self._found: dict[str, Any] = {}

    def check(self, batch: Batch) -> None:
        """Refuse a batch without pictures to compare with."""
        assert isinstance(batch, VisualBatch)
        if self.real is not None:
            return
        if batch.references is None:
            message = f"{self.names[0]} compares with real samples; pass references=, or real="
            raise DataError(message, field="references")
        batch.reference_contents(self.names[0])

    def gather(self, batch: Batch) -> Rows:
        """Look at a batch."""
        assert isinstance(batch, VisualBatch)
        self._found.clear()
        seen = self.view.of(batch)
        self.mine.add(seen.samples.features, batch.digests())
        if self.real is None and seen.references is not None:
            self.its.add(seen.references.features, batch.reference_digests())
        return ()

    def merge(self, other: Self) -> None:
        """Take in another's sets."""
        theirs = other.settings() if type(other) is type(self) else type(other).__name__
        if theirs != self.settings():
            message = f"set scores of {self.settings()} cannot be merged with {theirs}; merge ones of the same settings"
            raise InputError(message, field="other")
        self._found.clear()
        self.mine.merge(other.mine)
        if self.real is None:
            self.its.merge(other.its)

    def compute(self, times: int = TIMES, seed: int = 0) -> dict[str, Score]:
        """The scores of all samples so far."""
        require_samples(self.names[0], self.mine.count)
        return {self.view.backbone.title(name): self._score(self.found(name), times, seed) for name in self.names}

    def parts(self) -> dict[str, Additive]:
        """Of the scores that are means over all samples, or over all references."""
        if not (self.mine.whole and self.its.whole):
            return {}
        found = {self.view.backbone.title(name): self.found(name) for name in self.names}
        return {name: Additive(each.shares, _sum) for name, each in found.items() if each.of != SUBSETS}

    def late_rows(self) -> Rows | None:
        """How near each sample is to the nearest real one, where copies were sought and all features are kept."""
        if "copies" not in self.names or not self.mine.whole:
            return None
        found, title = self.nearest(), self.view.backbone.title
        columns: dict[str, Any] = {
            title("nearest_distance"): found.distance.tolist(),
            title("nearest_ratio"): found.ratio.tolist(),
        }
        if self.real is not None:  # of the references each has an order of its own
            columns = {title("nearest"): self.its.places[found.index].tolist(), **columns}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def found(self, name: str) -> Found:
        """One score, computed once."""
        return self.once(name, lambda: MAKERS[name](self))

    def nearest(self) -> Nearest:
        """The nearest real one of each kept sample."""
        return self.once("nearest", lambda: nearest(self.mine.features, self.kept_real()))

    def contributions(self) -> NDArray[np.float64]:
        """What each kept sample adds to the Fréchet distance."""
        return self.once("contributions", lambda: contributions(*self.moments(), self.mine.features))

    def manifolds(self) -> Manifolds:
        """Of precision and recall."""
        k = self.protocol.neighbours
        return self.once("manifolds", lambda: manifolds(self.mine.features, self.kept_real(), k))

    def densities(self) -> Densities:
        """Of density and coverage."""
        k = self.protocol.density_neighbours
        return self.once("densities", lambda: densities(self.mine.features, self.kept_real(), k))

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What several scores share, until more samples come."""
        if key not in self._found:
            self._found[key] = make()
        return cast(T, self._found[key])

    def moments(self) -> tuple[Moments, Moments]:
        """Of samples and real ones."""
        if self.mine.moments is None or self.its.moments is None:
            raise DataError(f"{self.names[0]} has seen no references; pass some", field="references")
        return self.mine.moments, self.its.moments

    def kept_real(self) -> NDArray[np.floating]:
        """The features of real ones. Raises DataError where moments are all that is known."""
        features = self.its.features
        if not len(features) and self.its.count:
            message = f"{self.its.source} have no features; give a folder for all scores but frechet_distance and frechet_infinity"
            raise DataError(message, field="real")
        mine = 0 if self.mine.moments is None else len(self.mine.moments.mean)
        if features.shape[1] != mine:
            sizes = f"{mine} and {features.shape[1]} numbers"
            raise DataError(f"features of {sizes} cannot be compared; use one network for both", field="references")
        return features

    def described(self, how: str, *, features: bool = True) -> str:
        """A protocol."""
        parts = [
            how,
            f"network {self.view.backbone.name}: {self.view.backbone.about}",
            f"against {self._real_described()}",
        ]
        if features:
            both = (("samples", self.mine), ("real ones", self.its))
            kept = [f"{each.kept:,} of {each.count:,} {what}" for what, each in both if not each.whole]
            parts += [f"over {' and '.join(kept)}, chosen by the digests of their pixels"] if kept else []
        return "; ".join(parts)

    def _real_described(self) -> str:
        return (
            self.its.source if self.its.source.startswith("the moments") else f"{self.its.count:,} of {self.its.source}"
        )

    def _score(self, found: Found, times: int, seed: int) -> Score:
        interval, how = None, ""
        if times and len(found.units) > 1:
            interval = Additive(found.shares, _sum).interval(times, seed)
            how = f"; {bootstrapped(times, found.of)}"
        if interval and found.error:
            below, above = (float(np.hypot(NORMAL * found.error, end - found.value)) for end in interval)
            interval = found.value - below, found.value + above
            how += " with the standard error of the line"
        if interval:
            interval = max(found.least, interval[0]), interval[1]
        return Score(found.value, found.n, found.protocol + how, found.higher_is_better, interval)

    def settings(self) -> tuple[Any, ...]:
        """What another must have alike to be merged."""
        real = None if self.real is None else (self.real.source, self.real.count)
        return (self.names, self.view.backbone.name, self.protocol, real)


def _frechet(scores: SetScores) -> Found:
    first, second = scores.moments()
    value = frechet_distance(first, second)
    how = "squared Fréchet distance of normal distributions, covariances over n - 1"
    size = len(first.mean)
    if first.count < FEW * size:
        how += f"; {first.count:,} samples for {size:,} features: biased upwards, compare at equal n or see frechet_infinity"
    if min(first.count, second.count) <= size:
        how += "; a covariance is singular"
    units = scores.contributions()
    # Of those that are kept, while the value is of all, and is as much surer as there are more.
    units = value + (units - units.mean()) * np.sqrt(scores.mine.kept / scores.mine.count)
    protocol, what = scores.described(how, features=False), "samples' first-order contributions"
    return Found(value, protocol, first.count, False, units, what, least=0.0)


def _infinity(scores: SetScores) -> Found:
    _, second = scores.moments()
    value, error = extrapolated(scores.mine.shuffled, second, seed=scores.seed)
    how = (
        "squared Fréchet distance extrapolated to infinitely many samples by 15 random subsets (Chong and Forsyth 2020), seed "
        f"{scores.seed}; the number of real ones is not extrapolated"
    )
    units = scores.contributions()
    units = units - units.mean() + value
    what = "samples' first-order contributions"
    return Found(value, scores.described(how), scores.mine.kept, False, units, what, error)


def _kernel(scores: SetScores) -> Found:
    rules = scores.protocol
    how = "unbiased squared MMD with the kernel (x'y / d + 1)^3"
    if not rules.kid_subsets:
        units = kernel_contributions(scores.mine.features, scores.kept_real())
        what = "samples' first-order contributions"
    else:
        scores.kept_real()
        units = subset_distances(
            scores.mine.shuffled,
            scores.its.shuffled,
            subsets=rules.kid_subsets,
            size=rules.kid_subset_size,
            seed=scores.seed,
        )
        how += (
            f", mean over {rules.kid_subsets:,} random subsets of {rules.kid_subset_size:,} of each, seed {scores.seed}"
        )
        what = SUBSETS
    return Found(float(units.mean()), scores.described(how), scores.mine.kept, False, units, what)


def _precision(scores: SetScores) -> Found:
    how = f"part of the samples within a real one's distance to its neighbour {scores.protocol.neighbours}"
    return _mean(scores, scores.manifolds().precise, how)


def _recall(scores: SetScores) -> Found:
    how = f"part of the real ones within a sample's distance to its neighbour {scores.protocol.neighbours}"
    return _mean(scores, scores.manifolds().recalled, how, "real ones")


def _density(scores: SetScores) -> Found:
    k = scores.protocol.density_neighbours
    how = f"in how many real ones' distances to their neighbour {k} a sample lies, divided by {k}"
    return _mean(scores, scores.densities().dense, how)


def _coverage(scores: SetScores) -> Found:
    how = f"part of the real ones with a sample within their distance to their neighbour {scores.protocol.density_neighbours}"
    return _mean(scores, scores.densities().covered, how, "real ones")


def _copies(scores: SetScores) -> Found:
    how = f"part of the samples whose nearest real one is less than {COPIED:.3f} as far as the second nearest (Yoon et al. 2023)"
    return _mean(scores, scores.nearest().copied, how, higher_is_better=False)


def _mean(
    scores: SetScores, units: NDArray[np.float64], how: str, of: str = "samples", *, higher_is_better: bool = True
) -> Found:
    return Found(float(units.mean()), scores.described(how), scores.mine.kept, higher_is_better, units, of)


def _sum(sums: Any) -> Any:
    return sums[..., 0]


MAKERS: dict[str, Callable[[SetScores], Found]] = {
    "frechet_distance": _frechet,
    "frechet_infinity": _infinity,
    "kernel_distance": _kernel,
    "precision": _precision,
    "recall": _recall,
    "density": _density,
    "coverage": _coverage,
    "copies": _copies,
}
"""How each score is made."""
