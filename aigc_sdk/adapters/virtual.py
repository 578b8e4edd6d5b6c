"""Virtual tokens: learnt embeddings before the tokens (prompt tuning), or learnt keys and values (prefix tuning).

A prompt is put in front of the embeddings by a hook on the network. A prefix comes in by the attention function, which
transformers looks up by name: so it is no part of any cache, and training, gradient checkpointing and generation with
any cache compute the same.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from aigc_sdk.errors import InputError, NotOffered

from .layers import unset
from .methods import PrefixTuning, PromptTuning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .manager import Adapters

PREFIXED = "aigc_prefix_"  # and the name of the attention function that it calls
DEVIATION = 0.02  # of a prefix's first keys and values


class Prompt(nn.Module):
    """Embeddings of virtual tokens; they start as those of random words (Lester et al. 2021, section 3.2)."""

    def __init__(self, method: PromptTuning, embeddings: torch.Tensor, rng: torch.Generator) -> None:
        super().__init__()
        words = torch.randint(len(embeddings), (method.tokens,), generator=rng)
        self.embeddings = nn.Parameter(embeddings.detach()[words.to(embeddings.device)].float().cpu())

    @property
    def tokens(self) -> int:
        """How many virtual tokens there are."""
        return len(self.embeddings)

    def finished(self) -> torch.Tensor:
        """What a folder holds: (tokens, width)."""
        return self.embeddings


class Prefix(nn.Module):
    """Keys and values of virtual tokens in every layer (Li and Liang 2021), made by a network of two layers or free."""

    def __init__(self, method: PrefixTuning, layers: int, heads: int, width: int, rng: torch.Generator) -> None:
        super().__init__()
        self.tokens = method.tokens
        self.shape = (layers, 2, heads, width)  # of one virtual token
        self.size = 2 * heads * width
        self.embeddings = nn.Parameter(torch.empty(method.tokens, method.hidden or layers * self.size))
        nn.init.normal_(self.embeddings, std=1.0 if method.hidden else DEVIATION, generator=rng)
        self.widen: nn.Linear | None = None
        if method.hidden:
            self.mix = unset(method.hidden, method.hidden)
            self.widen = unset(method.hidden, layers * self.size)
            for each in (self.mix, self.widen):
                nn.init.normal_(each.weight, std=method.hidden**-0.5 if each is self.mix else DEVIATION, generator=rng)
                nn.init.zeros_(each.bias)

    def at(self, layer: int) -> torch.Tensor:
        """The keys and values of one layer: (2, heads, tokens, head width)."""
        part = slice(layer * self.size, (layer + 1) * self.size)
        if self.widen is None:
            found = self.embeddings[:, part]
        else:
            inner = torch.tanh(self.mix(self.embeddings))
            found = F.linear(inner, self.widen.weight[part], self.widen.bias[part])
        return found.view(self.tokens, *self.shape[1:]).permute(1, 2, 0, 3)

    def finished(self) -> torch.Tensor:
        """What a folder holds: (tokens, layers x 2 x heads x head width)."""
        rows = [self.at(layer).permute(2, 0, 1, 3).flatten(1) for layer in range(self.shape[0])]
        return torch.cat(rows, 1)


Virtual = Prompt | Prefix


class VirtualTokens:
    """The two hooks on a network that put virtual tokens in, and take what is made of them out of its results.

    Rows with fewer virtual tokens than others are filled up: in a causal network at the left, where the cache of its
    rows ends at one place; in an encoder at the right, since its heads read the first place.
    """

    def __init__(self, adapters: Adapters) -> None:
        self.adapters = adapters
        self._takes = list(inspect.signature(adapters.network.forward).parameters)
        self._causal = all(each.is_causal for each in attentions(adapters.network))
        self._here = threading.local()

    def before(self, network: PreTrainedModel, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A forward pass' arguments, with the virtual tokens of the adapters in use."""
        self._here.added = None
        if self.adapters.current is None or self.adapters.through_layers:
            return None
        named = {**dict(zip(self._takes, args, strict=False)), **named}
        given = named.get("input_ids") if named.get("inputs_embeds") is None else named["inputs_embeds"]
        if given is None:
            raise InputError("a network with an adapter of virtual tokens in use needs input_ids or inputs_embeds")
        rows, time = given.shape[:2]
        of_rows = self.adapters.virtual(rows)
        _attend_to_prefixes(self.adapters)
        prompts = [each.tokens if isinstance(each, Prompt) else 0 for each in of_rows]
        prefixes = [each.tokens if isinstance(each, Prefix) else 0 for each in of_rows]
        past, room = _length(named.get("cache", named.get("past_key_values"))), max(prompts)
        seen = past - room if past else 0  # real tokens in the cache
        if room:
            self._mask(named, prompts, seen + time, given.device)
        if self._causal and (any(prefixes) or len(set(prompts)) > 1 or named.get("position_ids") is not None):
            self._place(named, prompts, prefixes, seen, time, 0 if past else room, given.device)
        if room and not past:
            self._put(network, named, of_rows, prompts)
            self._here.added = (prompts, time)
        return (), named

    def after(self, network: PreTrainedModel, args: Any, named: Any, output: Any) -> Any:
        """The results of the tokens that were given, without those of virtual ones."""
        added = getattr(self._here, "added", None)
        if added is None:
            return None
        self._here.added = None
        prompts, time = added
        if not hasattr(output, "keys"):
            raise InputError("prompt tuning needs return_dict=True", field="return_dict")
        for name, axes in (("logits", 3), ("last_hidden_state", 3), ("start_logits", 2), ("end_logits", 2)):
            value = output.get(name)
            if value is not None and value.ndim == axes and value.shape[1] > time:
                output[name] = self._real(value, prompts, time)
        if output.get("hidden_states") is not None:
            output["hidden_states"] = tuple(self._real(each, prompts, time) for each in output["hidden_states"])
        return output

    def _mask(self, named: dict[str, Any], prompts: Sequence[int], real: int, device: torch.device) -> None:
        """A mask over virtual and real tokens, where one is given or some rows have fewer virtual ones."""
        mask = named.get("attention_mask")
        if mask is None and len(set(prompts)) == 1:
            return
        if mask is None:
            mask = torch.ones(len(prompts), real, dtype=torch.int64, device=device)
        if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
            raise InputError("prompt tuning needs an attention_mask of rows x tokens", field="attention_mask")
        virtual = [mask.new_ones(count) for count in prompts]
        named["attention_mask"] = self._joined(virtual, mask)

    def _place(
        self,
        named: dict[str, Any],
        prompts: Sequence[int],
        prefixes: Sequence[int],
        seen: int,
        time: int,
        room: int,
        device: torch.device,
    ) -> None:
        """Positions in a causal network: virtual tokens come first, and real ones count on from them."""
        if "position_ids" not in self._takes:
            raise InputError(
                "rows with different numbers of virtual tokens need a network that takes position_ids; run them apart"
            )
        given = named.get("position_ids")
        if given is None:
            given = torch.arange(seen, seen + time, device=device)[None]
        counts = torch.tensor([a + b for a, b in zip(prompts, prefixes, strict=True)], device=device)[:, None]
        places = given + counts
        virtual = [torch.arange(count, device=device) for count in prompts]
        named["position_ids"] = self._joined(virtual, places) if room else places

    def _put(
        self,
        network: PreTrainedModel,
        named: dict[str, Any],
        of_rows: Sequence[Virtual | None],
        prompts: Sequence[int],
    ) -> None:
        """The embeddings of virtual and real tokens, and what else has a value per token."""
        embeds = named.get("inputs_embeds")
        if embeds is None:
            embeds = network.get_input_embeddings()(named["input_ids"])
        virtual = [
            each.embeddings.to(embeds.dtype) if isinstance(each, Prompt) else embeds.new_empty(0, embeds.shape[2])
            for each in of_rows
        ]
        named["input_ids"], named["inputs_embeds"] = None, self._joined(virtual, embeds)
        for name, filler in (("token_type_ids", 0), ("labels", -100)):
            value = named.get(name)
            if torch.is_tensor(value) and value.shape == embeds.shape[:2]:
                named[name] = self._joined([value.new_full((count,), filler) for count in prompts], value, filler)

    def _joined(self, virtual: Sequence[torch.Tensor], real: torch.Tensor, filler: int = 0) -> torch.Tensor:
        """Each row's virtual tokens before its real ones: (rows, most virtual + real, ...)."""
        room = max(map(len, virtual))
        if len(set(map(id, virtual))) == 1:
            return torch.cat([virtual[0].expand(len(real), *virtual[0].shape), real], 1)
        rows = []
        for its, row in zip(virtual, real, strict=True):
            empty = row.new_full((room - len(its), *row.shape[1:]), filler)
            rows.append(torch.cat([empty, its, row] if self._causal else [its, row, empty]))
        return torch.stack(rows)

    def _real(self, value: torch.Tensor, prompts: Sequence[int], time: int) -> torch.Tensor:
        """What is of real tokens in (rows, virtual + real, ...); a causal network may have kept the last few alone."""
        if self._causal or len(set(prompts)) == 1:
            return value[:, value.shape[1] - time :]
        return torch.stack([row[count : count + time] for row, count in zip(value, prompts, strict=True)])


