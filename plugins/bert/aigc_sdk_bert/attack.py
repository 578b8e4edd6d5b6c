"""How many texts a judge still gets right when somebody tries to mislead it: by moved embeddings, or by replaced words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from aigc_sdk import runtime
from aigc_sdk.attribution import evaluating
from aigc_sdk.errors import DataError, NotOffered, OptionError

from .adversarial import Ball, worst_shift
from .data import checked_text
from .encode import encode
from .heads import logits
from .packed import Packed, batches, word_embeddings

if TYPE_CHECKING:
    from .judge import Judge

STRONG = Ball(epsilon=0.2, rate=0.05, steps=10)


@dataclass(frozen=True)
class Attacked:
    """What an attack made of texts: the accuracy before and under it, and for each text whether it is still right."""

    accuracy: float
    under_attack: float
    right: tuple[bool, ...]
    texts: tuple[str, ...] = ()
    """The misleading texts, where words were replaced."""


def moved(judge: Judge, texts: Sequence[str], labels: Sequence[str], ball: Ball = STRONG, *, seed: int = 0) -> Attacked:
    """Attack by PGD on word embeddings (Madry et al. 2018): each text is moved within `ball` so that its loss rises.

    Raises DataError, and NotOffered for a judge of anything but classification.
    """
    wanted = _checked(judge, texts, labels)
    rows = encode(judge.tokenizer, list(texts), [None] * len(texts), judge.context)
    before, after = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    with evaluating(judge.network), runtime.LentState(seed, judge.device):
        for some in batches([len(row) for row in rows]):
            packed = Packed.of([rows[index].row for index in some], judge.network.device)
            right = torch.from_numpy(wanted[some]).to(judge.network.device)
            with torch.no_grad():
                words = word_embeddings(judge.network, packed)
                before[some] = _right(logits(judge.network, packed), right)

            def loss_of(
                shift: torch.Tensor, packed: Packed = packed, words: torch.Tensor = words, right: torch.Tensor = right
            ) -> torch.Tensor:
                said = logits(judge.network, packed, (words + shift).to(words.dtype))
                return F.cross_entropy(said.float(), right, reduction="sum")

            shift = worst_shift(ball, loss_of, words, packed)
            with torch.no_grad():
                after[some] = _right(logits(judge.network, packed, (words + shift).to(words.dtype)), right)
    after &= before  # a text that was wrong already needed no attack
    return Attacked(float(before.mean()), float(after.mean()), tuple(after.tolist()))


def reworded(
    judge: Judge,
    texts: Sequence[str],
    labels: Sequence[str],
    candidates: Callable[[str], Sequence[str]],
    *,
    words: int = 3,
) -> Attacked:
    """Attack by words: up to `words` of each text are replaced, one after the other, until the judge is wrong.

    candidates: from a word to others that may stand in its place without changing what the text is, such as synonyms.
    Each time the replacement is made that lowers the right label's probability most (Alzantot et al. 2018, greedily).
    Raises DataError, OptionError, and NotOffered for a judge of anything but classification.
    """
    wanted = _checked(judge, texts, labels)
    if words < 1:
        raise OptionError(f"words={words}: replace at least one", field="words")
    found = list(texts)
    chances = judge.predict(found)
    before = right = chances.argmax(1) == wanted
    for _ in range(words):
        tries = [(index, each) for index in np.nonzero(right)[0] for each in _reworded(found[index], candidates)]
        if not tries:
            break
        values = judge.predict([text for _, text in tries])
        lowest = {index: chances[index, wanted[index]] for index, _ in tries}
        for (index, text), value in zip(tries, values, strict=True):
            if value[wanted[index]] < lowest[index]:
                lowest[index], found[index], chances[index] = value[wanted[index]], text, value
        right = before & (chances.argmax(1) == wanted)
    return Attacked(float(before.mean()), float(right.mean()), tuple(right.tolist()), tuple(found))


def _reworded(text: str, candidates: Callable[[str], Sequence[str]]) -> list[str]:
    """Every text that differs by one word."""
    words = text.split(" ")
    return [
        " ".join([*words[:place], other, *words[place + 1 :]])
        for place, word in enumerate(words)
        for other in candidates(word)
        if other != word
    ]


def _right(said: torch.Tensor, wanted: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray((said.argmax(1) == wanted).cpu())


def _checked(judge: Judge, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of each text's label."""
    if judge.task.kind != "classification":
        raise NotOffered(f"an attack is on a judge of classification; this one is of {judge.task.kind!r}")
    if isinstance(texts, str) or not len(texts) or len(labels) != len(texts):
        raise DataError(f"{len(labels)} labels for {len(texts)} texts; pass lists of one each", field="labels")
    for index, text in enumerate(texts):
        checked_text(text, f"texts[{index}]", "texts")
    return np.array([judge.task.index(each, f"labels[{index}]", "labels") for index, each in enumerate(labels)])
