"""What the benchmarks of training share: Hugging Face's Trainer, its losses, and when its updates began and ended."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments


class Watch(TrainerCallback):
    """Notes when the first update begins, and when each ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if not self.times:
            self.times.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


class Peer(Trainer):
    """Hugging Face's Trainer, keeping its losses."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.losses: list[torch.Tensor] = []

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        loss: Any = super().compute_loss(*arguments, **named)
        self.losses.append(loss.detach())
        return loss


def trained(
    network: Any, rows: list[dict[str, Any]], collate: Callable[..., Any], *, precision: str, **settings: Any
) -> tuple[list[float], list[float]]:
    """Losses, and times in seconds: when the first update began, and when each ended.

    On a CPU in the settings of a benchmark: no logging, no saving, no progress bar. settings: of TrainingArguments, besides.
    """
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            bf16=precision == "bfloat16",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            **settings,
        )
        peer = Peer(network, arguments, train_dataset=rows, data_collator=collate, callbacks=[watch])  # type: ignore[arg-type]
        peer.train()
    return [float(loss) for loss in peer.losses], watch.times
