"""Fully sharded training: two processes that each hold a part of every weight train, save and resume as one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from aigc_sdk import Fit, Step, folder
from aigc_sdk.errors import NotOffered
from aigc_sdk.training import Loop, checkpoint, schedule

sys.path.insert(0, str(Path(__file__).parent))
from test_training import Regression, TwoPlayers, rows

OPTIONS = {"batch_size": 8, "micro_batch_size": 2, "ema": 0.9}
RUN = {"max_steps": 8, "seed": 4, "save_every": 2, "evaluate_every": 2, **OPTIONS}


class Plain(Regression):
    """Without dropout, whose masks depend on how a batch is split."""

    def __init__(self) -> None:
        super().__init__()
        self.networks["network"][1].p = 0.0  # type: ignore[index,union-attr]


class Noisy(Regression):
    """With dropout, and with statistics that every process takes of its own share."""

    def __init__(self) -> None:
        super().__init__()
        self.networks["network"].append(nn.BatchNorm1d(1))  # type: ignore[operator]


class Muon(Plain):
    """With an optimiser that cannot work on parts."""

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        network = self.networks["network"]
        Loop(self, fit, rows=len(data)).trains("network", torch.optim.Muon([network.get_parameter("0.weight")]))
        yield Step(1, 1, {})


class Players(TwoPlayers):
    """A GAN whose noise comes with the row, so that it does not depend on how a batch is split."""

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        loop, size = Loop(self, fit, rows=len(data)), fit.options.batch_size
        adam = {name: torch.optim.Adam(each.parameters(), lr=0.01) for name, each in self.networks.items()}
        generator = loop.trains("generator", adam["generator"], ema=0.9, clip_norm=0.1)
        falling = schedule("linear", 2 * fit.max_steps)
        discriminator = loop.trains("discriminator", adam["discriminator"], schedule=falling)
        for _ in loop:
            losses = {"loss_d": torch.zeros(()), "loss_g": torch.zeros(())}
            for player in ("discriminator", "discriminator", "generator"):
                for part in loop.parts(loop.draw(size), fit.options.micro_batch_size):
                    judged = discriminator(generator(data[part][:, :3]))
                    if player == "generator":
                        loss = nn.functional.softplus(-judged).sum() / size
                    else:
                        real = discriminator(data[part])
                        loss = (nn.functional.softplus(judged) + nn.functional.softplus(-real)).sum() / size
                    loop.backward(loss, player)
                    losses[f"loss_{player[0]}"] += loss.detach()
                loop.update(player)
            yield loop.step(**losses)

    def validate(self, data: Any, fit: Fit) -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(self.model.network(data[:, :3]).mean())}


TOLERANCE = {"Plain": 1e-4, "Players": 1e-4}
TRAINERS = {each.__name__: each for each in (Plain, Noisy, Players)}


def trained(kind: type[Regression], run: Path, *, stop: int | None = None, **arguments: Any) -> Regression:
    trainer = kind.open()
    for step in trainer.steps(rows(), save_to=run, validation=rows()[:5], **(RUN | arguments)):
        if step.index == stop:
            break
    return trainer


START = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
import torch.distributed as dist
from test_fsdp import TRAINERS, Muon, NotOffered, pytest, rows, trained
folder = Path(sys.argv[1])
"""

SCRIPT = (
    START
    + """
for name, kind in TRAINERS.items():
    trainer = trained(kind, folder / name / "sharded")
    assert all(type(each) is torch.nn.Parameter for each in trainer.networks.popitem()[1].parameters())
    trained(kind, folder / name / "left", stop=5)
    trained(kind, folder / name / "left", resume=True)
    trained(kind, folder / name / "to_one", stop=5)
    trained(kind, folder / name / "from_one", resume="anyway")

def held():
    return sum(getattr(each, "_local_tensor", each).numel() for each in trainer.networks["network"].parameters())

trainer = TRAINERS["Plain"].open()
whole = held()
for step in trainer.steps(rows(), max_steps=2):
    assert held() <= 0.6 * whole
    with trainer.averaged():
        assert held() == whole
        trainer.networks["network"](rows()[:, :4])
with pytest.raises(NotOffered, match="Muon needs whole matrices"):
    next(Muon.open().steps(rows(), max_steps=1))
"""
)

ENDLESS = (
    START
    + """
for step in TRAINERS["Plain"].open().steps(rows(), max_steps=100_000, save_to=folder / "run"):
    if step.index == 3 and dist.get_rank() == 1:
        print(os.getpid(), flush=True)
"""
)


