"""Choosing: the candidates in the order in which a judge likes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from aigc_sdk.artifacts import Artifact
from aigc_sdk.errors import InputError, suggestion
from aigc_sdk.protocols import Evaluator

A = TypeVar("A", bound=Artifact)


@dataclass(frozen=True)
class Judged(Generic[A]):
    """A candidate, the value it is ranked by, and the whole row of the judge's report about it."""

    artifact: A
    value: float
    row: Mapping[str, Any]


def ranked(
    candidates: Iterable[A],
    judge: Evaluator,
    *,
    by: str,
    higher_is_better: bool | None = None,
    references: Iterable[Any] | None = None,
    **options: Any,
) -> list[Judged[A]]:
    """The candidates, the best first; equals keep their order. Candidates that the judge gives no value come last, with NaN.

    by: the name of a value in the rows of the judge's report. higher_is_better: None takes what the report says of the
    score of that name. options: the judge's. Raises InputError where no row has the value or its direction is unknown.
    """
    listed = list(candidates)
    report = judge.evaluate(listed, references, **options)
    values = [_number(row.get(by)) for row in report.rows]
    if all(map(math.isnan, values)):
        known = sorted({name for row in report.rows for name, value in row.items() if not math.isnan(_number(value))})
        raise InputError(
            f"by={by!r}: the judge's rows have no such number.{suggestion(by, known)} Known: {known}", field="by"
        )
    if higher_is_better is None and by not in report.scores:
        raise InputError(
            f"by={by!r}: the report has no score of that name; pass higher_is_better", field="higher_is_better"
        )
    rising = report.scores[by].higher_is_better if higher_is_better is None else higher_is_better
    order = sorted(range(len(listed)), key=lambda index: _place(values[index], rising))
    return [Judged(listed[index], values[index], report.rows[index]) for index in order]


def pick(candidates: Iterable[A], judge: Evaluator, *, by: str, **arguments: Any) -> A:
    """The best of `ranked`, with what the judge said in its `info["judged"]`. Its origin stays as it is."""
    best, *others = ranked(candidates, judge, by=by, **arguments)
    judged = {"by": by, "value": best.value, "of": 1 + len(others), "judge": type(judge).__name__}
    return replace(best.artifact, info={**best.artifact.info, "judged": judged})


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _place(value: float, rising: bool) -> tuple[bool, float]:
    return math.isnan(value), 0.0 if math.isnan(value) else -value if rising else value
