"""The sample text and its held-out split."""

from aigc_sdk.training.corpus import sample_text, split


def test_the_sample_text_is_the_king_james_bible_in_ascii() -> None:
    text = sample_text()
    assert text.isascii()
    assert len(text) == 4_236_035
    assert "1 In the beginning God created the heaven and the earth.\n" in text[:100]


def test_the_held_out_split_has_the_size_that_the_figures_are_stated_for() -> None:
    text = sample_text()
    training, held_out = split(text)
    assert len(held_out) == 211_810
    assert len(training) + len(held_out) == len(text)


def test_every_tenth_of_a_text_gives_its_last_twentieth() -> None:
    training, held_out = split("".join(chr(ord("a") + i) * 20 for i in range(10)))
    assert held_out == "abcdefghij"
    assert training == "".join(chr(ord("a") + i) * 19 for i in range(10))
