"""The checks for evaluators."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from aigc_sdk import Artifact, Evaluator, Report, Step
from aigc_sdk.errors import AigcError, DataError

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

    def test_an_unknown_option_is_refused(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None
    ) -> None:
        contract.refuses_unknown_options(lambda **given: judge.evaluate(samples, references, **given), judge.Options)

    def test_one_row_per_sample(self, report: Report, samples: list[Artifact | str]) -> None:
        assert len(report.rows) == len(samples)
        json.dumps(report.to_dict())

    def test_scores_are_finite_and_state_their_protocol(self, report: Report) -> None:
        assert report.scores, "there is no score"
        for name, score in report.scores.items():
            assert math.isfinite(score.value), f"{name} is {score.value}"
            assert len(score.protocol) > 10, f"{name}: {score.protocol!r} says too little to compare it"
            assert score.n > 0

    def test_rows_follow_their_samples(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        there = judge.evaluate(samples, references, **options)
        turned = None if references is None else references[::-1]
        back = judge.evaluate(samples[::-1], turned, **options)
        for first, second in zip(there.rows, reversed(back.rows), strict=True):
            assert dict(first) == pytest.approx(dict(second), rel=1e-4), "a row depends on the order of the samples"

    def test_the_same_samples_get_the_same_report(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        first = judge.evaluate(samples, references, **options).to_dict()
        assert first == judge.evaluate(samples, references, **options).to_dict()

    def test_bad_samples_are_refused(
        self, judge: Evaluator, samples: list[Artifact | str], references: list[Any] | None, options: dict[str, Any]
    ) -> None:
        for bad in ([], [7], samples[0]):
            with pytest.raises(DataError):
                judge.evaluate(bad, references, **options)  # type: ignore[arg-type]
        with pytest.raises(DataError):
            judge.evaluate(samples, ["one too many"] * (len(samples) + 1), **options)

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
        assert counts == sorted(counts)
        assert steps, "run never calls exam.on_step"

    def test_a_saved_judge_judges_the_same(
        self,
        judge: Evaluator,
        samples: list[Artifact | str],
        references: list[Any] | None,
        options: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        judge.save(tmp_path / "judge")
        contract.holds_a_model(tmp_path / "judge")
        again = type(judge).open(tmp_path / "judge", device="cpu").evaluate(samples, references, **options)
        before = judge.evaluate(samples, references, **options)
        for name, score in before.scores.items():
            assert again[name].value == pytest.approx(score.value, rel=1e-4)

    def test_what_is_no_model_is_refused(self, judge: Evaluator, tmp_path: Path) -> None:
        with pytest.raises(AigcError):
            type(judge).open(tmp_path / "missing", device="cpu")
