"""The residual networks of Gulrajani et al. 2017 and Miyato et al. 2018 for 32 x 32 pixels in colour, without labels.

Unlike those of the package they are as wide at every resolution, and the critic halves it only twice. They are networks
of one's own to the trainer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

LATENT = 128
Wrap = Callable[[nn.Module], nn.Module]


class Up(nn.Module):
    """Twice the resolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(features) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in range(2))
        self.shortcut = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.convolutions[0](doubled(F.relu(self.norms[0](x))))
        inner = self.convolutions[1](F.relu(self.norms[1](inner)))
        return inner + doubled(self.shortcut(x))


class Down(nn.Module):
    """Half the resolution, or the same; the first block sees pixels, which nothing rectifies."""

    def __init__(self, before: int, after: int, wrap: Wrap, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.convolutions = nn.ModuleList(wrap(nn.Conv2d(each, after, 3, padding=1)) for each in (before, after))
        self.shortcut = wrap(nn.Conv2d(before, after, 1)) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.convolutions[1](F.relu(self.convolutions[0](x if self.first else F.relu(x))))
        if self.halves:
            return F.avg_pool2d(inner + self.shortcut(x), 2)
        return inner + x


class Generator(nn.Module):
    """Latents (n, 128) to pictures."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.stem = nn.Linear(LATENT, features * 16)
        self.blocks = nn.Sequential(*(Up(features) for _ in range(3)), nn.BatchNorm2d(features), nn.ReLU())
        self.last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.stem(latents).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.last(self.blocks(x)))  # (n, 3, 32, 32)


class Critic(nn.Module):
    """Pictures to scores (n,). pool: the "mean" or "sum" of each feature over all positions."""

    def __init__(self, features: int, *, spectral: bool, pool: str) -> None:
        super().__init__()
        wrap: Wrap = spectral_norm if spectral else lambda module: module
        self.blocks = nn.Sequential(
            Down(3, features, wrap, halves=True, first=True),
            Down(features, features, wrap, halves=True),
            Down(features, features, wrap, halves=False),
            Down(features, features, wrap, halves=False),
        )
        self.score = wrap(nn.Linear(features, 1, bias=pool == "mean"))
        self.pool = pool

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = F.relu(self.blocks(images.contiguous(memory_format=torch.channels_last))).float()
        features = x.mean((2, 3)) if self.pool == "mean" else x.sum((2, 3))  # (n, features)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has too few bits to compare scores
            scores: Tensor = self.score(features)[:, 0]
        return scores


def glorot(network: nn.Module) -> None:
    """The papers' first weights; convolutions of 3 x 3 within blocks are as much larger as a rectifier takes away."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, gain=2**0.5 if "convolutions" in name else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def doubled(x: Tensor) -> Tensor:
    """Each pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")
