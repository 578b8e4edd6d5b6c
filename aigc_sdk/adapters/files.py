"""An adapter's folder, in peft's layout: adapter_config.json and adapter_model.safetensors, which either library opens.

Ours has aigc.json as well, which says with sha256 what the files were, and of which network: one whose weights differ
is refused. A folder is data: its tensors say which layers it changes, and nothing in it is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from aigc_sdk import folder as folders
from aigc_sdk import runtime, storage
from aigc_sdk._adapter_base import CONFIG, NAMED
from aigc_sdk.errors import CorruptFolder, MismatchedFolder, NotAModel, NotOffered, OptionError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import file_shapes, read_file

from .building import Adapter
from .layers import Change, LowRank, Replacement, SingularValues, change_of, is_linear, is_transposed, sizes
from .manager import Adapters
from .methods import IA3, AdaLoRA, Bottleneck, LoRA, Method, PrefixTuning, PromptTuning, Targeted
from .methods import method as method_of
from .virtual import Prefix, Prompt, check_prefix, prefix_sizes

WEIGHTS = "adapter_model.safetensors"
FINISHED = "prompt_embeddings"  # peft's name for the virtual tokens
KINDS: dict[str, type[Method]] = {
    "LORA": LoRA,
    "ADALORA": AdaLoRA,
    "IA3": IA3,
    "PROMPT_TUNING": PromptTuning,
    "PREFIX_TUNING": PrefixTuning,
    "BOTTLENECK": Bottleneck,  # ours alone
}
SUFFIXES: dict[type[Method], tuple[str, ...]] = {
    LoRA: ("lora_A.weight", "lora_B.weight"),
    AdaLoRA: ("lora_A", "lora_B", "lora_E"),
    IA3: ("ia3_l",),
    Bottleneck: ("down.weight", "down.bias", "up.weight", "up.bias"),
}
TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "CausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}
UNKNOWN = (  # what peft's methods can have beyond ours, and what makes their weights mean something else
    "use_dora",
    "use_rslora",
    "lora_bias",
    "alpha_pattern",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "use_qalora",
)


def save(adapters: Adapters, name: str, target: str | Path, *, backend: str, base: str) -> None:
    """Write the folder of an adapter, whole or not at all."""
    with saving(adapters, name, target, backend=backend, base=base):
        pass


@contextmanager
def saving(adapters: Adapters, name: str, target: str | Path, *, backend: str, base: str) -> Iterator[Path]:
    """The folder of an adapter while it is being written, for what a backend writes beside it; whole or not at all."""
    adapter = adapters[name]
    training = {
        "adapter": name,
        "method": adapter.method.model_dump(mode="json"),
        "base": {"source": base, "fingerprint": adapters.base_fingerprint(name)},
    }
    print_ = adapters.fingerprint(name)
    with folders.writing(target, backend=backend, role="adapter", fingerprint=print_, training=training) as path:
        write(adapters, name, path, base=base)
        yield path


def write(adapters: Adapters, name: str, path: Path, *, base: str = "") -> None:
    """Write an adapter's two files into a folder that is being written."""
    from safetensors.torch import save_file

    adapter = adapters[name]
    config = _config(adapters, adapter) | {NAMED: base or None, "inference_mode": True}
    storage.write_file(path / CONFIG, storage.json_bytes(config))
    tensors = {key: each.detach().cpu().contiguous() for key, each in finished(adapter).items()}
    save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})


def is_adapter(folder: Folder) -> bool:
    """Whether a folder holds an adapter, ours or peft's, rather than a model."""
    return folder.has(CONFIG)


def base_of(folder: Folder) -> str:
    """The source of the network that an adapter was made for; "" is the backend's default, as it is for a model."""
    found = folder.config(CONFIG).get(NAMED)
    base = _base(folder)
    unnamed = folder.manifest is None or base.get("source", "") is None  # peft's, or without its author's path
    if not isinstance(found, str) and unnamed:
        wanted = base.get("fingerprint")
        which = f", whose weights have the fingerprint {printable(wanted, 12)}" if isinstance(wanted, str) else ""
        raise NotAModel(
            f"{printable(str(folder.path))} does not say which model it is an adapter of{which}; open that model, and add "
            "the adapter to it with its add_adapter"
        )
    return found if isinstance(found, str) else ""


