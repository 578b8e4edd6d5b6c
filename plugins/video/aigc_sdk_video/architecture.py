"""What a small model is made of: the part that each kind writes for itself, and that model, trainer and recipe share.

A kind is a folder of this package, such as `objects`, whose `__init__` exposes one class, its `Network`. Frames are floats
in [-1, 1]; a clip is t x c x h x w, and a batch of clips n x t x c x h x w. Conditions are int64, n x objects x 2: the label
and the direction of each object of a clip, as indices, FREE where nobody says, and ABSENT in both where there is no object.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk.protocols import Options

FREE, ABSENT = -1, -2
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
"""Index i is i * 45 degrees from right towards down, as rows of pixels go."""

Architecture = Literal["objects", "latent"]


class Sizes(Options):
    """What a network is built by; a kind reads those that it has a use for."""

    architecture: Architecture = Field(
        "objects",
        description="objects: things that move, apart from what they look like; latent: any clip, by its first frame",
    )
    size: int = Field(32, ge=16, le=256, multiple_of=16, description="side of the frames, in pixels")
    channels: Literal[1, 3] = Field(1, description="1 for greys, 3 for colours")
    frames: int = Field(16, ge=4, le=64, description="frames that are made at a time; longer clips go on from the last")
    classes: int = Field(10, ge=0, le=10_000, description="labels of what is shown; 0: none")
    objects: int = Field(1, ge=1, le=4, description="most things that move in a training clip (objects)")
    background: bool = Field(False, description="whether there is something behind them; False: black (objects)")
    walls: bool = Field(False, description="whether nothing ever leaves the frame, as moving digits do not (objects)")
    latent: int = Field(16, ge=1, le=256, description="numbers for a look (objects), channels of latents (latent)")
    width: int = Field(256, ge=8, le=4096, description="features in a layer of the part that makes motion")
    depth: int = Field(4, ge=1, le=64, description="its layers")


@dataclass(frozen=True)
class Asked:
    """What one clip is to be."""

    objects: tuple[tuple[int, int], ...]
    """The label and the direction of each thing, or FREE; at least one."""
    num_frames: int
    steps: int
    """Steps of the sampler, for each window of `Sizes.frames` frames."""
    guidance: float
    """1 follows the conditions as they were learned; more follows them more closely, and varies less."""
    first: Tensor | None = None
    """The frames that the clip begins with, k x c x h x w on the network's device, k < num_frames; None for none."""


class Network(nn.Module, ABC):
    """The base of all kinds. `__init__` takes Sizes alone, and must work under `torch.device("meta")`.

    `phases` names the submodules that are trained, one after the other. The first phase's `forward(clips, conditions)`
    and the others' `forward(rows, conditions)` return losses by name, "loss" among them, each a mean over the batch. They
    may draw from torch's global random state, which the training loop seeds for every step.
    """

    phases: ClassVar[tuple[str, ...]] = ("frames", "motion")
    sizes: Sizes

    @property
    def seen(self) -> int:
        """Consecutive frames of each clip that the first phase sees at a time."""
        return 2

    @abstractmethod
    def encode(self, clips: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Clips as the later phases train on them: rows m x ..., and as many conditions, m x k x 2.

        Called for all data, some clips at a time, without gradients, when the first phase is over.
        """

    @abstractmethod
    def prepare(self, rows: Tensor) -> None:
        """Called once with all rows before the later phases begin: take what statistics are needed into buffers."""

    @abstractmethod
    def sample(self, asked: Asked, rng: torch.Generator, on_step: Callable[[], None]) -> Iterator[Tensor]:
        """Make one clip: yield its frames in order, k x c x h x w at a time, `num_frames` in all, the first ones included.

        All randomness comes from `rng`, which is on the CPU. `on_step` is called after each of the sampler's steps,
        `count_steps(asked)` times in all. Work is done under `torch.no_grad()`, never across a `yield`.
        """

    @abstractmethod
    def count_steps(self, asked: Asked) -> int:
        """How often `sample` calls `on_step`."""


def network_class(architecture: str) -> type[Network]:
    """The Network of a kind."""
    found: type[Network] = importlib.import_module(f".{architecture}", __package__).Network
    return found
