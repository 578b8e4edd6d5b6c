"""The trainer: counts which word follows which. Trainers that use torch start from `aigc_sdk.training.TorchTrainer`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from aigc_sdk import Fit, Options, Step, Trainer
from aigc_sdk.errors import DataError, MismatchedFolder
from aigc_sdk.protocols import Device, DType, Source

from .model import Echo


class EchoTraining(Options):
    """How one run trains."""

    batch_size: int = Field(8, ge=1, le=100_000, description="texts per step")


class EchoTrainer(Trainer[Echo]):
    """Learns from texts which word follows which."""

    Options = EchoTraining
    device = "cpu"

    def __init__(self, model: Echo) -> None:
        self.model = model
        self._done = 0  # steps behind us; with the counts, all there is to resume from
        self._resumed = 0  # steps that the next run need not make again; it starts anew where no state was loaded

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        **config: Any,
    ) -> Self:
        """Start from nothing, or from the model at `source`."""
        cls.Config.parse("echo", config)  # a new model has nothing to configure
        return cls(Echo.open(source, device=device, revision=revision))

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Refuse what cannot be learnt from at the call, before anything runs or is written."""
        _texts(data)
        if validation is not None:
            _texts(validation)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        """One Step per batch. Which texts a step learns from is a function of (seed, step), so a resumed run repeats it."""
        texts = _texts(data)
        counts = {word: dict(each) for word, each in self.model.followers.items()}
        self.model.followers = counts
        self._done, self._resumed = self._resumed, 0
        for step in range(self._done + 1, fit.max_steps + 1):
            rng = random.Random(f"{fit.seed}/{step}")
            learned = sum(_learn(counts, rng.choice(texts)) for _ in range(fit.options.batch_size))
            self._done = step
            yield Step(step, fit.max_steps, {"loss": 1 / (1 + len(counts)), "pairs": float(learned)})

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The part of the word pairs in `data` that were never seen."""
        pairs = [pair for text in _texts(data) for pair in _pairs(text)]
        missed = sum(after not in self.model.followers.get(word, {}) for word, after in pairs)
        return {"loss": missed / max(1, len(pairs))}

    def state_dict(self) -> dict[str, Any]:
        """Plain values; arrays and tensors could be among them. A checkpoint stores them without pickle."""
        return {"done": self._done, "followers": {word: dict(each) for word, each in self.model.followers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        if not {"done", "followers"} <= set(state):
            raise MismatchedFolder("this is no state of an EchoTrainer")
        self._done = self._resumed = state["done"]
        self.model.followers = {word: dict(each) for word, each in state["followers"].items()}


def _texts(data: Any) -> list[str]:
    """The texts in a file, or in an iterable of strings and `Path`s. What cannot be learnt from is refused, with its place."""
    if isinstance(data, str | Path):
        data = [Path(data)]
    if not isinstance(data, Iterable):
        raise DataError(f"data is a {type(data).__name__}; pass a file or an iterable of strings", field="data")
    if iter(data) is data:
        raise DataError("data is an iterator, which can be read only once; pass a list of it", field="data")
    texts: list[str] = []
    for index, each in enumerate(data):
        if not isinstance(each, str | Path):
            raise DataError(f"data[{index}] is a {type(each).__name__}; pass strings, or Paths of files", field="data")
        texts += _lines(each) if isinstance(each, Path) else [each]
    texts = [text for text in texts if text.split()]
    if not texts:
        raise DataError("data holds no text; pass at least one", field="data")
    return texts


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"data: the file {str(file)!r} cannot be read as UTF-8 text: {error}", field="data") from error


def _learn(counts: dict[str, dict[str, int]], text: str) -> int:
    """Count the pairs of one text; how many there were."""
    pairs = _pairs(text)
    for word, after in pairs:
        following = counts.setdefault(word, {})
        following[after] = following.get(after, 0) + 1
    return len(pairs)


def _pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(itertools.pairwise(words))
