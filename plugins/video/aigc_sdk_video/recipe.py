"""How the default model and its judge were made: `python -m aigc_sdk_video.recipe --to FOLDER` makes them again.

The model and its checkpoints lie in FOLDER and FOLDER-run; started again after an interruption, the recipe goes on from the
newest. The judge is trained with `--judge FOLDER`, and otherwise the one in this package. `--figures FOLDER` trains nothing,
and prints what the judge says of a model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aigc_sdk import artifacts
from aigc_sdk.protocols import Report, Step

from .architecture import DIRECTIONS
from .evaluate import VideoJudge
from .model import Video
from .train import VideoTrainer

SIZES: dict[str, Any] = {"architecture": "objects", "size": 32, "frames": 16, "walls": True, "width": 256, "depth": 4}
TRAINING: dict[str, Any] = {
    "share": 0.3,
    "batch_sizes": (64, 256),
    "learning_rates": (2e-3, 1e-3),
    "schedule": "cosine",
    "ema_decay": 0.999,
}
MAX_STEPS = 16_000
TRAINED_ON, HELD_OUT = "digits/train", "digits/test"


def train(
    run: Path,
    max_steps: int = MAX_STEPS,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[Step], None] | None = None,
) -> Video:
    """Train the default model, with checkpoints in `run`."""
    trainer = VideoTrainer.open(device=device, seed=seed, **SIZES)
    model: Video = trainer.fit(
        TRAINED_ON,
        max_steps=max_steps,
        seed=seed,
        save_to=run,
        save_every=500,
        resume=True,
        on_step=on_step,
        progress=True,
        **TRAINING,
    )
    return model


def export(model: Video, to: Path) -> Video:
    """Write the model with its weights rounded to float16, and open it again in float32, as users do."""
    model.network.half()
    model.save(to)
    return Video.open(to, device="cpu")


def train_judge(seed: int = 0, device: str = "cpu") -> VideoJudge:
    """The judge of moving digits, which has seen the training digits, and remembers those held out."""
    return VideoJudge.trained(TRAINED_ON, HELD_OUT, size=SIZES["size"], seed=seed, device=device)


def clips(model: Video, each: int, **options: Any) -> Iterator[artifacts.Video]:
    """`each` clips of every label in every direction."""
    for place, label in enumerate(model.labels):
        for turn, direction in enumerate(DIRECTIONS):
            seed = 1000 * (8 * place + turn)
            yield from model.generate(f"a {label} moving {direction}", n=each, seed=seed, **options)


def pairs(model: Video, each: int, **options: Any) -> Iterator[artifacts.Video]:
    """`each` clips of every label beside another one, in directions that change."""
    count = len(model.labels)
    for place, label in enumerate(model.labels):
        other = model.labels[(place + 1 + place % (count - 1)) % count]
        first, second = DIRECTIONS[place % 8], DIRECTIONS[3 * (place + 1) % 8]
        prompt = f"a {label} moving {first} and a {other} moving {second}"
        yield from model.generate(prompt, n=each, seed=1_000_000 + 1000 * place, **options)


def figures(model: Video, judge: VideoJudge, each: int = 10, **options: Any) -> dict[str, Report]:
    """What the judge says of clips of one digit, 80 for every `each`, and of two, 20 for each."""
    return {
        "one digit": judge.evaluate(list(clips(model, each, **options))),
        "two digits": judge.evaluate(list(pairs(model, 2 * each, **options))),
    }


def main() -> None:
    """Train, export, and report what the judge says."""
    parser = argparse.ArgumentParser(description="Make the default film model again.")
    parser.add_argument("--to", type=Path, help="the model folder to write")
    parser.add_argument("--judge", type=Path, help="train the judge as well, and write it to this folder")
    parser.add_argument("--figures", type=Path, help="train no model; print the figures of the one in this folder")
    parser.add_argument("--each", type=int, default=10, help="clips of every label in every direction")
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--guidance", type=float, default=1.4)
    arguments = parser.parse_args()
    if arguments.judge:
        train_judge(device=arguments.device).save(arguments.judge)
    model = None if arguments.figures is None else Video.open(arguments.figures, device="cpu")
    if arguments.to:
        started = time.perf_counter()
        run = arguments.to.with_name(arguments.to.name + "-run")
        model = export(train(run, arguments.max_steps, arguments.seed, arguments.device), arguments.to)
        print(f"trained in {time.perf_counter() - started:.0f} s on {arguments.device}")
    if model is not None:
        judge = VideoJudge.open(arguments.judge, device="cpu")
        for name, report in figures(model, judge, arguments.each, guidance=arguments.guidance).items():
            print(f"{name}\n{report}")


if __name__ == "__main__":
    main()
