"""Samples while a run trains, and the page that it leaves; a run with them is the run without them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

from aigc_sdk import Artifact, Audio, Fit, Generator, Image, Job, Options, Step, Text, Video, folder, media
from aigc_sdk.errors import BrokenBackend, DiskError, OptionError
from aigc_sdk.training import Loop, TorchTrainer, report

LONG = "<script>alert('x')</script> & co"


class Sketcher(Generator[Image]):
    """What the trainer here trains: latents to pictures of 4 x 4."""

    backend, device, dtype = "sketcher", "cpu", "float32"

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        raise NotImplementedError

    def run(self, job: Job) -> Iterator[Image]:
        raise NotImplementedError

    def save(self, folder_: str | Path) -> None:
        from safetensors.torch import save_file

        with folder.writing(folder_, backend=self.backend, role="generator") as path:
            save_file(dict(self.network.state_dict()), path / "model.safetensors")

    def to(self, device: str) -> Self:
        return self


class FitOptions(Options):
    note: str = Field("", description="something to escape")
    shows: str = Field("images", description="what the preview holds")


class Sketching(TorchTrainer[Sketcher]):
    """Dropout, batch statistics and an average: whatever a careless preview would move."""

    Options = FitOptions
    device = "cpu"

    def __init__(self) -> None:
        torch.manual_seed(7)
        network = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Tanh(), nn.Linear(16, 16))
        self.model = Sketcher(network)
        self.networks = {"network": network}

    @classmethod
    def open(cls, source: Any = None, **config: Any) -> Self:
        return cls()

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        loop = Loop(self, fit, rows=len(data))
        optimizer = torch.optim.AdamW(self.networks["network"].parameters(), lr=0.02)
        network = loop.trains("network", optimizer, ema=0.9)
        for _ in loop:
            rows = loop.draw(4)
            loss = torch.zeros(())
            for part in loop.parts(rows):
                made = network(torch.randn(len(part), 3))
                one = ((made - data[part]) ** 2).sum() / len(rows)
                loop.backward(one)
                loss += one.detach()
            loop.update("network")
            yield loop.step(loss=loss)

    def validate(self, data: Any, fit: Fit) -> dict[str, float]:
        return {"loss": float(data.mean()), "sharpness": 0.25}

    def preview(self, fit: Fit) -> Sequence[Artifact]:
        return PREVIEWS[fit.options.shows](self)

    @torch.no_grad()
    def pictures(self) -> list[Artifact]:
        made = self.networks["network"].eval()(torch.randn(6, 3)).reshape(6, 4, 4, 1).expand(-1, -1, -1, 3)
        return [Image(each) for each in (made.clamp(0, 1) * 255).to(torch.uint8).numpy()]


PREVIEWS: dict[str, Any] = {
    "images": Sketching.pictures,
    "nothing": lambda trainer: [],
    "texts": lambda trainer: [Text(LONG), Text("two")],
    "sounds": lambda trainer: [Audio(np.full((1, 80), part, np.float32), sample_rate=8000) for part in (0.1, 0.2)],
    "film": lambda trainer: [Video(np.zeros((3, 16, 16, 3), np.uint8), fps=5.0)],
    "rubbish": lambda trainer: ["a string"],
}


def data() -> torch.Tensor:
    return torch.rand(10, 16, generator=torch.Generator().manual_seed(0))


def train(run: Path, *, steps: int = 6, stop: int | None = None, **arguments: Any) -> Sketching:
    trainer = Sketching.open()
    for step in trainer.steps(data(), max_steps=steps, save_to=run, **arguments):
        if step.index == stop:
            break
    return trainer


def end(run: Path) -> tuple[bytes, dict[str, bytes]]:
    """What a run leaves: its log, and every file of its last checkpoint and its model."""
    places = [*sorted(run.glob("checkpoint-*"))[-1:], run / "model"]
    files = {str(path.relative_to(run)): path.read_bytes() for each in places for path in each.rglob("*.safetensors")}
    return (run / "log.jsonl").read_bytes(), files


def page(run: Path) -> str:
    return (run / "report.html").read_text()


def test_a_run_with_previews_ends_bit_for_bit_as_one_without(tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", save_every=2)
    shown = train(tmp_path / "shown", save_every=2, preview_every=1)
    assert end(tmp_path / "plain") == end(tmp_path / "shown")
    assert len(end(tmp_path / "plain")[1]) >= 2
    for one, other in zip(
        plain.networks["network"].state_dict().values(), shown.networks["network"].state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_run_that_is_resumed_makes_the_same_samples_and_ends_the_same(tmp_path: Path) -> None:
    train(tmp_path / "plain", save_every=2)
    train(tmp_path / "whole", save_every=2, preview_every=2)
    train(tmp_path / "parts", save_every=2, preview_every=2, stop=3)
    train(tmp_path / "parts", save_every=2, preview_every=2, resume=True)
    assert end(tmp_path / "plain") == end(tmp_path / "parts")
    samples = [
        {path.name: path.read_bytes() for path in (tmp_path / run / "samples").iterdir()} for run in ("whole", "parts")
    ]
    assert samples[0] == samples[1]
    assert page(tmp_path / "whole").replace("whole", "parts") == page(tmp_path / "parts")


def test_the_callers_random_state_does_not_move_and_previews_draw_the_same(tmp_path: Path) -> None:
    class Drawing(Sketching):
        def preview(self, fit: Fit) -> Sequence[Artifact]:
            drawn.append(float(torch.rand(())))
            return []

    drawn: list[float] = []
    trainer = Drawing.open()
    before = torch.get_rng_state()
    trainer.fit(data(), max_steps=3, save_to=tmp_path / "run", preview_every=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(drawn) == 3
    assert len(set(drawn)) == 1


def test_a_preview_shows_the_averaged_weights(tmp_path: Path) -> None:
    class Watching(Sketching):
        def preview(self, fit: Fit) -> Sequence[Artifact]:
            self.seen = {name: each.clone() for name, each in self.networks["network"].state_dict().items()}
            return []

    trainer = Watching.open()
    trainer.fit(data(), max_steps=4, save_to=tmp_path / "run", preview_every=4)
    final = trainer.networks["network"].state_dict()  # settled: the average for good
    assert all(torch.equal(each, final[name]) for name, each in trainer.seen.items())


def test_samples_are_written_at_every_multiple_and_at_the_end(tmp_path: Path) -> None:
    train(tmp_path / "run", steps=5, preview_every=2)
    assert sorted(each.name for each in (tmp_path / "run/samples").iterdir()) == [
        "step-000002.png",
        "step-000004.png",
        "step-000005.png",
    ]
    sheet = media.read(tmp_path / "run/samples/step-000005.png")
    assert isinstance(sheet, Image)
    assert sheet.pixels.shape == (2 * 64 + 2, 3 * 64 + 4, 3)  # six pictures of 4 x 4, each enlarged to 64 x 64


@pytest.mark.parametrize(
    ("shows", "files", "tag"),
    [
        ("texts", ["step-000001.txt"], "<pre>"),
        ("sounds", ["step-000001-1.wav", "step-000001-2.wav"], '<audio controls src="data:audio/wav;base64,'),
        ("film", ["step-000001.mp4"], '<video controls loop muted src="data:video/mp4;base64,'),
    ],
)
def test_every_kind_of_artifact_has_its_files_and_its_place_on_the_page(
    shows: str, files: list[str], tag: str, tmp_path: Path
) -> None:
    train(tmp_path / "run", steps=1, preview_every=1, shows=shows)
    assert sorted(each.name for each in (tmp_path / "run/samples").iterdir()) == files
    assert page(tmp_path / "run").count(tag) == len(files)


def test_a_trainer_that_previews_nothing_gets_the_page_alone(tmp_path: Path) -> None:
    train(tmp_path / "run", preview_every=2, shows="nothing")
    assert not (tmp_path / "run/samples").exists()
    assert "Samples" not in page(tmp_path / "run")
    assert "Curves" in page(tmp_path / "run")


def test_without_preview_every_there_are_neither_samples_nor_page(tmp_path: Path) -> None:
    train(tmp_path / "run")
    assert not {"samples", "report.html"} & {each.name for each in (tmp_path / "run").iterdir()}


def test_a_run_that_is_left_early_has_a_page_too(tmp_path: Path) -> None:
    train(tmp_path / "run", preview_every=1, stop=2)
    assert "2 of 6 steps" in page(tmp_path / "run")


class Reader(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_holds_curves_samples_options_and_validation_and_needs_nothing_else(tmp_path: Path) -> None:
    train(tmp_path / "run", preview_every=3, validation=data(), evaluate_every=3, note=LONG)
    found = Reader(page(tmp_path / "run"))
    assert found.tags.count("svg") == 2  # loss with its validation, and sharpness
    assert found.tags.count("polyline") == 3
    assert found.tags.count("img") == 2
    assert all(each.startswith("data:image/png;base64,") for each in found.places)
    assert "script" not in found.tags
    text = page(tmp_path / "run")
    assert text.index("step 3</figcaption>") < text.index("step 6</figcaption>")
    assert re.search(r"<th>validation_sharpness</th><td>0.25</td>", text)
    assert "&lt;script&gt;" in text


def test_a_text_on_the_page_is_escaped(tmp_path: Path) -> None:
    train(tmp_path / "run", steps=1, preview_every=1, shows="texts")
    assert LONG in (tmp_path / "run/samples/step-000001.txt").read_text()
    assert "script" not in Reader(page(tmp_path / "run")).tags


def test_samples_beyond_the_pages_limit_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "run", preview_every=1)
    sizes = [each.stat().st_size for each in sorted((tmp_path / "run/samples").iterdir())]
    monkeypatch.setattr(report, "EMBED_LIMIT", sizes[-1] + sizes[-2])
    report.write_report(tmp_path / "run")
    assert Reader(page(tmp_path / "run")).places[0] == "samples/step-000001.png"
    assert Reader(page(tmp_path / "run")).places[-1].startswith("data:")


def test_of_many_samples_the_page_shows_some_from_first_to_last(tmp_path: Path) -> None:
    for step in range(1, 101):
        report.write_samples(tmp_path, step, [Text(f"text of {step}")], "Sketching")
    report.write_report(tmp_path)
    shown = re.findall(r"<pre>text of (\d+)", page(tmp_path))
    assert len(shown) == report.PREVIEWS
    assert (shown[0], shown[-1]) == ("1", "100")
    assert "60 more lie in" in page(tmp_path)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "not JSON\n",
        '{"step": 1, "loss": NaN}\n{"step": 2, "loss": Infinity}\n',
        '{"step": 1, "loss": 3.0}',
        "[1]\n",
    ],
)
def test_a_log_that_says_little_makes_no_page_fail(log: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(log)
    (tmp_path / "run.json").write_text("{")
    report.write_report(tmp_path)
    assert page(tmp_path).endswith("</html>\n")


def test_a_long_log_makes_a_short_page(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, 20_001)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    report.write_report(tmp_path)
    assert len(page(tmp_path)) < 20_000
    assert "log scale" in page(tmp_path)
    assert "step 20000" in page(tmp_path)


@pytest.mark.parametrize("arguments", [{"preview_every": 0, "save_to": "run"}, {"preview_every": 2}])
def test_previews_that_cannot_be_written_are_refused_at_the_call(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as caught:
        Sketching.open().steps(data(), max_steps=2, **arguments)
    assert caught.value.field == "preview_every"


def test_a_preview_of_something_else_is_the_plugins_fault(tmp_path: Path) -> None:
    with pytest.raises(BrokenBackend, match=r"Sketching\.preview returned 'a string'"):
        train(tmp_path / "run", preview_every=2, shows="rubbish")


def test_a_page_that_cannot_be_written_leaves_the_finished_run_complete(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, preview_every=2)
    (run / "report.html").unlink()
    (run / "report.html").mkdir()  # no file can take its place
    with pytest.raises(DiskError, match=r"report\.html"):
        train(run, preview_every=2, resume=True)
    assert (run / "model/aigc.json").is_file()
    assert not list(run.glob("*.tmp-*"))


TWO = """
import sys, pathlib
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from {module} import Sketching, data
import aigc_sdk.training.processes as processes
run = pathlib.Path({run!r})
class Telling(Sketching):
    def preview(self, fit):
        (run.parent / f"previewed-{{processes.rank()}}").touch()
        return super().preview(fit)
Telling.open().fit(data(), max_steps=2, save_to=run, preview_every=1)
"""


def test_of_two_processes_the_first_writes(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        TWO.format(tests=str(Path(__file__).parent), module=Path(__file__).stem, run=str(tmp_path / "run"))
    )
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", str(script)]
    local = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, env={**os.environ, **local}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "run/samples").iterdir())) == 2
    assert "2 of 2 steps" in page(tmp_path / "run")
    assert [each.name for each in tmp_path.glob("previewed-*")] == ["previewed-0"]
