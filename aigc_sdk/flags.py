"""Command-line flags from Options models: nothing about an option is said twice."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, Union

import typer

from .errors import OptionError
from .protocols import Options


def parameters(options: type[Options], panel: str, renamed: Mapping[str, str] | None = None) -> list[inspect.Parameter]:
    """A keyword parameter per field, for a typer command; one that is left out is None, and the field's default applies."""
    made = []
    for name, field in options.model_fields.items():
        kind, _ = _kind(field.annotation)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        option = typer.Option(
            help=_help(field.description or "", _bounds(options, name), default),
            show_default=False,
            rich_help_panel=panel,
        )
        called = (renamed or {}).get(name, name)
        made.append(
            inspect.Parameter(
                called,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    return made


def values(
    options: type[Options], given: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The options that were given on the command line, as `Options.parse` takes them."""
    found = {}
    for name, field in options.model_fields.items():
        called = (renamed or {}).get(name, name)
        value = given.get(called)
        if value is None or value == []:
            continue
        _, convert = _kind(field.annotation)
        found[name] = convert(called, value)
    return found


def command(function: Callable[..., Any], extra: Iterable[inspect.Parameter]) -> Callable[..., Any]:
    """`function` with keyword parameters added to its signature, for typer to read; it gets them as **options."""
    signature = inspect.signature(function, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    joined = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + list(extra)

    def called(**given: Any) -> Any:
        return function(**given)

    called.__doc__ = function.__doc__
    called.__signature__ = signature.replace(parameters=joined)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in joined}
    return called


def _kind(annotation: Any) -> tuple[Any, Callable[[str, Any], Any]]:
    """The type that typer parses, and what makes the option's value of it; unusual types are given as JSON."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [each for each in arguments if each is not type(None)]
        return _kind(inner[0]) if len(inner) == 1 else (str, _json)
    if origin is Annotated:
        return _kind(arguments[0])
    if annotation in (int, float, str, bool):
        return annotation, _same
    if origin is Literal and all(isinstance(each, str) for each in arguments):
        return annotation, _same
    if origin in (list, tuple) and arguments and set(arguments) <= {str, ...}:
        return list[str], lambda name, value: tuple(value)
    if origin is tuple and set(arguments) <= {int, float} and ... not in arguments:
        return annotation, _same
    return str, _json


def _same(name: str, value: Any) -> Any:
    return value


def _json(name: str, value: Any) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise OptionError(f"--{name.replace('_', '-')} {value!r} is not JSON: {error}", field=name) from error


def _bounds(options: type[Options], name: str) -> str:
    schema = options.model_json_schema()["properties"][name]
    schemas = [schema, *schema.get("anyOf", [])]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {_number(each[word])}" for each in schemas for word, sign in signs.items() if word in each]
    return ", ".join(found)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or value >= 1e6 else f"{value:g}"


def _help(description: str, bounds: str, default: Any) -> str:
    shown = "none" if default is None or default == () else str(default)
    within = f" ({bounds})" if bounds else ""
    return f"{description}{within} [default: {shown}]"
