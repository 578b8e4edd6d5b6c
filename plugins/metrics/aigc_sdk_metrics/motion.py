"""How films move: flow by block matching, flicker, smoothness, warping error. Frames are uint8, t x h x w x 3."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_sdk.errors import DataError, shown

from .similarity import LUMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Frame = NDArray[np.uint8]

Flow = Callable[[Any, Any], Any]
"""From two frames, h x w x 3, to (h, w, 2): where each pixel of the first is in the second, as steps right and down."""

BLOCK, REACH = 8, 7  # pixels
SETTLED = 0.5  # pixels^2, and part of the flow's length^2, that there and back may miss by (Ruder et al. 2016)
SHARE = 0.01


def block_matching(first: Frame, second: Frame, block: int = BLOCK, reach: int = REACH) -> Floats:
    """The flow of blocks: for each the whole step, up to `reach` pixels each way, to where luma differs least (h, w, 2).

    Of equally good steps the shortest is taken. Pixels beyond a border are those of the border.
    """
    one, other = (each @ LUMA for each in (first, second))  # (h, w)
    height, width = one.shape
    wide = np.pad(other, reach, mode="edge")
    steps = sorted(
        ((right, down) for right in range(-reach, reach + 1) for down in range(-reach, reach + 1)),
        key=lambda step: (step[0] ** 2 + step[1] ** 2, step),
    )
    starts = [np.arange(0, side, block) for side in (height, width)]
    least = np.full((len(starts[0]), len(starts[1])), np.inf)
    found = np.zeros((*least.shape, 2))
    for right, down in steps:
        moved = wide[reach + down : reach + down + height, reach + right : reach + right + width]
        apart = np.add.reduceat(np.add.reduceat(np.abs(one - moved), starts[0], 0), starts[1], 1)
        better = apart < least - 1e-9
        least[better] = apart[better]
        found[better] = right, down
    return found.repeat(block, 0)[:height].repeat(block, 1)[:, :width]


def warped(frame: NDArray[Any], flow: Floats) -> Floats:
    """The frame seen from where the flow begins: its pixel at each place plus flow, between pixels bilinear (h, w, c)."""
    planes = np.asarray(frame, np.float64)
    height, width = planes.shape[:2]
    down, right = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    x = (right + flow[..., 0]).clip(0, width - 1)
    y = (down + flow[..., 1]).clip(0, height - 1)
    left, top = np.floor(x).astype(int).clip(0, max(0, width - 2)), np.floor(y).astype(int).clip(0, max(0, height - 2))
    across, along = (x - left)[..., None], (y - top)[..., None]
    beside, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    above = planes[top, left] * (1 - across) + planes[top, beside] * across
    under = planes[below, left] * (1 - across) + planes[below, beside] * across
    return np.asarray(above * (1 - along) + under * along)


def flicker(frames: NDArray[np.uint8]) -> float:
    """The mean absolute difference of neighbouring frames, 0 to 1; movement counts too."""
    return float(np.mean([np.abs(a.astype(np.float64) - b).mean() for a, b in pairwise(frames)]) / 255)


def smoothness(frames: NDArray[np.uint8], flow: Flow = block_matching) -> float:
    """1 less the mean absolute error of every frame as half-way between its neighbours, 0 to 1.

    Both neighbours are moved by half of the flow from the one to the other, and averaged.
    """
    errors = []
    for before, frame, after in zip(frames, frames[1:], frames[2:], strict=False):
        moved = checked(flow, before, after) / 2
        guess = (warped(before, -moved) + warped(after, moved)) / 2
        errors.append(np.abs(frame - guess).mean() / 255)
    return 1 - float(np.mean(errors))


def warping_error(frames: NDArray[np.uint8], flow: Flow = block_matching) -> float | None:
    """The mean squared difference of each frame and the next one warped to it, values 0 to 1 (Lai et al. 2018).

    Pixels count that lead back to where they came from, and not beyond the border; None where there are none.
    """
    total, count = 0.0, 0
    for first, second in pairwise(frames):
        there, back = checked(flow, first, second), checked(flow, second, first)
        seen = _seen(there, back)
        apart = np.square((first - warped(second, there)) / 255).mean(2)
        total += float(apart[seen].sum())
        count += int(seen.sum())
    return total / count if count else None


def checked(flow: Flow, first: Frame, second: Frame) -> Floats:
    """What the flow says. Raises DataError for another shape, and for NaN and infinity."""
    found = np.asarray(flow(first, second))
    wanted = (*first.shape[:2], 2)
    if found.shape != wanted or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        name = getattr(flow, "__name__", shown(flow, 40))
        message = f"the flow {name} made {found.dtype} of shape {found.shape}, finite or not; it must be finite numbers of {wanted}"
        raise DataError(message, field="flow")
    return found.astype(np.float64)


def _seen(there: Floats, back: Floats) -> NDArray[np.bool_]:
    """Pixels that are in both frames: the flow there and the flow back, where it leads to, undo each other."""
    height, width = there.shape[:2]
    returned = warped(back, there)
    missed = np.square(there + returned).sum(2)
    length = np.square(there).sum(2) + np.square(returned).sum(2)
    down, right = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    x, y = right + there[..., 0], down + there[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return np.asarray((missed <= SHARE * length + SETTLED) & inside)
