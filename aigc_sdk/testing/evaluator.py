"""The checks for evaluators."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Artifact, Evaluator, Image, Report, Step, Text
from aigc_sdk.errors import DataError

from . import contract
from .contract import Contract


class EvaluatorContract(Contract):
    """Give a `judge` fixture, and `samples` to judge; `references` where it needs them."""

    @pytest.fixture
    def judge(self) -> Evaluator:
        """The evaluator under test."""
        raise NotImplementedError("give a fixture `judge` that returns a small Evaluator")

    @pytest.fixture
    def samples(self) -> list[Artifact | str]:
        """At least two different samples."""
        raise NotImplementedError("give a fixture `samples`")

    @pytest.fixture
    def references(self) -> list[Any] | None:
        """As many references, or None."""
        return None

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """Options that make a call quick."""
        return {}

    @pytest.fixture
    def report(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> Report:
        """What the judge says of the samples."""
        return judge.evaluate(samples, references, **options)

    def test_every_option_is_described(self, judge: Evaluator) -> None:
        contract.describes_every_option(judge.Options)

    def test_every_number_has_bounds(self, judge: Evaluator) -> None:
        contract.bounds_every_number(judge.Options)

    def test_an_unknown_option_is_refused(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None
    ) -> None:
        contract.refuses_unknown_options(lambda **given: judge.evaluate(samples, references, **given), judge.Options)

    def test_one_row_per_sample(self, report: Report, samples: list[Artifact | str]) -> None:
        assert len(report.rows) == len(samples), f"{len(report.rows)} rows for {len(samples)} samples; give one each"

    def test_a_report_is_plain_json(self, report: Report) -> None:
        try:
            json.dumps(report.to_dict(), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the report holds what JSON cannot, such as an array or NaN: {error}") from error

    def test_scores_are_finite_and_state_their_protocol(self, report: Report) -> None:
        assert report.scores, "there is no score"
        for name, score in report.scores.items():
            low, high = score.interval or (score.value, score.value)
            assert math.isfinite(score.value), f"{name} is {score.value}"
            assert low <= score.value <= high, f"{name}: {score.value} is outside its interval, {low} to {high}"
            assert len(score.protocol) > 10, f"{name}: {score.protocol!r} says too little to compare it"
            assert score.n > 0, f"{name} is over {score.n} samples"

    def test_rows_follow_their_samples(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        there, back = _turned(judge, samples, references, options)
        for first, second in zip(there.rows, reversed(back.rows), strict=True):
            assert _alike(first, second), f"a row depends on the order of the samples: {first} and {second}"

    def test_scores_do_not_depend_on_the_order(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        there, back = _turned(judge, samples, references, options)
        for name, score in there.scores.items():
            assert back[name].value == pytest.approx(score.value, rel=1e-4), (
                f"{name} depends on the order of the samples"
            )

    def test_the_same_samples_get_the_same_report(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        first, again = (judge.evaluate(samples, references, **options).to_dict() for _ in range(2))
        assert first == again, "the same samples get another report; draw from a generator with a seed of its own"

    def test_bad_samples_are_refused(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        for bad, count in (([], 0), ([7], 1), (samples[0], 1)):
            against = None if references is None else references[:count]
            with contract.refuses(DataError, f"samples={bad!r}", "leave `evaluate` to the base class"):
                judge.evaluate(bad, against, **options)  # type: ignore[arg-type]
        with contract.refuses(DataError, "one reference too many"):
            judge.evaluate(samples, ["one too many"] * (len(samples) + 1), **options)

    def test_samples_of_another_kind_are_refused_or_judged(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        others: list[Artifact] = [Text("words"), Image(np.zeros((8, 8, 3), np.uint8))]
        for other in others:
            try:
                judge.evaluate([other, *samples[1:]], references, **options)
            except DataError:
                continue
            except Exception as error:
                what = f"a {type(other).__name__} for a sample gives {type(error).__name__}"
                raise AssertionError(f"{what}: {error}; judge it, or raise DataError") from error

    def test_the_callers_state_stays(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        with contract.untouched():
            judge.evaluate(samples, references, **options)

    def test_on_step_counts_up(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        steps: list[Step] = []
        judge.evaluate(samples, references, on_step=steps.append, **options)
        counts = [each.index for each in steps]
        assert steps, "run never calls exam.on_step"
        assert counts == sorted(counts), f"on_step does not count up: {counts[:20]}"

    def test_a_saved_folder_holds_data_alone(self, judge: Evaluator, tmp_path: Path) -> None:
        judge.save(tmp_path / "judge")
        contract.holds_a_model(tmp_path / "judge")

    def test_a_saved_judge_judges_the_same(
        self,
        judge: Evaluator,
        samples: list[Artifact | str],
        references: list[Any] | None,
        options: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        judge.save(tmp_path / "judge")
        again = type(judge).open(tmp_path / "judge", device="cpu").evaluate(samples, references, **options)
        before = judge.evaluate(samples, references, **options)
        for name, score in before.scores.items():
            assert again[name].value == pytest.approx(score.value, rel=1e-4), (
                f"saved and opened, it gives another {name}"
            )

    def test_what_is_no_model_is_refused(self, judge: Evaluator, tmp_path: Path) -> None:
        contract.refuses_what_is_no_model(type(judge), tmp_path / "empty")

    def test_a_damaged_judge_is_refused(self, judge: Evaluator, tmp_path: Path) -> None:
        judge.save(tmp_path / "judge")
        contract.refuses_damage(type(judge), tmp_path / "judge")

    def test_a_missing_device_is_refused(self, judge: Evaluator, tmp_path: Path) -> None:
        contract.refuses_missing_devices(judge, tmp_path / "judge")


def _alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Equal, but for the rounding of floats; a row may hold names beside numbers."""
    return first.keys() == second.keys() and all(
        value == second[name] or (isinstance(value, float) and value == pytest.approx(second[name], rel=1e-4))
        for name, value in first.items()
    )


def _turned(
    judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
) -> tuple[Report, Report]:
    """The reports of the samples in their order, and in the reverse one."""
    turned = None if references is None else references[::-1]
    return judge.evaluate(samples, references, **options), judge.evaluate(samples[::-1], turned, **options)
