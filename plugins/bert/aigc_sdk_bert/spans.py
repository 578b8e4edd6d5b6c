"""From what a head says of tokens to stretches of the text: labelled spans, and answers to questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .encode import Encoded
from .tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 30  # tokens of an answer at most, as in BERT's own evaluation (Devlin et al. 2019)


class Found(NamedTuple):
    """A labelled span: characters `start` to `end` of the text."""

    label: str
    start: int
    end: int
    text: str
    confidence: float
    """The lowest probability of a tag in it."""


class Answer(NamedTuple):
    """An answer: characters `start` to `end` of the context; an empty text where the context has none."""

    text: str
    start: int
    end: int
    confidence: float
    """Its probability among all stretches of the context."""


def spans_of(
    task: Task,
    texts: Sequence[str],
    rows: Sequence[Encoded],
    said: Sequence[NDArray[np.float64]],
    temperatures: Sequence[float],
) -> list[list[Found]]:
    """The labelled spans of each text. said: (tokens, tags) of each row. temperatures: of each text."""
    chances: list[dict[tuple[int, int], NDArray[np.float64]]] = [{} for _ in texts]
    for row, logits in zip(rows, said, strict=True):
        tags = _softmax(logits / temperatures[row.example])
        edge = _edge(row)
        for place, (offset, part) in enumerate(zip(row.offsets, row.parts, strict=True)):
            if part is None or offset[0] == offset[1]:
                continue
            kept = chances[row.example].get(offset)
            # Where windows overlap, the one in which the token is further from an edge has seen more around it.
            if kept is None or edge[place] > kept[-1]:
                chances[row.example][offset] = np.append(tags[place], edge[place])
    return [_joined(task, text, found) for text, found in zip(texts, chances, strict=True)]


def _edge(row: Encoded) -> NDArray[np.int64]:
    places = np.arange(len(row))
    return np.minimum(places, len(row) - 1 - places)


def _joined(task: Task, text: str, chances: dict[tuple[int, int], NDArray[np.float64]]) -> list[Found]:
    """Tags of tokens as spans; an I- that follows another label or none begins one, as in seqeval."""
    found: list[Found] = []
    before = ""
    for start, stop in sorted(chances):
        tags = chances[start, stop][:-1]
        best = int(tags.argmax())
        kind, label = parted(task.labels[best])
        if kind and (kind == "B" or label != before):
            while start < stop - 1 and text[start].isspace():  # byte-level tokens begin with the space before them
                start += 1
            found.append(Found(label, start, stop, text[start:stop], float(tags[best])))
        elif kind:
            last = found[-1]
            sure = min(last.confidence, float(tags[best]))
            found[-1] = Found(label, last.start, stop, text[last.start : stop], sure)
        before = label if kind else ""
    return found


def parted(tag: str) -> tuple[str, str]:
    """B or I, and the label; a tag without either goes on; nothing for "O"."""
    if tag == "O":
        return "", ""
    return (tag[0], tag[2:]) if tag[:2] in ("B-", "I-") else ("I", tag)


def best_answer(contexts: Sequence[str], rows: Sequence[Encoded], said: Sequence[NDArray[np.float64]]) -> list[Answer]:
    """The likeliest answer to each question. said: (tokens, 2) of each row: the answer's start and its end.

    The first token of a row stands for "no answer here"; of several windows each has its own.
    """
    found: list[list[tuple[float, int, int]]] = [[] for _ in contexts]
    for row, logits in zip(rows, said, strict=True):
        found[row.example] += _candidates(row, logits)
    return [_best(context, some) for context, some in zip(contexts, found, strict=True)]


def _candidates(row: Encoded, said: NDArray[np.float64]) -> list[tuple[float, int, int]]:
    """(score, start, stop) of every stretch of the context, and of none as (score, 0, 0)."""
    places = np.array([place for place, part in enumerate(row.parts) if part == 1])
    scores = said[places, 0][:, None] + said[places, 1][None, :]
    length = np.arange(len(places))[None, :] - np.arange(len(places))[:, None]
    starts, stops = np.nonzero((length >= 0) & (length < LONGEST))
    found = [(float(said[0, 0] + said[0, 1]), 0, 0)]
    for start, stop in zip(starts, stops, strict=True):
        place = row.offsets[places[start]][0], row.offsets[places[stop]][1]
        found.append((float(scores[start, stop]), *place))
    return found


def _best(context: str, candidates: Sequence[tuple[float, int, int]]) -> Answer:
    scores = np.array([each[0] for each in candidates])
    none = scores[[each[1:] == (0, 0) for each in candidates]]
    if len(none) > 1:  # windows without the answer say so; the question has none only if all do
        scores[[each[1:] == (0, 0) for each in candidates]] = none.min()
    best = int(scores.argmax())
    _, start, stop = candidates[best]
    while start < stop and context[start].isspace():
        start += 1
    return Answer(context[start:stop], start, stop, float(_softmax(scores)[best]))


def _softmax(said: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(said - said.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)  # type: ignore[no-any-return]
