"""Attention within the rows of a packed batch, under the name by which transformers' modules find it.

Without dropout each row is torch's own attention. With it torch, on a CPU, draws a number for each probability and keeps
a dozen small results per row for the gradient; here the whole batch is one step of autograd, with masks of bulk bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from aigc_sdk.training import dropout as masks
from aigc_sdk.training.dropout import Bits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

NAME = "aigc_packed"  # under which transformers knows it
STEP = 32  # tokens, of whose multiples rows are that attend together where probabilities are dropped


def install(network: PreTrainedModel) -> None:
    """Let the network attend by `attend`, which does what torch's does wherever no rows are given."""
    if network.config._attn_implementation == NAME:
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    network.set_attn_implementation(NAME)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    lengths: tuple[int, ...] | None = None,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in every row of a packed batch: (1, heads, tokens, head width) to (1, tokens, heads, head width)."""
    if lengths is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
    mixed = attend_rows(
        query.squeeze(0), key.squeeze(0), value.squeeze(0), lengths, lengths, scaling, dropout, sliding_window
    )
    return mixed[None], None


def attend_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    asking: Sequence[int],
    lengths: Sequence[int],
    scaling: float | None,
    dropout: float = 0.0,
    window: int | None = None,
) -> torch.Tensor:
    """Each row's queries over its keys: (heads, tokens, head width) to (queries, heads, head width).

    asking, lengths: how many queries and how many keys each row has. window: only where both are the same.
    """
    bits = masks.current()
    if dropout and bits is not None:
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attend_dropping(query, key, value, asking, lengths, scaling, dropout, bits, window)
    groups = [(asks, has, len(list(group))) for (asks, has), group in groupby(zip(asking, lengths, strict=True))]
    # Splitting once, instead of slicing group by group, has one gradient instead of many of the whole batch's size.
    queries = torch.split(query, [asks * count for asks, _, count in groups], 1)
    keys, values = (torch.split(each, [has * count for _, has, count in groups], 1) for each in (key, value))
    mixed = []
    for (_, has, count), q, k, v in zip(groups, queries, keys, values, strict=True):
        mask = None if window is None else _near(has, window, query.device)
        found = F.scaled_dot_product_attention(
            _rows(q, count), _rows(k, count), _rows(v, count), mask, dropout_p=dropout, scale=scaling
        )
        mixed.append(found.transpose(1, 2).flatten(0, 1))  # (count x queries, heads, head width)
    return torch.cat(mixed)


def _rows(states: torch.Tensor, count: int) -> torch.Tensor:
    """(heads, count x length, width) to (count, heads, length, width)."""
    heads, tokens, width = states.shape
    return states.reshape(heads, count, tokens // count, width).transpose(0, 1)


def _near(length: int, window: int, device: torch.device) -> torch.Tensor | None:
    """True where a token may look at another: fewer than `window` places away; None where all are that near."""
    if length <= window:
        return None
    places = torch.arange(length, device=device)
    return (places[:, None] - places).abs() < window


def attend_dropping(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    asking: Sequence[int],
    lengths: Sequence[int],
    scaling: float,
    probability: float,
    bits: Bits,
    window: int | None = None,
) -> torch.Tensor:
    """softmax(queries @ keys.T * scaling), dropped by `bits`, @ values, as `attend_rows`."""
    plan = _plan(tuple(asking), tuple(lengths), window)
    parts = [each.transpose(0, 1) for each in (query, key, value)]
    mixed: torch.Tensor = _Dropping.apply(*parts, plan, scaling, probability, bits)  # type: ignore[no-untyped-call]
    return mixed


class _Group(NamedTuple):
    """Rows of about one length, which attend together; places of no token fill them up to one size."""

    rows: int
    queries: torch.Tensor  # (rows x size,), which token stands there
    keys: torch.Tensor  # (rows x size,)
    hidden: torch.Tensor | None  # what a query must not see, in (rows, heads, queries, keys)


class _Plan(NamedTuple):
    groups: list[_Group]
    queries: torch.Tensor  # (queries,), where each stands among the places of all groups
    keys: torch.Tensor  # (tokens,)


@lru_cache(maxsize=4)  # the layers of a network ask one after the other, forth and back
def _plan(asking: tuple[int, ...], lengths: tuple[int, ...], window: int | None) -> _Plan:
    first, start = np.cumsum([0, *asking]), np.cumsum([0, *lengths])
    rows_of: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        rows_of.setdefault(_rounded(length), []).append(row)
    groups = []
    for size, rows in rows_of.items():
        asks = [asking[row] for row in rows]
        keys = _places(start[rows], [lengths[row] for row in rows], size, start[-1])
        hidden = (keys == start[-1])[:, None, None]
        near = None if window is None else _near(size, window, keys.device)
        if near is not None:
            hidden = hidden | ~near
        queries = _places(first[rows], asks, size if window else _rounded(max(asks)), first[-1])
        groups.append(_Group(len(rows), queries.flatten(), keys.flatten(), hidden if bool(hidden.any()) else None))
    standing = [torch.cat(each).argsort() for each in zip(*((each.queries, each.keys) for each in groups), strict=True)]
    return _Plan(groups, standing[0][: first[-1]], standing[1][: start[-1]])


def _rounded(size: int) -> int:
    """Sizes of which there are few: the products' kernels are made once for each."""
    return 1 if size <= 1 else -(-size // STEP) * STEP


def _places(starts: NDArray[np.int64], counts: Sequence[int], size: int, none: int) -> torch.Tensor:
    """The places of each row's tokens, and behind them `none`: (rows, size)."""
    steps = np.arange(size)
    return torch.from_numpy(np.where(steps < np.array(counts)[:, None], starts[:, None] + steps, none))


class _Dropping(torch.autograd.Function):
    """query, key, value: (tokens, heads, head width)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        plan: _Plan,
        scaling: float,
        probability: float,
        bits: Bits,
    ) -> torch.Tensor:
        ctx.plan, ctx.scaling, ctx.kept = plan, scaling, masks.scale(probability)
        query, key, value = _with_none(query), _with_none(key), _with_none(value)
        value *= ctx.kept  # instead of scaling every probability
        mixed, saved = [], []
        for group in plan.groups:
            q = _apart(query, group.queries, group.rows)
            k, v = (_apart(each, group.keys, group.rows) for each in (key, value))
            scores = q.new_empty(len(q), q.shape[1], k.shape[1]).baddbmm_(q, k.mT, beta=0, alpha=scaling)
            if group.hidden is not None:
                scores.view(group.rows, -1, *scores.shape[1:]).masked_fill_(group.hidden, torch.finfo(q.dtype).min)
            weights = torch.softmax(scores, -1, out=scores)
            keep = bits.keep(tuple(weights.shape), probability, weights.dtype)
            mixed.append(_joined(torch.bmm(weights * keep, v), group.rows))
            saved += [q, k, v, weights, keep]
        ctx.save_for_backward(*saved)
        return torch.cat(mixed).index_select(0, plan.queries)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad = _with_none(grads[0])
        found: tuple[list[torch.Tensor], ...] = ([], [], [])
        saved = iter(ctx.saved_tensors)
        for group, q, k, v, weights, keep in zip(ctx.plan.groups, *[saved] * 5, strict=True):
            g = _apart(grad, group.queries, group.rows)
            slope = torch.bmm(g, v.mT).mul_(keep)
            slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
            made = (torch.bmm(slope, k), torch.bmm(slope.mT, q), torch.bmm((weights * keep).mT, g))
            for one, some in zip(made, found, strict=True):
                some.append(_joined(one, group.rows))
        places = (ctx.plan.queries, ctx.plan.keys, ctx.plan.keys)
        factors = (ctx.scaling, ctx.scaling, ctx.kept)
        whole = [
            torch.cat(some).index_select(0, at).mul_(factor)
            for some, at, factor in zip(found, places, factors, strict=True)
        ]
        return (*whole, None, None, None, None)


def _with_none(states: torch.Tensor) -> torch.Tensor:
    """One more token, of zeros."""
    return F.pad(states, (0, 0, 0, 0, 0, 1))


def _apart(states: torch.Tensor, places: torch.Tensor, rows: int) -> torch.Tensor:
    """(tokens, heads, head width) to (rows x heads, size, head width)."""
    _, heads, width = states.shape
    return states.index_select(0, places).view(rows, -1, heads, width).transpose(1, 2).flatten(0, 1)


def _joined(states: torch.Tensor, rows: int) -> torch.Tensor:
    """The reverse of `_apart`: (rows x heads, size, head width) to (rows x size, heads, head width)."""
    products, size, width = states.shape
    return states.view(rows, products // rows, size, width).transpose(1, 2).flatten(0, 1)
