"""`aigc`: list backends, generate, train, evaluate, replay, push, and examine the installation.

Exit codes: 0 done; 1 it failed; 2 wrong input; 3 a replay differs; 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

import aigc_sdk

from . import calls, registry
from ._push_command import push
from .artifacts import Artifact, Text
from .errors import (
    AigcError,
    BackendError,
    DataError,
    InputError,
    NotAModel,
    PromptError,
    UnknownBackend,
    printable,
)

if TYPE_CHECKING:
    from .protocols import Generator, Step

DEBUG = "AIGC_SDK_DEBUG"
FAILED, WRONG, DIFFERS, INTERRUPTED = 1, 2, 3, 130
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
    warnings.showwarning = lambda message, *_, **__: _tell("warning", str(message))
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
        _let_go_of_output()
        return 0
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            _tell("error", _message(error))
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
        _let_go_of_output()
        return f"standard output cannot be written: {error.strerror or error}"
    return f"{type(error).__name__}: {error}\nthis is a fault of aigc_sdk or of a backend; --debug shows where"


def _tell(what: str, message: str) -> None:
    lines = [printable(line, 2000) for line in message.strip().splitlines()[:100]]
    print(f"{what}: " + "\n".join(lines), file=sys.stderr)


def _let_go_of_output() -> None:
    """Nobody reads standard output any more, and Python's last flush of it shall not fail."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file, as in a notebook
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)


