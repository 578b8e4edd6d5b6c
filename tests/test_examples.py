"""The examples run, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aigc_sdk
from aigc_sdk.errors import MismatchedFolder

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(example: str, *arguments: str) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_networks_of_ones_own_learn_digits_and_come_back_from_their_folders(tmp_path: Path) -> None:
    for plugin in ("aigc_sdk_gan", "aigc_sdk_vae", "sklearn"):
        pytest.importorskip(plugin)
    printed = run("own_network.py", str(tmp_path))
    assert [Path(line).name for line in printed.split()] == ["gan.png", "vae.png"]
    for name in ("gan", "vae"):
        assert (tmp_path / f"{name}.png").is_file()
        with pytest.raises(MismatchedFolder, match="that are not this package's; pass them: "):
            aigc_sdk.load(name, tmp_path / name)
