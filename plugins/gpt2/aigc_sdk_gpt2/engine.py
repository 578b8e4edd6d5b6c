"""The decode engines: a batch of growing sequences in, the logits of the next token out.

`HuggingFace` runs any decoder-only model of transformers. `PlainGPT2` runs GPT-2 over the same parameters, without the
library's work per token. A faster one, with its own kernels or integer weights, takes its place in `engine_for`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional as F

from aigc_sdk.adapters import Adapters
from aigc_sdk.adapters.hooks import LayerHook
from aigc_sdk.adapters.manager import Names
from aigc_sdk.adapters.virtual import VirtualTokens

from .network import is_plain_gpt2

if TYPE_CHECKING:
    from transformers import PreTrainedModel

READ_LIMIT = 4096  # tokens of prompts that PlainGPT2 reads at a time; more are not faster, and take more memory


class Engine(ABC):
    """Decodes one batch. Its rows are prompts of any lengths; no row's logits depend on another row.

    `prefill` comes first; then `step` and `select` in any order. Nothing is computed before it is asked for, and no
    state outlives the engine. `torch.inference_mode` is entered and left within each call. The adapters that are in use
    when an engine is made, one for all rows or one for each, stay its own.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self.adapters = Adapters.of(network)
        self.names = self.adapters.current

    @abstractmethod
    def prefill(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        """Read the prompts; `room` tokens at most will follow. The logits of the next token: rows x vocabulary."""

    @abstractmethod
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token (int64, rows) to every row. The logits of the next: rows x vocabulary."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order; a row that is named twice goes on twice, one that is not is dropped."""
        if isinstance(self.names, tuple):
            self.names = tuple(self.names[row] for row in rows)


def engine_for(network: PreTrainedModel) -> Engine:
    """The fastest engine that computes what `network` does, with the adapters that are in use now."""
    return PlainGPT2(network) if PlainGPT2.runs(network) else HuggingFace(network)


def cache_bytes(network: PreTrainedModel) -> int:
    """Bytes of keys and values per token of one sequence."""
    config: Any = network.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * network.dtype.itemsize)


