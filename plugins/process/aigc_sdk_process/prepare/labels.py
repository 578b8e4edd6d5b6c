"""Labels and captions: who said what of which item, when and how surely; made by models, given to items, and compared."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import combinations, islice
from typing import Any, Literal, get_args

import numpy as np

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import DataError, OptionError, printable, shown, suggestion
from aigc_sdk.protocols import Evaluator, Generator

from .items import Item, checked

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels from the picture's upper left corner."""
Weights = Literal["linear", "quadratic"]
TOGETHER = 64  # items that a model is asked about at a time


@dataclass(frozen=True)
class Label:
    """What somebody, or a model, said of one item."""

    item: str
    """The item's id."""
    value: str
    """One of the protocol's choices, or free text such as a caption."""
    by: str
    """Who said it: a person, or a model's name."""
    when: str = ""
    """As in ISO 8601: 2026-05-17T09:30:00+00:00; empty where it is not known."""
    confidence: float | None = None
    """From 0 to 1, where it was told."""
    made_by: Literal["person", "model"] = "person"
    box: Box | None = None
    """The part of a picture that it is said of; None: of the whole item."""

    def __post_init__(self) -> None:
        for name in ("item", "value", "by", "when"):
            if not isinstance(getattr(self, name), str) or (name != "when" and not getattr(self, name)):
                raise DataError(f"the label's {name} is {shown(getattr(self, name))}; give a text", field=name)
        if self.confidence is not None and not (is_number(self.confidence) and 0 <= self.confidence <= 1):
            raise DataError(
                f"the label's confidence is {shown(self.confidence)}; give 0 to 1, or None", field="confidence"
            )
        if self.made_by not in ("person", "model"):
            raise DataError(f"made_by={shown(self.made_by)}: use 'person' or 'model'", field="made_by")
        if self.when:
            try:
                datetime.fromisoformat(self.when)
            except ValueError as error:
                raise DataError(
                    f"the label's when is {shown(self.when)}; write it as in ISO 8601", field="when"
                ) from error
        if self.box is not None:
            object.__setattr__(self, "box", _box(self.box))


@dataclass(frozen=True)
class Protocol:
    """What those who label are asked."""

    question: str
    choices: tuple[str, ...] = ()
    """The values there are; empty for free text."""
    instructions: str = ""
    labels_per_item: int = 1
    """How many different people are to label each item."""
    name: str = "label"
    """Of the field in Label Studio."""

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or len(set(self.choices)) != len(self.choices) or len(self.choices) == 1:
            message = f"choices={shown(self.choices)}: give two different texts or more, or none for free text"
            raise OptionError(message, field="choices")
        object.__setattr__(self, "choices", tuple(self.choices))

    def faults(self, labels: Iterable[Label]) -> list[str]:
        """What in the labels is not as the protocol says: other values, one person twice, too few people.

        Of boxes one person may mark several.
        """
        found = []
        by_item: defaultdict[str, list[str]] = defaultdict(list)
        boxed: defaultdict[str, set[str]] = defaultdict(set)
        for label in labels:
            by_item[label.item] += [label.by] if label.box is None else []
            boxed[label.item] |= set() if label.box is None else {label.by}
            if self.choices and label.value not in self.choices:
                close = suggestion(label.value, self.choices)
                found.append(f"{label.item}: {label.by} said {label.value!r}, which is no choice.{close}")
        for item, people in by_item.items():
            found += [f"{item}: {who} labelled it {count} times" for who, count in Counter(people).items() if count > 1]
            if (count := len({*people, *boxed[item]})) < self.labels_per_item:
                found.append(f"{item}: labelled by {count}, {self.labels_per_item} are wanted")
        return found


def label_items(
    items: Iterable[Item],
    model: Evaluator | Generator[Text],
    *,
    by: str,
    prompt: Callable[[Item], Any] | None = None,
    column: str = "label",
    confidence: str = "confidence",
    **options: Any,
) -> Iterator[Label]:
    """What a model says of each item, as labels that are marked as a model's, with the time.

    model: an evaluator, whose rows have the value in `column` and its probability in `confidence`, such as
    `aigc_sdk.evaluator("bert")`; or a generator of texts, whose text is the value, and to which `prompt` gives the prompt
    for an item. by: the model's name. options: the model's. Raises DataError for rows without the column, OptionError.
    """
    if not isinstance(model, Evaluator | Generator):
        raise OptionError(f"model is a {type(model).__name__}; give an evaluator or a generator", field="model")
    if isinstance(model, Generator) and not callable(prompt):
        raise OptionError(
            f"prompt={shown(prompt)}: a generator needs prompt=, from an item to its prompt", field="prompt"
        )
    if not isinstance(by, str) or not by:
        raise OptionError(f"by={shown(by)}: give the model's name, which each label bears", field="by")
    source = checked(items)

    def said(some: list[Item]) -> Iterator[Label]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if isinstance(model, Evaluator):
            rows = model.evaluate([item.artifact for item in some], **options).rows
            for item, row in zip(some, rows, strict=True):
                if column not in row:
                    message = (
                        f"the model's rows have no {column!r}.{suggestion(column, row)} They have {', '.join(row)}."
                    )
                    raise DataError(message, field="column")
                sure: Any = row.get(confidence)
                yield Label(item.id, str(row[column]), by, now, float(sure) if is_number(sure) else None, "model")
        else:
            assert prompt is not None
            for item, text in zip(some, model.generate([prompt(each) for each in some], **options), strict=True):
                yield Label(item.id, str(text).strip() or "(nothing)", by, now, None, "model")

    def each() -> Iterator[Label]:
        while some := list(islice(source, TOGETHER)):
            yield from said(some)

    return each()


