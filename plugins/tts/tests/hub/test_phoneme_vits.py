# ruff: noqa: RUF001
"""VITS that reads phonemes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from aigc_sdk.errors import MissingDependency, OptionError, PromptError
from aigc_sdk_tts import espeak
from aigc_sdk_tts.hub_models import SpeechModel

SPOKEN = {"hello": "həlˈoʊ", "world": "wˈɜːld", "of the": "ʌvðə"}


@pytest.fixture
def folder(tiny: SimpleNamespace, tmp_path: Path) -> Path:
    made: Path = tiny.vits(tmp_path / "tiny", phonemize=True)
    size = len(json.loads((made / "vocab.json").read_text()))
    letters = [*sorted(set("həlˈoʊwˈɜːldʌvð")), " ", ".", ","]
    vocabulary = {"<pad>": 0, **{letter: index + 1 for index, letter in enumerate(letters)}}
    assert len(vocabulary) <= size
    (made / "vocab.json").write_text(json.dumps(vocabulary))
    return made


@pytest.fixture
def spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every language is spelled alike; what eSpeak NG itself says is tested beside it."""
    monkeypatch.setattr(espeak, "speller", lambda: lambda text, language: SPOKEN.get(text, text))


@pytest.mark.usefixtures("spelled")
def test_a_text_is_spoken_from_its_phonemes(folder: Path) -> None:
    model = SpeechModel.open(folder, device="cpu")
    [speech] = model.generate("Hello, world.", seed=1, language="de")
    assert speech.duration > 0
    assert [each["text"] for each in speech.info["words"]] == ["Hello,", "world."]
    assert "words" not in model.generate("of the", seed=1)[0].info  # which are one
    with pytest.raises(PromptError, match="no sound for c i x z"):
        model.stream("xicz")


@pytest.mark.usefixtures("spelled")
def test_what_is_saved_reads_phonemes_too(folder: Path, tmp_path: Path) -> None:
    model = SpeechModel.open(folder, device="cpu")
    model.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["phonemize"] is True
    again = SpeechModel.open(tmp_path / "saved", device="cpu")
    assert again.generate("hello", seed=1) == model.generate("hello", seed=1)


def test_a_model_of_letters_has_one_language(tiny: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="VITS model has one language"):
        SpeechModel.open(tiny.vits(tmp_path / "tiny"), device="cpu").stream("hello", language="de")


def test_without_espeak_such_a_model_does_not_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingDependency('pip install "aigc-sdk-tts[espeak]"')

    monkeypatch.setattr(espeak, "speller", missing)
    with pytest.raises(MissingDependency, match="espeak"):
        SpeechModel.open(folder, device="cpu")
