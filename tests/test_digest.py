"""What a run's record says of its data: a digest of what the trainer was given, and the fingerprint of what was prepared."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk.training.digest import data_digest, mark_prepared, prepared_fingerprint


class Fingerprinted(list[str]):
    """Data in memory, as a preparation of one's own may hand them on."""

    fingerprint = "sha256:ours"


def record(data: Any, run: Path, **options: Any) -> dict[str, Any]:
    aigc_sdk.trainer("echo").fit(data, max_steps=1, save_to=run, **options)
    return json.loads((run / "run.json").read_text())  # type: ignore[no-any-return]


def test_the_record_names_the_fingerprint_that_the_data_have(tmp_path: Path) -> None:
    found = record(Fingerprinted(["a text"]), tmp_path / "run")
    assert found["prepared"] == "sha256:ours"
    assert found["data"] == data_digest(["a text"])


def test_a_marked_file_has_its_fingerprint_until_it_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("a text")
    mark_prepared(file, "sha256:file")
    assert record(file, tmp_path / "run")["prepared"] == "sha256:file"
    file.write_text("a test")
    with pytest.warns(RuntimeWarning, match=r"no fingerprint of .*corpus\.txt: it was changed after it was prepared"):
        assert record(file, tmp_path / "other")["prepared"] is None


def test_a_marked_folder_has_its_fingerprint_wherever_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats/a.png").write_bytes(b"a")
    mark_prepared(folder, "sha256:folder")
    moved = folder.rename(tmp_path / "moved")
    assert prepared_fingerprint(moved) == prepared_fingerprint(str(moved)) == "sha256:folder"
    (moved / "cats/a.png").unlink()
    with pytest.warns(RuntimeWarning, match="it was changed"):
        assert prepared_fingerprint(moved) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"fingerprint": "x"}', b"[" * 100_000])
def test_a_damaged_mark_is_told_and_stops_no_training(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("a text")
    (tmp_path / "corpus.txt.prepared.json").write_bytes(content)
    with pytest.warns(RuntimeWarning, match="no fingerprint of"):
        assert record(file, tmp_path / "run")["prepared"] is None


@pytest.mark.parametrize("value", [3, "", "x" * 201])
def test_a_mark_without_a_sound_fingerprint_is_none(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("a text")
    mark_prepared(file, value)
    with pytest.warns(RuntimeWarning, match="no fingerprint of"):
        assert prepared_fingerprint(file) is None


@pytest.mark.parametrize(
    "data", ["digits", "no such\0file", "x" * 5000, "/nowhere/at/all", ["a"], None, {"a": 1}, iter(())]
)
def test_data_that_nobody_prepared_have_no_fingerprint(data: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepared_fingerprint(data) is None


def test_a_run_that_was_begun_before_records_had_fingerprints_goes_on(tmp_path: Path) -> None:
    old = record(["a text"], tmp_path / "run")
    del old["prepared"]
    (tmp_path / "run/run.json").write_text(json.dumps(old))
    assert record(["a text"], tmp_path / "run", resume=True)["prepared"] is None
