"""From what a user has (lists, dicts, files, Datasets) to examples: a text, perhaps a second one, and its target."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from aigc_sdk.calls import check_text
from aigc_sdk.errors import DataError, printable, shown

Kind = Literal["classification", "multi-label", "regression", "tokens", "questions", "masked"]
Span = tuple[str, int, int]  # label, start, stop: characters of the text
LAYOUTS: dict[str, str] = {
    "classification": '(text, label) or {"text", "label"}, with "pair" for a second text',
    "multi-label": '(text, [labels]) or {"text", "labels"}, with "pair" for a second text',
    "regression": '(text, number) or {"text", "value"}, with "pair" for a second text',
    "tokens": '(text, spans), {"text", "spans"} or {"words", "tags"}; a span is {"start", "end", "label"}',
    "questions": '{"question", "context", "answers"}; an answer is {"text", "start"} or a string of the context',
    "masked": 'a string or {"text"}',
}
TARGETS = {"classification": "label", "multi-label": "labels", "regression": "value", "tokens": "spans"}


@dataclass(frozen=True)
class Example:
    """One input and what is to be said of it.

    target: classification: a label; multi-label: labels; regression: a number; tokens: spans; questions: (start, stop)
    of the answers in `pair`, the context; masked: None.
    """

    text: str
    pair: str | None = None
    target: Any = None
    changed: tuple[str, ...] = ()
    """Of an unlabelled text: others that say the same, see `consistency`."""


def examples(data: Any, kind: Kind, name: str = "data", *, partly: bool = False) -> list[Example]:
    """Every example in `data`.

    data: a list or a `datasets.Dataset` in a layout of LAYOUTS; or the path of a .jsonl or .csv file of such dicts; for
    "masked" also of a text file. partly: whether a label may be None, of texts that nobody has labelled.
    Raises DataError, which names the item, its value and what is wanted.
    """
    names = _class_names(data)
    read = _partly if partly else _example
    found = [read(item, kind, where, name, names) for where, item in _items(data, kind, name)]
    if not found:
        raise DataError(f"{name} holds no examples; pass at least one", field=name)
    return found


def checked_text(text: Any, where: str, name: str) -> str:
    """A text that a tokenizer can take. Raises DataError."""
    if not isinstance(text, str):
        raise DataError(f"{where} is {shown(text)}; pass a string", field=name)
    if not text.strip():
        raise DataError(f"{where} is an empty text; leave it out", field=name)
    check_text(text, where, name)
    return text


def _items(data: Any, kind: Kind, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, str | Path):
        yield from _file(Path(data), kind, name)
        return
    if isinstance(data, bytes | Mapping) or not isinstance(data, Iterable):
        more = " (of a DatasetDict, one split)" if isinstance(data, Mapping) else ""
        message = (
            f"{name} is a {type(data).__name__}; pass a list, a Dataset or the path of a .jsonl or .csv file{more}"
        )
        raise DataError(message, field=name)
    for index, item in enumerate(data):
        if isinstance(item, Path):
            yield from _file(item, kind, name)
        else:
            yield f"{name}[{index}]", item


def _file(path: Path, kind: Kind, name: str) -> Iterator[tuple[str, Any]]:
    shown_path = printable(str(path))
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a NUL inside the path
        raise DataError(f"{name}: the file {shown_path!r} cannot be read as text: {error}", field=name) from error
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f"{shown_path}, line {number}", _json(line, f"{shown_path}, line {number}", name)
    elif path.suffix.lower() == ".csv":
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), 1):
            yield f"{shown_path}, row {number}", row
    elif kind == "masked":
        yield shown_path, text
    else:
        raise DataError(f"{name}: {shown_path!r} is neither .jsonl nor .csv; convert it, or pass a list", field=name)


def _json(line: str, where: str, name: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        message = f"{where}: not JSON ({error}); each line of a .jsonl file holds one JSON value"
        raise DataError(message, field=name) from error


def _class_names(data: Any) -> Sequence[str] | None:
    """What a Dataset calls the numbers in its column of labels."""
    features = getattr(data, "features", None)
    label = features.get("label") if isinstance(features, Mapping) else None
    return getattr(label, "names", None)


def _example(item: Any, kind: Kind, where: str, name: str, names: Sequence[str] | None) -> Example:
    if kind == "questions":
        return _question(item, where, name)
    if kind == "masked":
        text = item.get("text") if isinstance(item, Mapping) else item
        return Example(checked_text(text, where, name))
    if kind == "tokens" and isinstance(item, Mapping) and "words" in item:
        return _tagged(item, where, name)
    text, pair, value = _parts(item, kind, where, name)
    text = checked_text(text, where, name)
    pair = None if pair is None else checked_text(pair, f"{where}'s pair", name)
    if kind == "classification":
        return Example(text, pair, _label(value, where, name, names))
    if kind == "regression":
        return Example(text, pair, _number(value, where, name))
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise DataError(f"{where}: {TARGETS[kind]} is {shown(value)}; pass a list", field=name)
    if kind == "multi-label":
        return Example(text, pair, tuple(dict.fromkeys(_label(each, where, name, names) for each in value)))
    return Example(text, None, _spans(value, text, where, name))


def _partly(item: Any, kind: Kind, where: str, name: str, names: Sequence[str] | None) -> Example:
    """An example that may have None for its label."""
    text, pair, value = _parts(item, kind, where, name)
    if value is not None:
        return _example(item, kind, where, name, names)
    changed = item.get("changed", ()) if isinstance(item, Mapping) else ()
    if isinstance(changed, str) or not isinstance(changed, Iterable):
        raise DataError(f"{where}: changed is {shown(changed)}; pass a list of texts", field=name)
    others = tuple(checked_text(each, f"{where}'s changed text", name) for each in changed)
    pair = None if pair is None else checked_text(pair, f"{where}'s pair", name)
    return Example(checked_text(text, where, name), pair, None, others)


def _parts(item: Any, kind: Kind, where: str, name: str) -> tuple[Any, Any, Any]:
    """Text, second text and target of one item."""
    wanted = TARGETS[kind]
    if isinstance(item, Mapping) and "text" in item:
        for key in (wanted, "label"):
            if key in item:
                return item["text"], item.get("pair"), item[key]
        raise DataError(f"{where} has no {wanted!r}; give {LAYOUTS[kind]}", field=name)
    if isinstance(item, tuple | list) and len(item) == 2:
        text, value = item
        if isinstance(text, tuple | list) and len(text) == 2:
            return text[0], text[1], value
        return text, None, value
    what = f"a dict of {sorted(map(str, item))}" if isinstance(item, Mapping) else f"a {type(item).__name__}"
    raise DataError(f"{where} is {printable(what)}; give {LAYOUTS[kind]}", field=name)


def _label(value: Any, where: str, name: str, names: Sequence[str] | None) -> str:
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, bool | int) or (isinstance(value, str) and value.strip()):
        return str(value)
    raise DataError(f"{where}: the label is {shown(value)}; pass a word or an integer", field=name)


def _number(value: Any, where: str, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{where}: the value is {shown(value)}; pass a finite number", field=name)
    return number


def _spans(value: Iterable[Any], text: str, where: str, name: str) -> tuple[Span, ...]:
    found = [_span(each, where, name) for each in value]
    for label, start, stop in found:
        if not 0 <= start < stop <= len(text):
            message = f"{where}: the span {label!r} from {start} to {stop} does not lie in its {len(text)} characters"
            raise DataError(message, field=name)
    found.sort(key=lambda span: span[1])
    for (one, _, stop), (other, start, _) in pairwise(found):
        if start < stop:
            raise DataError(f"{where}: the spans {one!r} and {other!r} overlap; keep one of them", field=name)
    return tuple(found)


def _span(value: Any, where: str, name: str) -> Span:
    if isinstance(value, Mapping) and {"start", "end", "label"} <= set(value):
        value = (value["label"], value["start"], value["end"])
    if not (isinstance(value, tuple | list) and len(value) == 3 and all(isinstance(each, int) for each in value[1:])):
        raise DataError(f'{where}: a span is {shown(value)}; give {{"start", "end", "label"}}', field=name)
    return _label(value[0], where, name, None), value[1], value[2]


def _tagged(item: Mapping[str, Any], where: str, name: str) -> Example:
    """Words with BIO tags, as a text of the words with a space between them."""
    from .scoring import spans

    words, tags = list(item["words"]), list(item.get("tags") or ())
    if len(words) != len(tags):
        raise DataError(f"{where}: {len(tags)} tags for {len(words)} words; pass one each", field=name)
    text = checked_text(" ".join(checked_text(word, f"{where}: a word", name) for word in words), where, name)
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word) + 1)
    found = [(label, ends[start], ends[stop] - 1) for label, start, stop in spans(tags)]
    return Example(text, None, tuple(found))


def _question(item: Any, where: str, name: str) -> Example:
    if not isinstance(item, Mapping) or not {"question", "context"} <= set(item):
        raise DataError(f"{where} is {shown(item)}; give {LAYOUTS['questions']}", field=name)
    question = checked_text(item["question"], f"{where}'s question", name)
    context = checked_text(item["context"], f"{where}'s context", name)
    return Example(question, context, tuple(_answers(item.get("answers"), context, where, name)))


def _answers(value: Any, context: str, where: str, name: str) -> Iterator[tuple[int, int]]:
    """(start, stop) of each answer in the context; none for a question that it does not answer."""
    if isinstance(value, Mapping) and "answer_start" in value:  # SQuAD's columns
        value = [{"text": t, "start": s} for t, s in zip(value["text"], value["answer_start"], strict=True)]
    for each in [value] if isinstance(value, str | Mapping) else value or ():
        text = each.get("text") if isinstance(each, Mapping) else each
        if not isinstance(text, str) or not text:
            raise DataError(f"{where}: an answer is {shown(each)}; give {LAYOUTS['questions']}", field=name)
        start = each.get("start") if isinstance(each, Mapping) else context.find(text)
        if not isinstance(start, int) or start < 0 or context[start : start + len(text)] != text:
            message = f"{where}: the answer {shown(text)} does not stand in the context at {start}"
            raise DataError(message, field=name)
        yield start, start + len(text)


def labels_of(found: Sequence[Example], kind: Kind, name: str = "data") -> tuple[str, ...]:
    """The labels in the targets, sorted. Raises DataError where there are not enough to tell apart."""
    of: dict[str, Callable[[Any], Iterable[str]]] = {
        "classification": lambda target: (target,),
        "multi-label": lambda target: target,
        "tokens": lambda target: (span[0] for span in target),
    }
    if kind not in of:
        return ()
    labels = sorted({label for each in found for label in of[kind](each.target)}, key=_naturally)
    if len(labels) < (2 if kind == "classification" else 1):
        there = f"one label, {labels[0]!r}" if labels else "no label"
        raise DataError(f"{name} has {there} in {len(found)} examples; there is nothing to tell apart", field=name)
    return tuple(labels)


def _naturally(label: str) -> tuple[int, float, str]:
    """Numbers in their order, before words."""
    return (0, int(label), label) if label.isdecimal() else (1, 0, label)
