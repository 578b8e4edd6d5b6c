"""Differentiable augmentation: all that the critic sees, real or generated, is shifted, cut and recoloured at random.

Zhao et al. 2020. Every picture has a draw of its own. Gradients pass, so that the generator learns from what the critic
sees, without the changes leaking into what it generates.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def diff_augmented(images: Tensor, *, translation: float = 0, cutout: float = 0, color: float = 0) -> Tensor:
    """The changed pictures, n x c x h x w in [-1, 1].

    translation: the farthest shift, as a part of the side (0.125 in the paper). cutout: the side of the square that is
    made grey (0.5). color: how far brightness, saturation and contrast go (1).
    """
    if color:
        images = _recolored(images, color)
    if translation:
        images = _shifted(images, translation)
    if cutout:
        images = _cut(images, cutout)
    return images


def _recolored(images: Tensor, strength: float) -> Tensor:
    def factor(low: float, high: float) -> Tensor:
        drawn = torch.rand(len(images), 1, 1, 1, device=images.device)
        return low + (high - low) * drawn

    images = images + strength * factor(-0.5, 0.5)
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * (1 + strength * factor(-1, 1))
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + strength * factor(-0.5, 0.5))


def _shifted(images: Tensor, reach: float) -> Tensor:
    """Black comes in from outside. A reach of whole pixels shifts by whole pixels, which blurs nothing."""
    n, side = len(images), torch.tensor([images.shape[3], images.shape[2]], device=images.device)
    pixels = reach * side * (2 * torch.rand(n, 2, device=images.device) - 1)  # (n, 2), x and y
    if reach * min(images.shape[2:]) >= 1:
        pixels = pixels.round()
    matrix = torch.eye(2, 3, device=images.device).repeat(n, 1, 1)  # (n, 2, 3)
    matrix[:, :, 2] = 2 * pixels / side  # in affine_grid's units a side is 2 long
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def _cut(images: Tensor, part: float) -> Tensor:
    """Squares around random places, the picture's edges included."""
    n, _, height, width = images.shape
    inside = torch.ones(n, 1, 1, 1, dtype=torch.bool, device=images.device)
    for side, shape in ((height, (1, 1, -1, 1)), (width, (1, 1, 1, -1))):
        centre = torch.rand(n, 1, 1, 1, device=images.device) * side
        places = torch.arange(side, device=images.device).view(shape) + 0.5
        inside = inside & ((places - centre).abs() < part * side / 2)
    return images.masked_fill(inside, 0)
