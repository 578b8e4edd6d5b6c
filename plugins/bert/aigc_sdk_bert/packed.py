"""The forward pass of an encoder without padding: all rows of a batch as one row of tokens.

Linear layers, norms and activations work on real tokens alone; only attention looks at rows, one by one or, where
they have about the same length, together. The Hugging Face modules run their own code, with an attention function that
is registered with transformers: so adapters, dropout and replaced layers work as ever. Where only some tokens are read,
the last layer of BERT and its relatives computes no others, see `last_layer`.

Packed are BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT, ELECTRA and ModernBERT. Any other encoder runs through its
own forward pass, padded to the longest row of the batch; the results are the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from aigc_sdk.errors import InputError

from . import attention, last_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

PACKED = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "modernbert"})
OFFSET = frozenset({"roberta", "xlm-roberta", "camembert"})  # their positions count from after the padding token's id
BUDGET = 4096  # tokens at a time where nothing is learnt; more make no CPU faster, and take memory


@dataclass(frozen=True)
class Row:
    """The tokens of one input, special ones included."""

    ids: Sequence[int]
    types: Sequence[int] | None = None
    """0 for the first text's tokens and 1 for the second's; None: all 0."""


@dataclass(frozen=True)
class Packed:
    """Rows as one row of tokens."""

    ids: torch.Tensor  # (tokens,)
    types: torch.Tensor  # (tokens,)
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], device: str | torch.device = "cpu") -> Packed:
        """`rows` in their order; neighbours of the same length are the fastest."""
        ids = np.concatenate([np.asarray(row.ids, np.int64) for row in rows])
        types = [np.zeros(len(row.ids), np.int64) if row.types is None else np.asarray(row.types) for row in rows]
        return cls(
            torch.from_numpy(ids).to(device),
            torch.from_numpy(np.concatenate(types).astype(np.int64)).to(device),
            tuple(len(row.ids) for row in rows),
        )

    @cached_property
    def starts(self) -> torch.Tensor:
        """Where each row begins: (rows,)."""
        return torch.tensor([0, *np.cumsum(self.lengths)[:-1].tolist()], device=self.ids.device)

    @cached_property
    def row(self) -> torch.Tensor:
        """Which row each token is of: (tokens,)."""
        return torch.repeat_interleave(
            torch.arange(len(self.lengths), device=self.ids.device), torch.tensor(self.lengths, device=self.ids.device)
        )

    @cached_property
    def positions(self) -> torch.Tensor:
        """The place of each token in its row, from 0: (tokens,)."""
        return torch.arange(len(self.ids), device=self.ids.device) - self.starts[self.row]

    def with_ids(self, ids: torch.Tensor) -> Packed:
        """The same rows with other tokens."""
        return replace(self, ids=ids)

    def means(self, hidden: torch.Tensor) -> torch.Tensor:
        """The mean of each row's tokens: (tokens, width) to (rows, width)."""
        sums = hidden.new_zeros(len(self.lengths), hidden.shape[1]).index_add_(0, self.row, hidden)
        return sums / torch.tensor(self.lengths, device=hidden.device, dtype=hidden.dtype)[:, None]


def is_packed(network: PreTrainedModel) -> bool:
    """Whether `network` runs without padding: not with virtual tokens in use, which are put before every row."""
    manager = network.__dict__.get("aigc_adapters")
    known = network.config.model_type in PACKED and not getattr(network.config, "is_decoder", False)
    return known and (manager is None or manager.through_layers)


def word_embeddings(network: PreTrainedModel, packed: Packed) -> torch.Tensor:
    """The embeddings of the tokens, before positions and types are added: (tokens, embedding width)."""
    found: torch.Tensor = network.get_input_embeddings()(packed.ids)
    return found


