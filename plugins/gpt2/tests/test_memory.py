"""Thousands of calls take no more memory than a few."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 256
STATM = Path("/proc/self/statm")
PROMPTS = ["hello world", "the quick brown fox jumps over the lazy dog " * 4, "a", "dog dog dog dog", "the lazy fox"]
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; "] * 4, 320, CONTEXT)
needs_statm = pytest.mark.skipif(not STATM.exists(), reason="the memory in use is read from /proc")


def tiny(kind: str) -> GPT2:
    torch.manual_seed(3)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 7}
    network: Any
    if kind == "gpt2":
        network = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, **common))
    else:
        sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
        heads: dict[str, Any] = {"num_attention_heads": 4, "max_position_embeddings": CONTEXT}
        network = LlamaForCausalLM(LlamaConfig(**common, **sizes, **heads))
    return GPT2(network.eval(), tokenizer)


def memory() -> float:
    """The memory of this process, in MB."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def generate(model: GPT2, turn: int) -> None:
    """A call of a kind that changes from turn to turn; its cache takes about a megabyte. Every fifth is cancelled."""
    options: dict[str, Any] = {"seed": turn, "max_new_tokens": 6}
    options |= [{}, {"max_batch_size": 4}, {"speculate": 4, "temperature": 0.0}, {"repetition_penalty": 1.2}][turn % 4]
    if turn % 5:
        model.generate(PROMPTS, n=3, **options)
        return
    stream: Any = model.stream(PROMPTS, n=3, **options)
    next(stream)
    stream.close()


def grown(kind: str, first: int, turns: int) -> float:
    """The memory, in MB, that so many generations add to what the first ones took."""
    model = tiny(kind)
    for turn in range(first):
        generate(model, turn)
    before = memory()
    for turn in range(turns):
        generate(model, turn)
    return memory() - before


@needs_statm
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_some_dozens_of_generations_keep_no_memory(kind: str) -> None:
    assert grown(kind, 20, 30) < 15


@needs_statm
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_two_thousand_generations_keep_no_memory(kind: str) -> None:
    assert grown(kind, 200, 2000) < 15
