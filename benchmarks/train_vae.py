"""Training a VAE: aigc_sdk_vae's trainer beside a plain PyTorch loop, and pythae's where it is, in turns, in one process.

    python benchmarks/train_vae.py [--quick] [--threads 2]

All train the same weights by the same loss with the same learning rate, 64 pictures per update. The plain loop is what one
writes by hand: a DataLoader and ordinary Adam, in float32. Ours is in its own defaults: fused AdamW, rows taken from
memory, and bfloat16 where the machine is fast at it. A figure is the median over updates; the first
of every turn is left out, and so is each side's set-up.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from machine import processor
from torch.utils.data import DataLoader, TensorDataset

from aigc_sdk.protocols import Fit
from aigc_sdk.runtime import LentState, fast_bfloat16
from aigc_sdk.training.images import to_tensor
from aigc_sdk_vae.network import GaussianNetwork, Sizes
from aigc_sdk_vae.train import VAETrainer

BATCH, ROWS, RATE = 64, 2048, 1e-3


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    size: int
    channels: int
    target: float  # of ours / the plain loop

    def __str__(self) -> str:
        return f"{self.size}x{self.size}x{self.channels}"

    @property
    def sizes(self) -> dict[str, Any]:
        """What both sides build."""
        return {"size": self.size, "channels": self.channels, "classes": 0, "latent": 16, "width": 32}


def ours(case: Case, pixels: Any, steps: int) -> tuple[list[float], list[float]]:
    """Losses, and seconds of the updates after the first, of `aigc_sdk_vae`."""
    trainer = VAETrainer.open(device="cpu", **case.sizes)
    options = VAETrainer.Options.parse(
        "vae", {"batch_size": BATCH, "learning_rate": RATE, "schedule": "constant", "weight_decay": 0.0}
    )
    times, losses = [], []
    with LentState(0):
        for step in trainer.run(pixels, Fit(steps, 0, options)):
            times.append(time.perf_counter())
            losses.append(step.metrics["loss"])
    return losses, [b - a for a, b in pairwise(times)]


def plain(case: Case, pixels: Any, steps: int) -> tuple[list[float], list[float]]:
    """The same of a loop that is written by hand."""
    with LentState(0):
        network = GaussianNetwork(Sizes.parse("vae", {**Sizes().model_dump(), **case.sizes}))  # type: ignore[call-arg]
        loader = DataLoader(TensorDataset(to_tensor(pixels)), batch_size=BATCH, shuffle=True)
        adam = torch.optim.Adam(network.parameters(), lr=RATE)
        times: list[float] = []
        losses: list[float] = []
        while len(times) < steps:
            for (batch,) in loader:
                posterior = network.encode(batch, None)
                latents = posterior.mean + torch.exp(0.5 * posterior.log_variance) * torch.randn_like(posterior.mean)
                distortion = -network.likelihood.log_probability(network.decode(latents, None), batch)
                loss = (distortion + posterior.divergence().sum(1)).mean()
                adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
                losses.append(loss.item())
                times.append(time.perf_counter())
                if len(times) == steps:
                    break
    return losses, [b - a for a, b in pairwise(times)]


def pythae(case: Case, pixels: Any, steps: int) -> tuple[list[float], list[float]] | None:
    """Seconds of an update of pythae's trainer with the same layers, over whole epochs; None where it is not installed."""
    if importlib.util.find_spec("pythae") is None:
        return None
    models, base, nn, trainers = (
        importlib.import_module(f"pythae.{name}")
        for name in ("models", "models.base.base_utils", "models.nn", "trainers")
    )

    with LentState(0):
        network = GaussianNetwork(Sizes.parse("vae", {**Sizes().model_dump(), **case.sizes}))  # type: ignore[call-arg]

    encoder_base: Any = nn.BaseEncoder
    decoder_base: Any = nn.BaseDecoder

    class Encoder(encoder_base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.latent_dim = network.latent
            self.network = network.encoder

        def forward(self, x: torch.Tensor) -> Any:
            mean, log_variance = self.network(x, None).chunk(2, 1)
            return base.ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(decoder_base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network.decoder

        def forward(self, z: torch.Tensor) -> Any:
            return base.ModelOutput(reconstruction=self.network(z))

    shape = (case.channels, case.size, case.size)
    model = models.VAE(
        models.VAEConfig(input_dim=shape, latent_dim=network.latent), encoder=Encoder(), decoder=Decoder()
    )
    epochs = max(2, steps // (ROWS // BATCH))
    with tempfile.TemporaryDirectory() as folder, LentState(0):
        config = trainers.BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, per_device_train_batch_size=BATCH, learning_rate=RATE, no_cuda=True
        )
        trainer = trainers.BaseTrainer(model, [{"data": each} for each in to_tensor(pixels)], training_config=config)
        trainer.prepare_training()
        seconds = []
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            trainer.train_step(epoch)
            seconds.append((time.perf_counter() - started) / (ROWS // BATCH))
    return [], seconds[1:]


def measure(case: Case, turns: int, steps: int) -> dict[str, Any]:
    """All sides in turns."""
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, case.size, case.size, case.channels), np.uint8)
    sides: dict[str, list[tuple[list[float], list[float]]]] = {"plain": [], "ours": [], "pythae": []}
    for _ in range(turns):
        sides["plain"].append(plain(case, pixels, steps))
        sides["ours"].append(ours(case, pixels, steps))
        other = pythae(case, pixels, steps)
        sides["pythae"] += [other] if other is not None else []
    seconds = {name: statistics.median(s for _, each in runs for s in each) for name, runs in sides.items() if runs}
    own, by_hand = sides["ours"], sides["plain"]
    return {
        "case": str(case),
        "images_per_second": {name: round(BATCH / each) for name, each in seconds.items()},
        "ours_over_plain": round(seconds["plain"] / seconds["ours"], 3),
        "ratio_of_each_turn": [
            round(statistics.median(b[1]) / statistics.median(a[1]), 3) for a, b in zip(own, by_hand, strict=True)
        ],
        "target": case.target,
        "ours_over_pythae": round(seconds["pythae"] / seconds["ours"], 3) if "pythae" in seconds else "left out",
        "last_losses": {"ours": own[0][0][-1], "plain": by_hand[0][0][-1]},
    }


def sampling(case: Case, n: int = 1024) -> dict[str, Any]:
    """Pictures per second of `generate`, which the decoder's own time bounds."""
    model = VAETrainer.open(device="cpu", **case.sizes).model
    model.generate(n=64, seed=0)
    started = time.perf_counter()
    model.generate(n=n, seed=0)
    return {"case": str(case), "generated_images_per_second": round(n / (time.perf_counter() - started))}


def memory(case: Case, threads: int) -> dict[str, Any]:
    """The most memory that each side's process takes, over what its imports take."""
    peaks = {}
    for side in ("imports", "plain", "ours"):
        asked = [sys.executable, __file__, "--alone", side, "--case", str(case), "--threads", str(threads)]
        peaks[side] = int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    own, by_hand = (peaks[side] - peaks["imports"] for side in ("ours", "plain"))
    return {"case": str(case), "megabytes": peaks, "ours_over_plain": round((own + 1) / (by_hand + 1), 3)}


def alone(side: str, case: Case) -> None:
    """One side in a process of its own; prints its peak in megabytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, case.size, case.size, case.channels), np.uint8)
    if side != "imports":
        (ours if side == "ours" else plain)(case, pixels, 20)
    with open("/proc/self/status") as file:  # getrusage would count the parent's
        print(next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM")))


CASES = (Case(8, 1, 1.1), Case(32, 3, 1.4))


def main() -> None:
    """Print one JSON object per line."""
    parser = argparse.ArgumentParser(description="Train a VAE: our trainer beside a plain loop.")
    parser.add_argument("--quick", action="store_true", help="one short turn of each case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="updates per turn")
    parser.add_argument("--alone", choices=("imports", "plain", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        return alone(arguments.alone, next(each for each in CASES if str(each) == arguments.case))
    turns, steps = (1, 20) if arguments.quick else (arguments.turns, arguments.steps)
    warnings.filterwarnings("ignore")
    machine = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    print(json.dumps({"what": "VAE, 64 pictures per update", "bfloat16": fast_bfloat16("cpu"), **machine}))
    if importlib.util.find_spec("pythae") is None:
        print(json.dumps({"pythae": "left out: it is not installed"}))
    for case in CASES:
        print(json.dumps(measure(case, turns, steps)), flush=True)
        print(json.dumps(sampling(case)), flush=True)
        if sys.platform == "linux":
            print(json.dumps(memory(case, arguments.threads)), flush=True)
    return None


if __name__ == "__main__":
    main()
