"""Hyper-parameter search: spaces that the bounds make, trials that end early, and studies that go on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from pydantic import Field, model_validator

import aigc_sdk
from aigc_sdk import Fit, Options, Step
from aigc_sdk.errors import CorruptFolder, DataError, FolderError, MismatchedFolder, OptionError, TrainingDiverged
from aigc_sdk_echo.model import Echo
from aigc_sdk_echo.train import EchoTrainer

optuna = pytest.importorskip("optuna")
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402

from aigc_sdk.training.search import search, space  # noqa: E402


class Every(Options):
    """An option of every kind."""

    rate: float = Field(1e-3, gt=0, le=10)
    part: float = Field(0.1, ge=0, le=1)
    open_part: float | None = Field(None, gt=0, lt=1)
    between: float = Field(1.0, ge=0.01, le=2)
    rows: int = Field(16, ge=1, le=1 << 20)
    few: int = Field(3, gt=1, lt=9)
    eights: int = Field(64, ge=8, le=256, multiple_of=8)
    endless: float | None = Field(2.0, gt=0)
    aimless: int | None = Field(None, ge=2)
    kind: Literal["plain", "curly"] | None = "plain"
    flag: bool = False
    pair: tuple[float, float] = (0.0, 1.0)


def test_a_space_is_made_of_the_bounds_and_of_the_default_where_they_are_wide() -> None:
    assert space(Every, "part", "few", "between", "kind", "flag", "rate", "rows", "endless", "open_part", "eights") == {
        "rate": FloatDistribution(1e-4, 1e-2, log=True),
        "part": FloatDistribution(0, 1),
        "open_part": FloatDistribution(5e-324, 0.9999999999999999),
        "between": FloatDistribution(0.01, 2, log=True),
        "rows": IntDistribution(2, 160, log=True),
        "few": IntDistribution(2, 8),
        "eights": IntDistribution(8, 256, step=8),
        "endless": FloatDistribution(0.2, 20, log=True),
        "kind": CategoricalDistribution(["plain", "curly", None]),
        "flag": CategoricalDistribution([False, True]),
    }


def test_what_the_user_wants_tried_instead_is_taken() -> None:
    given = FloatDistribution(0.1, 0.3, step=0.1)
    assert space(Every, rate=(1e-4, 1e-2), rows=(4, 8), aimless=(2, 9), kind=["curly"], part=given) == {
        "rate": FloatDistribution(1e-4, 1e-2, log=True),
        "part": given,
        "rows": IntDistribution(4, 8),
        "aimless": IntDistribution(2, 9),
        "kind": CategoricalDistribution(["curly"]),
    }


@pytest.mark.parametrize(
    ("names", "instead", "field", "said"),
    [
        (["rat"], {}, "rat", "Did you mean 'rate'"),
        (["aimless"], {}, "aimless", "no upper bound, nor a default"),
        (["pair"], {}, "pair", "give a list of values"),
        (["rate", "rate"], {}, "rate", "named twice"),
        (["rate"], {"rate": (0.1, 0.2)}, "rate", "named twice"),
        ([], {"rate": (0.1, 11.0)}, "rate", "less than or equal to 10"),
        ([], {"rows": (0, 4)}, "rows", "greater than or equal to 1"),
        ([], {"rows": (1.5, 4.5)}, "rows", "valid integer"),
        ([], {"rate": (0.2, 0.1)}, "rate", "give a range"),
        ([], {"rate": []}, "rate", "give a range"),
        ([], {"kind": ["curved"]}, "kind", "'plain' or 'curly'"),
        ([], {"kind": ("plain", "curly")}, "kind", "give a range"),
        ([], {"pair": [(0.1, 0.2)]}, "pair", "try numbers, words"),
        ([], {"rate": FloatDistribution(0.0, 1.0)}, "rate", "greater than 0"),
    ],
)
def test_what_cannot_be_tried_is_refused(names: list[str], instead: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        space(Every, *names, **instead)
    assert caught.value.field == field


class Hill(Options):
    """How far to go on a hill, and what to do there."""

    place: float = Field(1.0, ge=-4, le=4)
    steepness: int = Field(1, ge=1, le=8)
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)
    mood: Literal["calm", "wild"] = "calm"
    pause: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        return self


class Climber(EchoTrainer):
    """Comes nearer to the place -2 with every step; a wild one falls off right of the middle."""

    Options = Hill
    rising = frozenset({"height"})

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        self._done, self._resumed = self._resumed, 0
        for step in range(self._done + 1, fit.max_steps + 1):
            time.sleep(fit.options.pause)
            if fit.options.mood == "wild" and fit.options.place > 0:
                raise TrainingDiverged("fell off")
            self._options, self._done = fit.options, step
            yield Step(step, fit.max_steps, {"loss": 1 / step})

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        height = -fit.options.steepness * (fit.options.place + 2) ** 2 - 1 / self._done
        return {"loss": -height, "height": height}


def climber() -> Climber:
    return Climber(Echo())


TEXT = ["a b c"]
RUN: dict[str, Any] = {"max_steps": 6, "validation": TEXT, "evaluate_every": 2}


def told(study: Any) -> list[tuple[Any, ...]]:
    """What matters of every trial that has ended."""
    return [
        (each.state.name, each.value, each.params, each.intermediate_values, each.user_attrs)
        for each in study.trials
        if each.state.name != "FAIL"
    ]


def test_the_best_options_are_found_what_is_behind_is_given_up_and_the_best_run_alone_is_kept(tmp_path: Path) -> None:
    seen: list[Any] = []
    found = search(
        climber, TEXT, vary=space(Hill, "place"), trials=10, folder=tmp_path / "a", on_trial=seen.append, **RUN
    )
    assert found.best_params["place"] == pytest.approx(-2, abs=1)
    assert [each.number for each in seen] == list(range(10))
    [kept] = (tmp_path / "a").glob("trial-*")
    assert str(kept) == found.best_trial.user_attrs["folder"]
    assert aigc_sdk.load(kept / "model")
    assert set(seen[0].intermediate_values) == {2, 4, 6}
    assert seen[0].value == seen[0].intermediate_values[6]
    pruned = [each for each in seen if each.state.name == "PRUNED"]
    assert pruned
    assert all(max(each.intermediate_values) < 6 for each in pruned)
    assert all(each.user_attrs["reason"].startswith("behind the others at step") for each in pruned)


def test_more_is_better_where_the_trainer_says_so(tmp_path: Path) -> None:
    arguments = {"vary": space(Hill, "place"), "trials": 3, "metric": "validation_height"}
    found = search(climber, TEXT, folder=tmp_path / "a", **arguments, **RUN)
    assert found.best_value == max(each.value for each in found.trials if each.state.name == "COMPLETE")


def test_the_metric_of_a_judge_needs_a_direction(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        **RUN,
        "judge": lambda model: {"beauty": 1.0},
        "metric": "validation_beauty",
        "trials": 1,
    }
    with pytest.raises(OptionError, match="is more or less of 'validation_beauty' better"):
        search(climber, TEXT, vary=space(Hill, "place"), folder=tmp_path / "a", **arguments)
    found = search(climber, TEXT, vary=space(Hill, "place"), folder=tmp_path / "a", direction="maximize", **arguments)
    assert found.best_value == 1.0


def test_trials_that_diverge_or_whose_options_do_not_go_together_are_given_up_with_the_reason(tmp_path: Path) -> None:
    vary = space(Hill, "place", "mood", "low", "high")
    found = search(climber, TEXT, vary=vary, trials=8, folder=tmp_path / "a", seed=3, **RUN)
    reasons = {each.user_attrs["reason"].split("=")[0] for each in found.trials if "reason" in each.user_attrs}
    assert {"fell off", "Climber: low"} <= reasons
    assert found.best_params["low"] <= found.best_params["high"]


class Built(Options):
    """What a new climber is built with."""

    legs: int = Field(2, ge=1, le=4)


class LeggedClimber(Climber):
    """Goes faster on more legs."""

    Config = Built

    def __init__(self, legs: int = 2) -> None:
        super().__init__(Echo())
        self.legs = legs

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        return {"loss": 1 / self.legs}


def test_sizes_of_a_new_model_can_be_searched_as_well(tmp_path: Path) -> None:
    arguments = {"vary": space(Hill, "place"), "sizes": space(Built, "legs"), "trials": 4}
    found = search(LeggedClimber, TEXT, folder=tmp_path / "a", **arguments, **RUN)
    assert found.best_params["legs"] == max(each.params["legs"] for each in found.trials)
    assert set(found.best_params) == {"legs", "place"}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"vary": {}}, OptionError, "vary is empty"),
        ({"vary": {"plac": FloatDistribution(0, 1)}}, OptionError, "vary: Climber has no option 'plac'. Did you mean"),
        ({"sizes": {"width": IntDistribution(1, 2)}}, OptionError, "sizes: Climber has no option 'width'"),
        ({"vary": {"place": (0.0, 1.0)}}, OptionError, "vary: place is a tuple; make it by `space`"),
        ({"place": 1.0}, OptionError, "place is in vary, and given a second time"),
        ({"save_to": "x"}, OptionError, "save_to: a search sets it for each trial"),
        ({"resume": True}, OptionError, "resume: a search sets it for each trial"),
        ({"stepness": 2}, OptionError, "Did you mean 'steepness'"),
        ({"trials": 0}, OptionError, "trials=0"),
        ({"max_steps": 0}, OptionError, "max_steps=0"),
        ({"seed": -1}, OptionError, "seed=-1"),
        ({"metric": "validation_los"}, OptionError, "no step has 'validation_los'.* Did you mean 'validation_loss'"),
        ({"evaluate_every": 0}, OptionError, "evaluate_every=0"),
        ({"data": None}, DataError, "data is None"),
    ],
    ids=str,
)
def test_what_no_trial_could_be_run_with_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    good: dict[str, Any] = {"data": TEXT, "vary": space(Hill, "place"), "trials": 1, **RUN}
    with pytest.raises(error, match=said):
        search(climber, folder=tmp_path / "a", **{**good, **changes})
    if (tmp_path / "a").exists():
        search(climber, folder=tmp_path / "a", **good)  # and the corrected call is not taken for another search


def test_another_search_does_not_go_on_in_the_folder_and_more_trials_do(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"vary": space(Hill, "place"), "folder": tmp_path / "a", **RUN}
    search(climber, TEXT, trials=1, **arguments)
    for changes in ({"max_steps": 7}, {"seed": 1}, {"vary": space(Hill, "mood")}, {"steepness": 2}, {"data": ["x y"]}):
        with pytest.raises(MismatchedFolder, match=r"is another one: .* changed"):
            search(climber, **{"data": TEXT, "trials": 1, **arguments, **changes})
    assert len(search(climber, TEXT, trials=3, **arguments).trials) == 3
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine.txt").write_text("mine")
    with pytest.raises(FolderError, match="holds other things"):
        search(climber, TEXT, trials=1, **{**arguments, "folder": tmp_path / "b"})


def test_a_folder_may_have_any_name_and_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"vary": space(Hill, "place"), "trials": 1, **RUN}
    place = tmp_path / "a ?b#c%41&d"
    search(climber, TEXT, folder=place, **arguments)
    assert len(search(climber, TEXT, folder=place, **{**arguments, "trials": 2}).trials) == 2
    assert [each.name for each in tmp_path.iterdir()] == [place.name]
    (place / "study.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CorruptFolder, match=r"study.db cannot be used as a study of Optuna"):
        search(climber, TEXT, folder=place, **arguments)


def test_a_folder_is_searched_in_by_one_process_at_a_time(tmp_path: Path) -> None:
    def again(trial: Any) -> None:
        search(climber, TEXT, vary=space(Hill, "place"), trials=1, folder=tmp_path / "a", **RUN)

    with pytest.raises(FolderError, match="another process searches"):
        search(climber, TEXT, vary=space(Hill, "place"), trials=2, folder=tmp_path / "a", on_trial=again, **RUN)


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from test_search import KILLED, TEXT, climber, search
search(climber, TEXT, folder=sys.argv[1], **KILLED)
"""
KILLED: dict[str, Any] = {"vary": space(Hill, "place", "steepness"), "trials": 7, "save_every": 2, "pause": 0.01, **RUN}


@pytest.mark.docs  # beside what docs/search.md says; it takes too long for `make test`
def test_a_search_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    script = SCRIPT.format(here=str(Path(__file__).parent))

    def searching(place: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", script, str(place)], env={**os.environ, "OMP_NUM_THREADS": "1"})

    for trial, step in ((1, 2), (5, 2)):
        child = searching(tmp_path / "b")
        wanted = tmp_path / "b" / f"trial-{trial:04d}" / f"checkpoint-{step:06d}"
        while child.poll() is None and not wanted.exists():
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert searching(tmp_path / "a").wait() == searching(tmp_path / "b").wait() == 0
    whole, again = (
        optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/{name}/study.db") for name in "ab"
    )
    other = [(*each[:4], {**each[4], "folder": each[4]["folder"].replace("/b/", "/a/")}) for each in told(again)]
    assert other == told(whole)
    assert len(other) == 7
    assert sum(each.state.name == "FAIL" for each in again.trials) == 2
