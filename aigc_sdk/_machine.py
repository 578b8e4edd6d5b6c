"""The machine as `aigc doctor` sees it: processor, GPU, threads, memory, disks, and variables that change behaviour."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from . import registry
from .errors import printable

TIMEOUT = 60  # seconds for a process
DISK = 1e9  # bytes; less than this and a model of any size cannot be saved
MEMORY = 1e9  # bytes; torch with a small default model takes half of it
VARIABLES = {
    "HF_HUB_OFFLINE": "hub ids are looked up in the local cache alone",
    "TRANSFORMERS_OFFLINE": "transformers asks no hub",
    "HF_ENDPOINT": "another hub than the usual one is asked",
    registry.ALLOWED: "only the distributions that it lists are seen, and every other backend is hidden",
    "CUDA_VISIBLE_DEVICES": "only these GPUs are seen; none where it is empty or -1",
    "PYTHONPATH": "modules there come before what pip has installed",
    "PYTORCH_CUDA_ALLOC_CONF": "torch's memory on the GPU is managed in another way",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what there is, why it matters and what to do where something is amiss."""

    level: Literal["good", "note", "problem"]
    subject: str
    text: str
    why: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        sign = {"good": "ok     ", "note": "note   ", "problem": "PROBLEM"}[self.level]
        lines = [f"{sign}  {self.subject:<16} {self.text}"]
        if self.why:
            lines.append(f"{'':<26} why: {self.why}")
        if self.remedy:
            lines.append(f"{'':<26} do:  {self.remedy}")
        return "\n".join(lines)


def torch() -> Iterator[Finding]:
    """Whether torch imports, which devices it has, and what it lacks of what the machine has."""
    if not installed("torch"):
        yield Finding("note", "torch", "is not installed", "most backends compute with it, and bring it")
        return
    failed, said = in_a_process(_TORCH)
    if failed:
        remedy = "pip install --force-reinstall torch"
        yield Finding("problem", "torch", f"does not import: {failed}", "every backend but echo needs it", remedy)
        return
    build, device, threads, bfloat16, vectors = json.loads(said)
    device = printable(device, 100)
    yield Finding("good", "device", f"{device or 'no CUDA device'}; {threads} CPU thread{'s' * (threads != 1)}")
    if not device and _has_gpu():
        yield from _unused_gpu(build)
    if not bfloat16:
        yield Finding(
            "note",
            "bfloat16",
            "this processor has no instructions for it (AVX512-BF16 or AMX)",
            "dtype='bfloat16' on the CPU then saves memory and no time",
            "leave dtype at float32 on this CPU",
        )
    if vectors not in ("AVX512", "SVE256"):
        yield Finding(
            "note",
            "vectors",
            f"torch computes with {vectors or 'no vector instructions'} here, and not with AVX512",
            "the speeds that the documentation tells of were measured with AVX512, and are not reached",
        )


_TORCH = """
import json, torch
print(json.dumps([
    torch.version.cuda or "",
    torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    torch.get_num_threads(),
    bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()),
    torch.backends.cpu.get_cpu_capability(),
]))
"""


def _has_gpu() -> bool:
    """Whether the system knows an NVIDIA GPU that is not hidden from this process on purpose."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return not hidden and (Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None)


def _unused_gpu(build: str) -> Iterator[Finding]:
    why = "device='auto' means the CPU here, which is many times slower"
    if not build:
        text = f"there is an NVIDIA GPU, and this torch ({version('torch')}) is a build without CUDA"
        yield Finding(
            "note", "CUDA", text, why, "pip install --force-reinstall torch, from an index that has CUDA builds"
        )
    else:
        text = f"there is an NVIDIA GPU, and this torch, built for CUDA {build}, cannot use it"
        remedy = "look at nvidia-smi: a driver that is too old for that CUDA is updated, or an older torch installed"
        yield Finding("problem", "CUDA", text, why, remedy)


def storage() -> Iterator[Finding]:
    """Room where models are written, and whether the hub's cache and the temporary folder can be written to."""
    yield from _room("disk", Path.cwd(), "here")
    try:
        yield from _room("temporary files", Path(tempfile.gettempdir()), "for temporary files")
    except OSError as error:
        why = "what is made of open models, films and pushes needs a temporary folder"
        yield Finding("problem", "temporary files", f"no folder for them: {error}", why, "set TMPDIR to one")
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except Exception as error:  # whatever a broken installation raises
        text = f"huggingface-hub does not import: {printable(f'{type(error).__name__}: {error}', 160)}"
        why = "models are neither fetched nor pushed without it"
        yield Finding("problem", "hub cache", text, why, "pip install --force-reinstall huggingface-hub")
        return
    cache = Path(HF_HUB_CACHE)
    if _writable(cache):
        yield from _room("hub cache", cache, f"in {printable(str(cache))}")
    else:
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        yield Finding(
            "note" if offline else "problem",
            "hub cache",
            f"{printable(str(cache))} cannot be written to",
            "a model that is named by a hub id is fetched into it; what it holds already can be used",
            "set HF_HOME to a folder that you may write to",
        )


