"""What an artifact is put together from, as it stands in the artifact's origin.

An origin of parts is `{"whole": key, "parts": {key: part, ...}, "versions": {...}}`. A part is one of

    {"made": origin}                    a generator's artifact, with the origin that the core gave it
    {"made": origin, "prompt": [key]}   the same, where the prompt is the text of another part
    {"call": name, "arguments": {...}}  what a recorded function returned
    {"given": kind}                     an artifact whose making nobody recorded

each with the `digest` of its content. An argument is a JSON value, or `{"part": key}`, `{"model": facts}`, `{"map": {...}}`
for a dict, `{"unrecorded": what}`. A key is a digest of its part, so that equal parts are noted once, and a changed part
has another key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from aigc_sdk.artifacts import Artifact, Audio, Image, Text, Video
from aigc_sdk.errors import MediaError

A = TypeVar("A", bound=Artifact)
Parts = dict[str, Any]


def digest(artifact: Artifact) -> str:
    """A digest of the content of an artifact: kind, sizes, rates and every sample; not of `origin` and `info`."""
    found = hashlib.sha256(artifact.kind.encode())
    if isinstance(artifact, Text):
        found.update(artifact.text.encode("utf-8", "surrogatepass"))
    elif isinstance(artifact, Image):
        _add(found, artifact.pixels.shape, artifact.pixels)
    elif isinstance(artifact, Audio):
        _add(found, (artifact.sample_rate, artifact.samples.shape), artifact.samples)
    elif isinstance(artifact, Video):
        _add(found, (float(artifact.fps), artifact.frames.shape), artifact.frames)
        found.update(digest(artifact.sound).encode() if artifact.sound is not None else b"silent")
    return found.hexdigest()[:32]


def noted(artifact: Artifact) -> tuple[str, Parts]:
    """The key of an artifact, and all the parts that it goes back to."""
    origin = dict(artifact.origin)
    if "parts" in origin:
        return origin["whole"], origin["parts"]
    origin.pop("coding", None)  # how a file was written that it was read from
    part = {"made": origin} if "backend" in origin else {"given": artifact.kind}
    return _keyed({**part, "digest": digest(artifact)}, {})


def composed(artifact: A, part: Mapping[str, Any], of: Iterable[Artifact]) -> A:
    """`artifact` with an origin that says it is `part`, which refers to the artifacts `of`."""
    parts: Parts = {}
    for each in of:
        parts |= noted(each)[1]
    whole, parts = _keyed({**part, "digest": digest(artifact)}, parts)
    return replace(artifact, origin={"whole": whole, "parts": parts, "versions": versions()})


def key_of(part: Any) -> str:
    """The key under which a part is noted."""
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]


def references(part: Mapping[str, Any]) -> set[str]:
    """The keys of the parts that a part refers to."""
    return set(part.get("prompt", ())).union(*map(_keys_in, part.get("arguments", {}).values()))


def _keys_in(argument: Any) -> set[str]:
    if isinstance(argument, list):
        return set().union(*map(_keys_in, argument))
    if not isinstance(argument, dict):
        return set()
    if isinstance(argument.get("map"), dict):
        return set().union(*map(_keys_in, argument["map"].values()))
    return {argument["part"]} if isinstance(argument.get("part"), str) else set()


def checked(origin: Mapping[str, Any], name: str) -> Parts:
    """The parts of an origin that a file carries. Raises MediaError where they are not what was written."""
    parts: Any = origin.get("parts")
    sound = isinstance(parts, dict) and origin.get("whole") in parts and isinstance(origin.get("versions"), dict)
    if not sound or any(key != key_of(part) or not _is_part(part, parts) for key, part in parts.items()):
        raise MediaError(f"{name} carries damaged parts, so nobody can tell how it was made")
    return dict(parts)


@cache
def versions() -> dict[str, str]:
    """The versions of what recorded functions compute with."""
    found = {}
    for name in ("aigc-sdk-process", "numpy", "pillow", "av"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _keyed(part: Parts, parts: Parts) -> tuple[str, Parts]:
    key = key_of(part)
    return key, {**parts, key: part}


def _is_part(part: Any, parts: Parts) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("digest"), str):
        return False
    arguments, prompt = part.get("arguments", {}), part.get("prompt", [])
    known = isinstance(arguments, dict) and isinstance(prompt, list) and all(isinstance(each, str) for each in prompt)
    kinds = {"made": dict, "call": str, "given": str}
    one = sum(isinstance(part.get(kind), cls) for kind, cls in kinds.items()) == 1
    return one and known and references(part) <= set(parts)


def _add(found: Any, facts: Any, array: Any) -> None:
    import numpy as np

    found.update(repr(facts).encode())
    found.update(np.ascontiguousarray(array).data)
