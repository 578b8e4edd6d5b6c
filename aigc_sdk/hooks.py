"""Switching hooks on, and calling them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pluggy

from . import hookspecs
from .errors import InputError, suggestion

if TYPE_CHECKING:
    from .artifacts import Artifact
    from .protocols import Job

manager = pluggy.PluginManager("aigc_sdk")
manager.add_hookspecs(hookspecs)


def use(observer: object) -> None:
    """Switch on the hooks of one object for the whole process, until `unuse(observer)`."""
    known = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction)]
    marked = _marked(observer)
    if not marked:
        message = (
            f"{observer!r} has no hook to switch on; give it a method marked @aigc_sdk.hookimpl: {', '.join(known)}"
        )
        raise InputError(message)
    for name in marked:
        if name not in known:  # pluggy would never call it, and a filter that is never called is worse than none
            raise InputError(f"{observer!r}: no hook is called {name!r}.{suggestion(name, known)}")
    if manager.is_registered(observer):
        raise InputError(f"{observer!r} is switched on already")
    try:
        manager.register(observer)
    except pluggy.PluginValidationError as error:
        if manager.is_registered(observer):  # older versions of pluggy leave it half registered
            manager.unregister(observer)
        raise InputError(f"{observer!r} cannot be switched on: {error}") from error


def unuse(observer: object) -> None:
    """Switch off what `use` switched on."""
    if not manager.is_registered(observer):
        raise InputError(f"{observer!r} is not switched on")
    manager.unregister(observer)


@contextmanager
def using(*observers: object) -> Iterator[None]:
    """Switch on the hooks of objects within a `with` block."""
    with ExitStack() as stack:
        for observer in observers:
            use(observer)
            stack.callback(unuse, observer)
        yield


def watched(name: str) -> bool:
    """Whether anything that is switched on implements the hook `name`."""
    return bool(getattr(manager.hook, name).get_hookimpls())


def finish(artifact: Artifact, job: Job) -> Artifact:
    """Pass a finished artifact through every `aigc_artifact` hook, each on what the one before it returned."""
    from .artifacts import Artifact

    whole = artifact
    for impl in reversed(manager.hook.aigc_artifact.get_hookimpls()):  # pluggy keeps the first to run last
        known: dict[str, Any] = {"artifact": artifact, "job": job}
        replaced = impl.function(*(known[name] for name in impl.argnames))
        if replaced is None:
            continue
        if not isinstance(replaced, Artifact):
            raise InputError(f"aigc_artifact of {impl.plugin!r} returned a {type(replaced).__name__}, not an artifact")
        artifact = replaced
    # A hook that makes a new artifact need not know where it belongs and how the old one was made.
    return replace(artifact, sample=whole.sample, origin=artifact.origin or whole.origin)


def _marked(observer: object) -> list[str]:
    """The names of the hooks that an object says it implements."""
    found = ((name, manager.parse_hookimpl_opts(observer, name)) for name in dir(observer))
    return [str(options.get("specname") or name) for name, options in found if options]