class HuggingFace(Engine):
    """Through the model's own forward pass and cache; shorter prompts are padded on the left and masked."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__(network)
        takes = inspect.signature(network.forward).parameters
        self._takes_positions = "position_ids" in takes
        self._cache_name = "cache" if "cache" in takes else "past_key_values"  # the name before transformers 5.24
        self._fixed = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        from transformers import DynamicCache

        self._cache = DynamicCache(config=self.network.config)
        tokens, self._mask = _padded(prompts, self.network.device)
        self._ragged = not bool(self._mask.all())  # without padding the faster attention may be used
        self._positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        return self._forward(tokens)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._mask = F.pad(self._mask, (0, 1), value=1)
        self._positions = self._positions[:, -1:] + 1
        return self._forward(tokens.to(self.network.device)[:, None])

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        super().select(rows)
        index = torch.tensor(rows, device=self.network.device)
        self._cache.batch_select_indices(index)
        self._mask, self._positions = self._mask[index], self._positions[index]

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = {"position_ids": self._positions} if self._takes_positions else {}
        with self.adapters.using(self.names):
            made = self.network(
                input_ids=tokens,
                attention_mask=self._mask if self._ragged else None,
                use_cache=True,
                **{self._cache_name: self._cache},
                **positions,
                **self._fixed,
            )
        logits: torch.Tensor = made.logits[:, -1]
        return logits


class PlainGPT2(Engine):
    """GPT-2 in plain torch, after Radford et al. 2019.

    Prompts are read without padding: one long row for the matrix products, each prompt by itself for the attention.
    Keys and values have room made once; they end at the same place in every row, so that a step writes one slice.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__(network)
        body: Any = network.transformer
        changed = {name: LayerHook(self.adapters, name) for name in self.adapters.changed}
        self._layers = [_Layer.of(each, changed, f"transformer.h.{place}.") for place, each in enumerate(body.h)]
        self._tokens, self._positions = body.wte.weight, body.wpe.weight
        self._norm = body.ln_f
        self._heads = network.config.n_head

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
    def prefill(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        self._length = max(map(len, prompts))
        self._cache = self._empty(len(prompts), self._length + room)
        sizes = [len(each) for each in prompts]
        self._last = torch.tensor(sizes, device=self.network.device) - 1
        self._seen = None
        if min(sizes) < self._length:
            places = torch.arange(self._length + room, device=self.network.device)
            self._seen = (places > self._length - 2 - self._last[:, None])[:, None, None]  # rows x 1 x 1 x places
        return torch.cat([self._read(prompts[start:stop], start) for start, stop in _portions(sizes)])

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._last = self._last + 1
        self._length += 1
        x = self._tokens[tokens.to(self.network.device)] + self._positions[self._last]  # rows x width
        seen = None if self._seen is None else self._seen[..., : self._length]
        with self.adapters.using(self.names):
            return self._logits(self._stepped(x, seen))

    def _stepped(self, x: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """One token of every row through all layers: rows x width."""
        for layer, cache in zip(self._layers, self._cache, strict=True):
            query, *new = layer.heads(x, self._heads).unsqueeze(3).unbind(1)  # each rows x heads x 1 x head width
            cache[:, :, :, self._length - 1 : self._length] = torch.stack(new)
            keys, values = cache[:, :, :, : self._length]
            mixed = F.scaled_dot_product_attention(query, keys, values, seen, scale=layer.scaling)
            x = layer.rest(x, mixed.flatten(1))
        return x

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        super().select(rows)
        index = torch.tensor(rows, device=self.network.device)
        self._last = self._last[index]
        self._seen = None if self._seen is None else self._seen[index]
        if all(source in (place, *range(len(rows), self._cache.shape[2])) for place, source in enumerate(rows)):
            for place, source in enumerate(rows):
                if place != source:  # a dropped row's place is taken by one from behind: nothing else is moved
                    self._cache[:, :, place, :, : self._length] = self._cache[:, :, source, :, : self._length]
            self._cache = self._cache[:, :, : len(rows)]
            return
        kept = self._cache
        self._cache = self._empty(len(rows), kept.shape[4])
        self._cache[..., : self._length, :] = kept[:, :, index, :, : self._length]

    def _read(self, prompts: Sequence[Sequence[int]], first: int) -> torch.Tensor:
        """Prompts that are the rows from `first` on, into the cache; the logits that follow them."""
        device = self.network.device
        tokens = torch.tensor([token for each in prompts for token in each], device=device)
        places = torch.cat([torch.arange(len(each), device=device) for each in prompts])
        x = self._tokens[tokens] + self._positions[places]  # tokens x width
        ends = torch.tensor([len(each) for each in prompts], device=device).cumsum(0) - 1
        of_rows = self.names[first : first + len(prompts)] if isinstance(self.names, tuple) else self.names
        of_tokens = _spread(of_rows, map(len, prompts))
        for layer, cache in zip(self._layers, self._cache, strict=True):
            with self.adapters.using(of_tokens):
                qkv = layer.heads(x, self._heads)
            mixed = self._attend(layer, qkv, prompts, cache[:, first : first + len(prompts)])
            if layer is self._layers[-1]:  # only what follows the last tokens is asked for
                x, mixed, of_tokens = x[ends], mixed[ends], of_rows
            with self.adapters.using(of_tokens):
                x = layer.rest(x, mixed)
        return self._logits(x)

    def _attend(
        self, layer: _Layer, qkv: torch.Tensor, prompts: Sequence[Sequence[int]], cache: torch.Tensor
    ) -> torch.Tensor:
        """Each prompt attends to itself; tokens x 3 x heads x head width -> tokens x width. Fills their cache."""
        mixed = qkv.new_empty(len(qkv), qkv.shape[2] * qkv.shape[3])
        start = row = 0
        for length, alike in groupby(map(len, prompts)):  # neighbours of one length are one call
            count = len(list(alike))
            some = slice(start, start + count * length)
            query, keys, values = qkv[some].view(count, length, *qkv.shape[1:]).permute(2, 0, 3, 1, 4)
            begin = self._length - length
            cache[:, row : row + count, :, :begin] = 0  # a masked NaN would still be one
            cache[0, row : row + count, :, begin : self._length] = keys
            cache[1, row : row + count, :, begin : self._length] = values
            found = F.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=layer.scaling)
            mixed[some] = found.transpose(1, 2).reshape(count * length, -1)
            start, row = some.stop, row + count
        return mixed

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        normed = F.layer_norm(x, self._norm.normalized_shape, self._norm.weight, self._norm.bias, self._norm.eps)
        return F.linear(normed, self.network.lm_head.weight)

    def _empty(self, rows: int, places: int) -> torch.Tensor:
        """Room for keys and values: layers x 2 x rows x heads x places x head width."""
        config = self.network.config
        shape = (config.n_layer, 2, rows, self._heads, places, config.n_embd // self._heads)
        return torch.empty(shape, dtype=self.network.dtype, device=self.network.device)


class _Norm(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class _Linear(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor
    hook: LayerHook | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.hook is None:
            return torch.addmm(self.bias, x, self.weight)
        changed = self.hook.before(None, (x,))
        x = x if changed is None else changed
        return self.hook.after(None, (x,), torch.addmm(self.bias, x, self.weight))


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
    def of(cls, block: Any, changed: Mapping[str, LayerHook], stem: str) -> _Layer:
        norms = [_Norm(each.weight, each.bias, each.eps) for each in (block.ln_1, block.ln_2)]
        modules = {name: block.get_submodule(name) for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
        qkv, mix, widen, narrow = [
            _Linear(each.weight, each.bias, changed.get(stem + name)) for name, each in modules.items()
        ]
        return cls(norms[0], qkv, mix, block.attn.scaling, norms[1], widen, _act(block.mlp.act), narrow)

    def heads(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        """Queries, keys and values: rows x 3 x heads x head width."""
        return self.qkv(self.norm(x)).view(len(x), 3, heads, -1)

    def rest(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """All that follows the attention, whose result is `mixed`."""
        x = x + self.mix(mixed)
        return x + self.narrow(self.act(self.widen(self.second_norm(x))))


def _act(act: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    from transformers.activations import GELUTanh, NewGELUActivation

    if isinstance(act, GELUTanh | NewGELUActivation):  # one function under two names; torch has it in one pass
        return lambda x: F.gelu(x, approximate="tanh")
    return act  # type: ignore[no-any-return]


def _spread(names: Names, lengths: Iterable[int]) -> Names:
    """The adapter of each row, for each of its tokens."""
    if not isinstance(names, tuple):
        return names
    return tuple(name for name, length in zip(names, lengths, strict=True) for _ in range(length))


def _portions(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of rows that are read together."""
    found, start, tokens = [], 0, 0
    for row, size in enumerate(sizes):
        if row > start and tokens + size > READ_LIMIT:
            found.append((start, row))
            start, tokens = row, 0
        tokens += size
    return [*found, (start, len(sizes))]


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens padded on the left, and a mask of 1 where there is one: both int64, rows x longest."""
    longest = max(map(len, prompts))
    tokens = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return tokens.to(device), mask.to(device)