def with_labels(items: Iterable[Item], labels: Iterable[Label], *, fact: str = "label") -> Iterator[Item]:
    """The items with the value that most said of each as a fact; of as many, the one that was said first. Others stay.

    Raises DataError for a label of a box.
    """
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for label in _whole(labels):
        said[label.item][label.value] += 1
    return (
        replace(item, facts={**item.facts, fact: said[item.id].most_common(1)[0][0]}) if item.id in said else item
        for item in checked(items)
    )


def cohen_kappa(
    one: Sequence[str | int],
    other: Sequence[str | int],
    *,
    weights: Weights | None = None,
    order: Sequence[Any] | None = None,
) -> float:
    """How far two agree beyond chance (Cohen 1960): 1 is always, 0 as chance would; NaN where both only ever said one thing.

    one, other: what each said of the same items, in the same order. weights: for values in an order, how much a
    disagreement counts: "linear" or "quadratic" in the places between (Cohen 1968). order: the values in theirs; None sorts.
    Raises DataError and OptionError.
    """
    if weights not in (None, *get_args(Weights)):
        raise OptionError(f"weights={shown(weights)}: use 'linear', 'quadratic' or None", field="weights")
    if isinstance(one, str) or isinstance(other, str) or len(one) != len(other) or not len(one):
        message = f"one and other have {len(one)} and {len(other)} values; give lists of as many, one at least"
        raise DataError(message, field="other")
    known = (
        list(order) if order is not None else sorted(set(one) | set(other), key=lambda value: (str(type(value)), value))
    )
    places = {value: place for place, value in enumerate(known)}
    missing = next((value for value in (*one, *other) if value not in places), None)
    if missing is not None:
        raise OptionError(f"order has no {shown(missing)}; name every value", field="order")
    table = np.zeros((len(known), len(known)))
    np.add.at(table, ([places[value] for value in one], [places[value] for value in other]), 1)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    apart = np.abs(np.subtract.outer(np.arange(len(known)), np.arange(len(known)))).astype(float)
    cost = {None: (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]
    by_chance = float((cost * expected).sum())
    return 1 - float((cost * table).sum()) / by_chance if by_chance else float("nan")


def fleiss_kappa(counts: Any) -> float:
    """How far several agree beyond chance (Fleiss 1971); NaN where all only ever said one thing.

    counts: items x values, how many said that of this item; each item was labelled by as many, two at least.
    Raises DataError.
    """
    try:
        table = np.asarray(counts, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("counts is no table of numbers; give items x values", field="counts") from error
    if table.ndim != 2 or not table.size or (table < 0).any() or not np.isfinite(table).all():
        message = f"counts is of shape {table.shape}; give items x values, how many said each, none below 0"
        raise DataError(message, field="counts")
    raters = table.sum(1)
    if raters.min() != raters.max() or raters[0] < 2:
        message = (
            f"items were labelled by {raters.min():g} to {raters.max():g}; give those that as many labelled, 2 at least"
        )
        raise DataError(message, field="counts")
    agreed = ((table**2).sum(1) - raters) / (raters * (raters - 1))
    by_chance = float(((table.sum(0) / table.sum()) ** 2).sum())
    return (float(agreed.mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


@dataclass(frozen=True)
class Agreement:
    """How far those who labelled agree."""

    pairs: Mapping[tuple[str, str], float]
    """Cohen's kappa of each two, over the items that both labelled."""
    shared: Mapping[tuple[str, str], int]
    """How many items those are."""
    fleiss: float | None
    """Fleiss' kappa, over the items that as many labelled as labelled most; None where no two labelled one."""
    items: int
    """How many items Fleiss' kappa is over."""
    disputed: tuple[str, ...] = field(default=())
    """The items on which not all agree."""


def agreement(labels: Iterable[Label]) -> Agreement:
    """How far those who labelled agree; of several labels of one item by one, the last counts.

    Raises DataError for none, and for a label of a box.
    """
    said: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for label in _whole(labels):
        said[label.item][label.by] = label.value
    if not said:
        raise DataError("there are no labels to compare; give some", field="labels")
    people = sorted({who for each in said.values() for who in each})
    pairs, shared = {}, {}
    for one, other in combinations(people, 2):
        both = [(each[one], each[other]) for each in said.values() if one in each and other in each]
        if both:
            pairs[one, other] = cohen_kappa([a for a, _ in both], [b for _, b in both])
            shared[one, other] = len(both)
    most = max(map(len, said.values()))
    counted = [Counter(each.values()) for each in said.values() if len(each) == most]
    values = sorted({value for counts in counted for value in counts})
    fleiss = fleiss_kappa([[counts[value] for value in values] for counts in counted]) if most > 1 else None
    disputed = tuple(item for item, each in said.items() if len(set(each.values())) > 1)
    return Agreement(pairs, shared, fleiss, len(counted) if most > 1 else 0, disputed)


def _box(box: Any) -> Box:
    if isinstance(box, list | tuple) and len(box) == 4 and all(map(is_number, box)) and all(map(math.isfinite, box)):
        left, top, right, bottom = map(float, box)
        if left <= right and top <= bottom:
            return left, top, right, bottom
    message = f"the label's box is {shown(box)}; give left, top, right and bottom in pixels, or None"
    raise DataError(message, field="box")


def _whole(labels: Iterable[Label]) -> Iterator[Label]:
    """The labels, refusing what is none, and what is said of a part alone."""
    for label in labels:
        if not isinstance(label, Label):
            raise DataError(f"a label is a {type(label).__name__}; give prepare.Label", field="labels")
        if label.box is not None:
            message = f"a label of {printable(label.item)} is said of a box alone; leave out the labels with a box"
            raise DataError(message, field="labels")
        yield label


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
