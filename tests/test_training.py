"""Training: the order of data, exact resume, signals, divergence, several optimisers, several processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

import aigc_sdk
from aigc_sdk import Fit, Generator, Job, Options, Score, Step, Text, folder
from aigc_sdk.errors import DataError, FolderError, MismatchedFolder, OptionError, TrainingDiverged
from aigc_sdk.training import Average, Loop, TorchTrainer, order, schedule

ROWS = 21


class Numbers(Generator[Text]):
    """What the trainers here train: a module that is printed."""

    backend = "numbers"
    device, dtype = "cpu", "float32"

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        return cls(nn.Linear(4, 1))

    def run(self, job: Job) -> Iterator[Text]:
        yield from (Text("1", sample=index) for index in range(len(job)))

    def save(self, folder_: str | Path) -> None:
        with folder.writing(folder_, backend=self.backend, role="generator") as path:
            from safetensors.torch import save_file

            save_file(dict(self.network.state_dict()), path / "model.safetensors")

    def to(self, device: str) -> Self:
        return self


class FitOptions(Options):
    batch_size: int = Field(4, ge=1, description="rows per update")
    micro_batch_size: int | None = Field(None, ge=1, description="rows at a time")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the average")
    break_at: int = Field(0, description="the step whose loss is not finite")
    blow_up_at: int = Field(0, description="the step whose gradient is not finite")


def rows() -> torch.Tensor:
    return torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(0))


class Regression(TorchTrainer[Numbers]):
    """One network with dropout, one optimiser."""

    Options = FitOptions
    device = "cpu"

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 1))
        self.model = Numbers(network)
        self.networks = {"network": network}

    @classmethod
    def open(cls, source: Any = None, **config: Any) -> Self:
        return cls()

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        loop = Loop(self, fit, rows=len(data))
        network = loop.trains(
            "network",
            torch.optim.AdamW(self.networks["network"].parameters(), lr=0.02),
            clip_norm=1.0,
            schedule=schedule("cosine", fit.max_steps, warmup_steps=3),
            ema=fit.options.ema,
        )
        for step in loop:
            drawn = loop.draw(fit.options.batch_size)
            loss = torch.zeros(())
            for part in loop.parts(drawn, fit.options.micro_batch_size):
                batch = data[part]
                part_loss = ((network(batch[:, :4]) - batch[:, 4:]) ** 2).sum() / len(drawn)
                if step == fit.options.break_at:
                    part_loss = part_loss * torch.nan
                if step == fit.options.blow_up_at:
                    part_loss = part_loss * torch.inf
                loop.backward(part_loss)
                loss += part_loss.detach()
            norm = loop.update("network")
            yield loop.step(loss=loss, gradient_norm=norm)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        network = self.networks["network"].eval()
        with torch.no_grad():
            return {"loss": float(((network(data[:, :4]) - data[:, 4:]) ** 2).mean())}


class TwoPlayers(Regression):
    """A small GAN: two networks, two optimisers at different rates, n_critic updates of one per step."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.networks = {
                "generator": nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 5)),
                "discriminator": nn.Sequential(nn.Linear(5, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)),
            }
        self.model = Numbers(self.networks["generator"])

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        loop = Loop(self, fit, rows=len(data))
        adam = {
            name: torch.optim.Adam(each.parameters(), lr=0.01, betas=(0.0, 0.9)) for name, each in self.networks.items()
        }
        generator = loop.trains("generator", adam["generator"], ema=0.9)
        discriminator = loop.trains(
            "discriminator", adam["discriminator"], schedule=schedule("linear", 2 * fit.max_steps)
        )
        size = fit.options.batch_size
        for _ in loop:
            for _ in range(2):
                real = data[loop.draw(size)]
                fake = generator(torch.randn(size, 3)).detach()
                loss_d = (
                    nn.functional.softplus(discriminator(fake)).mean()
                    + nn.functional.softplus(-discriminator(real)).mean()
                )
                loop.backward(loss_d, "discriminator")
                loop.update("discriminator")
            loss_g = nn.functional.softplus(-discriminator(generator(torch.randn(size, 3)))).mean()
            loop.backward(loss_g, "generator")
            loop.update("generator")
            yield loop.step(loss_d=loss_d, loss_g=loss_g)


