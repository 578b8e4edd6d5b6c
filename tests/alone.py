"""Every plugin works where it is installed alone with the core: `python tests/alone.py FULL ROOM`.

FULL is an environment in which all are installed. For each of our distributions an environment is made in ROOM that has it
and what it requires, and nothing else: the files are linked from FULL, so that nothing is downloaded or copied. What a
plugin imports without declaring it is missing there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "aigc-sdk-"
USE = """
import importlib, sys
import aigc_sdk
name, *others = sys.argv[1:]
importlib.import_module(name)
listed = {each.name for each in aigc_sdk.backends(check=True) if each.problem is None}
own = {each.name for each in aigc_sdk.backends() if each.distribution == name.replace("_", "-")}
assert listed == own, f"{name}: {sorted(own)} are offered, of which {sorted(listed)} are sound"
print(f"{name.replace('_', '-')} alone: {', '.join(sorted(listed)) or 'imported'}")
"""


def main(full: Path, room: Path) -> None:
    """Try each of our plugins."""
    [site] = full.glob("lib/python*/site-packages")
    known = {canonicalize_name(each.metadata["Name"]): each for each in distributions(path=[str(site)])}
    for name in sorted(each for each in known if each.startswith(OURS)):
        place = room / name
        venv.create(place, symlinks=True, with_pip=False)
        [target] = place.glob("lib/python*/site-packages")
        for needed in closure(name, known):
            link(known[needed], site, target)
        run([place / "bin/python", "-I", "-c", USE, name.replace("-", "_")])
        run(
            [full / "bin/python", "-m", "pip", "--disable-pip-version-check", "--python", place / "bin/python", "check"]
        )


def closure(name: str, known: dict[str, Distribution]) -> set[str]:
    """The distribution, and all that it requires on this machine, with the extras that are asked for."""
    done: set[tuple[str, str]] = set()
    waiting = [(name, "")]
    while waiting:
        here = waiting.pop()
        if here in done:
            continue
        done.add(here)
        for line in known[here[0]].requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": here[1]}):
                other = canonicalize_name(wanted.name)
                waiting += [(other, extra) for extra in ("", *wanted.extras)]
    return {each for each, _ in done}


def link(distribution: Distribution, site: Path, target: Path) -> None:
    """Link every file of a distribution that lies in site-packages."""
    for file in distribution.files or []:
        if file.parts[0] == ".." or "__pycache__" in file.parts:
            continue
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.link(site / file, path)


def run(command: list[str | Path]) -> None:
    """Run a command in a folder without sources; a failing one ends everything."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    print(done.stdout.strip())
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    main(*(Path(each).absolute() for each in sys.argv[1:]))
