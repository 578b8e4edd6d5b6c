"""The checks for trainers."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from aigc_sdk import Evaluator, Fit, Generator, Step, Trainer
from aigc_sdk.errors import AigcError, FolderError, InputError, MismatchedFolder, OptionError, TrainingDiverged
from aigc_sdk.runtime import LentState

from . import contract
from .contract import Contract

STEPS = 4
_KILLED = "AIGC_SDK_KILLED_RUN"  # names the folder, in the process that is to be killed


class TrainerContract(Contract):
    """Give a `make` fixture, which opens a small trainer, always the same one, and `data` to train on."""

    best = "loss"
    """A metric of `validate`."""

    @pytest.fixture
    def make(self) -> Callable[[], Trainer[Any]]:
        """Opens the trainer under test anew."""
        raise NotImplementedError("give a fixture `make` that returns a function that opens a small Trainer")

    @pytest.fixture
    def data(self) -> Any:
        """What to train on; it can be read several times."""
        raise NotImplementedError("give a fixture `data`")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """Options that make a run quick."""
        return {}

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        """Data that cannot be trained on."""
        return [None, [], 7]

    def test_every_option_is_described(self, make: Callable[[], Trainer[Any]]) -> None:
        contract.describes_every_option(make().Options)
        contract.describes_every_option(make().Config)

    def test_every_number_has_bounds(self, make: Callable[[], Trainer[Any]]) -> None:
        contract.bounds_every_number(make().Options)
        contract.bounds_every_number(make().Config)

    def test_an_unknown_option_is_refused(self, make: Callable[[], Trainer[Any]], data: Any) -> None:
        trainer = make()
        contract.refuses_unknown_options(lambda **given: trainer.steps(data, max_steps=1, **given), trainer.Options)

    def test_an_unknown_configuration_is_refused(self, make: Callable[[], Trainer[Any]]) -> None:
        cls = type(make())
        contract.refuses_unknown_options(lambda **given: cls.open(device="cpu", **given), cls.Config)

    def test_bad_arguments_are_refused_at_the_call(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]
    ) -> None:
        trainer = make()
        wrong: list[dict[str, Any]] = [
            {"max_steps": 0},
            {"max_steps": 1.5},
            {"seed": -1},
            {"save_every": 1},
            {"resume": True},
        ]
        for bad in wrong:
            arguments: dict[str, Any] = {"max_steps": 1, **bad, **options}
            with contract.refuses(OptionError, f"steps({bad})", "leave `steps` to the base class, which checks it"):
                trainer.steps(data, **arguments)

    def test_bad_data_is_refused_at_the_call_and_nothing_written(
        self, make: Callable[[], Trainer[Any]], bad_data: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        for index, bad in enumerate(bad_data):
            folder = tmp_path / str(index)
            with contract.refuses(InputError, f"data={bad!r}", "refuse it in `check`, which runs before anything else"):
                make().steps(bad, max_steps=1, save_to=folder, **options)
            assert not folder.exists(), f"data={bad!r} is refused after {folder.name} was written"

    def test_one_step_per_update(self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]) -> None:
        steps = list(make().steps(data, max_steps=STEPS, **options))
        counts = [(each.index, each.total) for each in steps]
        assert counts == [(index, STEPS) for index in range(1, STEPS + 1)], f"max_steps={STEPS} gives {counts}"
        assert all(each.metrics for each in steps), "a Step tells what was reached: give it a loss"
        wrong = {
            k: v for each in steps for k, v in each.metrics.items() if type(v) is not float or not math.isfinite(v)
        }
        assert not wrong, f"metrics are finite floats; these are not: {wrong}"

    def test_a_second_run_counts_from_one(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]
    ) -> None:
        trainer = make()
        counts = [[each.index for each in trainer.steps(data, max_steps=2, **options)] for _ in range(2)]
        assert counts == [[1, 2]] * 2, f"two runs of 2 steps count {counts}; only a loaded state is gone on from"

    def test_the_same_seed_gives_the_same_model(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]
    ) -> None:
        first, second = make(), make()
        steps = [list(each.steps(data, max_steps=STEPS, seed=3, **options)) for each in (first, second)]
        assert steps[0] == steps[1], "the same seed gives other steps; make all randomness of (fit.seed, step)"
        assert _frozen(first.state_dict()) == _frozen(second.state_dict()), "the same seed gives another model"

    def test_the_callers_state_stays(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]
    ) -> None:
        trainer = make()
        with contract.untouched() as check:
            for _ in trainer.steps(data, max_steps=STEPS, **options):
                check()

    def test_state_goes_on_exactly(self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]) -> None:
        """Two steps, state_dict, load_state_dict into another trainer, two more: the same as four."""
        whole = make()
        expected = list(whole.steps(data, max_steps=STEPS, seed=5, **options))
        first = make()
        for step in first.steps(data, max_steps=STEPS, seed=5, **options):
            if step.index == STEPS // 2:
                state = copy.deepcopy(first.state_dict())
                break
        second = make()
        second.load_state_dict(state)
        rest = _driven(second, data, Fit(STEPS, 5, second.Options.parse("trainer", options)))
        assert rest == expected[STEPS // 2 :], "loaded into another trainer, state_dict() goes on otherwise; is it all?"
        assert _frozen(second.state_dict()) == _frozen(whole.state_dict()), "the state in the end is another one"

    def test_a_run_that_was_left_resumes_exactly(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        for step in make().steps(data, max_steps=STEPS, seed=1, save_to=tmp_path / "run", **options):
            if step.index == 1:
                break
        _resumes_exactly(make, data, options, tmp_path)

    def test_a_finished_run_resumes_to_its_end(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        """Where a run is killed after its last checkpoint."""
        make().fit(data, max_steps=STEPS, seed=1, save_to=tmp_path / "run", **options)
        _resumes_exactly(make, data, options, tmp_path)

    def test_a_killed_run_resumes_exactly(
        self,
        request: pytest.FixtureRequest,
        make: Callable[[], Trainer[Any]],
        data: Any,
        options: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        """SIGKILL at a random moment, in a process of its own that runs this very check; resumed in this one."""
        if _KILLED in os.environ:
            _train_until_killed(make(), data, options, os.environ[_KILLED])
        if sys.platform == "win32":
            pytest.skip("there is no SIGKILL")
        done = contract.run_this_check(request, {_KILLED: str(tmp_path / "run")})
        assert done.returncode == -signal.SIGKILL, (
            f"it failed before it was killed: {done.stdout[-3000:]}{done.stderr[-500:]}"
        )
        _resumes_exactly(make, data, options, tmp_path)

    def test_another_run_is_not_resumed(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        advice = "leave `steps` to the base class"
        make().fit(data, max_steps=1, seed=1, save_to=tmp_path / "run", **options)
        with contract.refuses(FolderError, "a folder that holds a run", advice):
            make().steps(data, max_steps=1, seed=1, save_to=tmp_path / "run", **options)
        with contract.refuses(MismatchedFolder, "resuming with another seed", advice):
            make().steps(data, max_steps=1, seed=2, save_to=tmp_path / "run", resume=True, **options)

    def test_a_saved_folder_holds_data_alone(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        make().fit(data, max_steps=1, save_to=tmp_path / "run", **options)
        contract.holds_a_model(tmp_path / "run/checkpoint-000001")
        contract.holds_a_model(tmp_path / "run/model")

    def test_an_error_in_the_loop_leaves_a_sound_checkpoint(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        with pytest.raises(KeyError):
            make().fit(data, max_steps=STEPS, save_to=tmp_path / "run", save_every=1, on_step=_stop_at_two, **options)
        again = make().steps(data, max_steps=STEPS, save_to=tmp_path / "run", resume=True, **options)
        indices = [each.index for each in again]
        assert indices == list(range(3, STEPS + 1)), (
            f"after an error at step 2 the run resumes with the steps {indices}"
        )
        logged = [json.loads(each)["step"] for each in (tmp_path / "run/log.jsonl").read_text().splitlines()]
        assert logged == list(range(1, STEPS + 1)), f"log.jsonl has the steps {logged}"

    def test_saving_and_validating_change_nothing(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        plain, watched = make(), make()
        expected = [each.metrics for each in plain.steps(data, max_steps=STEPS, seed=2, **options)]
        watch: dict[str, Any] = {"save_to": tmp_path / "run", "save_every": 1}
        if type(plain).validate is not Trainer.validate:
            watch |= {"validation": data, "evaluate_every": 1, "best": self.best}
        steps = list(watched.steps(data, max_steps=STEPS, seed=2, **watch, **options))
        found = [{k: v for k, v in each.metrics.items() if not k.startswith("validation_")} for each in steps]
        assert found == expected, "a run that is validated and saved takes other steps than one that is not"
        assert _frozen(watched.state_dict()) == _frozen(plain.state_dict()), (
            "`validate` or `save` changes what is trained"
        )

    def test_nan_stops_the_run_and_is_not_saved(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        trainer = make()
        state, arrays = _poisoned(trainer.state_dict())
        if not arrays:
            pytest.skip("nothing that it trains can become NaN")
        with contract.refuses(TrainingDiverged, "training with NaN for weights", "see aigc_sdk.training.Loop"):
            trainer.load_state_dict(state)
            trainer.fit(data, max_steps=STEPS, save_to=tmp_path / "run", save_every=1, **options)
        left = [each.name for each in (tmp_path / "run").iterdir() if each.is_dir()]
        assert not left, f"NaN was saved in {', '.join(left)}; raise before the Step of that update is yielded"

    def test_what_was_trained_is_a_model(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        model = make().fit(data, max_steps=1, **options)
        assert isinstance(model, Generator | Evaluator), f"fit returns a {type(model).__name__}, which is no model"
        model.save(tmp_path / "model")
        type(model).open(tmp_path / "model", device="cpu")

    def test_a_foreign_state_is_refused(self, make: Callable[[], Trainer[Any]]) -> None:
        with contract.refuses(AigcError, "the state of something else", "raise MismatchedFolder in load_state_dict"):
            make().load_state_dict({"something": "else"})

    def test_what_is_no_model_is_refused(self, make: Callable[[], Trainer[Any]], tmp_path: Path) -> None:
        contract.refuses_what_is_no_model(type(make()), tmp_path / "empty")


def _driven(trainer: Trainer[Any], data: Any, fit: Fit) -> list[Step]:
    """The steps of `run` alone, in a random state of their own."""
    run, lent, steps = trainer.run(data, fit), LentState(0, trainer.device), list[Step]()
    while True:
        with lent:
            step = next(run, None)
        if step is None:
            trainer.settle()
            return steps
        steps.append(step)


def _resumes_exactly(make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], folder: Path) -> None:
    """What was begun in `run` ends as a run that nothing interrupts."""
    whole, resumed = make(), make()
    whole.fit(data, max_steps=STEPS, seed=1, save_to=folder / "whole", **options)
    resumed.fit(data, max_steps=STEPS, seed=1, save_to=folder / "run", resume=True, **options)
    assert _frozen(resumed.state_dict()) == _frozen(whole.state_dict()), (
        "resumed, training ends with another state; state_dict() must hold all that a run needs, and survive a checkpoint"
    )
    logs = [(folder / name / "log.jsonl").read_bytes() for name in ("run", "whole")]
    assert logs[0] == logs[1], "the log of a resumed run differs; data and randomness are functions of (seed, step)"


def _train_until_killed(trainer: Trainer[Any], data: Any, options: dict[str, Any], folder: str) -> NoReturn:
    """A timer kills the process some time after the first step, or the last step does."""

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    started = time.perf_counter()
    for step in trainer.steps(data, max_steps=STEPS, seed=1, save_to=folder, save_every=1, **options):
        if step.index == 1:
            threading.Timer(random.SystemRandom().uniform(0, time.perf_counter() - started), kill).start()
        if step.index == STEPS:
            kill()
    raise AssertionError(f"the run ends before step {STEPS}")


def _stop_at_two(step: Step) -> None:
    if step.index == 2:
        raise KeyError("enough")


def _poisoned(value: Any) -> tuple[Any, int]:
    """A copy of a state with NaN in all floating arrays, and how many there are."""
    arrays = 0

    def walk(value: Any) -> Any:
        nonlocal arrays
        if isinstance(value, dict):
            return {key: walk(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(walk(each) for each in value)
        if not hasattr(value, "dtype") or "float" not in str(value.dtype):
            return copy.deepcopy(value)
        arrays += 1
        return value * math.nan

    return walk(value), arrays


def _frozen(value: Any) -> Any:
    """A state in a form that compares by content."""
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_frozen(each) for each in value]
    if hasattr(value, "detach"):
        bytes_ = value.detach().cpu().contiguous().view(-1).view(sys.modules["torch"].uint8)  # numpy has no bfloat16
        return (str(value.dtype), tuple(value.shape), bytes_.numpy().tobytes())
    if hasattr(value, "tobytes"):
        return (str(value.dtype), tuple(value.shape), value.tobytes())
    return value
