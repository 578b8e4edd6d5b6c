"""The generator: the network reads the prompt, and goes on token by token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from aigc_sdk import Generator, Job, Options, Step, Text, folder, runtime
from aigc_sdk.errors import CorruptFolder, OptionError
from aigc_sdk.protocols import Device, DType, Source
from aigc_sdk.weights import fill, on_meta, write_module

from . import tokens as tokens_
from .network import Network, Sizes, State
from .sampling import Sampler
from .tokens import Tokens, Writer, after_line_end

DEFAULT = Path(__file__).parent / "default"
CHUNK = 512  # tokens that are read at a time: what a long text needs of memory does not depend on its length


class Sampling(Options):
    """What one call may set."""

    max_new_tokens: int = Field(200, ge=1, le=100_000, description="tokens to add")
    temperature: float = Field(
        0.8,
        ge=0,
        le=10,
        description="below 1 is more predictable, above 1 more surprising; 0 takes the likeliest token",
    )
    top_k: int = Field(
        0, ge=0, le=1 << 16, description="draw from the k likeliest tokens (Fan et al. 2018); 0: from all"
    )
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="draw from the likeliest tokens that have this part together (Holtzman et al. 2020)",
    )


class RNN(Generator[Text]):
    """Goes on with a text, by an LSTM or a GRU.

        model = aigc_sdk.load("rnn")
        print(model.generate("And the king said", seed=1, max_new_tokens=200)[0])

    A prompt is read as what follows a line end, and a text has no end but `max_new_tokens`. Items are made one after the
    other, so that a batch gives each what it is given alone. Weights and arithmetic are float32.
    """

    Options = Sampling
    prompt_types = (str,)
    owns_randomness = True
    backend = "rnn"
    dtype = "float32"

    def __init__(self, sizes: Sizes, network: Network, tokens: Tokens, *, device: str, source: str = "") -> None:
        self.sizes = sizes
        self.network = network.eval()
        self.tokens = tokens
        self.device = device
        self.source = source

    @classmethod
    def new(cls, sizes: Sizes, *, seed: int, device: str) -> Self:
        """A model that has learnt nothing: its first weights are drawn from a random state of their own."""
        what = f"a new {sizes.cell} of {sizes.layers} layers, {sizes.width} wide"
        with runtime.LentState(seed), runtime.memory_errors(what, "choose a smaller width"):
            network = Network(sizes).to(device)
        return cls(sizes, network, tokens_.first(sizes.tokens, sizes.vocabulary), device=device)

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Open a model: None for the one in this package, a folder that `save` wrote, or a hub id."""
        place, kind = runtime.device(device), runtime.dtype(dtype, allowed=("float32",))
        chosen = DEFAULT if source is None or source == "default" else source
        opened = folder.read(chosen, backend=cls.backend, revision=revision)
        sizes = _sizes(opened)
        tokens = tokens_.read(opened, sizes.tokens, sizes.vocabulary)
        with on_meta():  # no memory for sizes that the weights may not have
            network = Network(sizes)
        fill(network, opened.path, place, kind)
        return cls(sizes, network, tokens, device=place, source="" if chosen is DEFAULT else opened.source)

    def run(self, job: Job) -> Iterator[Text]:
        """One item after the other, a character as soon as it is whole."""
        options: Sampling = job.options
        done, total = 0, len(job) * options.max_new_tokens
        for sample, (prompt, seed) in enumerate(zip(job.items, job.seeds, strict=True)):
            sampler = Sampler(options.temperature, options.top_k, options.top_p, seed)
            writer = Writer(self.tokens.pieces)
            logits, state = self.read(after_line_end(self.tokens, prompt))
            for place in range(1, options.max_new_tokens + 1):
                token = sampler.choose(self._known(logits))
                done += 1
                job.on_step(Step(done, total))
                text = writer.write(token, last=place == options.max_new_tokens)
                if text:
                    yield Text(text, sample=sample)
                if place < options.max_new_tokens:
                    logits, state = self.forward(np.array([token]), state)

    def read(self, tokens: NDArray[np.int64]) -> tuple[torch.Tensor, State]:
        """The logits after the last of some tokens, (vocabulary), and the state."""
        logits, state = self.forward(tokens[:CHUNK], None)
        for start in range(CHUNK, len(tokens), CHUNK):
            logits, state = self.forward(tokens[start : start + CHUNK], state)
        return logits, state

    @torch.inference_mode()
    def forward(self, tokens: NDArray[np.int64], state: State | None) -> tuple[torch.Tensor, State]:
        """The logits after the last of some tokens, (vocabulary), and the state."""
        logits, after = self.network(torch.from_numpy(tokens)[None].to(self.device), state)
        return logits[0, -1], after

    @torch.inference_mode()
    def _known(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits on the CPU of the tokens that can be written; the network may have room for more."""
        found = logits[: len(self.tokens.pieces)].cpu()
        if self.tokens.unknown is not None:
            found[self.tokens.unknown] = -torch.inf
        return found

    def save(self, folder_: str | Path) -> None:
        """Write a model folder: config.json, model.safetensors, and characters.json or tokenizer.json."""
        with folder.writing(folder_, backend=self.backend, role="generator", fingerprint=self.fingerprint()) as path:
            config = {"model_type": "aigc_rnn", **self.sizes.model_dump()}
            (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            self.tokens.write(path)
            write_module(self.network, path)

    def to(self, device: Device) -> Self:
        """Move the network."""
        self.device = runtime.device(device)
        self.network.to(self.device)
        return self

    def fingerprint(self) -> str:
        """A digest of the weights."""
        return runtime.fingerprint(self.network)


def _sizes(opened: folder.Folder) -> Sizes:
    config = opened.config()
    if config.pop("model_type", None) != "aigc_rnn":
        raise CorruptFolder(f"{opened.path}: config.json is not of a model of rnn")
    try:
        return Sizes.parse("config.json", config)
    except OptionError as error:
        raise CorruptFolder(f"{opened.path}: {error}") from error
