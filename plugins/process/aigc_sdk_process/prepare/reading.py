"""Items from folders, tables and data sets, one at a time: what cannot be read is named in the journal."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import Decimal
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np

from aigc_sdk import media
from aigc_sdk._limits import FILE_LIMIT
from aigc_sdk.artifacts import Artifact, Audio, Image, Text, Video
from aigc_sdk.errors import DataError, DiskError, InputError, MediaError, OptionError, printable, shown, suggestion
from aigc_sdk.runtime import require

from .items import Item, Journal, journal_of, kind_of

SAMPLE = 1 << 18  # bytes from which the encoding of a file is told
LINE_LIMIT = 1 << 24  # characters; a longer line is left out, so that one without ends does not fill the memory
TABLES = {".jsonl": "JSON Lines", ".csv": "CSV", ".tsv": "tab-separated values", ".parquet": "Parquet"}
TEXTS = (".txt", ".md")
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are none of the encoding's


@dataclass(frozen=True)
class _Wanted:
    """The arguments of `read`, checked."""

    journal: Journal
    kind: str | None
    column: str | None
    id_column: str | None
    encoding: str | None
    sample_rate: int | None
    fps: float | None


def read(
    source: Any,
    journal: Journal,
    *,
    kind: str | None = None,
    column: str | None = None,
    id_column: str | None = None,
    encoding: str | None = None,
    sample_rate: int | None = None,
    fps: float | None = None,
) -> Iterator[Item]:
    """Items from what a user has, read as they are asked for.

    source: one of
      - a folder: each file that `aigc_sdk.media` reads is an item, named by its path in the folder, and the first folder in
        that path is its label. Hidden files are passed over; links to folders are not followed.
      - a .txt or .md file: each line that is not blank is an item
      - a .jsonl, .csv, .tsv or .parquet file: each row is an item, and its other columns are the item's facts
      - a `datasets.Dataset` or `IterableDataset`
      - a list or other iterable of strings, artifacts, rows (mappings) or Items
    journal: where what cannot be read is named, with the reason; nothing stops, unless the journal is told to.
    kind: "text", "image", "audio" or "video"; None takes all in a folder, and text in tables.
    column: of the text, or of the files' names, which are below the table's folder; None is "text" or "file_name".
    id_column: of the items' names; None names them by their place, such as "corpus.jsonl:12".
    encoding: of text files; None takes UTF-8 where the beginning of the file is, and otherwise what charset-normalizer says.
    sample_rate: in Hz, to which sounds are resampled; None leaves them as they are.
    fps: frames per second that are taken from films, the nearest ones; None takes all.

    Raises DataError for a source that is none of these or lacks the column, OptionError, MissingDependency for Parquet
    without pyarrow, DiskError for a source that cannot be reached.
    """
    wanted = _Wanted(
        journal_of(journal),
        kind_of(kind),
        _name(column, "column"),
        _name(id_column, "id_column"),
        _encoding_name(encoding),
        _rate(sample_rate, "sample_rate", 1000, 384_000, int),
        _rate(fps, "fps", 0.01, 1000, int | float),
    )
    if isinstance(source, str | Path):
        return _from_path(Path(source).expanduser(), wanted)
    if hasattr(source, "features") and hasattr(source, "cast_column"):
        return _from_dataset(source, wanted)
    if isinstance(source, Iterable) and not isinstance(source, bytes | Mapping | Artifact | Item):
        return _from_iterable(source, wanted)
    remedy = "pass one of its parts, such as source['train']" if isinstance(source, Mapping) else "pass a list of them"
    if not isinstance(source, Mapping | Artifact | Item):
        remedy = "pass a folder, a file, a datasets.Dataset or a list"
    raise DataError(f"source is a {type(source).__name__}; {remedy}", field="source")


def _from_path(path: Path, wanted: _Wanted) -> Iterator[Item]:
    where = printable(str(path))
    try:
        if path.is_dir():
            return _from_folder(path, wanted)
        found = path.is_file()
    except (OSError, ValueError) as error:
        raise DiskError(f"{where} cannot be reached: {error}") from error
    suffix = path.suffix.lower()
    if not found:
        raise DataError(f"source: there is no file or folder {where}", field="source")
    if suffix in TEXTS and wanted.kind in (None, "text"):
        return _from_lines(path, wanted)
    if suffix not in TABLES:
        known = ", ".join((*TEXTS, *TABLES))
        message = (
            f"source: {where} is no table of items ({known}); for one file give its folder, or a list of artifacts"
        )
        raise DataError(message, field="source")
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".tsv": _csv_rows, ".parquet": _parquet_rows}
    return _from_rows(readers[suffix](path, wanted), path.name, path.parent, wanted)


def _from_folder(folder: Path, wanted: _Wanted) -> Iterator[Item]:
    for path in _files(folder):
        inside = path.relative_to(folder)
        id, suffix = inside.as_posix(), path.suffix[1:].lower()
        facts = {"label": inside.parts[0]} if len(inside.parts) > 1 else {}
        if path.is_dir():
            wanted.journal.drop(id, "link to a folder", "it is not followed; put the folder itself there")
        elif not path.is_file():  # opening a FIFO would wait for ever
            wanted.journal.drop(id, "unreadable", "it is no ordinary file")
        elif suffix not in media.FORMATS:
            wanted.journal.drop(id, "unknown format", f"known are {', '.join(media.FORMATS)}")
        elif wanted.kind in (None, media.FORMATS[suffix].kind):
            item = _item(id, lambda path=path: _artifact(path, wanted), facts, wanted)  # type: ignore[misc]
            if item is not None:
                yield item


def _files(folder: Path) -> Iterator[Path]:
    """Every file and every link to a folder, in the order of their names; nothing that is hidden."""

    def refuse(error: OSError) -> None:
        raise DiskError(f"{printable(str(error.filename))} cannot be read: {error.strerror or error}") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        links = [each for each in folders if os.path.islink(os.path.join(root, each))]
        yield from (Path(root, each) for each in sorted((*links, *files)) if not each.startswith("."))


def _item(id: str, load: Callable[[], Artifact], facts: Mapping[str, Any], wanted: _Wanted) -> Item | None:
    """The item, or None after its failure was noted."""
    try:
        return Item(id, _fitted(load(), wanted), facts)
    except (MediaError, InputError) as error:
        wanted.journal.drop(id, "corrupt", str(error))
    except DiskError as error:
        wanted.journal.drop(id, "unreadable", str(error))
    return None


def _artifact(path: Path, wanted: _Wanted) -> Artifact:
    """A file's artifact; texts may be in any encoding."""
    if path.suffix.lower() not in TEXTS:
        return media.read(path)
    try:
        if wanted.encoding in (None, "utf-8"):
            return media.read(path)
    except MediaError as error:
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise MediaError(f"it has {path.stat().st_size:,} bytes; the limit is {FILE_LIMIT:,}: read it by lines")
        content = path.read_bytes()
        encoding = wanted.encoding or told_encoding(content[:SAMPLE])
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise MediaError(f"it is no {encoding}: {error.reason} at byte {error.start:,}") from error
    except OSError as error:
        raise DiskError(f"it cannot be read: {error.strerror or error}") from error
    wanted.journal.change(f"decoded from {encoding}")
    return Text(text)


