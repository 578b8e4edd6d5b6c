"""A hook of your own: refuse prompts, filter texts, and put a mark into every picture, whichever backend made it.

    python examples/18_hook.py

Hooks run for objects that you switch on, and nowhere else.
"""

from dataclasses import replace

import numpy as np

import aigc_sdk
from aigc_sdk import Artifact, Image, Job, Text

UNWANTED = {"slain": "s****", "smote": "s****", "sword": "s****", "blood": "b****"}


class House:
    """The rules of a house."""

    @aigc_sdk.hookimpl
    def aigc_prompt(self, job: Job) -> None:
        if any("secret" in str(prompt) for prompt in job.prompts):
            raise aigc_sdk.errors.Refused("the house does not talk about secrets")

    @aigc_sdk.hookimpl
    def aigc_artifact(self, artifact: Artifact, job: Job) -> Artifact | None:
        if isinstance(artifact, Text):
            text = artifact.text
            for word, instead in UNWANTED.items():
                text = text.replace(word, instead)
            return replace(artifact, text=text)
        return None


class Mark:
    """A watermark of one bit per pixel: the lowest bit of every green value says the seed, again and again."""

    @aigc_sdk.hookimpl(trylast=True)  # after whatever else may change the picture
    def aigc_artifact(self, artifact: Artifact, job: Job) -> Artifact | None:
        if not isinstance(artifact, Image):
            return None
        pixels = artifact.to_numpy()
        green = pixels[..., 1].ravel()
        bits = np.resize(np.array([int(bit) for bit in f"{job.seeds[artifact.sample]:016b}"], np.uint8), green.size)
        pixels[..., 1] = (green & 254 | bits).reshape(pixels.shape[:2])
        return replace(artifact, pixels=pixels)


def seed_in(image: Image) -> int:
    """What the mark says."""
    return int("".join(str(bit) for bit in image.pixels[..., 1].ravel()[:16] & 1), 2)


writer, painter = aigc_sdk.load("gpt2"), aigc_sdk.load("gan")
with aigc_sdk.using(House(), Mark()):
    for text in writer.generate("And the men of war", n=3, seed=11, max_new_tokens=30):
        print(f"And the men of war{' '.join(str(text).splitlines())}")
    try:
        writer.generate("The secret of")
    except aigc_sdk.errors.Refused as error:
        print(f"refused: {error}")
    pictures = painter.generate(n=4, label=7, seed=2026)
print(f"the marks say {[seed_in(each) for each in pictures]}")
print(f"without the hook: {seed_in(painter.generate(label=7, seed=2026)[0])}")
