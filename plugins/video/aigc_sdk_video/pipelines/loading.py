"""A pipeline from a checked folder: its classes from the table of families, its configurations and weights from the gate.

diffusers and transformers are given configurations and tensors, and tokenizers' files; the folder never chooses code.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_sdk import runtime
from aigc_sdk.errors import CorruptFolder, MismatchedFolder, NotAModel, UnsafeFolder, printable
from aigc_sdk.folder import Folder, read_json
from aigc_sdk.weights import file_shapes, foreign_errors, load_transformers, quiet, read_file, shard_files

from .families import FAMILIES, LIBRARIES, Family, Kind, named

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
BUFFER_LIMIT = 1 << 28  # numbers in tables that a configuration makes, such as positions; the largest known has 2**24
FLOAT32 = frozenset({"AutoencoderKLWan"})  # its authors' advice; frames come out mottled otherwise
_RENAMED = {"CLIPFeatureExtractor": "CLIPImageProcessorPil"}  # what transformers calls it since


@dataclass(frozen=True)
class Index:
    """What model_index.json says, once it has been checked."""

    name: str
    family: Family
    parts: Mapping[str, str]
    """The class of every part that is there."""
    settings: Mapping[str, bool | int | float | None]
    """The pipeline's own settings, such as the noise at which one expert hands over to the other."""


def read_index(opened: Folder, kind: Kind) -> Index:
    """The pipeline that a folder holds. Raises NotAModel, UnsafeFolder or MismatchedFolder."""
    shown = printable(str(opened.path))
    if not opened.has(INDEX):
        raise NotAModel(f"{shown} holds no pipeline of diffusers: it has no {INDEX}")
    found = opened.json(INDEX)
    name = found.get("_class_name")
    if not isinstance(name, str) or name not in FAMILIES:
        raise NotAModel(
            f"{shown} is a {printable(str(name))!r}; the pipelines that can be opened are {', '.join(named(kind))}"
        )
    family = FAMILIES[name]
    if family.kind != kind:
        other = "diffusion" if family.kind == "image" else "video"
        raise MismatchedFolder(
            f"{shown} is a {name}, which makes {family.kind}s; aigc_sdk.load({other!r}, ...) opens it"
        )
    parts: dict[str, str] = {}
    settings: dict[str, bool | int | float | None] = {}
    for part, value in found.items():
        if part.startswith("_"):
            continue
        if isinstance(value, bool | int | float) or value is None:
            settings[part] = value
        elif part in family.parts:
            chosen = _part_class(value, family.parts[part], f"{shown}: {INDEX}: {printable(part)}")
            if chosen is not None:
                parts[part] = chosen
        elif value != [None, None]:
            raise UnsafeFolder(f"{shown}: {INDEX} has the part {printable(part)!r}, which no {name} has")
    return Index(name, family, parts, settings)


def check_package(family: Family) -> None:
    """Raises MissingDependency when diffusers, or what it needs for this family, is not installed."""
    runtime.require("diffusers", "'aigc-sdk-video[diffusers]'", "a pipeline of diffusers")
    if family.package is not None:
        runtime.require(family.package, family.package, "this pipeline's text")


def build(opened: Folder, index: Index, dtype: torch.dtype) -> Any:
    """diffusers' own pipeline object, on the CPU. Raises FolderError."""
    with silent():
        kind = getattr(import_module("diffusers"), index.name)
    known = inspect.signature(kind.__init__).parameters
    parts: dict[str, Any] = {part: None for part in index.family.parts if part in known}
    for part, name in index.parts.items():
        if part in known:
            parts[part] = read_part(opened, part, name, dtype)
    settings = {name: value for name, value in index.settings.items() if name in known and name not in parts}
    with foreign_errors(opened.path, "its parts do not make this pipeline"), silent():
        made = kind(**parts, **settings)
    made.set_progress_bar_config(disable=True)
    return made


