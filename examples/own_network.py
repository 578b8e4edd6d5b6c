"""Networks of your own: a GAN and a VAE of plain torch modules, trained on handwritten digits in seconds, saved and loaded.

    python examples/own_network.py [FOLDER]

All that a trainer does works with them: checkpoints, resume, averages, several processes. A model's folder holds weights
and no code, so whoever opens it brings the modules. The digits are scikit-learn's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from aigc_sdk import Image, media
from aigc_sdk.training.images import pictures
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.network import GaussianNetwork, Sizes
from aigc_sdk_vae.train import VAETrainer

LATENT = 16
DIGITS = list("0123456789")
SIZES = Sizes(size=8, classes=0, latent=LATENT)  # what the modules of the VAE take and make


class Painter(nn.Module):
    """A generator: latents (n, 16) and labels (n,) to pictures in [-1, 1], (n, 1, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.digit = nn.Embedding(10, 32)
        self.body = nn.Sequential(
            nn.Linear(LATENT + 32, 256),
            nn.LayerNorm(256),
            nn.SiLU(),
            nn.Linear(256, 256),
            nn.SiLU(),
            nn.Linear(256, 64),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        code = torch.cat([latents, self.digit(labels)], 1)
        return torch.tanh(self.body(code)).view(-1, 1, 8, 8)


class Viewer(nn.Module):
    """Its critic: pictures and labels to one score each, (n,)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 128), nn.LeakyReLU(0.2))
        self.score = nn.Embedding(10, 128)  # for each digit, what speaks for it

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return (self.body(images.flatten(1)) * self.score(labels)).sum(1)


class Encoder(nn.Module):
    """Pictures to means and log variances of latents, (n, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten())
        self.head = nn.Linear(32 * 4 * 4, 2 * LATENT)

    def forward(self, images: Tensor, beside: None) -> Tensor:
        return self.head(self.body(images))


class Decoder(nn.Sequential):
    """Latents to the expected pixels, (n, 1, 8, 8)."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(LATENT, 256), nn.SiLU(), nn.Linear(256, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))


def gan(folder: Path) -> list[Image]:
    """A row of the ten digits, three times, by a generator and a critic of one's own."""
    torch.manual_seed(0)
    trainer = GANTrainer(GAN(Painter(), Viewer(), latent=LATENT, labels=DIGITS))
    trainer.fit("digits", max_steps=600, batch_size=64, r1=0.2, save_to=folder)

    model = GAN.open(folder, network=Painter(), critic=Viewer())
    return model.decode(model.latents(30, seed=0), DIGITS * 3)


def vae(folder: Path) -> list[Image]:
    """Ten digits, what an encoder and a decoder of one's own leave of them, and ten new ones."""
    torch.manual_seed(0)
    model = VAE(GaussianNetwork(SIZES, Encoder(), Decoder()), sizes=SIZES)
    VAETrainer(model).fit("digits", max_steps=600, batch_size=64, save_to=folder)

    model = VAE.open(folder, encoder=Encoder(), decoder=Decoder())
    real = [Image(each.repeat(3, 2)) for each in pictures("digits/test").pixels[:10]]
    return [*real, *model.reconstruct(real), *model.generate(n=10, seed=0)]


def main(folder: Path) -> None:
    """Train both, and leave a sheet of pictures of each."""
    for name, made in {"gan": gan, "vae": vae}.items():
        print(media.grid(made(folder / name), columns=10, scale=6).save(folder / f"{name}.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/own_network"))
