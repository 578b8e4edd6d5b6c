"""The pronunciation lexicon that comes with the package: CMUdict, stress kept (see data/NOTICE.md), and a few newer words.

`python -m aigc_sdk_tts.lexicon --source cmudict.dict --to data/cmudict.txt.xz` packs it again.
"""

from __future__ import annotations

import argparse
import functools
import lzma
import re
from pathlib import Path

from .phonemes import packed, unpacked

DATA = Path(__file__).parent / "data"
FILE = DATA / "cmudict.txt.xz"

_ENTRY = re.compile(r"([a-z']+)(?:\(\d\))? ([A-Z0-2 ]+?)(?: *#.*)?")


def pronunciations(word: str) -> list[tuple[str, ...]]:
    """Every pronunciation of a lower-case word, the usual one first; an empty list for a word that is not there."""
    if word in _additions():
        return [_additions()[word]]
    found = _entries().get(word)
    return [unpacked(each) for each in found.split("\t")] if found else []


def known(word: str) -> bool:
    return word in _entries() or word in _additions()


def words() -> list[str]:
    """Every word of CMUdict, in the alphabet's order."""
    return list(_entries())


@functools.cache
def _entries() -> dict[str, str]:
    text = lzma.decompress(FILE.read_bytes()).decode("ascii")
    return dict(line.split("\t", 1) for line in text.splitlines())


@functools.cache
def _additions() -> dict[str, tuple[str, ...]]:
    lines = (DATA / "additions.txt").read_text("ascii").splitlines()
    return {word: tuple(symbols) for word, *symbols in map(str.split, lines)}


def pack(source: Path, to: Path) -> int:
    """Write CMUdict's text file in the form that is read here; the number of words."""
    entries: dict[str, list[str]] = {}
    for line in source.read_text("utf-8").splitlines():
        if entry := _ENTRY.fullmatch(line):
            entries.setdefault(entry[1], []).append(packed(entry[2].split()))
    lines = ["\t".join([word, *dict.fromkeys(entries[word])]) for word in sorted(entries)]
    to.write_bytes(lzma.compress("\n".join(lines).encode("ascii"), preset=9 | lzma.PRESET_EXTREME))
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack CMUdict.")
    parser.add_argument("--source", type=Path, required=True, help="cmudict.dict")
    parser.add_argument("--to", type=Path, default=FILE)
    arguments = parser.parse_args()
    print(pack(arguments.source, arguments.to), "words")


if __name__ == "__main__":
    main()
