"""Decoders of transformers that keep one state of all that they have read, such as Mamba."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache, DynamicCache, LinearAttentionCacheLayerMixin, LinearAttentionLayer

from aigc_sdk.adapters.manager import Names
from aigc_sdk.errors import NotOffered

from .engine import Engine, one_or_each, refuse_rewinding
from .precision import products

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Recurrent(Engine):
    """Prompts of one length are read together, so that no state has seen filling; further tokens one by one."""

    rewinds = False

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__(network)
        takes = inspect.signature(network.forward).parameters
        self._cache_name = "cache" if "cache" in takes else "cache_params"  # the name before transformers 5.24
        self._cache: Cache | None = None
        self._products = products(network)

    @torch.inference_mode()
    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int], names: Names = None) -> torch.Tensor:
        """See Engine."""
        added = self._joined(prompts, names)
        made: list[torch.Tensor] = [torch.empty(0)] * len(prompts)
        caches = [] if self._cache is None else [self._cache]
        order: list[int] = []
        for length in sorted(set(map(len, prompts))):
            rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
            cache = DynamicCache(config=self.network.config)
            logits = self._forward(cache, torch.tensor([prompts[row] for row in rows]), [added[row] for row in rows])
            for row, found in zip(rows, logits, strict=True):
                made[row] = found
            caches.append(cache)
            order += rows
        first = len(self.lengths)
        self.lengths, self.names = self.lengths + list(map(len, prompts)), self.names + added
        self._cache = _joined(caches)
        back = sorted(range(len(order)), key=order.__getitem__)
        _select(self._cache, [*range(first), *(first + place for place in back)])
        return torch.stack(made)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See Engine."""
        assert self._cache is not None
        self.lengths = [length + 1 for length in self.lengths]
        return self._forward(self._cache, tokens[:, None], self.names)

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]], last: bool = False) -> torch.Tensor:
        """See Engine."""
        assert self._cache is not None
        found: list[list[torch.Tensor]] = [[] for _ in tokens]
        for place in range(max(map(len, tokens))):
            rows = [row for row, more in enumerate(tokens) if len(more) > place]
            some = self._cache if len(rows) == len(tokens) else _copied(self._cache, rows)
            given = torch.tensor([[tokens[row][place]] for row in rows])
            logits = self._forward(some, given, [self.names[row] for row in rows])
            if some is not self._cache:
                _put(some, self._cache, rows)
            for row, made in zip(rows, logits, strict=True):
                found[row] = [made] if last else [*found[row], made]
        self.lengths = [length + len(more) for length, more in zip(self.lengths, tokens, strict=True)]
        return torch.stack([each for row in found for each in row])

    def rewind(self, counts: Sequence[int]) -> None:
        """Refused unless there is nothing to forget."""
        self._check_rewind(counts)
        if any(counts):
            raise refuse_rewinding(self.network)

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """See Engine."""
        assert self._cache is not None
        self._keep(rows)
        _select(self._cache, rows)

    def _forward(self, cache: Cache, tokens: torch.Tensor, names: Sequence[str | None]) -> torch.Tensor:
        """The logits after the last token: tokens rows x time -> rows x vocabulary."""
        with self.adapters.using(one_or_each(names)), self._products:
            given: dict[str, Any] = {self._cache_name: cache, "logits_to_keep": 1}
            made = self.network(input_ids=tokens.to(self.network.device), use_cache=True, **given)
        logits: torch.Tensor = made.logits[:, -1]
        return logits


def keeps_state(network: PreTrainedModel) -> bool:
    """Whether all layers keep a state. Raises NotOffered where some do, and some keep keys and values."""
    layers = DynamicCache(config=network.config).layers
    kinds = [isinstance(each, LinearAttentionCacheLayerMixin) for each in layers]
    if any(kinds) and not all(type(each) is LinearAttentionLayer for each in layers):
        raise NotOffered(
            f"a {network.config.model_type!r} model mixes layers that keep a state with others; such models are not decoded here"
        )
    return any(kinds)


def _states(cache: Any) -> Iterator[tuple[dict[int, torch.Tensor], int]]:
    """Where each state is kept, rows first."""
    for layer in cache.layers:
        for states in (layer.conv_states, layer.recurrent_states):
            yield from ((states, which) for which, state in states.items() if state is not None)


def _joined(caches: Sequence[Cache]) -> Cache:
    for kept, *others in zip(*map(_states, caches), strict=True):
        kept[0][kept[1]] = torch.cat([states[which] for states, which in (kept, *others)])
    return caches[0]


def _select(cache: Cache, rows: Sequence[int]) -> None:
    for states, which in _states(cache):
        states[which] = states[which][list(rows)]


def _copied(cache: Cache, rows: Sequence[int]) -> Cache:
    found: Any = copy.copy(cache)
    found.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in found.layers:
        layer.conv_states, layer.recurrent_states = dict(layer.conv_states), dict(layer.recurrent_states)
    _select(found, rows)
    return found  # type: ignore[no-any-return]


def _put(some: Cache, cache: Cache, rows: Sequence[int]) -> None:
    """Put the states of `some`, which are those of these rows, back."""
    for (states, which), (whole, place) in zip(_states(some), _states(cache), strict=True):
        whole[place][list(rows)] = states[which]
