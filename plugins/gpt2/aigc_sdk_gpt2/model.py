"""The generator: GPT-2 and other decoder-only models in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from aigc_sdk import folder, runtime
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import ContextOverflow, InputError, OptionError, PromptError
from aigc_sdk.protocols import Device, DType, Generator, Job, OptionsClass, Source, Step
from aigc_sdk.weights import load_tokenizer, load_transformers, quiet

from .data import token_ids
from .decode import Decoding, decode
from .engine import cache_bytes
from .score import TokenScores, logprobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DEFAULT = Path(__file__).parent / "default"
CACHE_LIMIT = 1 << 30  # bytes of keys and values at a time; larger jobs are decoded in groups
GROUP_LIMIT = 256  # rows; more make no CPU or GPU faster at this size, and logits take rows x vocabulary x 4 bytes


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
        rows, seeds = [prompts[index // job.n] for index in range(len(job))], job.seeds
        groups, most = list(self._groups(rows, job.options.max_new_tokens)), job.options.max_new_tokens
        for number, (start, stop) in enumerate(groups):
            done = number * most
            for chunks in decode(self, job.options, range(start, stop), rows[start:stop], seeds[start:stop]):
                done += 1
                job.on_step(Step(done, len(groups) * most))
                yield from chunks
            if done < (number + 1) * most:  # every text of the group has ended by itself
                job.on_step(Step((number + 1) * most, len(groups) * most))

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
        found = logprobs(self.network, [(head + tail, len(head)) for head, tail in rows])
        decode_one = self.tokenizer.backend_tokenizer.decode
        return [
            TokenScores(tuple(decode_one([token]) for token in tail), tuple(values.tolist()))
            for (_, tail), values in zip(rows, found, strict=True)
        ]

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
        encoded = iter(token_ids(self.tokenizer, given, special=True))
        rows = [self.begin if each is None else next(encoded) or self.begin for each in job.prompts]
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
        head = token_ids(self.tokenizer, [prefix], special=True)[0] if prefix else []
        [tail] = token_ids(self.tokenizer, [text])
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
