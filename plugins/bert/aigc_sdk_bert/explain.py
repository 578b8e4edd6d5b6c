"""Which tokens of a text made a judge say what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from aigc_sdk.attribution import LIMIT, TOLERANCE, Attribution, Method, Piece, attribute, evaluating
from aigc_sdk.errors import NotOffered, OptionError, suggestion

from .data import checked_text
from .encode import Encoded, encode
from .heads import logits
from .masking import mask_id
from .packed import Packed, word_embeddings

if TYPE_CHECKING:
    from .judge import Judge

EXPLAINED = ("classification", "multi-label", "regression")


def explain(
    judge: Judge,
    text: str,
    label: str | None = None,
    *,
    pair: str | None = None,
    method: Method = "gradients",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
) -> Attribution:
    """What each token of `text` adds to the log odds of `label`, in nats; None: to those of the likeliest label.

        explain(judge, "The LORD is my shepherd", "poetry").show()

    Log odds, log p - log(1 - p), are what a sure judge still varies in; of a regression it is the value that is explained.
    method: "gradients" integrates them from a text of mask tokens, which takes 16 to `limit` passes forward and backward,
    as many as bring the sum within `tolerance`; "occlusion" masks one token at a time.
    Raises DataError, ContextOverflow, OptionError, and NotOffered for a judge of spans or answers.
    """
    kind = judge.task.kind
    if kind not in EXPLAINED:
        raise NotOffered(f"a judge of {kind!r} is not explained; one of {', '.join(EXPLAINED)} is")
    checked_text(text, "text", "text")
    if pair is not None:
        checked_text(pair, "pair", "pair")
    [row] = encode(judge.tokenizer, [text], [pair], judge.context)
    packed = Packed.of([row.row], judge.network.device)
    with evaluating(judge.network):
        wanted = _wanted(judge, packed, label)
        hidden = packed.with_ids(torch.full_like(packed.ids, mask_id(judge.tokenizer)))
        with torch.no_grad():
            inputs, baseline = (word_embeddings(judge.network, each) for each in (packed, hidden))
        return attribute(
            lambda rows: _score(judge, row, rows, wanted),
            inputs,
            baseline,
            text if pair is None else f"{text}\n{pair}",
            _pieces(row, text, pair),
            "the value" if kind == "regression" else f"log odds of {judge.labels[wanted]}",
            method=method,
            tolerance=tolerance,
            limit=limit,
        )


def _wanted(judge: Judge, packed: Packed, label: str | None) -> int:
    """The number of the label that is explained."""
    if judge.task.kind == "regression":
        if label is not None:
            raise OptionError(f"label={label!r}: a regression has no labels; leave it out", field="label")
        return 0
    if label is None:
        with torch.no_grad():
            return int(logits(judge.network, packed)[0].argmax())
    if label not in judge.labels:
        known = ", ".join(judge.labels)
        hint = suggestion(str(label), judge.labels)
        raise OptionError(f"label={label!r}: the judge knows no such label.{hint} Labels: {known}", field="label")
    return judge.labels.index(label)


def _score(judge: Judge, row: Encoded, rows: torch.Tensor, wanted: int) -> torch.Tensor:
    """What is explained, of each row of word embeddings: (k, tokens, width) to (k,)."""
    packed = Packed.of([row.row] * len(rows), judge.network.device)
    said = logits(judge.network, packed, rows.flatten(0, 1)).float()  # (k, labels)
    own = said[:, wanted]
    if judge.task.kind == "regression":
        return own
    if judge.task.kind == "multi-label":
        return own / judge.temperature
    others = torch.cat([said[:, :wanted], said[:, wanted + 1 :]], 1) / judge.temperature
    return own / judge.temperature - others.logsumexp(1)


def _pieces(row: Encoded, text: str, pair: str | None) -> list[Piece]:
    """The tokens that are no special ones, and where they stand in the text and the pair below it."""
    whole, shifts = (text if pair is None else f"{text}\n{pair}"), (0, len(text) + 1)
    found = []
    for place, ((start, stop), part) in enumerate(zip(row.offsets, row.parts, strict=True)):
        if part is not None:
            offset = start + shifts[part], stop + shifts[part]
            found.append(Piece(place, whole[slice(*offset)], offset))
    return found
