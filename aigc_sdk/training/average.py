"""An exponential moving average (EMA) of a network's weights, which generates better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from .sharding import like


class Average:
    """The average of `network`'s weights over its updates: average += (1 - decay) * (weights - average).

    The first updates count more, as in Adam's bias correction: the decay is at most (1 + updates) / (10 + updates).
    Buffers, such as the statistics of batch norm, are taken as they are.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.updates = 0
        self.weights = {name: each.detach().clone() for name, each in self._live().items()}

    def _live(self) -> dict[str, torch.Tensor]:
        return {name: each for name, each in self.network.named_parameters() if each.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after one more optimiser update into the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = self._live()
        torch._foreach_lerp_([self.weights[name] for name in live], list(live.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """For as long as the block lasts, the network has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def settle(self) -> None:
        """Give the network the average for good."""
        for name, live in self._live().items():
            live.copy_(self.weights[name])

    def state_dict(self) -> dict[str, object]:
        """What a resumed run needs."""
        return {"updates": self.updates, "weights": self.weights}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take over what `state_dict` returned."""
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        for name, value in state["weights"].items():  # type: ignore[attr-defined]
            self.weights[name].copy_(like(value, self.weights[name]))

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self._live().items():
            kept = live.clone()
            live.copy_(self.weights[name])
            self.weights[name] = kept
