"""The decode loop: the items of a call in, the chunks of their texts out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from aigc_sdk.artifacts import Text
from aigc_sdk.protocols import Step

from .batch import Batch
from .rows import Item

if TYPE_CHECKING:
    from aigc_sdk_gpt2.model import GPT2
    from aigc_sdk_gpt2.options import Decoding


def decode(
    model: GPT2, options: Decoding, items: Sequence[Item], on_step: Callable[[Step], None], *, per_place: int
) -> Iterator[Text]:
    """The chunks of all items as they are made; those of one item in order.

    per_place: bytes of cache that one token of one row takes. A Step counts tokens; those that a text could have had and
    ended without are counted when it ends.
    """
    batch, total = Batch(model, options, items, per_place=per_place), sum(item.want for item in items)
    try:
        while batch.busy:
            chunks = batch.turn()
            on_step(Step(batch.made, total))
            yield from chunks
    finally:
        batch.close()
