"""Switching hooks on, and calling them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pluggy

from . import hookspecs
from .errors import InputError

if TYPE_CHECKING:
    from .artifacts import Artifact
    from .protocols import Job

manager = pluggy.PluginManager("aigc_sdk")
manager.add_hookspecs(hookspecs)


def use(observer: object) -> None:
    """Switch on the hooks of one object for the whole process, until `unuse(observer)`."""
    names = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction)]
    if not any(manager.parse_hookimpl_opts(observer, name) for name in names if hasattr(observer, name)):
        message = (
            f"{observer!r} has no hook to switch on; give it a method marked @aigc_sdk.hookimpl: {', '.join(names)}"
        )
        raise InputError(message)
    if manager.is_registered(observer):
        raise InputError(f"{observer!r} is switched on already")
    manager.register(observer)


def unuse(observer: object) -> None:
    """Switch off what `use` switched on."""
    if not manager.is_registered(observer):
        raise InputError(f"{observer!r} is not switched on")
    manager.unregister(observer)


@contextmanager
def using(*observers: object) -> Iterator[None]:
    """Switch on the hooks of objects within a `with` block."""
    switched: list[object] = []
    try:
        for observer in observers:
            use(observer)
            switched.append(observer)
        yield
    finally:
        for observer in switched:
            unuse(observer)


def watched(name: str) -> bool:
    """Whether anything that is switched on implements the hook `name`."""
    return bool(getattr(manager.hook, name).get_hookimpls())


def finish(artifact: Artifact, job: Job) -> Artifact:
    """Pass a finished artifact through every `aigc_artifact` hook, each on what the one before it returned."""
    from .artifacts import Artifact

    for impl in reversed(manager.hook.aigc_artifact.get_hookimpls()):  # pluggy keeps the first to run last
        known: dict[str, Any] = {"artifact": artifact, "job": job}
        replaced = impl.function(*(known[name] for name in impl.argnames))
        if replaced is None:
            continue
        if not isinstance(replaced, Artifact):
            raise InputError(f"aigc_artifact of {impl.plugin!r} returned a {type(replaced).__name__}, not an artifact")
        artifact = replaced
    return artifact