TRAINERS = [Regression, TwoPlayers]


def digest(trainer: Regression, run: Path | None = None) -> str:
    """One sha256 over weights, optimiser state and log."""
    found = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Mapping):
            for key in value:
                found.update(str(key).encode())
                feed(value[key])
        elif isinstance(value, list | tuple):
            for each in value:
                feed(each)
        elif isinstance(value, torch.Tensor):
            found.update(value.detach().contiguous().numpy().tobytes())
        else:
            found.update(repr(value).encode())

    feed(trainer.state_dict())
    if run is not None:
        found.update((run / "log.jsonl").read_bytes())
    return found.hexdigest()


def test_each_epoch_holds_every_row_once_in_another_order() -> None:
    epochs = [order.rows(5, ROWS, ROWS * epoch, ROWS) for epoch in range(3)]
    assert all(sorted(each) == list(range(ROWS)) for each in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(order.rows(5, ROWS, 0, ROWS, shuffle=False), np.arange(ROWS))


def test_the_order_is_a_function_of_seed_epoch_and_position() -> None:
    whole = order.rows(1, ROWS, 0, 100)
    for start in range(100):
        assert np.array_equal(order.rows(1, ROWS, start, 100 - start), whole[start:])
    assert not np.array_equal(order.rows(2, ROWS, 0, 100), whole)


def test_a_schedule_rises_holds_and_falls() -> None:
    rate = schedule("linear", 100, warmup_steps=10, hold=0.5, final=0.1)
    assert [rate(step) for step in (5, 10, 50, 75, 100)] == pytest.approx([0.5, 1, 1, 0.55, 0.1])
    assert schedule("cosine", 10)(10) == pytest.approx(0)
    assert schedule("constant", 10)(10) == 1


def test_an_average_follows_the_weights_and_steps_aside() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, 0.5)
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1
    average.update()
    decay = 2 / 11
    expected = before + (1 - decay)
    with average.applied():
        assert torch.allclose(network.weight, expected)
    assert torch.allclose(network.weight, before + 1)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_run_resumed_at_any_step_is_the_same_run(kind: type[Regression], tmp_path: Path) -> None:
    """Over more than two epochs, with shuffling, dropout, accumulation, clipping, a schedule and an average."""
    steps, options = 14, {"batch_size": 4, "micro_batch_size": 3, "ema": 0.9}
    whole = kind.open()
    whole.fit(rows(), max_steps=steps, seed=1, save_to=tmp_path / "whole", **options)
    expected = digest(whole, tmp_path / "whole")
    for stop in range(1, steps + 1):
        run = tmp_path / str(stop)
        for step in kind.open().steps(rows(), max_steps=steps, seed=1, save_to=run, **options):
            if step.index == stop:
                break
        resumed = kind.open()
        resumed.fit(rows(), max_steps=steps, seed=1, save_to=run, resume=True, **options)
        assert digest(resumed, run) == expected, f"resumed after step {stop}"


def test_accumulated_micro_batches_give_the_gradient_of_the_whole() -> None:
    class Plain(Regression):
        def __init__(self) -> None:
            super().__init__()
            self.networks["network"][1].p = 0.0  # type: ignore[index,union-attr]

    whole = [each.metrics for each in Plain.open().steps(rows(), max_steps=5, batch_size=6)]
    parts = [each.metrics for each in Plain.open().steps(rows(), max_steps=5, batch_size=6, micro_batch_size=2)]
    for one, other in zip(whole, parts, strict=True):
        assert dict(one) == pytest.approx(dict(other), rel=1e-4)


