"""The two parts together, and clips of any length made window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from aigc_sdk_video.architecture import ABSENT, DIRECTIONS, FREE, Asked, Network, Sizes

from .frames import MOTION, STRIDE, ClipAutoencoder
from .motion import MotionFlow


class LatentNetwork(Network):
    """A clip is made as a whole, `sizes.frames` at a time; a longer one goes on from the last quarter of what is there."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.frames = ClipAutoencoder(sizes.channels, sizes.latent)
        self.motion = MotionFlow(
            latent=sizes.latent,
            side=sizes.size // STRIDE,
            motion=MOTION * sizes.latent,
            frames=sizes.frames,
            classes=sizes.classes,
            directions=len(DIRECTIONS),
            width=sizes.width,
            depth=sizes.depth,
        )

    @property
    def seen(self) -> int:
        """All that is made at a time: what moves is followed from the first frame to the last."""
        return self.sizes.frames

    def encode(self, clips: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Every clip's latents and motions, n x numbers, and its conditions as they are."""
        looks, moves = self.frames.look(clips[:, 0]), self.frames.watch(clips)
        return torch.cat([looks.flatten(1), moves.flatten(1)], 1), conditions

    def prepare(self, rows: Tensor) -> None:
        """Take means and deviations."""
        self.motion.measure(rows)

    def sample(self, asked: Asked, rng: torch.Generator, on_step: Callable[[], None]) -> Iterator[Tensor]:
        """Frames window by window. What comes after the first window follows the frames before it, and no direction."""
        device = self.motion.mean.device
        conditions = torch.tensor(asked.objects, device=device)  # objects x 2
        made = 0
        before = None
        if asked.first is not None:
            yield asked.first
            made = len(asked.first)
            before = asked.first[-(self.sizes.frames // 2) :]
        while made < asked.num_frames:
            row = self.motion.make(
                conditions, self._begun(before), rng, steps=asked.steps, guidance=asked.guidance, on_step=on_step
            )
            window = self._shown(row)
            fresh = window[0 if before is None else len(before) :][: asked.num_frames - made]
            yield fresh
            made += len(fresh)
            before = window[-self._overlap :]
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
    def _begun(self, frames: Tensor | None) -> Tensor:
        """The numbers that a row of these frames begins with."""
        if frames is None:
            return self.motion.mean[:0]
        return torch.cat([self.frames.look(frames[:1]).flatten(), self.frames.watch(frames[None]).flatten()])

    @torch.no_grad()
    def _shown(self, row: Tensor) -> Tensor:
        """All frames of a row, t x c x h x w in [-1, 1]."""
        side = self.motion.side
        looks, moves = row[: self.motion.looks], row[self.motion.looks :]
        clip = self.frames.decode(looks.view(1, -1, side, side), moves.view(1, -1, self.motion.motion), self.sizes.size)
        return clip[0].clamp(-1, 1)