def attentions(network: PreTrainedModel) -> list[Any]:
    """The self-attention modules, in the order of their blocks."""
    return [each for each in network.modules() if hasattr(each, "is_causal") and hasattr(each, "config")]


def check_prefix(network: PreTrainedModel) -> None:
    """Refuse a network whose attention cannot be reached by name."""
    kind = getattr(network.config, "model_type", type(network).__name__)
    if not attentions(network) or not network._can_set_attn_implementation():
        raise NotOffered(f"prefix tuning cannot reach the attention of a {kind!r} network; use prompt tuning, or LoRA")
    named = (network.config._attn_implementation or "eager").removeprefix(PREFIXED)
    if "flash" in named or "flex" in named:
        raise NotOffered(f"prefix tuning works with the attention 'sdpa' or 'eager', not {named!r}; set another")


def prefix_sizes(network: PreTrainedModel) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and their width."""
    config: Any = network.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return len(attentions(network)), int(heads), int(width)


def _attend_to_prefixes(adapters: Adapters) -> None:
    """Put our attention function around the one that the network uses, if it is not there already."""
    if not adapters.has_prefix:
        return
    config = adapters.network.config
    inner = config._attn_implementation or "eager"
    if not inner.startswith(PREFIXED):
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

        AttentionInterface.register(PREFIXED + inner, _attention)
        AttentionMaskInterface.register(PREFIXED + inner, ALL_MASK_ATTENTION_FUNCTIONS[inner])
        adapters.network.set_attn_implementation(PREFIXED + inner)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **rest: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The network's own attention, over the keys and values of the prefix and those that it is given.

    query: (rows, heads, queries, head width); key, value: (rows, key heads, keys, head width).
    """
    found: Any = getattr(module, "aigc_prefixes", None)
    of_rows = found[0].virtual(len(query)) if found is not None and found[0].has_prefix else []
    if any(isinstance(each, Prefix) for each in of_rows):
        causal = rest.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        key, value, attention_mask = _prefixed(
            [each if isinstance(each, Prefix) else None for each in of_rows],
            found[1],
            query.shape[2],
            key,
            value,
            attention_mask,
            causal,
        )
        rest["is_causal"] = False  # the mask says it
    return _inner(module)(module, query, key, value, attention_mask, **rest)  # type: ignore[no-any-return]


