"""VITS of default size: aigc_sdk_tts beside transformers' own call, on the same weights, in turns, in one process.

    python benchmarks/speak_vits.py [--turns 5] [--threads 1]

The weights are random, which changes no time and makes agreement harder: what a trained decoder smooths stays rough. Both
sides speak the same text from the same seed, so that the durations, and the noise, are the same. Figures are medians over
the turns: seconds per second of sound (wall clock, and the processor's time, which other processes disturb less), seconds
to the first sound, and the agreement of the samples as a signal-to-noise ratio in dB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import processor
from transformers import VitsConfig, VitsModel

from aigc_sdk_tts.hub_models import SpeechModel

TEXT = "the quick brown fox jumps over the lazy dog while the rain falls on the plain and nobody is there to hear it"
SEED = 3


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = written(Path(place))
        theirs: Any = VitsModel.from_pretrained(folder).eval()
        ours = {
            dtype: SpeechModel.open(folder, device="cpu", dtype=dtype)  # type: ignore[arg-type]
            for dtype in ("float32", "bfloat16")
        }
    sides = {"transformers": lambda: whole(theirs, ours["float32"])}
    sides |= {f"aigc_sdk {dtype}": lambda model=model: streamed(model) for dtype, model in ours.items()}
    print(
        json.dumps(
            {"processor": processor(), "threads": arguments.threads, **measured(sides, arguments.turns)}, indent=2
        )
    )


def written(folder: Path) -> Path:
    """A VITS of default size with random weights."""
    letters = "abcdefghijklmnopqrstuvwxyz "
    torch.manual_seed(0)
    VitsModel(VitsConfig(vocab_size=len(letters) + 1)).save_pretrained(folder)
    vocabulary = {"<pad>": 0, **{letter: index + 1 for index, letter in enumerate(letters)}}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    settings = {"add_blank": True, "normalize": True, "phonemize": False, "is_uroman": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def whole(model: Any, tokenizes: Any) -> tuple[np.ndarray, float]:
    """The samples of transformers' call, and the seconds to the first of them."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    with torch.inference_mode():
        made = model(**tokenizes.family.tokenizer(TEXT, return_tensors="pt")).waveform[0].numpy()
    return made, time.perf_counter() - started


def streamed(model: SpeechModel) -> tuple[np.ndarray, float]:
    """The samples of a stream, and the seconds to its first chunk."""
    started, chunks = time.perf_counter(), model.stream(TEXT, seed=SEED)
    first = next(chunks)
    until = time.perf_counter() - started
    return np.concatenate([first.samples[0], *(each.samples[0] for each in chunks)]), until


def measured(sides: dict[str, Callable[[], tuple[np.ndarray, float]]], turns: int) -> dict[str, Any]:
    """Every side's figures, and how many times as fast as the first it is."""
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    samples = {name: side()[0] for name, side in sides.items()}  # which also warms it up
    for _ in range(turns):
        for name, side in sides.items():
            wall, busy = time.perf_counter(), time.process_time()
            _, first = side()
            times[name].append((time.perf_counter() - wall, time.process_time() - busy, first))
    reference, *_ = samples.values()
    seconds = len(reference) / 16_000
    medians = {name: [statistics.median(each) for each in zip(*its, strict=True)] for name, its in times.items()}
    [slowest, *_] = medians.values()
    return {
        "seconds of sound": round(seconds, 2),
        **{
            name: {
                "real-time factor": round(wall / seconds, 4),
                "real-time factor, processor time": round(busy / seconds, 4),
                "times as fast": round(slowest[0] / wall, 2),
                "times as fast, processor time": round(slowest[1] / busy, 2),
                "seconds to the first sound": round(first, 3),
                "agreement, dB": agreement(reference, samples[name]),
            }
            for name, (wall, busy, first) in medians.items()
        },
    }


def agreement(wanted: np.ndarray, made: np.ndarray) -> float | None:
    """The signal-to-noise ratio in dB; None where both are the same."""
    noise = float(((wanted - made) ** 2).sum())
    return round(10 * float(np.log10((wanted**2).sum() / noise)), 1) if noise else None


if __name__ == "__main__":
    main()
