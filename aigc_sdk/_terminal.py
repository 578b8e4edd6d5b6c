"""What the commands print: text as it is or made safe for a terminal, JSON, and messages."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .errors import printable

FAILED = 1  # the exit code of what did not work


def print_json(content: Any) -> None:
    """In ASCII, so that no terminal is controlled by it; what JSON does not know comes as a list or as text."""
    print(json.dumps(content, indent=2, default=lambda each: each.tolist() if hasattr(each, "tolist") else str(each)))


def shown(text: str) -> str:
    """Text for standard output: to a file or pipe as it is; on a terminal without what could control it."""
    if not sys.stdout.isatty():
        return text
    return "\n".join(printable(line, len(line)).replace("\\u0009", "\t") for line in text.split("\n"))


def tell(what: str, message: str) -> None:
    """A warning or an error, on standard error."""
    lines = [printable(line, 2000) for line in message.strip().splitlines()[:100]]
    print(f"{what}: " + "\n".join(lines), file=sys.stderr)


def let_go_of_output() -> None:
    """Nobody reads standard output any more, and Python's last flush of it shall not fail."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file, as in a notebook
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)
