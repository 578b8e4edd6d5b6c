"""How the default models were made: `python -m aigc_sdk_bert.recipe --to FOLDER` makes both again and prints their figures.

FOLDER/default is a masked language model of the sample text, FOLDER/judge tells the kind of book of a passage. It takes
about a quarter of an hour on one core. The checkpoints lie in FOLDER/runs; started again after an interruption, the
recipe goes on from the newest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aigc_sdk.protocols import Report, Step

from . import books
from .adapted import Adapted
from .judge import Judge
from .model import BERT
from .train import BERTTrainer

SIZES: dict[str, Any] = {
    "vocab_size": 3072,
    "context": 192,
    "width": 128,
    "layers": 3,
    "heads": 4,
    "dropout": 0.0,
}  # 1.05 M weights, 2.1 MB as float16
PLAIN: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 1e-3,
    "betas": (0.9, 0.98),
    "warmup_steps": 50,
    "mask_probability": 0.15,
}
KINDS: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 5e-4,
    "layer_decay": 0.9,
    "warmup_steps": 20,
    "label_smoothing": 0.05,
    "class_weights": "balanced",
}
PLAIN_STEPS = 1500  # 5.6 times through the text
KINDS_STEPS = 400  # 1.5 times


def pretrain(
    run: Path, max_steps: int = PLAIN_STEPS, on_step: Callable[[Step], None] | None = None, device: str = "cpu"
) -> BERT:
    """Train the masked language model on the training passages, with checkpoints in `run`."""
    trainer = BERTTrainer.open(device=device, task="masked", **SIZES)
    texts, calibration = ([text for text, _ in books.of(part)] for part in ("training", "calibration"))
    arguments: dict[str, Any] = {"validation": calibration, "evaluate_every": 200, "save_every": 50, **PLAIN}
    model = trainer.fit(
        texts, max_steps=max_steps, save_to=run, resume=True, on_step=on_step, progress=True, **arguments
    )
    assert isinstance(model, BERT)
    return model


def tune(
    encoder: Path,
    run: Path,
    max_steps: int = KINDS_STEPS,
    on_step: Callable[[Step], None] | None = None,
    device: str = "cpu",
) -> Judge:
    """Teach the encoder in a folder the kinds; the calibration passages set the temperature."""
    trainer = BERTTrainer.open(encoder, device=device, labels=books.KINDS)
    arguments: dict[str, Any] = {
        "validation": books.of("calibration"),
        "evaluate_every": 200,
        "save_every": 50,
        **KINDS,
    }
    data = books.of("training")
    model = trainer.fit(
        data, max_steps=max_steps, save_to=run, resume=True, on_step=on_step, progress=True, **arguments
    )
    assert isinstance(model, Judge)
    return model


def export(model: Adapted, to: Path) -> None:
    """Write a model with its weights rounded to float16; it computes in float32 when it is opened again."""
    model.network.half()  # type: ignore[no-untyped-call]
    model.save(to)


def judged(judge: Judge, part: str) -> Report:
    """The report of a judge on "held-out" or "unseen" passages."""
    texts, kinds = zip(*books.of(part), strict=True)
    return judge.evaluate(texts, kinds)


def by_the_commonest(part: str) -> float:
    """The accuracy of naming the commonest kind of the training passages for each: what a judge should beat."""
    names, counts = np.unique([kind for _, kind in books.of("training")], return_counts=True)
    return float(np.mean([kind == names[counts.argmax()] for _, kind in books.of(part)]))


def main() -> None:
    """Train and export both, and report."""
    parser = argparse.ArgumentParser(description="Make the default BERT models again.")
    parser.add_argument("--to", type=Path, required=True, help="the folder to write `default` and `judge` into")
    parser.add_argument("--max-steps", type=int, default=PLAIN_STEPS, help="updates on plain text")
    parser.add_argument("--judge-steps", type=int, default=KINDS_STEPS, help="updates on labelled text")
    parser.add_argument("--device", default="cpu", help="where to train")
    arguments = parser.parse_args()
    runs = arguments.to / "runs"
    export(pretrain(runs / "default", arguments.max_steps, device=arguments.device), arguments.to / "default")
    judge = tune(arguments.to / "default", runs / "judge", arguments.judge_steps, device=arguments.device)
    judge.source = ""
    export(judge, arguments.to / "judge")
    judge = Judge.open(arguments.to / "judge", device="cpu")
    for part in ("held-out", "unseen"):
        print(f"{part}: the commonest kind is right for {by_the_commonest(part):.3f}")
        print(judged(judge, part), flush=True)


if __name__ == "__main__":
    main()
