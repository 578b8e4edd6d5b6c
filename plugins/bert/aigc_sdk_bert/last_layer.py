"""The last layer of BERT and its relatives for those tokens alone that somebody reads.

A classifier reads one token of a text, and a masked language model those that are masked. Of the other tokens the last
layer needs keys and values only: four fifths of its work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from .attention import attend_rows

KINDS = frozenset({"BertLayer", "RobertaLayer", "XLMRobertaLayer", "CamembertLayer", "ElectraLayer"})


def is_plain(body: Any) -> bool:
    """Whether the last layer of an encoder is one of those known here, as transformers made it."""
    layers = getattr(getattr(body, "encoder", None), "layer", None)
    if not layers:
        return False
    layer = layers[-1]
    if type(layer).__name__ not in KINDS or layer.is_decoder or getattr(layer, "gradient_checkpointing", False):
        return False
    skipped = (
        body.encoder,
        layer,
        layer.attention,
        layer.attention.self,
    )  # their hooks would not be called, or see less
    return not any(each._forward_hooks or each._forward_pre_hooks for each in skipped)


def taken_off(body: Any) -> tuple[Any, Any]:
    """The same encoder without its last layer, and so without a pooler; and that layer."""
    layers = body.encoder.layer
    return replaced(body, encoder=replaced(body.encoder, layer=layers[:-1]), pooler=None), layers[-1]


def replaced(module: torch.nn.Module, **children: torch.nn.Module | None) -> Any:
    """The same module with other children, whose own stay as they are."""
    found = copy.copy(module)
    found.__dict__["_modules"] = {**module._modules, **children}
    return found


def of_some(
    layer: Any, states: torch.Tensor, only: torch.Tensor, asking: Sequence[int], lengths: Sequence[int]
) -> torch.Tensor:
    """What `layer` makes of the tokens at the places `only`: (tokens, width) to (asked, width).

    asking, lengths: how many tokens of each row are asked for, and how many it has.
    """
    inner = layer.attention.self
    some = states[only]
    query, key, value = (
        linear(x).unflatten(-1, (-1, inner.attention_head_size)).transpose(0, 1)
        for linear, x in ((inner.query, some), (inner.key, states), (inner.value, states))
    )
    probability = inner.dropout.p if inner.training else 0.0
    mixed = attend_rows(query, key, value, asking, lengths, inner.scaling, probability)
    return layer.feed_forward_chunk(layer.attention.output(mixed.flatten(1), some))  # type: ignore[no-any-return]
