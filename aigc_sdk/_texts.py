"""Texts as files: txt and md end with an origin line where there is an origin, json holds text, origin and info."""

from __future__ import annotations

import json
from typing import Any

from .artifacts import Text
from .errors import MediaError, printable

_HEAD, _TAIL = "\n<!-- aigc_sdk: ", " -->"  # an HTML comment, so that Markdown does not show it


def encode(artifact: Text, format: str, note: str | None) -> bytes:
    """The file as UTF-8, line ends as they are in the text."""
    content = _as_json(artifact, note) if format == "json" else _with_line(artifact.text, note)
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        shown = printable(content[error.start])
        raise MediaError(f"the text holds a lone surrogate {shown}, which no file can hold; remove it") from error


def decode(data: bytes, format: str) -> tuple[Text, str | None]:
    """The text in a file, and its origin as JSON."""
    content = data.decode()
    if format == "json":
        return _from_json(content)
    text, note = _split(content)
    return Text(text), note


def _with_line(text: str, note: str | None) -> str:
    if note is None and _split(text)[1] is not None:
        note = "{}"  # the text itself ends like an origin line: an empty one behind it keeps it part of the text
    return text if note is None else f"{text}{_HEAD}{note}{_TAIL}\n"


def _split(content: str) -> tuple[str, str | None]:
    """Text and origin line of a file; line ends that an editor or git changed do not matter."""
    text, mark, line = content.rpartition(_HEAD)
    note = line.rstrip("\r\n").removesuffix(_TAIL)
    if not mark or note == line.rstrip("\r\n") or not _is_object(note):
        return content, None
    return text.removesuffix("\r") if line.endswith("\r\n") else text, note


def _is_object(note: str) -> bool:
    try:
        return isinstance(json.loads(note), dict)
    except (ValueError, RecursionError):
        return False


def _as_json(artifact: Text, note: str | None) -> str:
    content: dict[str, Any] = {"text": artifact.text, "info": dict(artifact.info)}
    if note is not None:
        content["origin"] = json.loads(note)
    try:
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise MediaError(f"the text's info is nothing that JSON can hold ({error}); save it as .txt") from error


def _from_json(content: str) -> tuple[Text, str | None]:
    found = json.loads(content)
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        raise MediaError('it holds no {"text": ...} object')
    info, origin = found.get("info") or {}, found.get("origin") or {}
    if not isinstance(info, dict) or not isinstance(origin, dict):
        raise MediaError("its info or origin is no object")
    return Text(found["text"], info=info), json.dumps(origin) if origin else None
