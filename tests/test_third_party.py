"""The third party's package: written by the tutorial's names alone, installed from a wheel, and never imported by the SDK."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "examples/third_party/aigc-sdk-rnn"
TUTORIAL = ROOT / "docs/tutorial-plugin.md"
BUILT = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
TIMEOUT = 1200  # s, for a machine that does other things as well


def environment(site: Path, *sources: Path) -> dict[str, str]:
    """This environment and what lies in `site`; pip installs into it, builds with what is here, and asks no index."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, (site, *sources))),
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way of saying that there is none
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def run(command: str, folder: Path, given: dict[str, str]) -> str:
    """What a command prints."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package was installed from its wheel."""
    room = tmp_path_factory.mktemp("rnn")
    shutil.copytree(PROJECT, room / "source", ignore=BUILT)
    run("pip install --quiet ./source", room, environment(room / "site"))
    shutil.rmtree(room / "source")
    return room / "site"


@pytest.mark.docs
def test_the_installed_package_is_listed_and_generates(site: Path, tmp_path: Path) -> None:
    listed = run("aigc backends", tmp_path, environment(site))
    assert re.search(r"^rnn +aigc-sdk-rnn 0\.1\.0 +Text from recurrent networks", listed, re.M)
    command = 'aigc generate rnn "And the king said" --seed 1 --max-new-tokens 20 -o king.txt && aigc replay king.txt'
    assert "the same, to the byte" in run(command, tmp_path, environment(site))


def test_the_sdk_does_not_know_the_package() -> None:
    files = [*ROOT.glob("aigc_sdk/**/*.py"), *ROOT.glob("plugins/*/aigc_sdk_*/**/*.py")]
    assert len(files) > 100
    assert not [each for each in files if "aigc_sdk_rnn" in each.read_text()]


def offered() -> dict[str, set[str]]:
    """The names that the tutorial says a plugin may import, by their module."""
    table = TUTORIAL.read_text().partition("| from | names | for |")[2].partition("\n\n")[0]
    found: dict[str, set[str]] = {}
    for module, names in re.findall(r"^\| `([\w.]+)` \| (.*?) \|", table, re.M):
        found.setdefault(module, set()).update(re.findall(r"`(\w+)`", names))
    return found


def test_the_tutorial_offers_what_there_is() -> None:
    missing = [
        f"{module}.{name}"
        for module, names in offered().items()
        for name in names
        if not hasattr(importlib.import_module(module), name) and not is_module(f"{module}.{name}")
    ]
    assert len(offered()) > 8
    assert not missing


def is_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a file imports from the core."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "aigc_sdk":
            for each in node.names:
                yield node.module, each.name
        elif isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names if each.name.split(".")[0] == "aigc_sdk")


def listings() -> list[str]:
    """The Python files that the tutorial has its readers write."""
    return re.findall(r"^<!-- file: \S+\.py -->\n```python\n(.*?)^```$", TUTORIAL.read_text(), re.M | re.S)


SOURCES = {
    "aigc-sdk-rnn": [each.read_text() for each in PROJECT.glob("*/*.py")],
    "echo": [each.read_text() for each in ROOT.glob("plugins/echo/*/*.py")],
    "tutorial": listings(),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_authors_start_from_imports_only_what_the_tutorial_offers(name: str) -> None:
    known = offered()
    errors = vars(importlib.import_module("aigc_sdk.errors"))
    known["aigc_sdk.errors"] |= {name for name, value in errors.items() if isinstance(value, type)}
    used = {each for source in SOURCES[name] for each in imported(source)}
    assert len(used) > 10
    others = {(module, each) for module, each in used if each not in known.get(module, set())}
    assert others <= {("aigc_sdk", "")}  # tests use it as users do


@pytest.mark.docs
@pytest.mark.timeout(TIMEOUT)
def test_the_packages_own_tests_pass_against_the_wheel(site: Path, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "tests", tmp_path / "tests", ignore=BUILT)
    assert re.search(r"\d\d\d passed", run("python -m pytest tests -p no:cacheprovider", tmp_path, environment(site)))


@pytest.mark.docs
def test_the_packages_readme_can_be_followed(site: Path, tmp_path: Path) -> None:
    """Its files, its Python and its console lines, in their order; what a comment says is not run is left out."""
    page = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"^(?:<!-- (not run|file): (.*?) -->\n)?```(\w*)\n(.*?)^```$", page, re.M | re.S)
    assert len(blocks) > 5
    for mark, about, kind, text in blocks:
        if mark == "file":
            (tmp_path / about).write_text(text)
        elif kind == "python":
            (tmp_path / "block.py").write_text(text)
            run("python block.py", tmp_path, environment(site))
        elif kind == "console" and not mark:
            for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
                printed = run(command, tmp_path, environment(site))
                assert output.strip() in printed, command


@pytest.mark.docs
def test_a_copy_of_the_template_passes_every_check_under_its_new_name(tmp_path: Path) -> None:
    """The tutorial's "Start from a copy", beside a clone."""
    section = TUTORIAL.read_text().partition("## Start from a copy")[2].partition("\n## ")[0]
    (tmp_path / "sdk/plugins").mkdir(parents=True)
    shutil.copytree(ROOT / "plugins/echo", tmp_path / "sdk/plugins/echo", ignore=BUILT)
    given = environment(tmp_path / "site", tmp_path / "aigc-sdk-parrot")
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ |```).*\n)*)", section, re.M)
    assert len(commands) == 6
    for command, output in commands:
        assert output.strip() in run(command, tmp_path, given)
    assert "aigc-sdk-parrot" in run("aigc backends", tmp_path, given)
    left = [each for each in (tmp_path / "aigc-sdk-parrot").rglob("*.py") if "echo" in each.read_text().lower()]
    assert not left
