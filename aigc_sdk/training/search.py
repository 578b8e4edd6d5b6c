"""Hyper-parameter search with Optuna, over the options of any trainer: their bounds say what to try.

    from aigc_sdk.training.search import search, space

    vary = space(aigc_sdk.trainer("gpt2").Options, "learning_rate", "schedule", batch_size=(4, 32))
    found = search(lambda: aigc_sdk.trainer("gpt2", width=64), text, vary=vary, max_steps=200, trials=20,
                   folder="runs/search", validation=held_out, evaluate_every=50)
    print(found.best_params)

The study is Optuna's own and lies in `folder/study.db`; so whatever Optuna can tell of a study, it can tell of this one.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import filelock

from aigc_sdk import calls, runtime, storage
from aigc_sdk.errors import (
    CorruptFolder,
    FolderError,
    MismatchedFolder,
    NotOffered,
    OptionError,
    OutOfMemory,
    TrainingDiverged,
    printable,
    suggestion,
)
from aigc_sdk.folder import LOG
from aigc_sdk.protocols import Step, Trainer

from . import processes
from .digest import data_digest
from .driver import STEPS_LIMIT
from .space import space

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial, Trial

__all__ = ["search", "space"]

Direction = Literal["minimize", "maximize"]
DATABASE, LOCK = "study.db", "search.lock"
TRIALS_LIMIT = 1_000_000
STARTUP = 4  # trials that have to end before any is compared with them
OWN = frozenset(inspect.signature(Trainer.steps).parameters)  # what `steps` takes beside options
_TRIAL = re.compile(r"trial-\d{4,}")


def search(
    open: Callable[..., Trainer[Any]],
    data: Any,
    *,
    vary: Mapping[str, BaseDistribution],
    sizes: Mapping[str, BaseDistribution] | None = None,
    max_steps: int,
    trials: int,
    folder: str | Path,
    metric: str = "validation_loss",
    direction: Direction | None = None,
    seed: int = 0,
    pruner: BasePruner | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    **arguments: Any,
) -> optuna.Study:
    """Train with many options, and return what came of each: Optuna's study, with `best_params` and `best_trial`.

    open: makes a new trainer for each trial, and one to ask what it offers.
    vary: options of a run, and what to try of each; `space` makes it of their bounds.
    sizes: likewise, of what a new model is built with; for a trial, `open` is then called with what it tries of them.
    trials: how many in all, those before a resume included.
    folder: for the study, and the run of the best trial so far, which `best_trial.user_attrs["folder"]` names.
    metric: of the Steps, such as "validation_loss"; its last value of a run is the trial's.
    direction: whether less or more of it is better; None is as the trainer says, which knows its own metrics. What a `judge=`
        finds, it does not know.
    seed: of the search, and of the training in every trial, so that trials differ by their options alone.
    pruner: says at each Step with the metric whether a trial is given up; None takes Optuna's median rule.
    on_trial: called with each trial when it has ended; raising in it ends the search.
    arguments: what `Trainer.steps` takes (`validation=`, `evaluate_every=`, `save_every=`), and options that stay the same.

    Called again with the same folder, it goes on as if never interrupted; the trial that was killed goes on from its newest
    checkpoint, where `save_every` made one. A trial that diverges, does not fit into memory or has options that do not go
    together is given up like one that is behind the others; `user_attrs["reason"]` tells which.

    Raises OptionError for what no trial could be run with, and for a metric that is in no Step; MismatchedFolder for the
    folder of another search; FolderError for one in use; MissingDependency without Optuna.
    """
    runtime.require("optuna", "aigc-sdk[search]", "hyper-parameter search")
    import optuna

    if processes.world() > 1:
        raise NotOffered("a search runs in one process; start it without torchrun or accelerate launch")
    calls.check_count("trials", trials, TRIALS_LIMIT)
    calls.check_count("max_steps", max_steps, STEPS_LIMIT)
    calls.check_seed(seed)
    trainer, built, place = open(), dict(sizes or {}), Path(folder).expanduser()
    _check(trainer, vary, built, arguments)
    wanted = direction or _direction(trainer, metric, arguments)
    record = _record(trainer, {**vary, **built}, data, metric, wanted, max_steps, seed, arguments)
    complete, pruned, failed = (optuna.trial.TrialState[each] for each in ("COMPLETE", "PRUNED", "FAIL"))
    with _alone(place):
        study = _study(place, wanted, pruner)
        _same(study, record, place)
        for killed in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            study.tell(killed.number, state=failed)
        while (number := len(_ended(study))) < trials:
            _tidy(study, place, number)
            # Seeded by how many have ended, a sampler that goes on asks what it asked before: the trial that was killed.
            study.sampler = optuna.samplers.TPESampler(seed=(seed + number) % (1 << 32))
            trial = study.ask({**vary, **built})
            run = place / f"trial-{number:04d}"
            try:
                value = _tried(trial, open, built, data, metric, run, max_steps=max_steps, seed=seed, **arguments)
            except BaseException:
                study.tell(trial, state=failed)
                raise
            study.tell(trial, value, state=pruned if value is None else complete)
            if on_trial is not None:
                on_trial(study.trials[trial.number])
        _tidy(study, place, number)
    return study


def _study(folder: Path, direction: Direction, pruner: BasePruner | None) -> optuna.Study:
    """The study in the folder; a new one where there is none."""
    import optuna
    from sqlalchemy import URL

    file = (folder / DATABASE).resolve()
    try:
        return optuna.create_study(
            study_name="search",
            storage=URL.create("sqlite", database=str(file)).render_as_string(),
            direction=direction,
            pruner=pruner or optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
            load_if_exists=True,
        )
    except Exception as error:  # of the database's driver, of Optuna's schema, of the storage
        raise CorruptFolder(f"{printable(str(file))} cannot be used as a study of Optuna: {error}") from error


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were trained to their end or given up, but not those that were killed or failed."""
    return [each for each in study.get_trials(deepcopy=False) if each.state.name in ("COMPLETE", "PRUNED")]


