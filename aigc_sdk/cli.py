"""`aigc`: list backends, generate, train, evaluate, replay, push, and examine the installation.

Exit codes: 0 done; 1 it failed; 2 wrong input; 3 a replay differs; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

import aigc_sdk

from . import _backend_commands, registry
from ._command_groups import NOBODY, PLAIN, AsJson, Group
from ._push_command import push
from ._terminal import FAILED, let_go_of_output, print_json, shown, tell
from .errors import AigcError, BackendError, InputError, NotAModel

DEBUG = "AIGC_SDK_DEBUG"
WRONG, DIFFERS, INTERRUPTED = 2, 3, 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
ORDER = ("backends", "generate", "train", "evaluate", "replay", "push", "doctor")
SPOKEN = {  # what the library's messages advise, in the words of the command line
    "resume=True": "--resume",
    "resume='anyway'": "--resume --anyway",
    "references=": "--references",
    "validation=": "--validation",
    "save_to=": "--to ",
}


def main() -> None:
    """The entry point: runs a command, and tells of an error in one line."""
    if sys.stdout is None:  # closed, as by `>&-`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that cannot show every character
    warnings.showwarning = lambda message, *_, **__: tell("warning", str(message))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    words, debug = _without_debug(arguments)
    try:
        with typer.main.get_command(app).make_context("aigc", words) as context:
            code = context.command.invoke(context)
        sys.stdout.flush()
        return code or 0
    except typer.Exit as done:
        return done.exit_code
    except BrokenPipeError:  # the reader has what it wanted, as in `aigc ... | head`
        let_go_of_output()
        return 0
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            tell("error", _message(error))
        return (
            WRONG if isinstance(error, InputError | BackendError | NotAModel) else getattr(error, "exit_code", FAILED)
        )


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """`--debug` may stand anywhere before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [each for each in arguments[:end] if each != "--debug"]
    return words + arguments[end:], len(words) < end or bool(os.environ.get(DEBUG))


def _message(error: Exception) -> str:
    if isinstance(error, AigcError):
        said = str(error)
        for words, flag in SPOKEN.items():
            said = said.replace(f"pass {words}", f"pass {flag}")
        return said
    if hasattr(error, "format_message"):  # typer could not make sense of the command line
        context = getattr(error, "ctx", None)
        return f"{error.format_message()}\nsee: {context.command_path} --help" if context else str(error)
    if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
        let_go_of_output()
        return f"standard output cannot be written: {error.strerror or error}"
    return f"{type(error).__name__}: {error}\nthis is a fault of aigc_sdk or of a backend; --debug shows where"


class _Commands(Group):
    """The commands, in the order in which one uses them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(name="aigc", cls=_Commands, **PLAIN)
_backend_commands.add_to(app)

ExistingFile = typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="A file that aigc_sdk saved.")


@app.command()
def backends(
    check: Annotated[
        bool, typer.Option("--check", help="Import each in a process of its own, and tell of faults.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List the installed backends, importing none."""
    found = registry.backends(check=check)
    if as_json:
        print_json([vars(each) for each in found])
    else:
        width = max([len(each.name) for each in found], default=0)
        for each in found:
            state = f"PROBLEM: {each.problem}" if each.problem else each.summary
            print(f"{each.name:<{width}}  {each.distribution} {each.version}  {state}")
        if not found:
            print(NOBODY)
    return FAILED if check and any(each.problem for each in found) else 0


@app.command()
def replay(
    file: Annotated[Path, ExistingFile],
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="Where to run; none: where it was made.")] = None,
    as_json: AsJson = False,
) -> int:
    """Make a file's artifact again, and compare to the byte."""
    found = aigc_sdk.replay(file, device=device)
    if as_json:
        print_json({"same": found.same, "differences": list(found.differences)})
    else:
        print(shown(str(found)))
    return 0 if found.same else DIFFERS


app.command()(push)


@app.command()
def doctor(as_json: AsJson = False) -> int:
    """Examine the installation: versions, devices, backends."""
    from .doctor import examine

    findings = examine()
    if as_json:
        print_json([vars(each) for each in findings])
    else:
        print("\n".join(map(str, findings)))
    return FAILED if any(each.level == "problem" for each in findings) else 0


def _version(asked: bool) -> None:
    if asked:
        print(f"aigc_sdk {aigc_sdk.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Generate, train and evaluate text, images, video and speech."""


if __name__ == "__main__":
    main()
