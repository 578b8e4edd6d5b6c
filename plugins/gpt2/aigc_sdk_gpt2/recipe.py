"""How the default model was made: `python -m aigc_sdk_gpt2.recipe --to FOLDER` makes it again and prints its figures.

It takes about a quarter of an hour on two cores. The checkpoints lie in FOLDER-run; started again after an interruption, the
recipe goes on from the newest.
"""

from __future__ import annotations

import argparse
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aigc_sdk.protocols import Step
from aigc_sdk.training.corpus import sample_text, split

from .evaluate import Perplexity
from .model import GPT2
from .train import GPT2Trainer

SIZES: dict[str, Any] = {
    "vocab_size": 2048,
    "context": 256,
    "width": 176,
    "layers": 5,
    "heads": 4,
}  # 2.28 M weights, 4.6 MB as float16
TRAINING: dict[str, Any] = {
    "batch_size": 16,
    "optimizer": "muon",
    "learning_rate": 3e-3,
    "muon_learning_rate": 0.02,
    "betas": (0.9, 0.98),
    "weight_decay": 0.1,
    "schedule": "linear",
    "warmup_steps": 50,
    "hold": 0.3,
    "final_rate": 0.02,
    "clip_norm": 1.0,
}
MAX_STEPS = 4000  # 14 times through the text


def train(run: Path, max_steps: int = MAX_STEPS, on_step: Callable[[Step], None] | None = None) -> GPT2:
    """Train the default model, with checkpoints in `run`; the held-out text only watches."""
    training, held_out = split(sample_text())
    trainer = GPT2Trainer.open(device="cpu", **SIZES)
    model: GPT2 = trainer.fit(
        [training],
        max_steps=max_steps,
        seed=0,
        validation=[held_out],
        evaluate_every=200,
        save_to=run,
        save_every=100,
        resume=True,
        on_step=on_step,
        progress=True,
        **TRAINING,
    )
    return model


def export(model: GPT2, to: Path) -> GPT2:
    """Write the model with its weights rounded to float16, and open it again in float32, as users do."""
    model.network.half()  # type: ignore[no-untyped-call]
    model.save(to)
    return GPT2.open(to, device="cpu")


def xz_bits(training: str, held_out: str) -> float:
    """Bits per byte that xz needs for `held_out` when it has seen `training`: what a model should beat."""
    sizes = [
        len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)) for text in (training, training + held_out)
    ]
    return 8 * (sizes[1] - sizes[0]) / len(held_out.encode())


def main() -> None:
    """Train, export, and report bits per byte on the held-out text."""
    parser = argparse.ArgumentParser(description="Make the default GPT-2 model again.")
    parser.add_argument("--to", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    arguments = parser.parse_args()
    run = arguments.to.with_name(arguments.to.name + "-run")
    model = export(train(run, arguments.max_steps), arguments.to)
    training, held_out = split(sample_text())
    print(f"xz, given the training text: {xz_bits(training, held_out):.3f} bits per byte")
    judge = Perplexity(model)
    for stride in (128, 256, 64):
        print(judge.evaluate([held_out], context=256, stride=stride), flush=True)


if __name__ == "__main__":
    main()
