"""What happens around a trainer's `run`: checks, resume, checkpoints, validation, log, signals, progress.

runs/mine/  run.json (what the run is), log.jsonl, checkpoint-000500/, best/, model/ (when it is finished);
            samples/ and report.html (with preview_every)
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aigc_sdk import calls, storage
from aigc_sdk.errors import (
    AigcError,
    DataError,
    FolderError,
    MismatchedFolder,
    OptionError,
    TrainingDiverged,
    printable,
)
from aigc_sdk.folder import FINAL, LOG, RUN, read_json
from aigc_sdk.protocols import Fit, Report, Score, Step, Trainer
from aigc_sdk.runtime import LentState

from . import checkpoint, processes, report
from ._signals import Signals
from .digest import data_digest, prepared_fingerprint

BEST = "best"
STEPS_LIMIT = 1_000_000_000
_VALIDATION = "validation_"

Judge: TypeAlias = Callable[[Any], Report | Mapping[str, Score | float]]


def drive(
    trainer: Trainer[Any],
    data: Any,
    *,
    max_steps: int,
    seed: int,
    validation: Any,
    judge: Judge | None,
    evaluate_every: int | None,
    save_to: str | Path | None,
    save_every: int | None,
    preview_every: int | None,
    resume: bool | Literal["anyway"],
    best: str | None,
    on_step: Callable[[Step], None] | None,
    progress: bool | None,
    options: Mapping[str, Any],
) -> Iterator[Step]:
    """The body of `Trainer.steps`; not a generator function, so that bad input is refused at the call."""
    owner = type(trainer).__name__
    processes.check()
    count = partial(calls.check_count, most=STEPS_LIMIT)
    fit = Fit(count("max_steps", max_steps), calls.check_seed(seed), trainer.Options.parse(owner, options))
    evaluate_every = None if evaluate_every is None else count("evaluate_every", evaluate_every)
    save_every = None if save_every is None else count("save_every", save_every)
    if data is None:
        raise DataError("data is None; pass what to train on", field="data")
    if evaluate_every is not None and validation is None and judge is None:
        raise OptionError("evaluate_every needs validation data or a judge; pass validation=", field="evaluate_every")
    if judge is not None and not callable(judge):
        raise OptionError(f"judge is a {type(judge).__name__}; pass a function of the model", field="judge")
    preview_every = None if preview_every is None else count("preview_every", preview_every)
    for name, wanted in {"resume": resume, "save_every": save_every, "preview_every": preview_every}.items():
        if wanted and save_to is None:
            raise OptionError(f"{name} needs a folder to write to; pass save_to=", field=name)
    if resume not in (False, True, "anyway"):
        raise OptionError(f"resume={resume!r}: use True, False or 'anyway'", field="resume")
    trainer.check(data, validation, fit)
    run = _Run(trainer, data, fit, validation, judge, evaluate_every, save_every, preview_every, best)
    if save_to is not None:
        run.open(Path(save_to).expanduser(), resume)
    return run.steps(on_step, progress)


class _Run:
    """One run of one trainer."""

    def __init__(
        self,
        trainer: Trainer[Any],
        data: Any,
        fit: Fit,
        validation: Any,
        judge: Judge | None,
        evaluate_every: int | None,
        save_every: int | None,
        preview_every: int | None,
        best: str | None,
    ) -> None:
        self.trainer = trainer
        self.data = data
        self.fit = fit
        self.validation = validation
        self.judge = judge
        self.evaluate_every = evaluate_every
        self.save_every = save_every
        self.preview_every = preview_every
        self.best = best
        self.best_values: list[float] = []
        self.folder: Path | None = None
        self.done = 0
        self.saved: int | None = None
        self.sound = True
        self.ended = False
        self.lent = LentState(fit.seed, trainer.device)

    def open(self, folder: Path, resume: bool | Literal["anyway"]) -> None:
        """Take the folder for this run: a new one, or one to go on with."""
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise FolderError(f"save_to={printable(str(folder))!r} is a file; choose a folder")
        started = (folder / RUN).is_file()
        others = [each for each in folder.iterdir() if storage.TEMPORARY not in each.name] if folder.is_dir() else []
        if not started and others and processes.is_main():
            raise FolderError(f"save_to={printable(str(folder))!r} holds other things; choose a new or empty folder")
        if started and not resume and processes.is_main():
            raise FolderError(
                f"save_to={printable(str(folder))!r} holds a run already; pass resume=True to go on with it, or choose "
                "another folder"
            )
        record = describe(self.trainer, self.data, self.fit)
        if started and resume:
            self._resume(folder, record, anyway=resume == "anyway")
        if processes.is_main():
            with storage.disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                storage.sweep(folder)
            # First of all: a folder with anything else and without this file would be taken for somebody else's.
            storage.write_file(folder / RUN, storage.json_bytes(record))
            with storage.disk_errors(folder):
                self._cut_log()
                report.cut_samples(folder, self.done)

    def steps(self, on_step: Callable[[Step], None] | None, progress: bool | None) -> Iterator[Step]:
        """Drive the trainer, and hand on its steps."""
        watch = calls.watcher(on_step, self.trainer)
        with ExitStack() as stack:
            signals = stack.enter_context(Signals(self._save))
            bar = stack.enter_context(_bar(progress))
            run = self.trainer.run(self.data, self.fit)
            stack.callback(getattr(run, "close", lambda: None))
            try:
                while True:
                    with signals.working():
                        step = self._next(run)
                    if step is None:
                        break
                    bar(step)
                    watch(step)
                    yield step
            except (AigcError, ArithmeticError):
                self.sound = False  # a step that failed is no place to go on from
                raise
            finally:
                if self.sound and sys.exc_info()[0] in (None, GeneratorExit, KeyboardInterrupt):
                    self._finish()

    def _next(self, run: Iterator[Step]) -> Step | None:
        """One update, with everything that belongs to it: validation, log, checkpoint."""
        self.sound = False
        with self.lent:
            step = next(run, None)
        if step is None:
            self.sound = self.ended = True
            return None
        self.done = step.index
        last = step.index == self.fit.max_steps
        judged = self.validation is not None or self.judge is not None
        if judged and (last or (self.evaluate_every and step.index % self.evaluate_every == 0)):
            step = Step(step.index, step.total, {**step.metrics, **self._validate(step.index)})
        self._log(step)
        self.sound = True
        if self.preview_every and (last or step.index % self.preview_every == 0):
            self._preview(step.index)
        if self.save_every and step.index % self.save_every == 0:
            self._save()
        return step

    def _validate(self, step: int) -> dict[str, float]:
        values: dict[str, float] = {}
        rising = set(self.trainer.rising)
        with self.trainer.averaged():
            if self.validation is not None:
                with self.lent:
                    values.update(self.trainer.validate(self.validation, self.fit))
            if self.judge is not None:
                with LentState(self.fit.seed, self.trainer.device):
                    found = _figures(self.judge(self.trainer.model))
                values.update({name: value for name, (value, _) in found.items()})
                rising.update(name for name, (_, higher) in found.items() if higher)
            values = {name: float(value) for name, value in values.items()}
            if self._is_best(values, rising, step) and self.folder is not None and processes.is_main():
                self.trainer.model.save(self.folder / BEST)
        return {f"{_VALIDATION}{name}": value for name, value in values.items()}

    def _preview(self, step: int) -> None:
        """Samples of the model as it is, from one random state each time; the run goes on as if there were none."""
        with LentState(self.fit.seed, self.trainer.device), self.trainer.averaged():
            if self.folder is not None and processes.is_main():
                made = self.trainer.preview(self.fit)
                report.write_samples(self.folder, step, made, type(self.trainer).__name__)

    def _is_best(self, found: Mapping[str, float], rising: Set[str], step: int) -> bool:
        name = self._decisive(found)
        if name not in found:
            raise OptionError(f"best={name!r} is no validation metric; there are: {', '.join(found)}", field="best")
        value, before = found[name], list(self.best_values)
        if value != value:
            raise TrainingDiverged(f"{_VALIDATION}{name} became NaN at step {step}; try a lower learning rate")
        self.best_values.append(value)
        return all(value > each if name in rising else value < each for each in before)

    def _decisive(self, found: Mapping[str, float]) -> str:
        """The metric that says which model is the best: the one that was asked for, or the loss, or the first."""
        return self.best or ("loss" if "loss" in found else next(iter(found), "loss"))

    def _save(self) -> None:
        """A checkpoint of the step that was made last, unless there is one."""
        if self.folder is None or not self.sound or self.done == 0 or self.saved == self.done:
            return
        state = self.trainer.state_dict()
        if processes.is_main():
            checkpoint.save(self.folder, self.done, self._write_model, state)
        else:
            self._write_model(self.folder)
        self.saved = self.done

    def _finish(self) -> None:
        """The end of a run, early or not: a checkpoint, `model/` if it is complete, and the averaged weights for good.

        It is complete after `max_steps`, or when the trainer itself ended it: a metric has stopped improving, say.
        """
        complete = self.ended or self.done == self.fit.max_steps
        self._save()
        if self.folder is not None and complete:
            self._write_model(self.folder / FINAL)
        self.trainer.settle()
        if self.folder is not None and self.preview_every and processes.is_main():
            report.write_report(self.folder)  # last, so that nothing is lost where the page cannot be written
        if self.folder is not None and complete:
            processes.wait()  # a process that was stopped early, perhaps alone, must not

    def _write_model(self, folder: Path) -> None:
        """The first process writes, and all take part: each may hold only a part of the weights."""
        with self.trainer.averaged():
            if processes.is_main():
                self.trainer.model.save(folder)

    def _resume(self, folder: Path, record: Mapping[str, Any], *, anyway: bool) -> None:
        changes = list(_changes(read_json(folder / RUN), record))
        if changes and not anyway:
            raise MismatchedFolder(
                f"the run in {printable(str(folder))} is another one: {'; '.join(changes)}. Go on as it was begun, pass "
                "resume='anyway' to go on nevertheless, or choose another folder"
            )
        if changes:
            warnings.warn(f"resuming although {'; '.join(changes)}", RuntimeWarning, stacklevel=5)
        found = checkpoint.newest(folder)
        if found is None:
            return
        self.trainer.load_state_dict(found.state)
        self.done = self.saved = found.step

    def _log(self, step: Step) -> None:
        if self.folder is None or not processes.is_main():
            return
        with storage.disk_errors(self.folder / LOG), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step.index, **step.metrics}) + "\n")

    def _cut_log(self) -> None:
        """Leave the lines up to the step that the run goes on from, and find the best validation among them."""
        if self.folder is None:
            return
        path = self.folder / LOG
        lines = path.read_bytes().splitlines(keepends=True)[: self.done] if path.exists() else []
        storage.write_file(path, b"".join(lines))
        for line in lines:
            metrics = json.loads(line).items()
            found = {name.removeprefix(_VALIDATION): value for name, value in metrics if name.startswith(_VALIDATION)}
            if found:
                self.best_values.append(found[self._decisive(found)])


def _figures(found: Any) -> dict[str, tuple[float, bool]]:
    """What a judge said: value, and whether more is better; a plain number is a loss."""
    if isinstance(found, Report):
        return {name: (score.value, score.higher_is_better) for name, score in found.scores.items()}
    if isinstance(found, Mapping) and all(isinstance(each, int | float | Score) for each in found.values()):
        return {
            name: (each.value, each.higher_is_better) if isinstance(each, Score) else (each, False)
            for name, each in found.items()
        }
    raise OptionError(f"judge returned a {type(found).__name__}; return a Report, or Scores by name", field="judge")


def describe(trainer: Trainer[Any], data: Any, fit: Fit) -> dict[str, Any]:
    """What makes a run this run and no other."""
    torch = sys.modules.get("torch")
    return {
        "format": 1,
        "trainer": f"{type(trainer).__module__}.{type(trainer).__qualname__}",
        "seed": fit.seed,
        "max_steps": fit.max_steps,
        "options": fit.options.model_dump(mode="json"),
        "data": data_digest(data),
        "prepared": prepared_fingerprint(data),
        "torch": None if torch is None else str(torch.__version__),
        "processes": f"{processes.world()}, sharded" if processes.sharded() else processes.world(),
    }


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in ("trainer", "seed", "max_steps", "torch", "processes"):
        if key == "torch" and None in (before.get(key), now[key]):
            continue  # a trainer that does without it, beside somebody who imported it in one of the two processes
        if before.get(key) != now[key]:
            yield f"{key} was {printable(repr(before.get(key)))}, is {now[key]!r}"
    old, new = before.get("options") or {}, now["options"]
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield f"the option {key} was {printable(repr(old.get(key)))}, is {new.get(key)!r}"
    if before.get("data") != now["data"]:
        yield "the data has changed"


def _bar(progress: bool | None) -> Any:
    on = progress or (progress is None and sys.stderr is not None and sys.stderr.isatty())
    if on and processes.is_main():
        from aigc_sdk.progress import Bar

        return Bar("training")
    return nullcontext(lambda step: None)
