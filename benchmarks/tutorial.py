"""How long the commands of docs/tutorial-plugin.md take, from an empty folder to a backend that passes the contract kit.

    python benchmarks/tutorial.py

Makes an empty folder and an environment of its own, installs the core from this repository, and follows the page up to
"Prove it": writes its files, runs its commands in their order, and stops at the first that fails. What is measured is the
machine's part: wall time of whole commands, and the processor's time in them, which a busy machine changes less. Reading and
typing come on top; the lines that there are to read or type are counted. Installing the environment depends on the network
and on pip's cache, and stands in a line of its own.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import processor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tutorial-plugin.md"
LAST = "5. Prove it"
COPY = "Start from a copy"
HEADING = re.compile(r"^## (.*)$", re.M)
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>file|not run): *(?P<about>[^\n]*?) *-->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass
class Part:
    """One section of the page, and what following it took."""

    title: str
    files: int = 0
    lines: int = 0
    commands: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


def sections(page: str) -> Iterator[tuple[str, str]]:
    """Title and text of every section of the page."""
    found = list(HEADING.finditer(page))
    for heading, after in zip(found, [*found[1:], None], strict=True):
        yield heading[1], page[heading.end() : after.start() if after else len(page)]


def follow(title: str, text: str, folder: Path, environment: dict[str, str]) -> Part:
    """Write the files of a section and run its commands."""
    part = Part(title)
    for block in FENCE.finditer(text):
        if block["mark"] == "file":
            path = folder / block["about"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"])
            part.files += 1
            part.lines += block["text"].count("\n")
        elif block["kind"] == "console" and (block["mark"] != "not run" or title == COPY):
            for command in re.findall(r"^\$ (.*)$", block["text"], re.M):
                run(command, folder, environment, part)
    return part


def run(command: str, folder: Path, environment: dict[str, str], part: Part) -> None:
    """Run one command; a failing one ends everything."""
    started, cpu = time.perf_counter(), children()
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    part.seconds += time.perf_counter() - started
    part.cpu += children() - cpu
    part.commands += 1
    if done.returncode:
        sys.exit(f"{part.title}: {command}\n{done.stdout}{done.stderr}")


def children() -> float:
    """The processor's time of all processes that were run, in seconds."""
    used = os.times()
    return used.children_user + used.children_system


def main() -> None:
    """Follow the page, and print a table."""
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "empty"
        folder.mkdir()
        environment = {**os.environ, "PATH": f"{room}/venv/bin{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
        environment.pop("PYTHONPATH", None)
        parts = [Part("an environment with the core and pytest")]
        clone = f"git clone --quiet {ROOT} sdk"
        for command in (clone, f"{sys.executable} -m venv ../venv", "pip install --quiet ./sdk pytest"):
            run(command, folder, environment, parts[0])
        for title, text in sections(PAGE.read_text()):
            parts.append(follow(title, text, folder, environment))
            if title == LAST:
                break
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| part | files | lines | commands | seconds | of the processor |\n|---|---|---|---|---|---|")
    for each in parts:
        print(f"| {each.title} | {each.files} | {each.lines} | {each.commands} | {each.seconds:.1f} | {each.cpu:.1f} |")
    show("by a copy", [each for each in parts if each.title in (parts[0].title, COPY)])
    show("by writing all", [each for each in parts if each.title != COPY])


def show(way: str, parts: list[Part]) -> None:
    """The sum of some parts."""
    seconds, cpu, lines = (sum(getattr(each, name) for each in parts) for name in ("seconds", "cpu", "lines"))
    print(f"\n{way}: {seconds:.0f} s, {cpu:.0f} s of the processor, {lines} lines to write")


if __name__ == "__main__":
    main()
