"""How much of a text is copied from the text that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_sdk.errors import DataError, OptionError, printable

from .accumulate import KEPT, Array, Figure, Summed, ratio
from .text_batch import TextBatch
from .text_words import DESCRIBED, ngrams, numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES = (4, 8)


class Training:
    """The n-grams of a training text: 8 bytes for each different one."""

    def __init__(self, texts: Iterable[str], sizes: Sequence[int] = SIZES, tokenizer: str = "words") -> None:
        rows = numbered(list(texts), tokenizer)
        self.tokenizer = tokenizer
        self.words = sum(map(len, rows))
        self.grams = {n: np.unique(np.concatenate([np.empty(0, np.uint64), *_each(rows, n)])) for n in sorted(sizes)}
        longest = max(self.grams)
        if not len(self.grams[longest]):
            raise DataError(
                f"the training text has no {longest} words that stand together; give more", field="training"
            )

    def has(self, tokens: NDArray[np.uint64], n: int) -> NDArray[np.bool_]:
        """Which n-grams of a text are in the training text."""
        wanted = ngrams(tokens, n)
        places = np.minimum(np.searchsorted(self.grams[n], wanted), len(self.grams[n]) - 1)
        return np.asarray(self.grams[n][places] == wanted)


class Novelty(Summed):
    """The part of n-grams that the training text does not have, for each n, over all texts; and how far copies run.

    Short n-grams are everybody's; that few of the long ones are new shows copying. `longest_copy` is the length in words of
    the longest run in a text whose every n-gram of the largest n is in the training text (0 where there is none), the mean
    over texts.
    """

    name = "novelty"
    batch = TextBatch

    def __init__(self, training: Training, keep: int = KEPT) -> None:
        self.training = training
        self.size = 2 * len(training.grams) + 2
        super().__init__(keep)

    def measure(self, batch: Any) -> Array:
        """[new, all] for each n, then [longest run, 1]."""
        tokenizer = self.training.tokenizer
        rows = batch.once(("numbered", tokenizer), lambda: numbered(batch.samples, tokenizer))
        return np.array([self._one(each) for each in rows], np.float64)

    def figures(self) -> dict[str, Figure]:
        """novelty_4 and the like, 0 to 1; longest_copy in words."""
        sizes = list(self.training.grams)
        about = f"training text of {self.training.words:,} words, {DESCRIBED[self.training.tokenizer]}"
        found = {
            f"novelty_{n}": Figure(
                partial(ratio, above=2 * index, below=2 * index + 1),
                f"{n}-grams that are not in the training text by all {n}-grams; {about}",
                higher_is_better=True,
                needs=f"a text of {n} words or more",
            )
            for index, n in enumerate(sizes)
        }
        last = 2 * len(sizes)
        found["longest_copy"] = Figure(
            partial(ratio, above=last, below=last + 1),
            f"words of the longest run whose {sizes[-1]}-grams are all in the training text, mean over texts; {about}",
            higher_is_better=False,
        )
        return found

    def _one(self, tokens: NDArray[np.uint64]) -> list[float]:
        statistics: list[float] = []
        longest = 0
        for n in self.training.grams:  # from the smallest to the largest
            known = self.training.has(tokens, n)
            statistics += [int((~known).sum()), len(known)]
            run = _longest_run(known)
            longest = run + n - 1 if run else 0
        return [*statistics, longest, 1]


def read_training(paths: Sequence[str]) -> list[str]:
    """The texts in files, and in all .txt and .md files of folders. Raises OptionError."""
    texts = []
    for each in paths:
        try:
            place = Path(each)
            files = (
                sorted(file for file in place.rglob("*") if file.suffix in (".txt", ".md"))
                if place.is_dir()
                else [place]
            )
            texts += [file.read_text(encoding="utf-8") for file in files]
        except (OSError, ValueError) as error:
            message = f"training={printable(each)!r} cannot be read as UTF-8 text: {printable(str(error))}"
            raise OptionError(message, field="training") from error
    if not texts:
        raise OptionError(f"training={list(paths)!r} holds no .txt or .md file", field="training")
    return texts


def _each(rows: Sequence[NDArray[np.uint64]], n: int) -> list[NDArray[np.uint64]]:
    return [ngrams(row, n) for row in rows]


def _longest_run(known: NDArray[np.bool_]) -> int:
    """The most that are true one after another."""
    edges = np.flatnonzero(np.diff(np.r_[False, known, False].astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
