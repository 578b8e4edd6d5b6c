"""The letter-to-sound model says words that it has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aigc_sdk_tts import lexicon
from aigc_sdk_tts.alignment import align
from aigc_sdk_tts.letters import FILE, LetterToSound, load, save
from aigc_sdk_tts.letters_training import accuracy, held_out, held_out_words, train, training_words
from aigc_sdk_tts.phonemes import SYMBOLS

SIZES = {"embedding": 8, "encoder": 32, "decoder": 32}


@pytest.fixture(scope="module")
def model() -> LetterToSound:
    return load()


def test_seven_of_ten_held_out_words_are_said_right(model: LetterToSound) -> None:
    words = held_out_words()
    assert len(words) > 4000
    whole, stressless = accuracy(model, words[::8])
    assert stressless >= 0.70
    assert whole >= 0.65


def test_no_held_out_word_is_trained_on() -> None:
    assert not any(held_out(each) for each in training_words())
    assert not set(held_out_words()) & set(training_words())


def test_the_model_is_small() -> None:
    assert FILE.stat().st_size <= 1_500_000


def test_a_word_is_said_the_same_every_time_and_in_known_symbols(model: LetterToSound) -> None:
    assert model.pronounce("zorblaxian") == model.pronounce("zorblaxian")
    assert set(model.pronounce("zorblaxian")) <= set(SYMBOLS)
    assert model.pronounce("blick") == ("B", "L", "IH1", "K")


def test_a_search_of_one_path_follows_the_scores(model: LetterToSound) -> None:
    letters = torch.tensor([[ord(each) - ord("a") for each in "blick"]])
    with torch.no_grad():
        chunks = torch.zeros_like(letters)
        for place in range(letters.shape[1]):
            chunks[0, place] = model(letters, chunks)[0, place].argmax()
    greedy = tuple(phoneme for each in chunks[0].tolist() for phoneme in model.chunks[each])
    assert model.pronounce("blick", beam=1) == greedy


def test_each_letter_is_aligned_with_its_phonemes() -> None:
    words = [each for each in lexicon.words() if each.isalpha()][::150]
    spoken = [lexicon.pronunciations(each)[0] for each in words]
    paths = align(
        [*words, "box", "knee", "ab"], [*spoken, ("B", "AA1", "K", "S"), ("N", "IY1"), ("EY1", "B", "IY1", "S", "T")]
    )
    assert paths[-3] == [("B",), ("AA1",), ("K", "S")]
    assert paths[-2] in ([(), ("N",), ("IY1",), ()], [(), ("N",), (), ("IY1",)])
    assert paths[-1] is None  # five phonemes are more than two letters can take
    for path, phonemes in zip(paths, spoken, strict=False):
        assert path is None or tuple(each for chunk in path for each in chunk) == phonemes


def test_training_learns_and_is_the_same_with_the_same_seed(tmp_path: Path) -> None:
    words = [each for each in training_words() if len(each) == 5][::12]
    models = [train(words, epochs=10, seed=3, show=False, **SIZES) for _ in range(2)]
    for name, tensor in models[0].state_dict().items():
        assert torch.equal(tensor, models[1].state_dict()[name])
    save(models[0], tmp_path / "letters.safetensors")
    opened = load(tmp_path / "letters.safetensors")
    assert opened.chunks == models[0].chunks
    untrained = LetterToSound(opened.chunks, **SIZES).eval()
    assert firsts_right(opened, words[::11]) >= firsts_right(untrained, words[::11]) + 10


def firsts_right(model: LetterToSound, words: list[str]) -> int:
    """Of how many words the first phoneme is right."""
    return sum(model.pronounce(each)[:1] == lexicon.pronunciations(each)[0][:1] for each in words)
