"""From texts to rows of tokens, each of which knows which characters its tokens stand for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aigc_sdk.errors import ContextOverflow

from .packed import OFFSET, Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TooLong = Literal["refuse", "truncate", "split"]
_truncating = threading.Lock()  # a tokenizer's truncation is a setting of its own, not of the call


@dataclass(frozen=True)
class Encoded:
    """One row of tokens: a whole example, or a window of one that is too long."""

    row: Row
    example: int
    offsets: tuple[tuple[int, int], ...]
    """Which characters each token stands for."""
    parts: tuple[int | None, ...]
    """Which of the two texts each token is of, 0 or 1; None for special tokens."""

    def __len__(self) -> int:
        return len(self.row.ids)


def context_of(network: PreTrainedModel) -> int:
    """The longest row that a network can read, in tokens."""
    longest = int(network.config.max_position_embeddings)
    return longest - int(network.config.pad_token_id) - 1 if network.config.model_type in OFFSET else longest


def encode(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    pairs: Sequence[str | None],
    context: int | Sequence[int],
    too_long: TooLong = "refuse",
    name: str = "texts",
) -> list[Encoded]:
    """Rows of at most `context` tokens, in the order of the texts; "split" makes several of a text that is too long.

    context: of all texts, or of each.

    Windows overlap by a quarter. Of a pair the longer text is cut, and for windows the second.
    Raises ContextOverflow for a text that does not fit, where it is to be refused.
    """
    inputs: list[Any] = [text if pair is None else (text, pair) for text, pair in zip(texts, pairs, strict=True)]
    rooms = [context] * len(inputs) if isinstance(context, int) else context
    with _truncating:
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        found = list(backend.encode_batch(inputs))
        long = [index for index, (each, room) in enumerate(zip(found, rooms, strict=True)) if len(each.ids) > room]
        if long and too_long == "refuse":
            raise _overflow(len(found[long[0]].ids), rooms[long[0]], f"{name}[{long[0]}]", name)
        for index in long:
            found[index] = _cut(backend, inputs[index], rooms[index], too_long, f"{name}[{index}]", name)
        backend.no_truncation()
    rows = []
    for index, encoding in enumerate(found):
        windows = [encoding, *encoding.overflowing] if too_long == "split" else [encoding]
        rows += [_encoded(window, index) for window in windows]
    return rows


def _cut(backend: Any, text: Any, context: int, too_long: TooLong, where: str, name: str) -> Any:
    pair = isinstance(text, tuple)
    special = backend.num_special_tokens_to_add(pair)
    room = context - special
    if pair and too_long == "split":
        room -= len(backend.encode(text[0], add_special_tokens=False).ids)
    if room < 2:
        raise _overflow(context - room + 2, context, where, name)
    strategy = "longest_first" if too_long == "truncate" else "only_second" if pair else "only_first"
    backend.enable_truncation(context, stride=room // 4 if too_long == "split" else 0, strategy=strategy)
    found = backend.encode(*(text if pair else (text,)))
    backend.no_truncation()
    return found


def _overflow(tokens: int, context: int, where: str, name: str) -> ContextOverflow:
    return ContextOverflow(
        f"{where} has {tokens:,} tokens, {tokens - context:,} more than the {context:,} that the model reads; shorten it, or "
        "pass too_long='truncate' to cut its end or 'split' to read it in windows",
        excess=tokens - context,
        field=name,
    )


def _encoded(encoding: Any, index: int) -> Encoded:
    types = encoding.type_ids
    row = Row(encoding.ids, types if any(types) else None)
    return Encoded(row, index, tuple(encoding.offsets), tuple(encoding.sequence_ids))
