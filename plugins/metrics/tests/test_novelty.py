"""Copying is found, new text is not accused."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_sdk.errors import DataError, OptionError
from aigc_sdk_metrics.text import TextMetrics
from aigc_sdk_metrics.text_novelty import Novelty, Training, read_training

TRAINING = "in the beginning god created the heaven and the earth and the earth was without form and void"


def test_novelty_is_the_part_of_n_grams_that_were_never_seen() -> None:
    metric = Novelty(Training([TRAINING], sizes=(2, 4)))
    rows = metric.gather(metric.batch(["God created the heaven and a hell", "and the earth"]))
    assert rows[0]["novelty_2"] == pytest.approx(2 / 6)  # "and a", "a hell"
    assert rows[0]["novelty_4"] == pytest.approx(2 / 4)
    assert rows[0]["longest_copy"] == 5  # "God created the heaven and"
    assert rows[1] == {"novelty_2": 0.0, "novelty_4": None, "longest_copy": 0.0}
    scores = metric.compute(0)
    assert scores["novelty_2"].value == pytest.approx(2 / 8)
    assert scores["longest_copy"].value == pytest.approx(2.5)
    assert "training text of 18 words" in scores["novelty_2"].protocol


def test_a_copy_has_nothing_new_and_other_words_have_nothing_old() -> None:
    metric = Novelty(Training([TRAINING]))
    copy, other = metric.gather(metric.batch([TRAINING, "nothing of this was ever there at all before now"]))
    assert copy["novelty_4"] == copy["novelty_8"] == 0
    assert copy["longest_copy"] == 18
    assert other["novelty_4"] == other["novelty_8"] == 1
    assert other["longest_copy"] == 0


def test_n_grams_do_not_run_over_the_ends_of_texts() -> None:
    split = Novelty(Training(["a b c d", "e f g h"], sizes=(4,)))
    assert split.gather(split.batch(["c d e f"]))[0]["novelty_4"] == 1


def test_training_texts_are_read_from_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.txt").write_text(TRAINING)
    (tmp_path / "two.md").write_text("another text of a few words for the other file")
    (tmp_path / "picture.png").write_bytes(b"\xff\xfe")
    report = TextMetrics().evaluate([TRAINING, "a few words for the"], metrics=("novelty",), training=(str(tmp_path),))
    assert report["novelty_4"].value == 0
    assert report["novelty_8"].n == 2


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for bad in ("no-such-file.txt", str(tmp_path / "binary.txt")):
        with pytest.raises(OptionError, match="cannot be read as UTF-8") as caught:
            read_training([bad])
        assert caught.value.field == "training"
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match=r"no \.txt or \.md"):
        read_training([str(tmp_path / "empty")])
    with pytest.raises(DataError, match="no 8 words that stand together"):
        Training(["too short"])
