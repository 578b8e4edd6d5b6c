"""Features of a set, gathered in one pass: moments of all, and the features themselves of some, which content alone chooses."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.errors import DataError, printable

from .accumulate import BATCH
from .features import Backbone
from .frechet import Moments
from .visual_batch import digests

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Gathered:
    """A set as a network sees it. Of more than `keep` members those are kept whose content has the smallest digests: a
    random choice that is the same in any order and in any number of processes.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.count = 0
        self.moments: Moments | None = None
        self.source = ""
        """Where the set comes from, for a protocol."""
        self._features: list[NDArray[np.floating]] = []
        self._digests: list[NDArray[np.uint64]] = []
        self._places: list[NDArray[np.int64]] = []
        self._limit: np.uint64 | None = None  # of digests that can still be among the smallest

    @classmethod
    def of(cls, contents: Iterable[Any], backbone: Backbone, keep: int, source: str) -> Self:
        """A set of pictures or films, looked at a few at a time."""
        made = cls(keep)
        made.source = source
        rest = iter(contents)
        while some := list(islice(rest, BATCH)):
            made.add(backbone(some, "references").features, digests(some))
        return made

    @classmethod
    def stated(cls, path: Path) -> Self:
        """The moments in an .npz file with `mu` and `sigma`, as FID's tools write them; features there are none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                mean, covariance = (np.asarray(file[name], np.float64) for name in ("mu", "sigma"))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{printable(str(path))} holds no arrays mu and sigma: {error}", field="real") from error
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or not np.isfinite(covariance).all():
            shapes = f"mu is {mean.shape} and sigma {covariance.shape}"
            raise DataError(f"{printable(str(path))}: {shapes}; they must be (d,) and (d, d), and finite", field="real")
        made = cls(0)
        made.count = 1 << 30  # the file does not say; a covariance of fewer than d is found to be singular
        made.moments = Moments.stated(made.count, mean, covariance)
        made.source = f"the moments in {path.name}"
        return made

    @property
    def whole(self) -> bool:
        """Whether all features are kept."""
        return self.kept == self.count

    @property
    def kept(self) -> int:
        """Of how many the features are kept."""
        self._settle()
        return len(self._digests[0]) if self._digests else 0

    @property
    def features(self) -> NDArray[np.floating]:
        """Those that are kept, (n, d), in the order in which they came."""
        self._settle()
        if not self._features:
            return np.zeros((0, 0 if self.moments is None else len(self.moments.mean)))
        return self._features[0][np.argsort(self._places[0])]

    @property
    def shuffled(self) -> NDArray[np.floating]:
        """The same, in an order that content alone decides."""
        self._settle()
        return self._features[0][np.argsort(self._digests[0], kind="stable")] if self._features else self.features

    @property
    def places(self) -> NDArray[np.int64]:
        """As how many-th each of `features` came."""
        self._settle()
        return np.sort(self._places[0]) if self._places else np.zeros(0, np.int64)

    def add(self, features: NDArray[np.floating], keys: NDArray[np.uint64]) -> None:
        """Take in features (n, d) of contents with these digests (n,)."""
        if self.moments is None:
            self.moments = Moments(features.shape[1])
        elif len(self.moments.mean) != features.shape[1]:
            message = f"features of {features.shape[1]} numbers after ones of {len(self.moments.mean)}; a network makes one size"
            raise DataError(message, field="samples")
        self.moments.add(features)
        self._keep(features, keys, self.count + np.arange(len(features)))
        self.count += len(features)

    def merge(self, other: Gathered) -> None:
        """Take in what another has gathered; its members come after."""
        if other.moments is None:
            return
        if self.moments is None:
            self.moments = Moments(len(other.moments.mean))
        self.moments.merge(other.moments)
        for features, keys, places in zip(other._features, other._digests, other._places, strict=True):
            self._keep(features, keys, places + self.count)
        self.count += other.count

    def _keep(self, features: NDArray[np.floating], keys: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        if self._limit is not None:
            wanted = keys <= self._limit
            features, keys, places = features[wanted], keys[wanted], places[wanted]
        if len(keys):
            self._features.append(features)
            self._digests.append(keys)
            self._places.append(places)
        if sum(map(len, self._digests)) > 2 * self.keep:
            self._settle()

    def _settle(self) -> None:
        """One array each, of the smallest digests; of equal ones the first that came."""
        if not self._features:
            return
        features, keys, places = (np.concatenate(each) for each in (self._features, self._digests, self._places))
        if len(keys) > self.keep:
            chosen = np.lexsort((places, keys))[: self.keep]
            features, keys, places = features[chosen], keys[chosen], places[chosen]
            self._limit = keys.max()
        self._features, self._digests, self._places = [features], [keys], [places]
