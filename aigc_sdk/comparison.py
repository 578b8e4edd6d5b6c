"""Whether two reports on the same samples differ by more than chance.

    found = compare(before, after)
    print(found)
    found["bleu"].p_value

For every score that both reports have: the difference; its 95 % interval by the paired bootstrap (Koehn 2004, Statistical
significance tests for machine translation evaluation); and a two-sided p-value by approximate randomisation (Noreen 1989;
Riezler and Maxwell 2005). "Paired" means that sample i of both reports answers the same prompt or has the same reference.
The p-values are not corrected for there being several scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from .errors import InputError, suggestion
from .protocols import Report, Score
from .statistics import Additive, exchanged_p, paired_interval

TIMES = 10_000
TIMES_LIMIT = 1_000_000
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """How one score differs: `difference` is second minus first."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float] | None
    """Of the difference, 95 %."""
    p_value: float
    n: int
    higher_is_better: bool
    protocol: str
    """How the scores were computed, and how they were compared."""

    @property
    def better(self) -> str:
        """ "first" or "second" where the p-value is below 0.05; else ""."""
        if self.p_value >= LEVEL or not self.difference:
            return ""
        return "second" if (self.difference > 0) == self.higher_is_better else "first"


@dataclass(frozen=True)
class Comparison:
    """The differences of two reports by score, and why the other scores could not be compared."""

    differences: Mapping[str, Difference]
    left_out: Mapping[str, str]

    def __getitem__(self, name: str) -> Difference:
        if name in self.left_out:
            raise InputError(f"{name} could not be compared: {self.left_out[name]}")
        if name not in self.differences:
            known = ", ".join(self.differences)
            raise InputError(
                f"nothing was compared under {name!r}.{suggestion(name, self.differences)} Scores: {known}."
            )
        return self.differences[name]

    def __str__(self) -> str:
        lines = [f"{name} {_told(each)}" for name, each in self.differences.items()]
        return "\n".join(lines + [f"{name} not compared: {reason}" for name, reason in self.left_out.items()])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        differences = {name: asdict(each) | {"better": each.better} for name, each in self.differences.items()}
        return {"differences": differences, "left_out": dict(self.left_out)}

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{each}</th>" for each in ("score", "first", "second", "difference", "p", "n", "better"))
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(name, each)) + "</tr>"
            for name, each in self.differences.items()
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def compare(
    first: Report, second: Report, *, times: int = TIMES, seed: int = 0, other_protocol: bool = False
) -> Comparison:
    """Compare two reports on the same samples in the same order, score by score.

    times: resamplings, and exchanges, of the samples; the p-value is never below 1 / (times + 1).
    other_protocol: allow protocols that differ, as where two models are compared by how well they predict one text.
    Raises InputError for reports on different numbers of samples, without a common score, or by different protocols.
    """
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= TIMES_LIMIT:
        raise InputError(f"times={times!r}: give a whole number from 1 to {TIMES_LIMIT:,}", field="times")
    for name, each in (("first", first), ("second", second)):
        if not isinstance(each, Report):
            raise InputError(f"{name} is a {type(each).__name__}; pass what an evaluator returned", field=name)
    if len(first.rows) != len(second.rows):
        message = (
            f"the reports are on {len(first.rows)} and {len(second.rows)} samples; compare reports on the same ones"
        )
        raise InputError(message, field="second")
    shared = [name for name in first.scores if name in second.scores]
    if not shared:
        both = f"{', '.join(first.scores)} and {', '.join(second.scores)}"
        raise InputError(f"the reports have no score in common: {both}", field="second")
    differences, left_out = {}, {}
    for name in shared:
        if not other_protocol:
            _check_protocols(name, first.scores[name], second.scores[name])
        pair = _additive(first, name), _additive(second, name)
        if pair[0] is None or pair[1] is None or pair[0].statistics.shape != pair[1].statistics.shape:
            left_out[name] = "it is no function of sums over the samples"
        elif len(pair[0].statistics) < 2:
            left_out[name] = "there is one sample"
        else:
            differences[name] = _difference(first.scores[name], second.scores[name], pair[0], pair[1], times, seed)
    return Comparison(differences, left_out)


def _difference(one: Score, other: Score, first: Additive, second: Additive, times: int, seed: int) -> Difference:
    how = f"paired bootstrap for the interval and approximate randomisation for p, {times:,} times each, seed {seed}"
    return Difference(
        first=one.value,
        second=other.value,
        difference=other.value - one.value,
        interval=paired_interval(first, second, times, seed),
        p_value=exchanged_p(first, second, times, seed),
        n=one.n,
        higher_is_better=one.higher_is_better,
        protocol="; ".join(dict.fromkeys([one.protocol, other.protocol, how])),
    )


def _check_protocols(name: str, one: Score, other: Score) -> None:
    if one.protocol != other.protocol:
        raise InputError(
            f"{name} was computed by different protocols, so its values cannot be compared: {one.protocol!r} and "
            f"{other.protocol!r}; evaluate both with the same options, or pass other_protocol=True",
            field="second",
        )


def _additive(report: Report, name: str) -> Additive | None:
    """What the score is made of: what the report says, or its rows where their mean is the score."""
    if name in report.parts:
        return report.parts[name]
    values = [row.get(name) for row in report.rows]
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        return None
    column = np.array(values, np.float64)
    same = np.isclose(column.mean(), report.scores[name].value, rtol=1e-9, atol=1e-12) if len(column) else False
    return Additive(column[:, None] / len(column), _sum) if same else None


def _sum(sums: Any) -> Any:
    return sums[..., 0]


def _told(each: Difference) -> str:
    interval = f" [{each.interval[0]:+.4g}, {each.interval[1]:+.4g}]" if each.interval else ""
    verdict = f"{each.better} is better" if each.better else "no difference is shown"
    return f"{each.first:.4g} -> {each.second:.4g}: {each.difference:+.4g}{interval}, p={each.p_value:.4g}, n={each.n}; {verdict}"


def _cells(name: str, each: Difference) -> tuple[str, ...]:
    interval = f" [{each.interval[0]:+.4g}, {each.interval[1]:+.4g}]" if each.interval else ""
    numbers = f"{each.first:.4g}", f"{each.second:.4g}", f"{each.difference:+.4g}{interval}", f"{each.p_value:.4g}"
    return name, *numbers, str(each.n), each.better
