"""A LoRA beside a pipeline: its file, which is diffusers' own, and what says which pipeline it belongs to."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aigc_sdk import folder, runtime
from aigc_sdk.errors import MediaError, MismatchedFolder, NotAModel, NotOffered, OptionError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import file_shapes, read_file

from .families import FAMILIES
from .loading import INDEX, silent

if TYPE_CHECKING:
    from .model import _Pipeline

WEIGHTS = "pytorch_lora_weights.safetensors"
NAME = "default"
_MARK = ".lora_"  # in the name of every weight of a LoRA


@dataclass(frozen=True)
class Adapter:
    """A LoRA that a pipeline has in use."""

    network: Any
    """The network that it changes."""
    part: str
    source: str
    """The folder that it came from; "" for one that has not been saved."""

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """Its weights, by their names in the network."""
        return {name: each for name, each in self.network.named_parameters() if f"{_MARK}" in name and NAME in name}

    def digest(self, base: str) -> str:
        """A digest of the pipeline's and its own weights."""
        own = runtime.tensor_digest(dict(self.weights()))
        return hashlib.sha256(f"{base} {own}".encode()).hexdigest()

    def identity(self) -> dict[str, str]:
        """What an origin says of it."""
        return {"source": self.source, "fingerprint": runtime.tensor_digest(dict(self.weights()))}


def is_adapter(opened: Folder) -> bool:
    """Whether a folder holds a LoRA rather than a pipeline."""
    return not opened.has(INDEX) and _file(opened) is not None


def base_of(opened: Folder) -> str:
    """What opens the pipeline that a LoRA was trained for. Raises NotAModel for one that does not say."""
    training = (opened.manifest or {}).get("training") or {}
    base = training.get("base")
    shown = printable(str(opened.path))
    if not isinstance(base, str) or not base:
        raise NotAModel(f"{shown} is a LoRA that does not say of which pipeline; open that one, and use its use_lora")
    if os.path.sep in base and not os.path.isdir(base) and os.path.isabs(base):
        raise NotAModel(
            f"{shown} is a LoRA of the pipeline {printable(base)!r}, which is not there. Open it from where it is, and use "
            "its use_lora"
        )
    return base


def named_in(identity: Mapping[str, Any]) -> str | None:
    """The folder of the LoRA in an origin, if there is one. Raises MediaError for one that had not been saved."""
    found = identity.get("lora")
    if found is None:
        return None
    source = found.get("source") if isinstance(found, Mapping) else None
    if not isinstance(source, str) or not source:
        raise MediaError("this was made with a LoRA that had not been saved")
    return source


def add(pipe: Any, name: str, *, rank: int, alpha: float, targets: tuple[str, ...], seed: int) -> Adapter:
    """A new LoRA, which changes nothing yet. Raises NotOffered, OptionError or MissingDependency."""
    part = _part(name)
    peft = runtime.require("peft", "peft", "a LoRA")
    network = getattr(pipe, part)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights=True)
    with runtime.LentState(seed), silent():
        try:
            network.add_adapter(config, adapter_name=NAME)
        except ValueError as error:
            raise OptionError(
                f"targets={targets}: {printable(str(error))}; name layers of the {part}, such as to_q", field="targets"
            ) from error
    return Adapter(network, part, "")


def load(pipe: Any, name: str, opened: Folder) -> Adapter:
    """Put a LoRA's folder beside a pipeline. Raises NotOffered or FolderError."""
    part, file = _part(name), _file(opened)
    runtime.require("peft", "peft", "a LoRA")
    shown = printable(str(opened.path))
    if file is None:
        raise NotAModel(f"{shown} holds no LoRA: it has no {WEIGHTS}")
    shapes = file_shapes(file)
    read_file(file, shapes)  # nothing infinite, nothing damaged
    foreign = sorted(each for each in shapes if not each.startswith(f"{part}."))
    if foreign:
        raise MismatchedFolder(f"{shown} is no LoRA of a {part}: it has the weight {printable(foreign[0])}")
    try:
        with silent(), warnings.catch_warnings(action="ignore"):
            pipe.load_lora_weights(
                str(file.parent), weight_name=file.name, adapter_name=NAME, local_files_only=True, use_safetensors=True
            )
    except Exception as error:  # peft's, diffusers' and torch's own
        raise MismatchedFolder(f"{shown} is no LoRA of this {name}: {printable(str(error))}") from error
    found = Adapter(getattr(pipe, part), part, opened.source)
    if len(found.weights()) != len([each for each in shapes if not each.endswith(".alpha")]):
        raise MismatchedFolder(f"{shown} is a LoRA of another {part}: not all of its weights have a place in this one")
    return found


def save(model: _Pipeline[Any], target: str | Path) -> None:
    """Write the LoRA of a model: diffusers' file alone, with the name of the pipeline beside it."""
    from peft.utils import get_peft_model_state_dict

    adapter = model.lora
    assert adapter is not None
    base = os.path.abspath(model.source) if os.path.isdir(model.source) else model.source
    config = adapter.network.peft_config[NAME].to_dict()
    kept = {"r": config["r"], "lora_alpha": config["lora_alpha"], "target_modules": sorted(config["target_modules"])}
    layers = get_peft_model_state_dict(adapter.network, adapter_name=NAME)
    with (
        folder.writing(
            target,
            backend=model.backend,
            role="generator",
            fingerprint=adapter.identity()["fingerprint"],
            training={"base": base, "pipeline": model.name},
        ) as path,
        silent(),
    ):
        model.pipe.save_lora_weights(
            path,
            **{
                f"{adapter.part}_lora_layers": {name: each.contiguous().cpu() for name, each in layers.items()},
                f"{adapter.part}_lora_adapter_metadata": kept,
            },
        )


def _part(name: str) -> str:
    part = FAMILIES[name].trains
    if part is None:
        raise NotOffered(f"a {name} takes no LoRA here")
    return part


def _file(opened: Folder) -> Path | None:
    if opened.has(WEIGHTS):
        return opened.path / WEIGHTS
    found = sorted(opened.path.glob("*.safetensors"))
    return found[0] if len(found) == 1 else None
