"""Labelling a data set together with a judge: what it is sure of, what a person should label next, and where they differ.

labelled = annotate(judge, texts)
ask = chosen(judge, texts, 20)                     # the places of twenty texts that a person should label
merged = merge(labelled, {place: label, ...})      # people win; merged.conflicts lists where the judge differed
kappa(people, [labelled[place].label for place in places])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aigc_sdk.errors import DataError, NotOffered, OptionError, shown, suggestion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .judge import Judge

Uncertainty = Literal["entropy", "margin", "confidence"]
By = Literal["entropy", "margin", "confidence", "diversity", "both"]
POOL = 10  # times as many of the least certain texts as are asked for, among which "both" looks for different ones


@dataclass(frozen=True)
class Annotation:
    """A text with a label, and who gave it: the judge or a person."""

    text: str
    label: str
    confidence: float
    """The judge's probability of this label; 1 where a person gave one and no judge was asked."""
    by: Literal["judge", "person"] = "judge"


@dataclass(frozen=True)
class Conflict:
    """A text to which a person and the judge gave different labels."""

    place: int
    text: str
    person: str
    judge: str
    confidence: float
    """How sure the judge was of its own."""


@dataclass(frozen=True)
class Merged:
    """Labels of people and of a judge together, and what they disagreed about."""

    annotations: tuple[Annotation, ...]
    conflicts: tuple[Conflict, ...]
    """The surest first: those are most likely slips of a person."""

    def data(self, confidence: float = 0.0) -> list[tuple[str, str]]:
        """Training data: what people labelled, and what the judge is at least so sure of."""
        kept = (each for each in self.annotations if each.by == "person" or each.confidence >= confidence)
        return [(each.text, each.label) for each in kept]


def annotate(judge: Judge, texts: Iterable[str]) -> list[Annotation]:
    """The likeliest label of each text with its calibrated probability. Raises DataError and NotOffered."""
    given, chances = _judged(judge, texts)
    rows = zip(given, chances.argmax(1), chances.max(1), strict=True)
    return [Annotation(text, judge.labels[index], float(chance)) for text, index, chance in rows]


def chosen(judge: Judge, texts: Iterable[str], n: int, *, by: By = "both", known: Iterable[str] = ()) -> list[int]:
    """The places of the `n` texts that a person should label next, the most useful first.

    entropy, margin, confidence: the least certain by the entropy of the labels' probabilities, by the lead of the likeliest
    label over the next, or by the likeliest's probability (Settles 2009). diversity: such that every text is near to one
    that is labelled, by the judge's embeddings (k-center greedy, Sener and Savarese 2018). both: diversity among the
    least certain, by margin, ten times as many as are wanted.
    known: texts that have a label, which diversity counts as labelled. Raises DataError, OptionError and NotOffered.
    """
    if by not in ("entropy", "margin", "confidence", "diversity", "both"):
        message = f"by={by!r}: one of 'entropy', 'margin', 'confidence', 'diversity', 'both'"
        raise OptionError(message, field="by")
    given, chances = _judged(judge, texts)
    if not 1 <= n <= len(given):
        raise OptionError(f"n={n}: choose from 1 to all {len(given)} texts", field="n")
    if by in ("entropy", "margin", "confidence"):
        return [int(place) for place in least_certain(chances, by)[:n]]
    pool = np.arange(len(given)) if by == "diversity" else least_certain(chances, "margin")[: POOL * n]
    labelled = list(known)
    points = judge.embed([given[place] for place in pool])
    centers = judge.embed(labelled) if labelled else points[:0]
    return [int(pool[place]) for place in k_center(points, n, centers)]


def least_certain(probabilities: NDArray[np.float64], by: Uncertainty) -> NDArray[np.int64]:
    """The rows of `probabilities` (samples x labels), the least certain first."""
    if by == "entropy":
        logs = np.log(np.where(probabilities > 0, probabilities, 1))
        certainty = (probabilities * logs).sum(1)
    elif by == "confidence":
        certainty = probabilities.max(1)
    else:
        highest = np.sort(probabilities, 1)
        certainty = highest[:, -1] - highest[:, -2]
    return np.argsort(certainty, kind="stable")


def k_center(points: NDArray[Any], n: int, centers: NDArray[Any]) -> list[int]:
    """`n` rows of `points` (samples x width), each the one furthest from all before it and from `centers` (any x width).

    Without centers the first is the one nearest to the mean of all. Greedily, which is at most twice as far as the best
    (Gonzalez 1985).
    """
    points = np.asarray(points, np.float64)
    if len(centers):
        nearest = np.min([_distances(points, center) for center in np.asarray(centers, np.float64)], 0)
        found: list[int] = []
    else:
        found = [int(_distances(points, points.mean(0)).argmin())]
        nearest = _distances(points, points[found[0]])
    taken = np.zeros(len(points), bool)
    taken[found] = True
    while len(found) < n:
        furthest = int(np.where(taken, -1, nearest).argmax())  # what is taken already is never taken again
        found.append(furthest)
        taken[furthest] = True
        nearest = np.minimum(nearest, _distances(points, points[furthest]))
    return found


def merge(annotations: Sequence[Annotation], people: Mapping[int, str], labels: Sequence[str] | None = None) -> Merged:
    """Labels by people in place of the judge's; where both differ, that is a conflict.

    people: from the place of a text in `annotations` to its label. labels: those that a person may give; None: any.
    Raises DataError.
    """
    merged, conflicts = list(annotations), []
    for place, label in people.items():
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(merged):
            message = f"people[{shown(place)}]: there are {len(merged)} texts; give a place from 0 on"
            raise DataError(message, field="people")
        if not isinstance(label, str) or not label.strip() or (labels is not None and label not in labels):
            hint = suggestion(str(label), labels or ())
            known = "" if labels is None else f" Labels: {', '.join(labels)}"
            raise DataError(f"people[{place}] is {shown(label)}, which is no label.{hint}{known}", field="people")
        own = merged[place]
        if own.label != label:
            conflicts.append(Conflict(place, own.text, label, own.label, own.confidence))
        merged[place] = Annotation(own.text, label, own.confidence if own.label == label else 1.0, "person")
    conflicts.sort(key=lambda each: -each.confidence)
    return Merged(tuple(merged), tuple(conflicts))


def kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """How far two annotators agree beyond chance: 1 always, 0 as by chance (Cohen 1960). NaN where chance alone agrees always.

    Raises DataError.
    """
    if isinstance(first, str) or isinstance(second, str) or len(first) != len(second) or not len(first):
        message = f"{len(first)} and {len(second)} labels; pass one of each annotator for each text"
        raise DataError(message, field="second")
    names = sorted({*first, *second})
    places = {name: index for index, name in enumerate(names)}
    one, other = (np.bincount([places[each] for each in some], minlength=len(names)) for some in (first, second))
    total = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / total
    chance = float((one / total) @ (other / total))
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def _judged(judge: Judge, texts: Iterable[str]) -> tuple[list[str], NDArray[np.float64]]:
    if judge.task.kind != "classification":
        raise NotOffered(f"a judge of {judge.task.kind!r} gives no single label; pass one of classification")
    if isinstance(texts, str):
        raise DataError("texts is one text; pass a list of them", field="texts")
    given = list(texts)
    if not given:
        raise DataError("texts holds no texts; pass at least one", field="texts")
    return given, judge.predict(given)


def _distances(points: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(((points - center) ** 2).sum(1))
