"""A hub on the loopback, and a client of it: a process of its own, since huggingface-hub reads its address once."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from aigc_sdk import folder

STANDIN = runpy.run_path(str(Path(__file__).with_name("standin.py")))
CLIENT = """
import json, sys
import aigc_sdk
from aigc_sdk import folder
for line in sys.stdin:
    names = {}
    try:
        exec(json.loads(line), globals(), names)
        said = {"result": names.get("result")}
    except Exception as error:
        said = {"error": type(error).__name__, "reason": getattr(error, "reason", None), "message": str(error)}
    print(json.dumps(said, default=str), flush=True)
"""
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def hub() -> Iterator[Any]:
    with STANDIN["Hub"]() as running:
        yield running


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def ask(hub: Any, home: Path) -> Iterator[Ask]:
    """Runs lines of Python in the client: their `result`, or the error."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=hub.environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None

    def run(code: str) -> dict[str, Any]:
        print(json.dumps(code), file=client.stdin, flush=True)
        return json.loads(client.stdout.readline())  # type: ignore[union-attr]

    yield run
    client.stdin.close()
    client.wait(timeout=60)


@pytest.fixture(autouse=True)
def healthy(hub: Any) -> None:
    """Every test begins with a hub that works."""
    hub.seen.clear()
    hub.cut.clear()
    hub.tampered.clear()
    hub.sent, hub.failing, hub.abrupt, hub.before_commit = 0, None, False, lambda: None


@pytest.fixture(scope="session")
def model_files() -> Callable[[Path, int], dict[str, bytes]]:
    """Writes a model with weights of so many bytes into a folder: its files."""

    def write(place: Path, size: int) -> dict[str, bytes]:
        with folder.writing(place, backend="tiny", role="generator") as path:
            (path / "config.json").write_text('{"size": 3}')
            weights = np.random.default_rng(0).standard_normal(size // 4).astype(np.float32)
            save_file({"weight": weights}, path / "model.safetensors")
        return {each.name: each.read_bytes() for each in place.iterdir()}

    return write


@pytest.fixture(scope="session")
def heavy(
    tmp_path_factory: pytest.TempPathFactory, model_files: Callable[[Path, int], dict[str, bytes]]
) -> dict[str, bytes]:
    """The files of a model of 300 kB."""
    return model_files(tmp_path_factory.mktemp("models") / "heavy", 300_000)


@pytest.fixture
def printed() -> Callable[[str, dict[str, str]], list[str]]:
    """What a client of its own prints: for each line of code the reason of its error, or what the line prints."""

    def run(code: str, environment: dict[str, str]) -> list[str]:
        guarded = "".join(f"try:\n    {line}\nexcept FolderError as e: print(e.reason)\n" for line in code.splitlines())
        script = f"import aigc_sdk\nfrom aigc_sdk import folder\nfrom aigc_sdk.errors import FolderError\n{guarded}"
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    return run
