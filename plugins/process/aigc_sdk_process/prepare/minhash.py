"""Near duplicates among texts: MinHash and locality-sensitive hashing, with every match verified, on disk beyond a little memory.

Two texts are alike as far as their sets of 5-character shingles are: the Jaccard index, shared over all. MinHash signatures
(Broder 1997), cut into bands (Leskovec, Rajaraman and Ullman, chapter 3), propose pairs; the index of the shingles decides.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import numpy as np

from aigc_sdk import storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHINGLE = 5  # characters
VALUES = 128  # of a signature, at most
RECALL = 0.99  # of pairs that are just alike enough, in theory
TOGETHER = 2048  # texts that are hashed at a time
SORTED = 1 << 22  # keys that are sorted at a time: some 100 MB with what sorting needs
WINDOW = 1 << 16  # texts whose pairs are looked at together
BEFORE = 3  # how many of those just before it in a bucket a text is compared with, besides the first
SEPARATORS = re.compile(r"[\W_]+")


class Match(NamedTuple):
    """Two texts that are alike, by their places."""

    later: int
    earlier: int
    similarity: float
    """The Jaccard index of their shingles; 1 for equal texts, and for those that differ in case and punctuation alone."""
    exact: bool


def bands(similarity: float) -> tuple[int, int]:
    """(bands, rows): the longest rows with which a pair that is just so alike shares a band with a probability of RECALL."""
    for rows in range(16, 0, -1):
        count = VALUES // rows
        if 1 - (1 - similarity**rows) ** count >= RECALL:
            return count, rows
    return VALUES, 1


def plain(text: str) -> str:
    """What of a text is compared: letters and digits in lower case, one space for whatever stands between them."""
    return SEPARATORS.sub(" ", text.lower()).strip() or text


def matches(
    texts: Iterable[str], similarity: float, folder: Path, *, near: bool = True, greedy: bool = True
) -> Iterator[Match]:
    """For every text that duplicates an earlier one, its match, in order; the texts are read to their end first.

    similarity: the least Jaccard index. near: False finds equal texts alone. greedy: match with texts that are no duplicates
    themselves, each text once, with the most alike; otherwise every pair that is found: of many equal ones, some.
    folder: an empty one for temporary files, some 200 bytes a text and four times its characters. Memory is some 10 bytes a
    text, and less than 200 MB besides. Raises DiskError.
    """
    count = _write(texts, similarity, folder, near)
    twins = np.zeros(count, bool)  # texts that are equal to an earlier one: with those, greedy needs no further look
    nobody = np.zeros(count, bool)
    with _Pairs(folder, count) as pairs:
        for earlier, later in _pairs(folder / "exact", count, nobody):
            twins[later] = True
            pairs.add(earlier, later)
        for number in range(bands(similarity)[0] if near else 0):
            for earlier, later in _pairs(folder / f"band-{number}", count, twins if greedy else nobody):
                pairs.add(earlier, later)
    stands_for = np.arange(count)  # what each text duplicates, or itself
    with _Written(folder, near) as written:
        for index, candidates in pairs.sorted():
            asked = sorted({int(stands_for[each]) for each in candidates}) if greedy else candidates
            found = written.alike(index, asked, similarity)
            if found and greedy:
                found = [max(found, key=lambda match: (match.exact, match.similarity))]
                stands_for[index] = found[0].earlier
            yield from found


def _write(texts: Iterable[str], similarity: float, folder: Path, near: bool) -> int:
    """The keys of every text, a file a band, and all shingles in one file; returns how many texts there are."""
    count_of, rows = bands(similarity)
    multipliers, offsets = _permutations(count_of * rows)
    total, written = 0, 0
    with ExitStack() as stack, storage.disk_errors(folder):
        files = [
            stack.enter_context((folder / f"band-{number}").open("wb")) for number in range(count_of if near else 0)
        ]
        exact, shingles, ends = (
            stack.enter_context((folder / name).open("wb")) for name in ("exact", "shingles", "ends")
        )
        for some in _batches(texts):
            digests = b"".join(hashlib.blake2b(_bytes(text), digest_size=8).digest() for text in some)
            exact.write(digests)
            total += len(some)
            if not near:
                continue
            hashes, starts = shingle_hashes(some)
            signatures = _signatures(hashes, starts, multipliers, offsets)  # (texts, values)
            for number, file in enumerate(files):
                file.write(_keys(signatures[:, number * rows : (number + 1) * rows]).tobytes())
            shingles.write(hashes.tobytes())
            stops = np.append(starts[1:], len(hashes)) + written
            ends.write(stops.astype(np.int64).tobytes())
            written += len(hashes)
    return total


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if len(some) == TOGETHER or size > 1 << 20:
            yield some
            some, size = [], 0
    if some:
        yield some


def shingle_hashes(texts: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """A hash of every shingle of every text, one text after the other, and where each text's begin."""
    # A text shorter than a shingle is filled up, so that each has one at least.
    padded = [plain(text).ljust(SHINGLE, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    rolling = np.zeros(len(codes) - SHINGLE + 1, np.uint64)
    for place in range(SHINGLE):
        rolling *= np.uint64(0x9E3779B97F4A7C15)
        rolling += codes[place : len(codes) - SHINGLE + 1 + place]
    hashed = _mixed(rolling)
    ends = np.cumsum(lengths)
    inside = np.ones(len(hashed), bool)
    for back in range(1, SHINGLE):  # windows that reach into the next text
        inside[ends[:-1] - back] = False
    counts = lengths - SHINGLE + 1
    return hashed[inside], np.cumsum(counts) - counts


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The finaliser of MurmurHash3, its upper half."""
    keys = (keys ^ (keys >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    keys = (keys ^ (keys >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return (keys >> np.uint64(32)).astype(np.uint32)


def _permutations(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    rng = np.random.Generator(np.random.Philox(key=[5, 97]))
    multipliers, offsets = rng.integers(2**32, size=(2, count), dtype=np.uint32)
    return multipliers | np.uint32(1), offsets


def _signatures(
    hashes: NDArray[np.uint32],
    starts: NDArray[np.int64],
    multipliers: NDArray[np.uint32],
    offsets: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """For each text and each permutation of the hashes the least one: (texts, values)."""
    found = np.empty((len(multipliers), len(starts)), np.uint32)
    turned = np.empty_like(hashes)
    for index, (multiplier, offset) in enumerate(zip(multipliers, offsets, strict=True)):
        np.multiply(hashes, multiplier, out=turned)
        np.add(turned, offset, out=turned)
        np.minimum.reduceat(turned, starts, out=found[index])
    return found.T


def _keys(values: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One key of 64 bits for the rows of a band: (texts, rows) to (texts,)."""
    keys = np.zeros(len(values), np.uint64)
    for column in values.T:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def _pairs(path: Path, count: int, skipped: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Texts with the same key, as pairs of an earlier and a later one: with the first, and with some just before."""
    parts = -(-count // SORTED)
    for part in range(parts):
        keys, places = _part(path, part, parts, skipped)
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], places[order]
        fresh = np.r_[True, keys[1:] != keys[:-1]] if len(keys) else np.zeros(0, bool)
        first = np.maximum.accumulate(np.where(fresh, np.arange(len(keys)), 0))  # where each bucket begins
        for back in range(1, BEFORE + 1):
            later = np.flatnonzero(np.arange(len(keys)) - back > first)
            yield places[later - back], places[later]
        later = np.flatnonzero(~fresh)
        yield places[first[later]], places[later]


def _part(
    path: Path, part: int, parts: int, skipped: NDArray[np.bool_]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The keys whose remainder by `parts` is `part`, and whose they are."""
    keys, places, start = [], [], 0
    with path.open("rb") as file:
        while len(some := np.fromfile(file, np.uint64, SORTED)):
            chosen = np.flatnonzero((some % np.uint64(parts) == part) & ~skipped[start : start + len(some)])
            keys.append(some[chosen])
            places.append(chosen + start)
            start += len(some)
    return np.concatenate(keys), np.concatenate(places)


class _Pairs:
    """Pairs of texts on disk, in at most PARTS files by the later one, so that sorting holds only one in memory."""

    PARTS = 64

    def __init__(self, folder: Path, count: int) -> None:
        self._window = max(WINDOW, -(-count // self.PARTS))
        self._paths = [folder / f"pairs-{number}" for number in range(-(-count // self._window))]
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        self._files = [path.open("wb") for path in self._paths]
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files:
            file.close()

    def add(self, earlier: NDArray[np.int64], later: NDArray[np.int64]) -> None:
        """Add pairs, as one number of 64 bits each, which sort by the later text."""
        packed = later.astype(np.uint64) << np.uint64(32) | earlier.astype(np.uint64)
        windows = later // self._window
        for window in np.unique(windows):
            with storage.disk_errors(self._paths[window]):
                self._files[window].write(packed[windows == window].tobytes())

    def sorted(self) -> Iterator[tuple[int, list[int]]]:
        """Each later text with its earlier ones, in order."""
        for path in self._paths:
            packed = np.unique(np.fromfile(path, np.uint64))
            later, earlier = packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)
            bounds = [0, *(np.flatnonzero(later[1:] != later[:-1]) + 1).tolist(), len(later)]
            for start, stop in pairwise(bounds if len(later) else ()):
                yield int(later[start]), earlier[start:stop].tolist()


class _Written:
    """The digests and the shingles of texts, read back from disk."""

    KEPT = 4096  # sets of shingles in memory

    def __init__(self, folder: Path, near: bool) -> None:
        self._folder, self._near = folder, near
        self._files: dict[str, BinaryIO] = {}
        self._sets = functools.lru_cache(self.KEPT)(self._set)

    def __enter__(self) -> Self:
        names = ("exact", "ends", "shingles") if self._near else ("exact",)
        self._files = {name: (self._folder / name).open("rb", buffering=0) for name in names}
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def alike(self, index: int, others: Iterable[int], similarity: float) -> list[Match]:
        """Those of `others` that text `index` duplicates."""
        found = []
        digest = self._read("exact", index, 1, np.uint64)[0]
        for other in others:
            if self._read("exact", other, 1, np.uint64)[0] == digest:
                found.append(Match(index, other, 1.0, True))
            elif self._near:
                one, two = self._sets(index), self._sets(other)
                if min(len(one), len(two)) < similarity * max(len(one), len(two)):
                    continue
                shared = len(np.intersect1d(one, two, assume_unique=True))
                measured = shared / (len(one) + len(two) - shared)
                if measured >= similarity:
                    found.append(Match(index, other, measured, False))
        return found

    def _set(self, index: int) -> NDArray[np.uint32]:
        start = self._read("ends", index - 1, 1, np.int64)[0] if index else 0
        stop = self._read("ends", index, 1, np.int64)[0]
        return np.unique(self._read("shingles", int(start), int(stop - start), np.uint32))

    def _read(self, name: str, start: int, count: int, dtype: type[np.generic]) -> NDArray[Any]:
        size = np.dtype(dtype).itemsize
        return np.frombuffer(os.pread(self._files[name].fileno(), count * size, start * size), dtype)
