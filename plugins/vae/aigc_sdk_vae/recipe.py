"""How the default model was made: `python -m aigc_sdk_vae.recipe --to FOLDER` makes it again and prints its figures.

It takes a few minutes on two cores; `--max-steps 1200` is the short version, of about one. The checkpoints lie in FOLDER-run;
started again after an interruption, the recipe goes on from the newest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aigc_sdk.protocols import Step

from .judge import Judge
from .model import VAE
from .train import VAETrainer

SIZES: dict[str, Any] = {"size": 16, "classes": 10, "latent": 16, "width": 32}  # 0.21 M weights, 0.5 MB as float16
TRAINING: dict[str, Any] = {"batch_size": 64, "beta": 3.0, "components": 3, "ema_decay": 0.99, "precision": "float32"}
MAX_STEPS = 4000  # 210 times through the data


def train(run: Path, max_steps: int = MAX_STEPS, seed: int = 0, on_step: Callable[[Step], None] | None = None) -> VAE:
    """Train the default model, with checkpoints in `run`; the test split only watches."""
    trainer = VAETrainer.open(device="cpu", seed=seed, **SIZES)
    model: VAE = trainer.fit(
        "digits/train",
        max_steps=max_steps,
        seed=seed,
        validation="digits/test",
        evaluate_every=500,
        save_to=run,
        save_every=500,
        resume=True,
        on_step=on_step,
        progress=True,
        **TRAINING,
    )
    return model


def export(model: VAE, to: Path) -> VAE:
    """Write the model with its weights rounded to float16, and open it again in float32, as users do."""
    model.network.half()
    model.save(to)
    return VAE.open(to, device="cpu")


def main() -> None:
    """Train, export, and report what a judge says of generated digits."""
    parser = argparse.ArgumentParser(description="Make the default VAE again.")
    parser.add_argument("--to", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run, started = arguments.to.with_name(arguments.to.name + "-run"), time.perf_counter()
    model = export(train(run, arguments.max_steps, arguments.seed), arguments.to)
    print(f"trained in {time.perf_counter() - started:.0f} s")
    judge = Judge()
    for seed in (0, 100_000, 200_000):
        print(judge.of(model, seed=seed), flush=True)


if __name__ == "__main__":
    main()
