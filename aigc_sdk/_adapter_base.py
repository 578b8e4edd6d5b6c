"""What an adapter says on the hub of the model that it was trained beside: a name for others, and no path of this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from . import storage
from .errors import InputError, printable
from .folder import MANIFEST, Folder, digest, is_hub_id

CONFIG = "adapter_config.json"  # peft's
NAMED = "base_model_name_or_path"  # in it


def check(base: str | None) -> None:
    """Refuse a name that nobody could open the model by."""
    if base is not None and not (isinstance(base, str) and is_hub_id(base)):
        raise InputError(
            f"base={printable(str(base))!r} is no model on the hub; give its name there, 'org/name' or 'org/name@commit'",
            field="base",
        )


def for_others(folder: Folder, base: str | None) -> tuple[dict[str, bytes], Mapping[str, Any], tuple[str, ...]]:
    """The files that go to the hub otherwise than they are, the manifest as it goes there, and what there is to say of it.

    base: the name of the model on the hub; None leaves out a path, and keeps a name. Raises InputError for a base of what
    is no adapter.
    """
    manifest = dict(folder.manifest or {})
    training = dict(manifest.get("training") or {})
    noted, config = training.get("base"), folder.json(CONFIG) if folder.has(CONFIG) else {}
    beside = noted.get("source") if isinstance(noted, Mapping) else noted
    named = [each for each in (beside, config.get(NAMED)) if isinstance(each, str)]
    if base is not None and not named:
        raise InputError(f"{printable(str(folder.path))} is no adapter; leave out base", field="base")
    if base is None and all(each == "" or is_hub_id(each) for each in named):  # "" is the backend's own model
        return {}, manifest, ()
    files = {}
    if config:
        files[CONFIG] = storage.json_bytes({**config, NAMED: base})
    manifest["training"] = {**training, "base": {**noted, "source": base} if isinstance(noted, Mapping) else base}
    changed = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    manifest["files"] = {**manifest["files"], **changed}
    manifest["sha256"] = digest(manifest)
    files[MANIFEST] = storage.json_bytes(manifest)
    return files, manifest, () if base else (f"it does not say where its model lies, {printable(named[0])}",)
