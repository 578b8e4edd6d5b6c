"""From files and strings to tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigc_sdk.errors import DataError

from .tokens import LINE_END


def text_of(data: Any, name: str) -> str:
    """One text of a file, or of a list of strings and `Path`s, a line end between them.

    Raises DataError, whose field is `name`, for what is no text, cannot be read, or is too short to learn from.
    """
    given = [Path(data)] if isinstance(data, str | Path) else data
    if not isinstance(given, list | tuple) or not given:
        raise DataError(f"{name} is no text file and no list of texts; pass one of them", field=name)
    text = LINE_END.join(_text(each, f"{name}[{index}]", name) for index, each in enumerate(given))
    if not text.strip():
        raise DataError(f"{name} holds no text; pass at least one line", field=name)
    return text


def _text(given: Any, where: str, name: str) -> str:
    if isinstance(given, Path):
        try:
            return given.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{name}: {str(given)!r} cannot be read as UTF-8 text: {error}", field=name) from error
    if not isinstance(given, str):
        raise DataError(f"{where} is a {type(given).__name__}; pass strings, or Paths of files", field=name)
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} holds a lone surrogate at character {error.start}; remove it", field=name) from error
    return given
