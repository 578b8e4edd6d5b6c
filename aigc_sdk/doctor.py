"""What `aigc doctor` looks at: packages that do not fit together, backends and kernels, and the machine.

Each finding says what there is, why it matters, and what to do. Nothing is changed. What could break this process (torch
and what is built for it, backends, kernels) is imported in a process of its own.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions, metadata, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from . import __version__, _machine, registry
from ._machine import Finding, in_a_process, installed
from .errors import printable

CORE = "aigc-sdk"
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")  # built for one torch; a mismatch breaks whoever imports them
KERNELS = r"(aigc_sdk_\w+)\.kernels"  # the group of entry points by which compiled kernels are offered to a plugin

__all__ = ["Finding", "examine"]


def examine() -> list[Finding]:
    """Everything, problems included."""
    return [
        *_python(),
        *_versions(),
        *_own_version(),
        *_machine.torch(),
        *_companions(),
        *_fidelity(),
        *_backends(),
        *_kernels(),
        *_machine.storage(),
        *_machine.memory(),
        *_machine.threads(),
        *_machine.environment(),
    ]


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
    found = version(name) if installed(name) else None
    for owner, need, required in wanted:
        remedy = f"pip install --upgrade '{need.name}{need.specifier}'"
        if found is None and required:
            why = f"{owner} imports it, and fails where it does"
            yield Finding("problem", name, f"is not installed, and {owner} needs it", why, remedy)
            return
        if found is not None and not need.specifier.contains(found, prereleases=True):
            why = f"{owner} is written for and tested with {need.specifier}"
            yield Finding("problem", name, f"{printable(found, 40)} does not fit {owner}", why, remedy)
            return
    if found is not None:
        yield Finding("good", name, found)


def _own_version() -> Iterator[Finding]:
    """Whether the code of the core is the one that pip knows of: an editable install goes stale when its source moves on."""
    told = version(CORE) if installed(CORE) else None
    if told == __version__:
        return  # and whether it fits the backends is told above
    yield Finding(
        "problem",
        CORE,
        f"the code is {__version__}, and pip has {'nothing' if told is None else printable(told, 40)} installed",
        "backends are found, and versions recorded in artifacts, by what pip has installed",
        "install it again: pip install -e . in its source, or pip install --force-reinstall aigc-sdk",
    )


def _companions() -> Iterator[Finding]:
    for name in COMPANIONS:
        if not installed(name):
            continue
        failed, _ = in_a_process(f"import torch, {name}")
        if not failed:
            yield Finding("good", name, version(name))
            continue
        yield Finding(
            "problem",
            name,
            f"{version(name)} does not fit this torch: {failed}",
            "it is built for one torch, and where it fails so do transformers' models, torchmetrics and torch-fidelity, which "
            "import it; aigc_sdk needs none of the three",
            f"pip uninstall {name}, or install the one for torch {_version_of('torch')}",
        )


def _version_of(name: str) -> str:
    return version(name) if installed(name) else "(not installed)"


def _fidelity() -> Iterator[Finding]:
    if installed("torch-fidelity") and not installed("torchvision"):
        yield Finding(
            "note",
            "torch-fidelity",
            "is installed without torchvision",
            "it imports torchvision, and fails without, and so do torchmetrics' scores that are built on it; "
            "aigc-sdk-metrics computes its own and needs neither",
            "pip uninstall torch-fidelity, or install the torchvision that is built for your torch",
        )


def _backends() -> Iterator[Finding]:
    found = registry.backends(check=True)
    for each in found:
        subject = f"backend {each.name}"
        if each.problem:
            why = "this backend cannot be used; the others are not touched by it"
            remedy = f"pip install --force-reinstall {each.distribution}, or pip uninstall {each.distribution}"
            yield Finding("problem", subject, each.problem, why, remedy)
        else:
            yield Finding("good", subject, f"{each.distribution} {each.version}")
    if not found:
        yield Finding(
            "note", "backends", "none is installed", "the core makes nothing by itself", "pip install aigc-sdk-gpt2"
        )


def _kernels() -> Iterator[Finding]:
    """Compiled kernels that a distribution offers to a backend: whether they are built, load, and for which processor."""
    for entry in _kernel_entries():
        module = entry.module
        failed, said = in_a_process(
            f"import {module} as m; a = m.available(); print('yes' if a else 'no'); "
            "print(', '.join(m.paths()) if a else a.reason)"
        )
        built, _, about = said.partition("\n")
        subject = f"kernels {module}"
        if failed or built != "yes":
            yield Finding(
                "problem",
                subject,
                f"cannot be used: {failed or printable(about, 400)}",
                f"{entry.group.partition('.')[0]} then computes with torch alone, which is slower on a CPU",
                f"install a C compiler (gcc or clang), then build again: pip install --force-reinstall --no-deps "
                f"--no-cache-dir {entry.dist.name if entry.dist else module}",
            )
        else:
            yield Finding("good", subject, f"built; for {printable(about, 200)}")


def _kernel_entries() -> Iterator[EntryPoint]:
    for distribution in distributions():
        with contextlib.suppress(Exception):  # unreadable metadata of a package that may have nothing to do with us
            yield from (each for each in distribution.entry_points if re.fullmatch(KERNELS, each.group))