def load(adapters: Adapters, source: Any, name: str | None, *, backend: str) -> str:
    """Add the adapter in a folder to a network, and return its name."""
    opened = source if isinstance(source, Folder) else folders.read(source, backend=backend)
    if not is_adapter(opened):
        raise NotAModel(f"{printable(str(opened.path))} holds no adapter: there is no {CONFIG}")
    name = _name(opened) if name is None else name
    adapters.check_new(name)
    config = opened.config(CONFIG)
    method = _method(opened, config)
    adapter = _empty(adapters, method, config, opened)
    expected = {key: tuple(each.shape) for key, each in finished(adapter).items()}
    tensors = read_file(opened.path / WEIGHTS, expected)
    _fill(adapter, tensors)
    adapters.insert(name, adapter)
    try:
        _check_base(adapters, name, opened)
    except MismatchedFolder:
        adapters.remove(name)
        raise
    return name


def _training(opened: Folder) -> Mapping[str, Any]:
    """What aigc.json tells of the training; nothing in a folder of peft's."""
    found = opened.manifest.get("training") if opened.manifest is not None else None
    return found if isinstance(found, Mapping) else {}


def _base(opened: Folder) -> Mapping[str, Any]:
    """What aigc.json tells of the model that an adapter was trained beside."""
    found = _training(opened).get("base")
    return found if isinstance(found, Mapping) else {}


def _name(opened: Folder) -> str:
    found = _training(opened).get("adapter")
    return found if isinstance(found, str) else opened.path.resolve().name


def _check_base(adapters: Adapters, name: str, opened: Folder) -> None:
    """Refuse an adapter of ours on a network whose weights are not those that it was trained beside."""
    base = _base(opened)
    wanted = base.get("fingerprint")
    if not isinstance(wanted, str) or adapters.network.dtype != torch.float32:
        return  # peft does not say; and weights that are rounded have another fingerprint
    found = adapters.base_fingerprint(name)
    if found != wanted:
        source = printable(str(base.get("source") or ("the default model" if base.get("source") == "" else "a model")))
        raise MismatchedFolder(
            f"{printable(str(opened.path))} is an adapter of {source} with the weights {wanted[:12]}, and this network has "
            f"the weights {found[:12]}; open that model, and add the adapter to it"
        )


def _config(adapters: Adapters, adapter: Adapter) -> dict[str, Any]:
    """What peft needs to know of an adapter."""
    method, network = adapter.method, adapters.network
    changed = [name for name in adapter.places if name not in adapter.also]
    task = next((task for part, task in TASKS.items() if part in type(network).__name__), None)
    transposed = any(is_transposed(network.get_submodule(name)) for name in changed)
    common = {"task_type": task, "modules_to_save": list(adapter.also) or None}
    targeted = {**common, "target_modules": changed, "fan_in_fan_out": transposed}
    if isinstance(method, LoRA):
        low_rank = {"r": method.rank, "lora_alpha": method.alpha, "lora_dropout": method.dropout, "bias": "none"}
        return {"peft_type": "LORA", **targeted, **low_rank}
    if isinstance(method, AdaLoRA):
        return {"peft_type": "ADALORA", **targeted, **_adalora(method, adapter)}
    if isinstance(method, IA3):
        forward = [name for name in changed if adapter.at(name).feed_forward]  # type: ignore[union-attr]
        return {"peft_type": "IA3", **targeted, "feedforward_modules": forward}
    if isinstance(method, Bottleneck):
        return {"peft_type": "BOTTLENECK", **targeted, "width": method.width}
    virtual = {**common, "num_virtual_tokens": adapter.virtual.tokens, "num_transformer_submodules": 1}  # type: ignore[union-attr]
    config: Any = network.config
    if isinstance(adapter.virtual, Prefix):
        layers, _, heads, width = adapter.virtual.shape
        sizes = {"num_layers": layers, "num_attention_heads": heads, "token_dim": heads * width}
        return {"peft_type": "PREFIX_TUNING", **virtual, **sizes, "prefix_projection": False}
    assert isinstance(adapter.virtual, Prompt)
    sizes = {"num_layers": config.num_hidden_layers, "num_attention_heads": config.num_attention_heads}
    width = adapter.virtual.embeddings.shape[1]
    return {"peft_type": "PROMPT_TUNING", **virtual, **sizes, "token_dim": width, "prompt_tuning_init": "RANDOM"}