def read_part(opened: Folder, part: str, name: str, dtype: torch.dtype) -> Any:
    """One part of a pipeline, by the name of its class, which has been looked up in the family's table."""
    import torch

    place = opened.path / part
    if not place.is_dir():
        raise CorruptFolder(f"{printable(str(opened.path))}: the part {part} is missing; fetch or save the model again")
    inside = Folder(place, opened.source, None)
    with silent():
        kind = class_of(name)
        if name.endswith("Scheduler"):
            with foreign_errors(place, "scheduler_config.json describes no scheduler"):
                return kind.from_config(inside.config("scheduler_config.json"))
        if name.endswith("Guidance"):
            with foreign_errors(place, "guider_config.json describes no guider"):
                return kind.from_config(inside.config("guider_config.json"))
        if "ImageProcessor" in name:
            with foreign_errors(place, "preprocessor_config.json describes no image processor"):
                return kind.from_dict(inside.config("preprocessor_config.json"))
        if "Tokenizer" in name or name == "TokenizersBackend":
            return _tokenizer(place, kind)
        if _is_diffusers(kind):
            return _network(inside, kind, torch.float32 if name in FLOAT32 else dtype, kept_float32(name))
        return _transformers(inside, kind, dtype)


def class_of(name: str) -> Any:
    """The class that a name of the families' tables means."""
    diffusers, transformers = import_module("diffusers"), import_module("transformers")
    if name in LIBRARIES:
        module = import_module(f"diffusers.pipelines.{LIBRARIES[name][0]}")
        if not hasattr(module, name):
            module = import_module(f"diffusers.pipelines.{LIBRARIES[name][0]}.safety_checker")
        return getattr(module, name)
    if name == "ClassifierFreeGuidance":
        return import_module("diffusers.guiders").ClassifierFreeGuidance
    name = _RENAMED.get(name, name)
    return getattr(diffusers, name, None) or getattr(transformers, name)


def kept_float32(name: str) -> tuple[str, ...]:
    """The modules of a part's class that stay in float32 whatever the dtype."""
    kind = class_of(name)
    return tuple(getattr(kind, "_keep_in_fp32_modules", None) or ()) if _is_diffusers(kind) else ()


def float8_skips(name: str) -> tuple[str, ...]:
    """Patterns of the modules of a part's class that are not stored in float8."""
    from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN

    own = getattr(class_of(name), "_skip_layerwise_casting_patterns", None) or ()
    return (*DEFAULT_SKIP_MODULES_PATTERN, *own, *kept_float32(name))


def network_files(place: Path) -> list[Path]:
    """The safetensors files of one part: one, or the shards that its index names."""
    for single in (WEIGHTS, "model.safetensors"):
        if (place / single).is_file():
            return [place / single]
        if (place / f"{single}.index.json").is_file():
            return shard_files(place, f"{single}.index.json")
    pickles = sorted(each.name for pattern in ("*.bin", "*.pt", "*.ckpt") for each in place.glob(pattern))
    if pickles:
        raise UnsafeFolder(
            f"{printable(str(place))} holds its weights as {printable(pickles[0])}, a pickle, which can run code when it "
            "is read; convert it to safetensors where you trust it: save_pretrained(folder) in diffusers"
        )
    raise NotAModel(f"{printable(str(place))} holds no weights: no {WEIGHTS}, no model.safetensors")


