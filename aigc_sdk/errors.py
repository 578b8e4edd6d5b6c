"""Every error that aigc_sdk raises on purpose.

    AigcError
    ├── BackendError
    │   ├── UnknownBackend         no installed distribution offers the name
    │   ├── AmbiguousBackend       several distributions offer the name
    │   ├── BrokenBackend          the plugin fails to import, or is not what it says
    │   ├── IncompatibleBackend    written for another version of the plugin API
    │   └── NotOffered             the backend has no such role or ability
    ├── InputError (ValueError)    something the caller passed
    │   ├── OptionError            a misspelt or out-of-range option; `.field` names it
    │   ├── PromptError            an empty, oversized or unencodable prompt
    │   ├── ContextOverflow        more tokens than the model can hold; `.excess` says how many
    │   └── DataError              training or evaluation data that cannot be used
    ├── Refused                    a hook that the user switched on refused the request
    ├── FolderError                a model folder or checkpoint
    │   ├── NotAModel              no model is there
    │   ├── CorruptFolder          damaged: the bytes are not the bytes that were saved
    │   ├── UnsafeFolder           it tries something that a model has no business doing
    │   ├── MismatchedFolder       sound, but not for this model, data or run
    │   ├── DownloadError          a hub download failed or was interrupted; `.reason` says why
    │   └── UploadError            a hub refused an upload; `.reason` says why
    ├── MediaError                 a picture, sound or film that cannot be read or written
    ├── ResourceError
    │   ├── DiskError (OSError)    full, read-only or failing storage
    │   ├── OutOfMemory (MemoryError)
    │   └── DeviceError            the device asked for is not there
    ├── TrainingDiverged           a loss or gradient became NaN or infinite
    └── MissingDependency (ImportError)

A message names the thing, its value, its owner and the next action; `raise ... from error` keeps the cause.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class AigcError(Exception):
    """The root of every error that aigc_sdk raises on purpose."""


class BackendError(AigcError):
    """A backend cannot be found, imported or used."""


class UnknownBackend(BackendError):
    """No installed distribution offers the name."""


class AmbiguousBackend(BackendError):
    """Several distributions offer the name; the qualified form `distribution:name` chooses one."""


class BrokenBackend(BackendError):
    """The plugin fails to import, or is not what it says it is."""


class IncompatibleBackend(BackendError):
    """The plugin was written for another version of the plugin API."""


class NotOffered(BackendError):
    """The backend has no such role or ability."""


class InputError(AigcError, ValueError):
    """Something that the caller passed cannot be used; `field` names it where one argument is at fault."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class OptionError(InputError):
    """A misspelt option, or a value outside an option's range."""


class PromptError(InputError):
    """An empty, oversized or unencodable prompt."""


class ContextOverflow(InputError):
    """The prompt needs more tokens than the model's context holds; `excess` says how many too many."""

    def __init__(self, message: str, *, excess: int, field: str | None = "prompt") -> None:
        super().__init__(message, field=field)
        self.excess = excess


class DataError(InputError):
    """Training or evaluation data that cannot be used."""


class Refused(AigcError):
    """A hook that the user switched on refused the request."""


class FolderError(AigcError):
    """A model folder or a checkpoint cannot be read or written."""


class NotAModel(FolderError):
    """There is no model at that place."""


class CorruptFolder(FolderError):
    """The bytes are not the bytes that were saved."""


class UnsafeFolder(FolderError):
    """The folder tries something that a model has no business doing: code, pickle, paths that lead outside."""


class MismatchedFolder(FolderError):
    """The folder is sound, but not for this model, this data or this run."""


class DownloadError(FolderError):
    """A download from a hub failed or was interrupted; nothing half-written is left.

    `reason` is one of REASONS in aigc_sdk.hub: "missing", "gated", "token", "unreachable" and so on.
    """

    def __init__(self, message: str, *, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class UploadError(FolderError):
    """A hub could not be reached or refused an upload; the model is not there. `reason` is as in DownloadError."""

    def __init__(self, message: str, *, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class MediaError(AigcError):
    """A picture, sound or film cannot be read or written."""


class ResourceError(AigcError):
    """The machine lacks something: memory, disk or a device."""


class DiskError(ResourceError, OSError):
    """Full, read-only or failing storage; what was there before is intact."""


class OutOfMemory(ResourceError, MemoryError):
    """The device's memory does not hold what was asked for."""


class DeviceError(ResourceError):
    """The device that was asked for is not there."""


class TrainingDiverged(AigcError):
    """A loss or a gradient became NaN or infinite; the last good checkpoint is kept."""


class MissingDependency(AigcError, ImportError):
    """An optional package is not installed; the message holds the pip line."""


def printable(text: str, limit: int = 200) -> str:
    """`text` fit for a terminal: control, bidirectional and unencodable characters escaped, at most `limit` long."""
    shown = "".join(
        char if char.isprintable() and unicodedata.category(char) not in ("Cf", "Cs", "Cc") else f"\\u{ord(char):04x}"
        for char in text[:limit]
    )
    return shown if len(text) <= limit else shown + "…"


def shown(value: object, limit: int = 80) -> str:
    """`repr(value)`, at most `limit` long; a value that has none is told by its type."""
    try:
        text = repr(value)
    except Exception:  # an integer of more than 4300 digits, or somebody's own __repr__
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
