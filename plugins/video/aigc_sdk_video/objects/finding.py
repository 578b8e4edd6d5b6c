"""Where things are: the middle of what differs from the background, and the same thing again in the next frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aigc_sdk_video.painting import middles

NOISE = 0.1  # a difference from the background (of 1) that is no thing
PRESENT = 0.3  # a thing has at least this part of the weight of the largest
ROUNDS = 3  # of moving the window to the middle of what is in it


def difference(frames: Tensor, background: Tensor) -> Tensor:
    """How far n x c x h x w frames in [0, 1] are from the background, n x h x w; noise counts as nothing."""
    return ((frames - background).abs().amax(1) - NOISE).clamp(min=0)


def find(weights: Tensor, count: int, radius: float) -> tuple[Tensor, Tensor]:
    """The `count` heaviest things of n x h x w weights: places n x count x 2, heaviest first, and whether there is one."""
    left, places, masses = weights, [], []
    side = 2 * int(radius / 2) + 1
    for _ in range(count):
        smooth = F.avg_pool2d(left[:, None], side, 1, side // 2)[:, 0]
        best = smooth.flatten(1).argmax(1)
        start = torch.stack([best % weights.shape[2], best // weights.shape[2]], 1).to(weights.dtype)
        place = settled(left, start, radius)
        inside = window(left, place, radius)
        masses.append((left * inside).sum((1, 2)))
        left = left * (1 - inside)
        places.append(place)
    mass = torch.stack(masses, 1)  # (n, count)
    there = mass > PRESENT * mass[:, :1]
    there[:, 0] = True
    return torch.stack(places, 1), there


def follow(weights: Tensor, start: Tensor, there: Tensor, radius: float) -> Tensor:
    """The paths of things, n x count x t x 2, through n x t x h x w weights from their places n x count x 2 on.

    Each is looked for where it would be if it went straight on; what other things have in their windows is left out.
    """
    count, path = start.shape[1], [start]
    for frame in range(1, weights.shape[1]):
        guess = path[-1] if frame == 1 else 2 * path[-1] - path[-2]
        guess = guess.clamp(0, weights.shape[-1] - 1)
        now = []
        for each in range(count):
            own = weights[:, frame]
            for other in range(count):
                if other != each:
                    nearer = _nearer(own, guess[:, each], guess[:, other])
                    own = own * (nearer | ~there[:, other, None, None])
            now.append(settled(own, guess[:, each], radius))
        path.append(torch.stack(now, 1))
    return torch.stack(path, 2)


def settled(weights: Tensor, start: Tensor, radius: float) -> Tensor:
    """The middle of what is in a round window, to which the window has moved; where nothing is in it, its start."""
    place = start
    for _ in range(ROUNDS):
        inside = weights * window(weights, place, radius)
        empty = inside.sum((1, 2)) < 1e-3
        place = torch.where(empty[:, None], place, middles(inside))
    return place


def window(weights: Tensor, places: Tensor, radius: float) -> Tensor:
    """1 within `radius` pixels of places n x 2, 0 beyond it, n x h x w; it falls over the last two pixels."""
    return ((radius + 1 - _distances(weights, places)) / 2).clamp(0, 1)


def _nearer(weights: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Which pixels are nearer to `one` than to `other`."""
    return _distances(weights, one) <= _distances(weights, other)


def _distances(weights: Tensor, places: Tensor) -> Tensor:
    height, width = weights.shape[1:]
    along = torch.arange(height, dtype=weights.dtype, device=weights.device)[:, None] - places[:, 1, None, None]
    across = torch.arange(width, dtype=weights.dtype, device=weights.device) - places[:, 0, None, None]
    return (along**2 + across**2 + 1e-9).sqrt()
