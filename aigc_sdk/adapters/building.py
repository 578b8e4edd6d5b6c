"""A new adapter for a network: which of its layers are changed, and the first weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aigc_sdk.errors import OptionError, suggestion

from .layers import Change, Replacement, change_of, is_linear, sizes
from .layouts import LAYOUTS, in_block
from .methods import Method, PrefixTuning, PromptTuning, Targeted
from .virtual import Prefix, Prompt, Virtual, check_prefix, prefix_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Adapter(nn.Module):
    """One adapter: its method, and its weights at each of the network's layers that it changes."""

    def __init__(self, method: Method, changes: Mapping[str, Change], virtual: Virtual | None = None) -> None:
        super().__init__()
        self.method = method
        self.places = {name: str(place) for place, name in enumerate(changes)}
        self.changes = nn.ModuleDict({self.places[name]: each for name, each in changes.items()})
        self.virtual = virtual
        self.run: dict[str, int] = {}
        """AdaLoRA's schedule in the last run, as peft names it."""
        self.known: tuple[str, str] | None = None
        """The digest of the weights as they were, and the fingerprint that they gave."""

    def at(self, layer: str) -> Change | None:
        """The change at a layer of the network; None where there is none."""
        place = self.places.get(layer)
        return None if place is None else self.changes[place]  # type: ignore[return-value]

    @property
    def also(self) -> tuple[str, ...]:
        """The modules of the network that are trained whole with it."""
        return tuple(name for name in self.places if isinstance(self.at(name), Replacement))


def built(network: PreTrainedModel, method: Method, also: Sequence[str], rng: torch.Generator) -> Adapter:
    """An adapter that changes nothing, or next to nothing, yet; `also`: modules of the network to train whole with it."""
    changes = _changes(network, method, rng)
    for name in also:
        changes[name] = Replacement(_module(network, name))
    return Adapter(method, changes, _virtual(network, method, rng))


def _changes(network: PreTrainedModel, method: Method, rng: torch.Generator) -> dict[str, Change]:
    if not isinstance(method, Targeted):
        return {}
    found: dict[str, Change] = {}
    layout = LAYOUTS.get(network.config.model_type)
    for name, layer in _targets(network, method):
        feed_forward = layout is not None and in_block(name) == layout.narrow
        rank = int(getattr(method, "initial_rank", getattr(method, "rank", 0)))
        if rank > min(sizes(layer)):
            raise OptionError(f"rank={rank} is above what {name} of {sizes(layer)} has", field="rank")
        found[name] = change_of(method, layer, feed_forward, rng)
    return found


def _targets(network: PreTrainedModel, method: Targeted) -> list[tuple[str, nn.Module]]:
    """The linear layers that a method adapts, in the network's order."""
    linear = [(name, each) for name, each in network.named_modules() if is_linear(each)]
    kind = network.config.model_type
    if method.targets is None:
        if kind not in LAYOUTS:
            raise OptionError(
                f"nobody has said which layers of a {kind!r} network to adapt; pass targets, such as "
                f"({_tails(linear)})",
                field="targets",
            )
        wanted = LAYOUTS[kind].targets(method.role)
        return [(name, each) for name, each in linear if in_block(name) in wanted]
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    for each in method.targets:
        found = [layer for name, layer in linear if _ends(name, each)]
        if not found or (head in found and getattr(network.config, "tie_word_embeddings", False)):
            why = "is tied to the embeddings" if found else "is no linear layer of this network"
            known = {in_block(name) or name for name, _ in linear}
            raise OptionError(
                f"targets: {each!r} {why}.{suggestion(each, known)} There are: {_tails(linear)}.", field="targets"
            )
    return [(name, layer) for name, layer in linear if any(_ends(name, each) for each in method.targets)]


def _virtual(network: PreTrainedModel, method: Method, rng: torch.Generator) -> Virtual | None:
    if not isinstance(method, PromptTuning | PrefixTuning):
        return None
    context = getattr(network.config, "max_position_embeddings", None)
    if isinstance(context, int) and method.tokens >= context:
        raise OptionError(
            f"tokens={method.tokens}: the network's context holds {context} tokens, virtual ones included",
            field="tokens",
        )
    if isinstance(method, PromptTuning):
        embeddings: Any = network.get_input_embeddings()
        return Prompt(method, embeddings.weight, rng)
    check_prefix(network)
    return Prefix(method, *prefix_sizes(network), rng)


def _module(network: PreTrainedModel, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        known = [each for each, _ in network.named_children()]
        message = f"also: the network has no module {name!r}.{suggestion(name, known)} It has {', '.join(known)}"
        raise OptionError(message, field="also") from error


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


def _tails(linear: Sequence[tuple[str, nn.Module]]) -> str:
    return ", ".join(dict.fromkeys(in_block(name) or name for name, _ in linear))
