"""What the evaluators of pictures and of films share: feature networks, real sets, options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from aigc_sdk.errors import DataError, OptionError, printable, shown
from aigc_sdk.protocols import Options, OptionsClass

from .accumulate import KEPT, Metric
from .features import Backbone, View
from .gathered import Gathered
from .opening import MetricsEvaluator
from .sets import MAKERS as SETS
from .sets import SetProtocol, SetScores
from .visual_batch import VisualBatch


class VisualOptions(Options):
    """What both share. `metrics` and `features` are the subclass's."""

    metrics: tuple[str, ...] = Field((), strict=False, description="what is measured")
    features: str | None = Field(None, description="folder or hub id of the feature network")
    real: str | None = Field(
        None,
        description="folder of real samples that sets are compared with, or an .npz file of FID's mu and sigma; None: the "
        "references",
    )
    neighbours: int = Field(3, ge=1, le=1000, description="k of precision and recall")
    density_neighbours: int = Field(5, ge=1, le=1000, description="k of density and coverage")
    kid_subsets: int = Field(
        0, ge=0, le=10_000, description="random subsets of kernel_distance, 100 in its paper; 0: all at once"
    )
    kid_subset_size: int = Field(1000, ge=2, le=1 << 20, description="members of each such subset")
    keep: int = Field(
        KEPT,
        ge=16,
        le=1 << 20,
        description="features kept of each set, for all but frechet_distance; 0.8 MB per 100 of 2,048",
    )
    bootstrap: int = Field(1000, ge=0, le=100_000, description="resamplings for the intervals; 0: none")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the resamplings and of random subsets")


class VisualMetrics(MetricsEvaluator):
    """The base of ImageMetrics and VideoMetrics. A subclass says what it judges, and makes its metrics."""

    Options: ClassVar[OptionsClass] = VisualOptions
    batch: ClassVar[type[VisualBatch]]

    def __init__(self, *, device: str = "auto", features: Backbone | None = None, real: Any = None, **own: Any) -> None:
        if features is not None and not isinstance(features, Backbone):
            what = f"features is {shown(features)}; wrap it"
            raise OptionError(
                f"{what}: Backbone(function, name=...) or Backbone.of_module(network, name=...)", field="features"
            )
        if isinstance(real, str | Path):
            raise OptionError(f"real={str(real)!r}: paths belong to the call's option of that name", field="real")
        super().__init__(device=device, features=features, real=None if real is None else list(real), **own)
        if self._own["real"] is not None:
            self.batch(self._own["real"])  # refuses what is of another kind

    def metrics(self, options: Any = None) -> Iterator[Metric]:
        """The metrics that a call with these options would use, to be updated and merged by yourself."""
        options = options or self.Options.parse(type(self).__name__, {})
        for name in options.metrics:
            if name not in SETS:
                yield self.make(name, options)
        names = [name for name in options.metrics if name in SETS]
        if names:
            real = self.real(options)
            protocol = SetProtocol(
                options.neighbours,
                options.density_neighbours,
                options.kid_subsets,
                options.kid_subset_size,
                options.keep,
            )
            yield SetScores(self.batch, self.view(options, names[0]), names, real, protocol, seed=options.seed)

    @abstractmethod
    def make(self, name: str, options: Any) -> Metric:
        """One metric that is no set score."""

    def view(self, options: Any, who: str) -> View:
        """One look for all metrics of a call."""
        sets = any(name in SETS for name in options.metrics)
        real = options.real is not None or self._own["real"] is not None
        return View(self.backbone(options, who), sets and not real, "perceptual_distance" in options.metrics)

    def backbone(self, options: Any, who: str) -> Backbone:
        """The feature network."""
        given = self.needed("features", options, who)
        if isinstance(given, Backbone):
            return given
        found: Backbone = self.once(("features", given), lambda: self.opened(given))
        return found

    def opened(self, source: str) -> Backbone:
        """The feature network in a folder."""
        from .networks import open_folder

        return open_folder(source, device=self.device)

    def real(self, options: Any) -> Gathered | None:
        """The set that samples are compared with; None where the references are."""
        own, path = self._own["real"], options.real
        if own is None and path is None:
            return None
        backbone = self.backbone(options, options.metrics[0])
        key = ("real", path, options.keep, id(backbone))
        found: Gathered = self.once(key, lambda: self._gathered(own, path, backbone, options.keep))
        return found

    def _gathered(self, own: Any, path: str | None, backbone: Backbone, keep: int) -> Gathered:
        if own is not None:
            contents: Iterable[Any] = [self.batch.content(each) for each in own]
            return Gathered.of(contents, backbone, keep, "real samples that the caller gave")
        place = Path(path or "")
        if place.suffix == ".npz" and place.is_file():
            return Gathered.stated(place)
        if not place.is_dir():
            message = f"real={printable(str(place))!r} is no folder and no .npz file; give the folder of real samples"
            raise DataError(message, field="real")
        return Gathered.of(self.batch.files(place), backbone, keep, f"the folder {printable(place.name)}")
