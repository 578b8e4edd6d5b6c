"""Which process of a distributed run this is; a run alone is process 0 of 1."""

from __future__ import annotations

import os
from typing import Any


def rank() -> int:
    """The number of this process, from 0 on, as `accelerate launch` and `torchrun` set it."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes checkpoints, log and progress."""
    return rank() == 0


def accelerator(device: str) -> Any:
    """accelerate's Accelerator for a distributed run; None for a run alone, which does not need one."""
    if world() == 1:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=device.startswith("cpu"))
