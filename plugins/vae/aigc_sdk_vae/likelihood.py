"""How probable pixels are, given what a decoder says of them.

Pixels are in [-1, 1], n x channels x height x width. A decoder's outputs have one number per pixel, its location, or,
where it predicts the scale too, two: n x 2 channels x height x width, locations first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gaussian import LOG_TWO_PI

HALF_LEVEL = 1 / 255  # half the distance between two neighbouring pixel values
GAIN = 10.0  # how much faster than a weight a shared scale is learnt: it has as far to go, from 1 to a few levels
LOWEST = -6.0  # of a log scale: half a level, below which there is nothing to tell apart


class Bernoulli(nn.Module):
    """A pixel is on with the probability that its output is the logit of.

    Grey pixels count as that part on: the result is then a cross-entropy, and no probability of those pixels.
    """

    per_pixel = 1

    def log_probability(self, outputs: Tensor, pixels: Tensor) -> Tensor:
        """log p of each picture, (n,)."""
        lost = F.binary_cross_entropy_with_logits(outputs, (pixels + 1) / 2, reduction="none")
        return -lost.flatten(1).sum(1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected pixels."""
        return 2 * torch.sigmoid(outputs) - 1


class Scaled(nn.Module):
    """What Gaussian and logistic share: a location, and a scale that is learnt for all pixels or predicted for each."""

    def __init__(self, *, predicted: bool) -> None:
        super().__init__()
        self.per_pixel = 2 if predicted else 1
        self.log_scale = None if predicted else nn.Parameter(torch.zeros(()))

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected pixels."""
        return outputs.chunk(self.per_pixel, 1)[0]

    def parts(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Locations and log scales."""
        location, *rest = outputs.chunk(self.per_pixel, 1)
        free = rest[0] if self.log_scale is None else GAIN * self.log_scale
        return location, LOWEST + F.softplus(free - LOWEST)  # `free` itself, but for a smooth floor


class GaussianPixels(Scaled):
    """The density of pixels as real numbers, with a learnt variance (Rybkin et al. 2021)."""

    def log_probability(self, outputs: Tensor, pixels: Tensor) -> Tensor:
        """log of the density of each picture, (n,)."""
        location, log_scale = self.parts(outputs)
        squared = (pixels - location).square() * torch.exp(-2 * log_scale)
        density = -0.5 * (LOG_TWO_PI + squared) - log_scale
        return density.flatten(1).sum(1)


class LogisticPixels(Scaled):
    """The probability of each of the 256 pixel values: a logistic distribution's mass around it (Salimans et al. 2017).

    With a and b the standardised ends of a value's interval, log(s(a) - s(b)) is log s(a) + log s(-b) + log(1 - exp(b - a)),
    of which no part loses digits. The lowest and the highest value take what lies beyond them.
    """

    def log_probability(self, outputs: Tensor, pixels: Tensor) -> Tensor:
        """log p of each picture, (n,)."""
        location, log_scale = self.parts(outputs)
        narrow = torch.exp(-log_scale)
        above = F.logsigmoid((pixels + HALF_LEVEL - location) * narrow)
        below = F.logsigmoid((location - pixels + HALF_LEVEL) * narrow)
        inside = torch.log(-torch.expm1(-2 * HALF_LEVEL * narrow)).expand_as(above)
        mass = torch.where(pixels < HALF_LEVEL - 1, above, above + below + inside)
        mass = torch.where(pixels > 1 - HALF_LEVEL, below, mass)
        return mass.flatten(1).sum(1)


PixelLikelihood = Bernoulli | GaussianPixels | LogisticPixels
