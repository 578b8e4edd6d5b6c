"""Design: variants of one shape along directions of a model's latent space, ranked by a judge, and the chosen one at full size.

    python examples/compose_design.py [--label 3] [--model FOLDER] [--to FOLDER]

The default model draws handwritten digits; what varies is slant, weight and form. A folder of another GAN takes its place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import aigc_sdk
from aigc_sdk import Image, media
from aigc_sdk_process import compose
from aigc_sdk_process.finish import image

STRENGTHS = (-3.0, -1.5, 0.0, 1.5, 3.0)


def main() -> None:
    """Write variants.png, a row for each direction, and chosen.png."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--label", default="3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--model", default="gan", help="a backend or a folder whose model has `directions` and `decode`"
    )
    parser.add_argument("--to", type=Path, default=Path("runs/design"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)

    model = aigc_sdk.load(asked.model)
    [base] = model.generate(label=asked.label, seed=asked.seed)  # replays; the variants are decoded from its latent
    latent = model.latents(1, seed=asked.seed)  # type: ignore[attr-defined]
    variants: list[Image] = []
    for direction in model.directions(4):  # type: ignore[attr-defined]
        moved = np.concatenate([latent + strength * direction for strength in STRENGTHS])
        variants += model.decode(moved, label=asked.label)  # type: ignore[attr-defined]
    media.grid(variants, columns=len(STRENGTHS), scale=4).save(asked.to / "variants.png")

    judge = aigc_sdk.evaluator(asked.model)
    order = compose.ranked(
        variants, judge, by="probability", higher_is_better=True, references=[asked.label] * len(variants)
    )
    kept = [each for each in order if each.row["label"] == asked.label and each.value > 0.9]
    print(f"{len(variants)} variants, {len(kept)} of which the judge reads as {asked.label} with more than 0.9")
    if not kept:
        raise SystemExit("the judge recognises none; try another seed or smaller strengths")
    boldest = max(kept, key=lambda each: distance(each.artifact, base))
    large = image.resize(boldest.artifact, 512, 512, filter="bicubic")
    poster = image.watermark(image.contrast(image.sharpen(large, radius=8.0), 1.2), "variant", opacity=0.3)
    place = poster.save(asked.to / "chosen.png")
    print(f"{place}: {distance(boldest.artifact, base):.1f} levels from the base, probability {boldest.value:.3f}")
    print(compose.replay(place, given=[boldest.artifact]))


def distance(one: Image, other: Image) -> float:
    """The root mean square of the differences in levels."""
    return float(np.sqrt(np.mean((one.pixels.astype(float) - other.pixels) ** 2)))


if __name__ == "__main__":
    main()
