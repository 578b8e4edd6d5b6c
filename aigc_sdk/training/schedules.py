"""Learning-rate schedules: pure functions from the update (1, 2, ...) to a part of the highest rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Shape = Literal["constant", "linear", "cosine"]


def schedule(
    shape: Shape, max_steps: int, *, warmup_steps: int = 0, hold: float = 0.0, final: float = 0.0
) -> Callable[[int], float]:
    """A rise from 0 over `warmup_steps`, a level part, and a fall to `final` at `max_steps`.

    hold: the part of the run, from 0 to 1, before the rate starts to fall. shape: how it falls; "constant" does not.
    """
    level = max(warmup_steps, round(hold * max_steps))

    def rate(step: int) -> float:
        if step <= warmup_steps:
            return step / max(1, warmup_steps)
        if shape == "constant" or step <= level:
            return 1.0
        fallen = min(1.0, (step - level) / max(1, max_steps - level))
        left = 1 - fallen if shape == "linear" else (1 + math.cos(math.pi * fallen)) / 2
        return final + (1 - final) * left

    return rate
