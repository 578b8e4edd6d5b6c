"""Which data a run trains on: a digest of what the trainer is given, and the fingerprint that its preparation gave it.

A preparation hands its fingerprint on in one of two ways. Data in memory have it as an attribute `fingerprint`, a text. A
folder has a mark in it, `prepared.json`, and a file one beside it, `NAME.prepared.json`; the mark also says which content
it is of, so that what was changed later is not taken for what was prepared.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aigc_sdk import storage
from aigc_sdk.errors import AigcError, printable
from aigc_sdk.folder import read_json

MARK = "prepared.json"
FINGERPRINT_LIMIT = 200  # characters


def data_digest(data: Any) -> str | None:
    """A sha256 over the data, or None for what cannot be read twice, such as an iterator."""
    digest = hashlib.sha256()
    return digest.hexdigest() if _feed(digest, _listed(data)) else None


def prepared_fingerprint(data: Any) -> str | None:
    """The fingerprint that the preparation of the data gave them; None where there is none.

    Warns, and returns None, where a file or folder is not what its mark was written for.
    """
    if not isinstance(data, str | Path):
        return _checked(getattr(data, "fingerprint", None))
    path = Path(data)
    if not os.path.exists(path) or not os.path.isfile(_mark_of(path)):  # which are False for what can be no path
        return None
    try:
        found = read_json(_mark_of(path))
        if found.get("content") == _content(path) and (fingerprint := _checked(found.get("fingerprint"))):
            return fingerprint
        why = "it was changed after it was prepared, or its mark was"
    except (OSError, AigcError) as error:
        why = printable(str(error))
    message = f"the run's record has no fingerprint of {printable(str(path))}: {why}; prepare it again to have one"
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    return None


def mark_prepared(path: Path, fingerprint: str) -> None:
    """Write the mark of a file, or of a folder, that a preparation has written. Raises DiskError."""
    with storage.disk_errors(path):
        mark = {"fingerprint": fingerprint, "content": _content(path)}
    storage.write_file(_mark_of(path), (json.dumps(mark, indent=2) + "\n").encode())


def _mark_of(path: Path) -> Path:
    return path / MARK if path.is_dir() else path.with_name(f"{path.name}.{MARK}")


def _content(path: Path) -> str:
    """A digest of a file, or of the names and sizes of a folder's files but for the mark."""
    if not path.is_dir():
        return storage.sha256(path)
    files = [each for each in _files(path) if each[0] != MARK]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _checked(fingerprint: Any) -> str | None:
    return fingerprint if isinstance(fingerprint, str) and 0 < len(fingerprint) <= FINGERPRINT_LIMIT else None


def _listed(data: Any) -> Any:
    """For a folder the names and sizes of its files, whose content it would take too long to read; else as it is."""
    return _files(Path(data)) if isinstance(data, str | Path) and os.path.isdir(data) else data


def _files(folder: Path) -> list[list[Any]]:
    files = [Path(root, each) for root, _, names in os.walk(folder) for each in names]
    return sorted([str(each.relative_to(folder)), each.lstat().st_size] for each in files)


def _feed(digest: Any, data: Any) -> bool:
    """Whether `data` is of a kind that has a digest."""
    if isinstance(data, str | Path):
        path = Path(data)
        try:
            content = path.read_bytes() if path.is_file() else str(data).encode(errors="surrogatepass")
        except (OSError, ValueError):
            content = str(data).encode(errors="surrogatepass")
        digest.update(b"s" + hashlib.sha256(content).digest())
        return True
    if data is None or isinstance(data, bool | int | float | bytes):
        digest.update(repr(data).encode())
        return True
    if isinstance(data, Mapping):
        return all(_feed(digest, key) and _feed(digest, each) for key, each in data.items())
    if isinstance(data, list | tuple):
        digest.update(f"[{len(data)}".encode())
        return all(_feed(digest, each) for each in data)
    if hasattr(data, "_fingerprint"):  # datasets.Dataset
        digest.update(str(data._fingerprint).encode())
        return True
    if hasattr(data, "_content"):  # an Artifact
        return _feed(digest, data._content())
    return _feed_array(digest, data)


def _feed_array(digest: Any, data: Any) -> bool:
    array = data.detach().cpu().numpy() if hasattr(data, "detach") else data
    if not (hasattr(array, "tobytes") and hasattr(array, "shape")):
        return False
    digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return True