def child(run: Path, kind: type[Regression], steps: int) -> int:
    """A forked process that trains, resuming if it can, and saves every second step."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            trainer = kind.open()
            for _ in trainer.steps(rows(), max_steps=steps, seed=2, save_to=run, save_every=2, resume=True, ema=0.9):
                pass
            (run.parent / f"{run.name}.digest").write_text(digest(trainer, run))
            code = 0
        finally:
            os._exit(code)
    return pid


@pytest.mark.skipif(torch.cuda.is_available(), reason="a forked process cannot use CUDA")
@pytest.mark.parametrize("kind", TRAINERS)
def test_a_training_killed_at_30_random_moments_ends_as_if_it_had_not_been(
    kind: type[Regression], tmp_path: Path
) -> None:
    steps, rng = 60, random.Random(8)
    os.waitpid(child(tmp_path / "whole", kind, steps), 0)
    expected = (tmp_path / "whole.digest").read_text()
    kills = 0
    for attempt in range(6):
        run = tmp_path / f"run{attempt}"
        while not (tmp_path / f"{run.name}.digest").exists():
            pid = child(run, kind, steps)
            time.sleep(rng.uniform(0.0, 0.25))
            os.kill(pid, signal.SIGKILL)
            kills += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
            if kills > 30 * (attempt + 1) / 5:  # let this run end
                os.waitpid(child(run, kind, steps), 0)
        assert (tmp_path / f"{run.name}.digest").read_text() == expected
        if kills >= 30:
            return
    pytest.skip(f"the machine was too quick: only {kills} kills")


def test_a_run_that_was_killed_before_its_first_file_was_whole_can_begin_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json.tmp-0123456789abcdef0123456789abcdef").touch()
    Regression.open().fit(rows(), max_steps=2, save_to=run, resume=True)
    assert sorted(each.name for each in run.iterdir()) == ["checkpoint-000002", "log.jsonl", "model", "run.json"]


SIGNALLED = """
import sys, time, signal
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from {module} import Regression, rows
import aigc_sdk
class Slow(Regression):
    def run(self, data, fit):
        for step in super().run(data, fit):
            print(step.index, flush=True)
            time.sleep({pause} if step.index == 3 else 0.01)
            yield step
before = signal.getsignal(signal.SIGINT)
try:
    Slow.open().fit(rows(), max_steps=10_000, save_to={run!r})
except KeyboardInterrupt:
    sys.exit(130)  # Python's own code for it is lost when a library runs code at the exit
finally:
    assert signal.getsignal(signal.SIGINT) is before
    print("restored", flush=True)
