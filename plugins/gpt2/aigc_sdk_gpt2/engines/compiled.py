"""GPT-2's step as one program: compiled by torch on a CPU, recorded as a graph on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F

from aigc_sdk.adapters.manager import Names

from .plain import PlainGPT2
from .precision import Packed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PLACES = 128  # the cache's places are a multiple of it: every other number of places would be another program


class CompiledGPT2(PlainGPT2):
    """Every step computes all slots of the cache at all its places, in use or not, so that one program fits them.

    The first step of a size takes as long as a compiler does: most of a minute for 12 layers on a CPU, next to nothing on
    CUDA. Prompts are read as by PlainGPT2.
    """

    title: ClassVar[str] = "compiled"

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__(network)
        self._graph: tuple[Any, Callable[..., torch.Tensor]] = (None, _whole)

    def _stepped(self, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        count, slots = len(tokens), self._cache.shape[2]
        padded = [
            F.pad(each, (0, slots - count)) for each in (tokens, ends)
        ]  # unused slots are written at their beginning
        if self.network.device.type != "cuda":
            return _program()(*self._given(), *padded)[:count]  # type: ignore[no-any-return]
        if self._graph[0] is not self._cache:
            self._graph = (self._cache, _recorded(lambda *some: _whole(*self._given(), *some), *padded))
        return self._graph[1](*padded)[:count]

    def _given(self) -> tuple[Any, ...]:
        layers = tuple(
            (
                *each.norm,
                *each.qkv[:2],
                *each.mix[:2],
                *each.second_norm,
                *each.widen[:2],
                *each.narrow[:2],
                each.scaling,
            )
            for each in self._layers
        )
        return layers, self._layers[0].act, self._tokens, self._positions, self._cache

    def _empty(self, slots: int, places: int) -> torch.Tensor:
        return super()._empty(slots, -(-places // PLACES) * PLACES)


def runs(network: PreTrainedModel, names: Names) -> bool:
    """Whether `CompiledGPT2` computes a GPT-2 in this precision with these adapters."""
    adapters: Sequence[str | None] = [names] if names is None or isinstance(names, str) else names
    return not any(adapters) and not Packed.of(network).precision


def _whole(
    layers: Sequence[tuple[Any, ...]],
    act: Callable[[torch.Tensor], torch.Tensor],
    table: torch.Tensor,
    positions: torch.Tensor,
    cache: torch.Tensor,
    tokens: torch.Tensor,
    ends: torch.Tensor,
) -> torch.Tensor:
    """One token of every slot through all layers: slots x width. cache: layers x 2 x slots x heads x places x head width."""
    _, _, slots, heads, places, _ = cache.shape
    rows = torch.arange(slots, device=ends.device)
    seen = (torch.arange(places, device=ends.device) <= ends[:, None])[:, None, None]
    x = table[tokens] + positions[ends]
    for number, layer in enumerate(layers):
        (
            weight,
            bias,
            eps,
            qkv,
            qkv_bias,
            mix,
            mix_bias,
            weight_2,
            bias_2,
            eps_2,
            up,
            up_bias,
            down,
            down_bias,
            scale,
        ) = layer
        made = torch.addmm(qkv_bias, F.layer_norm(x, x.shape[-1:], weight, bias, eps), qkv).view(slots, 3, heads, -1)
        kept = cache[number]
        kept[:, rows, :, ends] = made[:, 1:]
        mixed = F.scaled_dot_product_attention(made[:, 0, :, None], kept[0], kept[1], seen, scale=scale)
        x = x + torch.addmm(mix_bias, mixed.flatten(1), mix)
        wide = act(torch.addmm(up_bias, F.layer_norm(x, x.shape[-1:], weight_2, bias_2, eps_2), up))
        x = x + torch.addmm(down_bias, wide, down)
    return x


_compiled: list[Any] = []


def _program() -> Any:
    """One for the process: torch keeps what it has compiled of it by the shapes that it is given."""
    if not _compiled:
        _compiled.append(torch.compile(_whole, dynamic=False))
    return _compiled[0]


def _recorded(function: Callable[..., torch.Tensor], *given: torch.Tensor) -> Callable[..., torch.Tensor]:
    """`function` as one CUDA graph over places that stay: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs."""
    kept = [each.clone() for each in given]
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # libraries set themselves up before anything is recorded
        for _ in range(2):
            function(*kept)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = function(*kept)

    def replayed(*new: torch.Tensor) -> torch.Tensor:
        for place, value in zip(kept, new, strict=True):
            place.copy_(value)
        graph.replay()
        return made.clone()

    return replayed