def _tried(
    trial: Trial,
    open: Callable[..., Trainer[Any]],
    sizes: Mapping[str, Any],
    data: Any,
    metric: str,
    run: Path,
    **arguments: Any,
) -> float | None:
    """The last value of the metric; None for a trial that is given up."""
    trial.set_user_attr("folder", str(run))
    options = {name: value for name, value in trial.params.items() if name not in sizes}
    try:
        trainer = open(**{name: trial.params[name] for name in sizes})
        steps = trainer.steps(data, save_to=run, resume=True, **options, **arguments)
        with closing(steps):  # type: ignore[type-var]
            return _watched(trial, chain(_logged(run), steps), metric, arguments["max_steps"])
    except (TrainingDiverged, OutOfMemory, OptionError) as error:
        if isinstance(error, OptionError) and error.field in {*OWN, "metric"}:
            raise  # no other trial would do better
        trial.set_user_attr("reason", str(error))
        return None


def _logged(run: Path) -> Iterator[Step]:
    """The steps up to the checkpoint that a killed trial goes on from: the driver has cut the log to them."""
    for line in (run / LOG).read_text(encoding="utf-8").splitlines():
        metrics = json.loads(line)
        yield Step(metrics.pop("step"), None, metrics)


def _watched(trial: Trial, steps: Iterator[Step], metric: str, max_steps: int) -> float | None:
    value, seen = None, set[str]()
    for step in steps:
        seen |= set(step.metrics)
        if metric not in step.metrics:
            continue
        value = step.metrics[metric]
        trial.report(value, step.index)
        if step.index < max_steps and trial.should_prune():
            trial.set_user_attr("reason", f"behind the others at step {step.index}")
            return None
    if value is None:
        listed = f"{suggestion(metric, seen)} There are: {', '.join(sorted(seen))}."
        raise OptionError(f"metric: no step has {metric!r}; was `validation=` left out?{listed}", field="metric")
    return value


