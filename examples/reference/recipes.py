"""Named recipes with the papers' settings, on data that you bring; README.md beside this file says what the papers reach.

    python examples/reference/recipes.py vae     --data FOLDER --to runs/vae      # binary MNIST, Rezende & Mohamed 2015
    python examples/reference/recipes.py iwae    --data FOLDER --to runs/iwae     # binary MNIST, Burda et al. 2016
    python examples/reference/recipes.py wgan-gp --data FOLDER --to runs/wgan-gp  # CIFAR-10, Gulrajani et al. 2017
    python examples/reference/recipes.py sngan   --data FOLDER --to runs/sngan    # CIFAR-10, Miyato et al. 2018

Stop it at any time: the same line goes on from the newest checkpoint.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from resnets import LATENT, Critic, Generator, glorot
from standard_files import Split, binary_mnist, cifar10

from aigc_sdk import Image, Step, runtime
from aigc_sdk.errors import AigcError
from aigc_sdk.training.images import Pictures
from aigc_sdk_gan.distance import sliced_wasserstein
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer
from aigc_sdk_vae.evaluate import Likelihood
from aigc_sdk_vae.train import VAETrainer

JUDGED = 10_000  # pictures


@dataclass(frozen=True)
class Autoencoder:
    """A VAE of fully connected layers; `epochs` in all, and after each of `falls` the rate becomes `factor` times as high."""

    sizes: dict[str, Any]
    options: dict[str, Any]
    epochs: int
    falls: tuple[int, ...]
    factor: float
    draws: int  # per test picture, of the importance-sampled likelihood
    stated: str

    def train(self, split: Split, to: Path, max_steps: int | None, device: str) -> VAETrainer:
        """Train, or go on."""
        train, _ = split
        an_epoch = max(1, len(train) // self.options["batch_size"])
        trainer = VAETrainer.open(
            device=device, size=28, classes=0, architecture="mlp", likelihood="bernoulli", **self.sizes
        )
        trainer.fit(
            train,
            max_steps=max_steps or self.epochs * an_epoch,
            milestones=[each * an_epoch for each in self.falls],
            milestone_factor=self.factor,
            schedule="constant",
            weight_decay=0.0,
            precision="float32",
            **run(to, 10 * an_epoch),
            **self.options,
        )
        return trainer

    def figures(self, trainer: VAETrainer, split: Split) -> dict[str, str]:
        """log p of the test pictures, by importance sampling."""
        _, test = split
        report = Likelihood(trainer.model).evaluate(as_images(test.pixels[:JUDGED]), draws=self.draws)
        return {"NLL": f"{-report['log_likelihood'].value:.2f} nats, {report['log_likelihood'].protocol}"}


@dataclass(frozen=True)
class Adversaries:
    """A residual generator and its critic, `features` wide each."""

    generator_features: int
    critic: dict[str, Any]
    options: dict[str, Any]
    updates: int
    stated: str

    def train(self, split: Split, to: Path, max_steps: int | None, device: str) -> GANTrainer:
        """Train, or go on."""
        train, _ = split
        with runtime.LentState(0):
            generator, critic = Generator(self.generator_features), Critic(**self.critic)
            glorot(generator)
            glorot(critic)
        place = runtime.device(device)
        trainer = GANTrainer(GAN(generator.to(place), critic.to(place), latent=LATENT, device=place))
        trainer.fit(
            train,
            max_steps=max_steps or self.updates,
            batch_size=64,
            n_critic=5,
            learning_rate=2e-4,
            betas=(0.0, 0.9),
            schedule="linear",
            hold=0.0,
            final_rate=0.0,
            ema_decay=None,
            r1=0.0,
            translation=0.0,
            **run(to, 1000),
            **self.options,
        )
        return trainer

    def figures(self, trainer: GANTrainer, split: Split) -> dict[str, str]:
        """A distance of pixels, which needs no judge; see README.md for the Fréchet distance of Inception's features."""
        train, test = (each.pixels[:JUDGED] for each in split)
        n = min(len(train), len(test))
        made = np.stack([each.pixels for each in trainer.model.generate(n=n, seed=0)])
        about = f"sliced Wasserstein distance of pixels in [-1, 1], {n:,} pictures each"
        return {
            "generated from test pictures": f"{sliced_wasserstein(made, test[:n], None):.4f}, {about}",
            "training from test pictures": f"{sliced_wasserstein(train[:n], test[:n], None):.4f}, {about}",
        }


RECIPES: dict[str, Autoencoder | Adversaries] = {
    "vae": Autoencoder(
        {"width": 400, "depth": 1, "latent": 40, "activation": "relu"},
        {"batch_size": 100, "learning_rate": 1e-4},
        epochs=500,
        falls=(200, 350),
        factor=10 ** (-1 / 5),
        draws=200,
        stated="NLL 89.9 (Rezende & Mohamed 2015, a bound); 89.78 by these settings (pythae)",
    ),
    "iwae": Autoencoder(
        {"width": 200, "depth": 2, "latent": 50, "activation": "tanh"},
        {"batch_size": 20, "learning_rate": 1e-3, "epsilon": 1e-4, "objective": "iwae", "draws": 50},
        epochs=sum(3**stage for stage in range(8)),  # 3,280
        falls=tuple(sum(3**stage for stage in range(last)) for last in range(1, 8)),
        factor=10 ** (-1 / 7),
        draws=5000,
        stated="NLL 87.1 (Burda et al. 2016, fixed binarisation, k = 50)",
    ),
    "wgan-gp": Adversaries(
        128,
        {"features": 128, "spectral": False, "pool": "mean"},
        {"loss": "wasserstein", "gradient_penalty": 10.0},
        updates=100_000,
        stated="Inception score 7.86 (Gulrajani et al. 2017, without labels; no FID there)",
    ),
    "sngan": Adversaries(
        256,
        {"features": 128, "spectral": True, "pool": "sum"},
        {"loss": "hinge"},
        updates=50_000,
        stated="FID 21.7, Inception score 8.22 (Miyato et al. 2018)",
    ),
}


def run(to: Path, every: int) -> dict[str, Any]:
    """How every run is kept: it can be stopped and gone on with, and shows what it makes."""
    return {"save_to": to, "save_every": every, "preview_every": every, "resume": True, "on_step": show}


def show(step: Step) -> None:
    """A line now and then."""
    if step.index % 100 == 0:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in step.metrics.items())
        print(f"{step.index}/{step.total}  {shown}", flush=True)


def as_images(pixels: Any) -> list[Image]:
    """Grey pictures, n x height x width x 1, as an evaluator takes them."""
    return [Image(each.repeat(3, axis=2)) for each in pixels]


def read(name: str, path: Path) -> Split:
    """The data of a recipe."""
    return binary_mnist(path) if isinstance(RECIPES[name], Autoencoder) else cifar10(path)


def main() -> None:
    """Train a recipe and print its figures beside the paper's."""
    parser = argparse.ArgumentParser(description="Train a published model with its paper's settings.")
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--data", type=Path, required=True, help="the standard files, or folders train and test")
    parser.add_argument("--to", type=Path, required=True, help="the folder of the run")
    parser.add_argument("--max-steps", type=int, help="stop earlier; the figures are then not the paper's")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.recipe]
    try:
        split: tuple[Pictures, Pictures] = read(arguments.recipe, arguments.data.expanduser())
        trainer: Any = recipe.train(split, arguments.to, arguments.max_steps, arguments.device)
        figures = recipe.figures(trainer, split)
    except AigcError as error:
        parser.exit(1, f"{error}\n")
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(f"the paper: {recipe.stated}")


if __name__ == "__main__":
    main()
