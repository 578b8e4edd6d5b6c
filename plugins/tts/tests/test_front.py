"""The front end gives clauses of words with their phonemes and their places in the text."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_sdk.errors import PromptError
from aigc_sdk_tts import lexicon
from aigc_sdk_tts.front import SYMBOLS, Clause, analyse
from aigc_sdk_tts.phonemes import packed, unpacked
from aigc_sdk_tts.pronounce import pronounce


def said(word: str, before: str = "", after: str = "") -> str:
    return " ".join(pronounce(word, before, after))


def test_a_sentence_is_clauses_of_words_with_their_phonemes() -> None:
    first, second = analyse("Hello, big world!")
    assert (first.ending, second.ending) == (",", "!")
    assert first.words[0].phonemes == ("HH", "AH0", "L", "OW1")
    assert [(word.text, word.start, word.end) for word in second.words] == [("big", 7, 10), ("world", 11, 16)]


def test_a_number_is_one_word_as_it_is_written_and_several_as_it_is_spoken() -> None:
    [clause] = analyse("It costs $45 now")
    assert (clause.words[2].text, clause.words[2].spoken) == ("$45", "forty five dollars")
    assert " ".join(clause.words[2].phonemes) == "F AO1 R T IY0 F AY1 V D AA1 L ER0 Z"


def test_there_are_39_phones_of_which_the_vowels_have_three_stresses() -> None:
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 24 + 15 * 3
    assert len({each.rstrip("012") for each in SYMBOLS}) == 39
    assert unpacked(packed(SYMBOLS)) == SYMBOLS


def test_every_pronunciation_of_the_lexicon_is_of_these_symbols() -> None:
    words = lexicon.words()
    assert len(words) > 120_000
    assert all(lexicon.pronunciations(each) for each in words[::500])
    assert lexicon.FILE.stat().st_size < 1_500_000


def test_a_clause_without_marks_is_cut_after_some_words() -> None:
    clauses = list(analyse("word " * 100))
    assert max(len(each.words) for each in clauses) <= 40
    assert sum(len(each.words) for each in clauses) == 100


def test_of_several_marks_the_strongest_ends_the_clause() -> None:
    assert [each.ending for each in analyse("Really?! (Yes.) So: no")] == ["?", ".", ":", ""]


def test_the_last_clause_needs_no_mark() -> None:
    assert [each.ending for each in analyse("One. Two")] == [".", ""]


def test_clauses_come_one_after_another_as_they_are_asked_for() -> None:
    text = "A sentence of six words, here. " * 20_000
    tracemalloc.start()
    clauses = analyse(text)
    first = list(itertools.islice(clauses, 2))
    for _ in itertools.islice(clauses, 2000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [each.ending for each in first] == [",", "."]
    assert peak < 3 * len(text)


def test_no_word_of_a_long_text_is_lost() -> None:
    text = " ".join(f"{number} sheep and a dog{',' if number % 3 else '.'}" for number in range(2000))
    words = [word for clause in analyse(text) for word in clause.words]
    assert [word.text for word in words] == text.replace(",", "").replace(".", "").split()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0x24F, exclude_categories=["Cs"]), max_size=60))
def test_any_latin_text_is_read_or_refused_and_words_lie_where_they_say(text: str) -> None:
    try:
        words = [word for clause in analyse(text) for word in clause.words]
    except PromptError:
        return
    assert all(text[word.start : word.end] == word.text for word in words)
    assert all(left.end <= right.start for left, right in itertools.pairwise(words))
    assert all(word.phonemes and set(word.phonemes) <= set(SYMBOLS) for word in words)
    assert all(word.spoken and word.spoken == word.spoken.lower() for word in words)


def test_the_article_depends_on_what_follows() -> None:
    assert said("the", after="apple") == "DH IY0"
    assert said("the", after="hour") == "DH IY0"
    assert said("the", after="union") == said("the") == "DH AH0"
    assert said("a") == "AH0"
    assert said("A") == "EY1"


def test_nouns_and_verbs_of_one_spelling_are_told_apart() -> None:
    assert said("record", before="the") == "R EH1 K ER0 D"
    assert said("record", before="to") == "R AH0 K AO1 R D"
    assert said("use", before="the") == "Y UW1 S"
    assert said("use", before="to") == "Y UW1 Z"
    assert said("estimate", before="an").endswith("AH0 T")
    assert said("estimate", before="to").endswith("EY2 T")
    assert said("read", before="to") == "R IY1 D"
    assert said("read", before="have") == "R EH1 D"
    assert said("live", before="a") == "L AY1 V"
    assert said("live", before="we") == "L IH1 V"


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("emojis", "IH0 M OW1 JH IY0 Z"),
        ("chatbot's", "CH AE1 T B AA2 T S"),
        ("dogs'", "D AO1 G Z"),
        ("ebooks", "IY1 B UH2 K S"),
        ("vlogging", "V L AA1 G IH0 NG"),
        ("touchscreens", "T AH1 CH S K R IY2 N Z"),
        ("podcasted", "P AO1 D K AE2 S T IH0 D"),
        ("emojiless", "IH0 M OW1 JH IY0 L AH0 S"),
        ("waterfence", "W AO1 T ER0 F EH2 N S"),
        ("xkcd", "EH1 K S K EY1 S IY1 D IY1"),
    ],
)
def test_words_that_the_lexicon_lacks_are_made_of_those_that_it_has(word: str, phonemes: str) -> None:
    assert said(word) == phonemes


def test_without_normalization_the_text_is_words_alone() -> None:
    [clause] = analyse("Dr Smith etc are words", normalize=False)
    assert [word.spoken for word in clause.words] == ["dr", "smith", "etc", "are", "words"]
    with pytest.raises(PromptError, match="'5' at character 4 is no word; write it out"):
        analyse("pay 5 now", normalize=False)


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: analyse(""), "nothing to say"),
    (lambda: analyse("  \n\t "), "nothing to say"),
    (lambda: analyse("?!... --"), "nothing to say"),
    (lambda: analyse("[pause 1]"), "nothing to say"),
    (lambda: analyse(b"bytes"), "the prompt is bytes"),  # type: ignore[arg-type]
    (lambda: analyse(None), "the prompt is NoneType"),  # type: ignore[arg-type]
    (lambda: analyse("\ud800"), "half of a character"),
    (lambda: analyse("good Доброе"), "another script"),
    (lambda: analyse("صباح"), "another script"),
    (lambda: analyse("λόγος"), "another script"),
    (lambda: analyse("a" * 10_000_000), "more than 64 letters"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_bad_texts_are_refused_at_the_call(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(PromptError) as caught:
        call()
    assert words in str(caught.value)
    assert caught.value.field == "prompt"


def test_a_clause_of_no_words_is_a_pause() -> None:
    assert next(analyse("[pause 0.3] a")) == Clause((), "", 0.3)
