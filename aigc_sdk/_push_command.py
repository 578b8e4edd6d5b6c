"""`aigc push`: says what would go to the hub, asks, and sends it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._command_groups import AsJson
from ._terminal import FAILED, print_json, shown
from .errors import InputError

if TYPE_CHECKING:
    from .hub import Pushed


def push(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, or a run's folder.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repository on the hub.")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a repository that is made; otherwise you alone.")
    ] = False,
    revision: Annotated[str | None, typer.Option(metavar="BRANCH", help="Branch to add to; none: main.")] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Of the commit.")] = None,
    license: Annotated[str | None, typer.Option(metavar="NAME", help="For the card: apache-2.0, cc-by-4.0 ...")] = None,
    limits: Annotated[
        str | None, typer.Option(metavar="TEXT", help="For the card: what the model cannot or should not do.")
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="For the card: what `aigc evaluate -o` wrote."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="Of an adapter: the model on the hub that it was trained beside."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be uploaded, and send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a model to the hub, after showing what goes there."""
    from .card import read_report
    from .hub import push

    reports = {each.stem if len(report or []) > 1 else "": read_report(each) for each in report or []}
    if len(reports) < len(report or []):
        raise InputError("two reports have one name, which stands in the card; rename one", field="report")
    asked: dict[str, Any] = {
        "private": not public,
        "revision": revision,
        "message": message,
        "license": license,
        "limits": limits,
        "reports": reports,
        "base": base,
    }
    if not dry_run and not yes and not _agreed(push(model, repository, **asked, dry_run=True), public):
        print("nothing was uploaded", file=sys.stderr)
        raise typer.Exit(FAILED)
    done = push(model, repository, **asked, dry_run=dry_run)
    if as_json:
        print_json(vars(done))
    else:
        print(shown(str(done)))


def _agreed(plan: Pushed, public: bool) -> bool:
    """Whether the user, who is shown what would go to the hub, wants that."""
    if not sys.stdin.isatty():
        raise InputError("nobody is there to be asked; pass --yes to upload, or --dry-run to see what", field="yes")
    print(shown(str(plan)), file=sys.stderr)
    who = "everybody can" if public else "you alone can"
    try:
        return typer.confirm(f"Upload? If the repository is new, {who} see it", err=True)
    except typer.Abort:  # Ctrl-C or the end of the input
        return False
