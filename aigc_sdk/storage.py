"""Files and folders that appear whole or not at all, and that are still there after a power cut."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DiskError, FolderError, printable

TEMPORARY = ".tmp-"  # in the name of everything that is not finished; `sweep` removes what a killed process left


def json_bytes(content: Any) -> bytes:
    """A JSON file that people read too, of which the same content always makes the same bytes."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


@contextmanager
def whole_folder(target: Path, *, replaces: Callable[[Path], bool], finish: Callable[[Path], None]) -> Iterator[Path]:
    """A temporary folder to write files into, which becomes `target` when the block ends without an error.

    Then `finish` writes what must come last (the manifest), everything is synced to the disk, and one rename makes it
    visible. An existing `target` is replaced only if `replaces(target)`; an empty folder always is.
    Whatever goes wrong, `target` is as it was and nothing is left beside it. Raises DiskError for storage.
    """
    target = Path(target)
    _refuse_other(target, replaces)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_sibling(target)
        temporary.mkdir()
    try:
        with disk_errors(target):
            yield temporary
            _sync_files(temporary)
            finish(temporary)
            sync(temporary)
            _into_place(temporary, target)
            sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write one file, whole or not at all. Raises DiskError."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """An open temporary file, which becomes `path` when the block ends without an error. Raises DiskError."""
    path = Path(path)
    temporary = temporary_sibling(path)
    try:
        with disk_errors(path):
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # the umask applies
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that nobody else uses."""
    start = path.name[:50]  # of up to 4 bytes each, in the 255 that file systems allow
    return path.with_name(f"{start}{TEMPORARY}{uuid.uuid4().hex}")


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in `folder`."""
    for left in folder.glob(f"*{TEMPORARY}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn storage errors into DiskError, naming `path` and what to do."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise disk_error(path, error) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # safetensors raises its own type for a full disk
            raise
        raise DiskError(f"{printable(str(path))} cannot be written: {error}; nothing was changed") from error


def disk_error(path: Path, error: OSError) -> DiskError:
    """The DiskError for `error`, which happened while `path` was written."""
    remedies = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "your quota is used up; free some space",
        errno.EFBIG: "the file would be larger than this system allows",
        errno.EACCES: "you may not write there; choose another folder",
        errno.EPERM: "you may not write there; choose another folder",
        errno.EROFS: "that storage is read-only; choose another folder",
        errno.ENOTDIR: "a part of the path is a file",
        errno.ENAMETOOLONG: "the name is too long",
    }
    reason = remedies.get(error.errno or 0, error.strerror or str(error))
    made = DiskError(f"{printable(str(path))} cannot be written: {reason}; nothing was changed")
    made.errno = error.errno
    return made


def _refuse_other(target: Path, replaces: Callable[[Path], bool]) -> None:
    shown = printable(str(target))
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise FolderError(f"{shown} is not a folder; choose another place")
    if target.is_dir() and any(target.iterdir()) and not replaces(target):
        raise FolderError(f"{shown} holds other things than a model; choose a new or empty folder")


def _sync_files(folder: Path) -> None:
    """Sync every file, and give each the mode that a plain `open` would have: safetensors makes them 0600."""
    umask = os.umask(0)
    os.umask(umask)
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync(path)
        else:
            path.chmod(0o666 & ~umask)
            sync(path)


def _into_place(temporary: Path, target: Path) -> None:
    """One rename; where `target` exists, the two change places in one step, and the old one is removed."""
    if not target.exists():
        os.rename(temporary, target)
        return
    if not any(target.iterdir()):
        os.rename(temporary, target)  # POSIX replaces an empty folder
        return
    if _exchange(temporary, target):
        return
    aside = temporary_sibling(target)  # without an exchange there is a moment in which `target` is missing
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux 3.15 and later); False where the system cannot."""
    import ctypes

    renameat2: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if renameat2 is None:
        return False
    at_cwd, exchange = -100, 2
    return bool(renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0)
