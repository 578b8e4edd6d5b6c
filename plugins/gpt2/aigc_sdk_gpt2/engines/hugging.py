"""Any decoder of transformers that keeps keys and values, through its own forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from aigc_sdk.adapters.manager import Names
from aigc_sdk.adapters.virtual import Prompt

from .engine import Engine, one_or_each, read_limit
from .precision import products
from .roomy import RoomyCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class HuggingFace(Engine):
    """The model's own forward pass, over a cache in which rows join, leave, fork and forget."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__(network)
        takes = inspect.signature(network.forward).parameters
        self._takes_positions = "position_ids" in takes
        self._takes_kept = "logits_to_keep" in takes
        self._cache_name = "cache" if "cache" in takes else "past_key_values"  # the name before transformers 5.24
        self._products = products(network)
        self._cache = self._empty([], [])

    @torch.inference_mode()
    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int], names: Names = None) -> torch.Tensor:
        """See Engine."""
        added = self._joined(prompts, names)
        caches, made = [], []
        parts = _portions(prompts, read_limit(self.network))
        for part in parts:
            some, its = [prompts[row] for row in part], [added[row] for row in part]
            cache = self._empty([0] * len(part), [self._virtual(name) for name in its])
            made.append(self._forward(cache, _filled(some), list(map(len, some)), its, 1)[:, -1])
            caches.append(cache)
        self._cache.arrange(range(len(self.lengths)), self.lengths)
        self._cache.absorb(caches)
        first, read = len(self.lengths), [row for part in parts for row in part]
        back = sorted(range(len(read)), key=read.__getitem__)
        rows = [*range(first), *(first + place for place in back)]
        self._cache.arrange(rows, [self._cache.lengths[row] for row in rows])
        self.lengths, self.names = list(self._cache.lengths), self.names + added
        return torch.cat(made)[back]

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See Engine."""
        self._cache.arrange(range(len(self.lengths)), self.lengths)
        logits = self._forward(self._cache, tokens[:, None], [1] * len(self.lengths), self.names, 1)
        self.lengths = list(self._cache.lengths)
        return logits[:, -1]

    @torch.inference_mode()
    def extend(self, tokens: Sequence[Sequence[int]], last: bool = False) -> torch.Tensor:
        """See Engine."""
        sizes = list(map(len, tokens))
        longest, even = max(sizes), len(set(sizes)) == 1
        self._cache.arrange(range(len(sizes)), self.lengths, None if even else sizes)
        logits = self._forward(self._cache, _filled(tokens), sizes, self.names, 1 if last else longest)
        self.lengths = list(self._cache.lengths)
        asked = [min(1, size) for size in sizes] if last else sizes
        return torch.cat([row[len(row) - count :] for row, count in zip(logits, asked, strict=True)])

    def rewind(self, counts: Sequence[int]) -> None:
        """See Engine. The cache follows with what comes next."""
        self._check_rewind(counts)
        self.lengths = [length - count for length, count in zip(self.lengths, counts, strict=True)]

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """See Engine."""
        self._keep(rows)
        self._cache.arrange(rows, self.lengths)

    def _forward(
        self, cache: RoomyCache, tokens: torch.Tensor, sizes: Sequence[int], names: Sequence[str | None], kept: int
    ) -> torch.Tensor:
        """The last `kept` logits of rows that get `sizes` tokens each, filled up on the left: rows x kept x vocabulary."""
        device, time = self.network.device, tokens.shape[1]
        ends = torch.tensor([old + size for old, size in zip(cache.lengths, sizes, strict=True)], device=device)[
            :, None
        ]
        longest = int(ends.max())
        given: dict[str, Any] = {self._cache_name: cache}
        if int(ends.min()) < longest:  # without filling the faster attention may be used
            given["attention_mask"] = (torch.arange(longest, device=device) >= longest - ends).long()
        if self._takes_positions:
            given["position_ids"] = (ends - time + torch.arange(time, device=device)).clamp(min=0)
        if self._takes_kept:
            given["logits_to_keep"] = kept
        if any(cache.lengths) and min(sizes) < time:
            own = torch.arange(time, device=device) >= time - torch.tensor(sizes, device=device)[:, None]
            cache.write_only(own)
        with self.adapters.using(one_or_each(names)), self._products:
            logits: torch.Tensor = self.network(input_ids=tokens.to(device), use_cache=True, **given).logits
        cache.write_only(None)
        cache.lengths = ends[:, 0].tolist()
        return logits[:, -kept:]

    def _virtual(self, name: str | None) -> int:
        """How many places of the cache an adapter takes."""
        virtual = None if name is None else self.adapters[name].virtual
        return virtual.tokens if isinstance(virtual, Prompt) else 0

    def _empty(self, lengths: list[int], virtual: list[int]) -> RoomyCache:
        cache = RoomyCache(int(self.network.config.num_hidden_layers))
        cache.lengths, cache.virtual = lengths, virtual
        return cache


def _portions(prompts: Sequence[Sequence[int]], most: int) -> list[list[int]]:
    """Prompts that are read together: of lengths that differ little, and not too many places, filling included."""
    found: list[list[int]] = []
    for row in sorted(range(len(prompts)), key=lambda row: len(prompts[row])):
        longest = len(prompts[row])
        begun = found and (len(found[-1]) + 1) * longest <= most and longest <= 2 * len(prompts[found[-1][0]])
        if begun:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _filled(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Tokens filled up on the left: int64, rows x longest."""
    longest = max(map(len, rows))
    tokens = torch.zeros(len(rows), longest, dtype=torch.int64)
    for filled, row in zip(tokens, rows, strict=True):
        filled[longest - len(row) :] = torch.tensor(row, dtype=torch.int64)
    return tokens
