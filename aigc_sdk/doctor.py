"""What `aigc doctor` looks at: versions, devices, backends, and packages that do not fit together."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from . import registry
from .errors import printable

FLOORS = {
    "pydantic": "2.10",
    "pluggy": "1.5",
    "numpy": "1.26",
    "safetensors": "0.8",
    "huggingface-hub": "1.0",
    "pillow": "12.3",
    "av": "18.1",
    "torch": "2.10",
    "transformers": "5.10",
    "diffusers": "0.38",
    "accelerate": "1.10",
}
REQUIRED = ("pydantic", "pluggy", "numpy", "safetensors", "huggingface-hub", "pillow", "av")
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")  # built for one torch; a mismatch breaks whoever imports them
TIMEOUT = 60  # seconds


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["good", "note", "problem"]
    subject: str
    text: str

    def __str__(self) -> str:
        sign = {"good": "ok     ", "note": "note   ", "problem": "PROBLEM"}[self.level]
        return f"{sign}  {self.subject:<16} {self.text}"


def examine() -> list[Finding]:
    """Everything, problems included; nothing is changed."""
    return [*_python(), *_versions(), *_torch(), *_companions(), *_backends(), *_storage(), *_environment()]


def _python() -> Iterator[Finding]:
    yield Finding("good", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _versions() -> Iterator[Finding]:
    for name, floor in FLOORS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            if name in REQUIRED:
                yield Finding("problem", name, f"is not installed: pip install '{name}>={floor}'")
            continue
        if _numbers(found) < _numbers(floor):
            yield Finding("problem", name, f"{found} is older than {floor}: pip install --upgrade '{name}>={floor}'")
        else:
            yield Finding("good", name, found)


def _torch() -> Iterator[Finding]:
    code = (
        "import torch; c = torch.cuda.is_available(); print(torch.get_num_threads(), "
        "torch.cuda.get_device_name() if c else 'no CUDA device', "
        "'| bfloat16 is fast on this CPU' if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() "
        "else '| bfloat16 is slow on this CPU: use float32', sep='\\t')"
    )
    if not _installed("torch"):
        yield Finding("note", "torch", "is not installed; the backends that need it bring it")
        return
    failed, said = _in_a_process(code)
    if failed:
        yield Finding(
            "problem", "torch", f"does not import: {failed}; reinstall it: pip install --force-reinstall torch"
        )
        return
    threads, device, bfloat16 = [*said.split("\t"), "", ""][:3]
    yield Finding("good", "device", f"{device}, {threads} threads {bfloat16}")


def _companions() -> Iterator[Finding]:
    for name in COMPANIONS:
        if not _installed(name):
            continue
        failed, _ = _in_a_process(f"import torch, {name}")
        if failed:
            text = f"does not fit this torch ({failed}), and breaks packages that import it: pip uninstall {name}"
            yield Finding("problem", name, text)
        else:
            yield Finding("good", name, version(name))


def _backends() -> Iterator[Finding]:
    found = registry.backends(check=True)
    for each in found:
        level: Literal["good", "problem"] = "problem" if each.problem else "good"
        yield Finding(level, f"backend {each.name}", each.problem or f"{each.distribution} {each.version}")
    if not found:
        yield Finding("note", "backends", "none is installed: pip install aigc-sdk-gpt2")


def _storage() -> Iterator[Finding]:
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    yield Finding("good" if free > 1 else "problem", "disk", f"{free:.1f} GB free here")


def _environment() -> Iterator[Finding]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", registry.ALLOWED, "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        if name in os.environ:
            yield Finding("note", name, f"is set to {printable(os.environ[name], 60)!r}")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _in_a_process(code: str) -> tuple[str, str]:
    """Why `code` fails in a process of its own, or "", and what it printed."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes longer than {TIMEOUT} s", ""
    lines = done.stderr.strip().splitlines()
    return (
        "" if done.returncode == 0 else printable(lines[-1] if lines else str(done.returncode), 160)
    ), done.stdout.strip()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text.split("+")[0])[:3])