def launched(code: str, folder: Path) -> subprocess.Popen[str]:
    """Two sharded processes that run `code` with `folder` as its argument."""
    launch = ["-m", "accelerate.commands.launch", "--use_fsdp", "--fsdp_version", "2", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return alone(code, folder, *launch)


def alone(code: str, folder: Path, *launch: str) -> subprocess.Popen[str]:
    """One process that runs `code` with `folder` as its argument, unless `launch` makes it more."""
    script = folder / "train.py"
    script.write_text(code.format(tests=str(Path(__file__).parent)))
    local = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, *launch, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **local},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every trainer: `one` by one process; `sharded` by two, `left` and resumed by two, `from_one` resumed by two."""
    runs = tmp_path_factory.mktemp("runs")
    for name, kind in TRAINERS.items():
        trained(kind, runs / name / "one")
        trained(kind, runs / name / "from_one", stop=5)
    process = launched(SCRIPT, runs)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-5000:]
    return runs


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(each) for each in (run / "log.jsonl").open()]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """All that a finished run leaves: the model, the best one, and the state of the last checkpoint."""
    files = ["model/model.safetensors", "best/model.safetensors", "checkpoint-000008/state.safetensors"]
    return {f"{file}/{name}": each for file in files for name, each in load_file(run / file).items()}


def assert_close(one: Path, other: Path, tolerance: float) -> None:
    for expected, found in zip(log(one), log(other), strict=True):
        assert found == pytest.approx(expected, rel=tolerance)
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, atol=tolerance / 10, rtol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same(one: Path, other: Path) -> None:
    assert log(one) == log(other)
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("name", TOLERANCE)
def test_sharded_processes_train_as_one_does_and_save_the_same_files(runs: Path, name: str) -> None:
    one, sharded = runs / name / "one", runs / name / "sharded"
    assert_close(one, sharded, TOLERANCE[name])
    last = "checkpoint-000008/state.json"
    assert (one / last).read_bytes() == (sharded / last).read_bytes()
    assert folder.backend_of(sharded) == folder.backend_of(sharded / "best") == "numbers"


@pytest.mark.parametrize("name", TRAINERS)
def test_a_sharded_run_that_is_resumed_is_the_same_run(runs: Path, name: str) -> None:
    assert_same(runs / name / "sharded", runs / name / "left")


@pytest.mark.parametrize("name", TOLERANCE)
def test_a_run_may_go_on_with_another_number_of_processes(runs: Path, name: str) -> None:
    with pytest.warns(RuntimeWarning, match="processes was '2, sharded', is 1"):
        trained(TRAINERS[name], runs / name / "to_one", resume="anyway")
    for run in ("from_one", "to_one"):
        assert_close(runs / name / "one", runs / name / run, TOLERANCE[name])


def test_a_signal_to_any_process_ends_all_at_the_same_step_with_a_checkpoint(tmp_path: Path) -> None:
    process = launched(ENDLESS, tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    os.kill(int(line), signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    found = checkpoint.newest(tmp_path / "run")
    assert found is not None
    assert found.step == len(log(tmp_path / "run")) >= 3


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "--use_deepspeed"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "--use_megatron_lm"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1", "WORLD_SIZE": "2"}, "--fsdp_version 1"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "--fsdp_offload_params"),
    ],
)
def test_what_no_trainer_can_do_is_refused_at_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: dict[str, str], named: str
) -> None:
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotOffered, match=f"{named}; leave it out, or shard .* with --use_fsdp --fsdp_version 2"):
        Regression.open().steps(rows(), max_steps=1, save_to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


GPT2 = (
    START
    + """
from aigc_sdk_gpt2.train import GPT2Trainer
sizes = {{"vocab_size": 280, "context": 16, "width": 16, "layers": 2, "heads": 2}}
text = ["In the beginning God created the heaven and the earth. And the earth was without form, and void. " * 8]
options = {{"batch_size": 4, "micro_batch_size": 1, "warmup_steps": 0, "precision": "float32", "ema_decay": 0.9}}
for name, stops in {{"whole": [6], "left": [3, 6]}}.items():
    for stop in stops:
        trainer = GPT2Trainer.open(device="cpu", **sizes)
        call = {{"max_steps": 6, "save_to": folder / name, "validation": text, "evaluate_every": 2, "resume": True}}
        for step in trainer.steps(text, **call, **options):
            with trainer.averaged():
                trainer.model.generate("In the", max_new_tokens=2)
            if step.index == stop:
                break
    trainer.model.generate("In the", max_new_tokens=2)
again = GPT2Trainer.open(folder / "whole" / "model", device="cpu")
again.fit(text, max_steps=2, save_to=folder / "again", **options)
"""
)


@pytest.mark.slow
def test_gpt2_trains_and_generates_in_parts_as_it_does_whole(tmp_path: Path) -> None:
    logs, weights = {}, {}
    for kind, run in (("one", alone), ("sharded", launched)):
        (tmp_path / kind).mkdir()
        process = run(GPT2, tmp_path / kind)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors[-5000:]
        for name in ("whole", "left", "again"):
            logs[kind, name] = log(tmp_path / kind / name)
            weights[kind, name] = load_file(tmp_path / kind / name / "model/model.safetensors")
    for name in ("whole", "again"):
        for expected, found in zip(logs["one", name], logs["sharded", name], strict=True):
            assert found == pytest.approx(expected, rel=1e-4)
        for key, value in weights["one", name].items():
            torch.testing.assert_close(weights["sharded", name][key], value, atol=1e-5, rtol=1e-4)
    assert logs["sharded", "left"] == logs["sharded", "whole"]
    assert all(
        torch.equal(value, weights["sharded", "left"][key]) for key, value in weights["sharded", "whole"].items()
    )
