"""The generator. A backend writes `open`, `run`, `save` and `to`; `generate` and `stream` come from the base class."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from pydantic import Field

from aigc_sdk import Generator, Job, Options, Step, Text, folder
from aigc_sdk.errors import CorruptFolder, DeviceError
from aigc_sdk.protocols import Device, DType, Source

Followers = Mapping[str, Mapping[str, int]]
"""For each word, how often each other word followed it."""


class EchoOptions(Options):
    """What a call may set. Every field has a description and bounds: the command line and the docs are made of them."""

    times: int = Field(1, ge=1, le=1000, description="how often the prompt is repeated")
    shuffle: bool = Field(False, description="put the words in another order each time")
    babble: int = Field(0, ge=0, le=10_000, description="words to add from what was learnt")


class Echo(Generator[Text]):
    """Repeats its prompt word by word, and goes on with words that it has learnt to expect."""

    # What a call may set, what a prompt may be, and where the randomness comes from: the contract in three lines.
    Options = EchoOptions
    prompt_types = (str,)
    owns_randomness = True  # `run` draws from generators of its own, so the core lends it no global random state

    # The name in pyproject.toml's entry point; every artifact's origin holds it, so that it can be replayed.
    backend = "echo"
    device = "cpu"
    dtype = "float32"

    def __init__(self, followers: Followers | None = None, *, source: str = "") -> None:
        self.followers = followers or {}
        self.source = source

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Open a model: None for one that has learnt nothing, or a folder that `save` wrote."""
        _check_device(device)
        if source is None or source == "default":
            return cls()
        # `read` has checked every file against the folder's manifest before anything here looks at one.
        opened = folder.read(source, backend=cls.backend, revision=revision)
        followers = opened.json("followers.json")
        if not all(isinstance(counts, dict) for counts in followers.values()):
            raise CorruptFolder(f"{opened.path}: followers.json is no table of counts")
        return cls(followers, source=opened.source)

    def run(self, job: Job) -> Iterator[Text]:
        """Yield the words of every item, one chunk each; this is the one method that generates.

        Nothing is checked here: the options are valid, the prompts are not empty, the seeds are drawn.
        """
        words = [self._words(prompt, seed, job.options) for prompt, seed in zip(job.items, job.seeds, strict=True)]
        total = sum(map(len, words))
        done = 0
        for sample, its_words in enumerate(words):
            for index, word in enumerate(its_words):
                done += 1
                job.on_step(Step(done, total))  # progress; an exception in it cancels the call
                yield Text(word if index == 0 else f" {word}", sample=sample)

    def _words(self, prompt: str, seed: int, options: EchoOptions) -> list[str]:
        rng = random.Random(seed)  # one stream per item: the same alone and in any batch
        words = []
        for _ in range(options.times):
            some = prompt.split() or [prompt]
            if options.shuffle:
                rng.shuffle(some)
            words += some
        for _ in range(options.babble):
            counts = self.followers.get(words[-1])
            if not counts:
                break
            known = sorted(counts)  # in no order of learning: a model that was saved and opened has another
            words += rng.choices(known, weights=[counts[word] for word in known])
        return words

    def save(self, folder_: str | Path) -> None:
        """Write a model folder. It appears whole, with a manifest of its files, or not at all."""
        with folder.writing(folder_, backend=self.backend, role="generator", fingerprint=self.fingerprint()) as path:
            (path / "followers.json").write_text(_json(self.followers), encoding="utf-8")

    def to(self, device: Device) -> Self:
        """There is nothing to move; another device than the CPU is refused."""
        _check_device(device)
        return self

    def fingerprint(self) -> str:
        """A digest of what was learnt."""
        return hashlib.sha256(_json(self.followers).encode()).hexdigest()


def _json(followers: Followers) -> str:
    return json.dumps({word: dict(counts) for word, counts in followers.items()}, sort_keys=True)


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu"):
        raise DeviceError(f"device {device!r}: echo runs on the CPU alone; use 'cpu' or 'auto'")
