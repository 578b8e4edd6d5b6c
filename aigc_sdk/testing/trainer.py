"""The checks for trainers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigc_sdk import Evaluator, Generator, Step, Trainer
from aigc_sdk.errors import AigcError, FolderError, InputError, MismatchedFolder, OptionError

from . import contract
from .contract import Contract

STEPS = 4


class TrainerContract(Contract):
    """Give a `make` fixture, which opens a small trainer, always the same one, and `data` to train on."""

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

    def test_an_unknown_option_is_refused(self, make: Callable[[], Trainer[Any]], data: Any) -> None:
        trainer = make()
        contract.refuses_unknown_options(lambda **given: trainer.steps(data, max_steps=1, **given), trainer.Options)

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
            with pytest.raises(OptionError):
                trainer.steps(data, **arguments)

    def test_bad_data_is_refused(
        self, make: Callable[[], Trainer[Any]], bad_data: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        for index, bad in enumerate(bad_data):
            with pytest.raises(InputError):
                make().fit(bad, max_steps=1, save_to=tmp_path / str(index), **options)

    def test_one_step_per_update(self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]) -> None:
        steps = list(make().steps(data, max_steps=STEPS, **options))
        assert [each.index for each in steps] == list(range(1, STEPS + 1))
        assert all(each.total == STEPS for each in steps)
        assert all(isinstance(value, float) for each in steps for value in each.metrics.values())
        assert steps[-1].metrics, "a Step tells what was reached: give it a loss"

    def test_the_same_seed_gives_the_same_model(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]
    ) -> None:
        first, second = make(), make()
        assert list(first.steps(data, max_steps=STEPS, seed=3, **options)) == list(
            second.steps(data, max_steps=STEPS, seed=3, **options)
        )
        assert _frozen(first.state_dict()) == _frozen(second.state_dict())

    def test_the_callers_state_stays(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]
    ) -> None:
        trainer = make()
        with contract.untouched():
            for _ in trainer.steps(data, max_steps=STEPS, **options):
                with contract.untouched():
                    pass

    def test_state_goes_on_exactly(self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any]) -> None:
        """Two steps, state_dict, load_state_dict into another trainer, two more: the same as four."""
        whole = make()
        expected = list(whole.steps(data, max_steps=STEPS, seed=5, **options))
        first = make()
        for step in first.steps(data, max_steps=STEPS, seed=5, **options):
            if step.index == STEPS // 2:
                state = _copied(first.state_dict())
                break
        second = make()
        second.load_state_dict(state)
        from aigc_sdk.protocols import Fit

        run = second.run(data, Fit(STEPS, 5, second.Options.parse("trainer", options)))
        rest = _isolated(second, run)
        second.settle()
        assert rest == expected[STEPS // 2 :]
        assert _frozen(second.state_dict()) == _frozen(whole.state_dict())

    def test_a_run_that_was_left_resumes_exactly(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        whole = make()
        whole.fit(data, max_steps=STEPS, seed=1, save_to=tmp_path / "whole", **options)
        for step in make().steps(data, max_steps=STEPS, seed=1, save_to=tmp_path / "left", **options):
            if step.index == 1:
                break
        resumed = make()
        resumed.fit(data, max_steps=STEPS, seed=1, save_to=tmp_path / "left", resume=True, **options)
        assert _frozen(resumed.state_dict()) == _frozen(whole.state_dict())
        assert (tmp_path / "left/log.jsonl").read_bytes() == (tmp_path / "whole/log.jsonl").read_bytes()

    def test_another_run_is_not_resumed(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        make().fit(data, max_steps=1, seed=1, save_to=tmp_path / "run", **options)
        with pytest.raises(FolderError):
            make().steps(data, max_steps=1, seed=1, save_to=tmp_path / "run", **options)
        with pytest.raises(MismatchedFolder):
            make().steps(data, max_steps=1, seed=2, save_to=tmp_path / "run", resume=True, **options)

    def test_the_checkpoint_holds_no_pickle(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        make().fit(data, max_steps=1, save_to=tmp_path / "run", **options)
        contract.holds_a_model(tmp_path / "run/checkpoint-000001")
        contract.holds_a_model(tmp_path / "run/model")

    def test_an_error_in_the_loop_leaves_a_sound_checkpoint(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        def stop(step: Step) -> None:
            if step.index == 2:
                raise KeyError("enough")

        with pytest.raises(KeyError, match="enough"):
            make().fit(data, max_steps=STEPS, save_to=tmp_path / "run", save_every=1, on_step=stop, **options)
        again = make()
        again.fit(data, max_steps=STEPS, save_to=tmp_path / "run", resume=True, **options)
        lines = (tmp_path / "run/log.jsonl").read_text().splitlines()
        assert [json.loads(each)["step"] for each in lines] == list(range(1, STEPS + 1))

    def test_what_was_trained_is_a_model(
        self, make: Callable[[], Trainer[Any]], data: Any, options: dict[str, Any], tmp_path: Path
    ) -> None:
        model = make().fit(data, max_steps=1, **options)
        assert isinstance(model, Generator | Evaluator)
        model.save(tmp_path / "model")
        type(model).open(tmp_path / "model", device="cpu")

    def test_a_foreign_state_is_refused(self, make: Callable[[], Trainer[Any]]) -> None:
        with pytest.raises((AigcError, KeyError)):
            make().load_state_dict({"something": "else"})


def _isolated(trainer: Trainer[Any], run: Any) -> list[Step]:
    from aigc_sdk.runtime import LentState

    lent, steps = LentState(0, trainer.device), list[Step]()
    while True:
        with lent:
            step = next(run, None)
        if step is None:
            return steps
        steps.append(step)


def _copied(state: Any) -> Any:
    import copy

    return copy.deepcopy(state)


def _frozen(value: Any) -> Any:
    """A state in a form that compares by content."""
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_frozen(each) for each in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return (str(value.dtype), tuple(value.shape), value.contiguous().view(-1).numpy().tobytes())
    if hasattr(value, "tobytes"):
        return (str(value.dtype), tuple(value.shape), value.tobytes())
    return value