@contextmanager
def silent() -> Iterator[None]:
    """diffusers and transformers log hints about what they are given, all of which are errors here or noise."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with quiet():
            yield
    finally:
        logging.set_verbosity(level)


def _part_class(value: Any, allowed: tuple[str, ...], where: str) -> str | None:
    """The class that [library, class] names, or None where the part is left out."""
    if value == [None, None]:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)):
        raise CorruptFolder(f"{where} is {printable(repr(value))}; it must be [library, class]")
    library, name = value
    if name not in allowed:
        raise UnsafeFolder(f"{where} names the class {printable(name)!r}; it can be {', '.join(allowed) or 'left out'}")
    if library not in LIBRARIES.get(name, ("diffusers", "transformers")):
        raise UnsafeFolder(f"{where} names the library {printable(library)!r}, from which nothing is opened")
    return str(name)


def _is_diffusers(kind: Any) -> bool:
    return bool(kind.__module__.startswith("diffusers.") and not hasattr(kind, "_from_config"))


def _network(inside: Folder, kind: Any, dtype: torch.dtype, kept: tuple[str, ...]) -> Any:
    """A network of diffusers, in evaluation mode; weights are compared with the configuration before they are read."""
    from accelerate import init_empty_weights

    config = inside.config()
    config.pop("quantization_config", None)
    with foreign_errors(inside.path, "config.json describes no network of this class"):
        _check_tables(inside.path, kind, config)
        with init_empty_weights(include_buffers=False):
            made = kind.from_config(config)
    files = {file: _current_names(made, file) for file in network_files(inside.path)}
    expected = {name: tuple(each.shape) for name, each in made.state_dict().items()}
    _check_names(inside.path, files, expected)
    for file, names in files.items():
        read = read_file(file, {old: expected[new] for old, new in names.items()})
        tensors = {new: _cast(read.pop(old), new, dtype, kept) for old, new in names.items()}
        made.load_state_dict(tensors, strict=False, assign=True)
    return made.eval().requires_grad_(False)


def _check_tables(path: Path, kind: Any, config: Mapping[str, Any]) -> None:
    """Refuse a configuration whose tables of positions and the like would fill the memory."""
    import torch

    with torch.device("meta"):
        numbers = sum(math.prod(each.shape) for each in kind.from_config(dict(config)).buffers())
    if numbers > BUFFER_LIMIT:
        raise UnsafeFolder(f"{printable(str(path))}: config.json asks for tables of {numbers:,} numbers")


def _current_names(made: Any, file: Path) -> dict[str, str]:
    """Each weight's name in the file, with the name that the network has for it; older files have others."""
    names = {name: name for name in file_shapes(file)}
    turned = dict(names)
    made._fix_state_dict_keys_on_load(turned)
    return {old: new for new, old in turned.items()}


def _check_names(path: Path, files: Mapping[Path, Mapping[str, str]], expected: Mapping[str, tuple[int, ...]]) -> None:
    there = [new for names in files.values() for new in names.values()]
    shown = printable(str(path))
    if len(there) != len(set(there)):
        raise CorruptFolder(f"{shown}: a weight is there twice")
    missing, extra = sorted(set(expected) - set(there)), sorted(set(there) - set(expected))
    if missing or extra:
        some = [f"misses {', '.join(missing[:3])}"] * bool(missing)
        some += [f"has unexpected {', '.join(map(printable, extra[:3]))}"] * bool(extra)
        raise MismatchedFolder(f"{shown}: the weights are not of its config.json: it {' and '.join(some)}")


def _cast(tensor: torch.Tensor, name: str, dtype: torch.dtype, kept: tuple[str, ...]) -> torch.Tensor:
    import torch

    if not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float32 if any(each in name.split(".") for each in kept) else dtype)


def _transformers(inside: Folder, kind: Any, dtype: torch.dtype) -> Any:
    """A network of transformers, through the core's gate."""
    import torch

    made: Any = load_transformers(inside, _Exactly(kind))
    made.requires_grad_(False).to(dtype)
    if dtype == torch.float16:
        for name, each in made.named_modules():
            if any(part in name.split(".") for part in kind._keep_in_fp32_modules or ()):
                each.float()
    return made


class _Exactly:
    """One class in the place of an auto class, which chooses by the configuration."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.from_config = kind._from_config
        self._model_mapping = self

    def __getitem__(self, config: Any) -> Any:
        return self.kind


def _tokenizer(place: Path, kind: Any) -> Any:
    for file in sorted(place.glob("*.json")):
        if file.stat().st_size < 1_000_000:
            read_json(file)
    with foreign_errors(place, "its files make no tokenizer"):
        return kind.from_pretrained(str(place), local_files_only=True)
