"""Films from the default model: time per clip, and what the contract adds to the same sampler written as a tight loop.

    python benchmarks/generate_video.py [--quick] [--threads 1]

A clip has 16 frames of 32 x 32. The tight loop draws the same noise, calls the same network with guidance, paints the
same frames, and leaves out everything else: options, prompts, checks, progress, origin, artifacts. The two take turns in
one process; both make the same frames, which is checked. A figure is the median over clips. Time per step is the slope
between clips of 20 and of 60 steps; what is left of a call is the same however long it samples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any, cast

import numpy as np
import torch
from machine import processor

from aigc_sdk.runtime import rng
from aigc_sdk_video.architecture import DIRECTIONS, FREE
from aigc_sdk_video.model import Video
from aigc_sdk_video.objects import Network
from aigc_sdk_video.objects.network import extents, length, stepped

PROMPT, LABEL, DIRECTION, GUIDANCE = "a 3 moving left", 3, "left", 1.5
STEPS, MORE = 20, 60  # of the sampler


@torch.no_grad()
def tight(network: Network, seed: int, steps: int) -> Any:
    """What `generate` makes of PROMPT, by hand: frames t x h x w x 3."""
    motion, looks = network.motion, network.looks
    state = torch.randn(1, motion.size, generator=rng(seed))
    told = torch.tensor([[LABEL, DIRECTIONS.index(DIRECTION)], [FREE, FREE]])
    known = torch.zeros(2, motion.size + network.sizes.frames)
    times = torch.linspace(0, 1, steps + 1).tolist()
    modulations = motion.modulate(torch.tensor(times[:-1]).repeat_interleave(2), told.repeat(steps, 1))
    before = None
    for now, then, how in zip(times, times[1:], modulations.view(steps, 2, -1), strict=False):
        guess = motion.predict(torch.cat([state, state]), known, how)
        guess = guess[1:] + GUIDANCE * (guess[:1] - guess[1:])
        state, before = stepped(state, guess, now, then, before), (length(now, then), guess)
    look, path = motion.apart(state)
    frames, size = network.sizes.frames, network.sizes.size
    sprites = looks.decoder(look)
    low, high = extents(sprites[:, -1])
    places = (path[0] * (size / 4) + (size - 1) / 2).clamp(low, size - 1 - high)
    black = torch.zeros(frames, network.sizes.channels, size, size)
    shown = (
        looks.paint(sprites.repeat(frames, 1, 1, 1), places[:, None], torch.ones(frames, 1, dtype=torch.bool), black)
        * 2
        - 1
    )
    pixels = shown.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous().numpy()


def measure(model: Video, clips: int) -> dict[str, Any]:
    """Both sides, with few steps and with many, in turns."""
    network = cast(Network, model.network)
    seconds: dict[tuple[str, int], list[float]] = {}
    for seed in range(clips):
        for steps in (STEPS, MORE):
            started = time.perf_counter()
            [made] = model.generate(PROMPT, seed=seed, steps=steps, guidance=GUIDANCE)
            between = time.perf_counter()
            by_hand = tight(network, seed, steps)
            ended = time.perf_counter()
            seconds.setdefault(("generate", steps), []).append(between - started)
            seconds.setdefault(("tight loop", steps), []).append(ended - between)
            assert np.array_equal(made.frames, by_hand), "the two make other frames"
    sides = ("generate", "tight loop")
    clip = {side: statistics.median(seconds[side, STEPS]) for side in sides}
    step = {side: (statistics.median(seconds[side, MORE]) - clip[side]) / (MORE - STEPS) for side in sides}
    return {
        "milliseconds_per_clip": {side: round(1000 * each, 2) for side, each in clip.items()},
        "milliseconds_per_step": {side: round(1000 * each, 4) for side, each in step.items()},
        "overhead_per_step": round(step["generate"] / step["tight loop"] - 1, 4),
        "targets": {"milliseconds_per_clip": 20, "overhead_per_step": 0.03},
    }


def main() -> None:
    """Print one JSON object per line."""
    parser = argparse.ArgumentParser(description="Films from the default model, beside a tight loop.")
    parser.add_argument("--quick", action="store_true", help="few clips")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clips", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = Video.open(device="cpu")
    model.generate(PROMPT, n=3, seed=0)
    about = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    print(json.dumps({"what": "a film of 16 frames, 32 x 32", **about}))
    print(json.dumps(measure(model, 10 if arguments.quick else arguments.clips)))


if __name__ == "__main__":
    main()
