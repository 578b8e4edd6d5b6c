"""Putting a model on the hub, from where anybody, or those whom you let, can load it by its name.

    aigc_sdk.push("runs/mine", "me/mine", dry_run=True)      # says what would go there; asks nobody
    pushed = aigc_sdk.push("runs/mine", "me/mine", license="cc-by-4.0")
    aigc_sdk.load("gpt2", "me/mine", revision=pushed.commit)

Nothing is sent that `load` would refuse, and nothing but the files that are named.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _adapter_base, _client, card, registry
from .errors import FolderError, InputError, NotAModel, UnsafeFolder, printable
from .folder import CHECKPOINT_FILES, MANIFEST, Folder, backend_of, belongs, is_document, is_hub_name, read, read_json

if TYPE_CHECKING:
    from .protocols import Evaluator, Generator, Report

REASONS = tuple(_client.REMEDIES)
"""What `reason` of a DownloadError or an UploadError may be."""

CARD = "README.md"
_BRANCH = re.compile(r"[\w][\w./-]{0,254}")


@dataclass(frozen=True)
class Pushed:
    """What a push has put on the hub, or, with `dry_run`, what it would put there."""

    repository: str
    commit: str | None
    """The commit that was made; None where nothing was sent."""
    files: Mapping[str, int]
    """The files, by their names in the repository, and their sizes in bytes."""
    left_out: tuple[str, ...]
    """Files in the folder that belong to no model, and stay here."""
    removed: tuple[str, ...]
    """Files of the model that was there before, which the commit has taken away."""
    card: str
    """The text of README.md."""
    notes: tuple[str, ...] = ()
    """What is otherwise in the files there than in those here, and why."""

    def __str__(self) -> str:
        lines = [f"{self.repository}@{self.commit}" if self.commit else f"would push to {self.repository}:"]
        lines += [f"  {name}  {size:,} bytes" for name, size in sorted(self.files.items())]
        lines += [f"  left out: {printable(each)}" for each in self.left_out]
        lines += [f"  removed: {printable(each)}" for each in self.removed]
        lines += [f"  note: {each}" for each in self.notes]
        return "\n".join(lines)


def push(
    model: str | Path | Generator[Any] | Evaluator,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str | None = None,
    token: str | None = None,
    license: str | None = None,
    limits: str | None = None,
    reports: Report | Mapping[str, Report] | None = None,
    base: str | None = None,
    dry_run: bool = False,
) -> Pushed:
    """Upload a model to the hub, in one commit; `aigc_sdk.load(backend, repo_id, revision=commit)` opens it again.

    model: a model folder, a run's folder, of which the finished model is taken, or an open model, which is saved first
    repo_id: `org/name`; made where it is not, and refused where it holds other things than a model of aigc_sdk
    private: whether a repository that is made is for you alone; one that is there stays as it is
    revision: a branch, made where it is not; None: main
    message: of the commit
    token: with the right to write; None: HF_TOKEN, or that of `hf auth login`
    license, limits, reports: what the card says, which is written as README.md; see `aigc_sdk.card.write`. A README.md
        in the folder is taken as it is
    base: of an adapter: the name on the hub, `org/name` or `org/name@commit`, of the model that it was trained beside.
        None leaves a name as it is; a path of this machine does not go there, and whoever loads the adapter opens its
        model first
    dry_run: check everything and say what would be uploaded, without asking the hub

    The folder is checked first: its names and sums, that all JSON is sound and no weight is NaN or infinite, and that
    its backend opens it, on the CPU; an adapter is not opened, since that takes its model. Raises FolderError and its
    kinds for a folder that does not pass or has no aigc.json, BackendError where its backend is not installed,
    InputError for arguments, and UploadError, whose `reason` is one of REASONS; then the branch is as it was.
    """
    _check_arguments(repo_id, revision, message)
    _adapter_base.check(base)
    with ExitStack() as stack:
        folder = _folder(model, stack)
        names, left_out = _names(folder)
        _open(folder)
        changed, manifest, notes = _adapter_base.for_others(folder, base)
        text = _card(folder, manifest, repo_id, license, limits, reports)
        files: dict[str, Path | bytes] = {
            CARD: text.encode(),
            **{name: folder.path / name for name in names},
            **changed,
        }
        sizes = {name: len(each) if isinstance(each, bytes) else each.stat().st_size for name, each in files.items()}
        if dry_run:
            return Pushed(repo_id, None, sizes, left_out, (), text, notes)
        made = _client.upload(
            repo_id,
            files,
            replaced=lambda there: _replaced(repo_id, there, files),
            private=private,
            branch=revision,
            message=message or f"Upload a model of {folder.manifest['backend'] if folder.manifest else ''}",
            token=token,
        )
    return Pushed(repo_id, made.oid, sizes, left_out, made.removed, text, notes)


def _check_arguments(repo_id: str, revision: str | None, message: str | None) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    if not isinstance(repo_id, str) or not is_hub_name(repo_id):
        raise InputError(f"repo_id={printable(str(repo_id))!r} is not of the form 'org/name'", field="repo_id")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"repo_id={printable(repo_id)!r} is no name for the hub: {error}", field="repo_id") from error
    if revision is not None and (_client.COMMIT.fullmatch(revision) or not _BRANCH.fullmatch(revision)):
        raise InputError(
            f"revision={printable(revision)!r} is no name for a branch; a push makes a commit of its own",
            field="revision",
        )
    if message is not None and not message.strip():
        raise InputError("message='' says nothing; leave it out for a standard one", field="message")


def _folder(model: Any, stack: ExitStack) -> Folder:
    """The checked folder; an open model is saved to a temporary one, which goes when `stack` ends."""
    if isinstance(model, str | os.PathLike):
        path = Path(os.path.expanduser(model))
        folder = read(path if path.is_absolute() else Path.cwd() / path, backend=backend_of(path))
    elif callable(getattr(model, "save", None)):
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigc-push-"))) / "model"
        model.save(path)
        folder = read(path, backend=backend_of(path))
    else:
        raise InputError(
            f"model is a {type(model).__name__}; pass a folder, a generator or an evaluator: of a trainer, trainer.model",
            field="model",
        )
    if folder.manifest is None:
        raise NotAModel(
            f"{printable(str(folder.path))} has no {MANIFEST}, so that nobody could tell whether it arrived whole; open "
            f"it with aigc_sdk.load, save it with model.save(folder), and push that"
        )
    return folder


def _names(folder: Folder) -> tuple[list[str], tuple[str, ...]]:
    """The files that are the model's, each checked, and those that are not."""
    found = sorted(each.relative_to(folder.path).as_posix() for each in folder.path.rglob("*") if each.is_file())
    listed = {*(folder.manifest or {}).get("files", {}), MANIFEST}
    names = [each for each in found if each in listed or is_document(each)]
    for name in names:
        if not belongs(name):
            raise UnsafeFolder(
                f"{printable(name)} has no name that a model's file may have, and would not be fetched again"
            )
        if name.endswith(".json"):
            read_json(folder.path / name)
        if name.endswith(".safetensors"):
            from .weights import check_file

            check_file(folder.path / name)
    return names, tuple(each for each in found if each not in names and each not in CHECKPOINT_FILES)


