"""BERT-base: aigc_sdk_bert beside Hugging Face's Trainer and a plain loop, in turns, in one process.

    python benchmarks/train_bert.py [--quick] [--threads 2]

Texts of mixed length (log-normal, mean 60, at most 256 tokens) tell their label by the tokens that they are made of.
Fine-tuning: batches of 16, AdamW, clipping at 1, the same first weights, dropout and precision on all sides; the peers
are Trainer with dynamic padding, Trainer with batches of like lengths, and a plain loop over random batches. A turn is
one epoch, so that every side sees every text once, and a figure is samples per second from the first update's start to
the last one's end. On a small model that learns the task the last losses are compared. Inference: our judge beside
batches of 16 in the order of the texts, padded to their longest; and int8 beside float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from machine import processor
from peer import trained
from transformers import BertConfig, BertForSequenceClassification

from aigc_sdk.protocols import Fit
from aigc_sdk.runtime import fast_bfloat16
from aigc_sdk_bert.data import Example
from aigc_sdk_bert.encode import Encoded
from aigc_sdk_bert.folders import learn_tokenizer
from aigc_sdk_bert.judge import Judge, quantised, run
from aigc_sdk_bert.options import Start
from aigc_sdk_bert.packed import Row
from aigc_sdk_bert.train import BERTTrainer, Ready

BATCH = 16
SIZES: dict[str, dict[str, int]] = {
    "base": {},
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256},
}
Rows = list[dict[str, Any]]


@dataclass
class Turn:
    """One side's losses, and the seconds of all its updates together."""

    losses: list[float]
    seconds: float

    @property
    def speed(self) -> float:
        """Samples per second."""
        return BATCH * len(self.losses) / self.seconds


def texts(count: int, seed: int) -> Rows:
    """Random tokens; those of label 1 are from the upper half of the vocabulary in 3 of 5 cases, those of label 0 in 2."""
    rng = np.random.default_rng(seed)
    sigma = 0.7
    lengths = np.clip(rng.lognormal(np.log(60) - sigma**2 / 2, sigma, count), 4, 256).astype(int)
    rows = []
    for length in lengths:
        label = int(rng.integers(2))
        upper = rng.random(length - 2) < (0.6 if label else 0.4)
        ids = np.where(upper, rng.integers(15_000, 29_000, length - 2), rng.integers(1_000, 15_000, length - 2))
        rows.append({"input_ids": [101, *ids.tolist(), 102], "labels": label})
    return rows


def network(size: str, dropout: float) -> BertForSequenceClassification:
    """The same weights in every call."""
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(**SIZES[size], hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    )


def ours(rows: Rows, size: str, dropout: float, precision: str, steps: int, rate: float = 2e-5) -> Turn:
    """One turn of `aigc_sdk_bert`."""
    tokenizer = learn_tokenizer([], 8, 256, lowercase=True)
    trainer = BERTTrainer(Judge(network(size, dropout), tokenizer), Start(labels=("0", "1")))
    found = [Example("", None, str(row["labels"])) for row in rows]
    trainer._ready = Ready(rows, tokenizer, trainer.task, found, encoded(rows), [row["labels"] for row in rows])
    given = {
        "batch_size": BATCH,
        "learning_rate": rate,
        "schedule": "constant",
        "warmup_steps": 0,
        "precision": precision,
    }
    options = BERTTrainer.Options.parse("bert", given)
    started = time.perf_counter()
    losses = [step.metrics["loss"] for step in trainer.run(rows, Fit(steps, 0, options))]
    return Turn(losses, time.perf_counter() - started)


def encoded(rows: Rows) -> list[Encoded]:
    """Rows as our encoder takes them."""
    return [Encoded(Row(row["input_ids"]), index, (), ()) for index, row in enumerate(rows)]


def theirs(
    rows: Rows, size: str, dropout: float, precision: str, steps: int, rate: float = 2e-5, *, grouped: bool = False
) -> Turn:
    """One turn of Hugging Face's Trainer."""
    losses, times = trained(
        network(size, dropout),
        rows,
        padded,
        precision=precision,
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=rate,
        weight_decay=0.01,
        dataloader_pin_memory=False,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length" if grouped else "random",
    )
    return Turn(losses, times[-1] - times[0])