def told_encoding(sample: bytes) -> str:
    """The encoding of the text that begins with `sample`. Raises MediaError where there is none."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if sample.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # which may end within a character
    except UnicodeDecodeError:
        import charset_normalizer

        best = charset_normalizer.from_bytes(sample).best()
        if best is None:
            raise MediaError("its encoding cannot be told; name it (encoding=), or leave it out") from None
        return best.encoding
    return "utf-8"


def _from_lines(path: Path, wanted: _Wanted) -> Iterator[Item]:
    for number, line in _lines(path, wanted):
        if line and not line.isspace():
            yield Item(f"{path.name}:{number}", Text(line.rstrip("\n")))


def _lines(path: Path, wanted: _Wanted) -> Iterator[tuple[int, str]]:
    """The lines of a text file and their numbers; what is too long or cannot be decoded is noted and left out."""
    number = 0
    try:
        with _opened(path, wanted) as file:
            while line := file.readline(LINE_LIMIT):
                number += 1
                if len(line) == LINE_LIMIT and not line.endswith("\n"):
                    while (rest := file.readline(LINE_LIMIT)) and not rest.endswith("\n"):
                        pass
                    wanted.journal.drop(f"{path.name}:{number}", "line too long", f"over {LINE_LIMIT:,} characters")
                elif not line.isascii() and _ESCAPED.search(line):
                    wanted.journal.drop(f"{path.name}:{number}", "undecodable", f"it is no {file.encoding}")
                else:
                    yield number, line
    except UnicodeError as error:
        wanted.journal.drop(f"{path.name}:{number + 1}", "undecodable", f"reading ends here: {error}")
    except OSError as error:
        raise DiskError(f"{printable(str(path))} cannot be read: {error.strerror or error}") from error


def _opened(path: Path, wanted: _Wanted) -> TextIO:
    with path.open("rb") as file:
        encoding = wanted.encoding or told_encoding(file.read(SAMPLE))
    if encoding not in ("utf-8", "utf-8-sig", "ascii"):
        wanted.journal.change(f"decoded from {encoding}")
    # A byte that is none of the encoding's becomes a lone surrogate, so that only its line is lost.
    return io.TextIOWrapper(path.open("rb"), encoding, errors="surrogateescape")


def _jsonl_rows(path: Path, wanted: _Wanted) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path, wanted):
        if line.isspace():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            wanted.journal.drop(f"{path.name}:{number}", "malformed", f"no JSON: {printable(str(error))}")


def _csv_rows(path: Path, wanted: _Wanted) -> Iterator[tuple[int, Any]]:
    lines = (line for _, line in _lines(path, wanted))
    rows = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        number += 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            wanted.journal.drop(f"{path.name}:{number}", "malformed", str(error))
            continue
        if header is None:
            header = cells
        elif cells and len(cells) != len(header):
            detail = f"{len(cells)} cells in {len(header)} columns"
            wanted.journal.drop(f"{path.name}:{number}", "malformed", detail)
        elif cells:
            yield number, dict(zip(header, cells, strict=True))


def _parquet_rows(path: Path, wanted: _Wanted) -> Iterator[tuple[int, Any]]:
    parquet = require("pyarrow.parquet", "aigc-sdk-process[parquet]", "reading Parquet")
    lib = require("pyarrow.lib", "aigc-sdk-process[parquet]", "reading Parquet")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (lib.ArrowException, OSError, ValueError) as error:
        message = f"source: {printable(str(path))} is no Parquet file that can be read, after {number:,} rows: {error}"
        raise DataError(message, field="source") from error


def _from_rows(rows: Iterator[tuple[int, Any]], table: str, folder: Path | None, wanted: _Wanted) -> Iterator[Item]:
    """Items of a table's rows; the first row must have the column."""
    first = next(rows, None)
    if first is None:
        return iter(())
    column = wanted.column or ("text" if wanted.kind in (None, "text") else "file_name")
    for name in filter(None, (column, wanted.id_column)):
        if not isinstance(first[1], Mapping) or name not in first[1]:
            columns = list(first[1]) if isinstance(first[1], Mapping) else []
            listed = ", ".join(printable(str(each)) for each in columns) or "none"
            message = f"{table} has no column {name!r}.{suggestion(name, map(str, columns))} Columns: {listed}."
            raise DataError(f"source: {message}", field="column" if name == column else "id_column")
    every = chain([first], rows)
    return (item for number, row in every if (item := _row_item(number, row, table, folder, column, wanted)))


