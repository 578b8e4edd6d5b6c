"""The version that all packages share: the one place is pyproject.toml, and this writes it everywhere else.

python tests/versions.py          # say it, and where something else stands
python tests/versions.py 0.2.0    # write it, in pyproject.toml too
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "pyproject.toml"
OWN = re.compile(r'^version = "([^"]+)"$', re.M)
SAID = re.compile(r'^__version__ = "([^"]+)"$', re.M)
RANGE = re.compile(r"\baigc-sdk(?:-[a-z0-9]+)?(?:\[[\w,-]+\])?(>=[\d.]+,<[\d.]+)")


@dataclass(frozen=True)
class Place:
    """A version, or a range of our versions, in a file: what stands there and what should."""

    path: Path
    start: int
    found: str
    wanted: str


def current() -> Version:
    """What pyproject.toml says."""
    match = OWN.search(PROJECT.read_text())
    assert match, f"{PROJECT} has no version"
    return Version(match[1])


def compatible(version: Version) -> str:
    """The range that our packages ask of each other: up to the next release that may break something."""
    if version.major:
        return f">={version.major}.{version.minor},<{version.major + 1}"
    return f">=0.{version.minor},<0.{version.minor + 1}"


def places(version: Version) -> Iterator[Place]:
    """Every place, the ranges in examples and in the tutorial among them; whose own version is their own."""
    ours = [PROJECT, *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    packages = [ROOT / "aigc_sdk/__init__.py", *sorted(ROOT.glob("plugins/*/aigc_sdk_*/__init__.py"))]
    others = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/**/pyproject.toml"))]
    for path in ours:
        yield from _found(path, OWN, str(version))
    for path in packages:
        yield from _found(path, SAID, str(version))
    for path in [*ours, *others]:
        yield from _found(path, RANGE, compatible(version))


def _found(path: Path, pattern: re.Pattern[str], wanted: str) -> Iterator[Place]:
    for match in pattern.finditer(path.read_text()):
        yield Place(path, match.start(1), match[1], wanted)


def spread(version: Version) -> list[Place]:
    """Write the version to every place where another stands; the places."""
    wrong = [each for each in places(version) if each.found != each.wanted]
    for each in sorted(wrong, key=lambda place: place.start, reverse=True):  # from the end, so that positions hold
        text = each.path.read_text()
        each.path.write_text(text[: each.start] + each.wanted + text[each.start + len(each.found) :])
    return wrong


def main(arguments: list[str]) -> int:
    """Say or write; 1 where something else stands than should."""
    if arguments:
        try:
            version = Version(arguments[0])
        except InvalidVersion:
            print(f"{arguments[0]!r} is no version; give one such as 0.2.0", file=sys.stderr)
            return 2
        for each in spread(version):
            print(f"{each.path.relative_to(ROOT)}: {each.found} -> {each.wanted}")
        return 0
    wrong = [each for each in places(current()) if each.found != each.wanted]
    for each in wrong:
        print(f"{each.path.relative_to(ROOT)}: {each.found}, not {each.wanted}")
    print(current())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
