"""`aigc push` shows what would go to the hub, asks, and sends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk import cli


def test_the_command_shows_what_would_go_and_sends_nothing_without_a_yes(
    hub: Any, sea: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["push", str(sea), "me/sea", "--dry-run"]) == 0
    assert "followers.json" in capsys.readouterr().out
    assert cli.run(["push", str(sea), "me/sea"]) == 2
    assert "--yes" in capsys.readouterr().err
    report = aigc_sdk.Report({"overlap": aigc_sdk.Score(0.5, 2, "words", True)}, [])
    named = report.save(tmp_path / "report.json")
    assert cli.run(["push", str(sea), "me/sea", "--dry-run", "--json", "--report", str(named), "--license", "mit"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["commit"] is None
    assert "| overlap | 0.5 |" in said["card"]
    assert hub.seen == []


def test_the_command_pushes_with_a_yes(hub: Any, sea: Path, tmp_path: Path) -> None:
    hub.repositories.pop("me/by-command", None)
    done = subprocess.run(
        [sys.executable, "-m", "aigc_sdk.cli", "push", str(sea), "me/by-command", "--yes", "--public"],
        env=hub.environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    repository = hub.repositories["me/by-command"]
    assert done.stdout.startswith(f"me/by-command@{repository.branches['main']}\n")
    assert not repository.private


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_the_command_asks(hub: Any, sea: Path, tmp_path: Path, answer: str, code: int) -> None:
    hub.repositories.pop("me/asked", None)
    terminal, end = os.openpty()
    os.write(terminal, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "aigc_sdk.cli", "push", str(sea), "me/asked"],
        env=hub.environment(tmp_path),
        stdin=end,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(terminal)
    os.close(end)
    assert done.returncode == code, done.stderr
    assert "followers.json" in done.stderr
    assert "you alone can see it" in done.stderr
    assert ("me/asked" in hub.repositories) == (code == 0)
