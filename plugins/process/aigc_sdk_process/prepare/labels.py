"""Labels and captions: who said what of which item, when and how surely; read, written, made by models, and compared.

The formats: CSV and JSON Lines with a label a row; Label Studio's JSON, in which models' labels are predictions; captions as
COCO writes them. All hold everything that a Label holds, beside what their own programs read.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from aigc_sdk import storage
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import DataError, DiskError, OptionError, printable, shown, suggestion
from aigc_sdk.protocols import Evaluator, Generator

from .items import Item, checked

Format = Literal["csv", "jsonl", "label-studio", "coco"]
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

    def __post_init__(self) -> None:
        for name in ("item", "value", "by", "when"):
            if not isinstance(getattr(self, name), str) or (name != "when" and not getattr(self, name)):
                raise DataError(f"the label's {name} is {shown(getattr(self, name))}; give a text", field=name)
        if self.confidence is not None and not (_is_number(self.confidence) and 0 <= self.confidence <= 1):
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
        """What in the labels is not as the protocol says: other values, one person twice, too few people."""
        found = []
        by_item: defaultdict[str, list[str]] = defaultdict(list)
        for label in labels:
            by_item[label.item].append(label.by)
            if self.choices and label.value not in self.choices:
                close = suggestion(label.value, self.choices)
                found.append(f"{label.item}: {label.by} said {label.value!r}, which is no choice.{close}")
        for item, people in by_item.items():
            found += [f"{item}: {who} labelled it {count} times" for who, count in Counter(people).items() if count > 1]
            if len(set(people)) < self.labels_per_item:
                found.append(f"{item}: labelled by {len(set(people))}, {self.labels_per_item} are wanted")
        return found


def write_labels(labels: Iterable[Label], path: str | Path, *, format: Format | None = None, **about: Any) -> Path:
    """Write labels, whole or not at all.

    format: "csv", "jsonl", "label-studio" or "coco"; None takes the suffix, .csv or .jsonl.
    about: for Label Studio `protocol`, a Protocol, and `data`, a mapping from ids to the task's data, such as
    {"text": ...}. Raises OptionError, DataError and DiskError.
    """
    target = Path(path)
    chosen = _format(format or target.suffix[1:].lower())
    taken = {"protocol": Protocol(""), "data": {}}
    for name in about:
        if name not in taken or chosen != "label-studio":
            message = f"write_labels has no option {name!r} for {chosen}.{suggestion(name, taken)}"
            raise OptionError(f"{message} Label Studio's are protocol and data.", field=name)
    every = list(labels)
    for index, label in enumerate(every):
        if not isinstance(label, Label):
            raise DataError(f"labels[{index}] is a {type(label).__name__}; give prepare.Label", field="labels")
    writers: dict[str, Callable[[], str]] = {
        "csv": lambda: _csv(every),
        "jsonl": lambda: "".join(json.dumps(asdict(label), ensure_ascii=False) + "\n" for label in every),
        "label-studio": lambda: _json(_tasks(every, **{**taken, **about})),
        "coco": lambda: _json(_captions(every)),
    }
    storage.write_file(target, writers[chosen]().encode("utf-8", "backslashreplace"))
    return target


def read_labels(path: str | Path, *, format: Format | None = None) -> list[Label]:
    """Labels from a file; format: as in `write_labels`, and None tells Label Studio and COCO apart in a .json file.

    Raises DataError, naming the place, for a file that is none of the format, and DiskError.
    """
    source = Path(path)
    try:
        content = source.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{printable(str(source))} is no UTF-8: {error.reason}; save it as UTF-8", field="path"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"there is no file {printable(str(source))}", field="path") from error
    except OSError as error:
        raise DiskError(f"{printable(str(source))} cannot be read: {error.strerror or error}") from error
    suffix = source.suffix[1:].lower()
    if format is None and suffix == "json":
        chosen = "coco" if content.lstrip()[:1] == "{" else "label-studio"
    else:
        chosen = _format(format or suffix)
    readers: dict[str, Callable[[str], Iterator[Label]]] = {
        "csv": _from_csv,
        "jsonl": _from_jsonl,
        "label-studio": _from_tasks,
        "coco": _from_captions,
    }
    made: list[Label] = []
    try:
        made.extend(readers[chosen](content))
    except DataError as error:
        raise DataError(f"{printable(str(source))}, label {len(made) + 1}: {error}", field="path") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, csv.Error) as error:
        why = f"{type(error).__name__}: {printable(str(error))}"
        message = f"{printable(str(source))} is no {chosen} of labels, at label {len(made) + 1}: {why}"
        raise DataError(message, field="path") from error
    return made


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
                yield Label(item.id, str(row[column]), by, now, float(sure) if _is_number(sure) else None, "model")
        else:
            assert prompt is not None
            for item, text in zip(some, model.generate([prompt(each) for each in some], **options), strict=True):
                yield Label(item.id, str(text).strip() or "(nothing)", by, now, None, "model")

    def each() -> Iterator[Label]:
        while some := list(islice(source, TOGETHER)):
            yield from said(some)

    return each()


def with_labels(items: Iterable[Item], labels: Iterable[Label], *, fact: str = "label") -> Iterator[Item]:
    """The items with the value that most said of each as a fact; of as many, the one that was said first. Others stay."""
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for label in labels:
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
    """How far those who labelled agree; of several labels of one item by one, the last counts. Raises DataError for none."""
    said: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for label in labels:
        if not isinstance(label, Label):
            raise DataError(f"a label is a {type(label).__name__}; give prepare.Label", field="labels")
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format(name: Any) -> str:
    if name in get_args(Format):
        return str(name)
    known = ", ".join(get_args(Format))
    raise OptionError(
        f"format={shown(name)}: use one of {known}.{suggestion(str(name), get_args(Format))}", field="format"
    )


def _json(content: Any) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(f"data holds what JSON cannot ({error}); give texts and numbers", field="data") from error


FIELDS = ("item", "value", "by", "when", "confidence", "made_by")


def _csv(labels: list[Label]) -> str:
    file = io.StringIO()
    rows = csv.DictWriter(file, FIELDS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(label) for label in labels)
    return file.getvalue()


def _from_csv(content: str) -> Iterator[Label]:
    rows = csv.DictReader(io.StringIO(content), strict=True)
    for name in ("item", "value", "by"):
        if name not in (rows.fieldnames or ()):
            raise DataError(
                f"there is no column {name!r}; the columns are {', '.join(rows.fieldnames or ()) or 'none'}"
            )
    for row in rows:
        sure = row.get("confidence") or None
        yield _label({**row, "confidence": None if sure is None else float(sure)})


def _from_jsonl(content: str) -> Iterator[Label]:
    return (_label(json.loads(line)) for line in content.splitlines() if line.strip())


def _label(row: Mapping[str, Any]) -> Label:
    return Label(
        row["item"],
        row["value"],
        row["by"],
        row.get("when") or "",
        row.get("confidence"),
        row.get("made_by") or "person",
    )


def _tasks(labels: list[Label], protocol: Any, data: Any) -> list[dict[str, Any]]:
    """Label Studio's tasks: people's labels as annotations, models' as predictions with their score."""
    if not isinstance(protocol, Protocol) or not isinstance(data, Mapping):
        message = (
            f"protocol is a {type(protocol).__name__} and data a {type(data).__name__}; give a Protocol and a dict"
        )
        raise OptionError(message, field="protocol")
    tasks: dict[str, dict[str, Any]] = {}
    for label in labels:
        empty = {"data": {**data.get(label.item, {}), "id": label.item}, "annotations": [], "predictions": []}
        task = tasks.setdefault(label.item, empty)
        kind, value = ("choices", [label.value]) if protocol.choices else ("textarea", [label.value])
        key = "choices" if protocol.choices else "text"
        result = {"from_name": protocol.name, "to_name": "item", "type": kind, "value": {key: value}}
        meta = {"confidence": label.confidence}
        if label.made_by == "model":
            made = {"model_version": label.by, "score": label.confidence, "created_at": label.when, "result": [result]}
            task["predictions"].append(made)
        else:
            made = {"completed_by": label.by, "created_at": label.when, "result": [{**result, "meta": meta}]}
            task["annotations"].append(made)
    return list(tasks.values())


