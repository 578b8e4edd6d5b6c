"""GPT-2 in plain torch: no padding among prompts, and none of the library's work per token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional as F

from aigc_sdk.adapters.hooks import LayerHook
from aigc_sdk.adapters.manager import Names
from aigc_sdk.adapters.virtual import VirtualTokens
from aigc_sdk.errors import NotOffered
from aigc_sdk_gpt2.network import is_plain_gpt2, is_tanh_gelu

from .engine import Engine, one_or_each, read_limit
from .precision import Packed, Product, turns

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPARE = 64  # places that are added to the cache when a row outgrows the room it was promised


class PlainGPT2(Engine):
    """GPT-2 after Radford et al. 2019, over the parameters of a transformers module.

    Tokens are read as one long row for the matrix products, and each sequence by itself for the attention. Every row has
    a slot of the cache, filled from the left. The slots of n rows are the first n, in an order of their own, so that
    a row that leaves moves one other at most.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__(network)
        body: Any = network.transformer
        self._tokens, self._positions = body.wte.weight, body.wpe.weight
        self._norm, self._head = _Norm.of(body.ln_f), network.lm_head.weight
        self._packed = Packed.of(network)
        self._head_product = self._packed.product(self._head)
        self._heads = network.config.n_head
        self._changed: frozenset[str] = frozenset()
        self._layers = self._built()
        self._slots: list[int] = []  # of each row
        self._cache = self._empty(0, 0)

    @staticmethod
    def runs(network: PreTrainedModel) -> bool:
        """Whether `network` is a GPT-2 that nobody has changed, by hooks that are not our adapters'."""
        hooks = [
            hook
            for each in network.modules()
            for hook in (*each._forward_hooks.values(), *each._forward_pre_hooks.values())
        ]
        return is_plain_gpt2(network) and all(
            isinstance(getattr(hook, "__self__", None), LayerHook | VirtualTokens) for hook in hooks
        )

    @torch.inference_mode()
    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int], names: Names = None) -> torch.Tensor:
        """See Engine."""
        first, count = len(self.lengths), len(prompts)
        self._adapt([*self.names, *self._joined(prompts, names)])
        wanted = [len(prompt) + more for prompt, more in zip(prompts, room, strict=True)]
        self._reserve(first + count, max(wanted, default=0))
        self._slots += range(first, first + count)
        self.lengths += [0] * count
        return self._read(range(first, first + count), prompts, last=True)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See Engine."""
        self._reserve(len(self.lengths), max(self.lengths) + 1, SPARE)
        rows, device = self._rows_of_slots(), self._tokens.device
        moved = rows != sorted(rows)  # rows and slots are in one order until one has left
        ends = torch.tensor([self.lengths[row] for row in rows], device=device)  # where each slot is written
        given = tokens.to(device)
        with self.adapters.using(one_or_each([self.names[row] for row in rows])):
            x = self._stepped(given[rows] if moved else given, ends)
        self.lengths = [length + 1 for length in self.lengths]
        return self.logits(self._norm(x[self._slots] if moved else x))

    def _stepped(self, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """One token of every slot, at the place where it is written, through all layers: slots x width."""
        count, longest, alike = len(tokens), max(self.lengths) + 1, min(self.lengths) == max(self.lengths)
        seen = None if alike else (torch.arange(longest, device=ends.device) <= ends[:, None])[:, None, None]
        slots = torch.arange(count, device=ends.device)
        kept = self._cache[:, :, :count]
        keys, values = kept[:, :, :, :, :longest].unbind(1)  # each: layers x slots x heads x places x head width
        places = kept[:, :, :, :, longest - 1].transpose(1, 2)  # layers x slots x 2 x heads x head width
        views = (keys.unbind(), values.unbind(), places.unbind())
        query = kept.new_empty(count, 1, self._heads, kept.shape[-1])
        x = torch.embedding(self._tokens, tokens) + torch.embedding(self._positions, ends)
        for layer, cache, key, value, place in zip(self._layers, self._cache, *views, strict=True):
            asks, new = layer.heads(x, self._heads).split_with_sizes((1, 2), 1)
            query.copy_(asks)
            if alike:
                place.copy_(new)
            else:
                cache[:, slots, :, ends] = new.to(cache.dtype)
            x = layer.rest(x, attend_once(query.transpose(1, 2), key, value, seen, layer.scaling).to(x.dtype))
        return x

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]], last: bool = False) -> torch.Tensor:
        """See Engine."""
        longest = max(length + len(more) for length, more in zip(self.lengths, tokens, strict=True))
        self._reserve(len(self.lengths), longest, SPARE)
        return self._read(range(len(tokens)), tokens, last)

    def rewind(self, counts: Sequence[int]) -> None:
        """See Engine."""
        self._check_rewind(counts)
        self.lengths = [length - count for length, count in zip(self.lengths, counts, strict=True)]

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """See Engine."""
        sources = [self._slots[row] for row in rows]
        self._reserve(len(rows), 0)
        stays = {slot for slot in sources if slot < len(rows)}
        free = iter([slot for slot in range(len(rows)) if slot not in stays])
        self._slots = []
        for row, source in zip(rows, sources, strict=True):
            slot = source
            if source in stays:
                stays.remove(source)
            else:  # it lies behind the rows that are left, or is there already
                slot = next(free)
                length = self.lengths[row]
                self._cache[:, :, slot, :, :length] = self._cache[:, :, source, :, :length]
            self._slots.append(slot)
        self._keep(rows)
        self._adapt(self.names)

    @torch.inference_mode()
    def hidden(self, rows: Sequence[Sequence[int]], names: Names = None) -> torch.Tensor:
        """What the last norm gives for each token of sequences that are read by themselves: all tokens x width."""
        of_rows = [names] * len(rows) if names is None or isinstance(names, str) else list(names)
        self._adapt([*self.names, *of_rows])
        pieces = [_Piece(slot, 0, row, name) for slot, (row, name) in enumerate(zip(rows, of_rows, strict=True))]
        made = [self._norm(self._through(part, None, False)) for part in self._parts(pieces)]
        self.names = self.names[: len(self.lengths)]
        return torch.cat(made)

    def _read(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], last: bool) -> torch.Tensor:
        """Append tokens to rows; the logits after every one, or after the last of each row that got any."""
        pieces = [
            _Piece(self._slots[row], self.lengths[row], more, self.names[row])
            for row, more in zip(rows, tokens, strict=True)
            if more
        ]
        made = [self.logits(self._norm(self._through(part, self._cache, last))) for part in self._parts(pieces)]
        for row, more in zip(rows, tokens, strict=True):
            self.lengths[row] += len(more)
        return torch.cat(made) if made else self._tokens.new_empty(0, len(self._head))

    def _parts(self, pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
        return (pieces[part] for part in portions([len(each.tokens) for each in pieces], read_limit(self.network)))

    def _through(self, pieces: Sequence[_Piece], kept: torch.Tensor | None, last: bool) -> torch.Tensor:
        """All tokens, or the last of each piece, through all layers: tokens x width."""
        device = self._tokens.device
        ends = torch.tensor([len(each.tokens) for each in pieces], device=device).cumsum(0) - 1
        tokens = torch.tensor([token for each in pieces for token in each.tokens], device=device)
        places = torch.cat([torch.arange(each.old, each.old + len(each.tokens)) for each in pieces]).to(device)
        x: torch.Tensor = self._tokens[tokens] + self._positions[places]
        names = one_or_each([each.name for each in pieces for _ in each.tokens])
        masks: dict[tuple[int, int], torch.Tensor] = {}
        for layer, cache in zip(self._layers, kept if kept is not None else [None] * len(self._layers), strict=True):
            with self.adapters.using(names):
                qkv = layer.heads(x, self._heads)
            mixed = self._attend(layer.scaling, qkv, pieces, cache, masks)
            if last and layer is self._layers[-1]:
                x, mixed, names = x[ends], mixed[ends], one_or_each([each.name for each in pieces])
            with self.adapters.using(names):
                x = layer.rest(x, mixed)
        return x

    def _attend(
        self,
        scaling: float,
        qkv: torch.Tensor,
        pieces: Sequence[_Piece],
        cache: torch.Tensor | None,
        masks: dict[tuple[int, int], torch.Tensor],
    ) -> torch.Tensor:
        """Each row attends to itself, and its cache is filled: tokens x 3 x heads x head width -> tokens x width."""
        mixed = qkv.new_empty(len(qkv), qkv.shape[2] * qkv.shape[3])
        qkv = qkv if cache is None else qkv.to(cache.dtype)
        start = 0
        for slot, count, old, new in _alike(pieces):
            stop = start + count * new
            query, keys, values = qkv[start:stop].view(count, new, *qkv.shape[1:]).permute(2, 0, 3, 1, 4)
            if cache is not None:
                cache[:, slot : slot + count, :, old : old + new] = torch.stack((keys, values))
                keys, values = cache[:, slot : slot + count, :, : old + new] if old else (keys, values)
            if old and new > 1 and (old, new) not in masks:
                masks[old, new] = torch.ones(new, old + new, dtype=torch.bool, device=qkv.device).tril(old)
            mask = masks.get((old, new))
            found = F.scaled_dot_product_attention(query, keys, values, mask, is_causal=not old, scale=scaling)
            mixed[start:stop] = found.transpose(1, 2).reshape(count * new, -1)
            start = stop
        return mixed

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """What the head makes of the last norm's results: rows x width -> rows x vocabulary."""
        return F.linear(x, self._head) if self._head_product is None else self._head_product(x, None)

    def _rows_of_slots(self) -> list[int]:
        rows = [0] * len(self._slots)
        for row, slot in enumerate(self._slots):
            rows[slot] = row
        return rows

    def _reserve(self, slots: int, places: int, spare: int = 0) -> None:
        """Make the cache hold so many rows of so many places; where it must grow for places, with `spare` ones."""
        _, _, there, _, room, _ = self._cache.shape
        if slots <= there and places <= room:
            return
        kept, used = self._cache, max(self.lengths, default=0)
        self._cache = self._empty(max(slots, there), room if places <= room else places + spare)
        count = len(self._slots)
        self._cache[:, :, :count, :, :used] = kept[:, :, :count, :, :used]

    def _empty(self, slots: int, places: int) -> torch.Tensor:
        """Room for keys and values: layers x 2 x slots x heads x places x head width. Zeros: a masked NaN is still one."""
        config = self.network.config
        shape = (config.n_layer, 2, slots, self._heads, places, config.n_embd // self._heads)
        return torch.zeros(shape, dtype=self._packed.cache_dtype(self._tokens.dtype), device=self._tokens.device)

    def _adapt(self, names: list[str | None]) -> None:
        """Let the layers compute what the rows' adapters make of them."""
        self.names = names
        with self.adapters.using(tuple(set(names))):
            if not self.adapters.through_layers:
                raise NotOffered("an adapter of virtual tokens joined an engine that was made for rows without one")
            changed = self.adapters.changed
        if changed != self._changed:
            self._changed = changed
            self._layers = self._built()

    def _built(self) -> list[_Layer]:
        hooks = {name: LayerHook(self.adapters, name) for name in self._changed}
        body: Any = self.network.transformer
        return [_Layer.of(each, self._packed, hooks, f"transformer.h.{place}.") for place, each in enumerate(body.h)]


class _Norm(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> _Norm:
        return cls(module.weight, module.bias, module.eps)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Linear(NamedTuple):
    weight: torch.Tensor  # in x out
    bias: torch.Tensor
    product: Product
    hook: LayerHook | None

    @classmethod
    def of(cls, module: Any, packed: Packed, hook: LayerHook | None) -> _Linear:
        product = packed.product(module.weight, transposed=True)
        return cls(module.weight, module.bias, product or partial(_multiplied, module.weight), hook)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.hook is None:
            return self.product(x, self.bias)
        changed = self.hook.before(None, (x,))
        x = x if changed is None else changed
        return self.hook.after(None, (x,), self.product(x, self.bias))


def _multiplied(weight: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return F.linear(x, weight.T, bias)


class _Layer(NamedTuple):
    """One block's parameters as they are now, and its computation on rows x width."""

    norm: _Norm
    qkv: _Linear
    mix: _Linear
    scaling: float
    second_norm: _Norm
    widen: _Linear
    act: Callable[[torch.Tensor], torch.Tensor]
    narrow: _Linear

    @classmethod
    def of(cls, block: Any, packed: Packed, hooks: Mapping[str, LayerHook], stem: str) -> _Layer:
        modules = {name: block.get_submodule(name) for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
        qkv, mix, widen, narrow = [_Linear.of(each, packed, hooks.get(stem + name)) for name, each in modules.items()]
        norm, second = _Norm.of(block.ln_1), _Norm.of(block.ln_2)
        return cls(norm, qkv, mix, block.attn.scaling, second, widen, _act(block.mlp.act), narrow)

    def heads(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        """Queries, keys and values: rows x 3 x heads x head width."""
        return self.qkv(self.norm(x)).view(x.shape[0], 3, heads, -1)

    def rest(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """All that follows the attention, whose result is `mixed`."""
        x = x + self.mix(mixed)
        return x + self.narrow(self.act(self.widen(self.second_norm(x))))


def _act(act: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return _tanh_gelu if is_tanh_gelu(act) else act


def _tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


def attend_once(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Attention of one query per slot and head (slots x heads x 1 x width) to what the cache holds: slots x (heads width)."""
    if key.device.type != "cpu" or not turns(key.dtype):
        return F.scaled_dot_product_attention(query, key, value, seen, scale=scaling).flatten(1)
    scores = torch.matmul(key, query.transpose(2, 3)).transpose(2, 3).mul_(scaling)
    if seen is not None:
        scores = scores.masked_fill_(~seen, -math.inf)
    return torch.matmul(scores.softmax(-1), value).flatten(1)


class _Piece(NamedTuple):
    """Tokens that are read together, behind the `old` ones that their slot holds."""

    slot: int
    old: int
    tokens: Sequence[int]
    name: str | None


def _alike(pieces: Sequence[_Piece]) -> Iterator[tuple[int, int, int, int]]:
    """Neighbours that are one call: their first slot and their number, what each holds, and what each gets."""
    for (_, old, new), run in groupby(
        enumerate(pieces), lambda each: (each[1].slot - each[0], each[1].old, len(each[1].tokens))
    ):
        some = list(run)
        yield some[0][1].slot, len(some), old, new


def portions(sizes: Sequence[int], most: int) -> list[slice]:
    """Neighbours that are read together, by how many tokens each has; at most so many, if it is more than one."""
    found, start, tokens = [], 0, 0
    for place, size in enumerate(sizes):
        if place > start and tokens + size > most:
            found.append(slice(start, place))
            start, tokens = place, 0
        tokens += size
    return [*found, slice(start, len(sizes))] if sizes else []
