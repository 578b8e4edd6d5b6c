"""What starting up costs: `import aigc_sdk` and `aigc`, beside importing what they lean on, as whole processes in turns.

    python benchmarks/start_up.py [--quick] [--turns 40]

A turn starts both sides once, one after the other, so that a busy machine is busy for both. `seconds` are medians of
whole processes; `extra_ms` is the median over turns of ours less the other, with the range of its middle half.
A target is a limit of `extra_ms`, or of our own seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import processor

AIGC = str(Path(sys.executable).with_name("aigc"))


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    ours: list[str]
    other: list[str]
    target: str


def python(code: str) -> list[str]:
    """The command that runs `code`."""
    return [sys.executable, "-c", code]


CASES = [
    Case(
        "import aigc_sdk | import pydantic, pluggy",
        python("import aigc_sdk"),
        python("import pydantic, pluggy"),
        "extra_ms <= 50",
    ),
    Case(
        "import aigc_sdk and define options | import pluggy and define a pydantic model",
        python("import aigc_sdk\nclass A(aigc_sdk.Options): a: int = 0"),
        python("import pluggy, pydantic\nclass A(pydantic.BaseModel): a: int = 0"),
        "",
    ),
    Case(
        "aigc backends | import typer, pydantic, pluggy",
        [AIGC, "backends"],
        python("import typer, pydantic, pluggy"),
        "seconds < 0.3",
    ),
    Case(
        "aigc --help | import typer, pydantic, pluggy",
        [AIGC, "--help"],
        python("import typer, pydantic, pluggy"),
        "",
    ),
]


def seconds(command: list[str]) -> float:
    """One whole process, from its start to its end."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(case: Case, turns: int) -> dict[str, Any]:
    """Both sides in turns, after one of each that fills the file cache and writes bytecode."""
    seconds(case.ours), seconds(case.other)
    pairs = [(seconds(case.other), seconds(case.ours)) for _ in range(turns)]
    other, ours = zip(*pairs, strict=True)
    extra = [(b - a) * 1000 for a, b in pairs]
    low, middle, high = statistics.quantiles(extra, n=4)
    return {
        "case": case.name,
        "seconds": [round(statistics.median(side), 4) for side in (ours, other)],
        "extra_ms": round(middle, 1),
        "middle_half": [round(low, 1), round(high, 1)],
        "ratio": round(statistics.median(b / a for a, b in pairs), 2),
        "target": case.target,
    }


def main() -> None:
    """Print one JSON object per case."""
    parser = argparse.ArgumentParser(description="What `import aigc_sdk` and `aigc` cost at the start.")
    parser.add_argument("--quick", action="store_true", help="a few turns of each case")
    parser.add_argument("--turns", type=int, default=40)
    arguments = parser.parse_args()
    machine = {"python": platform.python_version(), "processor": processor()}
    print(json.dumps({"what": "whole processes; [ours, the other]", **machine}))
    for case in CASES:
        print(json.dumps(measure(case, 5 if arguments.quick else arguments.turns)), flush=True)


if __name__ == "__main__":
    main()
