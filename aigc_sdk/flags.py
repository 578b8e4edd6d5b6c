"""Command-line flags from Options models: nothing about an option is said twice."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import pydantic
import typer

from .errors import OptionError
from .protocols import Options

OF_EVERY_COMMAND = frozenset({"help", "debug"})


@dataclass(frozen=True)
class Group:
    """The flags of one Options model: under `title` in the help, and as `--prefix-name` where `--name` is taken."""

    options: type[Options]
    title: str
    prefix: str


def command(function: Callable[..., Any], **groups: Group) -> Callable[..., Any]:
    """`function` as typer reads it: its parameter `name` of each of `groups` becomes a flag per option.

    The function gets a dict of those options that were given, as `Options.parse` takes them.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name not in groups]
    taken = {*OF_EVERY_COMMAND, *(name for each in own for name in _names(each))}
    called: dict[str, dict[str, str]] = {}  # for each group, the flag of each option
    for name, group in groups.items():
        called[name] = {each: _free(each, group.prefix, taken) for each in group.options.model_fields}
    added = [each for name, group in groups.items() for each in _parameters(group, called[name])]
    joined = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + added

    def calling(**given: Any) -> Any:
        options = {name: _given(group.options, called[name], given) for name, group in groups.items()}
        return function(**{each.name: given[each.name] for each in own}, **options)

    calling.__doc__ = function.__doc__
    calling.__signature__ = signature.replace(parameters=joined)  # type: ignore[attr-defined]
    calling.__annotations__ = {each.name: each.annotation for each in joined}
    return calling


def _names(parameter: inspect.Parameter) -> Iterator[str]:
    """What a command's own parameter occupies: its name, and the flags it is given by."""
    yield parameter.name
    for each in getattr(parameter.annotation, "__metadata__", ()):
        flags = [
            each.default,
            *(each.param_decls or ()),
        ]  # typer takes the first flag for a default, and corrects it later
        yield from (flag.lstrip("-").replace("-", "_") for flag in flags if isinstance(flag, str))


def _free(name: str, prefix: str, taken: set[str]) -> str:
    free = f"{prefix}_{name}" if name in taken else name
    taken.add(free)
    return free


def _parameters(group: Group, called: Mapping[str, str]) -> Iterator[inspect.Parameter]:
    """A keyword parameter per option; one that is left out is None, and the option's own default applies."""
    bounds = _bounds(group.options)
    for name, field in group.options.model_fields.items():
        kind, metavar, _ = _kind(field)
        option = typer.Option(
            help=_help(field, bounds[name]), show_default=False, rich_help_panel=group.title, metavar=metavar
        )
        yield inspect.Parameter(
            called[name], inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
        )


def _given(options: type[Options], called: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, field in options.model_fields.items():
        value = given[called[name]]
        if value is None or value == []:
            continue
        _, _, convert = _kind(field)
        try:
            found[name] = convert(value)
        except pydantic.ValidationError as error:
            flag, reason = called[name].replace("_", "-"), error.errors(include_url=False)[0]["msg"]
            raise OptionError(f"--{flag} {value!r}: {reason}", field=name) from error
    return found


def _kind(field: Any) -> tuple[Any, str | None, Callable[[Any], Any]]:
    """What typer parses, what the help calls it (None: typer's own word), and what makes the option's value of it."""
    annotation, optional = _bare(field.annotation)
    if optional and annotation in (int, float, str) and field.default is not None and not field.is_required():
        return str, f"<{annotation.__name__}|none>", lambda text: None if text == "none" else _scalar(annotation, text)
    if annotation in (int, float, str, bool):
        return annotation, None, lambda value: value
    origin, arguments = typing.get_origin(annotation), [_bare(each)[0] for each in typing.get_args(annotation)]
    if origin is Literal and all(isinstance(each, str) for each in arguments):
        return annotation, None, lambda value: value
    inner = {each for each in arguments if each is not ...}
    if origin is tuple and ... not in arguments and inner <= {int, float, str}:
        return tuple[tuple(arguments)], None, tuple  # type: ignore[misc]
    if origin in (list, tuple) and len(inner) == 1 and inner <= {int, float, str}:
        return list[inner.pop()], None, origin  # type: ignore[misc]
    if origin in (Union, types.UnionType) and str in arguments:
        return str, "<text or JSON>", lambda text: _text_or_json(annotation, text)
    return str, "<JSON>", lambda text: pydantic.TypeAdapter(annotation).validate_json(text, strict=True)


def _bare(annotation: Any) -> tuple[Any, bool]:
    """The type without what is said about it, and whether it may be None."""
    if typing.get_origin(annotation) is Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        inner = [each for each in typing.get_args(annotation) if each is not type(None)]
        if len(inner) == 1:
            return _bare(inner[0])[0], True
    return annotation, False


def _text_or_json(annotation: Any, text: str) -> Any:
    """What a JSON list or object says; any other text is meant as it is."""
    if not text.startswith(("[", "{")):
        return text
    return pydantic.TypeAdapter(annotation).validate_json(text, strict=True)


def _scalar(kind: type[Any], text: str) -> Any:
    return pydantic.TypeAdapter(kind).validate_strings(text)


def _bounds(options: type[Options]) -> dict[str, str]:
    """The limits of each option, in signs."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = {}
    for name, schema in options.model_json_schema().get("properties", {}).items():
        limits = [
            f"{sign} {_number(each[word])}" for each in _schemas(schema) for word, sign in signs.items() if word in each
        ]
        found[name] = ", ".join(dict.fromkeys(limits))
    return found


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and what it is made of: alternatives, and the members of lists and tuples."""
    yield schema
    for each in [*schema.get("anyOf", []), *schema.get("prefixItems", []), schema.get("items")]:
        if isinstance(each, dict):
            yield from _schemas(each)


def _number(value: float) -> str:
    if isinstance(value, int) and value >= 1 << 40 and value & (value - 1) == 0:
        return f"2**{value.bit_length() - 1}"
    return f"{value:,}" if isinstance(value, int) or value >= 1e6 else f"{value:g}"


def _help(field: Any, bounds: str) -> str:
    within = f" ({bounds})" if bounds else ""
    default = "required" if field.is_required() else f"default: {_shown(field.get_default(call_default_factory=True))}"
    return f"{field.description or ''}{within} [{default}]"


def _shown(default: Any) -> str:
    """A default as one would give it."""
    if default is None or default == () or default == []:
        return "none"
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, list | tuple):
        return " ".join(map(_shown, default))
    if isinstance(default, pydantic.BaseModel):
        return default.model_dump_json()
    return str(default) or '""'
