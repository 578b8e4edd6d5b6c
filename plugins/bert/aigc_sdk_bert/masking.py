"""Masked language modelling: which tokens are hidden, and behind what (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .encode import Encoded
from .packed import Packed
from .tasks import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

MASKED, REPLACED = 0.8, 0.1  # of the chosen tokens; the rest stay as they are


def count(row: Encoded, probability: float) -> int:
    """How many tokens of a row are chosen: always as many, so that the loss of a batch is known to be over so many."""
    free = sum(part is not None for part in row.parts)
    return min(free, max(1, round(probability * free)))


def masked(
    tokenizer: PreTrainedTokenizerFast, rows: Sequence[Encoded], probability: float, seed: int, device: str
) -> Batch:
    """Rows in which `count` tokens each are to be told: 80 % hidden behind the mask, 10 % behind a random token.

    Special tokens are never chosen. seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    rows = sorted(rows, key=len)
    packed = Packed.of([row.row for row in rows], device)
    chosen = torch.from_numpy(_chosen(rows, probability, rng)).to(device)
    wanted = packed.ids[chosen]
    draw = torch.from_numpy(rng.random(len(wanted))).to(device)
    others = torch.from_numpy(rng.integers(tokenizer.vocab_size, size=len(wanted))).to(device)
    hidden = torch.where(draw < MASKED, torch.full_like(wanted, mask_id(tokenizer)), others)
    shown = torch.where(draw < MASKED + REPLACED, hidden, wanted)
    return Batch(packed.with_ids(packed.ids.index_copy(0, chosen, shown)), wanted, chosen)


def mask_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that hides another."""
    found = tokenizer.mask_token_id
    assert isinstance(found, int)  # `folders.tokenizer_of` refuses a tokenizer without one
    return found


def _chosen(rows: Sequence[Encoded], probability: float, rng: np.random.Generator) -> NDArray[np.int64]:
    found, start = [], 0
    for row in rows:
        free = np.array([place for place, part in enumerate(row.parts) if part is not None])
        found.append(start + np.sort(rng.choice(free, count(row, probability), replace=False)))
        start += len(row)
    return np.concatenate(found).astype(np.int64)
