"""How the default model and its judge were made: `python -m aigc_sdk_gan.recipe --to FOLDER` makes them again.

The model and its checkpoints lie in FOLDER and FOLDER-run; started again after an interruption, the recipe goes on from the
newest. `--max-steps 1200` is the short version, of two minutes on two cores. The judge is trained with `--judge FOLDER`, in
a quarter of a minute, and otherwise the one in this package.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aigc_sdk.artifacts import Image
from aigc_sdk.protocols import Report, Step

from .judge import Judge
from .model import GAN
from .train import GANTrainer

SIZES: dict[str, Any] = {"size": 16, "channels": 1, "classes": 10, "latent": 32, "width": 24, "critic_width": 64}
TRAINING: dict[str, Any] = {
    "batch_size": 128,
    "loss": "relativistic",
    "r1": 0.1,
    "lazy": 8,
    "learning_rate": 1e-3,
    "betas": (0.0, 0.99),
    "schedule": "linear",
    "hold": 0.5,
    "final_rate": 0.02,
    "ema_decay": 0.998,
    "translation": 0.05,
    "rotate": 3.5,
    "zoom": 0.035,
    "shift": 0.25,
    "outside": "black",
}
MAX_STEPS = 3000
SHORT_STEPS = 1200  # two minutes on two cores
TRAINED_ON, HELD_OUT = "digits/train", "digits/test"


def train(run: Path, max_steps: int = MAX_STEPS, seed: int = 0, on_step: Callable[[Step], None] | None = None) -> GAN:
    """Train the default model, with checkpoints in `run`."""
    trainer = GANTrainer.open(device="cpu", seed=seed, **SIZES)
    model: GAN = trainer.fit(
        TRAINED_ON,
        max_steps=max_steps,
        seed=seed,
        save_to=run,
        save_every=200,
        resume=True,
        on_step=on_step,
        progress=True,
        **TRAINING,
    )
    return model


def export(model: GAN, to: Path) -> GAN:
    """Write the model with its weights rounded to float16, and open it again in float32, as users do."""
    model.network.half()
    if model.critic is not None:
        model.critic.half()
    model.save(to)
    return GAN.open(to, device="cpu")


def train_judge(seed: int = 0) -> Judge:
    """The judge of the digits at 16 pixels, which has seen the training pictures, and remembers those held out."""
    return Judge.trained(TRAINED_ON, HELD_OUT, size=SIZES["size"], seed=seed, device="cpu")


def figures(model: GAN, judge: Judge, each: int = 100) -> Report:
    """What the judge says of `each` pictures of every label."""
    made: list[Image] = []
    for index, label in enumerate(model.labels):
        made += model.generate(n=each, seed=1000 * index, label=label)
    return judge.evaluate(made)


def main() -> None:
    """Train, export, and report what the judge says."""
    parser = argparse.ArgumentParser(description="Make the default GAN again.")
    parser.add_argument("--to", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--judge", type=Path, help="train the judge as well, and write it to this folder")
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.judge:
        train_judge().save(arguments.judge)
    run = arguments.to.with_name(arguments.to.name + "-run")
    model = export(train(run, arguments.max_steps, arguments.seed), arguments.to)
    print(figures(model, Judge.open(arguments.judge, device="cpu")))


if __name__ == "__main__":
    main()
