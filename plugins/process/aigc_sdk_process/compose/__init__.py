"""Several media in one piece: what was made from what, made again, kept, and chosen.

parts.py    what an artifact was put together from, in its origin
record.py   `recorded`: functions whose results remember the call
again.py    `replay`: a composed file made again from what it carries
cache.py    `Cache`: intermediate results kept by their origin, so that a rerun makes only what changed
choice.py   `ranked` and `pick`: what a judge likes best
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .again import replay
    from .cache import Cache, generate
    from .choice import Judged, pick, ranked
    from .parts import digest
    from .record import recorded

_WHERE = {
    "Cache": "cache",
    "Judged": "choice",
    "digest": "parts",
    "generate": "cache",
    "pick": "choice",
    "ranked": "choice",
    "recorded": "record",
    "replay": "again",
}

__all__ = ["Cache", "Judged", "digest", "generate", "pick", "ranked", "recorded", "replay"]


def __getattr__(name: str) -> Any:
    """The public names, imported when one of them is first asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