def _adalora(method: AdaLoRA, adapter: Adapter) -> dict[str, Any]:
    changes = {name: adapter.at(name) for name in adapter.places}
    ranks = {name: int(_left(each).sum()) for name, each in changes.items() if isinstance(each, SingularValues)}
    pattern = {f"{name}.lora_E": [n < rank for n in range(method.initial_rank)] for name, rank in ranks.items()}
    return {
        "target_r": method.rank,
        "init_r": method.initial_rank,
        "lora_alpha": method.alpha,
        "lora_dropout": method.dropout,
        "beta1": method.decay,
        "beta2": method.decay,
        "orth_reg_weight": method.orthogonality,
        "bias": "none",
        "rank_pattern": pattern,
        **(adapter.run or {"tinit": 0, "tfinal": 0, "deltaT": method.every, "total_step": 1}),
    }


def _left(change: SingularValues) -> torch.Tensor:
    """Which singular values a folder holds: those that are kept, and any that is not zero."""
    return change.kept | (change.lora_E.detach()[:, 0] != 0)


def finished(adapter: Adapter) -> dict[str, torch.Tensor]:
    """An adapter's weights under peft's names, as a folder holds them: without singular values that were dropped."""
    found = {} if adapter.virtual is None else {FINISHED: adapter.virtual.finished()}
    for name in adapter.places:
        change = adapter.at(name)
        own = _own(change)
        if isinstance(change, SingularValues):
            left = _left(change)
            own = {"lora_A": change.lora_A[left], "lora_B": change.lora_B[:, left], "lora_E": change.lora_E[left]}
        found |= {f"{_prefix(adapter)}{name}.{key}": each for key, each in own.items()}
    return found


def _prefix(adapter: Adapter) -> str:
    """What peft puts before a layer's name."""
    return "base_model.model." if adapter.virtual is None else "base_model."


def _own(change: Change | None) -> dict[str, torch.Tensor]:
    """The weights of a change themselves, under peft's names."""
    if isinstance(change, Replacement):
        return change.copy.state_dict()
    found = {} if change is None else dict(change.named_parameters())
    return {f"{key}.weight": each for key, each in found.items()} if isinstance(change, LowRank) else {**found}


def _method(opened: Folder, config: Mapping[str, Any]) -> Method:
    """The method that a configuration describes. Raises NotOffered for one that we do not have."""
    where = printable(str(opened.path))
    kind = config.get("peft_type")
    if kind not in KINDS:
        raise NotOffered(f"{where} is an adapter of the method {printable(str(kind))!r}; here are {', '.join(KINDS)}")
    beyond = [key for key in UNKNOWN if config.get(key)]
    if beyond or config.get("bias", "none") != "none":
        raise NotOffered(f"{where} is an adapter with {(beyond or ['bias'])[0]}, which is not offered here; use peft")
    trained = _training(opened).get("method")
    try:
        if isinstance(trained, Mapping) and KINDS[kind].model_fields["method"].default == trained.get("method"):
            return method_of(trained)
        return KINDS[kind].parse(kind, {key: each for key, each in _options(kind, config).items() if each is not None})
    except OptionError as error:
        raise CorruptFolder(f"{where}: {CONFIG} describes no adapter: {error}") from error


