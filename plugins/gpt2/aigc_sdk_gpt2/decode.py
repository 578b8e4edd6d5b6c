"""The decode loop: items that are decoded together, and what a call may set about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from aigc_sdk import runtime
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import AigcError
from aigc_sdk.protocols import Options

from .detokenize import Stops, detokenizer_for
from .engine import engine_for
from .sampling import NotFinite, Sampler

if TYPE_CHECKING:
    from aigc_sdk.adapters.manager import Names

    from .model import GPT2

REMEDY = "ask for fewer samples at a time or fewer tokens"


class Decoding(Options):
    """How the next tokens are chosen."""

    max_new_tokens: int = Field(128, ge=1, le=1 << 20, description="tokens to make, at most")
    min_new_tokens: int = Field(0, ge=0, le=1 << 20, description="tokens to make before the text may end by itself")
    temperature: float = Field(0.8, ge=0, le=100, description="0 takes the likeliest token, 1 samples as learnt")
    top_k: int = Field(0, ge=0, le=1 << 31, description="choose among this many likeliest tokens; 0: all")
    top_p: float = Field(
        0.95, gt=0, le=1, description="choose among the likeliest that together reach this probability"
    )
    min_p: float = Field(0.0, ge=0, le=1, description="drop tokens below this part of the likeliest one's probability")
    repetition_penalty: float = Field(
        1.0, gt=0, le=100, description="above 1 makes tokens that are there already less likely"
    )
    stop: tuple[str, ...] = Field(
        (), strict=False, max_length=64, description="strings that end the text; not part of it"
    )
    truncate: Literal["error", "left"] = Field(
        "error", description="a prompt too long for the context: refuse it, or drop its beginning"
    )

    adapter: str | Annotated[tuple[str | None, ...], Field(strict=False)] | None = Field(
        None,
        description="the adapter to write with, or one per prompt (None: the model alone); None: the one in use",
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _stops_are_strings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("a stop string is empty")
        return value

    @model_validator(mode="after")
    def _fewest_below_most(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens={self.min_new_tokens} is above max_new_tokens={self.max_new_tokens}")
        return self


def decode(
    model: GPT2,
    options: Decoding,
    samples: Sequence[int],
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    adapters: Sequence[str | None],
) -> Iterator[list[Text]]:
    """The chunks of each decoding step, for items that are decoded together; a row that is finished leaves the batch.

    samples: the numbers of the items. Items next to each other with one prompt read it once. adapters: of each item.
    """
    guard = partial(runtime.memory_errors, f"decoding {len(samples)} texts at once", REMEDY)
    sampler = Sampler(options, prompts, seeds, model.ends)
    rows = [_Row(model, sample, prompt, options.stop) for sample, prompt in zip(samples, prompts, strict=True)]
    distinct, sources = _distinct(prompts)
    with model.adapters.using(_alike([adapters[sources.index(place)] for place in range(len(distinct))])):
        engine = engine_for(model.network)
    with guard():
        logits = engine.prefill(distinct, options.max_new_tokens)
        if len(distinct) < len(rows):
            engine.select(sources)
            logits = logits[sources]
    for made in range(1, options.max_new_tokens + 1):
        tokens = _chosen(sampler, logits, rows, model.dtype)
        last = made == options.max_new_tokens
        yield [chunk for row, token in zip(rows, tokens.tolist(), strict=True) for chunk in row.add(token, last)]
        going = [index for index, row in enumerate(rows) if not row.done]
        if not going:
            return
        if len(going) < len(rows):
            rows, tokens = [rows[index] for index in going], tokens[going]
            sampler.select(going)
            engine.select(going)
        with guard():
            logits = engine.step(tokens)


def _alike(adapters: Sequence[str | None]) -> Names:
    """One adapter for all where it is one: nothing is then done row by row."""
    return adapters[0] if len(set(adapters)) == 1 else tuple(adapters)


def _distinct(prompts: Sequence[Sequence[int]]) -> tuple[list[Sequence[int]], list[int]]:
    """Prompts without those that are the same as the one before, and for each prompt its place among them."""
    found: list[Sequence[int]] = []
    places = []
    for prompt in prompts:
        if not found or found[-1] is not prompt:
            found.append(prompt)
        places.append(len(found) - 1)
    return found, places


def _chosen(sampler: Sampler, logits: torch.Tensor, rows: Sequence[_Row], dtype: str) -> torch.Tensor:
    try:
        return sampler.choose(logits)
    except NotFinite as error:
        raise AigcError(
            f"the model computed NaN or infinity for sample {rows[error.row].sample}; its weights are damaged, or {dtype} "
            "is too narrow for it: try dtype='float32'"
        ) from error


class _Row:
    """One item while it grows."""

    def __init__(self, model: GPT2, sample: int, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self.sample = sample
        self.done = False
        self._ends = model.ends
        self._text = detokenizer_for(model.tokenizer, prompt)
        self._stops = Stops(stop)
        self._made = 0

    def add(self, token: int, last: bool) -> Iterator[Text]:
        """The chunk that `token` completes; the last one says why the text ends."""
        ended = token in self._ends
        self._made += 1
        piece = self._stops.add("" if ended else self._text.add(token))
        if ended or last:
            piece += self._stops.add(self._text.end(), final=True)
        reason = "stop" if self._stops.stopped else "end" if ended else "length" if last else None
        if reason is not None:
            self.done = True
            yield Text(piece, sample=self.sample, info={"finish_reason": reason, "tokens": self._made})
        elif piece:
            yield Text(piece, sample=self.sample)
