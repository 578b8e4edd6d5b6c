"""The built-in set: handwritten digits that move straight on and bounce off the walls, and never cover each other.

A digit starts in one of eight directions, within 15 degrees, at 0.8 to 1.8 pixels per frame (of 32), and its first four
steps meet no wall. Clip i is a pure function of i, so nothing is stored but the digits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from aigc_sdk.training.images import pictures

from .architecture import ABSENT, DIRECTIONS
from .painting import paste

if TYPE_CHECKING:
    from numpy.typing import NDArray

SETS = ("digits", "digits/train", "digits/test")
CLIPS = 4096
SIDE = 14 / 32  # of a digit, as part of the frame's
SPEEDS = (0.8 / 32, 1.8 / 32)  # of the frame's side, per frame
SPREAD = 15.0  # degrees to both sides of a direction
STRAIGHT = 4  # steps without a wall
APART = 11 / 32  # between the middles of two digits at least, of the frame's side
TRIES = 512


class MovingDigits:
    """Clips of moving digits: `frames(clips, starts, length)` renders, `conditions(clips)` says what they show."""

    def __init__(self, part: str, *, size: int, length: int, objects: int = 1, background: bool = False) -> None:
        """part: one of SETS. length: frames of each clip. objects: digits in a clip, from 1 to as many."""
        self.side = round(size * SIDE)
        found = pictures(part, size=self.side, channels=1)
        self.digits = torch.from_numpy(found.pixels[..., 0]).float() / 255  # (n, side, side)
        self.labels = found.labels
        self.names = found.names
        self.size, self.length, self.objects, self.background = size, length, objects, background
        self._key = SETS.index(part)
        self._clip = lru_cache(maxsize=2 * CLIPS)(self._draw)

    def __len__(self) -> int:
        return CLIPS

    def conditions(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Label and direction of each digit, n x objects x 2; ABSENT where there are fewer."""
        found = np.full((len(clips), self.objects, 2), ABSENT, np.int64)
        for row, clip in enumerate(clips):
            digits, directions, _ = self._clip(int(clip))
            found[row, : len(digits), 0] = self.labels[digits]  # type: ignore[index]
            found[row, : len(digits), 1] = directions
        return found

    def frames(self, clips: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """`length` frames of each clip from its start on, n x length x size x size x 1."""
        shown = torch.zeros(len(clips) * length, 1, self.size, self.size)
        for each in range(self.objects):
            rows = [row for row, clip in enumerate(clips) if len(self._clip(int(clip))[0]) > each]
            if not rows:
                continue
            own = [self._clip(int(clips[row])) for row in rows]
            path = np.concatenate(
                [paths[each, starts[row] :][:length] for row, (_, _, paths) in zip(rows, own, strict=True)]
            )
            looks = self.digits[[digits[each] for digits, _, _ in own]].repeat_interleave(length, 0)[:, None]
            places = [row * length + frame for row in rows for frame in range(length)]
            painted = paste(looks, torch.from_numpy(path).float(), self.size)
            shown[places] = torch.maximum(shown[places], painted)
        if self.background:
            behind = np.stack([self._behind(int(clip)) for clip in clips]).repeat(length, 0)
            there = torch.from_numpy(behind)[:, None]
            shown = there + (1 - there) * shown
        pixels = (shown * 255).round().to(torch.uint8)
        return pixels.view(len(clips), length, self.size, self.size, 1).numpy()

    def _draw(self, clip: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Which digits, their directions, and their paths, count x length x 2, of the clip that has this number."""
        rng = np.random.Generator(np.random.Philox(key=[self._key, clip]))
        paths, directions = self._paths(rng, int(rng.integers(1, self.objects + 1)))
        return rng.integers(0, len(self.digits), len(paths)), directions, paths

    def _paths(self, rng: np.random.Generator, most: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Paths that keep apart: drawn many times, and of one digit fewer where none of them does."""
        for count in range(most, 0, -1):
            tries = 1 if count == 1 else TRIES
            directions = rng.integers(0, len(DIRECTIONS), (tries, count))
            angles = np.radians(45 * directions + rng.uniform(-SPREAD, SPREAD, (tries, count)))
            speeds = rng.uniform(*SPEEDS, (tries, count)) * self.size
            steps = np.stack([np.cos(angles), np.sin(angles)], -1) * speeds[..., None]  # (tries, count, 2)
            room = self.size - self.side
            low, high = np.maximum(0, -STRAIGHT * steps), room - np.maximum(0, STRAIGHT * steps)
            straight = rng.uniform(low, high)[:, :, None] + steps[:, :, None] * np.arange(self.length)[:, None]
            folded = np.abs((straight + room) % (2 * room) - room)  # what leaves the room comes back into it
            paths = folded + (self.side - 1) / 2  # (tries, count, length, 2)
            good = np.flatnonzero(apart(paths) >= APART * self.size)
            if len(good):
                return paths[good[0]], directions[good[0]]
        raise AssertionError("one digit is always apart from all others")

    def _behind(self, clip: int) -> NDArray[np.float32]:
        """A smooth dark pattern, the same for the whole clip, size x size."""
        rng = np.random.Generator(np.random.Philox(key=[self._key + len(SETS), clip]))
        places = np.stack(np.meshgrid(*[np.linspace(0, 1, self.size)] * 2, indexing="ij"))
        waves = np.tensordot(rng.uniform(-2, 2, (2, 2)), places, 1)  # (2, size, size)
        smooth = np.sin(2 * np.pi * (waves + rng.uniform(0, 1, (2, 1, 1)))).mean(0)
        found: NDArray[np.float32] = (rng.uniform(0.1, 0.3) * (1 + smooth)).astype(np.float32)
        return found


def apart(paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least distance of any two things in any frame, (n,), of paths n x count x time x 2; infinite for one thing."""
    count = paths.shape[1]
    if count == 1:
        return np.full(len(paths), np.inf)
    pairs = [(one, other) for one in range(count) for other in range(one)]
    distances = [np.linalg.norm(paths[:, one] - paths[:, other], axis=-1).min(-1) for one, other in pairs]
    return np.asarray(np.min(distances, axis=0))
