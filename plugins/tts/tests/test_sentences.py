"""The sentences of the recipe, and what its teacher makes of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aigc_sdk_tts import teacher
from aigc_sdk_tts.front import analyse
from aigc_sdk_tts.sentences import sentences, unseen


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert sentences(40, seed=3) == sentences(40, seed=3)
    assert sentences(40, seed=3) != sentences(40, seed=4)


def test_no_sentence_is_one_that_voices_are_judged_by() -> None:
    assert len(unseen()) >= 60
    assert not set(sentences(400, words=["alpha", "beta", "gamma", "delta", "omega", "theta"])) & set(unseen())


def test_judging_sentences_hold_figures_and_are_transcribed_without() -> None:
    assert sum(any(char.isdigit() for char in text) for text in unseen()) >= 20
    assert all(text.replace(" ", "").replace("'", "").isalpha() for text in unseen().values())


def test_the_teachers_phones_take_words_and_stress_from_ours() -> None:
    clauses = list(analyse("The table, now."))
    phones = ["pau", "dh", "ax", "t", "ey", "b", "ax", "l", "pau", "n", "aw", "pau"]
    rows = teacher.aligned(clauses, [(phone, 0.1 * (index + 1)) for index, phone in enumerate(phones)])
    assert rows is not None
    assert [row.phoneme for row in rows] == ["pau", "DH", "AH0", "T", "EY1", "B", "AH0", "L", "pau", "N", "AW1", "pau"]
    assert [row.mark for row in rows] == ["", "0", "0", "1", "1", "1", "1", "1", ",", "2", "2", "."]


@pytest.mark.parametrize("phones", ["pau dh ax pau t ey b ax l pau n aw pau", "pau w ah n t uw th r iy pau f ao r pau"])
def test_what_the_teacher_reads_otherwise_is_left_out(phones: str) -> None:
    pairs = [(phone, 0.1 * (index + 1)) for index, phone in enumerate(phones.split())]
    assert teacher.aligned(list(analyse("The table, now.")), pairs) is None


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_the_recipe_records_a_folder_to_train_on(tmp_path: Path) -> None:
    from aigc_sdk_tts.recipe import record
    from aigc_sdk_tts.recordings import recordings

    found = recordings(record(tmp_path / "speech", 8))
    assert 6 <= len(found) <= 8
    assert all(each.alignment is not None and each.alignment.is_file() for each in found)
