"""Replay: a file that was put together from several artifacts, made again from what it carries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

import aigc_sdk
from aigc_sdk import Artifact, Generator, Replay, Text, media, registry
from aigc_sdk.errors import AigcError, MediaError, shown
from aigc_sdk.replays import THREADS, as_recorded

from .parts import Parts, checked, composed, digest, references, versions
from .record import RECORDED, model_facts

FINISHING = ("audio", "image", "loudness", "slides", "soundtrack", "subtitles", "text", "video")
"""The modules of this package whose functions a file may name."""


def replay(path: str | Path, *, given: Iterable[Artifact] = (), device: str | None = None) -> Replay:
    """Make the artifact in `path` again, with all that it was put together from: models run, functions are called.

    given: the artifacts that were neither generated nor returned by a recorded function, such as music of your own.
    device: where models run; None takes the device that each ran on. A file of one artifact alone is replayed as by
    `aigc_sdk.replay`. Raises MediaError where the file does not say how it was made, and where a part is missing.
    """
    place = Path(path)
    saved = media.read(place)
    if "parts" not in saved.origin:
        return aigc_sdk.replay(place, device=device)
    parts = checked(saved.origin, place.name)
    workshop = Workshop(parts, {digest(each): each for each in given}, device, place.name)
    artifact = workshop.make(saved.origin["whole"])
    again = media.encode(artifact, place.suffix[1:], **saved.origin.get(media.CODING, {}))
    differences = _changes("", saved.origin["versions"], versions()) + workshop.differences
    return Replay(artifact, again == place.read_bytes(), tuple(differences))


class Workshop:
    """Makes parts, each once, in an order in which all that one goes back to is there before it."""

    def __init__(self, parts: Parts, given: Mapping[str, Artifact], device: str | None, name: str) -> None:
        self.parts, self.given, self.device, self.name = parts, given, device, name
        self.models: dict[str, Generator[Any]] = {}
        self.calls: dict[str, list[Artifact]] = {}
        self.made: dict[str, Artifact] = {}
        self.differences: list[str] = []

    def make(self, whole: str) -> Artifact:
        """The part `whole`, and so whatever it goes back to."""
        for key in TopologicalSorter(self._needed(whole)).static_order():
            self.made[key] = self._made(key, self.parts[key])
        return self.made[whole]

    def _needed(self, whole: str) -> dict[str, set[str]]:
        needed: dict[str, set[str]] = {}
        waiting = [whole]
        while waiting:
            key = waiting.pop()
            if key not in needed:
                part = self.parts[key]
                needed[key] = references(part)
                waiting += needed[key]
        return needed

    def _made(self, key: str, part: Parts) -> Artifact:
        if "given" in part:
            return self._given(part)
        what = part["call"] if "call" in part else shown(part["made"].get("backend"))
        try:
            artifact = self._called(part) if "call" in part else self._generated(part)
        except MediaError:
            raise
        except (AigcError, TypeError) as error:
            raise MediaError(f"{self.name}: its part by {what} cannot be made again: {error}") from error
        if digest(artifact) != part["digest"]:
            self.differences.append(f"the part by {what} is not the same (it is noted as {key})")
        return artifact

    def _given(self, part: Parts) -> Artifact:
        if part["digest"] not in self.given:
            message = f"a part of it, of kind {part['given']}, was given, and nobody recorded how it was made"
            raise MediaError(f"{self.name}: {message}; pass it: replay(path, given=[...])")
        return self.given[part["digest"]]

    def _called(self, part: Parts) -> Artifact:
        return _function(part["call"])(**{name: self._value(each) for name, each in part["arguments"].items()})

    def _value(self, noted: Any) -> Any:
        """An argument from its JSON."""
        if isinstance(noted, list):
            return [self._value(each) for each in noted]
        if not isinstance(noted, dict):
            return noted
        if "part" in noted:
            return self.made[noted["part"]]
        if "model" in noted:
            return self._noted_model(noted["model"])
        if "unrecorded" in noted:
            raise MediaError(
                f"{self.name} was made with something that a file cannot hold: {shown(noted['unrecorded'])}"
            )
        if isinstance(noted.get("map"), dict):
            return {name: self._value(each) for name, each in noted["map"].items()}
        raise MediaError(f"{self.name} carries damaged parts, so nobody can tell how it was made")

    def _generated(self, part: Parts) -> Artifact:
        origin = part["made"]
        wanted = {"backend": str, "model": dict, "device": str, "dtype": str, "options": dict, "seed": int}
        if not all(isinstance(origin.get(name), kind) for name, kind in wanted.items()) or "prompt" not in origin:
            raise MediaError(f"{self.name} carries a damaged origin, so nobody can tell how it was made")
        model = self._model(origin["backend"], origin["model"], origin["device"], origin["dtype"])
        artifact = self._from_call(model, origin)
        now = {name: artifact.origin[name] for name in ("versions", "model", "device", "dtype")}
        if THREADS in origin:
            now[THREADS] = artifact.origin.get(THREADS)
        self.differences += _changes(f"{origin['backend']}: ", {name: origin.get(name) for name in now}, now)
        if not part.get("prompt"):
            return as_recorded(artifact, origin)
        texts = [self.made[key] for key in part["prompt"]]
        if [str(each) for each in texts if isinstance(each, Text)] != [origin["prompt"]]:
            self.differences.append(f"the prompt of {origin['backend']} is not the text it was")
        fresh = replace(artifact, origin=origin)  # of which the differences are told already
        return composed(fresh, {"made": origin, "prompt": part["prompt"]}, texts)

    def _from_call(self, model: Generator[Any], origin: Parts) -> Artifact:
        """The artifact out of the whole call, where that is known: a batch can round otherwise than one alone."""
        call, options = origin.get("call"), origin["options"]
        if not isinstance(call, dict) or not isinstance(call.get("prompts"), list):
            alone: Artifact
            [alone] = model.generate(origin["prompt"], seed=origin["seed"], progress=False, **options)
            return replace(alone, origin={**alone.origin, "call": call}) if call else alone
        same = json.dumps(
            [origin["backend"], origin["model"], origin["device"], origin["dtype"], call | {"index": 0}, options]
        )
        if same not in self.calls:
            prompts = call["prompts"]
            self.calls[same] = model.generate(prompts, n=call["n"], seed=call["seed"], progress=False, **options)
        return self.calls[same][int(call["index"])]

    def _noted_model(self, facts: Any) -> Generator[Any]:
        """A model that was an argument of a function."""
        wanted = ("backend", "source", "fingerprint", "device", "dtype")
        if not isinstance(facts, dict) or not all(isinstance(facts.get(name), str) for name in wanted):
            raise MediaError(f"{self.name} carries a damaged origin, so nobody can tell how it was made")
        model = self._model(facts["backend"], {"source": facts["source"]}, facts["device"], facts["dtype"])
        self.differences += _changes(f"{facts['backend']}: ", facts, model_facts(model))
        return model

    def _model(self, backend: str, identity: Parts, device: str, dtype: str) -> Generator[Any]:
        same = json.dumps([backend, identity, device, dtype])
        if same not in self.models:
            opened = registry.resolve(backend, "generator")  # by name alone, whatever the file says
            model = opened.open(identity.get("source") or None, device=self.device or device, dtype=dtype)
            model.restore(identity)
            self.models[same] = model
        return self.models[same]


def _function(name: str) -> Callable[..., Artifact]:
    package = __name__.removesuffix("compose.again") + "finish."
    if name.startswith(package) and name.removeprefix(package).split(".")[0] in FINISHING:
        import_module(name.rpartition(".")[0])
    if name not in RECORDED:
        raise MediaError(
            f"it was made by {shown(name)}, which no recorded function is; import the module that defines it first"
        )
    return RECORDED[name]


def _changes(where: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in sorted({*was, *now}):
        before, after = was.get(name), now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _changes(f"{where}{name}.", before, after)
        elif before != after:
            found.append(f"{where}{name} was {before!r}, is {after!r}")
    return found
