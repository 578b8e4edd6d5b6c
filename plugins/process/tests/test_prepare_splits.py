"""Splits that stay, splits that are fair, and the page that describes them."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from aigc_sdk import Audio, Image, Text
from aigc_sdk.errors import DataError, InputError, MediaError, OptionError
from aigc_sdk_process import prepare

PARTS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def items(count: int) -> list[prepare.Item]:
    return [
        prepare.Item(
            f"n{index}",
            Text(f"text {index}"),
            {
                "label": "rare" if index % 10 == 0 else "usual",
                "author": f"a{index % 40}",
                "day": f"2024-01-{index % 28 + 1:02}",
            },
        )
        for index in range(count)
    ]


def ids(parts: dict[str, list[prepare.Item]]) -> dict[str, set[str]]:
    return {name: {item.id for item in part} for name, part in parts.items()}


@pytest.mark.parametrize(
    "way",
    [{}, {"by": "random"}, {"by": "stratified", "stratify": "label"}, {"by": "time", "time": "day"}, {"group": "author"},
     {"by": "random", "group": "author"}],
    ids=str,
)  # fmt: skip
def test_every_item_is_in_one_part_and_the_order_that_they_came_in_does_not_matter(way: dict[str, str]) -> None:
    given = items(400)
    found = prepare.split(given, PARTS, seed=3, **way)  # type: ignore[arg-type]
    assert list(found) == list(PARTS)
    assert sorted(item.id for part in found.values() for item in part) == sorted(item.id for item in given)
    assert abs(len(found["train"]) - 320) <= (80 if "group" in way else 40)  # 40 groups of 10
    mixed = random.Random(0).sample(given, len(given))
    assert ids(prepare.split(mixed, PARTS, seed=3, **way)) == ids(found)  # type: ignore[arg-type]


def test_an_item_stays_in_its_part_when_others_are_added() -> None:
    before, after = (ids(prepare.split(items(count), PARTS)) for count in (500, 5000))
    assert all(before[name] <= after[name] for name in PARTS)
    shares = {name: len(after[name]) / 5000 for name in PARTS}
    assert all(abs(shares[name] - share) < 0.02 for name, share in PARTS.items())
    assert all(
        prepare.part_of(item, PARTS) == next(name for name in PARTS if item.id in after[name]) for item in items(50)
    )


def test_random_parts_have_their_size_and_seeds_differ() -> None:
    one, two = (prepare.split(items(1003), PARTS, by="random", seed=seed) for seed in (0, 1))
    assert [len(part) for part in one.values()] == [803, 100, 100]
    assert ids(one) != ids(two)


def test_groups_are_not_divided() -> None:
    for by in ("hash", "random"):
        parts = prepare.split(items(400), PARTS, by=by, group="author")  # type: ignore[arg-type]
        authors = [{item.facts["author"] for item in part} for part in parts.values()]
        assert sum(map(len, authors)) == 40


def test_strata_have_the_same_shares_in_every_part() -> None:
    parts = prepare.split(items(1000), PARTS, by="stratified", stratify="label")
    counts = {name: Counter(item.facts["label"] for item in part) for name, part in parts.items()}
    assert {name: each["rare"] for name, each in counts.items()} == {"train": 80, "validation": 10, "test": 10}


def test_single_items_of_many_rare_strata_do_not_all_come_to_one_part() -> None:
    given = [prepare.Item(f"n{index}", Text(""), {"label": index}) for index in range(200)]
    parts = prepare.split(given, {"a": 0.5, "b": 0.5}, by="stratified", stratify="label")
    assert 70 <= len(parts["a"]) <= 130


def test_nothing_in_training_is_later_than_anything_in_the_test() -> None:
    parts = prepare.split(items(300), PARTS, by="time", time="day")
    days = {name: [item.facts["day"] for item in part] for name, part in parts.items()}
    assert max(days["train"]) < min(days["validation"]) <= max(days["validation"]) < min(days["test"])
    dates = [prepare.Item(str(day), Text(""), {"day": date(2024, 1, day)}) for day in range(1, 11)]
    late = prepare.split(dates, {"old": 0.5, "new": 0.5}, by="time", time="day")["new"]
    assert [item.facts["day"].day for item in late] == [6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"parts": {"train": 0.8}}, "sum to 0.8"),
        ({"parts": {}}, "parts"),
        ({"parts": {"train": 1.5, "test": -0.5}}, "parts\\['train'\\]=1.5"),
        ({"by": "radnom"}, "Did you mean 'random'"),
        ({"by": "stratified"}, "stratify=None"),
        ({"stratify": "label"}, "leave it out"),
        ({"by": "time", "time": "dya"}, "Did you mean 'day'"),
        ({"by": "time", "time": "label"}, "ISO 8601"),
        ({"by": "time", "time": "day", "group": "author"}, "groups go with"),
        ({"seed": -1}, "seed=-1"),
        ({"group": "writer"}, "no fact 'writer'"),
    ],
)
def test_bad_calls_are_refused(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        prepare.split(items(10), **{"parts": PARTS, **arguments})  # type: ignore[arg-type]


def test_names_that_stand_twice_are_refused() -> None:
    with pytest.raises(DataError, match="two items are named n0"):
        prepare.split([*items(3), *items(1)], PARTS)


def test_a_fingerprint_is_of_names_contents_facts_and_order() -> None:
    given = items(5)
    same = prepare.fingerprint(items(5))
    assert prepare.fingerprint(iter(given)) == same
    assert same.startswith("sha256:")
    changed = [
        given[:4],
        given[::-1],
        [*given[:4], prepare.Item("n4", Text("text 4."), given[4].facts)],
        [*given[:4], prepare.Item("n5", Text("text 4"), given[4].facts)],
        [*given[:4], prepare.Item("n4", Text("text 4"), {**given[4].facts, "label": "other"})],
    ]
    assert len({same, *map(prepare.fingerprint, changed)}) == 6


def test_a_card_counts_what_there_is(tmp_path: Path) -> None:
    parts = prepare.split(items(100), {"train": 0.9, "test": 0.1}, by="random")
    journal = prepare.Journal()
    journal.drop("x", "too short")
    leaks = prepare.leakage(parts, near=False)
    made = prepare.card(parts, name="Numbers", about="Made up.", licence="CC0-1.0", journal=journal, leakage=leaks)
    train = made.splits["train"]
    assert (train["count"], train["kind"], train["size"]["unit"]) == (90, "text", "characters")
    assert train["fingerprint"] == prepare.fingerprint(parts["train"])
    assert sum(train["facts"]["label"]["most common"].values()) == 90
    assert json.loads(made.save(tmp_path / "card.json").read_text())["licence"] == "CC0-1.0"
    page = made.save(tmp_path / "card.md").read_text()
    assert "# Numbers" in page
    assert "| train | text | 90 |" in page
    assert "too short" in page
    assert "2024-01-01" in page
    with pytest.raises(MediaError):
        made.save(tmp_path / "card.docx")


def test_a_card_shows_hostile_texts_as_text() -> None:
    given = [prepare.Item("a|b", Text("<script>alert(1)</script> | [x](y)\n# head"), {"label": "<b>"})]
    page = str(prepare.card({"all": given}, name="x"))
    assert "<script>" not in page.replace("\\<", "")
    assert "\n# head" not in page


def test_cards_are_of_every_kind() -> None:
    sound = Audio(np.zeros((1, 800), np.float32), sample_rate=8000)
    picture = Image(np.zeros((4, 6, 3), np.uint8))
    found = prepare.card({"s": [prepare.Item("s", sound)], "p": [prepare.Item("p", picture)], "none": []}, name="x")
    assert (found.splits["s"]["size"]["total"], found.splits["p"]["size"]["total"]) == (0.1, 24)
    assert found.splits["none"]["count"] == 0
    assert str(found)
    with pytest.raises(OptionError, match="name"):
        prepare.card({"s": []}, name="")
    with pytest.raises(DataError, match="splits"):
        prepare.card([], name="x")  # type: ignore[arg-type]
