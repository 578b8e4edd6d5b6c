"""The compiled kernels beside torch: products of GPT-2's sizes, and whole decode steps, on torch's number of threads.

python benchmarks/generate_kernels.py [threads]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import processor
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk_gpt2.engines.native import NativeGPT2, packed
from aigc_sdk_gpt2.engines.plain import PlainGPT2
from aigc_sdk_kernels import PRECISIONS, Matrix, paths

SIZES = [(768, 2304), (768, 3072), (3072, 768), (768, 50257)]  # inputs x outputs
ROWS = (1, 8, 32)
TURNS = 15
PROMPT, NEW = 64, 24  # tokens


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    print(f"{processor()}, {threads} threads, paths {', '.join(paths())}")
    products(threads)
    steps()


def products(threads: int) -> None:
    """Milliseconds for a row of each size, in turns."""
    draw = np.random.default_rng(0)
    for inputs, outputs in SIZES:
        weight = draw.normal(size=(inputs, outputs)).astype(np.float32)
        plain = torch.from_numpy(weight.T.copy())
        matrices = {each: Matrix(weight, precision=each, threads=threads) for each in PRECISIONS}
        for rows in ROWS:
            x = draw.normal(size=(rows, inputs)).astype(np.float32)
            calls = {
                "torch float32": partial(torch.nn.functional.linear, torch.from_numpy(x), plain),
                **{each: partial(matrix, x, threads=threads) for each, matrix in matrices.items()},
            }
            print(f"{inputs} x {outputs}, {rows:2} rows, ms: {_in_turns(calls)}", flush=True)


@torch.inference_mode()
def steps() -> None:
    """Tokens a second of decoding alone, for GPT-2 of 124M random weights, in turns."""
    torch.manual_seed(0)
    network = GPT2LMHeadModel(GPT2Config()).eval()
    weights = {}
    for each in PRECISIONS:
        start = time.perf_counter()
        weights[each] = packed(network, each)
        print(
            f"packed as {each} in {time.perf_counter() - start:.2f} s, {weights[each].bytes / 1e6:.0f} MB", flush=True
        )
    for rows in ROWS:
        prompts = torch.randint(50257, (rows, PROMPT)).tolist()
        engines = {"torch float32": PlainGPT2(network)}
        engines |= {each: NativeGPT2(network, weights[each]) for each in PRECISIONS}
        tokens = {}
        for name, engine in engines.items():
            start = time.perf_counter()
            tokens[name] = engine.join(prompts, [NEW] * rows).argmax(-1)
            print(
                f"{rows:2} rows, {name}: {PROMPT * rows / (time.perf_counter() - start):.0f} tokens of prompts a second"
            )
        spent: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(NEW):
            for name, engine in engines.items():
                start = time.perf_counter()
                tokens[name] = engine.step(tokens[name]).argmax(-1)
                spent[name].append(time.perf_counter() - start)
        shown = ", ".join(f"{name} {rows / median(some):.0f}" for name, some in spent.items())
        print(f"{rows:2} rows, tokens a second: {shown}", flush=True)


def _in_turns(calls: Mapping[str, Callable[[], Any]]) -> str:
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - start)
    return ", ".join(f"{name} {median(some) * 1e3:.2f}" for name, some in spent.items())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
