"""`aigc generate`, `train` and `evaluate`: a command for each backend, with the flags that its Options make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import aigc_sdk

from . import calls, registry
from ._command_groups import PLAIN, AsJson, Backends, DeviceFlag, DTypeFlag, Revision, Seed, Source
from ._terminal import print_json, shown
from .artifacts import Artifact, Text
from .errors import DataError, InputError, PromptError, UnknownBackend, printable

if TYPE_CHECKING:
    from .protocols import Generator, Step


def add_to(app: typer.Typer) -> None:
    """Add the three commands."""
    for name, group, arguments, help, example in (
        ("generate", _Generate, "[PROMPT]...", "Generate artifacts.", "gpt2 'I am' --seed 7 -o story.txt"),
        ("train", _Train, "--data FILE --to FOLDER", "Train a model.", "gpt2 --data story.txt --to runs/mine"),
        ("evaluate", _Evaluate, "FILE...", "Judge files, or folders of them.", "gpt2 story.txt"),
    ):
        sub = typer.Typer(**PLAIN)
        sub.callback()(lambda: None)
        app.add_typer(
            sub,
            name=name,
            cls=group,
            help=f"{help} BACKEND is a name, or the path of a model's folder.",
            short_help=help,
            epilog=f"Each backend has options of its own: aigc {name} BACKEND --help\n\nExample: aigc {name} {example}",
            subcommand_metavar=f"BACKEND {arguments} [OPTIONS]",
        )


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
        print_json([_described(each, paths[index] if paths else None) for index, each in enumerate(made)])
    else:
        print(shown("\n".join(map(str, paths or made))))


def _described(artifact: Artifact, path: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": artifact.kind, "sample": artifact.sample}
    if isinstance(artifact, Text):
        found["text"] = artifact.text
    return found | {"path": path and str(path), "info": dict(artifact.info), "origin": dict(artifact.origin)}


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
            print_json({"folder": str(to), "step": last.index if last else max_steps, "metrics": metrics})
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
            print_json(report.to_dict())
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


class _Generate(Backends):
    make = staticmethod(_generating)


class _Train(Backends):
    make = staticmethod(_training)


class _Evaluate(Backends):
    make = staticmethod(_evaluating)
