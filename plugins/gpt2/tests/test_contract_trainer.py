"""The trainer and the evaluator keep their contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aigc_sdk.protocols import Evaluator, Trainer
from aigc_sdk.testing import EvaluatorContract, TrainerContract
from aigc_sdk_gpt2.evaluate import Perplexity
from aigc_sdk_gpt2.train import GPT2Trainer

TEXT = "In the beginning God created the heaven and the earth. " * 6


def tiny(**changes: Any) -> GPT2Trainer:
    sizes = {"vocab_size": 270, "context": 16, "width": 8, "layers": 1, "heads": 2, "dropout": 0.1, **changes}
    return GPT2Trainer.open(device="cpu", **sizes)


class TestTrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], Trainer[Any]]:
        return tiny

    @pytest.fixture
    def data(self) -> Any:
        return [TEXT]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 2, "precision": "float32", "ema_decay": 0.9}


class TestTrainerOnPairsWithMuon(TestTrainer):
    @pytest.fixture
    def data(self) -> Any:
        return [{"prompt": f"{number}? ", "completion": f"{number}!"} for number in range(20)]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 3, "micro_batch_size": 2, "optimizer": "muon", "precision": "float32"}


class TestEvaluator(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> Evaluator:
        return Perplexity(tiny().model)

    @pytest.fixture
    def samples(self) -> list[Any]:
        return ["In the beginning", "a text that is longer than one window of sixteen", "xyz"]
