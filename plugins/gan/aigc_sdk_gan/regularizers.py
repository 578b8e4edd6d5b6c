"""What keeps the critic in bounds. Each is a function of the critic and of pictures, per picture (n,)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
import torch.distributed
from torch import Tensor, nn

Critic: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]
"""Pictures n x c x h x w, and their labels (n,) or None, to scores (n,)."""

LECAM_DECAY = 0.99  # of the average scores, as in the paper


def squared_gradient(critic: Critic, images: Tensor, labels: Tensor | None) -> Tensor:
    """The squared length of the score's gradient in the pixels: R1 of real pictures, R2 of generated ones; (n,).

    Mescheder et al. 2018; there it counts half, so that gamma there is twice the weight here.
    """
    return gradient(critic, images, labels).square().sum(1)


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
    """How far the gradient's length is from 1, squared, at random places between pairs; (n,). Gulrajani et al. 2017."""
    place = torch.rand(len(real), *(1 for _ in real.shape[1:]), device=real.device)
    length: Tensor = torch.linalg.vector_norm(gradient(critic, real.lerp(fake, place), labels), dim=1)
    return (length - 1).square()


def gradient(critic: Critic, images: Tensor, labels: Tensor | None) -> Tensor:
    """The gradient of each picture's score in its pixels, (n, pixels), through which one can differentiate again."""
    images = images.detach().requires_grad_()
    [found] = torch.autograd.grad(critic(images, labels).sum(), images, create_graph=True)
    return found.flatten(1)


class LeCam:
    """Scores are held near the average score of the other kind, which helps where data are few (Tseng et al. 2021)."""

    def __init__(self, device: str) -> None:
        self.averages = torch.zeros(2, device=device)  # of real and of generated pictures
        self.updates = 0

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty (n,) against the averages up to now; then these scores enter the averages."""
        scores = torch.stack([real.mean(), fake.mean()]).detach()
        if torch.distributed.is_initialized():  # all processes keep the same averages, those of the whole batch
            torch.distributed.all_reduce(scores)
            scores /= torch.distributed.get_world_size()
        self.updates += 1
        decay = min(LECAM_DECAY, 1 - 1 / self.updates)  # at first a plain mean, so that the start at 0 does not count
        if self.updates == 1:
            self.averages = scores
        penalty = (real - self.averages[1]).square() + (fake - self.averages[0]).square()
        self.averages = decay * self.averages + (1 - decay) * scores
        return penalty

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"averages": self.averages, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.averages.copy_(state["averages"])
        self.updates = int(state["updates"])


@torch.no_grad()
def clip_weights(critic: nn.Module, bound: float) -> None:
    """Bring every weight into [-bound, bound] (Arjovsky et al. 2017)."""
    weights: list[Tensor] = list(critic.parameters())
    torch._foreach_clamp_min_(weights, -bound)
    torch._foreach_clamp_max_(weights, bound)
