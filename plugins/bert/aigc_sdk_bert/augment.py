"""More training texts out of those that are there: words replaced, left out or exchanged, or the text translated and back.

    more = grown(data, lambda texts, seed: substituted(model, texts, seed=seed), judge=judge)

Every change draws from a random stream per text, seeded with `seed` + its index: the same alone and in any batch. Whether
a changed text still deserves its label is for a judge to say: `preserved` measures it, `grown` can insist on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from aigc_sdk.calls import item_seed
from aigc_sdk.errors import DataError, NotOffered, OptionError, shown

from .data import checked_text
from .encode import Encoded, encode
from .heads import head_of, logits
from .masking import mask_id
from .packed import Packed, batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .judge import Judge
    from .model import BERT

Change: TypeAlias = Callable[[Sequence[str], int], list[str]]
"""From texts and a seed to as many changed texts."""
Translate: TypeAlias = Callable[[Sequence[str]], Sequence[str]]
BEGINNINGS = ("▁", "Ġ")  # how SentencePiece and byte-level BPE mark what begins a word; WordPiece leaves it bare


@dataclass(frozen=True)
class Preserved:
    """How many of the changed texts have the label that their originals have, according to a judge."""

    share: float
    kept: tuple[bool, ...]


def substituted(model: BERT, texts: Iterable[str], *, share: float = 0.15, top_k: int = 10, seed: int = 0) -> list[str]:
    """Some words of each text replaced by others that the model finds likely there (Kobayashi 2018; Wu et al. 2019).

    share: of the words, at least one of each text that has any; words of several tokens stay. All of them are hidden, and
    each is drawn by its probability among the `top_k` likeliest whole words that are not the one that was there.
    Raises DataError, OptionError, ContextOverflow, and NotOffered for a model without a masked-language-model head.
    """
    given = _texts(texts)
    _check_share(share)
    if top_k < 1:
        raise OptionError(f"top_k={top_k}: choose among at least one word", field="top_k")
    if head_of(model.network) != "masked":
        message = (
            f"a {type(model.network).__name__} has no masked-language-model head; open the model before fine-tuning"
        )
        raise NotOffered(message)
    rows = encode(model.tokenizer, given, [None] * len(given), model.context)
    rngs = _rngs(len(given), seed)
    chosen = [_some(_whole_words(row, text), share, rng) for row, text, rng in zip(rows, given, rngs, strict=True)]
    changed = list(given)
    words = _Words(model)
    for some in batches([len(row) for row in rows]):
        for index, scores in zip(some, _hidden_scores(model, [(rows[i], chosen[i]) for i in some]), strict=True):
            row, places = rows[index], chosen[index]
            found = [
                words.drawn(said, row.row.ids[at], top_k, rngs[index]) for said, at in zip(scores, places, strict=True)
            ]
            changed[index] = _spliced(given[index], [row.offsets[at] for at in places], found)
    return changed


def deleted(texts: Iterable[str], *, share: float = 0.1, seed: int = 0) -> list[str]:
    """Each word left out with probability `share`, but never all of a text (Wei and Zou 2019)."""
    given = _texts(texts)
    _check_share(share)
    changed = []
    for text, rng in zip(given, _rngs(len(given), seed), strict=True):
        words = text.split()
        kept = rng.random(len(words)) >= share
        kept[rng.integers(len(words))] |= not kept.any()
        changed.append(" ".join(word for word, stays in zip(words, kept, strict=True) if stays))
    return changed


def swapped(texts: Iterable[str], *, share: float = 0.1, seed: int = 0) -> list[str]:
    """Two words exchanged, as often as `share` of the words, at least once (Wei and Zou 2019)."""
    given = _texts(texts)
    _check_share(share)
    changed = []
    for text, rng in zip(given, _rngs(len(given), seed), strict=True):
        words = text.split()
        for _ in range(max(1, round(share * len(words))) if len(words) > 1 else 0):
            one, other = rng.choice(len(words), 2, replace=False)
            words[one], words[other] = words[other], words[one]
        changed.append(" ".join(words))
    return changed


def back_translated(texts: Iterable[str], there: Translate, back: Translate) -> list[str]:
    """Each text translated into another language by `there`, and `back` (Sennrich et al. 2016).

    Both take a list of texts and return as many. Raises DataError where one does not.
    """
    given = _texts(texts)
    return _translated(_translated(given, there, "there"), back, "back")


def preserved(judge: Judge, texts: Sequence[str], changed: Sequence[str]) -> Preserved:
    """The share of changed texts that the judge gives the label of their original. Raises DataError and NotOffered."""
    before, after = _texts(texts), _texts(changed, "changed")
    if len(before) != len(after):
        raise DataError(f"{len(after)} changed texts for {len(before)}; pass one each", field="changed")
    if judge.task.kind not in ("classification", "multi-label"):
        raise NotOffered(f"a judge of {judge.task.kind!r} gives no labels; pass one of classification or multi-label")
    first, second = judge.predict(before), judge.predict(after)
    if judge.task.kind == "classification":
        kept = first.argmax(1) == second.argmax(1)
    else:
        kept = ((first >= 0.5) == (second >= 0.5)).all(1)
    return Preserved(float(kept.mean()), tuple(kept.tolist()))


def grown(
    data: Iterable[tuple[str, Any]], change: Change, *, n: int = 1, judge: Judge | None = None, seed: int = 0
) -> list[tuple[str, Any]]:
    """`data` and, after it, `n` changed texts for each of its texts with the same label.

    With a judge only those stay whose label it finds preserved, and texts that came out as they were are left out.
    Raises DataError.
    """
    if n < 1:
        raise OptionError(f"n={n}: make at least one changed text of each", field="n")
    pairs = list(data)
    for index, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"data[{index}] is {shown(pair)}; give (text, label)", field="data")
    texts = _texts((text for text, _ in pairs), "data")
    more: list[tuple[str, Any]] = []
    for turn in range(n):
        changed = _checked(change(texts, item_seed(seed, turn * len(texts))), len(texts), "change")
        kept = preserved(judge, texts, changed).kept if judge is not None else (True,) * len(texts)
        rows = zip(texts, changed, kept, pairs, strict=True)
        more += [(new, label) for old, new, stays, (_, label) in rows if stays and new != old]
    return [*((text, label) for text, label in pairs), *more]


class _Words:
    """The tokens of a vocabulary that are whole words of letters."""

    def __init__(self, model: BERT) -> None:
        tokenizer = model.tokenizer
        tokens = [str(each) for each in tokenizer.convert_ids_to_tokens(list(range(model.network.config.vocab_size)))]
        mark = next((each for each in BEGINNINGS if any(token.startswith(each) for token in tokens)), "")
        special = set(tokenizer.all_special_ids)
        self._words = [token.removeprefix(mark) for token in tokens]
        self._usable = np.array(
            [
                token.startswith(mark) and word.isalpha() and index not in special
                for index, (token, word) in enumerate(zip(tokens, self._words, strict=True))
            ]
        )

    def drawn(self, scores: NDArray[np.float64], token: int, top_k: int, rng: np.random.Generator) -> str:
        """A word in place of `token`, among the likeliest; its own where the vocabulary has no other."""
        places = np.nonzero(self._usable & (np.arange(len(self._words)) != token))[0]
        if not len(places):
            return self._words[token]
        likely = places[np.argsort(-scores[places], kind="stable")[:top_k]]
        chances = np.exp(scores[likely] - scores[likely].max()).cumsum()
        taken = int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))
        return self._words[int(likely[min(taken, len(likely) - 1)])]


@torch.inference_mode()
def _hidden_scores(model: BERT, rows: Sequence[tuple[Encoded, list[int]]]) -> list[NDArray[np.float64]]:
    """What the model says of the chosen places of each row, all of them hidden: float64, (places, vocabulary)."""
    model.network.train(False)
    packed = Packed.of([row.row for row, _ in rows], model.device)
    places = [int(start) + place for start, (_, some) in zip(packed.starts, rows, strict=True) for place in some]
    at = torch.tensor(places, dtype=torch.int64, device=model.device)
    if not places:
        return [np.zeros((0, 0))] * len(rows)
    said = logits(model.network, packed.with_ids(packed.ids.index_fill(0, at, mask_id(model.tokenizer))), chosen=at)
    ends = np.cumsum([len(some) for _, some in rows])[:-1]
    return list(np.split(said.double().cpu().numpy(), ends))


def _whole_words(row: Encoded, text: str) -> list[int]:
    """The places of tokens that are words by themselves: letters, and none before or after them."""
    found = []
    for place, ((start, stop), part) in enumerate(zip(row.offsets, row.parts, strict=True)):
        word = text[start:stop].strip()
        alone = not text[max(0, start - 1) : start].isalnum() or text[start:stop][:1].isspace()
        if part is not None and word.isalpha() and alone and not text[stop : stop + 1].isalnum():
            found.append(place)
    return found


def _some(places: list[int], share: float, rng: np.random.Generator) -> list[int]:
    if not places:
        return []
    return sorted(rng.choice(places, max(1, round(share * len(places))), replace=False).tolist())


def _spliced(text: str, offsets: Sequence[tuple[int, int]], words: Sequence[str]) -> str:
    """`text` with words in place of stretches; spaces and capitals stay as they were."""
    parts, done = [], 0
    for (start, stop), word in zip(offsets, words, strict=True):
        old = text[start:stop]
        bare = old.lstrip()
        parts += [text[done:start], old[: len(old) - len(bare)], word.capitalize() if bare[:1].isupper() else word]
        done = stop
    return "".join([*parts, text[done:]])


def _translated(texts: list[str], translate: Translate, name: str) -> list[str]:
    return _checked(translate(texts), len(texts), name)


def _checked(found: Any, count: int, name: str) -> list[str]:
    """What a function of the caller's made of `count` texts."""
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise DataError(f"{name} returned a {type(found).__name__}; it has to return a list of texts", field=name)
    made = list(found)
    if len(made) != count:
        raise DataError(f"{name} returned {len(made)} texts for {count}; it has to return one each", field=name)
    return [checked_text(text, f"{name}'s result [{index}]", name) for index, text in enumerate(made)]


def _texts(texts: Iterable[str], name: str = "texts") -> list[str]:
    if isinstance(texts, str):
        raise DataError(f"{name} is one text; pass a list of them", field=name)
    found = [checked_text(text, f"{name}[{index}]", name) for index, text in enumerate(texts)]
    if not found:
        raise DataError(f"{name} holds no texts; pass at least one", field=name)
    return found


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise OptionError(f"share={share}: give a part of the words, above 0 and at most 1", field="share")


def _rngs(count: int, seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng(item_seed(seed, index)) for index in range(count)]
