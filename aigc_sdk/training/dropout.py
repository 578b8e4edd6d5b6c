"""Dropout whose masks come from bulk random bits: on a CPU a sixth of the cost of torch's draw per element."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch

LEVELS = 1 << 16  # 16 random bits decide one element, so a probability is exact to 1/131072 and unbiased as rounded


class Bits:
    """The dropout masks of one forward pass, all of them a function of `seed`."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.SFC64(seed)

    def keep(self, shape: tuple[int, ...], probability: float, dtype: torch.dtype = torch.bool) -> torch.Tensor:
        """A tensor of `shape` on the CPU, 0 with `probability` and 1 elsewhere."""
        count = math.prod(shape)
        words = torch.from_numpy(self._source.random_raw(-(-count // 4)).view(np.int16)[:count])
        found = torch.empty(count, dtype=dtype)
        return torch.ge(words, _dropped(probability) - LEVELS // 2, out=found).view(shape)


_current: ContextVar[Bits | None] = ContextVar("bits", default=None)


def current() -> Bits | None:
    """The source of the masks inside a `bulk` block; None elsewhere, and where torch draws them fast itself."""
    return _current.get()


@contextmanager
def bulk(network: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """For as long as the block lasts, every `nn.Dropout` of `network` takes its masks from bulk bits, on a CPU.

    torch's global random state decides them.
    """
    places = [each for each in network.modules() if type(each) is torch.nn.Dropout and each.training and each.p]
    if device.type != "cpu" or not places:
        yield
        return
    bits = Bits(int(torch.randint(2**62, ())))
    token = _current.set(bits)
    try:
        for each in places:
            each.forward = _from(bits, each.p)  # type: ignore[method-assign]
        yield
    finally:
        for each in places:
            each.__dict__.pop("forward", None)
        _current.reset(token)


def _from(bits: Bits, probability: float) -> Any:
    return lambda x: drop(x, probability, bits)


def scale(probability: float) -> float:
    """What kept elements are multiplied with, so that the expectation stays."""
    return LEVELS / (LEVELS - _dropped(probability))


def drop(x: torch.Tensor, probability: float, bits: Bits | None) -> torch.Tensor:
    """`x` with elements dropped with `probability`, the others scaled up. Without `bits`, torch draws the mask."""
    if not probability:
        return x
    if bits is None:
        return torch.nn.functional.dropout(x, probability)
    return x * bits.keep(tuple(x.shape), probability, x.dtype).mul_(scale(probability))


def _dropped(probability: float) -> int:
    """Of `LEVELS` outcomes, how many drop."""
    return min(round(probability * LEVELS), LEVELS - 1)