def _from_tasks(content: str) -> Iterator[Label]:
    for task in json.loads(content):
        item = str(task["data"].get("id", task.get("id")))
        for each in (*task.get("annotations", ()), *task.get("predictions", ())):
            model = "model_version" in each
            who = each.get("model_version" if model else "completed_by")
            who = who.get("email", who.get("id")) if isinstance(who, Mapping) else who
            for result in each["result"]:
                key = {"choices": "choices", "textarea": "text", "rating": "rating"}.get(result["type"])
                if key is None:
                    raise DataError(f"a result is of type {result['type']!r}; read are choices, textarea and rating")
                values = result["value"][key]
                sure = each.get("score") if model else (result.get("meta") or {}).get("confidence")
                when = each.get("created_at") or ""
                for value in values if isinstance(values, list) else [values]:
                    yield Label(item, str(value), str(who), when, sure, "model" if model else "person")


def _captions(labels: list[Label]) -> dict[str, Any]:
    """COCO's captions; its readers pass over the keys that it does not know."""
    numbers = {item: number for number, item in enumerate(dict.fromkeys(label.item for label in labels), 1)}
    annotations = [
        {"id": index, "image_id": numbers[label.item], "caption": label.value}
        | {key: getattr(label, key) for key in ("by", "when", "confidence", "made_by")}
        for index, label in enumerate(labels, 1)
    ]
    return {
        "images": [{"id": number, "file_name": item} for item, number in numbers.items()],
        "annotations": annotations,
    }


def _from_captions(content: str) -> Iterator[Label]:
    found = json.loads(content)
    names = {image["id"]: image["file_name"] for image in found["images"]}
    for each in found["annotations"]:
        yield _label({"by": "COCO", **each, "item": names[each["image_id"]], "value": each["caption"]})
