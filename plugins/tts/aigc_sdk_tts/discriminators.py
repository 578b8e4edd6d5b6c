"""Critics of sounds: they tell recordings from what a vocoder makes, each by another view of the waveform.

Multi-period critics after HiFi-GAN (Kong et al. 2020, https://arxiv.org/abs/2010.05646), critics of spectra at several
resolutions after UnivNet (Jang et al. 2021, https://arxiv.org/abs/2106.07889); the least-squares losses of both.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .features import windowed_stft

PERIODS = (2, 3, 5, 7, 11)
TRANSFORMS = ((512, 80, 400), (1024, 160, 800), (2048, 320, 1600))
SLOPE = 0.1

Verdict = tuple[Tensor, list[Tensor]]  # scores (n, k), and the features of every layer


class Critics(nn.Module):
    """All critics; width: channels of each one's first layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.periods = nn.ModuleList(_Period(each, width) for each in PERIODS)
        self.spectra = nn.ModuleList(_Spectrum(each, width) for each in TRANSFORMS)

    def forward(self, sound: Tensor) -> list[Verdict]:  # (n, t)
        return [each(sound) for each in (*self.periods, *self.spectra)]


class _Period(nn.Module):
    """Sees the samples in rows of `period`, so that a convolution along a column sees every so manieth."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = (1, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (3, 1), (2, 0))) for before, after in pairwise(widths)
        )
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, sound: Tensor) -> Verdict:
        short = -sound.shape[1] % self.period
        x = F.pad(sound[:, None], (0, short), mode="reflect").view(len(sound), 1, -1, self.period)
        return _judged(self, x)


class _Spectrum(nn.Module):
    """Sees the magnitudes of a spectrum at one resolution."""

    def __init__(self, transform: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.transform = transform
        widths = (1, width, width, width, width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (3, 9), (1, 2), (1, 4))) for before, after in pairwise(widths)
        )
        self.score = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, sound: Tensor) -> Verdict:
        fft, hop, window = self.transform
        x = windowed_stft(F.pad(sound, (fft // 2, fft // 2)), fft, hop, window).abs()
        return _judged(self, x.transpose(1, 2)[:, None])


def _judged(critic: _Period | _Spectrum, x: Tensor) -> Verdict:
    features = []
    for layer in critic.layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    return critic.score(x).flatten(1), features


def critics_loss(real: list[Verdict], made: list[Verdict]) -> Tensor:
    """What the critics are trained for: 1 for recordings and 0 for the rest; of each sound (n,)."""
    losses = [(1 - r).square().mean(1) + m.square().mean(1) for (r, _), (m, _) in zip(real, made, strict=True)]
    return torch.stack(losses).mean(0)


def deceiving_loss(made: list[Verdict]) -> Tensor:
    """What the vocoder is trained for: that the critics take its sounds for recordings; of each sound (n,)."""
    return torch.stack([(1 - scores).square().mean(1) for scores, _ in made]).mean(0)


def likeness_loss(real: list[Verdict], made: list[Verdict]) -> Tensor:
    """How far the features that critics see are apart; of each sound (n,)."""
    distances = [
        (first - second).abs().flatten(1).mean(1)
        for (_, firsts), (_, seconds) in zip(real, made, strict=True)
        for first, second in zip(firsts, seconds, strict=True)
    ]
    return torch.stack(distances).mean(0)
