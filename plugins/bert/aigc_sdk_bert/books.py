"""The sample text as passages that tell their kind of book: law, history, poetry, prophecy, gospel or letter.

The kinds are the shelves on which English tradition puts the books of the King James Bible, not a judgement of each
passage: Genesis, which tells stories, stands under law, and a psalm in a book of history is history here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aigc_sdk.training.corpus import sample_text

KINDS = ("law", "history", "poetry", "prophecy", "gospel", "letter")
LAST = {  # the last book of each shelf, in the order of the text; the shelves come in two rows
    "Deuteronomy": "law",
    "Esther": "history",
    "Song of Solomon": "poetry",
    "Malachi": "prophecy",
    "John": "gospel",
    "Acts": "history",
    "Jude": "letter",
    "Revelation": "prophecy",
}
UNSEEN = ("Numbers", "2 Kings", "Ecclesiastes", "Micah", "Luke", "Galatians")
"""One book of each kind of which neither training nor calibration sees a word."""
LENGTH = 280  # characters from which a passage is long enough
EVERY = 10  # of the chapters of every other book, those whose number ends in 0 are held out, those in 5 calibrate
_CHAPTER = re.compile(r"((?:[1-3] )?[A-Z][A-Za-z ]+?) (\d+)")
_VERSE = re.compile(r"^\d+ ")


@dataclass(frozen=True)
class Passage:
    """A few verses of one chapter."""

    text: str
    kind: str
    book: str
    chapter: int

    @property
    def part(self) -> str:
        """ "unseen": of an unseen book; "held-out": of a held-out chapter; "calibration"; "training"."""
        if self.book in UNSEEN:
            return "unseen"
        return {0: "held-out", 5: "calibration"}.get(self.chapter % EVERY, "training")


def passages() -> list[Passage]:
    """The whole sample text, in its order."""
    shelves = iter(LAST.items())
    last, kind = next(shelves)
    found: list[Passage] = []
    for book, chapter, verses in _chapters():
        if found and found[-1].book == last != book:
            last, kind = next(shelves)
        found += [Passage(text, kind, book, chapter) for text in _joined(verses)]
    return found


def of(part: str) -> list[tuple[str, str]]:
    """(text, kind) of every passage of a part."""
    return [(each.text, each.kind) for each in passages() if each.part == part]


def _chapters() -> Iterator[tuple[str, int, list[str]]]:
    name, number, verses = "", 0, list[str]()
    lines = sample_text().split("\n")
    for before, line in zip(["", *lines], lines, strict=False):
        heading = _CHAPTER.fullmatch(line) if not before else None
        if heading is not None:
            if verses:
                yield name, number, verses
            name, number, verses = heading.group(1), int(heading.group(2)), []
        elif _VERSE.match(line):
            verses.append(_VERSE.sub("", line).strip())
        elif line.strip() and verses:  # a verse that goes on
            verses[-1] += f" {line.strip()}"
    yield name, number, verses


def _joined(verses: list[str]) -> Iterator[str]:
    """Verses together until they are long enough; what is left at a chapter's end joins the last."""
    some: list[str] = []
    whole: list[str] = []
    for verse in verses:
        some.append(verse)
        if sum(map(len, some)) >= LENGTH:
            whole.append(" ".join(some))
            some = []
    if some and whole and sum(map(len, some)) < LENGTH // 2:
        whole[-1] += " " + " ".join(some)
    elif some:
        whole.append(" ".join(some))
    yield from whole
