"""Which tokens of a text made a judge say what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from aigc_sdk.attribution import LIMIT, TOLERANCE, Attribution, Method, Piece, attribute, evaluating
from aigc_sdk.errors import DataError, OptionError, suggestion

from .data import checked_text
from .encode import Encoded, encode
from .heads import logits
from .masking import mask_id
from .packed import Packed, word_embeddings
from .spans import best_answer, parted

if TYPE_CHECKING:
    from .judge import Judge

Wanted = tuple[Callable[[torch.Tensor], torch.Tensor], str]
"""What is explained, as a function of what the head says of k equal rows, to (k,); and its name."""


def explain(
    judge: Judge,
    text: str,
    label: str | None = None,
    *,
    pair: str | None = None,
    at: int | None = None,
    method: Method = "gradients",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
) -> Attribution:
    """What each token of `text` adds to the log odds of `label`, in nats; None: to those of the likeliest label.

        explain(judge, "The LORD is my shepherd", "poetry").show()

    Log odds, log p - log(1 - p), are what a sure judge still varies in; of a regression it is the value that is explained.
    Of spans it is what the judge says of one token, that of the character `at` of the text: that it is within a span of
    `label`, or "O", outside of all. Of a question, with its context for `pair`, it is the logit of the answer's start plus
    that of its end.
    method: "gradients" integrates them from a text of mask tokens, which takes 16 to `limit` passes forward and backward,
    as many as bring the sum within `tolerance`; "occlusion" masks one token at a time.
    Raises DataError, ContextOverflow, and OptionError.
    """
    checked_text(text, "text", "text")
    if pair is not None:
        checked_text(pair, "pair", "pair")
    elif judge.task.kind == "questions":
        raise DataError("a question is answered out of its context; pass pair=", field="pair")
    if at is not None and judge.task.kind != "tokens":
        message = f"at={at!r}: a judge of {judge.task.kind!r} says nothing of single tokens; leave it out"
        raise OptionError(message, field="at")
    judge.adapters_for(None, 1)
    [row] = encode(judge.tokenizer, [text], [pair], judge.context)
    packed = Packed.of([row.row], judge.network.device)
    with evaluating(judge.network):
        with torch.no_grad():
            said = logits(judge.network, packed).float()
        score, target = _wanted(judge, row, said, text, pair, label, at)
        hidden = packed.with_ids(torch.full_like(packed.ids, mask_id(judge.tokenizer)))
        with torch.no_grad():
            inputs, baseline = (word_embeddings(judge.network, each) for each in (packed, hidden))
        return attribute(
            lambda rows: score(_said(judge, row, rows)),
            inputs,
            baseline,
            text if pair is None else f"{text}\n{pair}",
            _pieces(row, text, pair),
            target,
            method=method,
            tolerance=tolerance,
            limit=limit,
        )


def _said(judge: Judge, row: Encoded, rows: torch.Tensor) -> torch.Tensor:
    """What the head says of each row of word embeddings, (k, tokens, width): (k, 1 or tokens, labels)."""
    packed = Packed.of([row.row] * len(rows), judge.network.device)
    found = logits(judge.network, packed, rows.flatten(0, 1)).float()
    return found.view(len(rows), -1, found.shape[-1])


def _wanted(
    judge: Judge, row: Encoded, said: torch.Tensor, text: str, pair: str | None, label: str | None, at: int | None
) -> Wanted:
    """What is explained. said: what the head says of the text."""
    kind = judge.task.kind
    if kind == "questions":
        _check_no_label(label, "a question has no labels")
        return _answer(row, said, str(pair))
    if kind == "regression":
        _check_no_label(label, "a regression has no labels")
        return (lambda found: found[:, 0, 0]), "the value"
    spans = kind == "tokens"
    place = _place(row, text, at) if spans else 0
    labels = [parted(tag)[1] or "O" for tag in judge.task.labels] if spans else list(judge.labels)
    label = labels[int(said[place].argmax())] if label is None else label
    if label not in labels:
        known = ", ".join(dict.fromkeys(labels))
        hint = suggestion(str(label), labels)
        raise OptionError(f"label={label!r}: the judge knows no such label.{hint} Labels: {known}", field="label")
    mine = [each == label for each in labels]
    odds = _sigmoid_odds if kind == "multi-label" else _softmax_odds
    token = f" for {text[slice(*row.offsets[place])]!r}" if spans else ""
    return (lambda found: odds(found[:, place] / judge.temperature, mine)), f"log odds of {label}{token}"


def _softmax_odds(said: torch.Tensor, mine: Sequence[bool]) -> torch.Tensor:
    """Log odds of one of some labels against all others: (k, labels) to (k,)."""
    these = torch.tensor(mine, device=said.device)
    return said[:, these].logsumexp(1) - said[:, ~these].logsumexp(1)


def _sigmoid_odds(said: torch.Tensor, mine: Sequence[bool]) -> torch.Tensor:
    """Log odds of a label that stands by itself: (k, labels) to (k,)."""
    return said[:, mine.index(True)]


def _answer(row: Encoded, said: torch.Tensor, context: str) -> Wanted:
    """The likeliest answer's start and end; the first token stands for none."""
    [best] = best_answer([context], [row], [said.double().cpu().numpy()])
    places = [
        place
        for place, ((start, stop), part) in enumerate(zip(row.offsets, row.parts, strict=True))
        if part == 1 and start < best.end and stop > best.start
    ]
    first, last = (places[0], places[-1]) if places else (0, 0)
    shown = repr(best.text) if places else "no answer"
    return (lambda found: found[:, first, 0] + found[:, last, 1]), f"start and end logits of {shown}"


def _place(row: Encoded, text: str, at: int | None) -> int:
    """The token that the character `at` is of."""
    for place, ((start, stop), part) in enumerate(zip(row.offsets, row.parts, strict=True)):
        if part == 0 and isinstance(at, int) and start <= at < stop:
            return place
    message = (
        f"at={at!r}: a judge of spans is explained at one token; give the place of one of its characters, from 0 to "
        f"{len(text) - 1}, which is no space"
    )
    raise OptionError(message, field="at")


def _check_no_label(label: str | None, why: str) -> None:
    if label is not None:
        raise OptionError(f"label={label!r}: {why}; leave it out", field="label")


def _pieces(row: Encoded, text: str, pair: str | None) -> list[Piece]:
    """The tokens that are no special ones, and where they stand in the text and the pair below it."""
    whole, shifts = (text if pair is None else f"{text}\n{pair}"), (0, len(text) + 1)
    found = []
    for place, ((start, stop), part) in enumerate(zip(row.offsets, row.parts, strict=True)):
        if part is not None:
            offset = start + shifts[part], stop + shifts[part]
            found.append(Piece(place, whole[slice(*offset)], offset))
    return found
