"""What a run frees stays with the process while the run lasts.

Every update frees the memory of its gradients, and the next one asks for it again. Left to itself, glibc gives it back to
the system each time, which then clears page after page anew.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT = (2**31 - 1, 2**30)  # bytes that may lie free, and from which a block is one of its own
_USUAL = (2**26, 2**25)  # where glibc's own rule ends up once a program has freed blocks as large
_OTHERS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")  # somebody has decided already


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the process keep what it frees for as long as the block lasts; afterwards it is given back.

    Without effect where the C library is not glibc, or its thresholds are set in the environment.
    """
    library: Any = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(library, "malloc_trim") or any(name in os.environ for name in _OTHERS):
        yield
        return
    _set(library, *_KEPT)
    try:
        yield
    finally:
        _set(library, *_USUAL)
        library.malloc_trim(0)


def _set(library: Any, trim: int, mmap: int) -> None:
    library.mallopt(_TRIM_THRESHOLD, trim)
    library.mallopt(_MMAP_THRESHOLD, mmap)
