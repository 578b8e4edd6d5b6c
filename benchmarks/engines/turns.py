"""Several sides measured in turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def alternated(calls: Mapping[str, Callable[[], Any]], turns: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """The seconds of every turn of every side, and what its first call, which is not measured, gave back."""
    given = {name: call() for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns):
        for name in list(calls) if turn % 2 == 0 else reversed(list(calls)):
            started = time.perf_counter()
            calls[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
    return seconds, given


def ratio(seconds: Mapping[str, list[float]], name: str, other: str) -> float:
    """How many times as fast as `other` one side was: the median of the turns' ratios."""
    pairs = zip(seconds[other], seconds[name], strict=True)
    return round(statistics.median(theirs / mine for theirs, mine in pairs), 3)
