"""What the commands are made of: groups that list backends, help under titles, and flags that several take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from . import registry
from .errors import InputError

NOBODY = f"No backend is installed. {registry.how_to_install('gpt2')}"
PLAIN: dict[str, Any] = {  # rich would read the brackets in a description as markup, and costs 50 ms
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
}

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Source = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Model folder or hub id; none: the backend's default.")
]
DeviceFlag = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")]
DTypeFlag = Annotated[
    Literal["float32", "bfloat16", "float16", "int8", "auto"], typer.Option(help="Precision to compute in.")
]
Revision = Annotated[str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a hub id.")]
Seed = Annotated[int | None, typer.Option(help="0 to 2**63-1; none: draw one and record it.")]


class Group(TyperGroup):
    """A group whose name alone is a question for help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])


class Backends(Group):
    """A command per backend, made from its Options when it is asked for; a folder's path is a name too."""

    make: Callable[[str], Callable[..., Any]]

    def list_commands(self, ctx: Any) -> list[str]:
        """The installed backends, without importing one."""
        return sorted({each.name for each in registry.backends() if each.problem is None})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command for one backend, with its flags."""
        single = typer.Typer(**PLAIN)
        single.command(cmd_name, cls=Command)(type(self).make(cmd_name))
        return typer.main.get_command(single)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] != "--help":
            raise InputError(f"the backend comes first: {ctx.command_path} BACKEND ... {args[0]}")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.subcommand_metavar]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List backends with their summaries, which need no import."""
        rows = [(each.name, each.summary) for each in registry.backends() if each.problem is None]
        with formatter.section("Backends"):
            formatter.write_dl(rows or [("(none)", NOBODY)])


class Command(TyperCommand):
    """A command whose help shows its own flags and the backend's under titles of their own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            kind = "Arguments" if each.param_type_name == "argument" else "Options"
            if record is not None:
                sections.setdefault(getattr(each, "rich_help_panel", None) or kind, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
