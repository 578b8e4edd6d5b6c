"""What the contract adds to a pipeline of diffusers: the same call of the same weights, with and without it.

    python benchmarks/wrap_diffusers.py [--quick] [--threads 2] [--turns 7]

A Wan of 14 million random weights, 20 steps, 17 frames of 64x64 (a small one with `--quick`): in turns diffusers' own call
and `generate`, from a warm start. `ratio_of_calls` is the median of generate over diffusers; because two calls of seconds
differ by more than what is to be measured, `added_ms` is clocked within the call: all of `generate` but the pipeline's own
work and its decoding. `added_percent` is that over the median call of diffusers. `equal` says whether the frames of both
are the same to the byte.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from machine import processor

from aigc_sdk_video.pipelines import VideoPipeline, decoding, tiny_pipeline

SEED = 1
CALL = {"num_frames": 17, "height": 64, "width": 64}
QUICK = {"num_frames": 9, "height": 32, "width": 32}


class Clock:
    """Seconds that were spent inside what it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def call(self, function: Any) -> Any:
        """`function`, clocked."""

        @functools.wraps(function)
        def clocked(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return clocked

    def iterator(self, function: Any) -> Any:
        """`function`, whose iterator is clocked."""

        @functools.wraps(function)
        def clocked(*arguments: Any) -> Iterator[Any]:
            found = function(*arguments)
            while True:
                start = time.perf_counter()
                piece = next(found, None)
                self.seconds += time.perf_counter() - start
                if piece is None:
                    return
                yield piece

        return clocked


def build(quick: bool) -> Any:
    """A pipeline with random weights, large enough for its own work to be what takes the time."""
    if quick:
        return tiny_pipeline("WanPipeline")
    torch.manual_seed(0)
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=6,
        attention_head_dim=64,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=1024,
        num_layers=6,
        rope_max_seq_len=64,
    )
    return tiny_pipeline("WanPipeline", transformer=transformer.eval())


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    pipe, clock = build(given.quick), Clock()
    steps, size = (3, QUICK) if given.quick else (20, CALL)
    kind = type(pipe)
    pipe.__class__ = type(kind.__name__, (kind,), {"__call__": clock.call(kind.__call__)})
    decoding.pieces = clock.iterator(decoding.pieces)
    model = VideoPipeline(pipe)

    def theirs() -> Any:
        rng = torch.Generator().manual_seed(SEED)
        made = kind.__call__(pipe, "a cat runs", num_inference_steps=steps, generator=rng, output_type="np", **size)
        return (made.frames[0] * 255).round().astype(np.uint8)

    def ours() -> Any:
        return model.generate("a cat runs", seed=SEED, steps=steps, progress=False, **size)[0].frames

    equal = np.array_equal(theirs(), ours())
    direct, wrapped, added = [], [], []
    for _ in range(given.turns):
        start = time.perf_counter()
        theirs()
        direct.append(time.perf_counter() - start)
        clock.seconds, start = 0.0, time.perf_counter()
        ours()
        wrapped.append(time.perf_counter() - start)
        added.append(wrapped[-1] - clock.seconds)
    ratios = [one / other for one, other in zip(wrapped, direct, strict=True)]
    found = {
        "weights": sum(each.numel() for each in pipe.transformer.parameters()),
        "steps": steps,
        "turns": given.turns,
        "diffusers_seconds": round(statistics.median(direct), 3),
        "generate_seconds": round(statistics.median(wrapped), 3),
        "ratio_of_calls": round(statistics.median(ratios), 4),
        "added_ms": round(1000 * statistics.median(added), 2),
        "added_percent": round(100 * statistics.median(added) / statistics.median(direct), 3),
        "equal": bool(equal),
        "threads": given.threads,
        "processor": processor(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
