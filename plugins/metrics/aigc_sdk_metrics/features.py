"""Feature networks: what turns pictures, or films, into vectors; any of them, under a name that every score bears.

Backbone(function, name="histogram")                  from a list of uint8 arrays to (n, d)
Backbone.of_module(network, name="digits", size=16)   a torch module
open_backbone("dinov2-small")                         a model folder; or the file of FID's Inception network
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.errors import DataError, InputError, NotOffered, shown

from .prepare import Preparation
from .visual_batch import VisualBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

BATCH = 32  # pictures at a time


@dataclass(frozen=True)
class Looked:
    """What a network makes of some pictures."""

    features: NDArray[np.floating]
    """(n, d)"""
    probabilities: NDArray[np.floating] | None = None
    """(n, classes), of a network that classifies."""
    layers: tuple[NDArray[np.floating], ...] = ()
    """(n, c, positions...) each."""


@dataclass(frozen=True)
class Backbone:
    """A network that looks at pictures (uint8, h x w x 3) or at films (uint8, t x h x w x 3)."""

    look: Callable[[list[Any]], Any]
    """From some of them to (n, d), or to Looked. It is given at most `batch_size` at a time."""
    name: str
    """What stands in the brackets of a score's name: "dinov2-small"."""
    about: str = "a function of the caller's"
    """For the protocol: which weights, and how pictures are prepared."""
    batch_size: int = BATCH
    deep: Callable[[list[Any]], Looked] | None = None
    """The same as `look`, with layers; None where it shows none."""
    titles: dict[str, str] = field(default_factory=dict)
    """Names that scores with this network may bear by custom, such as {"frechet_distance": "fid"}."""

    def __post_init__(self) -> None:
        if not callable(self.look):
            raise InputError(f"look is {shown(self.look)}; pass a function from pictures to features", field="look")
        if not self.name or not self.name.isprintable() or set(self.name) & set("[]"):
            raise InputError(f"name={self.name!r}: give a network a name without brackets", field="name")

    @classmethod
    def of_module(
        cls,
        network: Any,
        *,
        name: str,
        size: int | None = None,
        layers: Sequence[str] = (),
        classifies: bool = False,
        prepare: Preparation | None = None,
    ) -> Self:
        """A torch module, which is given (n, 3, h, w) and makes (n, d), or (n, d, ...) of which the mean is taken.

        size: the side of the square that pictures are resized to, with values from -1 to 1; prepare: instead of it.
        layers: names of submodules whose outputs are compared by `perceptual_distance`.
        classifies: what it makes are the logits of classes; their softmax is used for the Inception Score.
        """
        from .networks import Module

        how = prepare or Preparation(None if size is None else (size, size))
        plain, deep = Module(network, how, (), classifies), Module(network, how, tuple(layers), classifies)
        about = f"{plain.digest}, {how}" + (f", layers {', '.join(layers)}" if layers else "")
        return cls(plain, name, about, deep=deep if layers else None)

    def title(self, metric: str) -> str:
        """The name of a score with this network."""
        return self.titles.get(metric, f"{metric}[{self.name}]")

    def __call__(self, pictures: Sequence[Any], what: str = "samples", *, deep: bool = False) -> Looked:
        """What it makes of all pictures, checked; with layers if `deep`. Raises DataError, whose field is `what`."""
        look = self.deep if deep else self.look
        if look is None:
            message = (
                f"{self.name} shows no layers, which perceptual_distance compares; name some in Backbone.of_module"
            )
            raise NotOffered(message)
        parts = []
        for start in range(0, len(pictures), self.batch_size):
            some = list(pictures[start : start + self.batch_size])
            parts.append(self._checked(look(some), len(some), what))
        return _joined(parts)

    def _checked(self, found: Any, count: int, what: str) -> Looked:
        looked = found if isinstance(found, Looked) else Looked(_array(found))
        features = looked.features
        if features.ndim != 2 or len(features) != count or not features.shape[1]:
            message = (
                f"{self.name} made features of shape {features.shape} of {count} {what}; they must be ({count}, d)"
            )
            raise DataError(message, field=what)
        for name, each in (("features", features), ("probabilities", looked.probabilities)):
            if each is not None and not np.isfinite(each).all():
                row = int((~np.isfinite(each)).any(1).argmax())
                message = f"{self.name} made {name} that are not finite of one of the {what}, the {row + 1}. of {count}; mend it"
                raise DataError(message, field=what)
        return looked


@dataclass(frozen=True)
class View:
    """One look of a network at a batch, which all metrics that use it share."""

    backbone: Backbone
    references: bool = False
    """Whether it looks at the references too."""
    pairs: bool = False
    """Whether it compares layers of samples and references."""

    def of(self, batch: VisualBatch) -> Seen:
        """What is seen in the batch; computed once."""
        key: Hashable = (type(self), self)
        return batch.once(key, lambda: self._look(batch))

    def _look(self, batch: VisualBatch) -> Seen:
        if not self.pairs:
            mine = self.backbone(batch.contents)
            real = batch.reference_contents(self.backbone.name) if self.references else None
            return Seen(mine, None if real is None else self.backbone(real, "references"))
        size = self.backbone.batch_size
        pictures, against = batch.contents, batch.reference_contents("perceptual_distance")
        samples, references, distances = [], [], []
        for start in range(0, len(batch), size):  # layers are large, and let go of at once
            mine = self.backbone(pictures[start : start + size], deep=True)
            its = self.backbone(against[start : start + size], "references", deep=True)
            distances.append(_apart(mine, its))
            samples.append(Looked(mine.features, mine.probabilities))
            references.append(Looked(its.features, its.probabilities))
        return Seen(_joined(samples), _joined(references), np.concatenate(distances))

    def __hash__(self) -> int:
        return hash((id(self.backbone.look), self.references, self.pairs))


@dataclass(frozen=True)
class Seen:
    """Samples and references as a network sees them."""

    samples: Looked
    references: Looked | None = None
    distances: NDArray[np.float64] | None = None
    """(n,) between the layers of samples and references."""


def _apart(mine: Looked, its: Looked) -> NDArray[np.float64]:
    from .similarity import layer_distance

    if not mine.layers:
        raise InputError("the network's deep look made no layers; it must return Looked with some", field="features")
    if [each.shape for each in mine.layers] != [each.shape for each in its.layers]:
        raise DataError("perceptual_distance compares pictures of one size; resize them", field="references")
    return layer_distance(mine.layers, its.layers)


def _joined(parts: Sequence[Looked]) -> Looked:
    if len(parts) == 1:
        return parts[0]
    probabilities = [each.probabilities for each in parts if each.probabilities is not None]
    return Looked(
        np.concatenate([each.features for each in parts]),
        np.concatenate(probabilities) if probabilities else None,
        tuple(np.concatenate(each) for each in zip(*(part.layers for part in parts), strict=True)),
    )


def _array(found: Any) -> NDArray[np.floating]:
    array = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found)
    if array.dtype.kind not in "fiu":
        raise InputError(f"a feature network made {array.dtype}; it must make numbers", field="look")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
