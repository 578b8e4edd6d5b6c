"""Travelling through a latent space: from one picture to another, along the numbers of a code, along a model's own directions.

python examples/12_latent.py
"""

from pathlib import Path

import numpy as np

import aigc_sdk
from aigc_sdk import Image, media


def show(images: list[Image]) -> None:
    """Pictures side by side in the terminal, two pixels in a character."""
    bright = np.concatenate([np.pad(each.pixels[..., 0] > 90, ((0, 0), (0, 2))) for each in images], axis=1)
    for upper, lower in zip(bright[::2], bright[1::2], strict=True):
        print("".join(" ▀▄█"[index] for index in upper + 2 * lower).rstrip())


folder = Path("runs/latent")
folder.mkdir(parents=True, exist_ok=True)
vae = aigc_sdk.load("vae")

one, other = vae.generate(n=2, label=3, seed=4)
print("From one three to another")
show(vae.interpolate(one, other, 5, label=3))

codes = vae.encode([one], label=3)
print(f"\nA picture of {one.pixels[..., 0].size} pixels is {codes.shape[1]} numbers; and back again")
show([one, *vae.decode(codes, label=3)])

traversal = vae.traverse(one, label=3, steps=9)
print(f"\nA row for each number: {media.grid(traversal, columns=9, scale=3).save(folder / 'traversal.png')}")

gan = aigc_sdk.load("gan")
latents, stroke = gan.latents(1, seed=2), gan.directions(3)[0]
print("\nAlong the direction that changes the GAN's pictures most")
show(gan.decode(np.concatenate([latents + strength * stroke for strength in (-4, -2, 0, 2, 4)]), label=8))
