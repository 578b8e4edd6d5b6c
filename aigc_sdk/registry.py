"""Which backends are installed, and how one is opened.

A distribution offers a backend by an entry point in the group `aigc_sdk`, whose name is the backend's and whose value
leads to a Backend. Listing reads metadata and imports nothing; opening imports the one distribution asked for. So no
installed plugin can slow down or break another.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from .errors import (
    AmbiguousBackend,
    BrokenBackend,
    IncompatibleBackend,
    InputError,
    NotOffered,
    UnknownBackend,
    printable,
    suggestion,
)

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from .protocols import Device, DType, Evaluator, Generator, Source, Trainer

API = 1
"""The plugin API of this core; a Backend states the one it was written for."""

GROUP = "aigc_sdk"
ALLOWED = "AIGC_SDK_BACKENDS"
"""Environment variable: a comma-separated list of distributions whose backends may be used; unset allows all."""

Role = Literal["generator", "trainer", "evaluator"]
ROLES: tuple[Role, ...] = ("generator", "trainer", "evaluator")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_table = pluggy.PluginManager("aigc_sdk.backends")  # names that `register` and earlier imports made known


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What a plugin says about itself. Importing it must not import torch."""

    summary: str
    artifact: Literal["text", "image", "video", "audio"]
    """What it makes or judges."""
    generator: str | None = None
    """`"package.module:Class"`, imported on first use; so are trainer and evaluator."""
    trainer: str | None = None
    evaluator: str | None = None
    opens: tuple[str, ...] = ()
    """The `model_type` of config.json, or `_class_name` of model_index.json, that it opens without an aigc.json."""
    api: int = API


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One backend that an installed distribution, or `register`, offers."""

    name: str
    distribution: str
    version: str
    summary: str = ""
    value: str = ""
    problem: str | None = None
    """Why it cannot be used, as far as is known."""

    @property
    def qualified(self) -> str:
        """The form that is never ambiguous: `distribution:name`."""
        return f"{self.distribution}:{self.name}"


def backends(*, check: bool = False) -> list[Listing]:
    """Every backend that is offered, in the order of names; nothing is imported.

    With `check`, each one is also imported in a process of its own, so that `problem` tells of every fault.
    """
    found = sorted([*_installed(), *_registered()], key=lambda each: (each.name, each.distribution))
    if check:
        from .probe import probe

        return probe(found)
    return found


def register(name: str, backend: Backend) -> None:
    """Offer a backend from this process alone: in a notebook, in a test."""
    if not _NAME.match(name):
        raise InputError(f"backend name {printable(name)!r}: use a-z, 0-9, '.', '_' and '-', at most 64", field="name")
    if _table.has_plugin(name):
        raise InputError(f"backend {name!r} is registered already; unregister it first", field="name")
    _table.register(_checked(backend, f"register({name!r})"), name=name)


def unregister(name: str) -> None:
    """Take back what `register` offered."""
    if not _table.has_plugin(name):
        raise UnknownBackend(f"No backend {name!r} is registered in this process.")
    _table.unregister(name=name)


def find(name: str) -> Listing:
    """The one listing that `name`, or `distribution:name`, means. Raises UnknownBackend or AmbiguousBackend."""
    offered = backends()
    matching = [each for each in offered if name in (each.name, each.qualified)]
    sound = [each for each in matching if each.problem is None] or matching
    if not sound:
        raise UnknownBackend(_unknown(str(name), sorted({each.name for each in offered})))
    if len(sound) > 1:
        forms = " or ".join(each.qualified for each in sound)
        raise AmbiguousBackend(f"Backend {name!r} is offered by several distributions; choose {forms}.")
    if sound[0].problem:
        raise BrokenBackend(f"Backend {name!r} of {sound[0].distribution} cannot be used: {sound[0].problem}")
    return sound[0]


def how_to_install(name: str) -> str:
    """Where a backend called `name` would come from. The core knows of none; this is how they are named by custom."""
    return f"A backend NAME comes in a distribution of its own, usually aigc-sdk-NAME: pip install aigc-sdk-{name}"


def _unknown(name: str, known: list[str]) -> str:
    """What is said of a name that nothing installed offers."""
    shown = printable(name)
    meant = suggestion(shown, known)
    said = f"No backend {shown!r} is installed.{meant}" + (f" Installed: {', '.join(known)}." if known else "")
    if ALLOWED in os.environ:
        said += f" {ALLOWED} allows these distributions alone: {printable(os.environ[ALLOWED]) or 'none'}."
    if not meant and _NAME.match(name):
        said += f" {how_to_install(name)}"
    return said


def backend(name: str) -> Backend:
    """What the backend `name` says about itself; its plugin is imported, and no other."""
    return _import(find(name))


def resolve(name: str, role: Role) -> type[Any]:
    """The class that plays `role` in the backend `name`. Raises NotOffered where there is none."""
    listing = find(name)
    manifest = _import(listing)
    target = getattr(manifest, role)
    if target is None:
        offered = [each for each in ROLES if getattr(manifest, each)]
        raise NotOffered(f"Backend {name!r} offers no {role}; it offers: {', '.join(offered) or 'nothing'}.")
    return _role_class(listing, role, target)


def load(
    name: str | Path,
    source: Source = None,
    *,
    device: Device = "auto",
    dtype: DType = "float32",
    revision: str | None = None,
) -> Generator[Any]:
    """Open a generator: a backend by name, with `source` a folder or hub id (None: its default model); or a folder.

    aigc_sdk.load("gpt2")
    aigc_sdk.load("gpt2", "distilbert/distilgpt2", revision="main")
    aigc_sdk.load("runs/mine")
    """
    chosen, place = _place(name, source)
    return _open(chosen, "generator", place, device=device, dtype=dtype, revision=revision)  # type: ignore[no-any-return]


def trainer(
    name: str | Path,
    source: Source = None,
    *,
    device: Device = "auto",
    dtype: DType = "float32",
    revision: str | None = None,
    **config: Any,
) -> Trainer[Any]:
    """Open a trainer: from the model at `source`, or from a new one made by `config`."""
    chosen, place = _place(name, source)
    return _open(chosen, "trainer", place, device=device, dtype=dtype, revision=revision, **config)  # type: ignore[no-any-return]


def evaluator(
    name: str | Path,
    source: Source = None,
    *,
    device: Device = "auto",
    dtype: DType = "float32",
    revision: str | None = None,
) -> Evaluator:
    """Open an evaluator, as `load` opens a generator."""
    chosen, place = _place(name, source)
    return _open(chosen, "evaluator", place, device=device, dtype=dtype, revision=revision)  # type: ignore[no-any-return]


@functools.cache
def versions_of(name: str) -> dict[str, str]:
    """The versions of Python, the core, the backend's distribution and what that distribution requires, by name."""
    import platform
    from importlib.metadata import PackageNotFoundError, requires, version

    try:
        distribution = find(name).distribution
    except (UnknownBackend, AmbiguousBackend, BrokenBackend):
        distribution = ""
    names = ["aigc-sdk"]
    with contextlib.suppress(PackageNotFoundError, ValueError):  # registered in this process: of no distribution
        names += [distribution, *(re.split(r"[\s<>=!~;\[(]", need)[0] for need in requires(distribution) or [])]
    versions = {"python": platform.python_version()}
    for each in names:
        try:
            versions[each] = version(each)
        except (PackageNotFoundError, ValueError):
            continue
    return versions


