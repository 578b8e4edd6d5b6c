"""Networks of your own: plain torch modules become a VAE that trains, checkpoints, resumes, saves and generates like any other.

    python examples/19_own_network.py

A model's folder holds weights and no code, so whoever opens it brings the modules. The digits are scikit-learn's.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

import aigc_sdk
from aigc_sdk import Image, media
from aigc_sdk.training import pictures
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.network import GaussianNetwork, Sizes
from aigc_sdk_vae.train import VAETrainer

SIZES = Sizes(size=8, classes=0, latent=16)  # pictures of 8 x 8 to 16 numbers


class Encoder(nn.Module):
    """Pictures, (n, 1, 8, 8), to means and log variances of latents, (n, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten())
        self.head = nn.Linear(32 * 4 * 4, 2 * SIZES.latent)

    def forward(self, images: Tensor, beside: None) -> Tensor:
        return self.head(self.body(images))


class Decoder(nn.Sequential):
    """Latents to the expected pixels in [-1, 1], (n, 1, 8, 8)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(SIZES.latent, 256), nn.SiLU(), nn.Linear(256, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
        )


folder = Path("runs/own")
shutil.rmtree(folder, ignore_errors=True)
torch.manual_seed(0)
trainer = VAETrainer(VAE(GaussianNetwork(SIZES, Encoder(), Decoder()), sizes=SIZES))
for step in trainer.steps(
    "digits/train", max_steps=600, batch_size=64, validation="digits/test", evaluate_every=200, save_to=folder
):
    if "validation_loss" in step.metrics:
        print(f"step {step.index}: {step.metrics['validation_loss']:.1f} nats per held-out picture")

try:
    aigc_sdk.load("vae", folder)
except aigc_sdk.errors.MismatchedFolder as error:
    print(f"Without the modules: {error}")

model = VAE.open(folder, encoder=Encoder(), decoder=Decoder())
real = [Image(each.repeat(3, 2)) for each in pictures("digits/test").pixels[:10]]
sheet = media.grid([*real, *model.reconstruct(real), *model.generate(n=20, seed=0)], columns=10, scale=6)
print(f"Real digits, what the latents keep of them, and new ones: {sheet.save(folder / 'digits.png')}")
