"""Two processes train as one does, and a run of two that is resumed is the same run.

Draws are each process' own, and batch norm takes its statistics of a process' share. So what can be compared with one
process are fully connected layers, which have no batch norm, with the same draw for every picture.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from aigc_sdk_vae.train import VAETrainer

PIXELS, LABELS = np.random.default_rng(0).integers(0, 256, (24, 8, 8), np.uint8), [index % 3 for index in range(24)]
STEPS = 6
SIZES: dict[str, Any] = {"size": 8, "classes": 3, "latent": 4, "width": 16, "device": "cpu"}
MLP: dict[str, Any] = {**SIZES, "architecture": "mlp"}
# Epsilon: a gradient that is rounding alone must not become a step as large as any other.
OPTIONS: dict[str, Any] = {
    "batch_size": 8,
    "learning_rate": 1e-3,
    "epsilon": 1e-3,
    "precision": "float32",
    "ema_decay": 0.9,
}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vae": (MLP, {**OPTIONS, "beta": 2.0, "kl_warmup_steps": 4, "clip_norm": 100.0}),
    "iwae": ({**MLP, "likelihood": "bernoulli"}, {**OPTIONS, "objective": "iwae", "draws": 3}),
    "vamp": ({**MLP, "prior": "vamp", "pseudo_inputs": 6, "likelihood": "logistic"}, OPTIONS),
}
RESUMED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "conv": (SIZES, {**OPTIONS, "rotate": 5.0, "objective": "tc"}),
    "vq": ({**SIZES, "kind": "vq", "codes": 8}, {**OPTIONS, "shift": 1.0}),
}


@contextmanager
def same_draws() -> Iterator[None]:
    """Every draw of a standard normal number is 1, whichever process makes it."""
    own = torch.randn, torch.randn_like
    torch.randn, torch.randn_like = (lambda *shape, **how: torch.ones(shape)), torch.ones_like  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.randn, torch.randn_like = own


def trained(run: Path, sizes: dict[str, Any], options: dict[str, Any], stop: int = STEPS) -> None:
    call: dict[str, Any] = {"max_steps": STEPS, "save_to": run, "save_every": 3, "resume": True}
    trainer = VAETrainer.open(**sizes)
    for step in trainer.steps((PIXELS, LABELS), validation=(PIXELS, LABELS), evaluate_every=3, **call, **options):
        if step.index == stop:
            break


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from test_processes import RESUMED, RUNS, same_draws, trained
folder = Path(sys.argv[1])
for name, how in RUNS.items():
    with same_draws():
        trained(folder / name / "two", *how)
for name, how in RESUMED.items():
    for kind, stops in {{"two": [6], "left": [4, 6]}}.items():
        for stop in stops:
            trained(folder / name / kind, *how, stop)
            torch.distributed.barrier()  # the first process has written the checkpoint of a run that was left
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every run `one` by one process and `two` by two; or `two`, and `left` and resumed by two."""
    runs = tmp_path_factory.mktemp("runs")
    script = runs / "train.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    local = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launch, str(script), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **local}, timeout=250)
    assert done.returncode == 0, done.stderr[-5000:]
    for name, how in RUNS.items():
        with same_draws():
            trained(runs / name / "one", *how)
    return runs


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(each) for each in (run / "log.jsonl").open()]


def tensors(run: Path) -> dict[str, Tensor]:
    files = ["model/model.safetensors", "checkpoint-000006/state.safetensors"]
    return {f"{file}/{name}": each for file in files for name, each in load_file(run / file).items()}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_losses_and_the_weights_of_one(runs: Path, name: str) -> None:
    one, two = runs / name / "one", runs / name / "two"
    assert [json.loads((each / "run.json").read_text())["processes"] for each in (one, two)] == [1, 2]
    for expected, found in zip(log(one), log(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6 * abs(expected["loss"]))
    first, second = tensors(one), tensors(two)
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_of_two_processes_that_is_resumed_is_the_same_run(runs: Path, name: str) -> None:
    whole, left = runs / name / "two", runs / name / "left"
    assert log(whole) == log(left)
    first, second = tensors(whole), tensors(left)
    assert first.keys() == second.keys()
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []
