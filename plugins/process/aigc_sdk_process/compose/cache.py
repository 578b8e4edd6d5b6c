"""Intermediate results kept by their origin: a rerun makes only what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import safetensors.numpy

from aigc_sdk import calls, hooks, registry, storage
from aigc_sdk.artifacts import KINDS, Artifact, Text
from aigc_sdk.errors import AigcError, FolderError, InputError, OptionError
from aigc_sdk.protocols import Generator

from .parts import composed, digest, noted, versions
from .record import RECORDED, artifacts, described

P = ParamSpec("P")
A = TypeVar("A", bound=Artifact)
ENDING = ".safetensors"


def generate(
    model: Generator[A], prompt: Any = None, *, n: int = 1, seed: int | None = None, **options: Any
) -> list[A]:
    """`model.generate`, where a prompt may also be a Text, which the results then remember to go back to.

    So the speech of a generated text carries how the text was made, and a replay makes the text again as well.
    """
    prompts = _listed(prompt)
    plain = [str(each) if isinstance(each, Text) else each for each in prompts]
    made = model.generate(plain if isinstance(prompt, list | tuple) else plain[0], n=n, seed=seed, **options)
    return [_from_text(each, prompts[index // n]) for index, each in enumerate(made)]


class Cache:
    """A folder of intermediate results; what is asked for again, in the same way of the same, is read from there.

        cache = Cache("runs/film/cache")
        [story] = cache.generate(model, "In the beginning", seed=7, max_new_tokens=60)
        tidy = cache.call(text.tidy, story)

    The key of a result is a digest of all that decides it: the model's weights, versions, options, prompt and seed, or
    the function and its arguments, each with all that it goes back to. An entry that is damaged is made again. `kept`
    and `made` list what was read and what was made. Several processes may share a folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise FolderError(f"{self.folder} is not a folder; choose another place for the cache")
        self.kept: list[str] = []
        self.made: list[str] = []
        self._used: set[str] = set()

    def generate(self, model: Generator[A], prompt: Any = None, *, n: int = 1, seed: int, **options: Any) -> list[A]:
        """`compose.generate`, kept. Raises OptionError without a seed: nobody could ask for the same again."""
        if seed is None:
            raise OptionError("seed=None: a cache keeps what can be asked for again; give a seed", field="seed")
        prompts = _listed(prompt)
        plain = [str(each) if isinstance(each, Text) else each for each in prompts]
        job, _ = calls.prepare(model, plain if isinstance(prompt, list | tuple) else plain[0], n, seed, None, options)
        key = {
            "model": model.identity(job),
            "backend": model.backend,
            "versions": registry.versions_of(model.backend),
            "place": [model.device, model.dtype],
            "call": [n, seed, job.options.model_dump(mode="json"), [described(each) for each in prompts]],
        }
        return self._ask(model.backend, key, (), lambda: generate(model, prompt, n=n, seed=seed, **options))

    def call(self, function: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> A:
        """What a recorded function returns, kept. Raises InputError for a function that is not recorded."""
        name = next((name for name, each in RECORDED.items() if each is function), None)
        if name is None:
            shown = getattr(function, "__name__", repr(function))
            raise InputError(
                f"{shown} is not recorded, so nobody knows what it depends on; decorate it", field="function"
            )
        given = [args, kwargs]
        key = {"call": name, "arguments": described(given), "versions": versions()}
        [result] = self._ask(name.rpartition(".")[2], key, given, lambda: [function(*args, **kwargs)])
        return result

    def prune(self) -> int:
        """Remove the entries that this object has not used; their number."""
        left = [path for path in self.folder.glob(f"*{ENDING}") if path.name not in self._used]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _ask(self, what: str, key: Any, given: Any, make: Callable[[], list[A]]) -> list[A]:
        facts = json.dumps([key, [each.info for each in artifacts(given)]], sort_keys=True, default=repr)
        # Of a function of yours nobody knows whether it is the same, and a hook may replace what is made.
        if '"unrecorded"' in facts or hooks.watched("aigc_artifact"):
            self.made.append(what)
            return make()
        name = f"{hashlib.sha256(facts.encode()).hexdigest()[:40]}{ENDING}"
        self._used.add(name)
        found = _read(self.folder / name)
        if found is not None:
            self.kept.append(what)
            return cast(list[A], found)
        self.made.append(what)
        results = make()
        data = _packed(results)
        if data is not None:
            with storage.disk_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            storage.write_file(self.folder / name, data)
        return results


def _listed(prompt: Any) -> Sequence[Any]:
    return prompt if isinstance(prompt, list | tuple) else [prompt]


def _from_text(artifact: A, prompt: Any) -> A:
    if not isinstance(prompt, Text) or not prompt.origin:
        return artifact
    return composed(artifact, {"made": dict(artifact.origin), "prompt": [noted(prompt)[0]]}, [prompt])


def _packed(results: Sequence[Artifact]) -> bytes | None:
    """Artifacts as one safetensors file, which keeps every bit; None where `info` holds what JSON cannot."""
    arrays: dict[str, Any] = {}
    try:
        facts = json.dumps([_facts(each, f"{index}.", arrays) for index, each in enumerate(results)])
    except (TypeError, ValueError):
        return None
    return bytes(safetensors.numpy.save(arrays, {"artifacts": facts}))


def _facts(artifact: Artifact, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": artifact.kind, "digest": digest(artifact)}
    for each in fields(artifact):
        value = getattr(artifact, each.name)
        if isinstance(value, np.ndarray):
            arrays[prefix + each.name] = np.ascontiguousarray(value)
        elif isinstance(value, Artifact):
            facts[each.name] = _facts(value, f"{prefix}{each.name}.", arrays)
        else:
            facts[each.name] = dict(value) if each.name in ("origin", "info") else value
    return facts


def _read(path: Path) -> list[Artifact] | None:
    """The artifacts of an entry; None where it is missing or damaged, which is as good as missing."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["artifacts"])
            return [_artifact(each, f"{index}.", file.get_tensor) for index, each in enumerate(facts)]
    except (OSError, safetensors.SafetensorError, AigcError, ValueError, KeyError, TypeError):
        return None


def _artifact(facts: dict[str, Any], prefix: str, tensor: Callable[[str], Any]) -> Artifact:
    cls: Any = KINDS[facts["kind"]]
    values: dict[str, Any] = {}
    for each in fields(cls):
        if each.name in facts:
            value = facts[each.name]
            sound = each.name == "sound" and value is not None
            values[each.name] = _artifact(value, f"{prefix}sound.", tensor) if sound else value
        else:
            values[each.name] = tensor(prefix + each.name)
    made: Artifact = cls(**values)
    if digest(made) != facts["digest"]:
        raise ValueError("the entry is damaged")
    return made
