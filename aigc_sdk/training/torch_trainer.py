"""The base of trainers that use torch: their state, and the run's loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from aigc_sdk.errors import MismatchedFolder, OptionError
from aigc_sdk.protocols import Source, Trainer

from .sharding import gathered

if TYPE_CHECKING:
    from .loop import Loop

M = TypeVar("M")


class TorchTrainer(Trainer[M]):
    """A Trainer whose `networks` are trained by a Loop; a backend writes `open`, `run` and, if it can, `validate`."""

    networks: dict[str, torch.nn.Module]
    """Everything that is trained, by name."""
    _loop: Loop | None = None
    _resumed: Mapping[str, Any] | None = None

    def begin(self, loop: Loop) -> Mapping[str, Any] | None:
        """Called by a Loop when it starts: the state that it goes on from, or None for a run from the beginning."""
        resumed, self._resumed, self._loop = self._resumed, None, loop
        return resumed

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, averages and position, whole on every process; in a sharded run all must call."""
        networks = {name: gathered(dict(each.state_dict())) for name, each in self.networks.items()}
        loop = self._loop.state_dict() if self._loop is not None else self._resumed
        return {"networks": networks, "loop": loop}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights at once, and the rest when the next run starts. Raises MismatchedFolder."""
        if not {"networks", "loop"} <= set(state):
            raise MismatchedFolder(f"this is no state of a {type(self).__name__}")
        if set(state["networks"]) != set(self.networks):
            raise MismatchedFolder(
                f"the state is of the networks {sorted(state['networks'])}, not {sorted(self.networks)}"
            )
        for name, weights in state["networks"].items():
            try:
                self.networks[name].load_state_dict(weights)
            except RuntimeError as error:
                raise MismatchedFolder(f"the state of {name!r} is of another architecture: {error}") from error
        self._resumed, self._loop = state["loop"], None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        if self._loop is None:
            yield
            return
        with self._loop.averaged():
            yield

    def settle(self) -> None:
        if self._loop is not None:
            self._loop.settle()


def check_dtype(dtype: str) -> None:
    """Refuse to open a model for training in anything but float32; arithmetic has its own option, `precision`."""
    if dtype != "float32":
        raise OptionError(
            f"dtype={dtype!r}: weights are trained in float32; precision='bfloat16' computes in bfloat16",
            field="dtype",
        )


def check_no_sizes(given: Collection[str], source: Source, *, kind: str = "model", field: str | None = None) -> None:
    """Refuse names `given` with the source of a model that is there already, whose sizes are its own.

    kind: what the backend calls its models. field: the name that the error is of; None: the first given.
    """
    if given:
        raise OptionError(
            f"{', '.join(given)}: only a new {kind} takes sizes; the {kind} {str(source)!r} has its own",
            field=field or next(iter(given)),
        )