def hidden(
    network: PreTrainedModel, packed: Packed, words: torch.Tensor | None = None, only: torch.Tensor | None = None
) -> torch.Tensor:
    """What the encoder's last layer gives: (tokens, width).

    words: the word embeddings to start from in place of the tokens' own, as `word_embeddings` gives them.
    only: the places of the tokens that are asked for, ascending. The last layer computes no others where it can.
    """
    body: Any = network.base_model
    if not is_packed(network):
        whole = unpadded(_padded_hidden(network, packed, words), packed)
        return whole if only is None else whole[only]
    attention.install(network)
    inputs: dict[str, Any] = {"input_ids": packed.ids[None]} if words is None else {"inputs_embeds": words[None]}
    kind = network.config.model_type
    if _takes_types(network):
        inputs["token_type_ids"] = packed.types[None]
    if kind == "modernbert":  # asks for a mask of all tokens by all tokens, unless one is given
        inputs["attention_mask"] = {"full_attention": None, "sliding_attention": None}
    first = int(network.config.pad_token_id) + 1 if kind in OFFSET else 0
    manager = network.__dict__.get("aigc_adapters")
    mixed = manager is not None and isinstance(manager.current, tuple)
    last = None
    if mixed and getattr(body, "pooler", None) is not None:
        body = last_layer.replaced(body, pooler=None)  # it reads one token of all rows, whose adapters have other names
    elif only is not None and not mixed and last_layer.is_plain(body):
        body, last = last_layer.taken_off(body)
    with each_token(network, packed):
        found = body(**inputs, position_ids=(packed.positions + first)[None], lengths=packed.lengths)
    states: torch.Tensor = found.last_hidden_state.squeeze(0)
    if only is None:
        return states
    if last is None:
        return states[only]
    asking = packed.row[only].bincount(minlength=len(packed.lengths)).tolist()
    return last_layer.of_some(last, states, only, asking, packed.lengths)


@contextmanager
def each_token(network: PreTrainedModel, packed: Packed) -> Iterator[None]:
    """For as long as the block lasts, adapters that are in use for rows are so for the tokens of these rows."""
    manager = network.__dict__.get("aigc_adapters")
    names = None if manager is None else manager.current
    if manager is None or not isinstance(names, tuple):
        yield
        return
    if len(names) != len(packed.lengths):
        message = (
            f"{len(names)} adapters are in use, one per row, and the batch has {len(packed.lengths)} rows; name as many"
        )
        raise InputError(message, field="adapter")
    with manager.using([name for name, length in zip(names, packed.lengths, strict=True) for _ in range(length)]):
        yield


def unpadded(states: torch.Tensor, packed: Packed) -> torch.Tensor:
    """(rows, longest, width) to (tokens, width)."""
    return torch.cat([row[:length] for row, length in zip(states, packed.lengths, strict=True)])


def _padded_hidden(network: Any, packed: Packed, words: torch.Tensor | None) -> torch.Tensor:
    inputs = padded(network, packed, words)
    manager = network.__dict__.get("aigc_adapters")
    if manager is None or manager.through_layers:
        return network.base_model(**inputs).last_hidden_state  # type: ignore[no-any-return]
    # Virtual tokens come in by the forward pass of the whole network.
    return network(**inputs, output_hidden_states=True).hidden_states[-1]  # type: ignore[no-any-return]


def padded(network: PreTrainedModel, packed: Packed, words: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """The same rows as an encoder's own forward pass takes them: (rows, longest)."""
    lengths = list(packed.lengths)
    filler = getattr(network.config, "pad_token_id", None) or 0
    rows = pad_sequence(list(torch.split(packed.ids, lengths)), batch_first=True, padding_value=filler)
    mask = torch.arange(rows.shape[1], device=rows.device) < torch.tensor(lengths, device=rows.device)[:, None]
    inputs = {"attention_mask": mask.long()}
    if words is None:
        inputs["input_ids"] = rows
    else:
        inputs["inputs_embeds"] = pad_sequence(list(torch.split(words, lengths)), batch_first=True)
    if _takes_types(network):
        inputs["token_type_ids"] = pad_sequence(list(torch.split(packed.types, lengths)), batch_first=True)
    return inputs


def batches(lengths: Sequence[int], budget: int = BUDGET) -> Iterator[NDArray[np.int64]]:
    """Which rows to run together: from the longest to the shortest, at most `budget` tokens at a time, at least one row."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start, tokens = 0, 0
    for place, index in enumerate(order):
        if place > start and tokens + lengths[index] > budget:
            yield order[start:place]
            start, tokens = place, 0
        tokens += lengths[index]
    if len(order):
        yield order[start:]


def _takes_types(network: PreTrainedModel) -> bool:
    """Whether the network tells the two texts of a pair apart by token types."""
    taken = "token_type_ids" in inspect.signature(network.base_model.forward).parameters
    return taken and getattr(network.config, "type_vocab_size", 0) > 1
