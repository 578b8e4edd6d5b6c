# ruff: noqa: RUF001 (signs that look alike are what this file is about)
"""Marks and SSML are read into pieces, and what is not supported is refused by its name."""

from __future__ import annotations

import pytest

from aigc_sdk.errors import PromptError
from aigc_sdk_tts.front import Clause, analyse
from aigc_sdk_tts.markup import Break, Spoken, Style, read
from aigc_sdk_tts.phonemes import parse_arpabet, parse_ipa


def ssml(inside: str) -> list[Clause]:
    return list(analyse(f"<speak>{inside}</speak>", markup="ssml"))


def spoken(clauses: list[Clause]) -> str:
    return " ".join(word.spoken for clause in clauses for word in clause.words)


def test_a_pause_in_plain_text_parts_two_clauses() -> None:
    first, second = analyse("Ready [pause 0.5] go")
    assert (first.pause, second.pause) == (0.5, None)
    assert (spoken([first]), spoken([second])) == ("ready", "go")


def test_pauses_add_up_and_one_may_come_first() -> None:
    silence, clause = analyse("[pause 1][pause .5s] Go. [pause 2]")
    assert silence == Clause((), "", 1.5)
    assert (clause.ending, clause.pause) == (".", 2.0)


def test_phonemes_in_plain_text_are_said_as_they_are() -> None:
    [clause] = analyse("Say [phonemes Z OW1 IY] twice")
    assert clause.words[1].phonemes == ("Z", "OW1", "IY0")
    assert clause.words[1].text == "[phonemes Z OW1 IY]"


def test_other_brackets_are_text() -> None:
    assert spoken(list(analyse("a [sic] word [pauses are nice]"))) == "a sic word pauses are nice"


def test_a_break_is_as_long_as_its_time_or_strength() -> None:
    times = ['time="500ms"', 'time="1.5s"', 'strength="strong"', 'strength="none"', ""]
    assert [ssml(f"a<break {each}/>b")[0].pause for each in times] == [0.5, 1.5, 0.7, 0.0, 0.4]


def test_prosody_is_a_factor_and_nests() -> None:
    slow, both, after = ssml(
        '<prosody rate="50%">one <prosody pitch="+12st" volume="soft">two</prosody></prosody> three'
    )
    assert (slow.rate, slow.pitch, slow.volume) == (0.5, 1.0, 1.0)
    assert (both.rate, both.pitch, both.volume) == (0.5, 2.0, 0.6)
    assert (after.rate, after.pitch, after.volume) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("attribute", "factor"),
    [
        ('rate="x-slow"', 0.5),
        ('rate="1.5"', 1.5),
        ('rate="120%"', 1.2),
        ('rate="+20%"', 1.2),
        ('rate="-20%"', 0.8),
        ('pitch="high"', 1.15),
        ('pitch="-10%"', 0.9),
        ('volume="-20dB"', 0.1),
        ('volume="silent"', 0.0),
    ],
)
def test_prosody_is_written_in_words_shares_and_units(attribute: str, factor: float) -> None:
    [clause] = ssml(f"<prosody {attribute}>word</prosody>")
    assert clause.rate * clause.pitch * clause.volume == pytest.approx(factor)


def test_an_alias_is_said_in_place_of_what_is_written() -> None:
    [clause] = ssml('the <sub alias="World Wide Web, 2nd edition">WWW</sub> is big')
    assert [word.text for word in clause.words] == ["the", "WWW", "is", "big"]
    assert clause.words[1].spoken == "world wide web second edition"


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        ("characters", "Ab1@", "a b one at"),
        ("spell-out", "word", "w o r d"),
        ("cardinal", "1984", "one thousand nine hundred eighty four"),
        ("number", "1,000", "one thousand"),
        ("ordinal", "3", "third"),
        ("digits", "2024", "two zero two four"),
        ("telephone", "+1 (555) 12", "one five five five one two"),
        ("date", "5/6/2024", "may sixth twenty twenty four"),
        ("time", "10:30", "ten thirty"),
        ("currency", "$5", "five dollars"),
        ("fraction", "3/4", "three quarters"),
        ("unit", "5km", "five kilometers"),
    ],
)
def test_say_as_chooses_how_it_is_read(kind: str, written: str, said: str) -> None:
    assert spoken(ssml(f'<say-as interpret-as="{kind}">{written}</say-as>')) == said


def test_phonemes_are_given_in_either_alphabet() -> None:
    [clause] = ssml(
        '<phoneme alphabet="ipa" ph="təˈmeɪtoʊ">tomato</phoneme> <phoneme alphabet="arpabet" ph="HH AY1">hi</phoneme>'
    )
    assert clause.words[0].phonemes == ("T", "AH0", "M", "EY1", "T", "OW0")
    assert (clause.words[0].text, clause.words[1].phonemes) == ("tomato", ("HH", "AY1"))


def test_paragraphs_and_sentences_end_clauses() -> None:
    first, second, third = ssml("<p><s>One</s><s>Two</s></p><p>Three</p>")
    assert [each.ending for each in (first, second, third)] == [".", ".", "."]
    assert [each.paragraph for each in (first, second, third)] == [False, True, True]


def test_blank_lines_are_paragraphs_in_plain_text_alone() -> None:
    assert [each.paragraph for each in analyse("One.\n\nTwo.")] == [True, False]
    assert [each.paragraph for each in ssml("One.\n\nTwo.")] == [False, False]


