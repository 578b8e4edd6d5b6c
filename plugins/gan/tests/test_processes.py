"""Two processes train as one does, and a run of two that is resumed is the same run.

Random numbers are each process' own, and batch norm takes its statistics of a process' share, so only networks without
either can be compared with one process: here the generator paints by the label alone, and each picture has its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aigc_sdk_gan.model import GAN
from aigc_sdk_gan.train import GANTrainer

PIXELS, LABELS = np.random.default_rng(0).integers(0, 256, (24, 8, 8), np.uint8), list(range(24))
STEPS = 6
PLAIN: dict[str, Any] = {
    "batch_size": 8,
    "translation": 0.0,
    "lazy": 2,
    "r1": 0.2,
    "learning_rate": 1e-3,
    "precision": "float32",
}
RUNS: dict[str, dict[str, Any]] = {
    "relativistic": PLAIN,
    "hinge": {**PLAIN, "loss": "hinge", "n_critic": 2, "r2": 0.1, "clip_norm": 0.5},
    "lecam": {**PLAIN, "loss": "non_saturating", "lecam": 0.1, "weight_clip": 0.5},
}
EVERYTHING: dict[str, Any] = {
    **PLAIN,
    "loss": "hinge",
    "n_critic": 2,
    "gradient_penalty": 1.0,
    "lecam": 0.1,
    "translation": 0.1,
    "color": 0.5,
    "rotate": 5.0,
}
SIZES: dict[str, Any] = {"size": 8, "classes": 24, "latent": 4, "width": 2, "critic_width": 4, "architecture": "resnet"}


class Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Embedding(24, 64)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.tanh(self.pictures(labels)).view(-1, 1, 8, 8)


class Viewer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # pairing sees no bias of the score: its gradient is rounding alone, which Adam makes as large as any other
        self.body = nn.Sequential(nn.Linear(64, 16), nn.SiLU(), nn.Linear(16, 1, bias=False))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.body(images.flatten(1))[:, 0]


def own() -> GANTrainer:
    torch.manual_seed(0)
    return GANTrainer(GAN(Painter(), Viewer(), latent=4, labels=list(map(str, LABELS))))


def packaged() -> GANTrainer:
    """Batch norm by label, and a critic with spectral norm, whose estimates are buffers."""
    return GANTrainer.open(device="cpu", conditioning="batch_norm", spectral_norm=True, **SIZES)


def trained(trainer: GANTrainer, run: Path, options: dict[str, Any], stop: int = STEPS) -> None:
    call: dict[str, Any] = {"max_steps": STEPS, "save_to": run, "save_every": 3, "resume": True}
    for step in trainer.steps((PIXELS, LABELS), validation=(PIXELS, LABELS), evaluate_every=3, **call, **options):
        if step.index == stop:
            break


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from test_processes import EVERYTHING, GAN, RUNS, Painter, Viewer, own, packaged, trained
folder = Path(sys.argv[1])
for name, options in RUNS.items():
    trained(own(), folder / name / "two", options)
    GAN.open(folder / name / "two", device="cpu", network=Painter(), critic=Viewer())
for name, stops in {{"two": [6], "left": [4, 6]}}.items():
    for stop in stops:
        trained(packaged(), folder / "everything" / name, EVERYTHING, stop)
        torch.distributed.barrier()  # the first process has written the checkpoint of a run that was left
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every run `one` by one process and `two` by two; of the one with everything also `left`, resumed by two."""
    runs = tmp_path_factory.mktemp("runs")
    script = runs / "train.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    local = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*launch, str(script), str(runs)], capture_output=True, text=True, env={**os.environ, **local}, timeout=250
    )
    assert done.returncode == 0, done.stderr[-5000:]
    for name, options in RUNS.items():
        trained(own(), runs / name / "one", options)
    return runs


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(each) for each in (run / "log.jsonl").open()]


def tensors(run: Path) -> dict[str, Tensor]:
    files = ["model/model.safetensors", "model/critic/model.safetensors", "checkpoint-000006/state.safetensors"]
    return {f"{file}/{name}": each for file in files for name, each in load_file(run / file).items()}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_losses_and_the_weights_of_one(runs: Path, name: str) -> None:
    one, two = runs / name / "one", runs / name / "two"
    assert [json.loads((each / "run.json").read_text())["processes"] for each in (one, two)] == [1, 2]
    for expected, found in zip(log(one), log(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    first, second = tensors(one), tensors(two)
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


def test_a_run_of_two_processes_that_is_resumed_is_the_same_run(runs: Path) -> None:
    whole, left = runs / "everything/two", runs / "everything/left"
    assert log(whole) == log(left)
    first, second = tensors(whole), tensors(left)
    assert first.keys() == second.keys()
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []
