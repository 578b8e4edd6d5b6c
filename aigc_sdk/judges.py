"""What evaluators share: those that judge by a generator's model, and those that are a small classifier of their own."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from . import folder, runtime
from .errors import CorruptFolder
from .protocols import Device, DType, Evaluator, Generator, Source

if TYPE_CHECKING:
    from torch import nn

G = TypeVar("G", bound=Generator[Any])


class ModelEvaluator(Evaluator, Generic[G]):
    """An Evaluator that judges by a model; a backend writes `Model`, `Options` and `run`."""

    Model: ClassVar[Any]
    """The Generator's class."""

    def __init__(self, model: G) -> None:
        self.model = model
        self.device = model.device

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Judge by the model at `source`: None for the default model, a folder, or a hub id."""
        return cls(cls.Model.open(source, device=device, dtype=dtype, revision=revision))

    def save(self, folder: str | Path) -> None:
        """Write the model's folder."""
        self.model.save(folder)

    def to(self, device: Device) -> Self:
        """Move the model to `device` and return this evaluator."""
        self.model.to(device)
        self.device = self.model.device
        return self


class ClassifierEvaluator(Evaluator):
    """An Evaluator whose network was trained to tell labels apart; a backend writes the three below, `Options` and `run`.

    facts: what config.json holds: "labels", "channels" (1 or 3), "model_type", and what the backend adds.
    """

    backend: ClassVar[str]
    default: ClassVar[Path]
    """The folder of the judge that the package brings."""

    def __init__(self, network: nn.Module, facts: dict[str, Any], *, device: str = "cpu") -> None:
        self.network: Any = network.eval()
        self.facts = facts
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.device = device

    @staticmethod
    @abstractmethod
    def new_network(channels: int, labels: int) -> nn.Module:
        """A network for pictures of so many channels and labels; it is made on the meta device too."""

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a judge: None or "default" for the one in this package, a folder, or a hub id.

        dtype: "float32". Raises FolderError, DeviceError or OptionError.
        """
        from .weights import fill, on_meta

        kind, place = runtime.dtype(dtype, ("float32",)), runtime.device(device)
        chosen = cls.default if source is None or source == "default" else source
        opened = folder.read(chosen, backend=cls.backend, revision=revision)
        facts = opened.config()
        labels, channels = facts.get("labels"), facts.get("channels")
        if facts.get("model_type") != cls._model_type() or not isinstance(labels, list) or channels not in (1, 3):
            raise CorruptFolder(f"{opened.path}: config.json describes no judge of {cls.backend}")
        with on_meta():
            network = cls.new_network(channels, len(labels))
        fill(network, opened.path, place, kind)
        return cls(network, facts, device=place)

    def save(self, folder_: str | Path) -> None:
        """Write a folder that `open` reads."""
        from .weights import write_module

        fingerprint = runtime.fingerprint(self.network)
        with folder.writing(folder_, backend=self.backend, role="evaluator", fingerprint=fingerprint) as path:
            facts = {"model_type": self._model_type(), **self.facts}
            (path / "config.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            write_module(self.network, path)

    def to(self, device: Device) -> Self:
        """Move the judge to `device`."""
        self.device = runtime.device(device)
        self.network.to(self.device)
        return self

    @classmethod
    def _model_type(cls) -> str:
        return f"aigc_{cls.backend}_judge"
