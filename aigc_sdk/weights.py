"""Weights from a model folder: safetensors alone, shapes before bytes, nothing missing, nothing left over, all finite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import AigcError, CorruptFolder, MismatchedFolder, NotAModel, UnsafeFolder, printable
from .folder import Folder, read_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.safetensors")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_SHOWN = 3  # names in a message
_ALIGNMENT = 64  # bytes, of whose multiples torch's own memory begins at
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")


def read_weights(path: Path, expected: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, torch.Tensor]:
    """Every tensor in the folder's safetensors files; see `Folder.weights`."""
    files = weight_files(path)
    if expected is not None:
        _compare(path, shapes(path), expected)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        with _safetensors(file) as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                tensors[name] = _aligned(opened.get_tensor(name))
    _check_finite(path, tensors)
    return tensors


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, from the files' headers."""
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(path):
        with _safetensors(file) as opened:
            for name in opened.keys():  # noqa: SIM118
                if name in found:
                    raise CorruptFolder(f"{printable(str(path))}: the weight {printable(name)!r} is there twice")
                found[name] = tuple(opened.get_slice(name).get_shape())
    return found


def read_file(file: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The tensors in one safetensors file, which must be just those `expected`; shapes are compared before bytes are read."""
    _compare(file.parent, file_shapes(file), expected, file.name)
    with _safetensors(file) as opened:
        tensors = {name: _aligned(opened.get_tensor(name)) for name in expected}
    _check_finite(file.parent, tensors)
    return tensors


def check_file(file: Path) -> None:
    """Refuse a safetensors file that is damaged or holds NaN or infinity; one tensor at a time takes memory."""
    with _safetensors(file) as opened:
        for name in opened.keys():  # noqa: SIM118 (no mapping)
            _check_finite(file.parent, {name: opened.get_tensor(name)})


def file_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in one safetensors file, from its header."""
    if not file.is_file():
        raise NotAModel(f"{printable(str(file.parent))} has no {file.name}")
    with _safetensors(file) as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model: one, or the shards that its index names."""
    shown = printable(str(path))
    if (path / SINGLE).is_file():
        return [path / SINGLE]
    if not (path / INDEX).is_file():
        pickles = sorted(each.name for pattern in _PICKLES for each in path.glob(pattern))
        if pickles:
            raise UnsafeFolder(
                f"{shown} holds its weights as {printable(pickles[0])}, a pickle, which can run code when it is read; "
                "convert it to safetensors where you trust it: model.save_pretrained(folder) in transformers"
            )
        raise NotAModel(f"{shown} holds no weights: no {SINGLE}, no {INDEX}")
    return shard_files(path, INDEX)


def shard_files(path: Path, index: str) -> list[Path]:
    """The safetensors files that an index in a folder names. Raises CorruptFolder, and UnsafeFolder for a name that leads out."""
    shown = printable(str(path))
    names = read_json(path / index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(each, str) for each in names.values()):
        raise CorruptFolder(f"{shown}: {index} has no weight_map")
    shards = sorted(set(names.values()))
    for shard in shards:
        if not _SHARD.fullmatch(shard):
            raise UnsafeFolder(f"{shown}: {index} names the shard {printable(shard)!r}, which is no plain file name")
        if not (path / shard).is_file():
            raise CorruptFolder(f"{shown}: the shard {shard} is missing; fetch or save the model again")
    return [path / shard for shard in shards]


@contextmanager
def on_meta() -> Iterator[None]:
    """Modules that are built in this block take no memory and draw no first weights; `fill` gives them both.

    Left to itself, torch draws normal numbers on "meta" too, and imports its compiler for that: more than a second.
    """
    import torch

    from ._undrawn import Undrawn

    with Undrawn(), torch.device("meta"):
        yield


def fill(module: torch.nn.Module, path: Path, device: str, dtype: torch.dtype) -> None:
    """Give a module the weights in a folder, which must be just its own; a module on "meta" gets memory by that."""
    expected = {name: tuple(each.shape) for name, each in module.state_dict().items()}
    module.load_state_dict(read_weights(path, expected), assign=True)
    module.to(device=device, dtype=dtype)


def write_module(module: torch.nn.Module, path: Path) -> None:
    """Write a module's weights into a folder, which is made if it is not there."""
    import torch
    from safetensors.torch import save_file

    path.mkdir(exist_ok=True)
    tensors = {
        name: each.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, each in module.state_dict().items()
    }
    save_file(tensors, path / SINGLE)


def load_transformers(
    folder: Folder, model_class: Any, *, free: Callable[[str], bool] | None = None, **overrides: Any
) -> PreTrainedModel:
    """A Hugging Face model from a checked folder, in evaluation mode, with the dtype of its file.

    model_class: a transformers auto class, such as AutoModelForCausalLM. overrides: configuration to set.
    free: says of a weight's name whether it may be missing, left over or of another shape: of a new head, say, whose
        first weights are then drawn from torch's global random state.
    The library is given a configuration and tensors, and never sees the folder: so nothing in it can choose code.
    Raises MismatchedFolder when weights are missing or left over, and CorruptFolder or UnsafeFolder otherwise.
    """
    config = _transformers_config(folder, overrides)
    _check_size(folder, config, model_class, free)
    tensors = read_weights(folder.path)
    concrete = _concrete(model_class, config)
    dtype = next((each.dtype for each in tensors.values() if each.is_floating_point()), None)
    with foreign_errors(folder.path, "the weights do not make this model"), quiet():
        model, report = concrete.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            output_loading_info=True,
            dtype=dtype,
            attn_implementation=_attention(model_class, config),
            ignore_mismatched_sizes=free is not None,
        )
    _check_report(folder.path, report, free)
    return model.eval()  # type: ignore[no-any-return]


