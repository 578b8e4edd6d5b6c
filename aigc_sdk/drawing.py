"""Pictures from latents, always as many at a time: another batch rounds otherwise, and no picture may depend on its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .artifacts import Image
from .training.images import to_images

GROUP_PIXELS = 8192  # pixels that are made together
GROUP_LIMIT = 64


def group_size(shape: Sequence[int]) -> int:
    """How many pictures of this shape (channels, height, width) are made together."""
    return max(1, min(GROUP_LIMIT, GROUP_PIXELS // (shape[1] * shape[2])))


def padded(some: Tensor, n: int) -> Tensor:
    """`some` filled up with zeros to n rows."""
    return torch.cat([some, some.new_zeros(n - len(some), *some.shape[1:])])


@torch.no_grad()
def drawn(
    decode: Callable[[Tensor, Tensor | None], Tensor],
    latents: Tensor,
    labels: Sequence[int | None],
    *,
    names: Sequence[str],
    told: bool,
    group: int,
    device: str,
) -> list[Image]:
    """A picture of each latent, with its label's name in `info["label"]`.

    decode: latents and labels on `device`, `group` of them, to pictures in [-1, 1], n x channels x height x width.
    latents: n x ..., on the CPU. labels: n, as indices into `names`. told: whether `decode` gets the labels.
    """
    pixels = []
    for start in range(0, len(latents), group):
        some = latents[start : start + group]
        its = torch.tensor(labels[start : start + group]) if told else None
        made = decode(padded(some, group).to(device), None if its is None else padded(its, group).to(device))
        pixels += to_images(made[: len(some)].cpu())
    infos = [{"label": names[each]} if names and each is not None else {} for each in labels]
    return [Image(each, info=info) for each, info in zip(pixels, infos, strict=True)]
