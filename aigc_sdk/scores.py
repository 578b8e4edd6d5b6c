"""What an evaluation found: scores that each have their protocol, and a row for every sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, suggestion

if TYPE_CHECKING:
    from .statistics import Additive


@dataclass(frozen=True)
class Score:
    """One metric of a Report; without its protocol a score does not exist."""

    value: float
    n: int
    """How many samples the value is over."""
    protocol: str
    """Everything that one must know to compare it: tokeniser, backbone, sizes, splits."""
    higher_is_better: bool
    interval: tuple[float, float] | None = None
    """A 95 % confidence interval, where one was computed; the protocol says how."""

    def __post_init__(self) -> None:
        if not self.protocol.strip():
            raise InputError("a Score needs its protocol: say tokeniser, backbone, sizes and splits", field="protocol")


@dataclass(frozen=True)
class Report:
    """What an evaluation found: a Score per metric, and one row per sample in the order they were given."""

    scores: Mapping[str, Score]
    rows: Sequence[Mapping[str, Any]]
    parts: Mapping[str, Additive] = field(default_factory=dict, repr=False, compare=False)
    """What the scores that are sums over samples are made of, for `aigc_sdk.comparison.compare`; no part of the JSON."""

    def __getitem__(self, name: str) -> Score:
        if name not in self.scores:
            known = ", ".join(self.scores)
            raise InputError(f"the report has no score {name!r}.{suggestion(name, self.scores)} Scores: {known}.")
        return self.scores[name]

    def __str__(self) -> str:
        return "\n".join(
            f"{name} {_value(score)} (n={score.n}; {score.protocol})" for name, score in self.scores.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"scores": {k: asdict(v) for k, v in self.scores.items()}, "rows": [dict(row) for row in self.rows]}

    def save(self, path: str | Path) -> Path:
        """Write the report; the suffix says how: .md a table, .json with the rows, .html a page, .svg and .png bars.

        The file appears whole or not at all. Raises MediaError for another suffix and DiskError for storage.
        """
        from . import reports

        return reports.write({"": self}, path)

    def _repr_html_(self) -> str:
        from . import reports

        return reports.html_table({"": self})


def _value(score: Score) -> str:
    interval = f" [{score.interval[0]:.4g}, {score.interval[1]:.4g}]" if score.interval else ""
    return f"{score.value:.4g}{interval}"
