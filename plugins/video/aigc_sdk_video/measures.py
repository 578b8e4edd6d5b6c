"""How films of one thing on black move and look, from their pixels alone. Frames are uint8, t x h x w x c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .architecture import DIRECTIONS
from .painting import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST = 4  # steps that a film's direction is read from


@dataclass(frozen=True)
class Movement:
    """How one thing moves."""

    speed: float
    """Mean length of a step, in pixels."""
    acceleration: float
    """Mean length of the difference of two steps, in pixels."""
    flicker: float
    """Mean change of the brightness of the whole frame, as part of it."""
    angle: float | None
    """Degrees from right towards down, of the first steps together; None where it does not move."""


def movement(frames: NDArray[np.uint8]) -> Movement:
    """How the middle of the brightness moves. A film has at least two frames."""
    grey = frames.astype(np.float64).mean(-1)
    total = grey.sum((1, 2)).clip(1e-6)
    places = middle(grey)
    steps = np.diff(places, axis=0)
    turns = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    first = steps[:FIRST].sum(0)
    return Movement(
        speed=float(np.linalg.norm(steps, axis=1).mean()),
        acceleration=float(turns.mean()) if len(turns) else 0.0,
        flicker=float(np.abs(np.diff(total)).mean() / total.mean()),
        angle=float(np.degrees(np.arctan2(first[1], first[0]))) if np.linalg.norm(first) > 1e-6 else None,
    )


def middle(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centre of mass of each frame, t x 2, as (x, y); that of the frame itself where it is black."""
    lit = grey + 1e-9
    total = lit.sum((1, 2))
    across = (lit.sum(1) * np.arange(grey.shape[2])).sum(1) / total
    along = (lit.sum(2) * np.arange(grey.shape[1])).sum(1) / total
    return np.stack([across, along], 1)


def off_by(angle: float, direction: int) -> float:
    """Degrees between an angle and a direction, 0 to 180."""
    return float(abs((angle - direction * 360 / len(DIRECTIONS) + 180) % 360 - 180))


def centred(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of what is bright in a frame h x w x c, brought to the middle and cut out: half the side."""
    place = middle(frame.astype(np.float64).mean(-1)[None])
    pixels = torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32))
    around = cut(pixels, torch.from_numpy(place).float(), frame.shape[0] // 2)
    found: NDArray[np.uint8] = around.round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
    return found
