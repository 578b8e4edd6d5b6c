"""This package's side of benchmarks/generate_text.py: the weights that all sides share, and calls of `generate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk.training.corpus import sample_text
from aigc_sdk_gpt2.data import train_tokenizer, wrapped
from aigc_sdk_gpt2.model import GPT2

VOCABULARY = 50257


class Ours:
    """One model in one precision. It takes texts, as its users do."""

    def __init__(self, folder: Path, dtype: str, device: str, *, kernels: bool) -> None:
        """kernels: whether the compiled kernels may be used where they are installed."""
        self.model = GPT2.open(folder, device=device, dtype=dtype)  # type: ignore[arg-type]
        self.engine = "auto" if kernels else "torch"

    def generate(self, prompts: Sequence[str], wants: Sequence[int], **options: Any) -> list[str]:
        """One call for all."""
        chosen = {"temperature": 0.0, "engine": self.engine} | options
        made = self.model.generate(list(prompts), seed=0, **chosen, max_new_tokens=list(wants))
        return [str(each) for each in made]


def build() -> GPT2:
    """The usual sizes of GPT-2 small, with random weights in float32."""
    learnt = json.loads(train_tokenizer([sample_text()[:300_000]], 4096, 1024).backend_tokenizer.to_str())
    vocabulary = learnt["model"]["vocab"]
    vocabulary |= {f"<{token}>": token for token in range(len(vocabulary), VOCABULARY)}  # every token has its text
    tokenizer = wrapped(Tokenizer.from_str(json.dumps(learnt)), 1024)
    torch.manual_seed(0)
    # Larger first weights than usual keep the likeliest tokens from ties, which rounding would decide.
    config = GPT2Config(bos_token_id=0, eos_token_id=None, initializer_range=0.1)
    return GPT2(GPT2LMHeadModel(config).eval(), tokenizer)


def beginnings(tokenizer: Any, lengths: Sequence[int]) -> list[str]:
    """Different texts of just so many tokens."""
    encode, words = tokenizer.backend_tokenizer.encode, sample_text()[:400_000].split()
    found, first = [], 0
    for length in lengths:
        while True:
            last = next(n for n in range(first + 1, len(words)) if len(encode(" ".join(words[first:n])).ids) >= length)
            text, first = " ".join(words[first:last]), last
            if len(encode(text).ids) == length:
                found.append(text)
                break
    return found