def _check(
    trainer: Trainer[Any], vary: Mapping[str, Any], sizes: Mapping[str, Any], arguments: Mapping[str, Any]
) -> None:
    """Refuse what no trial could be run with."""
    from optuna.distributions import BaseDistribution

    owner = type(trainer).__name__
    if not vary and not sizes:
        raise OptionError("vary is empty, so there is nothing to try; name options by `space`", field="vary")
    for given, names, known in (("vary", vary, trainer.Options), ("sizes", sizes, trainer.Config)):
        for name in names:
            if name not in known.model_fields:
                listed = f"{suggestion(name, known.model_fields)} Options: {', '.join(known.model_fields) or 'none'}."
                raise OptionError(f"{given}: {owner} has no option {name!r}.{listed}", field=given)
        for name, each in names.items():
            if not isinstance(each, BaseDistribution):
                raise OptionError(f"{given}: {name} is a {type(each).__name__}; make it by `space`", field=given)
    for name in vary:
        if name in sizes or name in arguments:
            raise OptionError(f"{name} is in vary, and given a second time; leave one of them out", field=name)
    for name in ("save_to", "resume"):
        if name in arguments:
            raise OptionError(f"{name}: a search sets it for each trial; leave it out, and pass folder=", field=name)
    trainer.Options.parse(owner, _fixed(arguments))


def _direction(trainer: Trainer[Any], metric: str, arguments: Mapping[str, Any]) -> Direction:
    name = metric.removeprefix("validation_")
    if "judge" in arguments and name not in {"loss", *trainer.rising}:
        raise OptionError(
            f'direction: is more or less of {metric!r} better? Say "maximize" or "minimize"', field="direction"
        )
    return "maximize" if name in trainer.rising else "minimize"


def _fixed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options among what `Trainer.steps` is given."""
    return {name: value for name, value in arguments.items() if name not in OWN}


def _record(
    trainer: Trainer[Any],
    tried: Mapping[str, BaseDistribution],
    data: Any,
    metric: str,
    direction: Direction,
    max_steps: int,
    seed: int,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """What makes a search this one and no other: JSON values."""
    from optuna.distributions import distribution_to_json

    owner = type(trainer)
    return {
        "trainer": f"{owner.__module__}.{owner.__qualname__}",
        "what is tried": {name: json.loads(distribution_to_json(each)) for name, each in tried.items()},
        "options": trainer.Options.parse(owner.__name__, _fixed(arguments)).model_dump(mode="json", exclude={*tried}),
        "data": data_digest(data),
        "validation": data_digest(arguments.get("validation")),
        "metric": metric,
        "direction": direction,
        "max_steps": max_steps,
        "evaluate_every": arguments.get("evaluate_every"),
        "seed": seed,
    }


def _same(study: optuna.Study, record: Mapping[str, Any], folder: Path) -> None:
    """Write down what this search is, or refuse a folder in which another was begun."""
    before = study.user_attrs.get("search")
    if before is None or not _ended(study):
        study.set_user_attr("search", dict(record))
        return
    changed = [name for name, value in record.items() if before.get(name) != value]
    if changed:
        raise MismatchedFolder(
            f"the search in {printable(str(folder))} is another one: {', '.join(changed)} changed. Go on as it was begun, or "
            "choose another folder"
        )


def _tidy(study: optuna.Study, folder: Path, number: int) -> None:
    """Remove the runs that have ended, but for the best one's; what they reported is in the study."""
    kept = {f"trial-{number:04d}"}
    if any(each.state.name == "COMPLETE" for each in _ended(study)):
        kept.add(Path(study.best_trial.user_attrs["folder"]).name)
    for each in folder.iterdir():
        if _TRIAL.fullmatch(each.name) and each.name not in kept:
            shutil.rmtree(each)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else searches in the folder, and it holds nothing but a search."""
    with storage.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = {each.name for each in folder.iterdir()}
    if found and not found & {DATABASE, LOCK}:
        raise FolderError(f"folder={printable(str(folder))!r} holds other things; choose a new or empty folder")
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            yield
    except filelock.Timeout as error:
        raise FolderError(f"another process searches in {printable(str(folder))!r}; wait for it to end") from error