class _Group(TyperGroup):
    """Commands in the order in which one uses them; alone, the name is a question for help."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])


class _Backends(_Group):
    """A command per backend, made from its Options when it is asked for; a folder's path is a name too."""

    make: Callable[[str], Callable[..., Any]]

    def list_commands(self, ctx: Any) -> list[str]:
        """The installed backends, without importing one."""
        return sorted({each.name for each in registry.backends() if each.problem is None})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command for one backend, with its flags."""
        single = typer.Typer(**PLAIN)
        single.command(cmd_name, cls=_Command)(type(self).make(cmd_name))
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


class _Command(TyperCommand):
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


NOBODY = "no backend is installed; try: pip install aigc-sdk-gpt2"
PLAIN: dict[str, Any] = {  # rich would read the brackets in a description as markup, and costs 50 ms
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
}
app = typer.Typer(name="aigc", cls=_Group, **PLAIN)

Source = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Model folder or hub id; none: the backend's default.")
]
DeviceFlag = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")]
DTypeFlag = Annotated[
    Literal["float32", "bfloat16", "float16", "int8", "auto"], typer.Option(help="Precision to compute in.")
]
Revision = Annotated[str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a hub id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Seed = Annotated[int | None, typer.Option(help="0 to 2**63-1; none: draw one and record it.")]
ExistingFile = typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="A file that aigc_sdk saved.")


def _generating(name: str) -> Callable[..., Any]:
    from . import flags

    backend, cls = _class(name, "generator")

    def generate(
        options: dict[str, Any],
        prompt: Annotated[
            list[str] | None, typer.Argument(metavar="PROMPT", help="Any number; - is standard input.")
        ] = None,
        n: Annotated[int, typer.Option("--n", "-n", min=1, max=calls.SAMPLES_LIMIT, help="Samples per prompt.")] = 1,
        seed: Seed = None,
        output: Annotated[
            Path | None,
            typer.Option(
                "--output",
                "-o",
                metavar="FILE",
                help="File to write; its suffix names the format. For several samples: NAME-0, NAME-1 and so on.",
            ),
        ] = None,
        source: Source = None,
        device: DeviceFlag = "auto",
        dtype: DTypeFlag = "float32",
        revision: Revision = None,
        as_json: AsJson = False,
    ) -> None:
        """Generate artifacts."""
        cls.Options.parse(name, options)  # what can be refused is refused before a model is loaded
        if seed is not None:
            calls.check_seed(seed)
        asked = _prompts(prompt or [], name, cls)
        _check_output(output, backend.artifact)
        model = aigc_sdk.load(name, source, device=device, dtype=dtype, revision=revision)
        if output is None and not as_json and n == 1 and not isinstance(asked, list) and sys.stdout.isatty():
            _stream(model, asked, seed, options)
        else:
            _hand_over(model.generate(asked, n=n, seed=seed, **options), output, as_json)

    return flags.command(generate, options=flags.Group(cls.Options, f"Options of {name}", "option"))


def _prompts(given: list[str], name: str, cls: type[Generator[Any]]) -> Any:
    """Nothing, one prompt, or a list of them."""
    if not given and type(None) not in cls.prompt_types:
        raise PromptError(f"{name} needs a prompt: put it behind the name, or - for standard input", field="prompt")
    prompts = [_standard_input() if each == "-" else each for each in given]
    for each in prompts:
        calls.check_prompt(each, cls.prompt_types, name)
    return prompts if len(prompts) > 1 else prompts[0] if prompts else None


def _standard_input() -> str:
    """What is piped in, without the line end that the last line has."""
    data = sys.stdin.buffer.read(calls.PROMPT_LIMIT + 2) if sys.stdin else b""  # None: closed, as by `<&-`
    if len(data) > calls.PROMPT_LIMIT + 1:
        raise PromptError(f"standard input holds more than the {calls.PROMPT_LIMIT:,} bytes that a prompt may have")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise PromptError(f"standard input is no UTF-8 text: {error}", field="prompt") from error


def _check_output(output: Path | None, kind: str) -> None:
    """Refuse what could not be written, before it is made."""
    if output is None:
        if kind != "text":
            raise InputError(f"{kind} cannot be printed; pass -o FILE", field="output")
        return
    from .media import FORMATS

    suffix, known = output.suffix[1:].lower(), [each for each, format in FORMATS.items() if format.kind == kind]
    if suffix not in known:
        raise InputError(
            f"-o {output}: the suffix names the format; for {kind} use one of {', '.join(known)}", field="output"
        )
    if not output.parent.is_dir():
        raise InputError(f"-o {output}: there is no folder {output.parent}; make it first", field="output")
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        what = "is a folder" if output.is_dir() else f"you may not write in {output.parent}"
        raise InputError(f"-o {output}: {what}; choose another file", field="output")


def _stream(model: Any, prompt: str | None, seed: int | None, options: dict[str, Any]) -> None:
    try:
        for chunk in model.stream(prompt, seed=seed, **options):
            sys.stdout.write(shown(str(chunk)))
            sys.stdout.flush()
    finally:
        print()


def _hand_over(made: list[Artifact], output: Path | None, as_json: bool) -> None:
    paths: list[Path] = []
    if output is not None:
        names = [output] if len(made) == 1 else [output.with_stem(f"{output.stem}-{i}") for i in range(len(made))]
        paths = [each.save(path) for each, path in zip(made, names, strict=True)]
    if as_json:
        _print_json([_described(each, paths[index] if paths else None) for index, each in enumerate(made)])
    else:
        print(shown("\n".join(map(str, paths or made))))


def _described(artifact: Artifact, path: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": artifact.kind, "sample": artifact.sample}
    if isinstance(artifact, Text):
        found["text"] = artifact.text
    return found | {"path": path and str(path), "info": dict(artifact.info), "origin": dict(artifact.origin)}


def _print_json(content: Any) -> None:
    """In ASCII, so that no terminal is controlled by it; what JSON does not know comes as a list or as text."""
    print(json.dumps(content, indent=2, default=lambda each: each.tolist() if hasattr(each, "tolist") else str(each)))


def shown(text: str) -> str:
    """Text for standard output: to a file or pipe as it is; on a terminal without what could control it."""
    if not sys.stdout.isatty():
        return text
    return "\n".join(printable(line, len(line)).replace("\\u0009", "\t") for line in text.split("\n"))


def _training(name: str) -> Callable[..., Any]:
    from . import flags

    _, cls = _class(name, "trainer")

    def train(
        options: dict[str, Any],
        config: dict[str, Any],
        data: Annotated[list[str], typer.Option(metavar="FILE", help="File to train on; may be given several times.")],
        to: Annotated[
            Path,
            typer.Option(
                metavar="FOLDER", help="The run's folder: checkpoints, log.jsonl and, when it is finished, the model."
            ),
        ],
        max_steps: Annotated[int, typer.Option(help="Optimiser updates in the whole run.")] = 1000,
        seed: Annotated[int, typer.Option(help="Of all randomness of the run.")] = 0,
        validation: Annotated[str | None, typer.Option(metavar="FILE", help="Held-out file.")] = None,
        evaluate_every: Annotated[int | None, typer.Option(help="Validate after so many updates.")] = None,
        save_every: Annotated[int | None, typer.Option(help="Checkpoint after so many updates.")] = None,
        preview_every: Annotated[
            int | None, typer.Option(help="Samples after so many updates, and a report at the end.")
        ] = None,
        best: Annotated[
            str | None, typer.Option(metavar="METRIC", help="Of the validation; chooses the best model: the loss.")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest sound checkpoint.")] = False,
        anyway: Annotated[
            bool, typer.Option("--anyway", help="With --resume: although data or options have changed.")
        ] = False,
        tracker: Annotated[
            Literal["tensorboard", "wandb", "mlflow"] | None, typer.Option(help="Where to show the metrics.")
        ] = None,
        source: Annotated[
            str | None,
            typer.Option(metavar="MODEL", help="Folder, hub id or 'default' to start from; none: a new model."),
        ] = None,
        device: DeviceFlag = "auto",
        revision: Revision = None,
        as_json: AsJson = False,
    ) -> None:
        """Train a model. `aigc generate FOLDER` then uses it."""
        cls.Options.parse(name, options)
        if anyway and not resume:
            raise InputError("--anyway goes with --resume, and does nothing without it", field="anyway")
        trainer = aigc_sdk.trainer(name, source, device=device, revision=revision, **config)
        observers = [_tracker(tracker, to)] if tracker else []  # before the run's folder is made
        steps = trainer.steps(
            data[0] if len(data) == 1 else [Path(each) for each in data],
            max_steps=max_steps,
            seed=seed,
            validation=validation,
            evaluate_every=evaluate_every,
            save_to=to,
            save_every=save_every,
            preview_every=preview_every,
            resume="anyway" if anyway else resume,
            best=best,
            **options,
        )
        last = _last(steps, observers)
        if as_json:
            metrics = dict(last.metrics) if last else {}
            _print_json({"folder": str(to), "step": last.index if last else max_steps, "metrics": metrics})
        else:
            print(shown(f"{to}: {_progress(last)}"))

    return flags.command(
        train,
        options=flags.Group(cls.Options, f"Options of {name}", "option"),
        config=flags.Group(cls.Config, "A new model", "model"),
    )


def _tracker(kind: Any, folder: Path) -> Any:
    from .training import Tracker

    return Tracker(kind, folder.with_name(folder.name + "-board"))


def _last(steps: Iterable[Step], observers: list[Any]) -> Step | None:
    """Run to the end; the last step, or None where nothing was left to do."""
    last = None
    try:
        with aigc_sdk.using(*observers):
            for last in steps:  # noqa: B007
                pass
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command with --resume goes on") from None
    finally:
        for each in observers:
            each.close()
    return last


def _progress(last: Step | None) -> str:
    if last is None:
        return "finished already"
    return ", ".join([f"step {last.index}", *(f"{name} {value:.4g}" for name, value in last.metrics.items())])


def _evaluating(name: str) -> Callable[..., Any]:
    from . import flags

    _, cls = _class(name, "evaluator")

    def evaluate(
        options: dict[str, Any],
        files: Annotated[
            list[Path],
            typer.Argument(exists=True, metavar="FILE", help="What to judge; a folder stands for its files."),
        ],
        references: Annotated[
            list[Path] | None,
            typer.Option(exists=True, metavar="FILE", help="To compare with; once for each file, or a folder of them."),
        ] = None,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", metavar="FILE", help="Write the report: .md, .json, .html, .svg or .png."),
        ] = None,
        source: Source = None,
        device: DeviceFlag = "auto",
        dtype: DTypeFlag = "float32",
        revision: Revision = None,
        as_json: AsJson = False,
    ) -> None:
        """Judge files."""
        cls.Options.parse(name, options)
        samples = [aigc_sdk.read(each) for each in _files(files)]
        against = [aigc_sdk.read(each) for each in _files(references)] if references else None
        judge = aigc_sdk.evaluator(name, source, device=device, dtype=dtype, revision=revision)
        report = judge.evaluate(samples, against, **options)
        if output is not None:
            report.save(output)
        if as_json:
            _print_json(report.to_dict())
        else:
            print(shown(str(report)))

    return flags.command(evaluate, options=flags.Group(cls.Options, f"Options of {name}", "option"))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The paths; for a folder those files in it that can be read, in the order of their names."""
    from .media import FORMATS

    for path in paths:
        inside = (
            sorted(each for each in path.iterdir() if each.suffix[1:].lower() in FORMATS) if path.is_dir() else [path]
        )
        if not inside:
            raise DataError(f"{printable(str(path))} holds no text, picture, film or sound", field="files")
        yield from inside


