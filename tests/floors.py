"""The oldest versions that our packages say they work with, as lines for pip: `make floors` tests with them.

A package that several of ours ask for has the highest of their floors. torch is the exception: its CPU builds older than
the one in requirements.txt are in no index that we may count on, and the CUDA build of 2.10 alone has 916 MB.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
# The other extras are optional helpers, tested at what pip chooses.
EXTRAS = {"train", "diffusers", "encoder", "digits", "recognise"}


def requirements(project: Path) -> Iterator[Requirement]:
    """What a package asks for, and what the chosen ones of its extras ask for; not our own packages."""
    told = tomllib.loads(project.read_text())["project"]
    extras = told.get("optional-dependencies", {})
    for text in [*told["dependencies"], *(each for name in EXTRAS & set(extras) for each in extras[name])]:
        need = Requirement(text)
        if not need.name.startswith("aigc-sdk"):
            yield need


def floor(need: Requirement) -> Version:
    """The lower bound of a requirement; each of ours has one."""
    bounds = [Version(each.version) for each in need.specifier if each.operator in (">=", "==", "~=")]
    if not bounds:
        raise SystemExit(f"{need} has no lower bound")
    return max(bounds)


def floors() -> dict[str, Version]:
    """The highest floor for each package, by its canonical name."""
    found: dict[str, Version] = {}
    for project in PROJECTS:
        for need in requirements(project):
            name = canonicalize_name(need.name)
            found[name] = max(found.get(name, Version("0")), floor(need))
    return found


def main() -> None:
    """Print a line for each package; torch as requirements.txt has it."""
    [torch] = [each for each in (ROOT / "requirements.txt").read_text().splitlines() if each.startswith("torch==")]
    for name, version in sorted(floors().items()):
        print(torch if name == "torch" else f"{name}=={version}")


if __name__ == "__main__":
    main()