"""


def started(run: Path, pause: float = 0.05) -> subprocess.Popen[str]:
    code = SIGNALLED.format(tests=str(Path(__file__).parent), module=Path(__file__).stem, run=str(run), pause=pause)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while (line := process.stdout.readline().strip()) != "3":
        assert line, process.communicate()[1]
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_the_run_at_the_steps_edge_with_a_checkpoint(tmp_path: Path, number: int, code: int) -> None:
    process = started(tmp_path / "run")
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "restored" in output or number == signal.SIGTERM
    [saved] = (tmp_path / "run").glob("checkpoint-*")
    lines = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == int(saved.name[-6:]) >= 3


def test_a_second_signal_ends_the_run_at_once(tmp_path: Path) -> None:
    process = started(tmp_path / "run", pause=30)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=25)  # the step that it is in takes thirty
    assert process.returncode != 0


def test_training_works_outside_the_main_thread(tmp_path: Path) -> None:
    done: list[Any] = []
    thread = threading.Thread(
        target=lambda: done.append(Regression.open().fit(rows(), max_steps=2, save_to=tmp_path / "run"))
    )
    thread.start()
    thread.join()
    assert done


@pytest.mark.parametrize("option", ["break_at", "blow_up_at"])
def test_a_loss_or_gradient_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, option: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainingDiverged, match="step 5"):
        Regression.open().fit(rows(), max_steps=9, save_to=run, save_every=2, **{option: 5})
    assert sorted(each.name for each in run.glob("checkpoint-*")) == ["checkpoint-000002", "checkpoint-000004"]
    assert len((run / "log.jsonl").read_text().splitlines()) == 4
    from aigc_sdk.training import checkpoint

    found = checkpoint.newest(run)
    assert found is not None
    assert all(torch.isfinite(each).all() for each in found.state["networks"]["network"].values())


def test_validation_is_reported_and_the_best_model_kept(tmp_path: Path) -> None:
    held_out = rows()[:5]
    steps = list(
        Regression.open().steps(rows(), max_steps=9, validation=held_out, evaluate_every=2, save_to=tmp_path / "run")
    )
    assert [each.index for each in steps if "validation_loss" in each.metrics] == [2, 4, 6, 8, 9]
    assert (tmp_path / "run/best/aigc.json").is_file()
    assert (tmp_path / "run/model/aigc.json").is_file()
    assert folder.backend_of(tmp_path / "run") == "numbers"
    with pytest.raises(OptionError, match="best"):
        Regression.open().fit(rows(), max_steps=1, validation=held_out, best="accuracy")


def test_a_judge_of_ones_own_is_asked_at_every_validation_and_can_choose_the_best_model(tmp_path: Path) -> None:
    asked: list[float] = []

    def judge(model: Numbers) -> dict[str, Score]:
        torch.rand(3)  # the run goes on as if nobody had drawn
        asked.append(float(next(model.network.parameters()).detach().sum()))
        value = [0.5, 0.9, 0.7][len(asked) - 1]
        return {"likeness": Score(value, n=1, protocol="made up", higher_is_better=True)}

    run = tmp_path / "run"
    steps = list(Regression.open().steps(rows(), max_steps=6, judge=judge, evaluate_every=2, save_to=run))
    assert [each.metrics.get("validation_likeness") for each in steps] == [None, 0.5, None, 0.9, None, 0.7]
    assert len(asked) == 3
    weights = folder.read(run / "best", backend="numbers").weights()
    assert float(weights["0.weight"].sum()) == pytest.approx(asked[1])
    alone = list(Regression.open().steps(rows(), max_steps=6))
    assert [each.metrics["loss"] for each in steps] == [each.metrics["loss"] for each in alone]


@pytest.mark.parametrize("judge", [7, lambda model: 0.3, lambda model: {"likeness": "good"}])
def test_a_judge_that_gives_no_figures_is_refused(judge: Any) -> None:
    with pytest.raises(OptionError, match="judge"):
        Regression.open().fit(rows(), max_steps=1, judge=judge)


def test_a_break_leaves_a_checkpoint_and_a_usable_model(tmp_path: Path) -> None:
    trainer = Regression.open()
    for step in trainer.steps(rows(), max_steps=100, save_to=tmp_path / "run"):
        if step.index == 3:
            break
    assert (tmp_path / "run/checkpoint-000003/manifest.json").is_file()
    assert trainer.model.generate("x")[0].text == "1"
    with pytest.raises(FolderError, match="checkpoint-000003"):
        folder.backend_of(tmp_path / "run")


def test_a_changed_run_is_refused_unless_asked_for_anyway(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in Regression.open().steps(rows(), max_steps=6, seed=1, save_to=run):
        if step.index == 2:
            break
    for change, what in (
        ({"seed": 2}, "seed"),
        ({"max_steps": 7}, "max_steps"),
        ({"batch_size": 3}, "batch_size"),
        ({"data": rows() + 1}, "the data"),
    ):
        arguments = {"data": rows(), "max_steps": 6, "seed": 1, "save_to": run, "resume": True} | change
        with pytest.raises(MismatchedFolder, match=what):
            Regression.open().steps(**arguments)
        with pytest.warns(RuntimeWarning, match=what):
            Regression.open().steps(**(arguments | {"resume": "anyway"}))
        with pytest.warns(RuntimeWarning):
            Regression.open().steps(rows(), max_steps=6, seed=1, save_to=run, resume="anyway")  # as it was


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": True}, "max_steps"),
        ({"seed": "x"}, "seed"),
        ({"save_every": 1}, "save_every"),
        ({"evaluate_every": 1}, "evaluate_every"),
        ({"resume": True}, "resume"),
        ({"bach_size": 2}, "bach_size"),
    ],
)
def test_bad_arguments_are_refused_at_the_call_and_nothing_is_written(
    tmp_path: Path, arguments: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as caught:
        Regression.open().steps(rows(), **({"max_steps": 1} | arguments))
    assert caught.value.field == field
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_in_use_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("x")
    with pytest.raises(FolderError, match="other things"):
        Regression.open().steps(rows(), max_steps=1, save_to=tmp_path)
    Regression.open().fit(rows(), max_steps=1, save_to=tmp_path / "run")
    with pytest.raises(FolderError, match="resume=True"):
        Regression.open().steps(rows(), max_steps=1, save_to=tmp_path / "run")
    with pytest.raises(DataError):
        Regression.open().steps(None, max_steps=1)


def test_neither_the_callers_random_state_nor_its_loop_matters() -> None:
    quiet = [each.metrics for each in Regression.open().steps(rows(), max_steps=4)]
    torch.manual_seed(1)
    noisy, expected = [], torch.rand(4, generator=torch.Generator().manual_seed(1))
    drawn = []
    for step in Regression.open().steps(rows(), max_steps=4):
        noisy.append(step.metrics)
        drawn.append(float(torch.rand(1)))
    assert noisy == quiet
    assert drawn == pytest.approx(expected.tolist())


def test_hooks_watch_training(tmp_path: Path) -> None:
    seen = []

    class Watcher:
        @aigc_sdk.hookimpl
        def aigc_step(self, step: Step, owner: Any) -> None:
            seen.append((step.index, type(owner).__name__))

    with aigc_sdk.using(Watcher()):
        Regression.open().fit(rows(), max_steps=2)
    assert seen == [(1, "Regression"), (2, "Regression")]


def test_tensorboard_gets_every_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from aigc_sdk.training import Tracker

    tracker = Tracker("tensorboard", tmp_path / "board")
    with aigc_sdk.using(tracker):
        Regression.open().fit(rows(), max_steps=3)
    tracker.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [events] = (tmp_path / "board").rglob("events*")
    board = EventAccumulator(str(events))
    board.Reload()
    assert [each.step for each in board.Scalars("loss")] == [1, 2, 3]


def test_a_tracker_that_is_not_installed_names_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aigc_sdk.errors import MissingDependency
    from aigc_sdk.training import Tracker

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependency, match=r"pip install aigc-sdk\[wandb\]"):
        Tracker("wandb", tmp_path)
    with pytest.raises(OptionError, match="tracker"):
        Tracker("nothing", tmp_path)  # type: ignore[arg-type]


DISTRIBUTED = """
import sys
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from {module} import Regression, TwoPlayers, rows
class Plain(Regression):
    def __init__(self):
        super().__init__()
        self.networks["network"][1].p = 0.0