def _class(name: str, role: registry.Role) -> tuple[registry.Backend, Any]:
    """The backend, and the class that plays `role` in it, for a backend's name or a folder's path."""
    chosen, _ = registry._place(name, None)
    try:
        return registry.backend(chosen), registry.resolve(chosen, role)
    except UnknownBackend as error:
        if Path(name).is_dir():
            raise UnknownBackend(f"{error} For the model in the folder of that name, write ./{name}") from error
        raise


class _Generate(_Backends):
    make = staticmethod(_generating)


class _Train(_Backends):
    make = staticmethod(_training)


class _Evaluate(_Backends):
    make = staticmethod(_evaluating)


for _name, _group, _arguments, _help, _example in (
    ("generate", _Generate, "[PROMPT]...", "Generate artifacts.", "gpt2 'I am' --seed 7 -o story.txt"),
    ("train", _Train, "--data FILE --to FOLDER", "Train a model.", "gpt2 --data story.txt --to runs/mine"),
    ("evaluate", _Evaluate, "FILE...", "Judge files, or folders of them.", "gpt2 story.txt"),
):
    _sub = typer.Typer(**PLAIN)
    _sub.callback()(lambda: None)
    app.add_typer(
        _sub,
        name=_name,
        cls=_group,
        help=f"{_help} BACKEND is a name, or the path of a model's folder.",
        short_help=_help,
        epilog=f"Each backend has options of its own: aigc {_name} BACKEND --help\n\nExample: aigc {_name} {_example}",
        subcommand_metavar=f"BACKEND {_arguments} [OPTIONS]",
    )


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
        _print_json([vars(each) for each in found])
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
        _print_json({"same": found.same, "differences": list(found.differences)})
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
        _print_json([vars(each) for each in findings])
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
