"""`aigc`: list backends, generate, train, evaluate, replay, and examine the installation.

Exit codes: 0 done; 1 it failed; 2 wrong input; 3 a replay differs; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import aigc_sdk

from . import flags, registry
from .artifacts import Artifact, Text
from .errors import AigcError, BackendError, InputError, printable
from .protocols import Options, Step

DEBUG = "AIGC_SDK_DEBUG"
DIFFERS = 3

app = typer.Typer(
    name="aigc",
    help="Generate, train and evaluate text, images, video and speech.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """The entry point: runs a command, and tells of an error in one line."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    debug = "--debug" in arguments or bool(os.environ.get(DEBUG))
    try:
        code = app([each for each in arguments if each != "--debug"], prog_name="aigc", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except AigcError as error:
        if debug:
            raise
        print(f"error: {printable(str(error), 4000)}", file=sys.stderr)
        wrong = isinstance(error, InputError | BackendError)
        return 2 if wrong else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has what it wanted, as in `aigc ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
        if show is None or code is None:  # neither typer's nor ours: a fault of the program, to be reported
            raise
        show()
        return int(code)


class _Backends(TyperGroup):
    """A command per backend, made from its Options when it is asked for; a folder's path is a name too."""

    make: Callable[[str], Callable[..., Any]]

    def list_commands(self, ctx: Any) -> list[str]:
        """The installed backends, without importing one."""
        return sorted({each.name for each in registry.backends() if each.problem is None})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command for one backend, with its flags."""
        single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        single.command(cmd_name)(type(self).make(cmd_name))
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List backends with their summaries, which need no import."""
        rows = [(each.name, each.summary) for each in registry.backends() if each.problem is None]
        if rows:
            with formatter.section("Backends"):
                formatter.write_dl(rows)


Source = Annotated[str | None, typer.Option(help="Model folder or hub id; none: the backend's default.")]
DeviceFlag = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
DTypeFlag = Annotated[str, typer.Option(help="float32 or bfloat16.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Seed = Annotated[int | None, typer.Option(help="0 to 2**63-1; none: draw one and record it.")]


def _generating(name: str) -> Callable[..., Any]:
    options: type[Options] = _class(name, "generator").Options

    def generate(
        prompt: Annotated[list[str] | None, typer.Argument(help="One or more prompts; - reads standard input.")] = None,
        n: Annotated[int, typer.Option("--n", "-n", help="Samples per prompt.")] = 1,
        seed: Seed = None,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="File to write; the suffix names the format. Several: NAME-0, NAME-1."),
        ] = None,
        source: Source = None,
        device: DeviceFlag = "auto",
        dtype: DTypeFlag = "float32",
        revision: Revision = None,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        """Generate artifacts."""
        chosen = flags.values(options, given)
        options.parse(name, chosen)  # before a model is loaded
        prompts = [sys.stdin.read() if each == "-" else each for each in prompt or []]
        asked: Any = None if not prompts else prompts[0] if len(prompts) == 1 else prompts
        model = aigc_sdk.load(name, source, device=device, dtype=dtype, revision=revision)  # type: ignore[arg-type]
        if asked is not None and n == 1 and len(prompts) == 1 and not (output or as_json) and sys.stdout.isatty():
            _stream(model, asked, seed, chosen)
            return
        made = model.generate(asked, n=n, seed=seed, **chosen)
        _hand_over(made, output, as_json)

    return flags.command(generate, flags.parameters(options, f"Options of {name}"))


def _stream(model: Any, prompt: str, seed: int | None, chosen: dict[str, Any]) -> None:
    for chunk in model.stream(prompt, seed=seed, **chosen):
        if not isinstance(chunk, Text):
            raise InputError(f"{model.backend} makes no text that could be printed; pass -o FILE", field="output")
        sys.stdout.write(shown(chunk.text))
        sys.stdout.flush()
    print()


def _hand_over(made: list[Artifact], output: Path | None, as_json: bool) -> None:
    paths: list[Path] = []
    if output is not None:
        names = [output] if len(made) == 1 else [output.with_stem(f"{output.stem}-{i}") for i in range(len(made))]
        paths = [each.save(path) for each, path in zip(made, names, strict=True)]
    elif any(not isinstance(each, Text) for each in made):
        raise InputError("what was made is no text that could be printed; pass -o FILE", field="output")
    if as_json:
        described = [_described(each, paths[index] if paths else None) for index, each in enumerate(made)]
        print(json.dumps(described, indent=2))
    elif paths:
        print("\n".join(map(str, paths)))
    else:
        print("\n".join(shown(str(each)) for each in made))


def _described(artifact: Artifact, path: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": artifact.kind, "sample": artifact.sample}
    if isinstance(artifact, Text):
        found["text"] = artifact.text
    return found | {"path": path and str(path), "info": dict(artifact.info), "origin": dict(artifact.origin)}


def shown(text: str) -> str:
    """Text for standard output: to a file or pipe as it is; on a terminal without what could control it."""
    if not sys.stdout.isatty():
        return text
    return "\n".join(printable(line, len(line)).replace("\\u0009", "\t") for line in text.split("\n"))


def _training(name: str) -> Callable[..., Any]:
    cls = _class(name, "trainer")
    options, config = cls.Options, cls.Config
    own = {"data", "to", "max_steps", "seed", "validation", "source", "device", "resume", "best", "tracker"}
    renamed = {each: f"model_{each}" for each in config.model_fields if each in own or each in options.model_fields}

    def train(
        data: Annotated[list[str], typer.Option(help="File to train on; may be given several times.")],
        to: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, and the model when it is done.")],
        max_steps: Annotated[int, typer.Option(help="Optimiser updates.")] = 1000,
        seed: Annotated[int, typer.Option(help="Of all randomness of the run.")] = 0,
        validation: Annotated[str | None, typer.Option(help="Held-out file.")] = None,
        evaluate_every: Annotated[int | None, typer.Option(help="Validate after so many updates.")] = None,
        save_every: Annotated[int | None, typer.Option(help="Checkpoint after so many updates.")] = None,
        best: Annotated[str, typer.Option(help="Validation metric that chooses the best model.")] = "loss",
        resume: Annotated[bool, typer.Option(help="Go on from the newest sound checkpoint.")] = False,
        anyway: Annotated[bool, typer.Option(help="With --resume: although data or options have changed.")] = False,
        tracker: Annotated[str | None, typer.Option(help="tensorboard, wandb or mlflow.")] = None,
        source: Annotated[
            str | None, typer.Option(help="Model to go on from: a folder, a hub id or 'default'; none: a new one.")
        ] = None,
        device: DeviceFlag = "auto",
        revision: Revision = None,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        """Train a model; `aigc generate <to> ...` uses it."""
        chosen = flags.values(options, given)
        options.parse(name, chosen)
        trainer = aigc_sdk.trainer(
            name, source, device=device, revision=revision, **flags.values(config, given, renamed)
        )
        steps = trainer.steps(
            _data(data),
            max_steps=max_steps,
            seed=seed,
            validation=validation,
            evaluate_every=evaluate_every,
            save_to=to,
            save_every=save_every,
            resume="anyway" if resume and anyway else resume,
            best=best,
            **chosen,
        )
        last = _drive(steps, tracker, to)
        if as_json:
            print(
                json.dumps(
                    {"folder": str(to), "step": last and last.index, "metrics": dict(last.metrics) if last else {}}
                )
            )
        else:
            said = (
                ", ".join(f"{key} {value:.4g}" for key, value in last.metrics.items()) if last else "nothing left to do"
            )
            print(f"{to}: {said}")

    extra = [
        *flags.parameters(options, f"Options of {name}"),
        *flags.parameters(config, "A new model", renamed),
    ]
    return flags.command(train, extra)


def _data(files: list[str]) -> Any:
    return files[0] if len(files) == 1 else [Path(each) for each in files]


def _drive(steps: Any, tracker: str | None, folder: Path) -> Step | None:
    last: Step | None = None
    observers = []
    if tracker is not None:
        from .training import Tracker

        observers.append(Tracker(tracker, folder.with_name(folder.name + "-board")))  # type: ignore[arg-type]
    with aigc_sdk.using(*observers):
        for step in steps:
            last = step
    for each in observers:
        each.close()
    return last


def _evaluating(name: str) -> Callable[..., Any]:
    options: type[Options] = _class(name, "evaluator").Options

    def evaluate(
        files: Annotated[list[Path], typer.Argument(help="Files to judge.")],
        references: Annotated[list[Path] | None, typer.Option(help="As many files to compare with.")] = None,
        source: Source = None,
        device: DeviceFlag = "auto",
        dtype: DTypeFlag = "float32",
        revision: Revision = None,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        """Judge files."""
        chosen = flags.values(options, given)
        options.parse(name, chosen)
        samples = [aigc_sdk.read(each) for each in files]
        against = [aigc_sdk.read(each) for each in references] if references else None
        judge = aigc_sdk.evaluator(name, source, device=device, dtype=dtype, revision=revision)  # type: ignore[arg-type]
        report = judge.evaluate(samples, against, **chosen)
        print(json.dumps(report.to_dict(), indent=2) if as_json else report)

    return flags.command(evaluate, flags.parameters(options, f"Options of {name}"))


def _class(name: str, role: registry.Role) -> Any:
    """The class that plays `role`, for a backend's name or a folder's path."""
    backend, _ = registry._place(name, None)
    return registry.resolve(backend, role)


class _Generate(_Backends):
    make = staticmethod(_generating)


class _Train(_Backends):
    make = staticmethod(_training)


class _Evaluate(_Backends):
    make = staticmethod(_evaluating)


for _name, _group, _help in (
    ("generate", _Generate, "Generate: aigc generate gpt2 'I am' --seed 7 -o story.txt"),
    ("train", _Train, "Train: aigc train gpt2 --data FILE --to runs/mine"),
    ("evaluate", _Evaluate, "Judge files: aigc evaluate gpt2 story.txt"),
):
    _sub = typer.Typer(cls=_group, help=_help, no_args_is_help=True)
    _sub.callback()(lambda: None)
    app.add_typer(_sub, name=_name, help=_help)


@app.command()
def backends(
    check: Annotated[bool, typer.Option(help="Import each in a process of its own, and tell of faults.")] = False,
    as_json: AsJson = False,
) -> int:
    """List the installed backends; nothing of them is imported."""
    found = registry.backends(check=check)
    if as_json:
        print(json.dumps([vars(each) for each in found], indent=2))
    else:
        width = max([len(each.name) for each in found], default=0)
        for each in found:
            state = f"PROBLEM: {each.problem}" if each.problem else each.summary
            print(f"{each.name:<{width}}  {each.distribution} {each.version}  {state}")
        if not found:
            print("no backend is installed; try: pip install aigc-sdk-gpt2")
    return 1 if check and any(each.problem for each in found) else 0


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A file that aigc_sdk saved.")],
    device: Annotated[str | None, typer.Option(help="Where to run; none: where it was made.")] = None,
    as_json: AsJson = False,
) -> int:
    """Make a file's artifact again, and compare to the byte."""
    found = aigc_sdk.replay(file, device=device)
    if as_json:
        print(json.dumps({"same": found.same, "differences": list(found.differences)}, indent=2))
    else:
        print(found)
    return 0 if found.same else DIFFERS


@app.command()
def doctor(as_json: AsJson = False) -> int:
    """Examine the installation: versions, devices, backends, and packages that do not fit together."""
    from .doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([vars(each) for each in findings], indent=2))
    else:
        print("\n".join(map(str, findings)))
    return 1 if any(each.level == "problem" for each in findings) else 0


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