def _options(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "LORA":
        return {"rank": config.get("r"), "alpha": config.get("lora_alpha"), "dropout": config.get("lora_dropout")}
    if kind == "ADALORA":
        first = config.get("init_r")
        return {
            "rank": config.get("target_r"),
            "initial_rank": first,
            "alpha": config.get("lora_alpha"),
            "dropout": config.get("lora_dropout"),
            "every": config.get("deltaT"),
            "decay": config.get("beta1"),
            "orthogonality": config.get("orth_reg_weight"),
        }
    if kind == "BOTTLENECK":
        return {"width": config.get("width")}
    return {"tokens": config.get("num_virtual_tokens")} if kind.endswith("TUNING") else {}


def _empty(adapters: Adapters, method: Method, config: Mapping[str, Any], opened: Folder) -> Adapter:
    """An adapter with room for the tensors of a folder, whose names say which layers it changes."""
    network, rng, where = adapters.network, runtime.rng(0), printable(str(opened.path))
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in file_shapes(opened.path / WEIGHTS).items():
        if key != FINISHED:
            layer, rest = _split(key, method, config.get("modules_to_save") or (), where)
            layers.setdefault(layer, {})[rest] = shape
    modules, changes = dict(network.named_modules()), dict[str, Change]()
    for layer, shapes in layers.items():
        if layer not in modules:
            raise MismatchedFolder(f"{where} changes {printable(layer)}, and this network has no such layer")
        if not set(shapes) & set(SUFFIXES.get(type(method), ())):
            changes[layer] = Replacement(modules[layer])
        elif is_linear(modules[layer]):
            changes[layer] = _change(method, modules[layer], shapes, f"{where}: {layer}", rng)
        else:
            raise MismatchedFolder(f"{where} changes {layer}, which is no linear layer of this network")
    if isinstance(method, Targeted):
        own = tuple(layer for layer, each in changes.items() if not isinstance(each, Replacement))
        method = method.model_copy(update={"targets": own})
    return Adapter(method, changes, _virtual(method, network, rng))


def _split(key: str, method: Method, whole: Sequence[str], where: str) -> tuple[str, str]:
    """The layer of the network that a tensor belongs to, and what it is there."""
    suffixes = SUFFIXES.get(type(method), ())
    body = key.removeprefix("base_model.model." if suffixes else "base_model.")
    for rest in suffixes:
        if body.endswith(f".{rest}"):
            return body.removesuffix(f".{rest}"), rest
    parts = body.split(".")
    for end in range(1, len(parts)):
        layer = ".".join(parts[:end])
        if any(layer == each or layer.endswith(f".{each}") for each in whole):
            return layer, ".".join(parts[end:])
    raise MismatchedFolder(f"{where} has a weight {printable(key)}, which is none of the method {method.method!r}")


def _change(
    method: Method, layer: Any, shapes: Mapping[str, tuple[int, ...]], where: str, rng: torch.Generator
) -> Change:
    """A change of the sizes that a folder's header says, once those are ones that the layer can have."""
    rows, columns = sizes(layer)
    rank = next((shape[0] for key, shape in shapes.items() if key.startswith("lora_A") and shape), 1)
    least = 0 if isinstance(method, AdaLoRA) else 1
    if isinstance(method, LoRA | AdaLoRA) and not least <= rank <= min(rows, columns):
        raise MismatchedFolder(f"{where} has the rank {rank}, and the layer maps {columns} features to {rows}")
    if isinstance(method, LoRA):
        return LowRank(method.model_copy(update={"rank": rank}), rows, columns, rng)
    if isinstance(method, AdaLoRA):
        return SingularValues(method, rows, columns, rng, rank)
    feed_forward = shapes.get("ia3_l", (0,))[0] == 1
    return change_of(method, layer, feed_forward, rng)


def _virtual(method: Method, network: Any, rng: torch.Generator) -> Prompt | Prefix | None:
    if isinstance(method, PromptTuning):
        return Prompt(method, network.get_input_embeddings().weight, rng)
    if isinstance(method, PrefixTuning):
        check_prefix(network)
        return Prefix(method.model_copy(update={"hidden": 0}), *prefix_sizes(network), rng)
    return None


@torch.no_grad()
def _fill(adapter: Adapter, tensors: Mapping[str, torch.Tensor]) -> None:
    if adapter.virtual is not None:
        adapter.virtual.embeddings.copy_(tensors[FINISHED])
    for name in adapter.places:
        for key, own in _own(adapter.at(name)).items():
            own.copy_(tensors[f"{_prefix(adapter)}{name}.{key}"])
