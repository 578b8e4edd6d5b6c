"""Labels as files: CSV and JSON Lines with a label a row; Label Studio's JSON, in which models' labels are predictions;
captions as COCO writes them; CVAT's XML, in cvat.py.

All hold everything that a Label holds, beside what their own programs read; boxes are held by CSV, JSON Lines and CVAT.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from aigc_sdk import storage
from aigc_sdk.errors import DataError, DiskError, OptionError, printable, shown, suggestion

from . import cvat
from .labels import Label, Protocol

Format = Literal["csv", "jsonl", "label-studio", "coco", "cvat"]
BOXED = ("csv", "jsonl", "cvat")  # formats that have a place for boxes


def write_labels(labels: Iterable[Label], path: str | Path, *, format: Format | None = None, **about: Any) -> Path:
    """Write labels, whole or not at all.

    format: "csv", "jsonl", "label-studio", "coco", or "cvat" for CVAT's XML for images 1.1; None takes the suffix, .csv,
    .jsonl or .xml.
    about: for Label Studio `protocol`, a Protocol, and `data`, a mapping from ids to the task's data, such as
    {"text": ...}; for CVAT `sizes`, a mapping from ids to width and height in pixels, which some of its readers need.
    Raises OptionError, DataError and DiskError.
    """
    target = Path(path)
    chosen = _format(format or _SUFFIXES.get(target.suffix.lower(), target.suffix[1:]))
    taken = _ABOUT.get(chosen, ())
    for name in about:
        if name not in taken:
            message = f"write_labels has no option {name!r} for {chosen}.{suggestion(name, taken)}"
            raise OptionError(f"{message} There are {', '.join(taken) or 'none'}.", field=name)
    every = list(labels)
    for index, label in enumerate(every):
        if not isinstance(label, Label):
            raise DataError(f"labels[{index}] is a {type(label).__name__}; give prepare.Label", field="labels")
        if label.box is not None and chosen not in BOXED:
            message = f"labels[{index}] has a box, and {chosen} no place for it; use one of {', '.join(BOXED)}"
            raise DataError(message, field="labels")
    writers: dict[str, Callable[[], str]] = {
        "csv": lambda: _csv(every),
        "jsonl": lambda: "".join(json.dumps(asdict(label), ensure_ascii=False) + "\n" for label in every),
        "label-studio": lambda: _json(_tasks(every, **{"protocol": Protocol(""), "data": {}, **about})),
        "coco": lambda: _json(_captions(every)),
        "cvat": lambda: cvat.written(every, **about),
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
    suffix = source.suffix.lower()
    if format is None and suffix == ".json":
        chosen = "coco" if content.lstrip()[:1] == "{" else "label-studio"
    else:
        chosen = _format(format or _SUFFIXES.get(suffix, suffix[1:]))
    readers: dict[str, Callable[[str], Iterator[Label]]] = {
        "csv": _from_csv,
        "jsonl": _from_jsonl,
        "label-studio": _from_tasks,
        "coco": _from_captions,
        "cvat": cvat.read,
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


_ABOUT = {"label-studio": ("protocol", "data"), "cvat": ("sizes",)}
_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".xml": "cvat"}


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


FIELDS = ("item", "value", "by", "when", "confidence", "made_by", "box")


def _csv(labels: list[Label]) -> str:
    file = io.StringIO()
    rows = csv.DictWriter(file, FIELDS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(label) | {"box": label.box and " ".join(map(repr, label.box))} for label in labels)
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
        box = [float(side) for side in (row.get("box") or "").split()] or None
        yield _label({**row, "confidence": None if sure is None else float(sure), "box": box})


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
        row.get("box"),
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
