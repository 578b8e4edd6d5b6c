"""The flow over latents: a transformer that guesses a clip's latents from noisy ones, and makes them step by step.

A clip's latents x and noise e are mixed as t x + (1 - t) e; t runs from 0, all noise, to 1 (rectified flow, Liu et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_sdk_video.architecture import ABSENT

PATCH = 2  # side of the latents that make a token
TUBE = 4  # frames that make a token, at most
HEAD = 64  # features of an attention head, about
SHARED = 0.5  # part of the noise's variance that all frames have in common (Ge et al. 2023): motion is seen through it
EARLY = 4.0  # a clip's many numbers tell its motion through much noise, so most of the steps belong to small t (Esser et al. 2024)
HARDEST = 10.0  # the largest weight of a guess; without a limit the last, easiest steps would outweigh all others
DROPPED = 0.1  # of the conditions, all of them and each alone
KNOWN = 0.4  # of training clips, whose first frames are given
TIMES = 128  # features of t


class MotionFlow(nn.Module):
    """Guesses latents, t x z x h x w, from noisy ones in which the first frames may be known, and from conditions."""

    mean: Tensor
    spread: Tensor

    def __init__(
        self, *, latent: int, side: int, frames: int, classes: int, directions: int, width: int, depth: int
    ) -> None:
        """latent, side: channels and side of a frame's latents. width, depth: features and layers."""
        super().__init__()
        self.latent, self.side, self.frames, self.classes, self.directions = latent, side, frames, classes, directions
        self.tube = math.gcd(frames, TUBE)
        self.register_buffer("mean", torch.zeros(latent, 1, 1))
        self.register_buffer("spread", torch.ones(latent, 1, 1))
        volume = self.tube * PATCH * PATCH
        self.into = nn.Linear((latent + 1) * volume, width)  # one channel says which frames are known
        self.places = nn.Parameter(_places(frames // self.tube, side // PATCH, width))
        self.label = nn.Embedding(classes + 1, width)  # the last is "any"
        self.direction = nn.Embedding(directions + 1, width)
        self.thing = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(TIMES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, depth) for _ in range(depth))
        self.out = nn.Linear(width, latent * volume)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, rows: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Losses of latents n x t x z x h x w: how wrong they are guessed, and how wrong their change from frame to frame."""
        latents = self.standard(rows)
        count, device = len(rows), rows.device
        time = earlier(torch.sigmoid(torch.randn(count, device=device)))
        known = self._drawn_known(count, device)
        noise = self.noise(torch.randn_like(latents), torch.randn_like(latents[:, :1]))
        mixed = noise + _like(time, latents) * (latents - noise)
        seen = torch.where(known, latents, mixed)
        error = (self.guess(seen, known, time, _dropped(conditions)) - latents) * ~known
        weight = (1 - time).square().reciprocal().clamp(max=HARDEST)
        wrong = (weight * error.square().mean((1, 2, 3, 4))).mean()
        jumps = (weight * error.diff(dim=1).square().mean((1, 2, 3, 4))).mean()
        return {"loss": wrong + jumps, "wrong": wrong, "jumps": jumps}

    @torch.no_grad()
    def make(
        self,
        conditions: Tensor,
        first: Tensor,
        rng: torch.Generator,
        *,
        steps: int,
        guidance: float,
        on_step: Callable[[], None],
    ) -> Tensor:
        """The latents of one clip, t x z x h x w; first: k x z x h x w that it begins with, k may be 0."""
        device = first.device
        shape = (1, self.frames, self.latent, self.side, self.side)
        own, shared = torch.randn(shape, generator=rng), torch.randn(shape, generator=rng)[:, :1]
        mixed = self.noise(own.to(device), shared.to(device))
        begun = torch.zeros(shape, device=device)
        begun[0, : len(first)] = self.standard(first)
        known = (torch.arange(self.frames, device=device) < len(first)).view(1, -1, 1, 1, 1)
        asked = conditions[None] if guidance == 1 else torch.stack([conditions, _free(conditions)])
        for now, then in pairwise(earlier(torch.linspace(0, 1, steps + 1, device=device))):
            seen = torch.where(known, begun, mixed).expand(len(asked), *shape[1:])
            guesses = self.guess(seen, known.expand(len(asked), *known.shape[1:]), now, asked)
            guess = guesses[:1] if guidance == 1 else guesses[1:] + guidance * (guesses[:1] - guesses[1:])
            mixed = mixed + (then - now) / (1 - now) * (guess - mixed)
            on_step()
        return torch.where(known, begun, mixed)[0] * self.spread + self.mean

    def guess(self, seen: Tensor, known: Tensor, time: Tensor, conditions: Tensor) -> Tensor:
        """What standard latents noisy ones come from, n x t x z x h x w; known frames are seen without noise.

        known: n x t x 1 x 1 x 1. time: n, or one for all. conditions: n x objects x 2.
        """
        told = known.expand(-1, -1, 1, self.side, self.side).to(seen.dtype)
        tokens = self.into(self._tokens(torch.cat([seen, told], 2))) + self.places
        condition = F.silu(self.time(_waves(time.expand(len(seen)))) + self._things(conditions))
        for block in self.blocks:
            tokens = block(tokens, condition)
        return self._untokened(self.out(_normal(tokens)))

    def noise(self, own: Tensor, shared: Tensor) -> Tensor:
        """Normal noise of which a part is the same in all frames, of own n x t x ... and shared n x 1 x ..."""
        return math.sqrt(1 - SHARED) * own + math.sqrt(SHARED) * shared

    def standard(self, latents: Tensor) -> Tensor:
        """Latents with mean 0 and deviation 1 in every channel."""
        return (latents - self.mean) / self.spread

    def _things(self, conditions: Tensor) -> Tensor:
        """What is in a clip, n x width: the sum over its things, each a pair of label and direction."""
        there = (conditions[..., :1] != ABSENT).to(self.label.weight.dtype)
        labels, directions = conditions.unbind(-1)
        labels = torch.where(labels < 0, self.classes, labels)
        directions = torch.where(directions < 0, self.directions, directions)
        things = self.thing(torch.cat([self.label(labels), self.direction(directions)], -1))
        total: Tensor = (things * there).sum(1)
        return total

    def _drawn_known(self, count: int, device: torch.device) -> Tensor:
        """How many first frames are given: none, the first alone, or up to half, as what is known n x t x 1 x 1 x 1."""
        draw = torch.rand(count, 3, device=device)
        several = 1 + (draw[:, 2] * (self.frames // 2)).long()
        number = torch.where(draw[:, 0] < KNOWN, torch.where(draw[:, 1] < 0.4, 1, several), 0)
        return (torch.arange(self.frames, device=device) < number[:, None])[:, :, None, None, None]

    def _tokens(self, grids: Tensor) -> Tensor:
        """n x t x c x h x w to tokens, n x (times rows columns) x (tube c patch patch)."""
        count, _, channels, _, _ = grids.shape
        cells = self.side // PATCH
        parts = grids.view(count, -1, self.tube, channels, cells, PATCH, cells, PATCH)
        return parts.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(1, 3)

    def _untokened(self, tokens: Tensor) -> Tensor:
        cells = self.side // PATCH
        parts = tokens.view(len(tokens), -1, cells, cells, self.tube, self.latent, PATCH, PATCH)
        shape = (len(tokens), self.frames, self.latent, self.side, self.side)
        return parts.permute(0, 1, 4, 5, 2, 6, 3, 7).reshape(shape)


class Block(nn.Module):
    """Attention over space and time, then a layer for each token, both scaled and shifted by the condition.

    The gates begin open (DiT, Peebles & Xie 2023, begins with them closed): few steps are not enough to open them.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % heads == 0)
        self.queries = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        for last in (self.mixed, self.narrow):
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(depth))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            self.modulation.bias.view(6, width)[[2, 5]] = 1

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        scale, shift, gate, scale_2, shift_2, gate_2 = self.modulation(condition)[:, None].chunk(6, -1)
        tokens = tokens + gate * self._attend(_normal(tokens) * (1 + scale) + shift)
        inner = F.gelu(self.wide(_normal(tokens) * (1 + scale_2) + shift_2), approximate="tanh")
        changed: Tensor = tokens + gate_2 * self.narrow(inner)
        return changed

    def _attend(self, tokens: Tensor) -> Tensor:
        count, length, width = tokens.shape
        parts = self.queries(tokens).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each n x heads x length x features
        seen = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.mixed(seen.transpose(1, 2).reshape(count, length, width))
        return mixed


