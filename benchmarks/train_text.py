"""Training a GPT-2 of 10 million weights: aigc_sdk_gpt2's trainer beside Hugging Face's Trainer, in turns, in one process.

    python benchmarks/train_text.py [--quick] [--threads 2]

Both train the same weights on the same rows in the same order with the same hyper-parameters, losses, precision and
dropout: 8 sequences of 256 tokens per update, AdamW, clipping at 1. A figure is the median over updates; the first
update of every turn is left out, and so is each side's set-up. Without dropout the two loss curves must agree.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from aigc_sdk.protocols import Fit
from aigc_sdk_gpt2.corpus import sample_text
from aigc_sdk_gpt2.data import Blocks, documents, encode, train_tokenizer
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.train import GPT2Trainer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

BATCH, BLOCK, VOCABULARY = 8, 256, 8192
HYPER = {"learning_rate": 1e-3, "weight_decay": 0.1}
BETAS = (0.9, 0.98)


@dataclass
class Turn:
    """One side's losses, and the seconds of its updates after the first."""

    losses: list[float]
    seconds: list[float]


class Peer(Trainer):  # type: ignore[misc]
    """Hugging Face's Trainer, reading rows in the order they are in."""

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Notes when updates end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


def network(dropout: float) -> GPT2LMHeadModel:
    """6 layers, 320 wide, 5 heads: 10.1 million weights, the same in every call."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=BLOCK,
        n_embd=320,
        n_layer=6,
        n_head=5,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        resid_pdrop=dropout,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def ours(text: str, tokenizer: Any, dropout: float, precision: str, steps: int) -> Turn:
    """One turn of `aigc_sdk_gpt2`."""
    trainer = GPT2Trainer(GPT2(network(dropout), tokenizer))
    options = GPT2Trainer.Options.parse(
        "gpt2",
        {**HYPER, "betas": BETAS, "batch_size": BATCH, "schedule": "constant", "warmup_steps": 0, "precision": precision},
    )
    times, losses = [], []
    for step in trainer.run([text], Fit(steps, 0, options)):
        times.append(time.perf_counter())
        losses.append(step.metrics["loss"])
    return Turn(losses, [b - a for a, b in zip(times, times[1:], strict=False)])


def theirs(rows: list[dict[str, Any]], dropout: float, precision: str, steps: int) -> Turn:
    """One turn of Hugging Face's Trainer, in the settings of a benchmark: no logging, no saving, no progress bar."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            lr_scheduler_type="constant",
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            max_grad_norm=1.0,
            bf16=precision == "bfloat16",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="steps",
            logging_steps=1,
            disable_tqdm=True,
            remove_unused_columns=False,
            **HYPER,
        )
        peer = Peer(
            network(dropout), arguments, train_dataset=rows, data_collator=default_data_collator, callbacks=[watch]
        )
        peer.train()
    losses = [entry["loss"] for entry in peer.state.log_history if "loss" in entry]
    return Turn(losses, [b - a for a, b in zip(watch.times, watch.times[1:], strict=False)])
