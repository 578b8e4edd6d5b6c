"""The Fréchet distance beside scipy's root of a matrix, and one pass for all set scores beside a pass for each.

    python benchmarks/metrics_images.py [--quick] [--threads 1]

The first table: features of two normal distributions, the covariances computed beforehand on both sides; then
`trace(C1 + C2 - 2 (C1 C2)^(1/2))` by aigc_sdk_metrics, and by scipy.linalg.sqrtm as FID's tools do it. A figure is the median of
the turns. The second: a convolutional network looks at pictures, and the evaluator computes seven scores of its features.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from machine import processor

from aigc_sdk import Image
from aigc_sdk_metrics.features import Backbone
from aigc_sdk_metrics.frechet import Moments, frechet_distance
from aigc_sdk_metrics.image import ImageMetrics

SCORES = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "copies")


def clock(call: Callable[[], Any], turns: int) -> tuple[float, Any]:
    """Seconds, and what it returns."""
    found = []
    for _ in range(turns):
        start = time.perf_counter()
        result = call()
        found.append(time.perf_counter() - start)
    return statistics.median(found), result


def features(n: int, d: int, seed: int) -> Any:
    """Of a normal distribution whose features are mixed and unevenly spread, (n, d)."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(3, 0.1, d)
    return (
        rng.standard_normal((n, d)) @ (rng.standard_normal((d, d)) / np.sqrt(d)) * spread + rng.standard_normal(d) / 4
    )


def distance(d: int, n: int, turns: int) -> dict[str, Any]:
    """One line of the first table."""
    sqrtm = importlib.import_module("scipy.linalg").sqrtm
    first, second = (Moments.of(features(n, d, seed)) for seed in (0, 1))
    a, b = first.covariance, second.covariance
    apart = float(np.square(first.mean - second.mean).sum())
    seconds, value = clock(lambda: frechet_distance(first, second), turns)
    theirs, expected = clock(lambda: apart + float(np.trace(a + b) - 2 * np.trace(sqrtm(a @ b)).real), turns)
    return {
        "case": f"{d:,} features of {n:,} samples",
        "seconds": round(seconds, 4),
        "sqrtm_seconds": round(theirs, 4),
        "times_faster": round(theirs / seconds, 1),
        "relative_difference": float(f"{abs(value / expected - 1):.1e}"),
    }


def passes(n: int, size: int) -> dict[str, Any]:
    """The second table: how many pictures the network saw, and seconds."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, 2), torch.nn.ReLU()
    )
    plain = Backbone.of_module(network, name="convolutions", size=size)
    seen = 0

    def look(pictures: list[Any]) -> Any:
        nonlocal seen
        seen += len(pictures)
        return plain.look(pictures)

    judge = ImageMetrics(features=Backbone(look, "convolutions"))
    rng = np.random.default_rng(0)
    sets = [[Image(each) for each in rng.integers(0, 256, (n, size, size, 3), np.uint8)] for _ in range(2)]
    together, _ = clock(lambda: judge.evaluate(*sets, metrics=SCORES), 1)
    at_once, seen = seen, 0
    one_by_one, _ = clock(lambda: [judge.evaluate(*sets, metrics=(name,)) for name in SCORES], 1)
    return {
        "case": f"{len(SCORES)} scores of {n:,} pictures against {n:,}",
        "seconds": round(together, 2),
        "one_by_one_seconds": round(one_by_one, 2),
        "pictures_seen": at_once,
        "one_by_one_seen": seen,
    }


def main() -> None:
    """Print one JSON object per case."""
    parser = argparse.ArgumentParser(description="The Fréchet distance, and one pass for all scores.")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--threads", type=int, default=1, help="of torch; OMP_NUM_THREADS sets numpy's")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    versions = {name: importlib.import_module(name).__version__ for name in ("numpy", "scipy", "torch")}
    what = "times_faster >= 6 at 2,048 features, relative_difference < 1e-6, pictures seen once"
    print(json.dumps({"target": what, "processor": processor(), **versions}))
    for d, n, turns in ((64, 1000, 20), (512, 2000, 5)) + (() if arguments.quick else ((2048, 10_000, 3),)):
        print(json.dumps(distance(d, n, turns)), flush=True)
    print(json.dumps(passes(200 if arguments.quick else 2000, 32)))


if __name__ == "__main__":
    main()
