"""The contract kit, run on each family of transformers' speech models, tiny and with random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aigc_sdk.testing import GeneratorContract
from aigc_sdk_tts.hub_models import SpeechModel


class TestVits(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.vits(tmp_path / "tiny"), device="cpu")


class TestFastSpeech2(GeneratorContract):
    random = False

    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.fastspeech2(tmp_path / "tiny"), device="cpu")


class TestSpeechT5(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.speecht5(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.1}


class TestBark(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.bark(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.2}


class TestCsm(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.csm(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.05}


class TestDia(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.dia(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.03}


class TestVibeVoice(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.vibevoice(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.02}


class TestPocketTTS(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.pocket_tts(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.05}


class TestHiggsAudio(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: SimpleNamespace, tmp_path: Path) -> SpeechModel:
        return SpeechModel.open(tiny.higgs_audio(tmp_path / "tiny"), device="cpu")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_seconds": 0.05}