def earlier(time: Tensor) -> Tensor:
    """Times in [0, 1], nearer to 0, where noise is."""
    return time / (time + EARLY * (1 - time))


def _normal(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])


def _like(time: Tensor, latents: Tensor) -> Tensor:
    return time.view(-1, *[1] * (latents.ndim - 1))


def _waves(time: Tensor) -> Tensor:
    """Times in [0, 1], n, as sines and cosines of many frequencies, n x TIMES."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), TIMES // 2, device=time.device))
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def _places(times: int, cells: int, width: int) -> Tensor:
    """What tokens are told of their places at first, 1 x (times cells cells) x width: half time, a quarter each row, column."""
    quarter = width // 4
    row = _wave_table(cells, quarter)[None, :, None].expand(times, -1, cells, -1)
    column = _wave_table(cells, quarter)[None, None].expand(times, cells, -1, -1)
    time = _wave_table(times, width - 2 * quarter)[:, None, None].expand(-1, cells, cells, -1)
    return 0.5 * torch.cat([row, column, time], -1).flatten(0, 2)[None]


def _wave_table(length: int, features: int) -> Tensor:
    frequencies = math.pi / 2 * torch.exp(-math.log(30) * torch.arange((features + 1) // 2) / ((features + 1) // 2))
    angles = torch.arange(length)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :features]


def _free(conditions: Tensor) -> Tensor:
    """The conditions with nothing said about what is there."""
    return conditions.clamp(max=-1)


def _dropped(conditions: Tensor) -> Tensor:
    """Conditions of which some say nothing: sometimes all of a clip's, sometimes its labels or its directions."""
    count, _, _ = conditions.shape
    draw = torch.rand(count, 1, 3, device=conditions.device) < DROPPED
    silent = draw[..., :1] | draw[..., 1:]  # n x 1 x 2
    return torch.where(silent, _free(conditions), conditions)
