"""The contract kit, run on the whole backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.model import BERT
from aigc_sdk_bert.train import BERTTrainer


class TestBERT(GeneratorContract):
    @pytest.fixture
    def model(self, small: Any) -> BERT:
        model = small.new(task="masked").fit(small.texts(30), max_steps=1, **small.quick)
        assert isinstance(model, BERT)
        return model

    @pytest.fixture
    def prompts(self) -> list[str]:
        return ["the [MASK] by the river", "one [MASK] and [MASK] on a hill"]


class TestBERTTrainer(TrainerContract):
    best = "accuracy"

    @pytest.fixture
    def make(self, small: Any) -> Callable[[], BERTTrainer]:
        return small.new  # type: ignore[no-any-return]

    @pytest.fixture
    def data(self, small: Any) -> Any:
        return small.sentences(24)

    @pytest.fixture
    def options(self, small: Any) -> dict[str, Any]:
        return {
            **small.quick,
            "micro_batch_size": 3,
            "ema_decay": 0.9,
            "label_smoothing": 0.1,
            "class_weights": "balanced",
        }

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        return [
            None,
            [],
            7,
            "/no/such/file.jsonl",
            ["no label"],
            [("", "a"), ("b", "c")],
            [("a", "x"), ("b", "x")],
            b"a",
        ]


class TestMasking(TestBERTTrainer):
    best = "loss"

    @pytest.fixture
    def make(self, small: Any) -> Callable[[], BERTTrainer]:
        return lambda: small.new(task="masked")

    @pytest.fixture
    def data(self, small: Any) -> Any:
        return small.texts(24)

    @pytest.fixture
    def options(self, small: Any) -> dict[str, Any]:
        return {**small.quick, "micro_batch_size": 3}

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        return [None, [], 7, "/no/such/file.txt", [""], ["\ud800"], [{"wrong": "keys"}]]


class TestJudge(EvaluatorContract):
    @pytest.fixture
    def judge(self, small: Any) -> Judge:
        judge = small.new().fit(small.sentences(24), max_steps=2, validation=small.sentences(12, 1), **small.quick)
        assert isinstance(judge, Judge)
        return judge

    @pytest.fixture
    def samples(self, small: Any) -> list[Any]:
        return small.texts(9)

    @pytest.fixture
    def references(self, small: Any) -> list[Any]:
        return [label for _, label in small.sentences(9)]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"bootstrap": 50}


class TestJudgeWithoutReferences(TestJudge):
    @pytest.fixture
    def references(self) -> None:  # type: ignore[override]
        return None
