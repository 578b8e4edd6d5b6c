"""The networks: a generator and its critic, as in DCGAN or with residual blocks as in SNGAN, at 8 to 128 pixels.

Both end at 4 x 4 positions, and every halving of the resolution doubles the features, up to eight times `width`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, Self, TypeAlias, cast

import pydantic
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aigc_sdk.protocols import Options

_Wrap: TypeAlias = Callable[[nn.Module], nn.Module]

BOTTOM = 4  # pixels; the side of the smallest feature map
FEATURES = 128  # of a picture as a whole, on which the DCGAN critic judges it
SLOPE = 0.2  # of LeakyReLU (DCGAN)


class Sizes(Options):
    """What a pair of networks is made by; the defaults are those of the default model."""

    architecture: Literal["dcgan", "resnet"] = Field(
        "dcgan", description="plain convolutions (Radford et al. 2016), or residual blocks (Miyato et al. 2018)"
    )
    size: Literal[8, 16, 32, 64, 128] = Field(16, description="side of the pictures, in pixels")
    channels: Literal[1, 3] = Field(1, description="1: grey, 3: RGB")
    classes: int = Field(10, ge=0, le=100_000, description="how many labels there are; 0: pictures without labels")
    latent: int = Field(32, ge=1, le=4096, description="numbers in a latent")
    width: int = Field(24, ge=1, le=1024, description="features of the generator at full resolution")
    critic_width: int = Field(64, ge=1, le=1024, description="features of the critic at half resolution")
    depth: int = Field(1, ge=1, le=16, description="blocks per resolution")
    conditioning: Literal["input", "batch_norm"] = Field(
        "input", description="where the generator sees the label: beside the latent, or in every batch norm"
    )
    upsampling: Literal["nearest", "transposed"] = Field(
        "nearest", description="how dcgan doubles the resolution: copies and a convolution, or a transposed convolution"
    )
    skip_latents: bool = Field(
        False, description="each block of resnet sees a part of the latent of its own, so that pictures can be mixed"
    )
    spectral_norm: bool = Field(False, description="hold every layer of the critic to a Lipschitz constant of 1")

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.classes == 1:
            raise ValueError("classes=1: one label tells nothing; use 0 for pictures without labels")
        if self.classes == 0 and self.conditioning == "batch_norm":
            raise ValueError("conditioning='batch_norm' needs labels; set classes, or leave conditioning out")
        if self.architecture == "resnet" and self.upsampling == "transposed":
            raise ValueError("upsampling='transposed' is of architecture='dcgan'; resnet copies its pixels")
        if self.skip_latents and self.architecture != "resnet":
            raise ValueError("skip_latents=True is of architecture='resnet'; leave it out, or set the architecture")
        if len(self.parts) > self.latent:
            raise ValueError(f"latent={self.latent}: with skip_latents each of {len(self.parts)} parts needs a number")
        return self

    @property
    def halvings(self) -> int:
        """How often the side is halved down to 4 pixels."""
        return (self.size // BOTTOM).bit_length() - 1

    @property
    def parts(self) -> list[int]:
        """How many numbers of the latent enter at each place: at the stem, then block by block, the coarsest first."""
        count = 1 + self.halvings * self.depth if self.skip_latents else 1
        return [self.latent // count + (index < self.latent % count) for index in range(count)]


class GeneratorNetwork(nn.Module):
    """Latents, and labels where there are any, to pictures in [-1, 1].

    With `skip_latents` the stem sees the latent's first part, and each residual block the next (Brock et al. 2019).
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = [sizes.width * min(8, 2**level) for level in reversed(range(sizes.halvings + 1))]
        beside = sizes.classes > 0 and sizes.conditioning == "input"
        self.parts = sizes.parts
        self.embedding = nn.Embedding(sizes.classes, sizes.latent) if beside else None
        self.stem = nn.Linear(self.parts[0] + (sizes.latent if beside else 0), widths[0] * BOTTOM**2)
        self.blocks = nn.ModuleList(
            _residual_up(sizes, widths) if sizes.architecture == "resnet" else _up(sizes, widths)
        )
        self.last = nn.Conv2d(widths[-1], sizes.channels, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        code, *skipped = torch.split(latents, self.parts, 1)  # each (n, part)
        if self.embedding is not None:
            code = torch.cat([code, self.embedding(labels)], 1)  # (n, part + latent)
        x = self.stem(code).unflatten(1, (-1, BOTTOM, BOTTOM))  # (n, c, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)  # which convolutions are faster in
        for index, block in enumerate(self.blocks):
            x = block(x, labels, skipped[index]) if index < len(skipped) else block(x, labels)  # (n, c, h, w)
        return torch.tanh(self.last(x))  # (n, channels, size, size)


class CriticNetwork(nn.Module):
    """Pictures, and labels where there are any, to one score each: the higher, the more real.

    The label enters by projection: its embedding's product with the picture's features (Miyato & Koyama 2018).
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        wrap = spectral_norm if sizes.spectral_norm else _as_it_is
        widths = [sizes.critic_width * min(8, 2**level) for level in range(sizes.halvings)]
        if sizes.architecture == "resnet":
            self.body: nn.Module = nn.Sequential(*_residual_down(sizes, widths, wrap))
            features = widths[-1]
        else:
            self.body = nn.Sequential(*_down(sizes, widths, wrap))
            features = FEATURES
        self.score = wrap(nn.Linear(features, 1))
        self.embedding = wrap(nn.Embedding(sizes.classes, features)) if sizes.classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.body(images.contiguous(memory_format=torch.channels_last))  # (n, features)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has 8 bits, too few to compare scores
            features = features.float()
            score = self.score(features).squeeze(1)  # (n,)
            if self.embedding is not None:
                score = score + (features * self.embedding(labels)).sum(1)
        return cast(Tensor, score)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift depend on the label (de Vries et al. 2017)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.scale = nn.Embedding(classes, features)
        self.shift = nn.Embedding(classes, features)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scale, shift = self.scale(labels), self.shift(labels)  # (n, c)
        return cast(Tensor, self.norm(x) * scale[:, :, None, None] + shift[:, :, None, None])


class Activated(nn.Module):
    """Batch norm and a rectifier: what stands before or after a convolution of the generator.

    part: numbers of the latent that scale and shift what the norm gives, beside the label.
    """

    def __init__(self, sizes: Sizes, features: int, part: int = 0) -> None:
        super().__init__()
        self.conditional = sizes.conditioning == "batch_norm"
        self.norm = ConditionalBatchNorm(features, sizes.classes) if self.conditional else nn.BatchNorm2d(features)
        self.style = nn.Linear(part, 2 * features) if part else None
        self.slope = SLOPE if sizes.architecture == "dcgan" else 0.0

    def forward(self, x: Tensor, labels: Tensor | None, part: Tensor | None = None) -> Tensor:
        x = self.norm(x, labels) if self.conditional else self.norm(x)
        if self.style is not None:
            scale, shift = self.style(part)[:, :, None, None].chunk(2, 1)  # (n, c, 1, 1)
            x = x * (1 + scale) + shift
        return F.leaky_relu(x, self.slope)


class Up(nn.Module):
    """Twice the resolution by one convolution, and `depth - 1` more that keep it."""

    def __init__(self, sizes: Sizes, before: int, after: int) -> None:
        super().__init__()
        self.transposed = sizes.upsampling == "transposed"
        first: nn.Module = (
            nn.ConvTranspose2d(before, after, 4, 2, 1) if self.transposed else nn.Conv2d(before, after, 3, padding=1)
        )
        rest = [nn.Conv2d(after, after, 3, padding=1) for _ in range(sizes.depth - 1)]
        self.convolutions = nn.ModuleList([first, *rest])
        self.activated = nn.ModuleList(Activated(sizes, after) for _ in range(sizes.depth))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = x if self.transposed else _doubled(x)
        for convolution, activated in zip(self.convolutions, self.activated, strict=True):
            x = activated(convolution(x), labels)
        return x


class ResidualUp(nn.Module):
    """SNGAN's block of the generator, with or without doubling the resolution."""

    def __init__(self, sizes: Sizes, before: int, after: int, part: int, *, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        self.activated = nn.ModuleList([Activated(sizes, before, part), Activated(sizes, after, part)])
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, labels: Tensor | None, part: Tensor | None = None) -> Tensor:
        inner = self.activated[0](x, labels, part)
        if self.doubles:
            x, inner = _doubled(x), _doubled(inner)
        inner = self.second(self.activated[1](self.first(inner), labels, part))
        return cast(Tensor, self.shortcut(x) + inner)


class ResidualDown(nn.Module):
    """SNGAN's block of the critic, with or without halving the resolution; the first sees pixels, which nothing rectifies."""

    def __init__(self, before: int, after: int, wrap: _Wrap, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.rectifies = halves, not first
        self.first = wrap(nn.Conv2d(before, after, 3, padding=1))
        self.second = wrap(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = wrap(nn.Conv2d(before, after, 1)) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(x) if self.rectifies else x
        inner = self.second(F.relu(self.first(inner)))
        if self.halves:
            x, inner = F.avg_pool2d(x, 2), F.avg_pool2d(inner, 2)
        return cast(Tensor, self.shortcut(x) + inner)


class RectifiedSum(nn.Module):
    """The sum of each rectified feature over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).sum((2, 3))  # (n, c)


def new_networks(sizes: Sizes) -> tuple[GeneratorNetwork, CriticNetwork]:
    """The pair, with torch's own first weights."""
    return GeneratorNetwork(sizes), CriticNetwork(sizes)


@torch.no_grad()
def orthogonalise(network: nn.Module) -> None:
    """Orthogonal matrices for the first weights of all layers (Saxe et al. 2014; Brock et al. 2019)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.orthogonal_(module.weight)


def _up(sizes: Sizes, widths: list[int]) -> list[nn.Module]:
    return [Activated(sizes, widths[0]), *(Up(sizes, before, after) for before, after in pairwise(widths))]


def _residual_up(sizes: Sizes, widths: list[int]) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    parts = iter(sizes.parts[1:])
    for before, after in pairwise(widths):
        blocks.append(ResidualUp(sizes, before, after, next(parts, 0), doubles=True))
        blocks += [ResidualUp(sizes, after, after, next(parts, 0), doubles=False) for _ in range(sizes.depth - 1)]
    return [*blocks, Activated(sizes, widths[-1])]


def _down(sizes: Sizes, widths: list[int], wrap: _Wrap) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise([sizes.channels, *widths]):
        layers += [wrap(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(SLOPE)]
        for _ in range(sizes.depth - 1):
            layers += [wrap(nn.Conv2d(after, after, 3, padding=1)), nn.LeakyReLU(SLOPE)]
    flat = wrap(nn.Linear(widths[-1] * BOTTOM**2, FEATURES))
    return [*layers, nn.Flatten(), flat, nn.LeakyReLU(SLOPE)]


def _residual_down(sizes: Sizes, widths: list[int], wrap: _Wrap) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for before, after in pairwise([sizes.channels, *widths]):
        blocks.append(ResidualDown(before, after, wrap, halves=True, first=not blocks))
        blocks += [ResidualDown(after, after, wrap, halves=False) for _ in range(sizes.depth - 1)]
    return [*blocks, RectifiedSum()]


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _as_it_is(module: nn.Module) -> nn.Module:
    return module
