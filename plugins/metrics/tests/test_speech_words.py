"""WER and CER, each equal to jiwer's, and what is compared."""

from __future__ import annotations

import random
import string
from typing import Any

import jiwer
import numpy as np
import pytest

from aigc_sdk import Audio, Text
from aigc_sdk.errors import DataError
from aigc_sdk_metrics.speech_words import WordErrors, edits, normalized

SOUND = Audio(np.full((1, 1600), 0.1, np.float32), sample_rate=16_000)
ODD = ["naïve", "Straße", "o'clock", "日本", "3.14", "A.B.", "\N{CLAPPING HANDS SIGN}"]


class Echo:
    """A recogniser that hears what it was told to."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard, self.calls = iter(heard), 0

    def __call__(self, sound: Audio) -> Any:
        self.calls += 1
        return next(self.heard)


def rates(heard: list[str], said: list[Any], unit: Any, normalization: Any = "none") -> tuple[float, list[Any]]:
    metric = WordErrors(Echo(heard), unit, normalization)
    batch = metric.batch([SOUND] * len(heard), said)
    metric.check(batch)
    rows = metric.gather(batch)
    return metric.compute(times=0)[metric.name].value, list(rows)


def sentence(rng: random.Random, shortest: int) -> str:
    words = [
        "".join(rng.choices(string.ascii_lowercase[:4], k=rng.randint(1, 3))) for _ in range(rng.randint(shortest, 12))
    ]
    return " ".join(rng.choice(ODD) if rng.random() < 0.1 else each for each in words)


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[str]]:
    """2,000 pairs of what is heard and what was said; nothing is heard in some."""
    rng = random.Random(3)
    said = [sentence(rng, 1) for _ in range(2000)]
    heard = [
        " ".join(w for w in each.split() if rng.random() > 0.2) if rng.random() < 0.7 else sentence(rng, 0)
        for each in said
    ]
    return heard, said


@pytest.mark.parametrize(("unit", "reference"), [("words", jiwer.wer), ("characters", jiwer.cer)])
class TestEqualToJiwer:
    def test_over_all_pairs(self, pairs: Any, unit: str, reference: Any) -> None:
        heard, said = pairs
        assert rates(heard, said, unit)[0] == pytest.approx(reference(said, heard), abs=1e-12)

    def test_of_each_pair(self, pairs: Any, unit: str, reference: Any) -> None:
        heard, said = pairs
        _, rows = rates(heard, said, unit)
        name = "wer" if unit == "words" else "cer"
        assert [row[name] for row in rows] == pytest.approx(
            [reference(*each) for each in zip(said, heard, strict=True)]
        )

    def test_after_normalisation(self, unit: str, reference: Any) -> None:
        heard, said = ["\u2018Don\u2019t stop!\u2019", "A  b,c"], ["don't, stop", "ab C."]
        same = [[normalized(each, "spoken") for each in texts] for texts in (said, heard)]
        assert rates(heard, said, unit, "spoken")[0] == pytest.approx(reference(*same))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "hello world"),
        ("  two\n\tlines ", "two lines"),
        ("Don\u2019t say \u2018never\u2019", "don't say never"),
        ("rock 'n' roll", "rock n roll"),
        ("STRASSE straße", "strasse strasse"),
        ("\uff26\uff35\uff2c\uff2c width", "full width"),
        ("well-known 3.14", "well known 3 14"),
        ("5 € & more", "5 more"),
        ("你好\uff0c世界。", "你好 世界"),
        ("...", ""),
    ],
)
def test_spoken_words_are_left(text: str, expected: str) -> None:
    assert normalized(text, "spoken") == expected


def test_without_normalisation_only_white_space_is_joined() -> None:
    assert normalized(" A,  B\n", "none") == "A, B"


@pytest.mark.parametrize(
    ("mine", "its", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("intention", "execution", 5),
        ("a" * 300, "a" * 299, 1),
    ],
)
def test_edits_are_levenshteins(mine: str, its: str, distance: int) -> None:
    assert edits(mine, its) == distance


def test_silence_for_words_counts_as_all_wrong_and_a_babble_as_more() -> None:
    assert rates([""], ["two words"], "words")[0] == 1
    assert rates(["many more words than two"], ["no match"], "words")[0] == 2.5


def test_rows_say_what_was_heard() -> None:
    _, rows = rates(["a cat", "the dog"], ["a cat", Text("a dog")], "words")
    assert rows == [{"wer": 0.0, "transcript": "a cat"}, {"wer": 0.5, "transcript": "the dog"}]


def test_a_sound_is_listened_to_once_for_both_rates() -> None:
    listener = Echo(["one", "two"])
    words, letters = WordErrors(listener, "words"), WordErrors(listener, "characters")
    batch = words.batch([SOUND, SOUND], ["one", "three"])
    words.gather(batch)
    letters.gather(batch)
    assert listener.calls == 2


def test_the_protocol_names_the_listener_and_the_normalisation() -> None:
    def my_listener(sound: Audio) -> str:
        return "one"

    metric = WordErrors(my_listener)
    metric.update([SOUND], ["one"])
    protocol = metric.compute()["wer"].protocol
    assert "my_listener" in protocol
    assert "case-folded" in protocol


@pytest.mark.parametrize("said", ["", "  ", "?!"])
def test_a_reference_without_words_is_refused(said: str) -> None:
    with pytest.raises(DataError, match="no words"):
        rates(["one"], [said], "words", "spoken")


@pytest.mark.parametrize("heard", [None, 7, b"one", ["one"]])
def test_a_recogniser_that_returns_no_text_is_refused(heard: Any) -> None:
    with pytest.raises(DataError, match="must return a string"):
        rates([heard], ["one"], "words")
