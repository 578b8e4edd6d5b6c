"""Functions whose results remember the call: `@recorded` writes it into the origin of what the function returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from aigc_sdk.artifacts import Artifact
from aigc_sdk.errors import InputError, shown
from aigc_sdk.protocols import Generator

from .parts import composed, noted

P = ParamSpec("P")
A = TypeVar("A", bound=Artifact)

RECORDED: dict[str, Callable[..., Artifact]] = {}
"""Every recorded function by its name: a file names a function, and only one of these is ever called."""


def recorded(function: Callable[P, A]) -> Callable[P, A]:
    """Give what `function` returns an origin that holds this call, so that `compose.replay` can repeat it.

    The function takes artifacts, plain values and models, makes the same of the same, and returns one new artifact.
    One of yours can be replayed wherever the module that defines it is imported.

        @recorded
        def mirrored(image: Image) -> Image:
            return Image(image.pixels[:, ::-1])
    """
    name = f"{function.__module__}.{function.__qualname__}"
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> A:
        result = function(*args, **kwargs)
        if not isinstance(result, Artifact):
            raise InputError(f"{name} returned a {type(result).__name__}; a recorded function makes an artifact")
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {key: described(value) for key, value in bound.arguments.items()}
        return composed(result, {"call": name, "arguments": arguments}, artifacts(bound.arguments))

    RECORDED[name] = called
    return called


def described(value: Any) -> Any:
    """An argument as JSON."""
    if isinstance(value, Artifact):
        return {"part": noted(value)[0]}
    if isinstance(value, Generator) and value.backend:
        return {"model": model_facts(value)}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value.item() if hasattr(value, "item") else value
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    if isinstance(value, Mapping):
        return {"map": {str(key): described(each) for key, each in value.items()}}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # numpy's and torch's numbers
        return value.item()
    return {"unrecorded": shown(value)}


def model_facts(model: Generator[Any]) -> dict[str, str]:
    """What tells a model from another, and what it is opened by."""
    return {
        "backend": model.backend,
        "source": str(model.source),
        "fingerprint": model.fingerprint(),
        "device": model.device,
        "dtype": model.dtype,
    }


def artifacts(value: Any) -> Iterator[Artifact]:
    """The artifacts in an argument."""
    if isinstance(value, Artifact):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from artifacts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from artifacts(each)
