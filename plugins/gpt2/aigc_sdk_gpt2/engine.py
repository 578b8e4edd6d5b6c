"""The decode engines: a batch of growing sequences in, the logits of the next token out.

`HuggingFace` runs any decoder-only model of transformers. `PlainGPT2` runs GPT-2 over the same parameters, without the
library's work per token. A faster one, with its own kernels or integer weights, takes its place in `engine_for`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Engine(ABC):
    """Decodes one batch; its rows are prompts of any lengths, padded on the left inside."""

    @abstractmethod
    def prefill(self, prompts: list[list[int]], room: int) -> torch.Tensor:
        """Read the prompts; `room` tokens at most will follow. The logits of the next token: rows x vocabulary."""

    @abstractmethod
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token (int64, rows) to every row. The logits of the next: rows x vocabulary."""

    @abstractmethod
    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""


def engine_for(network: PreTrainedModel) -> Engine:
    """The fastest engine for `network`."""
    return PlainGPT2(network) if PlainGPT2.runs(network) else HuggingFace(network)


def cache_bytes(network: PreTrainedModel) -> int:
    """Bytes of keys and values per token of one sequence."""
    config: Any = network.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * network.dtype.itemsize)


class HuggingFace(Engine):
    """Through the model's own forward pass and cache."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self._takes = inspect.signature(network.forward).parameters

    @torch.inference_mode()
    def prefill(self, prompts: list[list[int]], room: int) -> torch.Tensor:
        from transformers import DynamicCache

        self._cache = DynamicCache(config=self.network.config)
        tokens, self._mask = padded(prompts, self.network.device)
        self._positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        return self._forward(tokens, self._positions)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._mask = F.pad(self._mask, (0, 1), value=1)
        self._positions = self._positions[:, -1:] + 1
        return self._forward(tokens.to(self.network.device)[:, None], self._positions)

    @torch.inference_mode()
    def keep(self, rows: torch.Tensor) -> None:
        rows = rows.to(self.network.device)
        self._cache.batch_select_indices(rows)
        self._mask, self._positions = self._mask[rows], self._positions[rows]

    def _forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        extra = {"position_ids": positions} if "position_ids" in self._takes else {}
        mask = None if bool(self._mask.all()) else self._mask  # without padding the faster attention may be used
        made = self.network(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **extra,
        )
        logits: torch.Tensor = made.logits[:, -1]
        return logits


class PlainGPT2(Engine):
    """GPT-2 in plain torch, with room for keys and values made once."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self._body: Any = network.transformer
        self._heads = network.config.n_head

    @staticmethod
    def runs(network: PreTrainedModel) -> bool:
        """Whether `network` is a GPT-2 whose layers nobody has replaced, by adapters say."""
        from transformers import GPT2LMHeadModel
        from transformers.pytorch_utils import Conv1D

        if type(network) is not GPT2LMHeadModel or network.config.add_cross_attention:
            return False
        layers = [each for name, each in network.named_modules() if name.endswith(("c_attn", "c_fc", "c_proj"))]
        return all(type(each) is Conv1D for each in layers)

    @torch.inference_mode()
    def prefill(self, prompts: list[list[int]], room: int) -> torch.Tensor:
        config, device = self.network.config, self.network.device
        tokens, seen = padded(prompts, device)
        rows, self._length = tokens.shape
        shape = (config.n_layer, 2, rows, self._heads, self._length + room, config.n_embd // self._heads)
        self._cache = torch.empty(shape, dtype=self.network.dtype, device=device)
        self._seen = None if bool(seen.all()) else F.pad(seen.bool(), (0, room), value=True)
        positions = (seen.cumsum(-1) - 1).clamp(min=0)
        self._position = positions[:, -1]
        return self._forward(tokens, positions, 0)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self._position = self._position + 1
        start = self._length
        self._length += 1
        return self._forward(tokens.to(self.network.device)[:, None], self._position[:, None], start)

    @torch.inference_mode()
    def keep(self, rows: torch.Tensor) -> None:
        rows = rows.to(self.network.device)
        self._cache = self._cache[:, :, rows]
        self._position = self._position[rows]
        self._seen = None if self._seen is None else self._seen[rows]

    def _forward(self, tokens: torch.Tensor, positions: torch.Tensor, start: int) -> torch.Tensor:
        body = self._body
        mask = self._mask(start)
        x = body.wte.weight[tokens] + body.wpe.weight[positions]  # rows x time x width
        for index, layer in enumerate(body.h):
            x = x + self._attention(layer.attn, layer.ln_1(x), index, start, mask)
            if index == len(body.h) - 1:
                x = x[:, -1:]  # only the last token's logits are asked for
            x = x + layer.mlp.c_proj(_gelu(layer.mlp, layer.mlp.c_fc(layer.ln_2(x))))
        logits: torch.Tensor = self.network.lm_head(body.ln_f(x)[:, -1])
        return logits

    def _attention(self, attn: Any, x: torch.Tensor, index: int, start: int, mask: torch.Tensor | None) -> torch.Tensor:
        rows, time, width = x.shape
        qkv = attn.c_attn(x).view(rows, time, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        cache = self._cache[index]
        cache[:, :, :, start : self._length] = qkv[1:]
        keys, values = cache[0, :, :, : self._length], cache[1, :, :, : self._length]
        causal = mask is None and time > 1
        mixed = F.scaled_dot_product_attention(qkv[0], keys, values, mask, is_causal=causal, scale=attn.scaling)
        return attn.c_proj(mixed.transpose(1, 2).reshape(rows, time, width))  # type: ignore[no-any-return]

    def _mask(self, start: int) -> torch.Tensor | None:
        """Which keys each query may see, rows x 1 x time x keys; None where no row is padded."""
        if self._seen is None:
            return None
        seen = self._seen[:, None, None, : self._length]
        if start:
            return seen
        causal = torch.ones(self._length, self._length, dtype=torch.bool, device=seen.device).tril()
        itself = torch.eye(self._length, dtype=torch.bool, device=seen.device)  # padding sees itself: no empty softmax
        return seen & causal | itself


def padded(prompts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens padded on the left, and a mask of 1 where there is one: both int64, rows x longest."""
    longest = max(map(len, prompts))
    tokens = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return tokens.to(device), mask.to(device)


def _gelu(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    from transformers.activations import GELUTanh, NewGELUActivation

    if isinstance(mlp.act, GELUTanh | NewGELUActivation):  # one function; torch computes it in one pass
        return F.gelu(x, approximate="tanh")
    return mlp.act(x)  # type: ignore[no-any-return]
