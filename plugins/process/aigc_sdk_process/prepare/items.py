"""What passes through the steps of a preparation: items, and the journal of what was left out and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from aigc_sdk import storage
from aigc_sdk.artifacts import KINDS, Artifact
from aigc_sdk.errors import DataError, OptionError, printable, shown
from aigc_sdk.progress import Bar
from aigc_sdk.protocols import Step


@dataclass(frozen=True)
class Item:
    """One thing of a data set: an artifact, a name that stays the same, and what else is known of it."""

    id: str
    artifact: Artifact
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Such as its label, author, date and licence: the other columns of its row."""


@dataclass(frozen=True)
class Drop:
    """An item that was left out."""

    id: str
    reason: str
    """In a few words, which are counted: "too short"."""
    detail: str = ""
    """What was found and what was wanted."""


class Journal:
    """Names every item that a preparation left out, and counts what it changed.

    path: a JSON Lines file for the drops, written as they come, so that memory stays bounded; None keeps them in `drops`.
    stop_at: reasons at which to raise DataError instead of going on, such as "corrupt"; True stops at any.

    A journal is whole once the last step has been read to its end. It is a context manager, which closes the file.
    """

    def __init__(self, path: str | Path | None = None, *, stop_at: Iterable[str] | bool = ()) -> None:
        if isinstance(stop_at, str) or not isinstance(stop_at, Iterable | bool):
            message = f"stop_at={shown(stop_at)}: give a list of reasons such as ['corrupt'], or True for any"
            raise OptionError(message, field="stop_at")
        self.path = None if path is None else Path(path)
        self.reasons: Counter[str] = Counter()
        """How many items were left out for each reason."""
        self.changes: Counter[str] = Counter()
        """How many items each kind of change was made to."""
        self._kept: list[Drop] = []
        self._stop_at = stop_at if isinstance(stop_at, bool) else frozenset(stop_at)
        self._file: TextIO | None = None
        if self.path is not None:
            with storage.disk_errors(self.path):
                self._file = self.path.open("w", encoding="utf-8")

    def drop(self, id: str, reason: str, detail: str = "") -> None:
        """Record that an item is left out; raises DataError where `stop_at` says so."""
        self.reasons[reason] += 1
        if self._file is None:
            self._kept.append(Drop(id, reason, detail))
        else:
            line = json.dumps({"id": id, "reason": reason, "detail": detail})
            with storage.disk_errors(self.path or Path()):
                self._file.write(line + "\n")
        if self._stop_at is True or (self._stop_at and reason in self._stop_at):
            about = f" ({detail})" if detail else ""
            raise DataError(f"{printable(id)} is left out: {reason}{about}; the journal stops at that", field="stop_at")

    def change(self, kind: str, count: int = 1) -> None:
        """Count a change that was made to an item that stays."""
        self.changes[kind] += count

    @property
    def drops(self) -> Iterator[Drop]:
        """Every item that was left out, in order."""
        if self._file is None and self.path is None:
            yield from self._kept
            return
        assert self.path is not None
        if self._file is not None and not self._file.closed:
            self._file.flush()
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield Drop(**json.loads(line))

    @property
    def dropped(self) -> int:
        """How many items were left out."""
        return self.reasons.total()

    def to_dict(self) -> dict[str, Any]:
        """The counts, as plain JSON values."""
        ordered = {name: dict(counts.most_common()) for name, counts in (("r", self.reasons), ("c", self.changes))}
        return {"dropped": self.dropped, "reasons": ordered["r"], "changes": ordered["c"]}

    def close(self) -> None:
        """Close the file, where there is one; `drops` can still be read."""
        if self._file is not None:
            with storage.disk_errors(self.path or Path()):
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __str__(self) -> str:
        lines = [f"{self.dropped:,} left out"]
        lines += [f"  {count:>9,}  {reason}" for reason, count in self.reasons.most_common()]
        lines += [f"  {count:>9,}  changed: {kind}" for kind, count in self.changes.most_common()]
        return "\n".join(lines)


def progress(items: Iterable[Item], label: str = "items", *, total: int | None = None) -> Iterator[Item]:
    """The same items, while a line on stderr tells how many there were, how fast they come, and how long it takes."""
    source = checked(items)

    def shown_items() -> Iterator[Item]:
        with Bar(label) as bar:
            for index, item in enumerate(source, 1):
                yield item
                bar(Step(index, total))

    return shown_items()


def checked(items: Any, kind: str | None = None, name: str = "items") -> Iterator[Item]:
    """Iterate over items, refusing what is none, and what is of another kind of artifact. Raises DataError."""
    if isinstance(items, str | bytes | Mapping | Artifact | Item) or not isinstance(items, Iterable):
        remedy = "give a list of items, or what prepare.read() yields"
        raise DataError(f"{name} is a {type(items).__name__}; {remedy}", field=name)

    def each() -> Iterator[Item]:
        for index, item in enumerate(items):
            if not isinstance(item, Item):
                message = f"{name}[{index}] is a {type(item).__name__}; give items: prepare.read() makes them"
                raise DataError(message, field=name)
            if kind is not None and item.artifact.kind != kind:
                message = (
                    f"{name}[{index}], {printable(item.id)}, is of kind {item.artifact.kind!r}; this is for {kind}"
                )
                raise DataError(f"{message}: read(..., kind={kind!r}) leaves out others", field=name)
            yield item

    return each()


def judged(
    items: Iterable[Item], journal: Any, kind: str, fault: Callable[[Any], tuple[str, str] | None]
) -> Iterator[Item]:
    """The items in whose artifacts `fault` finds none; the journal names the others with the reason and detail it gives."""
    noted, source = journal_of(journal), checked(items, kind)

    def each() -> Iterator[Item]:
        for item in source:
            found = fault(item.artifact)
            if found is None:
                yield item
            else:
                noted.drop(item.id, *found)

    return each()


def journal_of(journal: Any) -> Journal:
    """Refuse what is no journal."""
    if not isinstance(journal, Journal):
        message = f"journal is a {type(journal).__name__}; give a prepare.Journal, which names what is left out"
        raise OptionError(message, field="journal")
    return journal


def kind_of(kind: Any) -> str | None:
    """Refuse what is no kind of artifact."""
    if kind is not None and kind not in KINDS:
        raise OptionError(f"kind={shown(kind)}: use one of {', '.join(KINDS)}, or None for any", field="kind")
    return None if kind is None else str(kind)