def _row_item(number: int, row: Any, table: str, folder: Path | None, column: str, wanted: _Wanted) -> Item | None:
    place = f"{table}:{number}"
    if not isinstance(row, Mapping):
        wanted.journal.drop(place, "malformed", f"a {type(row).__name__}, not a row of named columns")
        return None
    facts = {str(key): _plain(value) for key, value in row.items() if key not in (column, wanted.id_column)}
    value = row.get(column)
    id = place if wanted.id_column is None else str(row.get(wanted.id_column, place))
    if value is None or value == "":
        wanted.journal.drop(id, "empty", f"nothing in the column {column!r}")
        return None
    return _item(id, lambda: _cell(value, folder, wanted), facts, wanted)


def _plain(value: Any) -> Any:
    """Dates as text in ISO 8601 and decimals as text, which every later step and file can hold."""
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _cell(value: Any, folder: Path | None, wanted: _Wanted) -> Artifact:
    """What one cell holds: an artifact, a text, a file's name, or a file's bytes as data sets keep them."""
    if isinstance(value, Artifact):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return _from_bytes(value["bytes"], str(value.get("path") or ""))
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        return media.read(value["path"])
    if not isinstance(value, str):
        raise DataError(f"it is a {type(value).__name__}; a text or a file's name is wanted")
    if wanted.kind in (None, "text"):
        return Text(value)
    name = PurePosixPath(value)
    if folder is None or name.is_absolute() or ".." in name.parts or "\\" in value:
        raise DataError(f"the file {printable(value)!r} is not below the table's folder")
    return _artifact(folder / name, wanted)


