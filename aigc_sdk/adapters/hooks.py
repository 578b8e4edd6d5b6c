"""What adapters do at one layer of a network, for all rows of a batch or for each row its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .layers import Change

if TYPE_CHECKING:
    from .manager import Adapters


class LayerHook:
    """What every adapter in use does at one layer of the network; whoever computes the layer by itself calls both."""

    def __init__(self, adapters: Adapters, layer: str) -> None:
        self.adapters = adapters
        self.layer = layer

    def before(self, module: nn.Module | None, args: tuple[Any, ...]) -> Any:
        """The layer's input, (rows, ..., features), changed; None where it is not."""
        x = args[0]
        for name, rows in self.adapters.groups_of(x):
            change = self.adapters[name].at(self.layer)
            if change is not None and type(change).before is not Change.before:
                x = _changed(x, rows, change.before)
        return None if x is args[0] else x

    def after(self, module: nn.Module | None, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """The layer's output for that input, changed."""
        for name, rows in self.adapters.groups_of(args[0]):
            change = self.adapters[name].at(self.layer)
            if change is not None:
                output = _changed(output, rows, change.after, args[0])
        return output


def _changed(value: torch.Tensor, rows: torch.Tensor | None, change: Any, *beside: torch.Tensor) -> torch.Tensor:
    """`value` with some of its rows changed, or all where `rows` is None. `beside`: what the change needs to see first."""
    if rows is None:
        return change(*beside, value)  # type: ignore[no-any-return]
    by_token = len(rows) > len(value)
    before = [each.flatten(0, -2) if by_token else each for each in (*beside, value)]
    index = rows.to(value.device).nonzero()[:, 0]
    some = change(*(each[index] for each in before))
    return before[-1].index_copy(0, index, some.to(value.dtype)).view_as(value)
