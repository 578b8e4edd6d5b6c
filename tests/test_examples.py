"""The examples run, as a user runs them: in an empty folder, offline, on the CPU; and what they print shows what they are for."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SAME = r"the same, to the byte"
PRINTS: dict[str, tuple[str, ...]] = {  # lines, as regular expressions
    "01_list": (
        r"gpt2 +text +yes +yes +yes +aigc-sdk-gpt2",
        r"  temperature = 1.0: spread.*",
        r".*Did you mean 'gpt2'\?.*",
    ),
    "02_generate": tuple(
        rf"runs/generate/{name}: [\d,]+ bytes, by .* with seed 7" for name in ("king.txt", "three.mp4")
    ),
    "03_stream": (r"In the beginning.+", r"  after \d+\.\d+ s there are 6\.\d+ s to hear", r"  16 more frames"),
    "04_batch": (r"7: The voice of one crying.+", r"Item 5, made alone: the same", r"32 texts one by one .*"),
    "05_train": (r" +50 \d\.\d\d █.*And the.+", r" 100 \d\.\d\d █.*", r"In the beginning.+"),
    "06_resume": (
        r"after checkpoint-000015: killed, exit status -9",
        r"model/model.safetensors: [\d,]+ bytes, the same",
        r"checkpoint-000060/state.safetensors: [\d,]+ bytes, the same",
        r"log.jsonl: [\d,]+ bytes, the same",
    ),
    "07_evaluate": (
        r"self_bleu +[\d.]+ +95 %: [\d.]+ to [\d.]+ +n=24",
        r"accuracy [\d.]+ \(n=100; .*",
        r".*threes.png",
    ),
    "08_compare": (
        r"after: [\d.]+ \[[\d.]+, [\d.]+\] bits per byte of \d+ pages .*",
        r"difference: -[\d.]+ \[-[\d.]+, -[\d.]+\], p = 0\.0001; better: second",
        r"a model and itself: \+0\.000, p = 1\.0000; better: neither",
    ),
    "09_adapter": (
        r"the model: 9,\d+,\d+ bytes; the adapter: \d{3},\d{3}",
        r"with the adapter: [\d.]+ bits per byte .*",
    ),
    "10_personalise": (r"captain +the morning was.+", r"the captain's text, made alone: the same"),
    "11_explain": (r".*: poetry, \d+%", r"log odds of poetry = .*; integrated gradients .*", r"log p\(' light'\) = .*"),
    "12_latent": (r"A picture of 256 pixels is 16 numbers; and back again", r" *[ ▀▄█]+", r".*traversal.png"),
    "13_narrate": (r"00:00:00,\d+ --> .*", rf"made again from the file alone: {SAME}"),
    "14_replay": (
        rf".*five.mp4: {SAME}",
        r"private.txt carries no origin.*",
        r"A file that somebody has changed: not the same",
    ),
    "15_track": (r"step 100: .*", r"  .*events.out.tfevents.*", r"  .*/run-\w+\.wandb, [\d,]+ bytes"),
    "16_launch": (r"process 1 of 2 trains", r"step 21: loss (\d\.\d{3})\d+ in one process, \1\d+ in two"),
    "17_ray": (r"16 rows; by one worker and by two: the same",),
    "18_hook": (r"And the men of war.+", r"refused: .*", r"the marks say \[2026, 2027, 2028, 2029\]"),
    "19_own_network": (r"step 600: \d\.\d nats .*", r"Without the modules: .*encoder=.*", r".*digits.png"),
    "20_search": (r" +\d+ .* behind the others at step \d+", r"best: [\d.]+ nats per token .*", r"And .+"),
    "quickstart": (r"bits per byte on held-out text: .*", r"Done in \d+ s. Open runs/quickstart/index.html"),
}
NEEDS = {
    "15_track": ("tensorboard", "wandb"),
    "17_ray": ("ray",),
    "19_own_network": ("sklearn",),
    "20_search": ("optuna",),
}


@pytest.mark.docs
@pytest.mark.parametrize("name", PRINTS)
def test_an_example_runs_and_shows_what_it_is_for(name: str, tmp_path: Path) -> None:
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUTF8": "1"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    missing = [each for each in PRINTS[name] if not re.search(rf"^{each}$", done.stdout, re.M)]
    assert not missing, f"prints:\n{done.stdout}"


def test_every_numbered_example_is_run_here_and_stands_in_the_table_with_what_it_shows() -> None:
    numbered = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
    assert [int(each.name[:2]) for each in numbered] == list(range(1, len(numbered) + 1))
    assert {each.stem for each in numbered} | {"quickstart"} == set(PRINTS)
    table = (EXAMPLES / "README.md").read_text()
    for each in numbered:
        about = ast.get_docstring(ast.parse(each.read_text())) or ""
        assert f"python examples/{each.name}" in about
        assert f"[{each.name}]({each.name})" in table
        assert len(each.read_text().splitlines()) <= 80, "split it, or leave something out"


def test_every_other_script_is_run_by_a_test() -> None:
    tests = [*EXAMPLES.parent.glob("tests/*.py"), *EXAMPLES.parent.glob("plugins/*/tests/*.py")]
    run = "".join(each.read_text() for each in tests)
    others = {each.stem for each in EXAMPLES.glob("*.py")} - set(PRINTS)
    assert not [each for each in others if f'"{each}"' not in run]
