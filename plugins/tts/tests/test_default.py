"""The voice that comes with the package."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import aigc_sdk
from aigc_sdk.errors import OptionError
from aigc_sdk_tts.evaluate import SpeechJudge
from aigc_sdk_tts.model import DEFAULT, TTS
from aigc_sdk_tts.sentences import unseen


@pytest.fixture(scope="module")
def model() -> TTS:
    return TTS.open(device="cpu")


def test_each_network_has_at_most_five_megabytes_of_float16() -> None:
    files = sorted(DEFAULT.rglob("*.safetensors"))
    assert [each.parent.name for each in files] == ["default", "vocoder"]
    for file in files:
        assert file.stat().st_size <= 5_000_000
        assert {each.dtype for each in load_file(file).values()} == {torch.float16}


def test_it_opens_by_the_backends_name() -> None:
    assert aigc_sdk.load("tts").fingerprint() == TTS.open("default", device="cpu").fingerprint()


def test_a_recogniser_understands_sentences_that_it_has_not_seen(model: TTS) -> None:
    pytest.importorskip("pocketsphinx")
    some = dict(list(unseen().items())[:10])
    report = SpeechJudge(model).evaluate(list(some), list(some.values()))
    assert report["wer"].value <= 0.15


def test_speech_is_neither_silent_nor_clipped(model: TTS) -> None:
    [speech] = model.generate("The quick brown fox jumps over the lazy dog.", seed=0)
    loudness = abs(speech.samples)
    assert 2.0 < speech.duration < 5.0
    assert 0.1 < loudness.max() < 1.0
    assert 0.01 < loudness.mean() < 0.2


def test_a_higher_pitch_is_higher(model: TTS) -> None:
    from aigc_sdk_tts.features import pitch

    heights = []
    for factor in (1.0, 1.3):
        [speech] = model.generate("We will all be away in May.", seed=0, pitch=factor)
        size = speech.samples.shape[1] // model.analysis.hop * model.analysis.hop
        found, voiced = pitch(torch.from_numpy(speech.samples[0, :size].copy()), model.analysis)
        heights.append(float(found[voiced].median()))
    assert heights[1] / heights[0] == pytest.approx(1.3, abs=0.08)


def test_long_texts_are_spoken_without_losing_a_word(model: TTS) -> None:
    text = "This sentence is said again and again. " * 30
    chunks = list(model.stream(text, seed=0))
    assert [each["text"] for each in chunks[-1].info["words"]] == text.replace(".", "").split()
    assert max(each.duration for each in chunks) < 6.0


def test_a_recogniser_can_listen_for_some_words_alone(model: TTS) -> None:
    pytest.importorskip("pocketsphinx")
    judge = SpeechJudge(model)
    heard = judge.evaluate(["two four eight."], vocabulary=["two", "four", "eight", "nine"]).rows[0]["heard"]
    assert heard == "two four eight"
    with pytest.raises(OptionError, match="'xqzt', which the recogniser does not know"):
        judge.evaluate(["two"], vocabulary=["two", "xqzt"])