def loop(rows: Rows, size: str, dropout: float, precision: str, steps: int, rate: float = 2e-5) -> Turn:
    """One turn of the plainest loop: random batches, padded."""
    model = network(size, dropout).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    order = np.concatenate(
        [np.random.default_rng(epoch).permutation(len(rows)) for epoch in range(1 + steps * BATCH // len(rows))]
    )
    losses, started = [], time.perf_counter()
    for start in range(0, steps * BATCH, BATCH):
        inputs = padded([rows[index] for index in order[start : start + BATCH]])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return Turn(losses, time.perf_counter() - started)


def padded(rows: Rows) -> dict[str, torch.Tensor]:
    """A batch, padded to its longest row."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask[place, : len(row["input_ids"])] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows])}


def fine_tuning(size: str, precision: str, turns: int, steps: int) -> dict[str, Any]:
    """All sides in turns, an epoch each."""
    rows = texts(steps * BATCH, 0)
    sides: dict[str, Callable[[Rows, int], Turn]] = {
        "ours": lambda some, count: ours(some, size, 0.1, precision, count),
        "Trainer": lambda some, count: theirs(some, size, 0.1, precision, count),
        "Trainer, group_by_length": lambda some, count: theirs(some, size, 0.1, precision, count, grouped=True),
        "plain loop": lambda some, count: loop(some, size, 0.1, precision, count),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in sides.values():
        turn(rows[:BATCH], 1)  # warm
    for _ in range(turns):
        for name, turn in sides.items():
            speeds[name].append(turn(rows, steps).speed)
    middle = {name: statistics.median(each) for name, each in speeds.items()}
    return {
        "what": f"fine-tuning BERT-{size}, dropout 0.1, {precision}",
        "samples_per_second": {name: round(each, 2) for name, each in middle.items()},
        "ratio": {name: round(middle["ours"] / each, 2) for name, each in middle.items() if name != "ours"},
        "target": {"Trainer": 2.8, "Trainer, group_by_length": 2.0},
    }


def learning(precision: str, steps: int) -> dict[str, Any]:
    """The last losses of all sides on a small model that learns the task, as means over the last quarter."""
    rows = texts(640, 0)
    found = {
        "ours": ours(rows, "tiny", 0.1, precision, steps, 1e-3),
        "Trainer": theirs(rows, "tiny", 0.1, precision, steps, 1e-3),
        "Trainer, group_by_length": theirs(rows, "tiny", 0.1, precision, steps, 1e-3, grouped=True),
        "plain loop": loop(rows, "tiny", 0.1, precision, steps, 1e-3),
    }
    last = {name: round(statistics.fmean(turn.losses[-max(1, steps // 4) :]), 4) for name, turn in found.items()}
    return {"what": f"last losses of BERT-tiny after {steps} updates, dropout 0.1, {precision}", "losses": last}


@torch.inference_mode()
def inference(size: str, precision: str, turns: int, count: int) -> dict[str, Any]:
    """The same texts through our judge and through padded batches, in one precision."""
    model, rows = network(size, 0.1).eval(), texts(count, 1)
    ready = encoded(rows)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model.to(kind)

    def mine() -> Any:
        return np.stack(run(model, ready))

    def other() -> Any:
        batches = [padded(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
        return torch.cat([model(**{k: v for k, v in each.items() if k != "labels"}).logits for each in batches]).float()

    seconds, said = in_turns({"ours": mine, "padded": other}, turns)
    apart = float(np.abs(said["ours"] - said["padded"].numpy()).max())
    return {
        "what": f"inference of BERT-{size}, {precision}",
        "samples_per_second": {name: round(count / each, 1) for name, each in seconds.items()},
        "ratio": round(seconds["padded"] / seconds["ours"], 2),
        "target": 2.5,
        "logits_differ_by": apart,
    }


def int8(size: str, turns: int, count: int, steps: int) -> dict[str, Any]:
    """Our judge in 8-bit integers beside float32, after it has learnt a little: labels near a tie would agree by chance."""
    trained = ours(texts(max(64, steps * BATCH), 0), size, 0.1, "auto", 2)
    model, ready = network(size, 0.1).eval(), encoded(texts(count, 2))
    small = quantised(model)
    seconds, said = in_turns(
        {"float32": lambda: np.stack(run(model, ready)), "int8": lambda: np.stack(run(small, ready))}, turns
    )
    agree = (said["float32"].argmax(1) == said["int8"].argmax(1)).mean()
    return {
        "what": f"int8 inference of BERT-{size}",
        "samples_per_second": {name: round(count / each, 1) for name, each in seconds.items()},
        "ratio": round(seconds["float32"] / seconds["int8"], 2),
        "target": 1.8,
        "labels_that_agree": round(float(agree), 4),
        "updates_before": len(trained.losses),
    }


def in_turns(sides: dict[str, Callable[[], Any]], turns: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The median seconds of each side, and what it gave."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    said = {name: side() for name, side in sides.items()}  # warm
    for _ in range(turns):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}, said


def main() -> None:
    """Print one JSON object per measurement."""
    parser = argparse.ArgumentParser(description="BERT-base: our trainer and judge beside Hugging Face's.")
    parser.add_argument("--quick", action="store_true", help="one short turn of each")
    parser.add_argument("--size", choices=list(SIZES), default="base")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="updates per turn")
    parser.add_argument("--texts", type=int, default=128, help="for inference")
    arguments = parser.parse_args()
    turns, steps, count = (1, 3, 48) if arguments.quick else (arguments.turns, arguments.steps, arguments.texts)
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    machine = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    print(json.dumps({"what": "BERT, log-normal lengths", **machine}))
    precision = "bfloat16" if fast_bfloat16("cpu") else "float32"
    print(json.dumps(fine_tuning(arguments.size, precision, turns, steps)), flush=True)
    print(json.dumps(learning(precision, 40 if arguments.quick else 240)), flush=True)
    print(json.dumps(inference(arguments.size, precision, turns, count)), flush=True)
    if precision != "float32":
        print(json.dumps(inference(arguments.size, "float32", turns, count)), flush=True)
    print(json.dumps(int8(arguments.size, turns, count, steps)), flush=True)


if __name__ == "__main__":
    main()
