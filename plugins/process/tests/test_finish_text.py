"""Texts: set in order without a word replaced; suggestions have their places; HTML is safe."""

# ruff: noqa: RUF001 (these are the signs of several scripts)
from __future__ import annotations

import html.parser
import re
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_sdk import Text
from aigc_sdk.errors import InputError
from aigc_sdk_process.finish import markup, suggestions, text


@pytest.mark.parametrize(
    ("raw", "tidy"),
    [
        ("Hello ,world !It is  fine .", "Hello, world! It is fine."),
        ("one ,, two;; three", "one, two; three"),
        ("wait... 3,000 at 10:30 costs 1.50", "wait... 3,000 at 10:30 costs 1.50"),
        ("see http://a.org/b,c;d?e=f,g  or x@y.org now", "see http://a.org/b,c;d?e=f,g or x@y.org now"),
        ("( a ) [ b ]", "(a) [b]"),
        ("a\r\n\r\n\r\n\r\nb  \n", "a\n\nb"),
        ("- one\n  - two\n1. three", "- one\n  - two\n1. three"),
        ("end..", "end."),
        ("a\u00a0\u3000b", "a b"),
    ],
)
def test_tidy_sets_spaces_and_punctuation(raw: str, tidy: str) -> None:
    assert str(text.tidy(raw)) == tidy


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=string.ascii_letters + string.digits + " .,;:!?()[]-'\"\n\t@/", max_size=80))
def test_tidy_keeps_every_word_in_its_order_and_changes_nothing_twice(raw: str) -> None:
    once = str(text.tidy(raw))
    assert re.findall(r"\w+", once) == re.findall(r"\w+", raw)
    assert str(text.tidy(once)) == once


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("He came. He said: wai", "He came."),
        ('He said, "Go." And th', 'He said, "Go."'),
        ("It is 3.5 m. And", "It is 3.5 m."),
        ("Mr. Lee came! Dr. Ki", "Mr. Lee came!"),
        ("你好。世界", "你好。"),
        ("Whole.", "Whole."),
    ],
)
def test_finished_drops_a_last_sentence_without_an_end(raw: str, kept: str) -> None:
    assert str(text.finished(raw)) == kept


def test_a_text_in_which_no_sentence_ends_is_refused() -> None:
    with pytest.raises(InputError, match="no sentence of the text ends"):
        text.finished("Mr. Lee and the")


def test_sentences_end_where_they_end() -> None:
    found = text.sentences('At 5 p.m. on Monday, e.g. now, J. Lee went. "Why?" asked U. No one. 你好！再见。Then so')
    assert found == [
        "At 5 p.m. on Monday, e.g. now, J. Lee went.",
        '"Why?"',
        "asked U. No one.",
        "你好！",
        "再见。",
        "Then so",
    ]


def test_repeated_sentences_are_left_out_and_listed() -> None:
    made = text.without_repeats(Text("And he went. He came. and he WENT! Then he slept."))
    assert str(made) == "And he went. He came. Then he slept."
    assert made.info["repeats"] == ["and he WENT!"]
    near = text.without_repeats("The king went to the city. The king went to the cities. A dog.", likeness=0.9)
    assert str(near) == "The king went to the city. A dog."


@pytest.mark.parametrize(
    "unit", ["And he went, to the city. ", "王说你好", "a.b", "no end ", "x@y ", "he. she. ", "( , "]
)
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    long = unit * (200_000 // len(unit))
    started = time.process_time()
    text.without_repeats(text.tidy(text.spaced(long)))
    text.sentences(long)
    suggestions.style(long)
    assert time.process_time() - started < 20


def test_wrong_encodings_are_mended_and_right_ones_left() -> None:
    assert str(text.mended("schÃ¶n â€” â€œso")) == "schön — “so"
    assert str(text.mended("“schön” — so")) == "“schön” — so"


def test_chinese_and_latin_get_a_space_between_them() -> None:
    assert str(text.spaced("用GPU训练3个模型，50%快。OK吗")) == "用 GPU 训练 3 个模型，50% 快。OK 吗"
    assert str(text.spaced("plain English, 123")) == "plain English, 123"


def test_joined_makes_one_text() -> None:
    assert str(text.joined([Text("a"), "b"], " ")) == "a b"


def test_spelling_suggests_with_places_and_leaves_names_alone() -> None:
    written = "The quik fox met Nebuchadnezzar at GPT2 and saw hte e-mail of x@y.org."
    found = suggestions.spelling(written)
    assert [each.found for each in found] == ["quik", "hte"]
    assert all(written[each.start : each.end] == each.found for each in found)
    assert "quick" in found[0].instead
    assert "the" in found[1].instead
    assert suggestions.spelling(written, known=["quik", "HTE"]) == []


def test_style_finds_doubles_articles_small_letters_and_single_halves() -> None:
    written = "The the cat ate a apple in an house (yes. an hour, a user, a one."
    found = {(each.found, each.instead) for each in suggestions.style(written)}
    assert found == {("The the", ("The",)), ("a", ("an",)), ("an", ("a",)), ("a", ("A",)), ("(", ())}
    assert all(written[each.start : each.end] == each.found for each in suggestions.style(written))


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "<a href='jAvAscript:alert(1)'>x</a>",
    "![x](http://tracker.example/p.png)",
    "<iframe src='//x'></iframe>",
    "<svg><script>1</script></svg>",
    "<p style='background:url(//x)'>a</p>",
    "<a href='data:text/html,<script>1</script>'>x</a>",
    "<b onmouseover=x>a</b>",
    "<form action=//x><input></form>",
    "<<script>script>alert(1)<</script>/script>",
]


class Found(html.parser.HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("syntax", markup.SYNTAXES)
def test_html_of_a_model_runs_loads_and_leads_nowhere(attack: str, syntax: str) -> None:
    found = Found(markup.safe_html(attack, syntax))
    assert not found.tags & {"script", "img", "iframe", "svg", "form", "input", "object", "style"}
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert name != "style" or syntax == "plain"
        assert name != "href" or (value or "").startswith(("http://", "https://", "mailto:"))


def test_markdown_is_rendered() -> None:
    page = markup.safe_html("# Title\n\n*a* [b](https://e.org)\n\n| x | y |\n|---|---|\n| 1 | 2 |")
    for piece in ("<h1>Title</h1>", "<em>a</em>", 'href="https://e.org"', "noopener noreferrer nofollow", "<td>1</td>"):
        assert piece in page
