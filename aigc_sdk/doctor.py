"""What `aigc doctor` looks at: versions, devices, backends, and packages that do not fit together."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from . import registry
from .errors import printable

CORE = "aigc-sdk"
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
    """Whether each package is there, and as new, as the core and the backends say that they need it."""
    needs: dict[str, list[tuple[str, Requirement, bool]]] = {}
    for owner in sorted({CORE, *(each.distribution for each in registry.backends() if each.value)}):
        for need, required in _requirements(owner):
            needs.setdefault(canonicalize_name(need.name), []).append((owner, need, required))
    for name, wanted in needs.items():
        yield from _fit(name, wanted)


def _requirements(owner: str) -> Iterator[tuple[Requirement, bool]]:
    """What a distribution asks for on this machine, and whether it does so without any of its extras."""
    try:
        extras = metadata(owner).get_all("Provides-Extra") or []
        texts = requires(owner) or []
    except Exception:  # metadata that cannot be read is told of where the backend is listed
        return
    for text in texts:
        with contextlib.suppress(InvalidRequirement):
            need = Requirement(text)
            for extra in ("", *extras):
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    yield need, extra == ""
                    break


def _fit(name: str, wanted: list[tuple[str, Requirement, bool]]) -> Iterator[Finding]:
    found = version(name) if _installed(name) else None
    for owner, need, required in wanted:
        cure = f"pip install --upgrade '{need.name}{need.specifier}'"
        if found is None and required:
            yield Finding("problem", name, f"is not installed, and {owner} needs it: {cure}")
            return
        if found is not None and not need.specifier.contains(found, prereleases=True):
            yield Finding("problem", name, f"{printable(found, 40)} does not fit {owner}: {cure}")
            return
    if found is not None:
        yield Finding("good", name, found)


def _torch() -> Iterator[Finding]:
    code = (
        "import torch; c = torch.cuda.is_available(); n = torch.get_num_threads(); "
        "fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported(); "
        "print(torch.cuda.get_device_name() if c else 'no CUDA device', f'{n} CPU thread' + 's' * (n > 1), "
        "f\"bfloat16 is {'fast' if fast else 'slow'} on the CPU\", sep='; ')"
    )
    if not _installed("torch"):
        yield Finding("note", "torch", "is not installed; the backends that need it bring it")
        return
    failed, said = _in_a_process(code)
    if failed:
        remedy = "reinstall it: pip install --force-reinstall torch"
        yield Finding("problem", "torch", f"does not import: {failed}; {remedy}")
    else:
        yield Finding("good", "device", printable(said, 200))


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
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes longer than {TIMEOUT} s", ""
    lines = done.stderr.strip().splitlines() or [f"it ends the process ({done.returncode})"]
    return "" if done.returncode == 0 else printable(lines[-1], 160), done.stdout.strip()
