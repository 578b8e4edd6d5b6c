"""The model folder: written whole or not at all, and checked before anything in it is used.

    my-model/   aigc.json   {format, backend, role, versions, fingerprint, training, files, sha256}
                config.json, model.safetensors, tokenizer.json ...: the layout of the library that the backend builds on

A folder names a backend and never code. Reading goes through `read`, which refuses links that lead outside, verifies
every file against aigc.json where there is one, and hands out JSON and weights only through methods that check them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import storage
from ._client import download
from .errors import AigcError, CorruptFolder, MismatchedFolder, NotAModel, UnsafeFolder, printable

if TYPE_CHECKING:
    import torch

FORMAT = 1
MANIFEST = "aigc.json"
RUN = "run.json"  # marks a training run's folder, whose finished model lies in `model`
FINAL = "model"
LOG = "log.jsonl"
CHECKPOINT_FILES = frozenset({"manifest.json", "state.json", "state.safetensors"})  # beside a model, not of it

PATTERNS = (
    *("*.json", "*.safetensors", "*.txt", "*.md", "*.jinja", "LICENSE*", "NOTICE*"),
    *("*spiece.model", "*tokenizer.model"),  # SentencePiece's vocabularies
)
"""The names that belong to a model. Nothing else is downloaded, verified or opened: no code, no pickle."""

DOCUMENTS = ("README.md", "LICENSE*", "NOTICE*")
"""What people read beside a model, and nothing here opens: it may be added and changed when the model is saved."""

JSON_LIMIT = 64_000_000  # bytes; the largest tokenizer.json of a public model has 35 MB
JSON_DEPTH = 64
NUMBER_LIMIT = 1 << 31  # no size in a model's configuration is larger
LAYER_LIMIT = 2048
CODE_KEYS = re.compile(
    r"auto_map|custom_.*|trust_remote_code|.*attn_implementation.*|.*experts_implementation.*|kernel(?!_sizes?$).*"
)
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w.-]+)?")


@dataclass(frozen=True)
class Folder:
    """A model folder that has been checked."""

    path: Path
    source: str
    """What opens it again: a path, or `org/name@commit`."""
    manifest: Mapping[str, Any] | None
    """aigc.json; None for a folder that another library wrote."""

    def has(self, name: str) -> bool:
        """Whether the file `name` is there."""
        return (self.path / name).is_file()

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object. Raises NotAModel when there is no such file, CorruptFolder when it is damaged."""
        return read_json(self.path / name)

    def config(self, name: str = "config.json") -> dict[str, Any]:
        """The configuration without the keys that would choose code, and with its sizes checked."""
        found: dict[str, Any] = _without_code(self.json(name))
        _check_numbers(found, self.path / name)
        return found

    def weights(self, expected: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, torch.Tensor]:
        """Every tensor, on the CPU. With `expected` shapes, names and shapes must be just those.

        Raises CorruptFolder for damage and for NaN or infinite weights, MismatchedFolder for missing, unexpected or
        differently shaped ones, before the tensors are read.
        """
        from .weights import read_weights

        return read_weights(self.path, expected)


@contextmanager
def writing(
    target: str | Path, *, backend: str, role: str, fingerprint: str = "", training: Mapping[str, Any] | None = None
) -> Iterator[Path]:
    """A temporary folder to write a model into; it becomes `target` when the block ends without an error.

    aigc.json is written last. An existing model folder is replaced in one step; a folder that holds other things is
    refused with FolderError. Raises DiskError for storage. Nothing is ever half written.
    """

    def finish(folder: Path) -> None:
        _write_manifest(folder, backend, role, fingerprint, training)

    with storage.whole_folder(Path(target), replaces=lambda path: (path / MANIFEST).is_file(), finish=finish) as folder:
        yield folder


def read(source: str | Path, *, backend: str, revision: str | None = None) -> Folder:
    """Open a model folder, or download a hub repository; `backend` is who asks.

    source: a folder; a training run's folder, whose finished model is taken; or `org/name` or `org/name@revision` on
        the hub, of which only JSON, safetensors and text files are fetched, at a commit that is resolved once.
    Raises NotAModel, CorruptFolder, UnsafeFolder, MismatchedFolder or DownloadError.
    """
    path = Path(os.path.expanduser(source))
    if not os.path.exists(path) and is_hub_id(str(source)):
        path, name = download(str(source), revision, PATTERNS)
    else:
        path = _finished(path)
        name = str(path)
    files = _files(path)
    manifest = _manifest(path)
    if manifest is not None:
        _verify(path, files, manifest)
        if manifest["backend"] != backend:
            raise MismatchedFolder(
                f"{_shown(path)} is a model of the backend {printable(str(manifest['backend']))!r}, not {backend!r}; "
                f"aigc_sdk.load({str(path)!r}) opens it"
            )
    return Folder(path, name, manifest)


