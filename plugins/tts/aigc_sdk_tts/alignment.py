"""Which phonemes each letter of a word stands for: the many-to-many alignment of Jiampojamarn et al. 2007.

Every letter takes none, one or two phonemes in turn ("x" takes two, a silent "e" none). How probable that is for each
letter and chunk is learnt by expectation maximisation, with Viterbi's best path in place of the expectation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .phonemes import VOWELS, without_stress

Chunk = tuple[str, ...]  # the phonemes of one letter
LONGEST = 2
_ROUNDS = 6
_SMOOTHING = 0.05


def align(words: Sequence[str], spoken: Sequence[Chunk], sample: int = 15_000) -> list[list[Chunk] | None]:
    """The chunk of every letter of every word; None for a word with more phonemes than its letters can take.

    The probabilities are learnt from about `sample` of the words.
    """
    plain = [without_stress(each) for each in spoken]
    every = max(1, len(words) // sample)
    costs: dict[tuple[str, Chunk], float] = {}
    for _ in range(_ROUNDS):
        counts: Counter[tuple[str, Chunk]] = Counter()
        for word, phonemes in zip(words[::every], plain[::every], strict=True):
            counts.update(zip(word, _best_path(word, phonemes, costs) or (), strict=False))
        costs = _costs(counts)
    return [
        _restored(_best_path(word, each, costs), full) for word, each, full in zip(words, plain, spoken, strict=True)
    ]


def _best_path(word: str, phonemes: Chunk, costs: dict[tuple[str, Chunk], float]) -> list[Chunk] | None:
    size = len(phonemes)
    best: list[dict[int, tuple[float, int]]] = [
        {0: (0.0, 0)}
    ]  # per letter: phonemes taken -> cost, of which how many here
    for letter in word:
        reached: dict[int, tuple[float, int]] = {}
        for taken, (cost, _) in best[-1].items():
            for more in range(min(LONGEST, size - taken) + 1):
                chunk = phonemes[taken : taken + more]
                total = cost + (costs.get((letter, chunk), 12.0) if costs else _first_cost(letter, chunk))
                if taken + more not in reached or total < reached[taken + more][0]:
                    reached[taken + more] = (total, more)
        best.append(reached)
    if size not in best[-1]:
        return None
    path, taken = [], size
    for column in reversed(best[1:]):
        more = column[taken][1]
        path.append(phonemes[taken - more : taken])
        taken -= more
    return path[::-1]


def _first_cost(letter: str, chunk: Chunk) -> float:
    """Before anything is learnt: vowels go to vowels, one each."""
    return abs(len(chunk) - 1) + sum((letter in "aeiouy") != (each in VOWELS) for each in chunk)


def _costs(counts: Counter[tuple[str, Chunk]]) -> dict[tuple[str, Chunk], float]:
    letters: Counter[str] = Counter()
    for (letter, _), count in counts.items():
        letters[letter] += count
    return {
        (letter, chunk): -math.log((count + _SMOOTHING) / letters[letter]) for (letter, chunk), count in counts.items()
    }


def _restored(path: list[Chunk] | None, full: Chunk) -> list[Chunk] | None:
    """The path with the stress of `full`, which was left aside to align."""
    if path is None:
        return None
    restored, taken = [], 0
    for chunk in path:
        restored.append(full[taken : taken + len(chunk)])
        taken += len(chunk)
    return restored
