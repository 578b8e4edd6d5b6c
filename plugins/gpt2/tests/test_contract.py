"""The contract kit, run on the whole backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.evaluate import Perplexity
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.train import GPT2Trainer

TEXTS = ["in the beginning was the word, and the word was short. " * 6, "and the evening and the morning were one day"]
SIZES: dict[str, Any] = {"vocab_size": 280, "context": 64, "width": 16, "layers": 2, "heads": 2, "device": "cpu"}


def tiny() -> GPT2:
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, 280, 64)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    network = GPT2LMHeadModel(config).eval()
    torch.set_rng_state(torch_state)
    return GPT2(network, tokenizer)


class TestGPT2(GeneratorContract):
    @pytest.fixture
    def model(self) -> GPT2:
        return tiny()

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"max_new_tokens": 12}


class TestGPT2Trainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], GPT2Trainer]:
        return lambda: GPT2Trainer.open(dropout=0.1, **SIZES)

    @pytest.fixture
    def data(self) -> list[str]:
        return TEXTS

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 4, "micro_batch_size": 2, "block": 16, "ema_decay": 0.9}

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        return [None, [], 7, "/no/such/file.txt", [{"wrong": "keys"}], [b"bytes"], ["\ud800"]]


class TestPerplexity(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> Perplexity:
        return Perplexity(tiny())

    @pytest.fixture
    def samples(self) -> list[Any]:
        return TEXTS
