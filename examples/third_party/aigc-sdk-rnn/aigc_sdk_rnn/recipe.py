"""How the default model in this package was made: `python -m aigc_sdk_rnn.recipe FOLDER` makes it again in a minute.

    python -m aigc_sdk_rnn.recipe FOLDER [bpe|characters]

The text is the sample text that aigc-sdk ships, the King James Bible, which is in the public domain; a twentieth of it,
spread over the whole, is held out and judges the result. "characters" makes a model of characters instead.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from aigc_sdk.training.corpus import sample_text, split

from .evaluate import BitsPerByte
from .train import RNNTrainer

MODELS: dict[str, dict[str, Any]] = {
    "bpe": {"tokens": "bpe", "vocabulary": 512, "tied": True},  # the default model
    "characters": {},
}
STEPS = {"bpe": 1000, "characters": 1300}


def make(folder: str, kind: str = "bpe") -> None:
    """Train a model, save it, and print what it took and what it reached."""
    training, held_out = split(sample_text())
    trainer = RNNTrainer.open(device="cpu", **MODELS[kind])
    started = time.process_time()
    for step in trainer.steps([training], max_steps=STEPS[kind]):
        if step.index % 100 == 0:
            print(f"{step.index}: {step.metrics['loss']:.3f}", flush=True)
    print(f"{time.process_time() - started:.0f} s of one core")
    trainer.model.save(folder)
    print(BitsPerByte(trainer.model).evaluate([held_out]))


if __name__ == "__main__":
    make(*sys.argv[1:])
