"""What a trainer has read of its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ReadOnce(Generic[T]):
    """Data as they were read, kept by the object that they were given as: an iterator would give nothing the second time."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Any, T]] = {}

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()

    def of(self, data: Any, read: Callable[[], T]) -> T:
        """What `read` gave for `data` the first time."""
        kept = self._found.get(id(data))
        if kept is None or kept[0] is not data:  # another object may have come where one was
            kept = self._found[id(data)] = (data, read())
        return kept[1]

    def first(self) -> T:
        """What was read first."""
        return next(iter(self._found.values()))[1]
