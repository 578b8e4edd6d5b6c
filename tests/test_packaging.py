"""The packages: one version, honest requirements, nothing in a wheel but what is declared, and a changelog one can read."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import aigc_sdk

ROOT = Path(__file__).parents[1]
VERSIONS = runpy.run_path(str(ROOT / "tests/versions.py"))
FLOORS = runpy.run_path(str(ROOT / "tests/floors.py"))
ASKED_BY_NAME = {"aigc-sdk-echo"}  # no part of `all`: it is the template to copy
SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


@dataclass(frozen=True)
class Package:
    """One distribution of ours, as its pyproject.toml describes it."""

    folder: Path

    @cached_property
    def told(self) -> Mapping[str, Any]:
        return tomllib.loads((self.folder / "pyproject.toml").read_text())

    @property
    def project(self) -> Mapping[str, Any]:
        return self.told["project"]  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def module(self) -> Path:
        """The folder of its import package."""
        return self.folder / self.name.replace("-", "_")

    def requirements(self) -> Iterator[Requirement]:
        for text in self.project["dependencies"]:
            yield Requirement(text)
        for texts in self.project.get("optional-dependencies", {}).values():
            yield from map(Requirement, texts)

    def declared(self) -> set[str]:
        """The files that its wheel has, by what pyproject.toml says."""
        tool = self.told["tool"]["setuptools"]
        found = set()
        for package in tool["packages"]:
            place = self.folder / package.replace(".", "/")
            found |= set(place.glob("*.py"))
            for pattern in tool.get("package-data", {}).get(package, []):
                some = {each for each in place.glob(pattern) if each.is_file()}
                assert some, f"{self.name}: package-data {pattern!r} of {package} means no file"
                found |= some
        return {each.relative_to(self.folder).as_posix() for each in found}

    def there(self) -> set[str]:
        """The files that lie in its import package, but what running and compiling leave."""
        return {
            each.relative_to(self.folder).as_posix()
            for each in self.module.rglob("*")
            if each.is_file() and "__pycache__" not in each.parts and each.suffix not in (".so", ".pyd")
        }


PACKAGES = [Package(ROOT), *(Package(each.parent) for each in sorted(ROOT.glob("plugins/*/pyproject.toml")))]
each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda each: each.name)


def test_every_version_and_every_range_is_that_of_the_one_place() -> None:
    version = VERSIONS["current"]()
    found = list(VERSIONS["places"](version))
    assert [f"{each.path}: {each.found}" for each in found if each.found != each.wanted] == [], (
        "run: python tests/versions.py VERSION"
    )
    assert len([each for each in found if each.found == str(version)]) >= 2 * len(PACKAGES)
    assert aigc_sdk.__version__ == str(version)


@pytest.mark.parametrize(
    ("version", "range"),
    [("0.1.0", ">=0.1,<0.2"), ("0.12.3", ">=0.12,<0.13"), ("1.4.2", ">=1.4,<2"), ("2.0.0", ">=2.0,<3")],
)
def test_a_range_ends_where_the_next_release_may_break_something(version: str, range: str) -> None:
    assert VERSIONS["compatible"](Version(version)) == range


def test_a_new_version_is_written_everywhere(tmp_path: Path) -> None:
    for path in {each.path for each in VERSIONS["places"](VERSIONS["current"]())} | {ROOT / "tests/versions.py"}:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    run = [sys.executable, str(tmp_path / "tests/versions.py")]
    said = subprocess.run([*run, "0.20.1"], capture_output=True, text=True, check=True).stdout
    assert "plugins/echo/aigc_sdk_echo/__init__.py: 0.1.0 -> 0.20.1" in said or VERSIONS["current"]() != Version(
        "0.1.0"
    )
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "0.20.1\n"
    assert '"aigc-sdk>=0.20,<0.21"' in (tmp_path / "plugins/gan/pyproject.toml").read_text()
    rnn = tmp_path / "examples/third_party/aigc-sdk-rnn/pyproject.toml"
    assert not rnn.exists() or 'version = "0.20.1"' not in rnn.read_text(), "a package of somebody else's has its own"
    assert subprocess.run([*run, "next"], capture_output=True, check=False).returncode == 2


def test_all_brings_every_package_that_is_not_asked_for_by_name() -> None:
    core, *plugins = PACKAGES
    brought = {Requirement(each).name for each in core.project["optional-dependencies"]["all"]}
    assert brought == {each.name for each in plugins} - ASKED_BY_NAME


def test_a_checkout_installs_every_package() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert {f"-e {each.folder.relative_to(ROOT)}" for each in PACKAGES} <= set(lines)


@each_package
def test_a_package_says_what_a_stranger_wants_to_know(package: Package) -> None:
    told = package.project
    assert 20 < len(told["description"]) < 130
    assert (package.folder / told["readme"]).is_file()
    assert told["license"] == "Apache-2.0"
    assert told["license-files"] == ["LICENSE"]
    assert (package.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert told["requires-python"] == ">=3.11"
    assert len(told["keywords"]) >= 3
    assert {"Typing :: Typed", "Programming Language :: Python :: 3"} <= set(told["classifiers"])
    assert not [each for each in told["classifiers"] if each.startswith("License ::")], (
        "the licence is an SPDX expression"
    )
    assert (package.module / "py.typed").is_file()


@each_package
def test_a_package_declares_every_file_that_it_has_and_no_other(package: Package) -> None:
    assert package.declared() == package.there()


def test_every_requirement_has_a_floor_and_one_package_has_one_floor() -> None:
    floors: dict[str, set[str]] = {}
    for package in PACKAGES:
        for need in package.requirements():
            if not need.name.startswith("aigc-sdk"):
                floors.setdefault(canonicalize_name(need.name), set()).add(str(FLOORS["floor"](need)))
    assert {name: sorted(some) for name, some in floors.items() if len(some) > 1} == {}
    assert set(map(str, FLOORS["floors"]().values())) <= {each for some in floors.values() for each in some}


def test_a_wheel_holds_what_is_declared_and_its_metadata(tmp_path: Path) -> None:
    """One of them; `make wheels` looks into all."""
    [package] = [each for each in PACKAGES if each.name == "aigc-sdk-echo"]
    source = tmp_path / "source"
    shutil.copytree(package.folder, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        info = next(each for each in names if each.endswith(".dist-info/METADATA"))
        metadata = opened.read(info).decode()
    beside = info.removesuffix("METADATA")
    assert {each for each in names if not each.startswith(beside)} == package.declared()
    assert f"{beside}licenses/LICENSE" in names
    for line in ("License-Expression: Apache-2.0", f"Version: {VERSIONS['current']()}", "Classifier: Typing :: Typed"):
        assert f"\n{line}\n" in metadata
    assert "\nHome-page:" not in metadata


def test_the_changelog_has_the_shape_that_tools_and_people_expect() -> None:
    """That of keepachangelog.com: newest first, a date for each release, changes under what kind of change they are."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n")
    heads = re.findall(r"^## (.*)$", text, re.M)
    assert heads, "no release stands there"
    assert heads[0] == "[Unreleased]" or re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", heads[0])
    released = heads[1:] if heads[0] == "[Unreleased]" else heads
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", each) for each in released]
    assert all(dated), released
    order = [(Version(each[1]), each[2]) for each in dated if each]
    assert order == sorted(order, reverse=True)
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= set(SECTIONS)
    for part in re.split(r"^## .*$", text, flags=re.M)[1:]:
        before, *sections = re.split(r"^### .*$", part, flags=re.M)
        assert not before.strip(), "a change stands under no kind of change"
        assert all(each.strip().startswith("- ") for each in sections), "a kind of change without a change"
