"""Sprites put into frames at places between pixels, and cut out of them: by bilinear interpolation, with gradients.

Places are (x, y) in pixels of the frame, counted from the middle of its first pixel; a sprite's place is its middle.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def paste(sprites: Tensor, places: Tensor, size: int) -> Tensor:
    """Sprites n x c x s x s at places n x 2 in frames of zeros, n x c x size x size."""
    n, channels, side, _ = sprites.shape
    return _sampled(sprites, size / side, -(places - (size - 1) / 2) * 2 / side, (n, channels, size, size))


def cut(frames: Tensor, places: Tensor, side: int) -> Tensor:
    """What is around places n x 2 in frames n x c x size x size: n x c x side x side, zeros from beyond the border."""
    n, channels, size, _ = frames.shape
    return _sampled(frames, side / size, (places - (size - 1) / 2) * 2 / size, (n, channels, side, side))


def _sampled(images: Tensor, scale: float, shift: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    matrices = images.new_zeros(len(images), 2, 3)
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    matrices[:, :, 2] = shift
    grid = F.affine_grid(matrices, list(shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def middles(weights: Tensor) -> Tensor:
    """The centre of mass of each of n x h x w weights, n x 2, as (x, y)."""
    total = weights.sum((1, 2)).clamp(min=1e-6)
    across = torch.arange(weights.shape[2], dtype=weights.dtype, device=weights.device)
    along = torch.arange(weights.shape[1], dtype=weights.dtype, device=weights.device)
    return torch.stack([(weights.sum(1) * across).sum(1), (weights.sum(2) * along).sum(1)], 1) / total[:, None]
