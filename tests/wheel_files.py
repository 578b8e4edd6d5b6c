"""Every wheel holds the files that its project declares, all of them, and no others: `python tests/wheel_files.py SOURCE WHEELS`.

SOURCE is the repository, or a copy of it; WHEELS is the folder of the wheels that were built from it.
"""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

METADATA = re.compile(r"(METADATA|WHEEL|RECORD|top_level\.txt|entry_points\.txt|licenses/(LICENSE|NOTICE)[\w.]*)")
COMPILED = re.compile(r"\w+\.[\w-]+\.(so|pyd)")


def main(source: Path, wheels: Path) -> None:
    """Compare all, print a line for each wheel, and end with an error that names what is wrong."""
    faults: list[str] = []
    for project in projects(source):
        settings = tomllib.loads((project / "pyproject.toml").read_text())
        name, version = settings["project"]["name"], settings["project"]["version"]
        [wheel] = wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")
        there = set(zipfile.ZipFile(wheel).namelist())
        faults += [f"{wheel.name}: {each}" for each in differences(project, settings, there)]
        print(f"{wheel.name}  {len(there)} files, {wheel.stat().st_size / 1e6:.1f} MB")
    faults += [f"[all] {each}" for each in missing_in_all(source)]
    sys.exit("\n".join(faults) or None)


def projects(source: Path) -> list[Path]:
    """The folders of the core, of every plugin and of the third-party example."""
    found = [source, *sorted(source.glob("plugins/*")), *sorted(source.glob("examples/third_party/*"))]
    return [each for each in found if (each / "pyproject.toml").is_file()]


def differences(project: Path, settings: dict[str, Any], there: set[str]) -> Iterator[str]:
    """What a wheel lacks, and what it should not have."""
    wanted = declared(project, settings)
    metadata = {each for each in there if ".dist-info/" in each}
    for each in sorted(metadata):
        if not METADATA.fullmatch(each.partition(".dist-info/")[2]):
            yield f"has {each}"
    if not any("/licenses/LICENSE" in each for each in metadata):
        yield "has no licence; name it in license-files"
    for each in sorted(there - metadata - wanted):
        if not (has_extensions(project) and COMPILED.fullmatch(each.rpartition("/")[2])):
            yield f"has {each}, which nothing declares"
    for each in sorted(wanted - there):
        yield f"lacks {each}"


def declared(project: Path, settings: dict[str, Any]) -> set[str]:
    """The modules of the packages that pyproject.toml lists, and the data that it names."""
    tool = settings["tool"]["setuptools"]
    found = set()
    for package in tool["packages"]:
        folder = project / package.replace(".", "/")
        patterns = ["*.py", *tool.get("package-data", {}).get(package, [])]
        for path in folder.rglob("*"):
            inside = path.relative_to(folder).as_posix()
            if path.is_file() and any(inside.count("/") == p.count("/") and fnmatch(inside, p) for p in patterns):
                found.add(path.relative_to(project).as_posix())
    return found


def has_extensions(project: Path) -> bool:
    """Whether the project compiles something."""
    return (project / "setup.py").is_file()


def missing_in_all(source: Path) -> Iterator[str]:
    """The plugins that `aigc-sdk[all]` forgets; the template is no part of it."""
    listed = tomllib.loads((source / "pyproject.toml").read_text())["project"]["optional-dependencies"]["all"]
    names = {re.split(r"[^\w.-]", each)[0] for each in listed}
    for project in sorted(source.glob("plugins/*/pyproject.toml")):
        name = tomllib.loads(project.read_text())["project"]["name"]
        if name not in names | {"aigc-sdk-echo"}:
            yield f"lacks {name}"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