def _place(name: str | Path, source: Source) -> tuple[str, Source]:
    """The backend and the source that a name or a folder means."""
    text = str(name)
    if isinstance(name, Path) or "/" in text or os.sep in text or text in (".", ".."):
        if source is not None:
            raise InputError(f"{printable(text)!r} is a folder already; leave out source={source!r}", field="source")
        from .folder import backend_of

        return backend_of(Path(name)), Path(name)
    return text, source


def _open(name: str, role: Role, source: Source, **arguments: Any) -> Any:
    return resolve(name, role).open(source, **arguments)


def _installed() -> Iterator[Listing]:
    """Read the entry points of every distribution; hostile or damaged metadata costs only its own listing."""
    from importlib.metadata import distributions

    allowed = os.environ.get(ALLOWED)
    names = None if allowed is None else {_canonical(each) for each in allowed.split(",")}
    seen: set[tuple[str, str]] = set()
    for distribution in distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except Exception:  # unreadable metadata of a package that may have nothing to do with us
            continue
        if GROUP not in text:
            continue
        offered = list(_entry_points(text))
        if not offered:
            continue
        owner, version, summary = _about(distribution)  # once for all that it offers: reading metadata is what costs
        known = _canonical(owner)
        if names is not None and known not in names:
            continue
        for name, value in offered:
            if (known, name) in seen:  # a lib64 -> lib link lists a distribution twice
                continue
            seen.add((known, name))
            problem = None if _NAME.match(name) else "its name is not made of a-z, 0-9, '.', '_' and '-', at most 64"
            if problem is None and not re.fullmatch(r"[\w.]+(:[\w.]+)?", value):
                problem = f"its entry point {printable(value, 80)!r} is not 'module:attribute'"
            shown = name if problem is None else printable(name, 64)
            yield Listing(
                name=shown, distribution=owner, version=version, summary=summary, value=value, problem=problem
            )


