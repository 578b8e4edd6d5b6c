"""Parameter-efficient fine-tuning for every text model of transformers: small weights beside a network that stays as it is.

    adapters = Adapters.of(network)                     # a transformers PreTrainedModel; one manager per network
    adapters.add("user-42", LoRA(rank=8), seed=0)       # or AdaLoRA, PrefixTuning, PromptTuning, IA3, Bottleneck
    adapters.use("user-42")                             # None: the network alone; a list: one name or None per row
    with adapters.using(["user-1", "user-2", None]):    # the same for as long as a block lasts, in this thread
        network(**inputs)
    adapters.save("user-42", "adapters/user-42", backend="gpt2", base=model.source)
    adapters.load("adapters/user-42", name="again")

The network keeps its modules, names and weights: an adapter acts through hooks, and only while it is in use. A folder
has the layout of Hugging Face's peft (adapter_config.json, adapter_model.safetensors), which opens it; theirs open here.

For a trainer, `Tuned(network, adapters, name)` is a network of which only the adapter is trained:

    self.networks = {"network": Tuned(TrainingNetwork(model), adapters, name)}     # state and checkpoints: the adapter's alone
    groups = adapters.groups(name, weight_decay)                 # for the optimiser: what decays, and what must not
    adapters.follow(name, optimizer, fit.max_steps)              # AdaLoRA's schedule; nothing to do for the others
    yield loop.step(loss=loss, **adapters.metrics(name))         # AdaLoRA's mean rank; empty for the others

`add(..., also=("classifier",))` trains whole modules of the network beside the adapter, such as a new head; they are
saved with it. `adapters.through_layers` says whether whoever calls the network's layers one by one, instead of the
network, computes what is in use: False for prefix and prompt tuning, which work in the network's own forward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .methods import IA3, AdaLoRA, Bottleneck, LoRA, Method, PrefixTuning, PromptTuning, method

if TYPE_CHECKING:
    from .manager import Adapters, Tuned

__all__ = [
    "AdaLoRA",
    "Adapters",
    "Bottleneck",
    "IA3",
    "LoRA",
    "Method",
    "PrefixTuning",
    "PromptTuning",
    "Tuned",
    "method",
]


def __getattr__(name: str) -> Any:
    """Imported when asked for: the methods are plain options, the rest needs torch."""
    if name not in ("Adapters", "Tuned"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import manager

    return getattr(manager, name)