@pytest.mark.parametrize("before", ["", "é 🎉 ", "&amp; ", "<!-- no word -->\n", "<![CDATA[x < y]]> "])
def test_words_know_their_place_in_the_document(before: str) -> None:
    document = f'<speak>{before}Ünder <prosody rate="slow">AT&amp;T</prosody> end</speak>'
    words = {word.spoken: word for clause in analyse(document, markup="ssml") for word in clause.words}
    assert document[words["under"].start : words["under"].end] == words["under"].text == "Ünder"
    assert document[words["end"].start : words["end"].end] == "end"
    assert [word.text for clause in analyse(document, markup="ssml") for word in clause.words][-4:-1] == [
        "AT",
        "&",
        "T",
    ]


def test_pieces_of_plain_text_are_text_and_breaks() -> None:
    assert read("a[pause 1]b", "plain") == [Spoken("a"), Break(1.0), Spoken("b", ((0, 10),))]
    assert read("<speak>a</speak>", "ssml") == [Spoken("a", ((0, 7),), Style())]


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><speak>&b;</speak>'
REFUSED = [
    ("hello", "no well-formed SSML"),
    ("", "no well-formed SSML"),
    ("<speak>a", "no well-formed SSML"),
    ("<speak>a & b</speak>", "write & as &amp;"),
    ("<speak>&nbsp;</speak>", "no well-formed SSML: undefined entity"),
    ("<p>a</p>", "one <speak> element"),
    ("<speak><speak>a</speak></speak>", "one <speak> element"),
    ("<speak><voice name='x'>a</voice></speak>", "<voice> is not supported; use <speak>, <p>, <s>, <break>"),
    ("<speak><audio src='x'/>a</speak>", "<audio> is not supported"),
    ("<speak><emphasis>a</emphasis></speak>", "<emphasis> is not supported"),
    ("<speak><prosody range='high'>a</prosody></speak>", "<prosody> has no attribute 'range' here"),
    ("<speak><break tme='1s'/>a</speak>", "Did you mean 'time'?"),
    ("<speak><break time='soon'/>a</speak>", '<break time="soon">'),
    ("<speak><break time='99999s'/>a</speak>", "from 0 to 60"),
    ("<speak><break strength='huge'/>a</speak>", '<break strength="huge">: write one of none'),
    ("<speak><break>a</break></speak>", "<break> holds no text"),
    ("<speak><prosody>a</prosody></speak>", "<prosody> needs one of rate, pitch and volume"),
    ("<speak><prosody rate='quick'>a</prosody></speak>", '<prosody rate="quick">: write one of x-slow'),
    ("<speak><prosody rate='5000%'>a</prosody></speak>", "between 0.2 and 5"),
    ("<speak><prosody pitch='100Hz'>a</prosody></speak>", '<prosody pitch="100Hz">'),
    ("<speak><sub>a</sub></speak>", "<sub> needs the attribute alias"),
    ("<speak><sub alias='x'/></speak>", "<sub> is empty"),
    ("<speak><sub alias='x'><p>a</p></sub></speak>", "<p> cannot stand inside <sub>"),
    ("<speak><say-as interpret-as='dates'>a</say-as></speak>", "Did you mean 'date'?"),
    ("<speak><say-as interpret-as='cardinal'>many</say-as></speak>", "'many' is no whole number"),
    ("<speak><say-as interpret-as='digits'>none</say-as></speak>", "'none' has no digits"),
    ("<speak><phoneme ph='QX'>a</phoneme></speak>", '<phoneme ph="QX">'),
    ("<speak><phoneme alphabet='sampa' ph='a'>a</phoneme></speak>", '<phoneme alphabet="sampa">: write one of ipa'),
    ("<speak xml:lang='de'>a</speak>", 'xml:lang="de": this front end reads English'),
    ("<speak><?php a ?>b</speak>", "processing instruction <?php?>"),
    ("<speak>" + "<p>" * 100 + "a" + "</p>" * 100 + "</speak>", "64 elements deep"),
    ("<speak></speak>", "nothing to say"),
    (BOMB, "a document type, which could define entities, is not supported"),
    ('<!DOCTYPE speak SYSTEM "file:///etc/passwd"><speak>a</speak>', "a document type"),
]


@pytest.mark.parametrize(("document", "words"), REFUSED)
def test_ssml_that_is_not_understood_is_refused_at_the_call(document: str, words: str) -> None:
    with pytest.raises(PromptError) as caught:
        analyse(document, markup="ssml")
    assert words in str(caught.value).replace("entities is", "entities, is")
    assert caught.value.field == "prompt"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a [pause] b", "'[pause]' at character 2: a pause is a number of seconds"),
        ("a [pause -1] b", "from 0 to 60"),
        ("a [pause nan] b", "from 0 to 60"),
        ("a [pause 61] b", "from 0 to 60"),
        ("a [pause long] b", "write, for instance, [pause 0.5]"),
        ("a [phonemes] b", "no ARPAbet phonemes"),
        ("a [phonemes HH QQ] b", "write, for instance, [phonemes HH AH0 L OW1]"),
    ],
)
def test_marks_that_are_not_understood_are_refused_at_the_call(text: str, words: str) -> None:
    with pytest.raises(PromptError) as caught:
        analyse(text)
    assert words in str(caught.value)


def test_another_markup_is_refused_by_name() -> None:
    with pytest.raises(PromptError, match="markup='html': give 'plain' or 'ssml'"):
        analyse("a", markup="html")  # type: ignore[arg-type]


def test_phoneme_alphabets_are_read_whole_or_not_at_all() -> None:
    assert parse_arpabet("hh ah l ow1") == ("HH", "AH0", "L", "OW1")
    assert parse_arpabet("HH9") is parse_arpabet("") is parse_ipa("ɣ") is parse_ipa("") is None
    assert parse_ipa("ˈtʃɜrtʃ") == ("CH", "ER1", "CH")
    assert parse_ipa("ˌnaʊˈhɪɹ") == ("N", "AW2", "HH", "IH1", "R")
