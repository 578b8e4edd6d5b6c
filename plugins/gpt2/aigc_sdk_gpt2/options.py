"""What a call may set about a text: the single source of its options."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from aigc_sdk.protocols import Options

if TYPE_CHECKING:
    import torch

    LogitsFunction = Callable[[torch.Tensor, Sequence[int], Sequence[int]], torch.Tensor]

TOKENS_LIMIT = 1 << 20
GRAMMAR_LIMIT = 1 << 16  # characters of a regular expression, or of a schema as JSON
Count = Annotated[int, Field(ge=1, le=TOKENS_LIMIT)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Token = Annotated[int, Field(ge=0, le=1 << 31)] | Annotated[str, Field(min_length=1)]
Pair = Annotated[tuple[Token, Bias], Field(strict=False)]
Strings = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(strict=False)]


def _described(function: Any) -> dict[str, str] | None:
    """What a file can hold of a function: its name, and that it is not there."""
    if function is None:
        return None
    named = getattr(function, "__qualname__", type(function).__qualname__)
    return {"unrecorded": f"{getattr(function, '__module__', None) or '?'}.{named}"}


def _in_order(schema: dict[str, Any] | None) -> str | None:
    """A schema as JSON: its properties are written in their order, which a record that sorts its keys would lose."""
    return None if schema is None else json.dumps(schema, ensure_ascii=False)


class Decoding(Options):
    """How the next tokens are chosen."""

    max_new_tokens: Count | Annotated[tuple[Count, ...], Field(strict=False)] = Field(
        128, description="tokens to make, at most; or a list, one number per prompt"
    )
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
    typical_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="choose among the tokens of most usual surprise that together reach this probability",
    )
    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="taken off the logit of every token that the new text holds already"
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="taken off the logit of a token as often as the new text holds it"
    )
    no_repeat_ngram: int = Field(
        0, ge=0, le=1 << 20, description="no run of this many tokens comes twice, prompt included; 0: any may"
    )
    bad_words: Strings = Field(
        (), max_length=1024, description="strings that the text never holds, however they are cut into tokens"
    )
    logit_bias: Annotated[tuple[Pair, ...], Field(strict=False)] = Field(
        (), max_length=1024, description="what to add to the logits of single tokens: a dict from string or number"
    )
    logits: Annotated[
        Callable[..., Any] | None, PlainSerializer(_described, when_used="json"), WithJsonSchema({"type": "null"})
    ] = Field(
        None, description="a function of yours, (logits, prompt, made) -> logits, asked for each token of each text"
    )
    logprobs: int | None = Field(
        None,
        ge=0,
        le=256,
        description="report log-probabilities: of each token, and of this many likeliest in its place",
    )
    regex: str | None = Field(
        None, min_length=1, max_length=GRAMMAR_LIMIT, description="a regular expression that the whole text matches"
    )
    json_schema: Annotated[dict[str, Any] | None, PlainSerializer(_in_order, when_used="json")] = Field(
        None, description="a JSON schema that the text, a JSON value, is valid for: a dict, or JSON"
    )
    num_beams: int = Field(
        1, ge=1, le=256, description="beam search with so many beams; the n best are returned; needs temperature=0"
    )
    length_penalty: float = Field(
        1.0, ge=-100, le=100, description="of beams: above 0 favours long texts, below 0 short ones"
    )
    early_stopping: bool | Literal["never"] = Field(
        False,
        description="when beams end: true: at num_beams whole texts; false: when better ones are unlikely; never: impossible",
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
    engine: Literal["auto", "kernels", "torch", "compiled"] = Field(
        "auto",
        description="what computes: the fastest there is; or the compiled kernels, plain torch, or a program that torch "
        "compiles at the first call",
    )

    max_batch_size: int = Field(
        256, ge=1, le=4096, description="texts decoded at a time, at most; one that ends makes room for the next"
    )
    cache_mb: int = Field(
        1024, ge=1, le=1 << 24, description="memory for keys and values of the texts decoded at a time, in MiB"
    )
    speculate: int = Field(
        0, ge=0, le=32, description="tokens to guess ahead, at most, and check in one pass; the text stays the same"
    )
    draft: str | None = Field(
        None,
        min_length=1,
        description="a small model that guesses, a folder or hub id; None: look-up in the text so far",
    )

    def of_prompt(self, index: int) -> Self:
        each = {name: getattr(self, name) for name in ("max_new_tokens", "adapter")}
        own = {name: value[index] for name, value in each.items() if isinstance(value, tuple)}
        return self.model_copy(update=own) if own else self

    @field_validator("stop", "bad_words", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _stops_are_strings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("a stop string is empty")
        return value

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _a_dict_is_its_pairs(cls, value: Any) -> Any:
        pairs = tuple(value.items()) if isinstance(value, Mapping) else value
        if isinstance(pairs, list | tuple):
            named = [each[0] for each in pairs if isinstance(each, list | tuple) and each]
            if any(isinstance(each, bool | float) for each in named):
                raise ValueError("a token is a string or a whole number")
            if len({(type(each), each) for each in named if isinstance(each, int | str)}) < len(named):
                raise ValueError("a token stands there twice")
        return pairs

    @field_validator("logits", mode="before")
    @classmethod
    def _a_name_is_no_function(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "unrecorded" in value:
            raise ValueError(
                f"the text was made with the function {value['unrecorded']}, which its record does not hold; pass the function"
            )
        return value

    @field_validator("json_schema", mode="before")
    @classmethod
    def _json_is_read(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON: {error}") from error

    @field_validator("json_schema")
    @classmethod
    def _a_schema_is_json(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        try:
            size = len(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON: {error}") from error
        if size > GRAMMAR_LIMIT:
            raise ValueError(f"as JSON it has {size:,} characters; the limit is {GRAMMAR_LIMIT:,}")
        return value

    @field_validator("max_new_tokens", mode="before")
    @classmethod
    def _one_count_or_one_each(cls, value: Any) -> Any:
        given = value if isinstance(value, list | tuple) and value else [value]
        if not all(type(each) is int and 1 <= each <= TOKENS_LIMIT for each in given):
            raise ValueError(f"give an integer from 1 to {TOKENS_LIMIT:,}, or a list of them, one per prompt")
        return value

    @model_validator(mode="after")
    def _a_draft_is_asked_for_guesses(self) -> Self:
        if self.draft is not None and not self.speculate:
            raise ValueError("draft is given and speculate=0: say how many tokens it may guess at a time, 4 say")
        return self

    @model_validator(mode="after")
    def _fewest_below_most(self) -> Self:
        most = self.max_new_tokens
        if self.min_new_tokens > (most if isinstance(most, int) else min(most)):
            raise ValueError(f"min_new_tokens={self.min_new_tokens} is above max_new_tokens={self.max_new_tokens}")
        return self

    @model_validator(mode="after")
    def _one_grammar_at_a_time(self) -> Self:
        if self.regex is not None and self.json_schema is not None:
            raise ValueError("regex and json_schema are both given: a text follows one of them")
        if self.stop and (self.regex is not None or self.json_schema is not None):
            raise ValueError("stop is given with regex or json_schema: a text that follows a grammar ends as that says")
        return self

    @model_validator(mode="after")
    def _beams_do_not_sample(self) -> Self:
        if self.num_beams == 1:
            return self
        if self.num_beams > self.max_batch_size:
            raise ValueError(
                f"num_beams={self.num_beams} is above max_batch_size={self.max_batch_size}: each beam is a row"
            )
        if self.temperature:
            raise ValueError(
                f"num_beams={self.num_beams}: beam search takes the likeliest texts; pass temperature=0 with it"
            )
        given = {"logprobs": self.logprobs is not None, "speculate": self.speculate, "draft": self.draft}
        for name in (each for each, there in given.items() if there):
            raise ValueError(f"{name} is given with num_beams={self.num_beams}: beam search has none; leave one out")
        return self
