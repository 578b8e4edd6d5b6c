"""Cleaning texts, and what of them is personal."""

from __future__ import annotations

import pytest

from aigc_sdk import Image, Text
from aigc_sdk.errors import AigcError, DataError, OptionError
from aigc_sdk.training.corpus import sample_text
from aigc_sdk_process import prepare
from aigc_sdk_process.prepare import texts


def cleaned(*given: str, **rules: object) -> tuple[list[str], dict[str, str]]:
    """The texts that stay, and for the names of the others (0, 1, ...) the reasons."""
    journal = prepare.Journal()
    items = [prepare.Item(str(index), Text(text)) for index, text in enumerate(given)]
    kept = [str(item.artifact) for item in prepare.clean_texts(items, journal, **rules)]
    return kept, {drop.id: drop.reason for drop in journal.drops}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("The cafÃ© is â€œopenâ€\x9d", "The café is “open”"),
        ("Fish &amp; chips", "Fish & chips"),
        ("o\ufb03ce", "office"),
        ("nai\u0308ve", "naïve"),
        ("a\x00b\x07c\u200f\u202ed\ufeff", "abcd"),
        ("  two   spaces\t here \n\n\n\n and lines\r\nend ", "two spaces here\n\nand lines\nend"),
        ("Plain text stays.", "Plain text stays."),
        ("emoji 👩‍👩‍👧 and हिन्दी stay", "emoji 👩‍👩‍👧 and हिन्दी stay"),
    ],
)
def test_texts_are_mended(given: str, wanted: str) -> None:
    assert cleaned(given)[0] == [wanted]


def test_every_text_that_is_left_out_has_its_reason() -> None:
    prose = "It was the best of times, it was the worst of times, it was the age of wisdom."
    kept, reasons = cleaned(
        prose,
        "   ",
        "tiny",
        "word " * 300,
        "buy now cheap pills " * 12,
        "1 2 3 | 4 5 6 | 7 8 9 | 10",
        "We use cookies to improve your visit.",
        "\u200f\u202e\x00",
        min_characters=10,
        max_characters=1000,
        max_repeated=0.5,
    )
    assert kept == [prose]
    assert reasons == {
        "1": "empty", "2": "too short", "3": "too long", "4": "repetitive", "5": "few letters", "6": "boilerplate",
        "7": "empty",
    }  # fmt: skip


def test_the_journal_says_by_how_much() -> None:
    journal = prepare.Journal()
    list(prepare.clean_texts([prepare.Item("a", Text("tiny"))], journal, min_characters=10))
    assert [drop.detail for drop in journal.drops] == ["4 characters, at least 10 are wanted"]
    assert "1  too short" in str(journal)
    assert journal.to_dict()["reasons"] == {"too short": 1}


def test_boilerplate_lines_go_and_the_text_around_them_stays() -> None:
    page = "Skip to main content\nThe story itself is here.\nAll rights reserved 2024"
    assert cleaned(page)[0] == ["The story itself is here."]
    assert cleaned(page, boilerplate=["the story"])[0] == ["Skip to main content\nAll rights reserved 2024"]


def test_repetition_is_told_in_scripts_without_spaces_too() -> None:
    assert texts.repeated("哈" * 50) > 0.9
    assert texts.repeated("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏") == 0
    assert texts.repeated("a" * 1000) > 0.9
    assert texts.repeated("one two three") == 0


def test_real_prose_stays_as_it_is() -> None:
    verses = [line for line in sample_text()[:100_000].split("\n") if line]
    kept, reasons = cleaned(*verses)
    assert len(kept) >= 0.999 * len(verses), reasons
    assert kept[:5] == [verse.strip() for verse in verses[:5]]


def test_texts_in_other_languages_are_left_out() -> None:
    pytest.importorskip("py3langid")
    kept, reasons = cleaned(
        "This is a sentence in plain English, and here is more of it.",
        "Dies ist ein Satz auf Deutsch, und hier steht noch etwas mehr.",
        "这是一个用中文写的句子，这里还有更多的内容。",  # noqa: RUF001
        languages=["en", "zh"],
    )
    assert len(kept) == 2
    assert reasons == {"1": "language"}