def load_tokenizer(folder: Folder) -> PreTrainedTokenizerFast:
    """The tokenizer in tokenizer.json, with the special tokens of tokenizer_config.json."""
    from transformers import PreTrainedTokenizerFast

    if not folder.has("tokenizer.json"):
        raise NotAModel(
            f"{printable(str(folder.path))} has no tokenizer.json; save the tokenizer again with transformers 5"
        )
    settings = folder.config("tokenizer_config.json") if folder.has("tokenizer_config.json") else {}
    special = {key: _token(settings.get(key)) for key in _SPECIAL}
    longest = settings.get("model_max_length")
    read_json(folder.path / "tokenizer.json")
    with foreign_errors(folder.path, "tokenizer.json is no tokenizer"):
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_file=str(folder.path / "tokenizer.json"),
            clean_up_tokenization_spaces=False,
            **{key: value for key, value in special.items() if value is not None},
            **({"model_max_length": longest} if isinstance(longest, int) else {}),
        )


def token_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
    """All tokens of each text, with the special ones that the tokenizer puts around it if asked for.

    A tokenizer keeps the padding and truncation of its last use, or of its file; they are switched off first.
    """
    backend = tokenizer.backend_tokenizer
    if backend.padding is not None:
        backend.no_padding()
    if backend.truncation is not None:
        backend.no_truncation()
    return [each.ids for each in backend.encode_batch_fast(list(texts), add_special_tokens=special)]


@contextmanager
def foreign_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises about a folder into CorruptFolder, with its cause."""
    try:
        yield
    except (AigcError, MemoryError):
        raise
    except Exception as error:
        cause = printable(f"{type(error).__name__}: {error}", 300)
        raise CorruptFolder(f"{printable(str(path))}: {what}: {cause}") from error


@contextmanager
def _safetensors(file: Path) -> Iterator[Any]:
    from safetensors import safe_open

    with foreign_errors(file.parent, f"{file.name} is no sound safetensors file"), safe_open(file, "pt") as opened:
        yield opened


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor where torch itself would put it: some products round by where in memory their numbers begin.

    What is read lies as in the file, which is as long a header's length off: the same weights in another file would make
    other last digits.
    """
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()


