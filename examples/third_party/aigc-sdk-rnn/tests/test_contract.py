"""The contract kit on all three roles: both cells, and both kinds of tokens."""

from collections.abc import Callable
from typing import Any

import pytest

from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_rnn.evaluate import BitsPerByte
from aigc_sdk_rnn.model import RNN
from aigc_sdk_rnn.train import RNNTrainer

TEXTS = ["the sea was calm and the sky was grey", "the sky was blue", "and the sea was deep"]
RUN = {"batch_size": 4, "window": 6}


class TestLSTM(GeneratorContract):
    @pytest.fixture
    def model(self) -> RNN:
        return RNNTrainer.open(device="cpu", width=8).fit(TEXTS, max_steps=2, **RUN)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_new_tokens": 12}


class TestGRUOfBytePairs(GeneratorContract):
    @pytest.fixture
    def model(self) -> RNN:
        trainer = RNNTrainer.open(device="cpu", cell="gru", tokens="bpe", vocabulary=270, width=8, tied=True)
        return trainer.fit(TEXTS, max_steps=2, **RUN)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_new_tokens": 12, "temperature": 1.5, "top_k": 200, "top_p": 0.9}


class TestLSTMTrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], RNNTrainer]:
        return lambda: RNNTrainer.open(device="cpu", width=8, layers=2)

    @pytest.fixture
    def data(self) -> list[str]:
        return TEXTS

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {**RUN, "micro_batch_size": 2, "dropout": 0.2, "ema_decay": 0.9}


class TestGRUTrainerOfBytePairs(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], RNNTrainer]:
        return lambda: RNNTrainer.open(device="cpu", cell="gru", tokens="bpe", vocabulary=270, width=8, tied=True)

    @pytest.fixture
    def data(self) -> list[str]:
        return TEXTS

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return RUN


class TestBitsPerByte(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> BitsPerByte:
        return BitsPerByte(RNNTrainer.open(device="cpu", width=8).fit(TEXTS, max_steps=2, **RUN))

    @pytest.fixture
    def samples(self) -> list[Any]:
        return ["the sea", "a grey sky, and äöü"]
