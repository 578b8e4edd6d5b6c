"""Writes docs/options.md: every option of every backend in this repository, from the Options models themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import aigc_sdk
from aigc_sdk.registry import ROLES, backend, resolve

PAGE = Path(__file__).parent / "options.md"
BACKENDS = sorted(
    folder.name for folder in (PAGE.parents[1] / "plugins").iterdir() if (folder / "pyproject.toml").exists()
)


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
    """A section per backend, a table per role."""
    for name in BACKENDS:
        yield from ["", f"## {name}", "", backend(name).summary]
        for role in ROLES:
            if getattr(backend(name), role) is None:
                continue
            cls = resolve(name, role)
            if role == "trainer":
                yield from table(f"{role}: a new model (`aigc_sdk.trainer({name!r}, ...)`)", cls.Config)
            yield from table(
                f"{role}: one call" if role != "trainer" else f"{role}: one run (`steps`, `fit`)", cls.Options
            )


def table(title: str, options: type[aigc_sdk.Options]) -> Iterator[str]:
    """One Options model."""
    if not options.model_fields:
        return
    yield from ["", f"### {title}", "", "| option | type | default | meaning |", "|---|---|---|---|"]
    schema = options.model_json_schema()["properties"]
    for name, field in options.model_fields.items():
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        yield f"| `{name}` | {kind(schema[name])} | {default} | {cell(field.description or '')} |"


def kind(schema: dict[str, object]) -> str:
    """The type with its bounds, in words."""
    if "anyOf" in schema:
        return " or ".join(kind(each) for each in schema["anyOf"])  # type: ignore[attr-defined]
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{each!r}`" for each in schema.get("enum", [schema.get("const")]))  # type: ignore[attr-defined]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {schema[word]:g}" for word, sign in signs.items() if word in schema)
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"  # type: ignore[arg-type]
    name = {"null": "None", "string": "text", "boolean": "true or false"}.get(
        str(schema.get("type")), str(schema.get("type", "any"))
    )
    return f"{name} {bounds}".strip()


def cell(text: str) -> str:
    """Text that does not break out of its cell."""
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(None if PAGE.read_text() == page() else f"{PAGE} is not up to date; run `make docs`")
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