def _from_bytes(content: bytes, name: str) -> Artifact:
    suffix = Path(name).suffix[1:].lower()
    if suffix not in media.FORMATS or media.FORMATS[suffix].kind == "image":
        pixels = media.pixels(content)
        return Image(pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels)
    try:
        return media.FORMATS[suffix].decode(content, suffix)[0]
    except MediaError:
        raise
    except Exception as error:  # whatever a codec raises; its own words may hold addresses
        raise MediaError(f"it cannot be read as {suffix}: it is damaged, or something else") from error


def _from_dataset(data: Any, wanted: _Wanted) -> Iterator[Item]:
    """Rows of a `datasets.Dataset`, its files undecoded, so that they pass the same gate as others."""
    features = data.features or {}
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    for name, kind in kinds.items():
        if kind in ("Image", "Audio", "Video"):
            data = data.cast_column(name, type(features[name])(decode=False))
    column = wanted.column
    if column is None and wanted.kind not in (None, "text"):
        column = next((name for name, kind in kinds.items() if kind.lower() == wanted.kind), None)
    names = {name: list(features[name].names) for name, kind in kinds.items() if kind == "ClassLabel"}

    def rows() -> Iterator[tuple[int, Any]]:
        for number, row in enumerate(data):
            named = {name: names[name][row[name]] for name in names if isinstance(row[name], int) and row[name] >= 0}
            yield number, {**row, **named}

    return _from_rows(rows(), "source", None, replace(wanted, column=column))


def _from_iterable(source: Iterable[Any], wanted: _Wanted) -> Iterator[Item]:
    def each() -> Iterator[Item]:
        for index, value in enumerate(source):
            place = f"source:{index}"
            if isinstance(value, Item):
                item: Item | None = value
            elif isinstance(value, str | Artifact):
                made = Text(value) if isinstance(value, str) else value
                item = _item(place, lambda made=made: made, {}, wanted)  # type: ignore[misc]
            elif isinstance(value, Mapping):
                column = wanted.column or ("text" if wanted.kind in (None, "text") else "file_name")
                item = _row_item(index, value, "source", None, column, wanted)
            else:
                message = f"source[{index}] is a {type(value).__name__}; give strings, artifacts, rows or Items"
                raise DataError(message, field="source")
            if item is not None and wanted.kind in (None, item.artifact.kind):
                yield item

    return each()


def _fitted(artifact: Artifact, wanted: _Wanted) -> Artifact:
    """A sound at the rate that is wanted, and a film with the frames that are."""
    if isinstance(artifact, Audio) and wanted.sample_rate not in (None, artifact.sample_rate):
        return resampled(artifact, wanted.sample_rate or 0)
    if isinstance(artifact, Video) and wanted.fps not in (None, artifact.fps):
        return at_rate(artifact, wanted.fps or 0)
    return artifact


def resampled(audio: Audio, sample_rate: int) -> Audio:
    """A sound at another rate in Hz, with the origin that it had."""
    from aigc_sdk_process.finish.audio import resample

    return replace(resample(audio, sample_rate), origin=audio.origin)


def at_rate(video: Video, fps: float) -> Video:
    """A film with the nearest frames at another rate in frames per second; it lasts as long."""
    count = max(1, round(len(video.frames) * fps / video.fps)) if len(video.frames) else 0
    places = ((np.arange(count) + 0.5) * video.fps / fps).astype(np.int64).clip(0, max(0, len(video.frames) - 1))
    return replace(video, frames=video.frames[places], fps=fps)


def _name(value: Any, field: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise OptionError(f"{field}={shown(value)}: give a column's name, or None", field=field)
    return value


def _encoding_name(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return codecs.lookup(value).name
    except (LookupError, TypeError) as error:
        message = f"encoding={shown(value)}: Python knows no such encoding; give one such as 'utf-8', or None"
        raise OptionError(message, field="encoding") from error


def _rate(value: Any, field: str, least: float, most: float, types: Any) -> Any:
    if value is None or (isinstance(value, types) and not isinstance(value, bool) and least <= value <= most):
        return value
    raise OptionError(f"{field}={shown(value)}: give a number from {least:,} to {most:,}, or None", field=field)
