"""The latent kind on moving digits: `python -m aigc_sdk_video.latent.recipe --to FOLDER` trains one, and the judge looks at it.

The model and its checkpoints lie in FOLDER and FOLDER-run; started again after an interruption, it goes on from the newest.
`--figures FOLDER` trains nothing, and prints what the judge says of a model. Judge how it moves as well as what it shows:
frames alone can be right in a clip that jumps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from aigc_sdk_video.evaluate import VideoJudge
from aigc_sdk_video.model import Video
from aigc_sdk_video.recipe import TRAINED_ON, clips, export
from aigc_sdk_video.train import VideoTrainer

SIZES: dict[str, Any] = {"architecture": "latent", "size": 32, "frames": 16, "latent": 4, "width": 256, "depth": 4}
TRAINING: dict[str, Any] = {
    "share": 0.23,
    "batch_sizes": (32, 64),
    "learning_rates": (2e-3, 1.5e-3),
    "schedule": "linear",
    "hold": 0.5,
    "warmup_steps": 100,
    "ema_decay": 0.998,
    "precision": "auto",
}
MAX_STEPS = 5_400
SAMPLING: dict[str, Any] = {"steps": 10, "guidance": 3.0}


def main() -> None:
    """Train, export, and report what the judge says and how long it all takes."""
    parser = argparse.ArgumentParser(description="Train a latent model of moving digits.")
    parser.add_argument("--to", type=Path, help="the model folder to write")
    parser.add_argument("--figures", type=Path, help="train no model; print the figures of the one in this folder")
    parser.add_argument("--each", type=int, default=2, help="clips of every label in every direction")
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the CPU; None: as many as torch takes")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = None if arguments.figures is None else Video.open(arguments.figures, device="cpu")
    if arguments.to:
        started = time.perf_counter()
        trainer = VideoTrainer.open(device=arguments.device, seed=arguments.seed, **SIZES)
        made: Video = trainer.fit(
            TRAINED_ON,
            max_steps=arguments.max_steps,
            seed=arguments.seed,
            save_to=arguments.to.with_name(arguments.to.name + "-run"),
            save_every=500,
            resume=True,
            progress=True,
            **TRAINING,
        )
        model = export(made, arguments.to)
        print(f"trained in {time.perf_counter() - started:.0f} s on {arguments.device}")
    if model is not None:
        model.generate("a 3 moving left", seed=0, **SAMPLING)
        started = time.perf_counter()
        films = list(clips(model, arguments.each, **SAMPLING))
        print(f"{(time.perf_counter() - started) / len(films):.3f} s a clip")
        print(VideoJudge.open(device="cpu").evaluate(films))


if __name__ == "__main__":
    main()
