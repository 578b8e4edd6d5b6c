"""Duplicates: left out of a data set, or found between its splits, which is leakage."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

from aigc_sdk import storage
from aigc_sdk.artifacts import Artifact, Text
from aigc_sdk.errors import DataError, OptionError, printable, shown

from .items import Item, Journal, checked, journal_of
from .minhash import Match, matches
from .prints import FilmPrints, PicturePrints, Prints, SoundPrints, comparable

SIMILARITY = {"text": 0.8, "image": 0.9, "video": 0.9, "audio": 0.75}
"""From which similarity on two things are duplicates: the Jaccard index of texts, the share of equal bits of fingerprints."""


def deduplicate(
    items: Iterable[Item],
    journal: Journal,
    *,
    near: bool = True,
    similarity: float | None = None,
    folder: str | Path | None = None,
) -> Iterator[Item]:
    """The items without those that duplicate an earlier one that stays; the journal names which.

    Texts (see `minhash`): all are read before the first comes out, and wait on disk; memory is some 10 bytes a text and less
    than 200 MB. Their facts must be plain JSON values. Pictures, films and sounds come out at once; their fingerprints
    stay in memory: 200 bytes a picture, 320 a film, 1.4 kB a second of sound.
    near: False leaves out equal ones alone. similarity: from 0.3 to 1; None is that of SIMILARITY. folder: where temporary
    files of texts go, None for the system's place. The reasons are "duplicate" and "near duplicate".
    Raises DataError for items of several kinds, OptionError, DiskError.
    """
    noted, asked = journal_of(journal), _similarity(similarity)
    place = _folder(folder)
    first, source = _peeked(checked(items))
    if first is None:
        return iter(())
    kind = first.artifact.kind
    alike = SIMILARITY[kind] if asked is None else asked
    checked_source = checked(source, kind)
    if kind == "text":
        return _texts(checked_source, noted, near, alike, place)
    return _media(checked_source, noted, near, alike, kind)


@dataclass(frozen=True)
class Leak:
    """An item of one split that duplicates an item of another, which was given before it."""

    id: str
    split: str
    of: str
    of_split: str
    similarity: float
    exact: bool


@dataclass(frozen=True)
class Leakage:
    """What splits have in common; each item is named once for every other split that holds something alike."""

    leaks: tuple[Leak, ...]
    sizes: Mapping[str, int]
    """How many items each split has."""
    within: Mapping[str, int] = field(default_factory=dict)
    """How many items of each split duplicate an earlier one of the same."""

    def ids(self, split: str) -> frozenset[str]:
        """The items of a split that are in an earlier one too. Raises OptionError for a split that there is not."""
        if split not in self.sizes:
            raise OptionError(f"split={shown(split)}: the splits are {', '.join(self.sizes)}", field="split")
        return frozenset(leak.id for leak in self.leaks if leak.split == split)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        leaks = [{**vars(leak)} for leak in self.leaks]
        return {"sizes": dict(self.sizes), "within": dict(self.within), "leaks": leaks}

    def __str__(self) -> str:
        counts = Counter((leak.split, leak.of_split) for leak in self.leaks)
        lines = [f"{count:,} of {self.sizes[one]:,} in {one} are in {two} too" for (one, two), count in counts.items()]
        lines += [f"{count:,} of {self.sizes[name]:,} in {name} are there twice" for name, count in self.within.items()]
        return "\n".join(lines) or "no split holds anything of another, or anything twice"


def leakage(
    splits: Mapping[str, Iterable[Item]],
    *,
    near: bool = True,
    similarity: float | None = None,
    folder: str | Path | None = None,
) -> Leakage:
    """Which items of later splits duplicate items of earlier ones: give the training split first.

    The arguments are those of `deduplicate`. Raises DataError, OptionError and DiskError.
    """
    if not isinstance(splits, Mapping) or not splits or not all(isinstance(name, str) for name in splits):
        message = f"splits is {shown(splits)}; give a dict such as {{'train': items, 'test': items}}"
        raise DataError(message, field="splits")
    asked, place = _similarity(similarity), _folder(folder)
    sources = {name: checked(items, name=f"splits[{name!r}]") for name, items in splits.items()}
    sizes: Counter[str] = Counter(dict.fromkeys(sources, 0))

    def owned() -> Iterator[tuple[str, Item]]:
        for name, items in sources.items():
            for item in items:
                sizes[name] += 1
                yield name, item

    with _temporary(place) as temporary, _Waiting(temporary) as waiting:

        def artifacts() -> Iterator[tuple[str, Artifact]]:
            kind = None
            for name, item in owned():
                kind = kind or item.artifact.kind
                if item.artifact.kind != kind:
                    message = f"{printable(item.id)} is of kind {item.artifact.kind!r}, others are of kind {kind!r}"
                    raise DataError(f"splits: {message}; compare each kind by itself", field="splits")
                waiting.add([name, item.id])
                yield name, item.artifact

        found = list(_all_matches(artifacts(), asked, near, temporary))
        owners = {place: waiting.row(place) for match in found for place in (match.later, match.earlier)}
    return _leakage(found, owners, sizes)


def _all_matches(
    artifacts: Iterator[tuple[str, Artifact]], asked: float | None, near: bool, folder: Path
) -> Iterator[Match]:
    """Pairs that are alike, among them for each artifact one at least of every split that holds something alike."""
    first = next(artifacts, None)
    if first is None:
        return iter(())
    kind = first[1].kind
    alike, every = SIMILARITY[kind] if asked is None else asked, chain([first], artifacts)
    if kind == "text":
        texts = (each.text for _, each in every if isinstance(each, Text))
        return matches(texts, alike, folder, near=near, greedy=False)
    return _media_matches(every, near, alike, kind)


def _media_matches(
    artifacts: Iterable[tuple[str, Artifact]], near: bool, similarity: float, kind: str
) -> Iterator[Match]:
    finders: dict[str, tuple[_Finder, list[int]]] = {}  # of each split, with the places of what was added to it
    for place, (name, artifact) in enumerate(artifacts):
        own, places = finders.setdefault(name, (_Finder(near, similarity, kind), []))
        for finder, others in finders.values():
            found = finder.find(artifact)
            if found is not None:
                yield Match(place, others[found[0]], found[1], found[2])
        own.add()
        places.append(place)


def _leakage(found: list[Match], owners: Mapping[int, list[str]], sizes: Mapping[str, int]) -> Leakage:
    best: dict[tuple[int, str], Match] = {}  # by the later item and the split of the earlier one
    for match in found:
        key = match.later, owners[match.earlier][0]
        if key not in best or match.similarity > best[key].similarity:
            best[key] = match
    leaks, within = [], Counter[str]()
    for (later, other), match in best.items():
        split, id = owners[later]
        if split == other:
            within[split] += 1
        else:
            leaks.append(Leak(id, split, owners[match.earlier][1], other, match.similarity, match.exact))
    return Leakage(tuple(leaks), dict(sizes), dict(within))


def without_leaks(items: Iterable[Item], split: str, found: Leakage, journal: Journal) -> Iterator[Item]:
    """The items of a split without those that an earlier one holds too; the reason is "leak"."""
    if not isinstance(found, Leakage):
        raise OptionError(f"found is a {type(found).__name__}; give what prepare.leakage() returned", field="found")
    leaked, noted, source = found.ids(split), journal_of(journal), checked(items)

    def kept() -> Iterator[Item]:
        of = {leak.id: leak for leak in found.leaks if leak.split == split}
        for item in source:
            if item.id in leaked:
                noted.drop(item.id, "leak", f"it is {of[item.id].of} of {of[item.id].of_split}")
            else:
                yield item

    return kept()


def _texts(
    items: Iterator[Item], journal: Journal, near: bool, similarity: float, place: Path | None
) -> Iterator[Item]:
    with _temporary(place) as folder, _Waiting(folder) as waiting:

        def texts() -> Iterator[str]:
            for item in items:
                assert isinstance(item.artifact, Text)
                waiting.add(_row(item, item.artifact))
                yield item.artifact.text

        found = matches(texts(), similarity, folder, near=near)
        match = next(found, None)
        for index, row in enumerate(waiting.rows()):
            if match is None or match.later != index:
                yield _item(row)
                continue
            reason = "duplicate" if match.exact else "near duplicate"
            of = waiting.row(match.earlier)[0]
            journal.drop(row[0], reason, f"of {of}, alike by {match.similarity:.3f}")
            match = next(found, None)


def _row(item: Item, text: Text) -> list[Any]:
    return [item.id, text.text, dict(item.facts), dict(text.info), dict(text.origin), text.sample]


def _item(row: list[Any]) -> Item:
    id, text, facts, info, origin, sample = row
    return Item(id, Text(text, info=info, origin=origin, sample=sample), facts)


def _media(items: Iterator[Item], journal: Journal, near: bool, similarity: float, kind: str) -> Iterator[Item]:
    finder, ids = _Finder(near, similarity, kind), list[str]()
    for item in items:
        found = finder.find(item.artifact)
        if found is None:
            finder.add()
            ids.append(item.id)
            yield item
        else:
            earlier, alike, exact = found
            reason = "duplicate" if exact else "near duplicate"
            journal.drop(item.id, reason, f"of {ids[earlier]}, alike by {alike:.3f}")


class _Finder:
    """Artifacts of one kind that were added, found again by their content or their fingerprint."""

    def __init__(self, near: bool, similarity: float, kind: str) -> None:
        makers: dict[str, Callable[[float], Prints]] = {
            "image": PicturePrints,
            "video": FilmPrints,
            "audio": SoundPrints,
        }
        self._prints: Prints | None = makers[kind](similarity) if near else None
        self._printed: list[int] = []  # by the place of a fingerprint, that of its artifact
        self._digests: dict[bytes, int] = {}
        self._count = 0
        self._asked: tuple[bytes, bool] = (b"", False)

    def find(self, artifact: Artifact) -> tuple[int, float, bool] | None:
        """(place, similarity, exact) of the one that is most alike."""
        digest = content_digest(artifact)
        self._asked = digest, self._prints is not None and comparable(artifact)
        found = self._prints.find(artifact) if self._prints is not None and self._asked[1] else None
        if digest in self._digests:
            return self._digests[digest], 1.0, True
        return None if found is None else (self._printed[found[0]], found[1], False)

    def add(self) -> None:
        """Add the artifact that was asked for last."""
        digest, printed = self._asked
        self._digests.setdefault(digest, self._count)
        if self._prints is not None and printed:
            self._prints.add()
            self._printed.append(self._count)
        self._count += 1


def content_digest(artifact: Artifact) -> bytes:
    """16 bytes that tell an artifact's content, of whatever kind, from every other."""
    digest = hashlib.blake2b(artifact.kind.encode(), digest_size=16)
    for part in _parts(artifact):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _parts(artifact: Artifact) -> Iterator[bytes]:
    for part in artifact._content():
        if isinstance(part, Artifact):
            yield content_digest(part)
        elif isinstance(part, str):
            yield part.encode("utf-8", "surrogatepass")
        else:
            yield part if isinstance(part, bytes) else repr(part).encode()


