"""Training a GPT-2 of 10 million weights: aigc_sdk_gpt2's trainer beside Hugging Face's Trainer, in turns, in one process.

    python benchmarks/train_text.py [--quick] [--threads 2]

Both train the same weights on the same rows in the same order with the same hyper-parameters, losses, precision and
dropout: 8 sequences of 256 tokens per update, AdamW, clipping at 1. A figure is the median over updates; the first
update of every turn is left out, and so is each side's set-up. Without dropout the two loss curves must agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from machine import processor
from peer import trained
from transformers import GPT2Config, GPT2LMHeadModel, default_data_collator

from aigc_sdk.protocols import Fit
from aigc_sdk.runtime import fast_bfloat16
from aigc_sdk.training.corpus import sample_text
from aigc_sdk_gpt2.data import Blocks, documents, encode, train_tokenizer
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.train import GPT2Trainer

BATCH, BLOCK, VOCABULARY = 8, 256, 8192
HYPER: dict[str, Any] = {"learning_rate": 3e-4, "weight_decay": 0.1}
BETAS = (0.9, 0.98)


@dataclass
class Turn:
    """One side's losses, and the seconds of its updates after the first."""

    losses: list[float]
    seconds: list[float]


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
        {
            **HYPER,
            "betas": BETAS,
            "batch_size": BATCH,
            "schedule": "constant",
            "warmup_steps": 0,
            "precision": precision,
        },
    )
    times, losses = [], []
    for step in trainer.run([text], Fit(steps, 0, options)):
        times.append(time.perf_counter())
        losses.append(step.metrics["loss"])
    return Turn(losses, [b - a for a, b in pairwise(times)])


def theirs(rows: list[dict[str, Any]], dropout: float, precision: str, steps: int) -> Turn:
    """One turn of Hugging Face's Trainer, which reads the rows in the order they are in."""
    losses, times = trained(
        network(dropout),
        rows,
        default_data_collator,
        precision=precision,
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        train_sampling_strategy="sequential",
        **HYPER,
    )
    return Turn(losses, [b - a for a, b in pairwise(times[1:])])


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    dropout: float
    precision: str
    target: float  # of ours / theirs

    def __str__(self) -> str:
        return f"dropout {self.dropout:g}, {self.precision}"


def measure(case: Case, turns: int, steps: int) -> dict[str, Any]:
    """Both sides in turns."""
    text = sample_text()[:1_000_000]
    tokenizer = train_tokenizer([text], VOCABULARY, BLOCK)
    rows = rows_of(Blocks(encode(documents([text]), tokenizer), BLOCK), steps)
    own, other = [], []
    for _ in range(turns):
        other.append(theirs(rows, case.dropout, case.precision, steps))
        own.append(ours(text, tokenizer, case.dropout, case.precision, steps))
    seconds = [statistics.median(s for turn in side for s in turn.seconds) for side in (own, other)]
    apart = max(abs(a - b) for a, b in zip(own[0].losses, other[0].losses, strict=True))
    return {
        "case": str(case),
        "tokens_per_second": [round(BATCH * BLOCK / each) for each in seconds],
        "ratio": round(seconds[1] / seconds[0], 3),
        "ratio_of_each_turn": [
            round(statistics.median(b.seconds) / statistics.median(a.seconds), 3)
            for a, b in zip(own, other, strict=True)
        ],
        "target": case.target,
        "losses_differ_by": apart,
        "last_losses": [own[0].losses[-1], other[0].losses[-1]],
    }


def rows_of(blocks: Blocks, steps: int) -> list[dict[str, Any]]:
    """The rows that our trainer draws with seed 0, in its order, as the peer takes them."""
    from aigc_sdk.training.order import rows

    inputs, targets = blocks.at(blocks.starts(rows(0, len(blocks), 0, steps * BATCH)))
    # `shift_labels` hands the peer our very targets; `labels` only has to be there.
    return [{"input_ids": a, "labels": a, "shift_labels": b} for a, b in zip(inputs, targets, strict=True)]


def main() -> None:
    """Print one JSON object per case."""
    parser = argparse.ArgumentParser(description="Train a 10M GPT-2: our trainer beside Hugging Face's.")
    parser.add_argument("--quick", action="store_true", help="one short turn of each case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="updates per turn")
    arguments = parser.parse_args()
    turns, steps = (1, 4) if arguments.quick else (arguments.turns, arguments.steps)
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    machine = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    print(json.dumps({"what": "GPT-2, 10.1 M weights, 8 x 256 tokens; [ours, theirs]", **machine}))
    cases = [Case(0.0, "float32", 1.15), Case(0.1, "float32", 1.3)]
    if fast_bfloat16("cpu"):
        cases += [Case(0.0, "bfloat16", 1.15), Case(0.1, "bfloat16", 1.3)]
    for case in cases:
        print(json.dumps(measure(case, turns, steps)), flush=True)


if __name__ == "__main__":
    main()
