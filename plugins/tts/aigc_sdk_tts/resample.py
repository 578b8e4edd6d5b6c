"""Another sample rate, piece by piece: a windowed sinc, whose pieces join to what the whole gives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZEROS = 16  # zero crossings of the sinc on either side
ROLL_OFF = 0.95  # the filter's edge, as part of half the lower rate
BETA = 9.0  # of the Kaiser window


class Resampler:
    """Give it pieces in order; it holds back what the next piece is needed for, and `last` gives the rest."""

    def __init__(self, source: int, target: int) -> None:
        divisor = math.gcd(source, target)
        self.up, self.down = target // divisor, source // divisor
        self.same = source == target
        cutoff = ROLL_OFF * min(1.0, target / source)
        self.side = math.ceil(ZEROS / cutoff)
        self.kernels = _kernels(self.up, self.side, cutoff)  # (up, 2 * side)
        self.kept = np.zeros(self.side, np.float32)
        self.first = -self.side  # the place of kept[0] among all samples that came in
        self.made = 0

    def push(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """What can be made now that `samples` have come; with `last`, all that is left."""
        if self.same:
            return samples
        came = self.first + len(self.kept) + len(samples)
        self.kept = np.concatenate([self.kept, samples, np.zeros(self.side if last else 0, np.float32)])
        end = -(-came * self.up // self.down) if last else max(0, (came - self.side) * self.up // self.down)
        if end <= self.made:
            return np.zeros(0, np.float32)
        at = np.arange(self.made, end, dtype=np.int64) * self.down
        base, phase = at // self.up, at % self.up
        windows = np.lib.stride_tricks.sliding_window_view(self.kept, 2 * self.side)
        made = np.einsum("nk,nk->n", windows[base - (self.side - 1) - self.first], self.kernels[phase])
        self.made += len(at)
        drop = max(0, self.made * self.down // self.up - (self.side - 1) - self.first)
        self.kept, self.first = self.kept[drop:], self.first + drop
        return np.asarray(made, np.float32)


def _kernels(up: int, side: int, cutoff: float) -> NDArray[np.float32]:
    """The filter for each of the `up` places between two samples."""
    places = np.arange(1 - side, side + 1)[None] - np.arange(up)[:, None] / up
    window = np.i0(BETA * np.sqrt(np.clip(1 - (places / side) ** 2, 0, 1))) / np.i0(BETA)
    return np.asarray(cutoff * np.sinc(cutoff * places) * window, np.float32)