def _inner(module: Any) -> Any:
    """The attention function inside ours; an eager one is the architecture's own."""
    import sys

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name = module.config._attn_implementation.removeprefix(PREFIXED)
    if name == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward
    return ALL_ATTENTION_FUNCTIONS[name]


def _prefixed(
    of_rows: Sequence[Prefix | None],
    layer: int,
    queries: int,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Keys, values and mask with the prefix before them."""
    rows, _, keys, _ = key.shape
    room = max(each.tokens for each in of_rows if each is not None)
    same = len(set(map(id, of_rows))) == 1
    if same and of_rows[0] is not None:
        both = of_rows[0].at(layer).to(key.dtype)[:, None].expand(-1, rows, -1, -1, -1)
    else:
        empty = key.new_zeros(2, key.shape[1], room, key.shape[3])
        padded = [
            empty if each is None else F.pad(each.at(layer).to(key.dtype), (0, 0, room - each.tokens, 0))
            for each in of_rows
        ]
        both = torch.stack(padded, 1)
    if mask is None and causal and queries > 1:
        places = torch.arange(keys, device=key.device)
        mask = (places <= places[keys - queries :, None])[None, None]  # (1, 1, queries, keys)
    if mask is None and not same:
        mask = torch.ones(1, 1, 1, keys, dtype=torch.bool, device=key.device)
    if mask is not None:
        counts = torch.tensor([0 if each is None else each.tokens for each in of_rows], device=key.device)
        there = torch.arange(room, device=key.device) >= room - counts[:, None]  # (rows, room)
        there = there[:, None, None].expand(-1, mask.shape[1], mask.shape[2], -1)
        mask = mask.expand(rows, -1, -1, -1)
        if mask.dtype != torch.bool:
            there = torch.zeros_like(there, dtype=mask.dtype).masked_fill(~there, torch.finfo(mask.dtype).min)
        mask = torch.cat([there, mask], 3)
    return torch.cat([both[0], key], 2), torch.cat([both[1], value], 2), mask


def _length(cache: Any) -> int:
    return 0 if cache is None else int(cache.get_seq_length())
