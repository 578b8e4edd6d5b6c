"""The contract kit, run on the whole backend; this is all that a plugin's tests must have."""

from collections.abc import Callable
from typing import Any

import pytest

from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_echo.evaluate import Overlap
from aigc_sdk_echo.model import Echo
from aigc_sdk_echo.train import EchoTrainer

TEXTS = ["the sea was calm and the sky was grey", "the sky was blue", "and the sea was deep"]


class TestEcho(GeneratorContract):
    cuda = False

    @pytest.fixture
    def model(self) -> Echo:
        return EchoTrainer.open().fit(TEXTS, max_steps=2)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"shuffle": True, "times": 2, "babble": 3}


class TestEchoTrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], EchoTrainer]:
        return EchoTrainer.open

    @pytest.fixture
    def data(self) -> list[str]:
        return TEXTS


class TestOverlap(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> Overlap:
        return Overlap.open()

    @pytest.fixture
    def samples(self) -> list[Any]:
        return ["the sea", "a grey sky"]

    @pytest.fixture
    def references(self) -> list[Any]:
        return ["the deep sea", "the sky"]
