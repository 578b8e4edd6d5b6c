"""What the two players want: a loss of the critic and one of the generator, per pair of pictures.

`real` and `fake` are the critic's scores (n,) of real and of generated pictures, which have the same labels.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Loss = Literal["non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"]


def critic_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The critic wants high scores for real pictures and low ones for generated; (n,)."""
    match loss:
        case "non_saturating":  # Goodfellow et al. 2014
            return F.softplus(-real) + F.softplus(fake)
        case "least_squares":  # Mao et al. 2017
            return ((real - 1) ** 2 + fake**2) / 2
        case "hinge":  # Lim & Ye 2017
            return F.relu(1 - real) + F.relu(1 + fake)
        case "wasserstein":  # Arjovsky et al. 2017; the negative mean estimates the distance
            return fake - real
        case "relativistic":  # relativistic pairing: Jolicoeur-Martineau 2018, Huang et al. 2024
            return F.softplus(fake - real)


def generator_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The generator wants high scores for what it generates; (n,). `real` counts for pairs alone."""
    match loss:
        case "non_saturating":
            return F.softplus(-fake)
        case "least_squares":
            return (fake - 1) ** 2 / 2
        case "hinge" | "wasserstein":
            return -fake
        case "relativistic":
            return F.softplus(real - fake)
