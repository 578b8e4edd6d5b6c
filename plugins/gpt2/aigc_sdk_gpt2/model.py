"""The generator: GPT-2 and other decoder-only models in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from aigc_sdk import folder, runtime
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import AigcError, ContextOverflow, InputError, OptionError, PromptError
from aigc_sdk.protocols import Device, DType, Generator, Job, Options, OptionsClass, Source, Step
from aigc_sdk.weights import load_tokenizer, load_transformers, quiet

from .detokenize import Stops, detokenizer_for
from .engine import cache_bytes, engine_for
from .sampling import Sampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DEFAULT = Path(__file__).parent / "default"
CACHE_LIMIT = 1 << 30  # bytes of keys and values at a time; larger jobs are decoded in groups
GROUP_LIMIT = 256  # rows; more make no CPU or GPU faster at this size, and logits take rows x vocabulary x 4 bytes
SCORE_LIMIT = 1 << 25  # floats of logits at a time when scoring: 128 MB


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


@dataclass(frozen=True)
class TokenScores:
    """How likely a model finds a text: natural logarithms of probabilities."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    """log p of each token, given everything before it."""

    @property
    def logprob(self) -> float:
        """log p of the whole text."""
        return sum(self.logprobs)


class GPT2(Generator[Text]):
    """GPT-2, or another decoder-only language model.

        model = aigc_sdk.load("gpt2")                                # the model that this package brings
        model = aigc_sdk.load("gpt2", "distilbert/distilgpt2")       # a folder or a hub id

    The result is the continuation alone; `origin["prompt"]` holds the prompt. `info["finish_reason"]` is "end" (the model
    ended the text), "stop" (a stop string) or "length"; `info["tokens"]` counts the tokens. network: a transformers
    model with a language-modelling head. tokenizer: a fast tokenizer.
    """

    Options: ClassVar[OptionsClass] = Decoding
    prompt_types = (str, type(None))
    owns_randomness = True
    backend = "gpt2"

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        source: str = "",
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.device = device
        self.dtype = dtype
        self.source = source
        self._tokenised: tuple[Job, list[list[int]]] | None = None

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        dtype: "float32" or "bfloat16", to compute in. Raises FolderError, DeviceError or OptionError.
        """
        kind, place = runtime.dtype(dtype), runtime.device(device)
        default = source is None or source == "default"
        opened = folder.read(DEFAULT if default or source is None else source, backend="gpt2", revision=revision)
        from transformers import AutoModelForCausalLM

        tokenizer = load_tokenizer(opened)
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model or dtype='bfloat16'"):
            network: Any = load_transformers(opened, AutoModelForCausalLM)
            network.to(device=place, dtype=kind)
        if opened.has("generation_config.json"):
            ends = opened.config("generation_config.json").get("eos_token_id")
            network.generation_config.eos_token_id = ends
        return cls(network, tokenizer, device=place, dtype=dtype, source="" if default else opened.source)

    @property
    def context(self) -> int:
        """The longest sequence that the model can hold, in tokens."""
        return int(self.network.config.max_position_embeddings)

    def check(self, job: Job) -> None:
        """Refuse prompts that leave no room for `max_new_tokens`."""
        self._tokenised = (job, self._prompts(job))

    def fingerprint(self) -> str:
        """A digest of the weights as they are now."""
        return runtime.fingerprint(self.network)

    def run(self, job: Job) -> Iterator[Text]:
        """Decode all items, a group at a time."""
        kept, self._tokenised = self._tokenised, None
        prompts = kept[1] if kept is not None and kept[0].prompts is job.prompts else self._prompts(job)
        rows = [prompts[index // job.n] for index in range(len(job))]
        groups = list(self._groups(rows, job.options.max_new_tokens))
        total = len(groups) * job.options.max_new_tokens
        for number, (start, stop) in enumerate(groups):
            group = _Group(self, job, range(start, stop), rows[start:stop])
            for made, chunks in enumerate(group.steps(), 1):
                last = group.finished
                made = job.options.max_new_tokens if last else made
                job.on_step(Step(number * job.options.max_new_tokens + made, total))
                yield from chunks

    def score(self, texts: Iterable[str], prefixes: Iterable[str] | None = None) -> list[TokenScores]:
        """log p of every token of each text, after its prefix, or after the begin-of-text token where there is none.

        prefixes: as many as texts. Text and prefix are tokenised apart. Raises PromptError, InputError, and
        ContextOverflow for a text that does not fit the context with its prefix.
        """
        given = [*texts] if not isinstance(texts, str) else [texts]
        before = [None] * len(given) if prefixes is None else list(prefixes)
        if len(before) != len(given):
            raise InputError(f"{len(before)} prefixes for {len(given)} texts; pass one each", field="prefixes")
        rows = [
            self._scored(text, prefix, index) for index, (text, prefix) in enumerate(zip(given, before, strict=True))
        ]
        size = max(
            1, SCORE_LIMIT // (max((len(a) + len(b) for a, b in rows), default=1) * self.network.config.vocab_size)
        )
        return [each for start in range(0, len(rows), size) for each in self._scores(rows[start : start + size])]

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, which plain transformers opens too."""
        with folder.writing(folder_, backend="gpt2", role="generator", fingerprint=self.fingerprint()) as path:
            with quiet():
                self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)

    def to(self, device: Device) -> Self:
        """Move the model to `device`."""
        self.device = runtime.device(device)
        network: Any = self.network
        network.to(self.device)
        return self

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a text."""
        found = self.network.generation_config.eos_token_id
        found = self.network.config.eos_token_id if found is None else found
        return frozenset([found] if isinstance(found, int) else found or ())

    @property
    def begin(self) -> list[int]:
        """The token that stands before a text that has no prompt."""
        for found in (self.tokenizer.bos_token_id, self.network.config.bos_token_id, *sorted(self.ends)):
            if isinstance(found, int):
                return [found]
        raise PromptError("this model has no token to begin a text with; pass a prompt", field="prompt")

    def _prompts(self, job: Job) -> list[list[int]]:
        options: Decoding = job.options
        room = self.context - options.max_new_tokens
        if room < 1:
            raise OptionError(
                f"gpt2 option max_new_tokens={options.max_new_tokens}: the model's context holds {self.context} tokens, "
                "the prompt included",
                field="max_new_tokens",
            )
        given = [each for each in job.prompts if each is not None]
        encoded = iter(self.tokenizer.backend_tokenizer.encode_batch(given)) if given else iter(())
        rows = [self.begin if each is None else next(encoded).ids or self.begin for each in job.prompts]
        for index, row in enumerate(rows):
            if len(row) > room and options.truncate == "error":
                name = f"prompt[{index}]" if len(rows) > 1 else "prompt"
                raise ContextOverflow(
                    f"{name} has {len(row)} tokens; with max_new_tokens={options.max_new_tokens} that is "
                    f"{len(row) - room} more than the context of {self.context} holds. Shorten it, ask for fewer new "
                    "tokens, or pass truncate='left' to drop its beginning",
                    excess=len(row) - room,
                )
        return [row[-room:] for row in rows]

    def _groups(self, rows: list[list[int]], room: int) -> Iterator[tuple[int, int]]:
        """Consecutive items that are decoded together."""
        per_token, start = cache_bytes(self.network), 0
        while start < len(rows):
            stop, longest = start, 0
            while stop < len(rows) and stop - start < GROUP_LIMIT:
                longest = max(longest, len(rows[stop]) + room)
                if stop > start and (stop - start + 1) * longest * per_token > CACHE_LIMIT:
                    break
                stop += 1
            yield start, stop
            start = stop

    def _scored(self, text: Any, prefix: Any, index: int) -> tuple[list[int], list[int]]:
        from aigc_sdk.calls import check_prompt

        check_prompt(text, (str,), "score", f"texts[{index}]")
        if prefix is not None and prefix != "":
            check_prompt(prefix, (str,), "score", f"prefixes[{index}]")
        encode = self.tokenizer.backend_tokenizer.encode
        head = encode(prefix).ids if prefix else []
        tail = encode(text, add_special_tokens=False).ids
        head = head or self.begin
        excess = len(head) + len(tail) - self.context
        if excess > 0:
            raise ContextOverflow(
                f"texts[{index}] has {len(tail)} tokens after {len(head)} of its prefix, {excess} more than the context of "
                f"{self.context} holds; split it, or use the evaluator, which reads long texts in windows",
                excess=excess,
                field="texts",
            )
        return head, tail

    @torch.inference_mode()
    def _scores(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[TokenScores]:
        joined = [head + tail for head, tail in rows]
        inputs = torch.zeros(len(joined), max(map(len, joined)), dtype=torch.int64)
        for filled, row in zip(inputs, joined, strict=True):
            filled[: len(row)] = torch.tensor(row)  # filled up on the right, where causal attention never looks
        logits = self.network(input_ids=inputs.to(self.device), use_cache=False).logits
        scores = []
        for index, (head, tail) in enumerate(rows):
            predicted = logits[index, len(head) - 1 : len(head) + len(tail) - 1].float().log_softmax(-1)
            values = predicted.gather(1, torch.tensor(tail, device=predicted.device)[:, None])[:, 0].tolist()
            names = tuple(self.tokenizer.backend_tokenizer.decode([token]) for token in tail)
            scores.append(TokenScores(names, tuple(values)))
        return scores


class _Group:
    """Items that are decoded together; a row that is finished leaves the batch."""

    def __init__(self, model: GPT2, job: Job, samples: range, prompts: list[list[int]]) -> None:
        self.model = model
        self.options: Decoding = job.options
        self.prompts = prompts
        self.rows = [
            _Row(model, each, prompt, self.options.stop) for each, prompt in zip(samples, prompts, strict=True)
        ]
        self.finished = False
        seeds = job.seeds
        self._sampler = Sampler(self.options, prompts, [seeds[each] for each in samples], model.ends)

    def steps(self) -> Iterator[list[Text]]:
        """The chunks of each decoding step."""
        what = f"decoding {len(self.rows)} texts at once"
        engine = engine_for(self.model.network)
        logits = self._guarded(what, lambda: engine.prefill(self.prompts, self.options.max_new_tokens))
        for made in range(1, self.options.max_new_tokens + 1):
            tokens = self._choose(logits)
            last = made == self.options.max_new_tokens
            chunks = [
                chunk for row, token in zip(self.rows, tokens.tolist(), strict=True) for chunk in row.add(token, last)
            ]
            going = [index for index, row in enumerate(self.rows) if not row.done]
            self.finished = not going
            yield chunks
            if not going:
                return
            if len(going) < len(self.rows):
                self.rows = [self.rows[index] for index in going]
                tokens = tokens[going]
                self._sampler.keep(going)
                engine.keep(torch.tensor(going))
            logits = self._guarded(what, lambda tokens=tokens: engine.step(tokens))

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        try:
            return self._sampler.choose(logits)
        except ArithmeticError as error:
            sample = self.rows[error.args[0]].sample
            raise AigcError(
                f"the model computed NaN or infinity for sample {sample}; its weights are damaged, or {self.model.dtype} "
                "is too narrow for it: try dtype='float32'"
            ) from error

    @staticmethod
    def _guarded(what: str, work: Any) -> torch.Tensor:
        with runtime.memory_errors(what, "ask for fewer samples at a time or fewer tokens"):
            return work()  # type: ignore[no-any-return]


class _Row:
    """One item while it grows."""

    def __init__(self, model: GPT2, sample: int, prompt: list[int], stop: Sequence[str]) -> None:
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
