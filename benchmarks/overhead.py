"""What the contract adds to a backend's `run`: validation, isolation, hooks and origins, per call and per chunk.

    python benchmarks/overhead.py [--quick] [--threads 2] [--turns 200]

First a generator that does nothing: `generate` and `stream` less iterating its `run`, in turns. `call_us` is what a call
of one chunk costs more, `chunk_us` what every further chunk does; both are medians over turns. Then GPT-2, 64 new tokens:
`added_ms` is the part of a `generate` call that the backend's own `check` and `run` do not take, clocked within the call
because two calls differ by more than that; `ratio_of_calls` has `generate` beside a bare `run` nevertheless. Reading the
weights for their fingerprint is done by the first call after they change, and has a line of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from engines.ours import beginnings, build
from machine import processor

import aigc_sdk
from aigc_sdk import Generator, Job, Step, Text, runtime
from aigc_sdk.protocols import ignore
from aigc_sdk.weights import quiet
from aigc_sdk_gpt2.model import GPT2

FEW, MANY, NEW = 1, 1001, 64


class Nothing(Generator[Text]):
    """Yields as many chunks as it is told, and does nothing for them."""

    backend, device, dtype = "nothing", "cpu", "float32"
    chunks = FEW

    @classmethod
    def open(cls, source: Any = None, **_: Any) -> Self:
        """One that has nothing to load."""
        return cls()

    def run(self, job: Job) -> Iterator[Text]:
        """The same chunk again and again."""
        for index in range(self.chunks):
            job.on_step(Step(index + 1, self.chunks))
            yield Text("a")

    def save(self, folder: str | Path) -> None:
        """There is nothing to save."""

    def to(self, device: str) -> Self:
        """There is nothing to move."""
        return self


class Owning(Nothing):
    """Does not need torch's global random state."""

    owns_randomness = True


class Observer:
    """Has every hook, and does nothing in them."""

    @aigc_sdk.hookimpl
    def aigc_prompt(self, job: Job) -> None:
        """Refuses nothing."""

    @aigc_sdk.hookimpl
    def aigc_artifact(self, artifact: Any, job: Job) -> None:
        """Keeps everything."""

    @aigc_sdk.hookimpl
    def aigc_step(self, step: Step, owner: Any) -> None:
        """Looks at nothing."""


@dataclass(frozen=True)
class Case:
    """One way to call the generator that does nothing."""

    model: type[Nothing]
    watched: bool = False
    hooked: bool = False

    def __str__(self) -> str:
        parts = ["owns its randomness" if self.model.owns_randomness else "is lent a random state"]
        return ", ".join(parts + ["on_step"] * self.watched + ["hooks"] * self.hooked)


CASES = [
    Case(model, watched, hooked)
    for model in (Owning, Nothing)
    for watched, hooked in ((False, False), (True, False), (False, True))
]


def clock(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(case: Case, turns: int) -> dict[str, Any]:
    """What stream and generate take more than the bare run, in turns."""
    model = case.model()
    on_step: Any = (lambda step: None) if case.watched else None
    job = Job((None,), 1, 0, model.Options(), on_step or ignore)
    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: list(model.run(job)),
        "stream": lambda: list(model.stream(seed=0, on_step=on_step)),
        "generate": lambda: model.generate(seed=0, on_step=on_step),
    }
    found: dict[tuple[str, int], list[float]] = {(name, chunks): [] for name in calls for chunks in (FEW, MANY)}
    with aigc_sdk.using(Observer()) if case.hooked else contextlib.nullcontext():
        for _ in range(turns):
            for (name, model.chunks), seconds in found.items():
                seconds.append(clock(calls[name]))
    return {"case": str(case), **{name: added(found, name) for name in ("stream", "generate")}}


def added(found: dict[tuple[str, int], list[float]], name: str) -> dict[str, float]:
    """Medians over turns, in microseconds."""
    few, many = ([b - a for a, b in zip(found["run", n], found[name, n], strict=True)] for n in (FEW, MANY))
    each = [(b - a) / (MANY - FEW) for a, b in zip(few, many, strict=True)]
    return {"call_us": round(1e6 * statistics.median(few), 1), "chunk_us": round(1e6 * statistics.median(each), 2)}


class Clocked(GPT2):
    """Notes how long `check` and `run` take."""

    inside = 0.0

    def check(self, job: Job) -> None:
        """As it is, clocked."""
        self.inside += clock(lambda: super(Clocked, self).check(job))

    def run(self, job: Job) -> Iterator[Text]:
        """As it is, clocked between one chunk and the next."""
        chunks = super().run(job)
        while True:
            started = time.perf_counter()
            chunk = next(chunks, None)
            self.inside += time.perf_counter() - started
            if chunk is None:
                return
            yield chunk


def share(name: str, model: GPT2, target: str, turns: int) -> dict[str, Any]:
    """The contract's part in a call of GPT-2."""
    [prompt] = beginnings(model.tokenizer, [64])
    clocked = Clocked(model.network, model.tokenizer)
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "temperature": 0.0}
    job = Job((prompt,), 1, 0, model.Options(**options))
    clocked.generate(prompt, seed=0, **options)  # reads the weights for their fingerprint
    whole, inside, bare = [], [], []
    for _ in range(turns):
        bare.append(clock(lambda: list(model.run(job))))
        clocked.inside = 0.0
        whole.append(clock(lambda: clocked.generate(prompt, seed=0, **options)))
        inside.append(clocked.inside)
    apart = [a - b for a, b in zip(whole, inside, strict=True)]
    return {
        "case": f"{name}, {NEW} tokens",
        "call_ms": round(1e3 * statistics.median(whole), 1),
        "added_ms": round(1e3 * statistics.median(apart), 2),
        "added_percent": round(100 * statistics.median(a / b for a, b in zip(apart, whole, strict=True)), 3),
        "ratio_of_calls": round(statistics.median(a / b for a, b in zip(whole, bare, strict=True)), 3),
        "target": target,
    }


def fingerprints(name: str, model: GPT2, turns: int) -> dict[str, Any]:
    """Reading the weights, and finding that they are as they were."""
    network: Any = model.network
    first, again = [], []
    for _ in range(turns):
        with torch.no_grad():
            next(network.parameters()).mul_(1)  # torch counts it as a change
        first.append(clock(lambda: runtime.fingerprint(network)))
        again.append(clock(lambda: runtime.fingerprint(network)))
    size = sum(each.nbytes for each in network.state_dict().values())
    return {
        "case": f"{name}, fingerprint of {size / 1e6:.0f} MB",
        "first_ms": round(1e3 * statistics.median(first), 1),
        "again_ms": round(1e3 * statistics.median(again), 3),
    }


def main() -> None:
    """Print one JSON object per case."""
    parser = argparse.ArgumentParser(description="What the contract adds to a backend's own work.")
    parser.add_argument("--quick", action="store_true", help="a few turns of each case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=200, help="of the generator that does nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    print(json.dumps({"what": "what the contract adds to run; target: chunk_us < 20", **machine}))
    for case in CASES:
        print(json.dumps(measure(case, 20 if arguments.quick else arguments.turns)), flush=True)
    models = {
        "the shipped GPT-2": (aigc_sdk.load("gpt2", device="cpu"), "added_ms < 2", 30),
        "GPT-2 124M": (build(), "added_percent < 1", 7),
    }
    with quiet():
        for name, (model, target, turns) in models.items():
            turns = 3 if arguments.quick else turns
            print(json.dumps(share(name, model, target, turns)), flush=True)
            print(json.dumps(fingerprints(name, model, turns)), flush=True)


if __name__ == "__main__":
    main()