class _Waiting:
    """Rows on disk, read back in order or one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._rows = (self._folder / "rows").open("w+b")
        self._places = (self._folder / "places").open("w+b")
        return self

    def __exit__(self, *error: object) -> None:
        self._rows.close()
        self._places.close()

    def add(self, row: list[Any]) -> None:
        try:
            line = json.dumps(row).encode() + b"\n"
        except (TypeError, ValueError) as error:
            message = f"{printable(row[0])} has facts that JSON cannot hold ({error}); make them strings or numbers"
            raise DataError(message, field="items") from error
        with storage.disk_errors(self._folder):
            self._places.write(self._rows.tell().to_bytes(8, "little"))
            self._rows.write(line)

    def row(self, index: int) -> list[Any]:
        self._flush()
        place = int.from_bytes(os.pread(self._places.fileno(), 8, 8 * index), "little")
        line, size = b"", 4096
        while b"\n" not in line:
            line, size = os.pread(self._rows.fileno(), size, place), 4 * size
        found: list[Any] = json.loads(line[: line.index(b"\n")])
        return found

    def rows(self) -> Iterator[list[Any]]:
        self._flush()
        with (self._folder / "rows").open("rb") as file:
            yield from map(json.loads, file)

    def _flush(self) -> None:
        with storage.disk_errors(self._folder):
            self._rows.flush()
            self._places.flush()


@contextmanager
def _temporary(place: Path | None) -> Iterator[Path]:
    try:
        made = tempfile.TemporaryDirectory(prefix="aigc-", dir=place)
    except OSError as error:
        raise storage.disk_error(place or Path(tempfile.gettempdir()), error) from error
    with made as folder:
        yield Path(folder)


def _peeked(items: Iterator[Item]) -> tuple[Item | None, Iterator[Item]]:
    first = next(items, None)
    return first, items if first is None else chain([first], items)


def _similarity(similarity: Any) -> float | None:
    if similarity is None:
        return None
    if isinstance(similarity, bool) or not isinstance(similarity, int | float) or not 0.3 <= similarity <= 1:
        raise OptionError(f"similarity={shown(similarity)}: give a number from 0.3 to 1, or None", field="similarity")
    return float(similarity)


def _folder(folder: Any) -> Path | None:
    if folder is None:
        return None
    if not isinstance(folder, str | Path) or not Path(folder).is_dir():
        raise OptionError(f"folder={shown(folder)}: give a folder that exists, or None", field="folder")
    return Path(folder)