def _entry_points(text: str) -> Iterator[tuple[str, str]]:
    """The (name, value) pairs in our group's section; a line that is no pair is a problem of its own."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == GROUP and line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _about(distribution: Distribution) -> tuple[str, str, str]:
    """Name, version and summary, made printable; metadata that cannot be read is told by its folder's name."""
    fallback = Path(str(getattr(distribution, "_path", "unknown"))).name.split("-")[0]
    try:
        metadata = distribution.metadata
        name, version, summary = (str(metadata[key] or "") for key in ("Name", "Version", "Summary"))
    except Exception:  # hostile metadata raises whatever the email parser happens to raise
        name, version, summary = "", "", ""
    return printable(name or fallback, 100), printable(version or "unknown", 40), printable(summary, 200)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _registered() -> Iterator[Listing]:
    for name, manifest in _table.list_name_plugin():
        if isinstance(manifest, Backend):
            yield Listing(name=name, distribution="registered", version="-", summary=manifest.summary)


_imported: dict[tuple[str, str], Backend] = {}


def _import(listing: Listing) -> Backend:
    """Import one plugin's manifest. A SystemExit at import is the plugin's fault, a KeyboardInterrupt is the user's."""
    if not listing.value:
        return _checked(_table.get_plugin(listing.name), f"register({listing.name!r})")
    key = (listing.qualified, listing.value)
    if key not in _imported:
        _imported[key] = _checked(_attribute(listing, listing.value), f"{listing.distribution} {listing.version}")
    return _imported[key]


def _checked(manifest: Any, owner: str) -> Backend:
    if not isinstance(manifest, Backend):
        raise BrokenBackend(f"{owner} offers a {type(manifest).__name__} where an aigc_sdk.Backend is needed.")
    if manifest.api != API:
        cure = (
            "upgrade aigc-sdk"
            if isinstance(manifest.api, int) and manifest.api > API
            else f"upgrade {owner.split()[0]}"
        )
        raise IncompatibleBackend(
            f"{owner} was written for plugin API {manifest.api}, this aigc-sdk has {API}; {cure}."
        )
    return manifest


def _role_class(listing: Listing, role: Role, target: str) -> type[Any]:
    from . import protocols

    wanted = {"generator": protocols.Generator, "trainer": protocols.Trainer, "evaluator": protocols.Evaluator}[role]
    cls = _attribute(listing, target)
    owner = f"{listing.distribution} {listing.version}"
    if not (isinstance(cls, type) and issubclass(cls, wanted)):
        raise BrokenBackend(
            f"{owner} names {target!r} as its {role}, which is no subclass of aigc_sdk.{wanted.__name__}."
        )
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise BrokenBackend(f"{owner}: its {role} {target!r} does not define {missing}.")
    return cls


def _attribute(listing: Listing, target: str) -> Any:
    module, _, path = target.partition(":")
    try:
        found = importlib.import_module(module)
        return functools.reduce(getattr, path.split("."), found) if path else found
    except (Exception, SystemExit) as error:
        cause = printable(f"{type(error).__name__}: {error}")
        hint = f"pip install --force-reinstall {listing.distribution}"
        message = (
            f"{listing.distribution} {listing.version} ({listing.name}) fails to import {target!r}: {cause} Try: {hint}"
        )
        raise BrokenBackend(message) from error
