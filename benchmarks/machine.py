"""What the benchmarks share: on which machine a figure was measured."""

from __future__ import annotations

import contextlib
import platform


def processor() -> str:
    """The processor's name, where the system tells it."""
    return _told("model name") or platform.processor() or platform.machine()


def flags() -> frozenset[str]:
    """What the processor can do, in the system's words: "avx2" say; nothing where the system does not tell."""
    return frozenset(_told("flags").split())


def _told(what: str) -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(what):
                return line.split(":", 1)[1].strip()
    return ""
