"""Checkpoints that survive being killed: whole, verified when read, and with an older one to fall back on.

runs/mine/checkpoint-000500/   a model folder, and beside the model:
    state.json                   the state's tree: JSON values, and the names of its arrays
    state.safetensors            the arrays
    manifest.json                size and sha256 of every file, written last
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_sdk import storage
from aigc_sdk.errors import AigcError, CorruptFolder, printable
from aigc_sdk.folder import check_manifest as _check_manifest
from aigc_sdk.folder import digest, file_sums, read_json, verify_files

MANIFEST = "manifest.json"
TREE = "state.json"
ARRAYS = "state.safetensors"
FORMAT = 1
_NAME = re.compile(r"checkpoint-(\d{6,})")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been verified."""

    path: Path
    step: int
    state: dict[str, Any]


def save(
    folder: Path, step: int, write_model: Callable[[Path], None] | None, state: Mapping[str, Any], *, keep: int = 2
) -> Path:
    """Write `checkpoint-<step>` into `folder`, whole or not at all, and remove all but the newest `keep`.

    write_model: writes a model folder to the path it is given. state: nested dicts and lists of JSON values, numpy
    arrays and torch tensors. Raises DiskError; the checkpoints before are intact then.
    """
    target = folder / f"checkpoint-{step:06d}"

    def finish(temporary: Path) -> None:
        manifest = {"format": FORMAT, "step": step, "files": file_sums(temporary)}
        manifest["sha256"] = digest(manifest)
        storage.write_file(temporary / MANIFEST, _json(manifest))

    def is_checkpoint(path: Path) -> bool:
        return (path / MANIFEST).exists() or (path / TREE).exists()

    with storage.whole_folder(target, replaces=is_checkpoint, finish=finish) as temporary:
        if write_model is not None:
            write_model(temporary / "model")
            for each in (temporary / "model").iterdir():
                each.rename(temporary / each.name)
            (temporary / "model").rmdir()
        _write_state(temporary, state)
    for old in sorted(_found(folder), key=_step)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder` that verifies, with its state; None when there is none at all.

    A damaged one is passed over with a warning that names the file. Raises CorruptFolder when all are damaged.
    """
    damaged: AigcError | None = None
    for path in sorted(_found(folder), key=_step, reverse=True):
        try:
            verify(path)
            return Checkpoint(path, _step(path), _read_state(path))
        except AigcError as error:
            damaged = error
            warnings.warn(f"{error}; going back to an older checkpoint", RuntimeWarning, stacklevel=2)
    if damaged is not None:
        raise CorruptFolder(
            f"no checkpoint in {printable(str(folder))} is sound; restore one, or train anew in another folder"
        ) from damaged
    return None


def verify(path: Path) -> None:
    """Compare every file with the manifest. Raises CorruptFolder, which names the file."""
    if not (path / MANIFEST).is_file():
        raise CorruptFolder(f"{printable(str(path))}: {MANIFEST} is missing")
    manifest = read_json(path / MANIFEST)
    _check_manifest(manifest, path / MANIFEST)
    if manifest.get("format") != FORMAT or manifest.get("step") != _step(path):
        raise CorruptFolder(f"{printable(str(path))}: {MANIFEST} is of another checkpoint or format")
    verify_files(path, manifest["files"])


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written in `folder`."""
    storage.sweep(folder)


def _found(folder: Path) -> list[Path]:
    return [each for each in folder.glob("checkpoint-*") if _NAME.fullmatch(each.name) and each.is_dir()]


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _write_state(folder: Path, state: Mapping[str, Any]) -> None:
    arrays: dict[str, Any] = {}
    tree = _packed(state, arrays, "")
    storage.write_file(folder / TREE, _json(tree))
    if not arrays:
        return
    if any(not _is_numpy(each) for each in arrays.values()):
        import torch
        from safetensors.torch import save_file

        save_file({name: torch.as_tensor(each).contiguous() for name, each in arrays.items()}, folder / ARRAYS)
    else:
        from safetensors.numpy import save_file as save_numpy

        save_numpy(arrays, folder / ARRAYS)


def _packed(value: Any, arrays: dict[str, Any], path: str) -> Any:
    """The JSON tree of a state; arrays are put aside under their paths."""
    if isinstance(value, Mapping):
        pairs = [[_plain(key), _packed(each, arrays, f"{path}/{key}")] for key, each in value.items()]
        return {"map": pairs}
    if isinstance(value, list | tuple):
        return {"list": [_packed(each, arrays, f"{path}/{index}") for index, each in enumerate(value)]}
    if _is_numpy(value) or _is_tensor(value):
        arrays[path] = value.detach().cpu().clone() if _is_tensor(value) else value
        return {"numpy" if _is_numpy(value) else "tensor": path}
    return {"value": _plain(value)}


def _unpacked(tree: Any, arrays: Mapping[str, Any]) -> Any:
    [(kind, content)] = tree.items()
    if kind == "map":
        return {key: _unpacked(each, arrays) for key, each in content}
    if kind == "list":
        return [_unpacked(each, arrays) for each in content]
    if kind == "numpy":
        return arrays[content].numpy() if _is_tensor(arrays[content]) else arrays[content]
    return arrays[content] if kind == "tensor" else content


def _read_state(path: Path) -> dict[str, Any]:
    try:
        arrays: dict[str, Any] = {}
        tree = read_json(path / TREE)
        if (path / ARRAYS).exists():
            if '"tensor"' in (path / TREE).read_text():
                from safetensors.torch import load_file

                arrays = load_file(path / ARRAYS)
            else:
                from safetensors.numpy import load_file as load_numpy

                arrays = load_numpy(path / ARRAYS)
        state: dict[str, Any] = _unpacked(tree, arrays)
        return state
    except AigcError:
        raise
    except Exception as error:
        raise CorruptFolder(f"{printable(str(path))}: {TREE} or {ARRAYS} cannot be read: {error}") from error


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a training state holds JSON values, arrays and tensors, not a {type(value).__name__}")


def _is_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _json(value: Any) -> bytes:
    return (json.dumps(value, separators=(",", ":")) + "\n").encode()
