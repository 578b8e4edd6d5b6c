"""Making an artifact again from the origin that its own file carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import registry
from .artifacts import Artifact
from .errors import MediaError


@dataclass(frozen=True)
class Replay:
    """An artifact made again: `same` says whether it equals the one in the file to the byte.

    `differences` names what is not as it was (versions, weights, device); it can explain why `same` is False.
    """

    artifact: Artifact
    same: bool
    differences: tuple[str, ...]

    def __str__(self) -> str:
        head = "the same, to the byte" if self.same else "not the same"
        return "\n".join([head, *(f"- {each}" for each in self.differences)])


def read(path: str | Path) -> Artifact:
    """Read an artifact from a file, with its `origin` where the file carries one."""
    from . import media

    return media.read(path)


def replay(path: str | Path, *, device: str | None = None) -> Replay:
    """Make the artifact in `path` again: the same bytes on the same versions, and what differs otherwise.

    device: where to run; None takes the device it was made on. Raises MediaError when the file carries no origin.
    """
    from . import media

    saved = media.read(path)
    origin = saved.origin
    if not origin:
        raise MediaError(f"{Path(path).name} carries no origin, so nobody can tell how it was made")
    if "backend" not in origin:
        raise MediaError(f"{Path(path).name} was put together from several artifacts; replay those")
    if isinstance(origin.get("prompt"), Mapping) and "unrecorded" in origin["prompt"]:
        raise MediaError(
            f"{Path(path).name} was made from a prompt that a file cannot hold: {origin['prompt']['unrecorded']}"
        )
    recorded = origin["model"]["source"]
    model = registry.load(origin["backend"], recorded or None, device=device or origin["device"], dtype=origin["dtype"])
    artifact = _again(model, origin)
    same = media.encode(artifact, Path(path).suffix[1:]) == Path(path).read_bytes()
    return Replay(artifact, same, tuple(_differences(origin, artifact.origin)))


def _again(model: Any, origin: Mapping[str, Any]) -> Artifact:
    """Run the whole call that the artifact came from, where it is known, since a batch can round otherwise than one."""
    call = origin.get("call")
    if call and call["prompts"] is not None:
        made: list[Artifact] = model.generate(call["prompts"], n=call["n"], seed=call["seed"], **origin["options"])
        return made[call["index"]]
    [alone] = model.generate(origin["prompt"], seed=origin["seed"], **origin["options"])
    return alone  # type: ignore[no-any-return]


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key in sorted({*was, *now}):
        before, after = was.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{path}{key}.")
        elif before != after:
            found.append(f"{path}{key} was {before!r}, is {after!r}")
    return found
