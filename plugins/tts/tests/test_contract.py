"""The contract kit, run on the whole backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigc_sdk.artifacts import Artifact, Audio
from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_tts.evaluate import SpeechJudge
from aigc_sdk_tts.model import TTS
from aigc_sdk_tts.train import TTSTrainer


class TestTTS(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: Callable[..., TTSTrainer]) -> TTS:
        return tiny().model


class TestTTSAtAnotherRateAndSpeed(GeneratorContract):
    @pytest.fixture
    def model(self, tiny: Callable[..., TTSTrainer]) -> TTS:
        return tiny(voices=("ann", "bob")).model

    @pytest.fixture
    def prompts(self, model: TTS) -> list[Any]:
        return ["<speak>One, <prosody rate='fast'>two</prosody>.</speak>", "<speak>Three.</speak>"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"voice": "bob", "speed": 1.5, "pitch": 1.2, "energy": 0.5, "sample_rate": 22050, "markup": "ssml"}


class TestTTSTrainer(TrainerContract):
    @pytest.fixture
    def make(self, tiny: Callable[..., TTSTrainer]) -> Callable[[], TTSTrainer]:
        return tiny

    @pytest.fixture
    def data(self, recorded: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
        return str(recorded(tmp_path_factory.mktemp("data") / "recordings"))

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 2, "ema_decay": 0.9}

    @pytest.fixture
    def bad_data(self, tmp_path: Path) -> list[Any]:
        return [None, [], 7, "/no/such/folder", str(tmp_path)]


class TestVocoderTrainer(TestTTSTrainer):
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"part": "vocoder", "batch_size": 2, "crop": 0.3}


class TestAdversarialVocoderTrainer(TestTTSTrainer):
    """Two networks, each with an optimiser of its own."""

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"part": "vocoder", "batch_size": 2, "crop": 0.3, "adversarial": 1.0}


class TestIntelligibility(EvaluatorContract):
    @pytest.fixture
    def judge(self, tiny: Callable[..., TTSTrainer]) -> SpeechJudge:
        return SpeechJudge(tiny().model)

    @pytest.fixture
    def samples(self, tone: Callable[..., Any]) -> list[Artifact | str]:
        return [Audio(tone(0.3)[None], sample_rate=16000), "Go."]

    @pytest.fixture
    def references(self) -> list[Any] | None:
        return ["one", "go"]
