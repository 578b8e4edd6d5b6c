"""The documentation is true: its listings run, its links lead somewhere, and everything public is described.

A page is followed from top to bottom in an empty folder, offline, on the CPU:

    ```python                     runs; the blocks of a page share their names
    <!-- file: PATH --> ```...    is written to PATH
    ```console                    every line after `$ ` that starts with one of COMMANDS runs, and succeeds; lines below
                                  it are of its output, in which `...` stands for the rest of a line
    <!-- output -->               before a block says that it is of what the Python block above prints
    <!-- not run: REASON -->      before a block leaves it out
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import re
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, get_origin

import griffe
import pytest

import aigc_sdk
import aigc_sdk.training

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]
PAGES = [each for each in PAGES if not each.name.endswith(".zh-CN.md")]  # their listings are those of the English page
CHINESE = [ROOT / "README.zh-CN.md", ROOT / "docs/start.zh-CN.md"]
LINKED = [*PAGES, *CHINESE, *(ROOT / f"{name}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "SECURITY"))]
LINKED += sorted(ROOT.glob("examples/**/README.md"))
COMMANDS = ("aigc ", "pip ", "python ")
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>file|not run|output)(?:: *(?P<about>.*?))? *-->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
LINK = re.compile(r"\[[^\]]*\]\((?!\w+:)([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    """The line of the page that its text begins on."""
    kind: str
    text: str
    file: str = ""
    skipped: bool = False
    output: bool = False


def blocks(page: Path) -> list[Block]:
    content = page.read_text()
    found = []
    for match in FENCE.finditer(content):
        line = content.count("\n", 0, match.start("text")) + 1
        mark, about = match["mark"], match["about"]
        assert mark in (None, "output") or about, f"{page.name}:{line}: say which file, or why it is not run"
        file = about if mark == "file" else ""
        found.append(Block(page.name, line, match["kind"], match["text"], file, mark == "not run", mark == "output"))
    return found


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def to_run(page: Path) -> bool:
    return any(each.kind in ("python", "console") and not each.skipped for each in blocks(page))


@pytest.mark.docs
@pytest.mark.parametrize("page", [each for each in PAGES if to_run(each)], ids=named)
def test_a_page_can_be_followed_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in surroundings(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.kind == "python" and not block.skipped:
            source = "\n" * (block.line - 1) + block.text  # so that an error names the page's line
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(source, str(page), "exec", dont_inherit=True), names)
            printed = out.getvalue()
        elif block.output:
            assert re.search(as_pattern(block.text), printed), f"{page.name}:{block.line}: it prints:\n{printed}"
        elif block.kind == "console" and not block.skipped:
            for line, command, expected in commands(block):
                run(f"{block.page}:{line}", command, expected)


def surroundings(folder: Path) -> dict[str, str]:
    """pip installs what lies in the page's folder into a folder of its own, and asks no index; there is no network.

    An editable install leads Python to the sources by a .pth file, which it reads in its own site-packages alone: so the
    sources of every project that a page writes are on the path, behind what a wheel installs.
    """
    sources = [str(folder / "here" / name) for name in ("aigc-sdk-markov", "aigc-sdk-bigram")]
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), *sources]),
        "PIP_TARGET": str(folder / "site"),
        "PIP_UPGRADE": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way of saying that there is none: it builds with what is here
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def refuse(*_: object) -> NoReturn:
    raise OSError("the documentation needs no network")


def commands(block: Block) -> Iterator[tuple[int, str, str]]:
    """Line, command and output of everything that a console block runs."""
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    line = block.line + parts[0].count("\n")
    for part in parts[1:]:
        command, output = re.match(r"((?:[^\n]*\\\n)*[^\n]*\n?)(.*)", part, re.S).groups()  # type: ignore[union-attr]
        if command.startswith(COMMANDS):
            yield line, command, output
        line += part.count("\n")


def run(where: str, command: str, expected: str) -> None:
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{where}: {command}{done.stdout[-6000:]}{done.stderr[-3000:]}"
    assert re.search(as_pattern(expected), done.stdout), f"{where}: {command}prints:\n{done.stdout}"


def as_pattern(output: str) -> str:
    """What matches an output that a page shows: white space may differ, and `...` stands for the rest of a line."""
    return re.sub(r"(\\?\s)+", r"\\s+", re.escape(output.strip()).replace(r"\.\.\.", ".*"))


def test_the_plugin_of_the_tutorial_is_not_in_this_environment() -> None:
    known = {each.name for each in aigc_sdk.backends()}
    assert not known & {"markov", "bigram"}


@pytest.mark.parametrize("page", LINKED, ids=named)
def test_every_relative_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(without_fences(page)):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            broken.append(link)
    assert not broken


def without_fences(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", without_fences(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", CHINESE, ids=named)
def test_a_chinese_page_has_the_listings_and_sections_of_the_english_one(page: Path) -> None:
    english = page.with_name(page.name.replace(".zh-CN", ""))
    assert [each.text for each in blocks(page)] == [each.text for each in blocks(english)]
    assert len(headings(page)) == len(headings(english))


def test_the_option_tables_are_those_of_the_options() -> None:
    page = ROOT / "docs/options.md"
    made = runpy.run_path(str(ROOT / "docs/tables.py"))["page"]()
    assert page.read_text() == made, "run `make docs`"


def test_the_tree_of_errors_is_the_one_that_is_raised() -> None:
    tree = inspect.cleandoc(aigc_sdk.errors.__doc__ or "").split("\n\n")[1]
    assert inspect.cleandoc(tree) in (ROOT / "docs/concepts.md").read_text()


def test_the_messages_that_the_tutorial_explains_are_in_the_code() -> None:
    table = (ROOT / "docs/tutorial-plugin.md").read_text().partition("| you see |")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| (?:kit: )?`([^`]+)` \|", table, re.M)
    code = "".join(each.read_text() for each in (ROOT / "aigc_sdk").rglob("*.py"))
    assert len(messages) > 5
    assert not [each for each in messages if not all(part.strip() in code for part in each.split("..."))]


def modules() -> list[ModuleType]:
    """Every public module of the core."""
    names = [each.name for each in pkgutil.walk_packages(aigc_sdk.__path__, "aigc_sdk.")]
    return [aigc_sdk, *(importlib.import_module(name) for name in names if "._" not in name)]


@pytest.mark.parametrize("package", [aigc_sdk, aigc_sdk.training], ids=lambda package: package.__name__)
def test_every_exported_name_has_a_docstring(package: ModuleType) -> None:
    exported = {name: getattr(package, name) for name in package.__all__}
    described_ones = {name for name, value in exported.items() if described(value)}
    aliases = {name for name, value in exported.items() if get_origin(value) is not None}  # of types, such as a Literal
    assert set(exported) == described_ones | aliases


def test_no_entry_of_the_api_reference_is_empty() -> None:
    """As the site's generator reads the sources: a name that a package hands on is described where it is defined."""
    reference = runpy.run_path(str(ROOT / "docs/reference.py"))
    names = [
        *reference["CORE"],
        *(f"aigc_sdk_{name}.{each}" for name, of in reference["PLUGINS"].items() for each in of),
    ]
    sources = griffe.GriffeLoader(search_paths=[ROOT, *(ROOT / "plugins" / name for name in reference["PLUGINS"])])
    for package in sorted({name.split(".")[0] for name in names}):
        sources.load(package)
    sources.resolve_aliases(implicit=True, external=False)
    exported = [
        f"{name}.{each}"
        for name in names
        for each in getattr(importlib.import_module(name), "__all__", ())
        if each != "errors"
    ]
    assert len(exported) > 100
    assert not [each for each in exported if sources.modules_collection[each].docstring is None]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_everything_public_in_a_module_has_a_docstring(module: ModuleType) -> None:
    assert module.__doc__, "the module has none"
    assert not [name for name, value in public(module) if not described(value)]


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions and classes that the module defines, and the methods of the classes; a check's name is its docstring."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield name, value
            for method in vars(value):
                if not method.startswith(("_", "test_")) and is_method(vars(value)[method]):
                    yield f"{name}.{method}", getattr(value, method)
        elif inspect.isfunction(value):
            yield name, value


def is_method(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, classmethod | staticmethod | property)


def described(value: Any) -> bool:
    """Whether it has a docstring, of its own or of the method it overrides; dataclasses make one that says nothing."""
    found = inspect.getdoc(value) or ""
    return bool(found) and not found.startswith(f"{getattr(value, '__name__', None)}(")
