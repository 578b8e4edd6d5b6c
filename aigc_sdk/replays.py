"""Making an artifact again from the origin that its own file carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import calls, registry
from .artifacts import Artifact
from .errors import MediaError

if TYPE_CHECKING:
    from .protocols import Generator

THREADS = "threads"
"""What an origin calls the number of torch's threads. It is a fact of the machine, and no part of what was asked for."""


@dataclass(frozen=True)
class Replay:
    """An artifact made again: `same` says whether it equals the one in the file to the byte.

    `differences` names what is not as it was (versions, weights, device, threads); it can explain why `same` is False.
    Another number of threads alone does not make it so: the same content is the same, and the difference is told.
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
    _check(origin, Path(path).name)
    recorded = origin["model"]["source"]
    opened = registry.resolve(origin["backend"], "generator")  # by name alone, whatever the file says
    model = opened.open(recorded or None, device=device or origin["device"], dtype=origin["dtype"])
    model.restore(origin["model"])
    artifact = _again(model, origin)
    again = media.encode(as_recorded(artifact, origin), Path(path).suffix[1:], **origin.get(media.CODING, {}))
    was = {key: value for key, value in origin.items() if key != media.CODING}
    now = {key: value for key, value in artifact.origin.items() if key != THREADS or THREADS in was}
    return Replay(artifact, again == Path(path).read_bytes(), tuple(_differences(was, now)))


def as_recorded(artifact: Artifact, origin: Mapping[str, Any]) -> Artifact:
    """The artifact with the number of threads that `origin` records, so that the files of both can be compared."""
    others = {key: value for key, value in artifact.origin.items() if key != THREADS}
    return replace(artifact, origin=others | ({THREADS: origin[THREADS]} if THREADS in origin else {}))


def _check(origin: Mapping[str, Any], name: str) -> None:
    """Refuse an origin that does not say enough to make the artifact again."""
    if not origin:
        raise MediaError(f"{name} carries no origin, so nobody can tell how it was made")
    if "backend" not in origin:
        remedy = "replay those, or the whole by what put them together, where that can"
        raise MediaError(f"{name} was put together from several artifacts; {remedy}")
    wanted = {"backend": str, "model": Mapping, "device": str, "dtype": str, "options": Mapping, "seed": int}
    whole = all(isinstance(origin.get(key), kind) for key, kind in wanted.items()) and "prompt" in origin
    sound = whole and isinstance(origin["model"].get("source"), str) and not isinstance(origin["prompt"], list)
    coding = origin.get("coding", {})
    sound = sound and isinstance(coding, Mapping) and set(coding) in (set(), {"quality", "codec"})
    if not sound or not ("call" not in origin or _is_call(origin["call"])):
        raise MediaError(f"{name} carries a damaged origin, so nobody can tell how it was made")
    if isinstance(origin["prompt"], Mapping) and "unrecorded" in origin["prompt"]:
        raise MediaError(f"{name} was made from a prompt that a file cannot hold: {origin['prompt']['unrecorded']}")


def _is_call(call: Any) -> bool:
    if not isinstance(call, Mapping) or not all(isinstance(call.get(key), int) for key in ("seed", "n", "index")):
        return False
    prompts = call.get("prompts", ())
    return prompts is None or (isinstance(prompts, list) and 0 <= call["index"] < len(prompts) * call["n"])


def _again(model: Generator[Artifact], origin: Mapping[str, Any]) -> Artifact:
    """Run the whole call that the artifact came from, where it is known, since a batch can round otherwise than one."""
    call = origin.get("call")
    if call and call["prompts"] is not None:
        made = calls.generate(model, call["prompts"], call["n"], call["seed"], None, None, origin["options"])
        return list(made)[int(call["index"])]
    [alone] = calls.generate(model, origin["prompt"], 1, origin["seed"], None, None, origin["options"])
    return replace(alone, origin={**alone.origin, "call": call}) if call else alone


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key in sorted({*was, *now}):
        before, after = was.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differences(before, after, f"{path}{key}.")
        elif before != after:
            found.append(f"{path}{key} was {before!r}, is {after!r}")
    return found