def _room(subject: str, folder: Path, where: str) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(folder)).free
    if free > DISK:
        yield Finding("good", subject, f"{free / 1e9:.1f} GB free {where}")
        return
    yield Finding(
        "problem",
        subject,
        f"{free / 1e9:.2f} GB free {where}",
        "checkpoints and models are written whole beside the old ones, or not at all",
        "free some space, or work in another folder",
    )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that is there."""
    return next(each for each in [folder.absolute(), *folder.absolute().parents] if each.exists())


def _writable(folder: Path) -> bool:
    nearest = _existing(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def memory() -> Iterator[Finding]:
    """What is left for a model: of the machine, or of the control group that this process is in."""
    left = min((each for each in (_available(), _group_left()) if each is not None), default=None)
    if left is None:
        return
    if left > MEMORY:
        yield Finding("good", "memory", f"{left / 1e9:.1f} GB available")
        return
    yield Finding(
        "note",
        "memory",
        f"{left / 1e9:.1f} GB available",
        "torch with a small model takes half a GB, training four times the weights and more; the system ends what takes too much",
        "close something, or choose a smaller model or batch",
    )


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(each.split()[1]) * 1024 for each in lines if each.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _group_left() -> int | None:
    """Bytes that a container may still take."""
    limit, used = _group("memory.max"), _group("memory.current")
    return int(limit) - int(used) if limit and limit.isdigit() and used and used.isdigit() else None


def _group(name: str) -> str | None:
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return None


def threads() -> Iterator[Finding]:
    """Whether torch will use as many threads as there are processors for this process."""
    processors = _processors()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > processors:
        yield Finding(
            "note",
            "threads",
            f"OMP_NUM_THREADS={asked}, and this process may use {processors} processor{'s' * (processors > 1)}",
            "threads that share a processor wait for each other, and everything is slower",
            f"set OMP_NUM_THREADS={processors}",
        )
    elif asked.isdigit() and int(asked) < processors:
        yield Finding(
            "note",
            "threads",
            f"OMP_NUM_THREADS={asked}, of {processors} processors that this process may use",
            "that is right for several processes side by side; a single one is slower with it",
            f"unset OMP_NUM_THREADS, or set it to {processors}, to use them all",
        )
    elif not asked and processors < (os.cpu_count() or 1):
        yield Finding(
            "note",
            "threads",
            f"this process may use {processors} of {os.cpu_count()} processors",
            "in a container torch starts a thread for each that it sees, and they wait for each other",
            f"set OMP_NUM_THREADS={processors}",
        )
    else:
        yield Finding("good", "threads", f"{processors} processor{'s' * (processors > 1)}")


def _processors() -> int:
    """How many this process may use: by its affinity and by the quota of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_group("cpu.max") or "").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    return allowed


def environment() -> Iterator[Finding]:
    """Variables that change what happens, and how."""
    for name, effect in VARIABLES.items():
        if name in os.environ:
            yield Finding("note", name, f"is set to {printable(os.environ[name], 60)!r}", effect)


def installed(name: str) -> bool:
    """Whether pip has installed a distribution of that name."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def in_a_process(code: str) -> tuple[str, str]:
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
