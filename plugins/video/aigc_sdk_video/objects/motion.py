"""The second phase: flow matching (Lipman et al. 2023) over a thing's look and path together.

A state is [look, path]. Paths are taken apart into cosine waves and each wave is brought to the same spread, so that a
small relative error is small in slow and in quick movements alike: white noise over positions would drown the latter.
The network predicts the state itself, weighed as the velocity would be. It is shown the frames that are known already, if
any: so one network starts clips, goes on from a picture, and goes on from its own last frames.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_sdk_video.architecture import DIRECTIONS, FREE, Sizes

DROPPED = 0.1  # how often a condition is left out in training, for guidance (Ho & Salimans 2022)
UNKNOWN = 0.5  # how often no frame is known
LEAST = 0.05  # 1 - t, below which an error counts no more
NOISE = 4e-5  # variance of places that is of no meaning: a twentieth of a pixel of 32
TIMES = 32  # frequencies that tell the time


class Known(NamedTuple):
    """What is given of some things: looks m x latent, paths m x frames x 2 in [-1, 1], and how many frames, m."""

    looks: Tensor
    paths: Tensor
    frames: Tensor


class Motion(nn.Module):
    """A residual network whose layers time and conditions scale and shift (Peebles & Xie 2023)."""

    look_mean: Tensor
    look_spread: Tensor
    wave_mean: Tensor
    wave_spread: Tensor
    gains: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.size = sizes.latent + 2 * sizes.frames
        width = sizes.width
        self.enter = nn.Linear(2 * self.size + sizes.frames, width)
        self.label = nn.Embedding(sizes.classes + 1, width)
        self.direction = nn.Embedding(len(DIRECTIONS) + 1, width)
        self.time = nn.Linear(2 * TIMES, width)
        self.modulations = nn.Linear(width, 2 * width * sizes.depth)
        self.wide = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(sizes.depth))
        self.narrow = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(sizes.depth))
        self.leave = nn.Linear(width, self.size)
        for each in (self.modulations, self.leave):
            nn.init.zeros_(each.weight)
            nn.init.zeros_(each.bias)
        self.register_buffer("look_mean", torch.zeros(sizes.latent))
        self.register_buffer("look_spread", torch.ones(sizes.latent))
        self.register_buffer("wave_mean", torch.zeros(sizes.frames, 2))
        self.register_buffer("wave_spread", torch.ones(sizes.frames, 1))
        self.register_buffer("gains", torch.zeros(sizes.frames + 1, sizes.frames, sizes.frames))

    @property
    def waves(self) -> Tensor:
        """The cosine waves that paths are made of, frames x frames."""
        return _waves(self.sizes.frames, self.wave_mean.device)

    @torch.no_grad()
    def prepare(self, looks: Tensor, log_variances: Tensor, paths: Tensor) -> None:
        """Take over how looks, m x latent each, and paths m x frames x 2 are spread."""
        self.look_mean.copy_(looks.mean(0))
        self.look_spread.copy_((looks.var(0, correction=0) + log_variances.exp().mean(0)).sqrt())
        waves = self.waves @ paths
        self.wave_mean.copy_(waves.mean(0))
        self.gains.copy_(_gains(paths))
        self.wave_spread.copy_((waves - self.wave_mean).square().mean((0, 2)).sqrt()[:, None].clamp(min=1e-4))

    def state(self, looks: Tensor, paths: Tensor) -> Tensor:
        """What the flow works on, m x size."""
        waves = (self.waves @ paths - self.wave_mean) / self.wave_spread
        return torch.cat([(looks - self.look_mean) / self.look_spread, waves.flatten(1)], 1)

    def apart(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Looks and paths of states."""
        looks = states[:, : self.sizes.latent] * self.look_spread + self.look_mean
        waves = states[:, self.sizes.latent :].view(len(states), self.sizes.frames, 2)
        return looks, self.waves.T @ (waves * self.wave_spread + self.wave_mean)

    def forward(self, rows: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """The loss of rows m x (2 latent + 2 frames): means and log-variances of looks, paths; conditions m x 2."""
        n, latent = len(rows), self.sizes.latent
        mean, log_variance = rows[:, :latent], rows[:, latent : 2 * latent]
        paths = rows[:, 2 * latent :].view(n, -1, 2)
        looks = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        states = self.state(looks, paths)
        frames = torch.randint(1, self.sizes.frames, (n,), device=rows.device)
        frames = frames.masked_fill(torch.rand(n, device=rows.device) < UNKNOWN, 0)
        frames = frames.masked_fill((torch.rand(n, device=rows.device) < 0.25) & (frames > 0), 1)
        dropped = torch.rand(n, 2, device=rows.device) < DROPPED
        both = torch.rand(n, 1, device=rows.device) < DROPPED
        conditions = conditions.masked_fill(dropped | both, FREE)
        times = torch.sigmoid(torch.randn(n, device=rows.device))
        part = times[:, None]
        noisy = part * states + (1 - part) * torch.randn_like(states)
        known = Known(looks, paths, frames)
        guess = self.led(self.predict(noisy, self.shown(known), self.modulate(times, conditions)), known)
        error = (guess - states).square().mean(1)
        weighed = error / (1 - times).clamp(min=LEAST) ** 2
        return {"loss": weighed.mean(), "error": error.mean()}

    def shown(self, known: Known) -> Tensor:
        """What the network is shown of what is known, m x (size + frames)."""
        mask = self._mask(known)
        looks = (known.looks - self.look_mean) / self.look_spread * mask[:, :1]
        return torch.cat([looks, (known.paths * mask[:, :, None]).flatten(1), mask], 1)

    def led(self, states: Tensor, known: Known) -> Tensor:
        """Guessed states, with what is known put in; their paths give way as paths of the data vary together.

        The guess's error is taken for Gaussian with the covariance of the data's paths, and conditioned on the known frames:
        so what follows joins on to them in place and speed.
        """
        looks, paths = self.apart(states)
        mask = self._mask(known)[:, :, None]
        paths = paths + self.gains[known.frames] @ ((known.paths - paths) * mask)
        return self.state(torch.where(mask[:, 0] > 0, known.looks, looks), paths)

    def _mask(self, known: Known) -> Tensor:
        frames = torch.arange(self.sizes.frames, device=known.frames.device)
        return (frames < known.frames[:, None]).to(known.paths.dtype)

    def modulate(self, times: Tensor, conditions: Tensor) -> Tensor:
        """Scales and shifts of all layers, m x 2 width depth, of times (m,) and conditions m x 2."""
        angles = times[:, None] * _frequencies(times.device)
        label, direction = conditions.unbind(1)
        told = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        told = told + self.label(torch.where(label == FREE, self.sizes.classes, label))
        told = told + self.direction(torch.where(direction == FREE, len(DIRECTIONS), direction))
        found: Tensor = self.modulations(F.silu(told))
        return found

    def predict(self, noisy: Tensor, known: Tensor, modulations: Tensor) -> Tensor:
        """The states that noisy ones came from, m x size."""
        hidden = self.enter(torch.cat([noisy, known], 1))
        width = (self.sizes.width,)
        parts = modulations.chunk(2 * self.sizes.depth, 1)
        for wide, narrow, scale, shift in zip(self.wide, self.narrow, parts[::2], parts[1::2], strict=True):
            hidden = hidden + narrow(F.silu(wide(F.layer_norm(hidden, width) * (1 + scale) + shift)))
        found: Tensor = self.leave(F.layer_norm(hidden, width))
        return found


def _gains(paths: Tensor) -> Tensor:
    """For each number of known frames, how paths m x t x 2 follow what is known of them: (t + 1) x t x t."""
    t = paths.shape[1]
    around = (paths - paths.mean(0)).double().transpose(1, 2).reshape(-1, t)
    covariance = around.T @ around / len(around) + NOISE * torch.eye(t, dtype=torch.float64, device=paths.device)
    gains = covariance.new_zeros(t + 1, t, t)
    for known in range(1, t + 1):
        gains[known, :, :known] = torch.linalg.solve(covariance[:known, :known], covariance[:known]).T
    return gains.float()


@lru_cache
def _waves(n: int, device: torch.device) -> Tensor:
    """The orthonormal discrete cosine transform (DCT-II), a wave per row."""
    places = torch.arange(n, dtype=torch.float64)
    waves = torch.cos(math.pi / n * (places + 0.5) * places[:, None]) * math.sqrt(2 / n)
    waves[0] /= math.sqrt(2)
    return waves.float().to(device)


@lru_cache
def _frequencies(device: torch.device) -> Tensor:
    return torch.logspace(0, math.log10(200), TIMES, dtype=torch.float64).float().to(device)
