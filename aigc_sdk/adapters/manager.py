"""The manager of a network's adapters: which there are, which are in use, and the hooks by which they act."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from aigc_sdk import runtime
from aigc_sdk.errors import InputError, NotOffered, OptionError, printable, suggestion
from aigc_sdk.protocols import Source

from .building import Adapter, built
from .hooks import LayerHook
from .layers import Change, LowRank, SingularValues
from .methods import AdaLoRA, LoRA, Method
from .virtual import Prefix, Virtual, VirtualTokens, attentions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from aigc_sdk.folder import Folder

Names = str | Sequence[str | None] | None
"""What is in use: one adapter for all rows, a name or None for each row, or none."""
NAME_LIMIT = 200  # characters


class Adapters:
    """All adapters of one network; `Adapters.of(network)` gives the one manager that it has."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self.in_use: Names = None
        self._adapters: dict[str, Adapter] = {}
        self._hooks: dict[str, list[Any]] = {}  # of each layer that some adapter changes
        self._here = threading.local()  # what is in use for a `using` block, in its thread alone
        self._groups: tuple[Any, list[tuple[str, torch.Tensor | None]]] = (None, [])

    @classmethod
    def of(cls, network: PreTrainedModel) -> Self:
        """The manager of `network`, a PreTrainedModel of transformers."""
        found: Any = network.__dict__.get("aigc_adapters")
        if found is None:
            if not hasattr(network, "config") or not hasattr(network, "get_input_embeddings"):
                raise InputError(f"a {type(network).__name__} is no model of transformers, and takes no adapters here")
            found = cls(network)
            network.__dict__["aigc_adapters"] = found  # not as a module: the network's weights stay its own
        return found  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._adapters)

    def __len__(self) -> int:
        return len(self._adapters)

    def __contains__(self, name: object) -> bool:
        return name in self._adapters

    def __getitem__(self, name: str) -> Adapter:
        if name not in self._adapters:
            near = suggestion(name, self._adapters) if isinstance(name, str) else ""
            known = ", ".join(map(printable, self._adapters)) or "none; add or load one"
            raise OptionError(f"there is no adapter {name!r}.{near} Adapters: {known}.", field="adapter")
        return self._adapters[name]

    def add(self, name: str, method: Method, *, seed: int = 0, also: Sequence[str] = ()) -> None:
        """A new adapter, whose weights are drawn from `seed` and change nothing, or next to nothing, yet.

        also: names of whole modules of the network that are trained with it, starting from the network's weights.
        Raises OptionError for a name that is taken, a layer that is not there, or a rank above a layer's size.
        """
        self.check_new(name)
        self.insert(name, built(self.network, method, also, runtime.rng(seed)))

    def insert(self, name: str, adapter: Adapter) -> None:
        """Take over an adapter that is made for this network."""
        self.check_new(name)
        weight: Any = self.network.get_input_embeddings().weight
        self._adapters[name] = adapter.to(device=weight.device, dtype=weight.dtype).train(self.network.training)
        for layer in adapter.places:
            self._hook(layer)
        if adapter.virtual is not None:
            self._hook_network()

    def remove(self, name: str) -> None:
        """Forget an adapter; the network is as if it had never been."""
        adapter = self[name]
        if name == self.in_use or (isinstance(self.in_use, tuple) and name in self.in_use):
            self.in_use = None
        del self._adapters[name]
        for layer in adapter.places:
            if not any(layer in each.places for each in self._adapters.values()):
                for hook in self._hooks.pop(layer):
                    hook.remove()

    def use(self, names: Names) -> None:
        """Let the network compute with an adapter from now on; a list names one, or None, for each row of a batch."""
        self.in_use = self._checked(names)

    @contextmanager
    def using(self, names: Names) -> Iterator[None]:
        """The same for as long as the block lasts, in this thread; never hold it open across a `yield`."""
        before = getattr(self._here, "names", ())
        self._here.names = (self._checked(names),)
        try:
            yield
        finally:
            self._here.names = before

    @property
    def current(self) -> Names:
        """What is in use now, in this thread."""
        here = getattr(self._here, "names", ())
        return here[0] if here else self.in_use

    @property
    def through_layers(self) -> bool:
        """Whether the layers alone, called one by one, compute what is in use: no virtual tokens are."""
        return all(self._adapters[each].virtual is None for each in _named(self.current))

    @property
    def changed(self) -> frozenset[str]:
        """The layers of the network that are changed by what is in use now."""
        return frozenset(layer for name in _named(self.current) for layer in self._adapters[name].places)

    @property
    def has_prefix(self) -> bool:
        """Whether an adapter in use has keys and values of its own."""
        return any(isinstance(self._adapters[each].virtual, Prefix) for each in _named(self.current))

    def method(self, name: str) -> Method:
        """What an adapter is."""
        return self[name].method

    def parameters(self, name: str) -> list[nn.Parameter]:
        """The weights of an adapter."""
        return list(self[name].parameters())

    def share(self, name: str) -> float:
        """The adapter's part of all weights, the network's and its own."""
        own = sum(each.numel() for each in self.parameters(name))
        return own / (own + sum(each.numel() for each in self.network.parameters()))

    def tokens(self, name: str | None) -> int:
        """How many tokens of the context an adapter takes."""
        virtual = None if name is None else self[name].virtual
        return 0 if virtual is None else virtual.tokens

    def groups(self, name: str, weight_decay: float) -> list[dict[str, Any]]:
        """An adapter's weights for an optimiser: those that may decay, which are matrices that then change less, and the rest."""
        decaying = {
            id(parameter)
            for change in self[name].changes.values()
            if isinstance(change, Change) and change.decays
            for parameter in change.parameters()
            if parameter.ndim >= 2
        }
        own = self.parameters(name)
        found = [
            {"params": [each for each in own if id(each) in decaying], "weight_decay": weight_decay},
            {"params": [each for each in own if id(each) not in decaying], "weight_decay": 0.0},
        ]
        return [each for each in found if each["params"]]

    def follow(self, name: str, optimizer: torch.optim.Optimizer, steps: int, done: int = 0) -> None:
        """Let AdaLoRA choose its ranks around each step of `optimizer`, in a run of `steps` updates of which `done` are done.

        Every other method needs nothing, and nothing happens.
        """
        adapter = self[name]
        if not isinstance(adapter.method, AdaLoRA):
            return
        from aigc_sdk.training import processes

        from .budget import Budget

        if processes.sharded():
            raise NotOffered("AdaLoRA compares whole matrices; choose LoRA, or launch without --use_fsdp")
        budget = Budget(adapter.method, self._singular(name), steps, done)
        plan = budget.schedule
        adapter.run = {"tinit": plan.warmup, "tfinal": plan.final, "deltaT": plan.every, "total_step": plan.steps}
        optimizer.register_step_pre_hook(budget.before)
        optimizer.register_step_post_hook(budget.after)

    def ranks(self, name: str) -> dict[str, int]:
        """The rank of each layer's change now, for LoRA and AdaLoRA."""
        adapter = self[name]
        if isinstance(adapter.method, AdaLoRA):
            kept = {layer: adapter.at(layer) for layer in adapter.places}
            return {layer: int(each.kept.sum()) for layer, each in kept.items() if isinstance(each, SingularValues)}
        if isinstance(adapter.method, LoRA):
            return {
                layer: len(change.lora_A)
                for layer in adapter.places
                if isinstance(change := adapter.at(layer), LowRank)
            }
        raise NotOffered(f"the adapter {name!r} is of the method {adapter.method.method!r}, which has no ranks")

    def metrics(self, name: str) -> dict[str, float]:
        """What to tell about an adapter at each step of its training: the mean rank of AdaLoRA."""
        if not isinstance(self[name].method, AdaLoRA):
            return {}
        ranks = self.ranks(name)
        return {"mean_rank": sum(ranks.values()) / len(ranks)}

    def merge(self, name: str) -> None:
        """Change the network's own weights by an adapter's, and forget the adapter. Raises NotOffered."""
        adapter = self[name]
        if adapter.method.method not in ("lora", "adalora", "ia3"):
            raise NotOffered(
                f"the adapter {name!r} is of the method {adapter.method.method!r}, which cannot be merged into weights; "
                "save it as an adapter"
            )
        with torch.no_grad():
            for layer in adapter.places:
                module = self.network.get_submodule(layer)
                adapter.at(layer).merge(module)  # type: ignore[union-attr]
        self.remove(name)
        self.network.requires_grad_(True)

    def to(self, device: str | torch.device) -> None:
        """Move all adapters; the network is moved by itself."""
        for each in self._adapters.values():
            each.to(device)

    def fingerprint(self, name: str) -> str:
        """A digest of what an adapter's folder would hold now; opened again, it has the same."""
        from .files import finished

        adapter = self[name]
        weights = runtime.fingerprint(adapter)  # which is quick where nothing has changed
        if adapter.known is None or adapter.known[0] != weights:
            scalings = sorted({float(getattr(each, "scaling", 1.0)) for each in adapter.changes.values()})
            told = f"{adapter.method.method} {scalings} {runtime.tensor_digest(finished(adapter))}"
            adapter.known = (weights, hashlib.sha256(told.encode()).hexdigest())
        return adapter.known[1]

    def base_fingerprint(self, name: str) -> str:
        """A digest of the network's weights, without the modules that the adapter replaces."""
        also = self[name].also
        if not also:
            return runtime.fingerprint(self.network)
        prefixes = tuple(f"{each}." for each in also)
        weights = self.network.state_dict()
        return runtime.tensor_digest({key: each for key, each in weights.items() if not key.startswith(prefixes)})

    def save(self, name: str, folder: str | Path, *, backend: str, base: str = "") -> None:
        """Write an adapter's folder, which peft opens as well. base: the source that opens the network again."""
        from .files import save

        save(self, name, folder, backend=backend, base=base)

    def load(self, folder: Source | Folder, name: str | None = None, *, backend: str = "") -> str:
        """Open an adapter's folder, ours or peft's, and return its name: the folder's own, where none is given.

        Raises MismatchedFolder for one that was made for another network.
        """
        from .files import load

        return load(self, folder, name, backend=backend)

    def groups_of(self, x: torch.Tensor) -> list[tuple[str, torch.Tensor | None]]:
        """Each adapter in use, and which rows of `x` are its own (bool, rows); None: all are.

        Names for rows are for the first axis of `x`, or for all of (rows x tokens) in a packed batch.
        """
        names = self.current
        if names is None or isinstance(names, str):
            return [] if names is None else [(names, None)]
        if len(names) not in (len(x), x[..., 0].numel()):
            raise InputError(
                f"{len(names)} adapters are in use, one per row, and a layer got {len(x)} rows; name as many",
                field="adapter",
            )
        known, groups = self._groups
        if known is not names:
            groups = [(each, torch.tensor([one == each for one in names])) for each in dict.fromkeys(_named(names))]
            self._groups = (names, groups)
        return groups

    def virtual(self, rows: int) -> list[Virtual | None]:
        """The virtual tokens of each row."""
        names = self.current
        if names is None or isinstance(names, str):
            names = (names,) * rows
        if len(names) != rows:
            raise InputError(
                f"{len(names)} adapters are in use, one per row, and the network got {rows} rows; name as many",
                field="adapter",
            )
        return [None if each is None else self._adapters[each].virtual for each in names]

    def check_new(self, name: str) -> None:
        """Refuse a name that is taken, or is none."""
        if not isinstance(name, str) or not name.strip() or len(name) > NAME_LIMIT or printable(name) != name:
            raise OptionError(
                f"name={name!r}: an adapter's name is a printable text of at most {NAME_LIMIT} characters", field="name"
            )
        if name in self._adapters:
            raise OptionError(
                f"there is an adapter {name!r} already; choose another name, or remove it first", field="name"
            )

    def _checked(self, names: Names) -> Names:
        if names is None or isinstance(names, str):
            found: Names = names
        elif isinstance(names, Sequence):
            found = tuple(names)
        else:
            raise OptionError(f"adapter={names!r}: give a name, None, or a list of them, one per row", field="adapter")
        for each in set(_named(found)):
            self[each]
        return found

    def _hook(self, layer: str) -> None:
        if layer not in self._hooks:
            module, hook = self.network.get_submodule(layer), LayerHook(self, layer)
            self._hooks[layer] = [
                module.register_forward_pre_hook(hook.before),
                module.register_forward_hook(hook.after),
            ]

    def _hook_network(self) -> None:
        for layer, module in enumerate(attentions(self.network)):
            module.__dict__["aigc_prefixes"] = (self, layer)
        if "" not in self._hooks:
            hook = VirtualTokens(self)
            self._hooks[""] = [
                self.network.register_forward_pre_hook(hook.before, with_kwargs=True),
                self.network.register_forward_hook(hook.after, with_kwargs=True),
            ]

    def _singular(self, name: str) -> list[SingularValues]:
        return [each for each in self[name].changes.values() if isinstance(each, SingularValues)]


class Tuned(nn.Module):
    """A network under training whose only weights are an adapter's; calls go through to the network.

    network: the adapters' own network, or a module around it that computes the loss, say.
    """

    def __init__(self, network: nn.Module, adapters: Adapters, name: str) -> None:
        super().__init__()
        self.adapter = adapters[name]
        self.network: nn.Module
        self.__dict__["network"] = network  # not as a module: neither its weights nor its state are this one's
        adapters.network.requires_grad_(False)
        adapters.use(name)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        return self.network(*arguments, **named)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.network.train(mode)
        return self


def _named(names: Names) -> list[str]:
    if names is None or isinstance(names, str):
        return [] if names is None else [names]
    return [each for each in names if each is not None]
