"""The sentences that the default voice learns from, and those that it is judged by.

They are made of templates and words of this package's own (`sentences/`), of clauses of the King James Bible, which
aigc_sdk brings, and of words drawn from the pronunciation lexicon. All are written as they are spoken, without figures.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

from aigc_sdk.training.corpus import sample_text, split

SLOT = re.compile(r"\{(\w+)\}")
LONGEST, SHORTEST = 16, 4  # words of a sentence from the Bible


def sentences(n: int, *, words: Sequence[str] = (), seed: int = 0) -> list[str]:
    """`n` different sentences in random order: half from templates, and one in eight of `words` where there are any."""
    rng = random.Random(seed)
    listed = n // 8 if words else 0
    made = _distinct(lambda: _filled(rng), n // 2) | _distinct(lambda: _listing(words, rng), listed)
    made |= set(rng.sample(_verses(), n - len(made)))
    kept = sorted(made - set(unseen()))
    rng.shuffle(kept)
    return kept


def unseen() -> dict[str, str]:
    """Sentences of mixed content that no voice learns from, each with the words that are to be heard."""
    rows = _read("unseen.tsv").splitlines()
    return dict(row.split("\t") for row in rows if row)


def _distinct(make: Callable[[], str], n: int) -> set[str]:
    found: set[str] = set()
    while len(found) < n:
        found.add(make())
    return found


def _filled(rng: random.Random) -> str:
    """One template with words in its slots."""
    filled = SLOT.sub(lambda slot: rng.choice(_words()[slot[1]]), rng.choice(_templates()))
    return re.sub(r"\b([aA]) (?=[aeiou])", r"\1n ", filled)


def _listing(words: Sequence[str], rng: random.Random) -> str:
    """Words of the lexicon after one another, some with a comma between."""
    chosen = rng.sample(words, rng.randint(3, 6))
    return (", " if rng.random() < 0.5 else " ").join(chosen).capitalize() + "."


@cache
def _verses() -> list[str]:
    """Sentences and clauses from the Bible that are neither too short nor too long to say in one breath or two."""
    training, _ = split(sample_text())
    pieces = re.split(r"(?<=[.!?;:])\s+", training.replace("LORD", "Lord").replace("GOD", "God"))
    fits = re.compile(r"[A-Za-z ,']+[.!?;:]")
    return sorted({each for each in pieces if fits.fullmatch(each) and SHORTEST <= len(each.split()) <= LONGEST})


@cache
def _templates() -> list[str]:
    """Every template, as often as its line says."""
    found = []
    for line in _lines("templates.txt"):
        times, _, template = line.partition("|")
        found += [template] * int(times)
    return found


@cache
def _words() -> dict[str, list[str]]:
    """The words for each slot."""
    found: dict[str, list[str]] = {}
    slot: list[str] = []
    for line in _lines("words.txt"):
        if line.startswith("["):
            slot = found.setdefault(line.strip("[]"), [])
        else:
            slot += line.split(", ")
    return found


def _lines(name: str) -> list[str]:
    return [line for line in _read(name).splitlines() if line and not line.startswith("#")]


def _read(name: str) -> str:
    return files(__package__).joinpath("sentences", name).read_text(encoding="utf-8")
