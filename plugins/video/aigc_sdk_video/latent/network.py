"""The two parts together, and clips of any length made window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from aigc_sdk_video.architecture import ABSENT, DIRECTIONS, FREE, Asked, Network, Sizes

from .frames import STRIDE, FrameAutoencoder
from .motion import MotionFlow


class LatentNetwork(Network):
    """A clip is made as a whole, `sizes.frames` at a time; a longer one goes on from the last quarter of what is there."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.frames = FrameAutoencoder(sizes.channels, sizes.latent)
        self.motion = MotionFlow(
            latent=sizes.latent,
            side=sizes.size // STRIDE,
            frames=sizes.frames,
            classes=sizes.classes,
            directions=len(DIRECTIONS),
            width=sizes.width,
            depth=sizes.depth,
        )

    @property
    def seen(self) -> int:
        """One frame: the next is too much like it to teach more."""
        return 1

    def encode(self, clips: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Every clip's latents, n x t x z x h x w, and its conditions as they are."""
        latents = self.frames.encode(clips.flatten(0, 1))
        return latents.view(*clips.shape[:2], *latents.shape[1:]), conditions

    def prepare(self, rows: Tensor) -> None:
        """Take the mean and the deviation of every channel."""
        channels = rows.movedim(2, 0).flatten(1)
        self.motion.mean.copy_(channels.mean(1)[:, None, None])
        self.motion.spread.copy_(channels.std(1).clamp(min=1e-3)[:, None, None])

    def sample(self, asked: Asked, rng: torch.Generator, on_step: Callable[[], None]) -> Iterator[Tensor]:
        """Frames window by window. What comes after the first window follows the frames before it, and no direction."""
        device = self.motion.mean.device
        conditions = torch.tensor(asked.objects, device=device)  # objects x 2
        first = self._beginning(asked.first)
        if asked.first is not None:
            yield asked.first
        made = 0 if asked.first is None else len(asked.first)
        while made < asked.num_frames:
            latents = self.motion.make(
                conditions, first, rng, steps=asked.steps, guidance=asked.guidance, on_step=on_step
            )
            with torch.no_grad():
                fresh = self.frames.decode(latents[len(first) :][: asked.num_frames - made]).clamp(-1, 1)
            yield fresh
            made += len(fresh)
            first = latents[-self._overlap :]
            conditions = conditions.clone()
            conditions[conditions[:, 1] != ABSENT, 1] = FREE  # a direction is that of a clip's beginning

    def count_steps(self, asked: Asked) -> int:
        """The sampler's steps of all windows."""
        given = 0 if asked.first is None else len(asked.first)
        missing = asked.num_frames - given - (self.sizes.frames - min(given, self.sizes.frames // 2))
        later = -(-max(0, missing) // (self.sizes.frames - self._overlap))
        return asked.steps * (1 + later)

    @property
    def _overlap(self) -> int:
        return self.sizes.frames // 4

    @torch.no_grad()
    def _beginning(self, given: Tensor | None) -> Tensor:
        """The latents of the last given frames, at most half a window of them."""
        if given is None:
            side = self.motion.side
            return torch.zeros(0, self.sizes.latent, side, side, device=self.motion.mean.device)
        return self.frames.encode(given[-(self.sizes.frames // 2) :])
