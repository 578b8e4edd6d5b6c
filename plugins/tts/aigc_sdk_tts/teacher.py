"""The teacher of the default voice: flite, a small synthesiser whose licence lets one use what it says.

Flite (CMU; `apt install flite`) prints when each phone ends, so that its speech needs no aligner.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aigc_sdk.errors import MissingDependency

from .phonemes import SYMBOLS, is_vowel
from .recordings import Row
from .tokens import PAUSE
from .wav import read_wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .front import Clause

VOICE = "rms"
SAMPLE_RATE = 16000
SCHWA = "ax"  # the one phone that flite has and ARPAbet with stress writes otherwise: AH0
EDIT = 0.8  # cost of a phone that only one of the two has
MOST_DIFFERENT = 0.2  # cost per phone

Phones = list[tuple[str, float]]  # each phone as flite calls it, and the second at which it ends


def speak(text: str, voice: str = VOICE) -> tuple[NDArray[np.float32], Phones]:
    """What flite says to `text`, 16,000 samples a second, and its phones. Raises MissingDependency without flite."""
    if shutil.which("flite") is None:
        raise MissingDependency("flite is not installed; the recipe needs it for its teacher: apt install flite")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        done = subprocess.run(
            ["flite", "-voice", voice, "-psdur", "-t", text, "-o", str(file)],
            capture_output=True,
            text=True,
            check=True,
        )
        samples, _ = read_wav(file)
    pairs = [each.rsplit(":", 1) for each in done.stdout.split()]
    return samples, [(phone, float(end)) for phone, end in pairs]


def aligned(clauses: Sequence[Clause], phones: Phones) -> list[Row] | None:
    """What flite said as an alignment of our words and stresses; None where the two read the text too differently.

    The phonemes are flite's own, so that the voice learns what is heard; words and stress come from ours, which lie
    beside them at the least edit distance.
    """
    ours = _flat(clauses)
    pairs = _paired(ours, [phone for phone, _ in phones])
    if pairs is None:
        return None
    rows: list[Row] = []
    word, clause = "0", iter(clauses)
    for (phone, end), own in zip(phones, pairs, strict=True):
        if phone == PAUSE:
            rows.append(Row(end, PAUSE, next(clause).ending if rows else ""))
            continue
        word = word if own is None else own.word
        rows.append(Row(end, _symbol(phone, None if own is None else own.phoneme), word))
    return rows


class _Own(NamedTuple):
    """A phoneme of ours, or a pause, and the number of its word."""

    phoneme: str
    word: str


def _flat(clauses: Sequence[Clause]) -> list[_Own]:
    """All phonemes, with a pause before, between and after the clauses."""
    found, number = [_Own(PAUSE, "")], 0
    for clause in clauses:
        for word in clause.words:
            found += [_Own(phoneme, str(number)) for phoneme in word.phonemes]
            number += 1
        found.append(_Own(PAUSE, ""))
    return found


def _paired(ours: Sequence[_Own], phones: Sequence[str]) -> list[_Own | None] | None:
    """For every phone of flite's the phoneme of ours beside it; None where pauses or more than a fifth differ."""
    rows, columns = len(ours) + 1, len(phones) + 1
    costs = np.zeros((rows, columns))
    costs[:, 0], costs[0] = np.arange(rows), np.arange(columns)
    between = np.array([[_cost(own.phoneme, phone) for phone in phones] for own in ours])
    for row in range(1, rows):
        for column in range(1, columns):
            costs[row, column] = min(
                costs[row - 1, column - 1] + between[row - 1, column - 1],
                costs[row - 1, column] + EDIT,
                costs[row, column - 1] + EDIT,
            )
    if costs[-1, -1] > MOST_DIFFERENT * len(phones):
        return None
    pairs: list[_Own | None] = [None] * len(phones)
    row, column = len(ours), len(phones)
    while row and column:
        if costs[row, column] == costs[row - 1, column - 1] + between[row - 1, column - 1]:
            row, column = row - 1, column - 1
            pairs[column] = ours[row]
        elif costs[row, column] == costs[row - 1, column] + EDIT:
            row -= 1
        else:
            column -= 1
    paused = [None if pair is None else pair.phoneme == PAUSE for pair in pairs]
    same = all((phone == PAUSE) == bool(pause) for phone, pause in zip(phones, paused, strict=True))
    return pairs if same and sum(map(bool, paused)) == sum(own.phoneme == PAUSE for own in ours) else None


def _cost(own: str, phone: str) -> float:
    """How unlike a phoneme of ours and a phone of flite's are."""
    plain, theirs = own.rstrip("012"), "AH" if phone == SCHWA else phone.upper()
    if (own == PAUSE) != (phone == PAUSE):
        return 10.0
    if own == PAUSE or plain == theirs:
        return 0.0
    if is_vowel(own) and (phone == SCHWA or theirs + "0" in SYMBOLS):
        return 0.5
    return 2.0 if is_vowel(own) or theirs + "0" in SYMBOLS else 1.0


def _symbol(phone: str, own: str | None) -> str:
    """A phone of flite's with stress: ours, where both are vowels."""
    if phone == SCHWA:
        return "AH0"
    name = phone.upper()
    if name in SYMBOLS:
        return name
    stress = own[-1] if own is not None and is_vowel(own) else "1"
    return name + ("2" if name == "AH" and stress == "0" else stress)  # unstressed, it would be a schwa