stop = int(sys.argv[2])
for step in Plain.open().steps(rows(), max_steps=8, seed=4, batch_size=6, micro_batch_size=2, save_to=sys.argv[1], resume=True):
    if step.index == stop:
        break
import torch.distributed as dist
if dist.is_initialized():
    dist.barrier(); dist.destroy_process_group()
"""


def launched(script: Path, run: Path, stop: int, processes: int) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = launch if processes > 1 else [sys.executable]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, str(script), str(run), str(stop)], capture_output=True, text=True, env=env, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_as_one_does_and_resume(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(DISTRIBUTED.format(tests=str(Path(__file__).parent), module=Path(__file__).stem)))
    launched(script, tmp_path / "one", 0, 1)
    launched(script, tmp_path / "two", 0, 2)
    launched(script, tmp_path / "left", 5, 2)
    launched(script, tmp_path / "left", 0, 2)
    logs = {
        name: [json.loads(each) for each in (tmp_path / name / "log.jsonl").open()] for name in ("one", "two", "left")
    }
    assert [each["step"] for each in logs["one"]] == list(range(1, 9))
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2
    for one, two in zip(logs["one"], logs["two"], strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    assert logs["left"] == logs["two"]
    from safetensors.torch import load_file

    weights = {name: load_file(tmp_path / name / "model/model.safetensors") for name in logs}
    for key, value in weights["one"].items():
        assert torch.allclose(value, weights["two"][key], atol=1e-5)
        assert torch.equal(weights["left"][key], weights["two"][key])
