"""Training a GAN: aigc_sdk_gan's trainer beside a plain loop written by hand, in turns, in one process.

    python benchmarks/train_gan.py [--quick] [--threads 2]

Both train the same first weights, a DCGAN without labels, on the same pictures with the same loss (non-saturating), rates and
batch of 64. The plain loop is what the tutorials teach: a DataLoader, two ordinary Adams (torch's for-loop
implementation, float32), the critic on real and on generated pictures, then the generator. The trainer is as its
defaults are (bfloat16 where the machine is fast at it), with penalties and augmentation off, because the loop has none;
its ratio in float32 stands beside. A figure is the median over updates; the
first update of every turn is left out. Memory is the peak of a process in which one side trains alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import processor
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from aigc_sdk.protocols import Fit
from aigc_sdk.runtime import fast_bfloat16
from aigc_sdk.training.images import to_tensor
from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.network import Sizes, new_networks
from aigc_sdk_gan.train import GANTrainer

BATCH, PICTURES = 64, 2048
RATE, BETAS = 2e-4, (0.5, 0.999)


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    sizes: Sizes
    target: float  # of ours / theirs

    def __str__(self) -> str:
        return f"{self.sizes.size}x{self.sizes.size}x{self.sizes.channels}"


CASES = [
    Case(Sizes.parse("gan", {"size": 8, "classes": 0}), 1.1),
    Case(Sizes.parse("gan", {"size": 32, "channels": 3, "classes": 0}), 1.4),
]


def networks(case: Case) -> tuple[nn.Module, nn.Module]:
    """The pair, the same in every call."""
    torch.manual_seed(0)
    return new_networks(case.sizes)


def data(case: Case) -> NDArray[np.uint8]:
    """Pictures of noise: what they show changes no time."""
    shape = (PICTURES, case.sizes.size, case.sizes.size, case.sizes.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def ours(case: Case, steps: int, precision: str = "auto") -> list[float]:
    """The seconds of each update but the first of `aigc_sdk_gan`."""
    trainer = GANTrainer(GAN(*networks(case), sizes=case.sizes))
    plain = {"loss": "non_saturating", "r1": 0.0, "translation": 0.0, "ema_decay": None, "schedule": "constant"}
    rates = {"batch_size": BATCH, "learning_rate": RATE, "betas": BETAS}
    options = GANTrainer.Options.parse("gan", {**plain, **rates, "precision": precision})
    times = [time.perf_counter() for _ in trainer.run(data(case), Fit(steps, 0, options))]
    return [b - a for a, b in pairwise(times)]


def theirs(case: Case, steps: int) -> list[float]:
    """The same of the plain loop."""
    generator, critic = networks(case)
    adam_g, adam_d = (
        torch.optim.Adam(each.parameters(), RATE, BETAS, foreach=False, fused=False) for each in (generator, critic)
    )
    loader = DataLoader(TensorDataset(to_tensor(data(case))), BATCH, shuffle=True, drop_last=True)
    generator.train()
    critic.train()
    times: list[float] = []
    while True:
        for [real] in loader:
            fake = generator(torch.randn(len(real), case.sizes.latent))
            loss_d = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
            adam_d.zero_grad()
            loss_d.backward()
            adam_d.step()
            loss_g = F.softplus(-critic(fake)).mean()
            adam_g.zero_grad()
            loss_g.backward()
            adam_g.step()
            loss_d.item(), loss_g.item()  # both sides tell their losses
            times.append(time.perf_counter())
            if len(times) == steps:
                return [b - a for a, b in pairwise(times)]


def measure(case: Case, turns: int, steps: int) -> dict[str, Any]:
    """Both sides in turns."""
    own, other, alike = list[list[float]](), list[list[float]](), list[list[float]]()
    for _ in range(turns):
        other.append(theirs(case, steps))
        own.append(ours(case, steps))
        alike.append(ours(case, steps, "float32"))
    seconds = [statistics.median(s for turn in side for s in turn) for side in (own, other, alike)]
    memory = [peak_memory(side, case, steps) for side in (ours, theirs)]
    return {
        "case": str(case),
        "images_per_second": [round(BATCH / each) for each in seconds[:2]],
        "ratio": round(seconds[1] / seconds[0], 3),
        "ratio_in_float32": round(seconds[1] / seconds[2], 3),
        "ratio_of_each_turn": [
            round(statistics.median(b) / statistics.median(a), 3) for a, b in zip(own, other, strict=True)
        ],
        "target": case.target,
        "peak_megabytes": memory,
        "memory_ratio": round(memory[0] / memory[1], 3),
    }


def peak_memory(side: Callable[[Case, int], list[float]], case: Case, steps: int) -> int:
    """The most megabytes that a fresh process holds in which one side trains."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (side.__name__, case, steps, torch.get_num_threads()))


def _peak(side: str, case: Case, steps: int, threads: int) -> int:
    torch.set_num_threads(threads)
    globals()[side](case, steps)
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM"):  # getrusage's figure would begin with the parent's, which exec does not reset
                return round(int(line.split()[1]) * 1024 / 1e6)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6)


def main() -> None:
    """Print one JSON object per case."""
    parser = argparse.ArgumentParser(description="Train a GAN: our trainer beside a plain loop.")
    parser.add_argument("--quick", action="store_true", help="one short turn of each case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="updates per turn")
    arguments = parser.parse_args()
    turns, steps = (1, 6) if arguments.quick else (arguments.turns, arguments.steps)
    torch.set_num_threads(arguments.threads)
    machine = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    fast = {"bfloat16": fast_bfloat16("cpu")}
    print(json.dumps({"what": "DCGAN, batch 64; [ours, plain loop]", **machine, **fast}))
    for case in CASES:
        print(json.dumps(measure(case, turns, steps)), flush=True)


if __name__ == "__main__":
    main()