PRIVATE = {
    "email": ["jo.doe+tag@mail.example.co.uk", "o'hara@example.org", "müller@bücher.example"],
    "phone": ["+44 20 7946 0958", "(555) 123-4567", "555-123-4567", "13812345678", "06 12 34 56 78", "+8613812345678",
              "030 1234567", "612 345 678"],
    "card": ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444", "3782 822463 10005"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606", "NO93 8601 1117 947"],
    "cn_resident_id": ["11010519491231002X", "440524188001010014"],
    "us_ssn": ["078-05-1120", "219 09 9999"],
    "es_dni": ["12345678Z", "X1234567L", "12.345.678-Z"],
    "fr_nir": ["2 55 08 14 168 025 38", "255081416802538", "180052A10200188"],
    "it_codice_fiscale": ["RSSMRA85T10A562S"],
    "br_cpf": ["529.982.247-25", "52998224725"],
}  # fmt: skip


def corsican() -> str:
    body = "180052A102001"
    return f"{body}{97 - int(body.replace('2A', '19')) % 97:02}"


@pytest.mark.parametrize("kind", PRIVATE)
def test_personal_data_are_found_in_the_middle_of_a_sentence(kind: str) -> None:
    for number in PRIVATE[kind]:
        given = corsican() if number.startswith("180052A") else number
        for sentence in (f"Mine is {given}, yours?", f"({given}).", f"号码{given}号" if given[0].isdigit() else given):
            found = [(each.kind, sentence[each.start : each.stop]) for each in prepare.find_private(sentence)]
            assert found == [(kind, given)], sentence
        assert prepare.mask_private(f"Mine is {given}.").text == f"Mine is [{kind}]."


@pytest.mark.parametrize("kind", ["card", "iban", "cn_resident_id", "es_dni", "fr_nir", "it_codice_fiscale", "br_cpf"])
def test_one_wrong_digit_is_no_such_number(kind: str) -> None:
    for number in PRIVATE[kind]:
        given = corsican() if number.startswith("180052A") else number
        place = max(index for index, char in enumerate(given) if char.isdigit())
        wrong = given[:place] + str((int(given[place]) + 1) % 10) + given[place + 1 :]
        assert kind not in [each.kind for each in prepare.find_private(f"Mine is {wrong}.")]


@pytest.mark.parametrize(
    "text",
    [
        "On 2024-05-17 at 12:30:45, version 1.2.3 of 10.0.0.1",
        "1,234,567.89 dollars in 1990-2000, pages 123-456",
        "ISBN 978-3-16-148410-0",
        "@user said so at example.com",
        "1234567890123456",  # no card by Luhn
        "000-12-3456 and 666-12-3456 and 123-00-4567 are no numbers of the United States",
        "110105194913310021",  # no such day
        "In 1611 the 66 books had 31102 verses",
        "0.123456789012 and 3.141592653589793",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert prepare.find_private(text) == []


def test_masking_counts_what_it_masked_and_keeps_the_rest() -> None:
    journal = prepare.Journal()
    item = prepare.Item("a", Text("Write to a@example.org or b@example.org, or call +44 20 7946 0958."))
    [made] = prepare.clean_texts([item], journal, mask=["all"])
    assert str(made.artifact) == "Write to [email] or [email], or call [phone]."
    assert made.facts == {"masked": ["email", "email", "phone"]}
    assert journal.changes == {"masked email": 2, "masked phone": 1}


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"min_character": 3}, None),
        ({"min_characters": 0}, "min_characters"),
        ({"min_characters": 10, "max_characters": 5}, "min_characters"),
        ({"max_repeated": 1.5}, "max_repeated"),
        ({"mask": ["emial"]}, "mask"),
        ({"languages": ["xx"]}, "languages"),
        ({"mend": "yes"}, "mend"),
    ],
)
def test_rules_that_are_none_are_refused_at_the_call(rules: dict[str, object], field: str | None) -> None:
    if "languages" in rules:
        pytest.importorskip("py3langid")
    with pytest.raises(OptionError) as caught:
        prepare.clean_texts([], prepare.Journal(), **rules)
    assert field is None or caught.value.field == field


def test_items_that_are_none_are_named() -> None:
    import numpy as np

    picture = prepare.Item("p", Image(np.zeros((2, 2, 3), np.uint8)))
    for items, named in ((["text"], "items\\[0\\] is a str"), ([picture], "items\\[0\\], p, is of kind 'image'")):
        with pytest.raises(DataError, match=named):
            list(prepare.clean_texts(items, prepare.Journal()))  # type: ignore[arg-type]
    for bad in ("text", 3, {"a": 1}, Text("x")):
        with pytest.raises(DataError):
            prepare.clean_texts(bad, prepare.Journal())  # type: ignore[arg-type]
    with pytest.raises(AigcError):
        prepare.clean_texts([], None)  # type: ignore[arg-type]