def backend_of(folder: str | Path) -> str:
    """The name of the backend that opens `folder`: what aigc.json says, or else who opens its model type."""
    path = Path(os.path.expanduser(folder))
    if not os.path.exists(path) and is_hub_id(str(folder)):
        raise NotAModel(
            f"there is no folder {_shown(path)}; a model on the hub is opened by the name of its backend: "
            f"aigc_sdk.load('gpt2', {printable(str(folder))!r})"
        )
    path = _finished(path)
    manifest = _manifest(path)
    if manifest is not None:
        return str(manifest["backend"])
    for name, key in (("config.json", "model_type"), ("model_index.json", "_class_name")):
        if (path / name).is_file():
            kind = read_json(path / name).get(key)
            return _opener(path, str(kind))
    raise NotAModel(f"{_shown(path)} holds no model: neither aigc.json nor config.json nor model_index.json")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder."""
    if not path.is_file():
        raise NotAModel(f"{_shown(path.parent)} has no {path.name}")
    if path.stat().st_size > JSON_LIMIT:
        raise UnsafeFolder(f"{_shown(path)} has {path.stat().st_size:,} bytes; no model's JSON needs {JSON_LIMIT:,}")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptFolder(f"{_shown(path)} is not JSON: {printable(str(error))}; fetch or save it again") from error
    if not isinstance(found, dict):
        raise CorruptFolder(f"{_shown(path)} holds a {type(found).__name__}, not a JSON object")
    _check_depth(found, path)
    return found


def is_hub_name(name: str) -> bool:
    """Whether it reads as `org/name`."""
    return bool(_HUB_ID.fullmatch(name)) and "@" not in name


def is_hub_id(source: str) -> bool:
    """Whether a name that is no existing path may be asked of the hub: `org/name`, and no local folder `org`."""
    return bool(_HUB_ID.fullmatch(source)) and not os.path.isdir(source.split("/", 1)[0])


def is_document(name: str) -> bool:
    """Whether a file beside a model is there for people alone."""
    return _matches(name, DOCUMENTS)


def belongs(name: str) -> bool:
    """Whether a file of this name, in a folder or in a folder in it, belongs to a model."""
    return _matches(name, PATTERNS)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name.rsplit("/", 1)[-1], pattern) for pattern in patterns)


def _finished(path: Path) -> Path:
    """The model folder that `path` means: itself, or the finished model of a training run."""
    if not os.path.exists(path):  # unlike pathlib's, it raises for no name whatever
        raise NotAModel(f"there is no folder {_shown(path)}")
    if not path.is_dir():
        raise NotAModel(f"{_shown(path)} is a file; a model is a folder")
    if not (path / RUN).is_file() or (path / MANIFEST).is_file():
        return path
    if (path / FINAL / MANIFEST).is_file():
        return path / FINAL
    there = [each.name for each in sorted(path.iterdir()) if (each / MANIFEST).is_file()]
    raise NotAModel(
        f"{_shown(path)} is a training run that is not finished; "
        + (f"open one of {', '.join(there)} in it" if there else "it has no checkpoint yet")
    )


def _files(path: Path) -> set[str]:
    """The names of the model's files, at any depth; a link that leads out of the folder is refused."""
    root = path.resolve()
    roots = [root]
    if root.parent.name == "snapshots":  # in the hub's cache a snapshot is made of links to its blobs
        roots.append(root.parent.parent / "blobs")
        if root.parent.parent.name.startswith("models--"):  # and they may be links to blobs that repositories share
            roots.append(root.parent.parent.parent / "blobs")
    found = set()
    for each in path.rglob("*"):
        if each.is_symlink():
            target = each.resolve()
            if not any(target.is_relative_to(inside) for inside in roots):
                raise UnsafeFolder(f"{_shown(path)}: {printable(each.name)} is a link that leads out of the folder")
        if each.is_dir():
            continue
        if belongs(each.name):
            if not each.is_file():
                raise UnsafeFolder(f"{_shown(path)}: {printable(each.name)} is not an ordinary file")
            found.add(each.relative_to(path).as_posix())
    return found


def _write_manifest(
    folder: Path, backend: str, role: str, fingerprint: str, training: Mapping[str, Any] | None
) -> None:
    from .registry import versions_of

    manifest = {
        "format": FORMAT,
        "backend": backend,
        "role": role,
        "versions": versions_of(backend),
        "fingerprint": fingerprint,
        "training": dict(training or {}),
        "files": file_sums(folder),
    }
    manifest["sha256"] = digest(manifest)
    storage.write_file(folder / MANIFEST, storage.json_bytes(manifest))


