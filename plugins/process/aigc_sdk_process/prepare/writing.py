"""Writing items: texts as JSON Lines, other media as a folder that `datasets` opens too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aigc_sdk import media, storage
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import DataError, FolderError, MediaError, OptionError, printable, shown
from aigc_sdk.training.digest import mark_prepared

from .cards import Fingerprinting
from .items import Item, checked

SUFFIXES = {"image": "png", "audio": "flac", "video": "mp4"}
INDEX = "metadata.jsonl"


def write(items: Iterable[Item], path: str | Path, *, format: str | None = None) -> int:
    """Write items, and return how many there were.

    path: a .jsonl or .txt file for texts. JSON Lines hold id, text and facts; in .txt each text is a line, and its own line
    ends become spaces. A folder, new or empty, for pictures, sounds and films: one file each, and `metadata.jsonl` with
    file_name, id and facts, which `read(folder / "metadata.jsonl", journal, kind=...)` and the folder builders of
    `datasets` open. format: of the files in a folder; None is png, flac or mp4.
    The file or folder appears whole or not at all. A mark with the items' fingerprint, `prepared.json` in the folder or
    `NAME.prepared.json` beside the file, takes the fingerprint into the record of every run that trains on it.
    Raises DataError, MediaError, FolderError and DiskError.
    """
    target, source = Path(path), checked(items)
    if format is not None and format not in media.FORMATS:
        raise OptionError(f"format={shown(format)}: use one of {', '.join(media.FORMATS)}, or None", field="format")
    if target.suffix.lower() in (".jsonl", ".txt"):
        return _write_texts(source, target)
    if target.suffix and not target.is_dir():
        message = f"{printable(str(target))}: items are written as .jsonl, .txt, or a folder without a suffix"
        raise MediaError(message)
    return _write_folder(source, target, format)


def _write_texts(items: Iterable[Item], target: Path) -> int:
    count, found = 0, Fingerprinting()
    with storage.whole_file(target) as file:
        for item in items:
            if not isinstance(item.artifact, Text):
                message = f"{printable(item.id)} is of kind {item.artifact.kind!r}; write it into a folder"
                raise DataError(message, field="items")
            text = item.artifact.text
            line = " ".join(text.splitlines()) if target.suffix.lower() == ".txt" else _row(item, {"text": text})
            try:
                file.write(line.encode() + b"\n")
            except UnicodeEncodeError as error:
                message = f"{printable(item.id)} holds a lone surrogate; prepare.clean_texts() removes it"
                raise DataError(message, field="items") from error
            found.add(item)
            count += 1
    mark_prepared(target, str(found))
    return count


def _write_folder(items: Iterable[Item], target: Path, format: str | None) -> int:
    count, found = 0, Fingerprinting()

    def nothing(folder: Path) -> None: ...

    def never(folder: Path) -> bool:
        raise FolderError(f"{printable(str(folder))} is not empty; choose a new folder")

    with storage.whole_folder(target, replaces=never, finish=nothing) as folder:
        with (folder / INDEX).open("w", encoding="utf-8") as index:
            for item in items:
                suffix = format or SUFFIXES.get(item.artifact.kind)
                if suffix is None:
                    raise DataError(f"{printable(item.id)} is a text; write texts as .jsonl", field="items")
                name = f"{count:08}.{suffix}"
                item.artifact.save(folder / name)
                index.write(_row(item, {"file_name": name}) + "\n")
                found.add(item)
                count += 1
        mark_prepared(folder, str(found))
    return count


def _row(item: Item, content: dict[str, Any]) -> str:
    try:
        return json.dumps({**item.facts, "id": item.id, **content}, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        message = f"{printable(item.id)} has facts that JSON cannot hold ({error}); make them strings or numbers"
        raise DataError(message, field="items") from error
