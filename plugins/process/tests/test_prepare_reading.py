"""Reading: whatever a user has becomes items, and what cannot be read is named."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from aigc_sdk import Audio, Image, Text, Video, media
from aigc_sdk.errors import AigcError, DataError, MediaError
from aigc_sdk_process import prepare
from aigc_sdk_process.prepare import reading


def texts(items: object) -> list[str]:
    return [str(item.artifact) for item in items]  # type: ignore[attr-defined]


def media_folder(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "cats").mkdir(parents=True)
    Image(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(folder / "cats" / "a.png")
    Audio(np.sin(np.arange(4000) / 9, dtype=np.float32)[None], sample_rate=8000).save(folder / "tone.wav")
    Video(rng.integers(0, 256, (10, 16, 16, 3), np.uint8), fps=10).save(folder / "film.mp4")
    Text("A line.").save(folder / "note.txt")
    return folder


def test_a_folder_gives_all_media_with_their_labels_and_names_what_it_could_not_read(tmp_path: Path) -> None:
    folder = media_folder(tmp_path)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (folder / "sheet.xls").write_bytes(b"?")
    (folder / ".hidden.png").write_bytes(b"?")
    journal = prepare.Journal()
    items = list(prepare.read(folder, journal))
    assert [(item.id, item.artifact.kind) for item in items] == [
        ("film.mp4", "video"),
        ("note.txt", "text"),
        ("tone.wav", "audio"),
        ("cats/a.png", "image"),
    ]
    assert items[-1].facts == {"label": "cats"}
    assert [(drop.id, drop.reason) for drop in journal.drops] == [
        ("broken.png", "corrupt"),
        ("sheet.xls", "unknown format"),
    ]


def test_what_is_no_file_is_named_and_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    journal = prepare.Journal()
    assert list(prepare.read(tmp_path, journal, encoding="latin-1")) == []
    assert {drop.id: drop.reason for drop in journal.drops} == {
        "pipe.txt": "unreadable", "gone.png": "unreadable", "loop": "link to a folder",
    }  # fmt: skip


def test_a_kind_a_rate_and_a_number_of_frames_can_be_asked_for(tmp_path: Path) -> None:
    folder = media_folder(tmp_path)
    [film] = prepare.read(folder, prepare.Journal(), kind="video", fps=5)
    [sound] = prepare.read(folder, prepare.Journal(), kind="audio", sample_rate=16000)
    assert isinstance(film.artifact, Video)
    assert isinstance(sound.artifact, Audio)
    assert (len(film.artifact.frames), film.artifact.fps, film.artifact.duration) == (5, 5, 1.0)
    assert (sound.artifact.sample_rate, sound.artifact.samples.shape) == (16000, (1, 8000))
    expected = np.sin(np.arange(8000) / 18)
    assert np.abs(sound.artifact.samples[0] - expected)[200:-200].max() < 0.01


def test_texts_in_other_encodings_are_read_and_their_encoding_is_noted(tmp_path: Path) -> None:
    russian = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n" * 5  # noqa: RUF001
    (tmp_path / "a.txt").write_bytes(russian.encode("cp1251"))
    (tmp_path / "b.txt").write_bytes("Grüße aus Köln".encode("utf-16"))
    (tmp_path / "c.txt").write_bytes("Grüße".encode())
    journal = prepare.Journal()
    assert texts(prepare.read(tmp_path, journal)) == [russian, "Grüße aus Köln", "Grüße"]
    assert journal.changes.total() == 2
    assert not journal.dropped


def test_a_line_with_bytes_of_no_encoding_is_named_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"one\n" + "zwölf\n".encode() * 60_000 + b"b\xffd\n\nlast")
    journal = prepare.Journal()
    found = texts(prepare.read(path, journal))
    assert (len(found), found[0], found[-1]) == (60_002, "one", "last")
    assert [(drop.id, drop.reason) for drop in journal.drops] == [("lines.txt:60002", "undecodable")]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LINE_LIMIT", 100)
    path = tmp_path / "lines.txt"
    path.write_text("a\n" + "b" * 1050 + "\nc\n")
    journal = prepare.Journal()
    assert texts(prepare.read(path, journal)) == ["a", "c"]
    assert [drop.id for drop in journal.drops] == ["lines.txt:2"]


ROWS = [{"text": f"Row {index}, with a comma", "author": f"a{index % 3}", "id": f"n{index}"} for index in range(5)]


def write_table(path: Path) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        with path.open("w", newline="") as file:
            rows = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            rows.writeheader()
            rows.writerows(ROWS)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_every_table_gives_the_same_items(suffix: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table.{suffix}"
    write_table(path)
    items = list(prepare.read(path, prepare.Journal(), id_column="id"))
    assert items == [prepare.Item(row["id"], Text(row["text"]), {"author": row["author"]}) for row in ROWS]


def test_dates_in_tables_pass_through_every_step(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    days = [datetime(2024, 5, day, tzinfo=UTC) for day in (17, 18)]
    rows = [{"text": text, "day": day, "cost": Decimal("1.50")} for text, day in zip("ab", days, strict=True)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    items = list(prepare.deduplicate(prepare.read(tmp_path / "t.parquet", prepare.Journal()), prepare.Journal()))
    assert items[0].facts == {"day": "2024-05-17T00:00:00+00:00", "cost": "1.50"}
    parts = prepare.split(items, {"old": 0.5, "new": 0.5}, by="time", time="day")
    assert [len(part) for part in parts.values()] == [1, 1]
    assert prepare.write(items, tmp_path / "t.jsonl") == 2


def test_rows_that_are_broken_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n{"text": \n[1]\n{"text": null}\n{"text": 3}\n{"other": 1}\n' + "[" * 100_000 + "\n")
    journal = prepare.Journal()
    assert texts(prepare.read(path, journal)) == ["a"]
    assert [(drop.id[-1], drop.reason) for drop in journal.drops] == [
        ("2", "malformed"), ("3", "malformed"), ("4", "empty"), ("5", "corrupt"), ("6", "empty"), ("7", "malformed"),
    ]  # fmt: skip
    table = tmp_path / "t.csv"
    table.write_text('text,author\na,b\nc\nd,e,f\n"g",h\n')
    assert texts(prepare.read(table, journal := prepare.Journal())) == ["a", "g"]
    assert journal.reasons == {"malformed": 2}


def test_a_data_set_is_read_with_its_labels_and_its_pictures_undecoded() -> None:
    datasets = pytest.importorskip("datasets")
    named = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_list([{"text": "a", "label": 1}, {"text": "b", "label": 0}], features=named)
    assert [item.facts["label"] for item in prepare.read(rows, prepare.Journal())] == ["yes", "no"]
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with_pictures = datasets.Dataset.from_dict({"image": [Image(pixels).to_pil()]}).cast_column(
        "image", datasets.Image()
    )
    [item] = prepare.read(with_pictures, prepare.Journal(), kind="image")
    assert item.artifact == Image(pixels)


def test_a_table_names_files_below_its_folder_and_none_elsewhere(tmp_path: Path) -> None:
    folder = media_folder(tmp_path / "data")
    Image(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "outside.png")
    names = ["cats/a.png", "../outside.png", str(tmp_path / "outside.png"), "none.png"]
    (folder / "t.jsonl").write_text("".join(json.dumps({"file_name": name, "by": "me"}) + "\n" for name in names))
    journal = prepare.Journal()
    [item] = prepare.read(folder / "t.jsonl", journal, kind="image")
    assert item.facts == {"by": "me"}
    assert journal.reasons == {"corrupt": 3}


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    folder = media_folder(tmp_path / "data")
    for kind in ("image", "audio", "video"):
        items = list(prepare.read(folder, prepare.Journal(), kind=kind))
        assert prepare.write(items, tmp_path / kind) == 1
        table = tmp_path / kind / "metadata.jsonl"
        again = list(prepare.read(table, prepare.Journal(), kind=kind, id_column="id"))
        assert [item.id for item in again] == [item.id for item in items]
        assert kind == "video" or again[0].artifact == items[0].artifact
    rows = [prepare.Item("a", Text("one\ntwo"), {"by": "me"}), prepare.Item("b", Text("drei"))]
    prepare.write(rows, tmp_path / "t.jsonl")
    assert list(prepare.read(tmp_path / "t.jsonl", prepare.Journal(), id_column="id")) == rows
    prepare.write(rows, tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text() == "one two\ndrei\n"


def test_written_pictures_open_as_a_folder_of_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    prepare.write([prepare.Item("x", Image(pixels), {"label": "cat"})], tmp_path / "out")
    found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    row = found["train"][0]
    assert (row["id"], row["label"]) == ("x", "cat")
    assert np.array_equal(np.asarray(row["image"]), pixels)


def test_a_journal_in_a_file_says_the_same_as_one_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\nnothing\n')
    kept = prepare.Journal()
    list(prepare.read(path, kept))
    with prepare.Journal(tmp_path / "drops.jsonl") as written:
        list(prepare.read(path, written))
        assert list(written.drops) == list(kept.drops)
    assert list(written.drops) == list(kept.drops)
    assert str(written) == str(kept)


def test_a_journal_stops_where_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\nnothing\n')
    with pytest.raises(DataError, match=r"t.jsonl:2 is left out: malformed"):
        list(prepare.read(path, prepare.Journal(stop_at=["malformed"])))


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    folder = media_folder(tmp_path)
    items = prepare.read(folder, journal := prepare.Journal())
    (folder / "film.mp4").write_bytes(b"no longer a film")
    next(items)
    assert journal.reasons == {"corrupt": 1}


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.webp", "a.wav", "a.flac", "a.mp3", "a.ogg", "a.mp4", "a.webm", "a.gif"]
)
def test_mutated_media_are_named_or_read_and_nothing_else_happens(name: str, tmp_path: Path) -> None:
    mutate(name, 12, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.webp", "a.wav", "a.flac", "a.mp3", "a.ogg", "a.mp4", "a.webm", "a.gif"]
)
def test_a_hundred_mutated_files_of_each_format_are_named_or_read(name: str, tmp_path: Path) -> None:
    mutate(name, 100, tmp_path)


def mutate(name: str, count: int, folder: Path) -> None:
    """Read, clean and compare files with bytes changed, cut out, put in, or cut off: every failure is in the journal."""
    rng = np.random.default_rng(len(name) + count)
    seconds = np.linspace(0, 1, 8000)
    kinds = {
        "image": Image(rng.integers(0, 256, (24, 32, 3), np.uint8)),
        "audio": Audio((0.5 * np.sin(2000 * seconds)).astype(np.float32)[None], sample_rate=8000),
        "video": Video(rng.integers(0, 256, (6, 32, 32, 3), np.uint8), fps=6),
    }
    whole = folder / name
    kinds[reading.media.FORMATS[whole.suffix[1:]].kind].save(whole)
    content = whole.read_bytes()
    whole.unlink()
    for index in range(count):
        changed = bytearray(content)
        place, size = int(rng.integers(len(content))), int(rng.integers(1, 64))
        if index % 4 == 0:
            for spot in rng.integers(0, len(content), size):
                changed[spot] = int(rng.integers(256))
        elif index % 4 == 1:
            changed = changed[:place]
        elif index % 4 == 2:
            del changed[place : place + size]
        else:
            changed[place:place] = rng.bytes(size)
        (folder / f"{index:03}{whole.suffix}").write_bytes(bytes(changed))
    journal = prepare.Journal()
    kind = reading.media.FORMATS[whole.suffix[1:]].kind
    cleaners = {"image": prepare.clean_pictures, "audio": prepare.clean_sounds, "video": prepare.clean_films}
    items = cleaners[kind](prepare.read(folder, journal), journal)
    try:
        kept = list(prepare.deduplicate(items, journal))
    except AigcError as error:
        raise AssertionError("a damaged file stopped the reading of the others") from error
    assert len(kept) + journal.dropped == count


def test_an_empty_sound_is_named(tmp_path: Path) -> None:
    Audio(np.zeros((1, 1), np.float32), sample_rate=8000).save(tmp_path / "a.wav")
    journal = prepare.Journal()
    assert len(list(prepare.read(tmp_path, journal, sample_rate=16000))) + journal.dropped == 1


def test_media_that_is_no_media_is_refused_when_written(tmp_path: Path) -> None:
    item = prepare.Item("a", Text("x"))
    for path in ("folder", "file.docx"):
        with pytest.raises((DataError, MediaError)):
            prepare.write([item], tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_importing_the_package_loads_neither_numpy_nor_torch_and_preparing_no_torch() -> None:
    code = "import sys, aigc_sdk_process; assert not {'numpy', 'torch', 'scipy'} & set(sys.modules); "
    code += "aigc_sdk_process.prepare.read; assert not {'torch', 'scipy', 'av', 'ftfy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sounds_of_a_data_set_are_read() -> None:
    datasets = pytest.importorskip("datasets")
    sound = Audio(np.sin(np.arange(4000) / 9, dtype=np.float32)[None] / 2, sample_rate=8000)
    content = {"bytes": media.encode(sound, "flac"), "path": "a.flac"}
    rows = datasets.Dataset.from_dict({"audio": [content], "speaker": ["ann"]})
    rows = rows.cast_column("audio", datasets.Audio())
    journal = prepare.Journal()
    [item] = prepare.read(rows, journal, kind="audio")
    assert item.facts == {"speaker": "ann"}
    assert isinstance(item.artifact, Audio)
    assert item.artifact.samples == pytest.approx(sound.samples, abs=1e-4)


def test_every_public_name_is_there_and_described() -> None:
    assert sorted(prepare.__all__) == prepare.__all__
    assert all(getattr(prepare, name).__doc__ for name in prepare.__all__)