def file_sums(folder: Path, without: frozenset[str] = frozenset()) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file under `folder`."""
    paths = sorted(each for each in folder.rglob("*") if each.is_file())
    return {
        name: {"size": path.stat().st_size, "sha256": storage.sha256(path)}
        for path in paths
        if (name := path.relative_to(folder).as_posix()) not in without
    }


def digest(manifest: Mapping[str, Any]) -> str:
    """The sha256 of a manifest's content, its own `sha256` left out."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _manifest(path: Path) -> dict[str, Any] | None:
    if not (path / MANIFEST).exists():
        return None
    found = read_json(path / MANIFEST)
    check_manifest(found, path / MANIFEST)
    if found.get("format") != FORMAT:
        raise MismatchedFolder(
            f"{_shown(path)} is of format {printable(repr(found.get('format')))}, this aigc-sdk reads {FORMAT}; upgrade it"
        )
    if not isinstance(found.get("backend"), str):
        raise CorruptFolder(f"{_shown(path / MANIFEST)} names no backend")
    return found


def check_manifest(found: Mapping[str, Any], path: Path) -> None:
    """Refuse a manifest that is not the one that was written, or whose list of files is no such list."""
    if found.get("sha256") != digest(found):
        raise CorruptFolder(f"{_shown(path)} is damaged: its content does not have the sha256 that it states")
    files = found.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(each, dict) and isinstance(each.get("size"), int) and isinstance(each.get("sha256"), str)
        for each in files.values()
    ):
        raise CorruptFolder(f"{_shown(path)} has no list of files")


def _verify(path: Path, files: set[str], manifest: Mapping[str, Any]) -> None:
    """Every file that was saved is there with the same bytes, and no other that a loader would pick up."""
    verify_files(path, manifest["files"])
    beside = {MANIFEST, *CHECKPOINT_FILES}
    added = sorted(each for each in files - set(manifest["files"]) - beside if not is_document(each))
    if added:
        raise CorruptFolder(f"{_shown(path)}: {printable(added[0])} was not saved with this model; remove it")


def verify_files(path: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare size and sha256 of every file that a manifest lists. Raises CorruptFolder, which names the file."""
    for name, saved in files.items():
        where = path / name
        if not _is_inside(name):
            raise UnsafeFolder(f"{_shown(path)}: its manifest names {printable(name)!r}, a path that leads outside")
        if not where.is_file():
            raise CorruptFolder(f"{_shown(path)}: {printable(name)} is missing; fetch or save the model again")
        if where.stat().st_size != saved["size"] or storage.sha256(where) != saved["sha256"]:
            raise CorruptFolder(
                f"{_shown(path)}: {printable(name)} is damaged: its bytes are not those that were saved"
            )


def _is_inside(name: str) -> bool:
    return not name.startswith(("/", "\\")) and ".." not in re.split(r"[/\\]", name) and ":" not in name


def _opener(path: Path, kind: str) -> str:
    """The installed backend that opens the model type `kind`."""
    from . import registry

    opens: dict[str, list[str]] = {}
    for listing in registry.backends():
        try:
            offered = registry.backend(listing.qualified if listing.value else listing.name).opens
        except AigcError:
            continue  # a broken plugin opens nothing
        for each in offered:
            opens.setdefault(each, []).append(listing.name)
    names = opens.get(kind, [])
    if len(names) == 1:
        return names[0]
    shown = printable(kind)
    if names:
        raise NotAModel(f"{_shown(path)} is a {shown!r} model, which {' and '.join(names)} open; name one of them")
    raise NotAModel(
        f"{_shown(path)} is a {shown!r} model, which no installed backend opens: {', '.join(sorted(opens))}"
    )


def _without_code(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_code(each) for key, each in value.items() if not CODE_KEYS.fullmatch(key.lstrip("_"))}
    return [_without_code(each) for each in value] if isinstance(value, list) else value


def _check_numbers(config: Mapping[str, Any], path: Path) -> None:
    """Refuse sizes that no model has, before a library allocates what they say."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_numbers(value, path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if key == "model_max_length":  # of a tokenizer, and no size: transformers writes 10**30 where it knows none
            continue
        if (
            key.endswith("feature_layer") and abs(value) <= LAYER_LIMIT
        ):  # which layer, and no size: -2 is the last but one
            continue
        is_count = bool(re.search(r"layer|block|head|group|expert", key)) and "id" not in key.split("_")
        limit = LAYER_LIMIT if is_count and "size" not in key and "dim" not in key else NUMBER_LIMIT
        sized = re.search(r"size|dim|embd|layers?$|heads?$|positions|inner|vocab", key) and isinstance(value, int)
        if isinstance(value, int) and (abs(value) > limit or (sized and value < 0)):
            raise UnsafeFolder(f"{_shown(path)}: {printable(key)} is {printable(str(value), 40)}, which no model has")


def _check_depth(value: Any, path: Path, depth: int = 0) -> None:
    if depth > JSON_DEPTH:
        raise UnsafeFolder(f"{_shown(path)} is nested more than {JSON_DEPTH} deep")
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_depth(each, path, depth + 1)


def _shown(path: Path) -> str:
    return printable(str(path))
