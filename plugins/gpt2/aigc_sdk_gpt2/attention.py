"""Causal self-attention for training on a CPU, with dropout on the attention probabilities.

torch's fast attention cannot drop probabilities on a CPU, and its slow path handles the whole square at once, half of
which is masked. Here some rows of queries at a time meet only the keys that they may see: short of 500 tokens this is
as fast as torch's fast path, dropout included.
"""

from __future__ import annotations

from typing import Any

import torch

from aigc_sdk.training import dropout
from aigc_sdk.training.dropout import Bits

ROWS = 64  # queries at a time: the least work on masked keys that still feeds the matrix units


def causal_attention(
    qkv: torch.Tensor, heads: int, scaling: float, probability: float = 0.0, bits: Bits | None = None
) -> torch.Tensor:
    """softmax(mask(queries @ keys.T * scaling)), dropped, @ values: batch x time x width.

    qkv: batch x time x (3 x width): queries, keys and values, each of `heads` heads side by side.
    probability, bits: of dropping an attention probability, and the source of its mask.
    """
    mixed: torch.Tensor = _CausalAttention.apply(qkv, heads, scaling, probability, bits)  # type: ignore[no-untyped-call]
    return mixed


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: torch.Tensor, heads: int, scaling: float, probability: float, bits: Bits | None
    ) -> torch.Tensor:
        batch, time, _ = qkv.shape
        ctx.layout = (batch, time, heads)
        query, key, value = parts = _split(qkv, ctx.layout, 3)
        ctx.scaling, ctx.kept = scaling, 1.0
        if bits is not None and probability:
            ctx.kept = dropout.scale(probability)
            value = value * ctx.kept  # instead of scaling every probability
        mixed = torch.empty_like(query)
        saved = []
        for start, stop in _slices(time):
            scores = query.new_empty(len(query), stop - start, stop)
            scores.baddbmm_(query[:, start:stop], key[:, :stop].mT, beta=0, alpha=scaling)
            scores[:, :, start:] += _future(stop - start, scores)
            weights = torch.softmax(scores, -1, out=scores)
            saved.append(weights)
            if ctx.kept != 1:
                assert bits is not None
                saved.append(bits.keep(tuple(weights.shape), probability))
                weights = weights * saved[-1]
            torch.bmm(weights, value[:, :stop], out=mixed[:, start:stop])
        ctx.save_for_backward(parts, value, *saved)
        return _merge(mixed[None], ctx.layout)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        parts, value, *saved = ctx.saved_tensors
        query, key, _ = parts
        (grad,) = _split(grads[0], ctx.layout, 1)
        result = torch.zeros_like(parts)
        query_grad, key_grad, value_grad = result
        rest = iter(saved)
        for start, stop in _slices(query.shape[1]):
            rows, weights = grad[:, start:stop], next(rest)
            slope = torch.bmm(rows, value[:, :stop].mT)
            seen = weights
            if ctx.kept != 1:
                keep = next(rest)
                slope *= keep
                seen = weights * keep
            value_grad[:, :stop].baddbmm_(seen.mT, rows, alpha=ctx.kept)
            slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
            torch.bmm(slope, key[:, :stop], out=query_grad[:, start:stop])
            key_grad[:, :stop].baddbmm_(slope.mT, query[:, start:stop], alpha=ctx.scaling)
        query_grad *= ctx.scaling
        return _merge(result, ctx.layout), None, None, None, None


def _slices(time: int) -> list[tuple[int, int]]:
    return [(start, min(start + ROWS, time)) for start in range(0, time, ROWS)]


def _future(rows: int, like: torch.Tensor) -> torch.Tensor:
    """Minus infinity where a key comes after its query, 0 elsewhere: rows x rows."""
    return torch.full((rows, rows), -torch.inf, dtype=like.dtype, device=like.device).triu_(1)


def _split(joined: torch.Tensor, layout: tuple[int, int, int], count: int) -> torch.Tensor:
    """batch x time x (count x width) as count x (batch x heads) x time x head width."""
    batch, time, heads = layout
    return joined.view(batch, time, count, heads, -1).permute(2, 0, 3, 1, 4).reshape(count, batch * heads, time, -1)


def _merge(parts: torch.Tensor, layout: tuple[int, int, int]) -> torch.Tensor:
    """The reverse of `_split`."""
    batch, time, heads = layout
    count = len(parts)
    return parts.view(count, batch, heads, time, -1).permute(1, 3, 0, 2, 4).reshape(batch, time, -1)
