"""Writes docs/options.md: every option of every backend in this repository, from the Options models themselves."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aigc_sdk
from aigc_sdk.registry import ROLES, backend, resolve

PAGE = Path(__file__).parent / "options.md"
INSTALLED = (PAGE.parents[1] / "requirements.txt").read_text()
OURS = {f"aigc-sdk-{name}" for name in re.findall(r"^-e plugins/(\S+)$", INSTALLED, re.M)}
BACKENDS = [each.name for each in aigc_sdk.backends() if each.distribution in OURS]
SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def page() -> str:
    """The whole page."""
    return (
        "\n".join(
            [
                "# Options",
                "",
                "Made by `make docs` from the `Options` models; what the call checks is what stands here.",
                *lines(),
            ]
        )
        + "\n"
    )


def lines() -> Iterator[str]:
    """A section per backend."""
    for name in BACKENDS:
        yield from ["", f"## {name}", "", backend(name).summary]
        yield from section(name)


def section(name: str) -> Iterator[str]:
    """The tables of one backend, one per role."""
    for role in ROLES:
        if getattr(backend(name), role) is None:
            continue
        cls = resolve(name, role)
        if role == "trainer":
            yield from table(f"{role}: a new model (`aigc_sdk.trainer({name!r}, ...)`)", cls.Config)
        yield from table(f"{role}: one call" if role != "trainer" else f"{role}: one run (`steps`, `fit`)", cls.Options)


def table(title: str, options: type[aigc_sdk.Options]) -> Iterator[str]:
    """One Options model."""
    if not options.model_fields:
        return
    yield from ["", f"### {title}", "", "| option | type | default | meaning |", "|---|---|---|---|"]
    schema = options.model_json_schema()["properties"]
    for name, field in options.model_fields.items():
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        yield f"| `{name}` | {kind(schema[name])} | {default} | {cell(field.description or '')} |"


def kind(schema: dict[str, Any]) -> str:
    """The type with its bounds, in words."""
    if "anyOf" in schema:
        return " or ".join(kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{each!r}`" for each in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return f"({', '.join(map(kind, schema['prefixItems']))})"
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    names = {"null": "None", "string": "text", "boolean": "true or false", None: "any"}
    name = names.get(schema.get("type"), schema.get("type"))
    bounds = ", ".join(f"{sign} {number(schema[word])}" for word, sign in SIGNS.items() if word in schema)
    return f"{name} {bounds}".strip()


def number(value: float) -> str:
    """A bound as one reads it: 1,000,000, 2**63, 0.5."""
    if value != int(value):
        return f"{value:g}"
    whole = int(value)
    power = whole.bit_length() - 1
    return f"2**{power}" if power >= 16 and whole == 2**power else f"{whole:,}"


def cell(text: str) -> str:
    """Text that does not break out of its cell."""
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(None if PAGE.read_text() == page() else f"{PAGE} is not up to date; run `make docs`")
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