def _compare(
    path: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], file: str = SINGLE
) -> None:
    shown = printable(str(path))
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or extra:
        parts = [f"misses {_some(missing)}"] * bool(missing) + [f"has unexpected {_some(extra)}"] * bool(extra)
        raise MismatchedFolder(f"{shown}: {file} {' and '.join(parts)}; it is not of this configuration")
    for name, shape in expected.items():
        if tuple(found[name]) != tuple(shape):
            raise MismatchedFolder(
                f"{shown}: {name} has the shape {found[name]}, the configuration says {tuple(shape)}"
            )


def _check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise CorruptFolder(f"{printable(str(path))}: the weight {printable(name)} holds NaN or infinite values")


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all its numbers are. Their sum tells it soonest, unless it is too large itself."""
    tensor = tensor.float() if tensor.itemsize == 1 else tensor  # torch adds no float8
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _transformers_config(folder: Folder, overrides: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    found = {**folder.config(), **overrides}
    for key in ("quantization_config", "architectures"):
        found.pop(key, None)
    kind = found.pop("model_type", None)
    if not isinstance(kind, str):
        raise CorruptFolder(f"{printable(str(folder.path))}: config.json names no model_type")
    with foreign_errors(folder.path, "config.json describes no model"), quiet():
        return AutoConfig.for_model(kind, **found)


def _concrete(model_class: Any, config: Any) -> Any:
    return model_class._model_mapping[type(config)] if hasattr(model_class, "_model_mapping") else model_class


def _attention(model_class: Any, config: Any) -> str | dict[str, str]:
    """torch's own attention; models without attention, such as ResNet, refuse it, and so do such parts of a model."""
    if not getattr(_concrete(model_class, config), "_supports_sdpa", False):
        return "eager"
    without = {
        name: "eager" for name in getattr(config, "sub_configs", {}) if _without_attention(getattr(config, name))
    }
    return {"": "sdpa", **without} if without else "sdpa"


def _without_attention(part: Any) -> bool:
    from transformers import AutoModel

    known = part is not None and type(part) in AutoModel._model_mapping
    return known and not getattr(AutoModel._model_mapping[type(part)], "_supports_sdpa", False)


def _check_size(folder: Folder, config: Any, model_class: Any, free: Callable[[str], bool] | None) -> None:
    """Refuse, before anything is allocated, a configuration whose model is larger than the weights that are there."""
    import math

    there = sum(map(math.prod, shapes(folder.path).values()))
    with foreign_errors(folder.path, "config.json describes no model"), on_meta(), quiet():
        made = model_class.from_config(config, attn_implementation=_attention(model_class, config))
        named = made.named_parameters()
        needed = sum(each.numel() for name, each in named if free is None or not free(name))
    if needed > there:
        raise MismatchedFolder(
            f"{printable(str(folder.path))}: config.json describes a model of {needed:,} weights, the files hold {there:,}"
        )


def _check_report(path: Path, report: Mapping[str, Any], free: Callable[[str], bool] | None) -> None:
    shown = printable(str(path))
    for key, what in (
        ("missing_keys", "misses the weights"),
        ("unexpected_keys", "has unexpected weights"),
        ("mismatched_keys", "has weights of another shape than config.json says"),
    ):
        names = [str(each[0] if isinstance(each, tuple) else each) for each in report.get(key) or ()]
        wrong = sorted(each for each in names if free is None or not free(each))
        if wrong:
            raise MismatchedFolder(f"{shown}: the model {what}: {_some(wrong)}")
    if report.get("error_msgs"):
        raise CorruptFolder(f"{shown}: {printable(str(report['error_msgs'][0]))}")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + rest


def _token(value: Any) -> str | None:
    """A special token: a string, or the dict that transformers writes for an AddedToken."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


@contextmanager
def quiet() -> Iterator[None]:
    """transformers logs a loading report and configuration hints, all of which are errors here or noise."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(50)  # CRITICAL
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
