"""What trainers share: the order of data, the optimisation loop, averages, schedules, checkpoints, trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .average import Average
    from .loop import Loop, Precision
    from .schedules import schedule
    from .torch_trainer import TorchTrainer
    from .trackers import Tracker

__all__ = ["Average", "Loop", "Precision", "TorchTrainer", "Tracker", "schedule"]

_HOMES = {
    "Average": "average",
    "Loop": "loop",
    "Precision": "loop",
    "TorchTrainer": "torch_trainer",
    "Tracker": "trackers",
    "schedule": "schedules",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: a trainer that does without torch is driven without torch."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
