"""Data before training, polish after generation, and media put together: plain functions over artifacts and datasets.

    prepare/   reading, cleaning, duplicates, splits, the data card, augmentation, labels
    finish/    texts, pictures, sounds and films after they were generated
    compose/   several media in one piece

It registers no backend: whatever needs a model takes one as an argument. Importing it loads neither numpy nor torch.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

__all__ = ["compose", "finish", "prepare"]


def __getattr__(name: str) -> Any:
    """The parts, imported when one of them is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.{name}")
