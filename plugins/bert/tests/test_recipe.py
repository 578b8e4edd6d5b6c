"""The default models are what their recipe makes, and as good as their figures say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aigc_sdk_bert import books
from aigc_sdk_bert.folders import DEFAULT, JUDGE
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.model import BERT
from aigc_sdk_bert.recipe import by_the_commonest, export, judged, pretrain, tune


def test_the_passages_are_of_all_books_on_their_shelves() -> None:
    found = books.passages()
    shelves = {each.book: each.kind for each in found}
    assert len(shelves) == 66
    assert shelves["Genesis"] == "law"
    assert shelves["Acts"] == "history"
    assert shelves["Revelation"] == "prophecy"
    assert found[0].text.startswith("In the beginning God created the heaven")
    assert not any(any(char.isdigit() for char in each.text) for each in found)


def test_no_passage_is_in_two_parts_and_no_unseen_book_in_any_other() -> None:
    parts = {part: set(books.of(part)) for part in ("training", "calibration", "held-out", "unseen")}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values()))
    assert {kind for _, kind in parts["unseen"]} == set(books.KINDS)
    seen = {each.book for each in books.passages() if each.part != "unseen"}
    assert not seen & set(books.UNSEEN)


def test_the_default_models_are_small_and_open_in_float32() -> None:
    for folder, opened in ((DEFAULT, BERT.open(device="cpu")), (JUDGE, Judge.open(device="cpu"))):
        assert sum(each.stat().st_size for each in folder.iterdir()) <= 5_000_000
        assert {each.dtype for each in opened.network.parameters()} == {torch.float32}
        assert opened.source == ""


@pytest.mark.parametrize("part", ["held-out", "unseen"])
def test_the_default_judge_tells_kinds_far_better_than_the_commonest_would(part: str) -> None:
    report = judged(Judge.open(device="cpu"), part)
    low, _ = report["accuracy"].interval or (0, 0)
    assert low > by_the_commonest(part) + 0.15


def test_the_recipe_makes_both_models_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {part: books.of(part)[:40] for part in ("training", "calibration")}
    monkeypatch.setattr(books, "of", lambda part: few[part])
    silent = {"on_step": lambda step: None}
    export(pretrain(tmp_path / "runs" / "default", 2, **silent), tmp_path / "default")
    judge = tune(tmp_path / "default", tmp_path / "runs" / "judge", 2, **silent)
    assert judge.labels == books.KINDS
    export(judge, tmp_path / "judge")
    assert Judge.open(tmp_path / "judge", device="cpu").predict(["And it came to pass"]).shape == (1, 6)
