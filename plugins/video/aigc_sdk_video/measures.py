"""How films of one thing on black move and look, from their pixels alone. Frames are uint8, t x h x w x c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

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


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of features."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[Any]) -> Self:
        """The moments of features, n x d."""
        precise = features.astype(np.float64)
        return cls(precise.mean(0), np.cov(precise, rowvar=False))


def frechet(first: Moments, second: Moments) -> float:
    """The Frechet distance of two normal distributions, squared as is usual (Heusel et al. 2017).

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)), with the root's trace from the symmetric C1^(1/2) C2 C1^(1/2).
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second.covariance @ root).clip(0)).sum()
    apart = np.square(first.mean - second.mean).sum()
    return float(apart + np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared)


def within_label_distance(pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[int, float]:
    """For each label with at least two pictures: the mean distance between two of them, pixels from 0 to 1."""
    found = {}
    for label in np.unique(labels):
        points = pictures[labels == label].reshape(int((labels == label).sum()), -1) / 255
        if len(points) < 2:
            continue
        squared = np.square(points).sum(1)
        apart = np.sqrt((squared[:, None] + squared - 2 * points @ points.T).clip(0))
        np.fill_diagonal(apart, 0)  # rounding leaves a little
        found[int(label)] = float(apart.sum() / (len(points) * (len(points) - 1)))
    return found
