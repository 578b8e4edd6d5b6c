"""What trainers share: the order of data, the optimisation loop, averages, schedules, checkpoints, trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .average import Average
    from .images import Augmentation, Pictures, augmented, pictures, to_images, to_tensor
    from .loop import Loop, Precision
    from .schedules import schedule
    from .torch_trainer import TorchTrainer
    from .trackers import Tracker

__all__ = [
    "Augmentation",
    "Average",
    "Loop",
    "Pictures",
    "Precision",
    "TorchTrainer",
    "Tracker",
    "augmented",
    "pictures",
    "schedule",
    "to_images",
    "to_tensor",
]

_HOMES = {
    "Augmentation": "images",
    "Average": "average",
    "Loop": "loop",
    "Pictures": "images",
    "Precision": "loop",
    "TorchTrainer": "torch_trainer",
    "Tracker": "trackers",
    "augmented": "images",
    "pictures": "images",
    "schedule": "schedules",
    "to_images": "images",
    "to_tensor": "images",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: a trainer that does without torch is driven without torch."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
