"""What a data set is, on one page: its fingerprint and its data card."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aigc_sdk import storage
from aigc_sdk.artifacts import Artifact, Audio, Image, Text, Video
from aigc_sdk.errors import DataError, MediaError, OptionError, printable, shown

from .duplicates import content_digest
from .items import Item, Journal, checked

EXAMPLES, VALUES = 3, 20  # that a card shows of each split, and of each fact
EXCERPT = 160  # characters of an example


class Fingerprinting:
    """The fingerprint of items that pass by: of their names, contents and facts, in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"aigc_sdk_process 1")

    def add(self, item: Item) -> None:
        """Take one item in. Raises DataError for facts that are nothing JSON can hold."""
        try:
            facts = json.dumps(dict(item.facts), sort_keys=True, default=_plain)
        except (TypeError, ValueError) as error:
            message = f"{printable(item.id)} has facts that JSON cannot hold ({error}); make them strings or numbers"
            raise DataError(message, field="items") from error
        for part in (item.id.encode("utf-8", "surrogatepass"), content_digest(item.artifact), facts.encode()):
            self._digest.update(len(part).to_bytes(8, "little") + part)

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def fingerprint(items: Iterable[Item]) -> str:
    """ "sha256:..." of the names, contents and facts of the items, in their order: equal for equal data alone."""
    found = Fingerprinting()
    for item in checked(items):
        found.add(item)
    return str(found)


def _plain(value: Any) -> str:
    """Dates, decimals and the like, as a table of Parquet holds them."""
    return f"{type(value).__name__}:{value}"


@dataclass
class Card:
    """A data card: what is in a data set, where from, under which licence, and what was done to it."""

    name: str
    about: str
    licence: str
    splits: dict[str, dict[str, Any]]
    """Of each split: kind, count, fingerprint, the spread of its sizes, the values of its facts, examples."""
    cleaning: dict[str, Any] = field(default_factory=dict)
    """What the journal counted."""
    leakage: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {key: value for key, value in vars(self).items() if value not in ({}, "")}

    def __str__(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the card as .md or .json, whole or not at all. Raises MediaError for another suffix, DiskError."""
        target = Path(path)
        if target.suffix not in (".md", ".json"):
            raise MediaError(f"{printable(str(target))}: a card is written as .md or .json")
        content = (
            str(self) if target.suffix == ".md" else json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        )
        storage.write_file(target, content.encode("utf-8", "backslashreplace"))
        return target

    def _lines(self) -> Iterator[str]:
        yield f"# {self.name}"
        yield from ("", self.about) if self.about else ()
        yield from ("", f"Licence: {self.licence}" if self.licence else "Licence: not stated")
        yield from (
            "",
            "| split | kind | items | size | smallest | median | largest | total |",
            "|---|---|---|---|---|---|---|---|",
        )
        for name, split in self.splits.items():
            sizes = " | ".join(f"{split['size'][key]:,g}" for key in ("smallest", "median", "largest", "total"))
            yield f"| {_cell(name)} | {split['kind']} | {split['count']:,} | {split['size']['unit']} | {sizes} |"
        for name, split in self.splits.items():
            yield from ("", f"## {name}", "", f"Fingerprint: `{split['fingerprint']}`")
            for fact, values in split["facts"].items():
                listed = ", ".join(f"{value} ({count:,})" for value, count in values["most common"].items())
                rest = f", and {values['others']:,} others" if values["others"] else ""
                yield from ("", f"`{fact}`: {_cell(listed)}{rest}")
            yield from ("", "| example | |", "|---|---|")
            yield from (f"| {_cell(each['id'])} | {_cell(each['shown'])} |" for each in split["examples"])
        if self.cleaning:
            yield from ("", "## Cleaning", "", f"{self.cleaning['dropped']:,} items were left out.")
            for title in ("reasons", "changes"):
                if self.cleaning[title]:
                    yield from ("", f"| {title} | items |", "|---|---|")
                    yield from (f"| {_cell(name)} | {count:,} |" for name, count in self.cleaning[title].items())
        if self.leakage:
            yield from (
                "",
                "## Leakage",
                "",
                f"{len(self.leakage['leaks']):,} items duplicate one of an earlier split.",
            )


def card(
    splits: Mapping[str, Iterable[Item]],
    *,
    name: str,
    about: str = "",
    licence: str = "",
    journal: Journal | None = None,
    leakage: Any = None,
) -> Card:
    """The card of a data set, in one pass over its splits.

    licence: of the whole; a fact "licence" of the items is counted by its values, as every fact is that has at most some
    thousand. journal, leakage: what was left out, and what `leakage` found. Raises DataError and OptionError.
    """
    if not isinstance(splits, Mapping) or not splits:
        raise DataError(f"splits is {shown(splits)}; give a dict such as {{'all': items}}", field="splits")
    if not isinstance(name, str) or not name.strip():
        raise OptionError(f"name={shown(name)}: give the data set's name", field="name")
    described = {str(split): _described(checked(items)) for split, items in splits.items()}
    cleaning = {} if journal is None else journal.to_dict()
    return Card(name, about, licence, described, cleaning, {} if leakage is None else leakage.to_dict())


FACT_LIMIT = 2000  # values of a fact that are counted; what has more is a name or a date, and says nothing in a table


def _described(items: Iterator[Item]) -> dict[str, Any]:
    found, sizes, kinds = Fingerprinting(), array("d"), Counter[str]()
    facts: dict[str, Counter[str]] = {}
    examples: list[dict[str, str]] = []
    for item in items:
        found.add(item)
        kinds[item.artifact.kind] += 1
        sizes.append(_size(item.artifact))
        if len(examples) < EXAMPLES:
            examples.append({"id": item.id, "shown": _shown(item.artifact)})
        for key, value in item.facts.items():
            if isinstance(value, str | int | bool) and len(counts := facts.setdefault(key, Counter())) <= FACT_LIMIT:
                counts[str(value)] += 1
    measured = np.frombuffer(sizes) if sizes else np.zeros(1)
    spread = {
        "smallest": measured.min(),
        "median": np.median(measured),
        "largest": measured.max(),
        "total": measured.sum(),
    }
    return {
        "kind": " and ".join(sorted(kinds)) or "none",
        "count": kinds.total(),
        "fingerprint": str(found),
        "size": {"unit": " or ".join(UNITS[kind] for kind in sorted(kinds)) or "none"}
        | {name: float(value) for name, value in spread.items()},
        "facts": {
            key: {"most common": dict(counts.most_common(VALUES)), "others": max(0, len(counts) - VALUES)}
            for key, counts in facts.items()
            if len(counts) <= FACT_LIMIT
        },
        "examples": examples,
    }


UNITS = {"text": "characters", "image": "pixels", "audio": "seconds", "video": "seconds"}


def _size(artifact: Artifact) -> float:
    if isinstance(artifact, Text):
        return len(artifact.text)
    if isinstance(artifact, Image):
        return float(np.prod(artifact.pixels.shape[:2]))
    assert isinstance(artifact, Audio | Video)
    return artifact.duration


def _shown(artifact: Artifact) -> str:
    if not isinstance(artifact, Text):
        return repr(artifact)
    return artifact.text if len(artifact.text) <= EXCERPT else artifact.text[: EXCERPT - 1] + "…"


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table: one line, nothing in it with a meaning."""
    escaped = printable(" ".join(text.split()), 1000)
    for char in "\\|<>`*_[]":
        escaped = escaped.replace(char, f"\\{char}")
    return escaped