def _open(folder: Folder) -> None:
    """Load the model as whoever fetches it will: only its backend knows which weights and settings it must have.

    What is a part of a model (an adapter, say) is opened beside the rest, which may lie elsewhere.
    """
    manifest = folder.manifest or {}
    for role in registry.ROLES:
        if manifest.get("role") == role:
            registry.resolve(str(manifest["backend"]), role).open(folder.path, device="cpu")


def _card(
    folder: Folder,
    manifest: Mapping[str, Any],
    repo_id: str,
    license: str | None,
    limits: str | None,
    reports: Any,
) -> str:
    from .protocols import Report

    named = {"": reports} if isinstance(reports, Report) else dict(reports or {})
    if not all(isinstance(each, Report) for each in named.values()):
        raise InputError("reports holds something that is no Report; pass what `evaluate` returned", field="reports")
    own = folder.path / CARD
    if own.is_file():
        if license or limits or named:
            raise InputError(
                f"{printable(str(own))} is there and is taken as the card; say license, limits and reports in it, or "
                "remove it",
                field="license" if license else "limits" if limits else "reports",
            )
        return own.read_bytes().decode("utf-8", "replace")
    return card.write(folder.path, repo_id, manifest=manifest, license=license, limits=limits, reports=named)


def _replaced(repo_id: str, there: Sequence[str], files: Mapping[str, object]) -> list[str]:
    """What the commit removes: the files of the model that was there. Anything but a model is refused."""
    others = [each for each in there if each != ".gitattributes" and not is_document(each)]
    if others and MANIFEST not in there:
        raise FolderError(
            f"{printable(repo_id)!r} holds other things than a model of aigc_sdk, such as {printable(others[0])}; "
            "choose another repository"
        )
    return sorted(each for each in others if each not in files and belongs(each))
