"""The generator: GPT-2 and other decoder-only models in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from aigc_sdk import folder, runtime
from aigc_sdk.adapters.beside import AdaptableGenerator, opened_base
from aigc_sdk.adapters.files import is_adapter
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import ContextOverflow, InputError, OptionError, PromptError
from aigc_sdk.protocols import Device, DType, Job, OptionsClass, Source, Step
from aigc_sdk.weights import load_tokenizer, load_transformers, token_ids

from .decode import Decoding, decode
from .engine import cache_bytes
from .score import TokenScores, logprobs

DEFAULT = Path(__file__).parent / "default"
CACHE_LIMIT = 1 << 30  # bytes of keys and values at a time; larger jobs are decoded in groups
GROUP_LIMIT = 256  # rows; more make no CPU or GPU faster at this size, and logits take rows x vocabulary x 4 bytes


class GPT2(AdaptableGenerator[Text]):
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
    _tokenised: tuple[Job, list[list[int]]] | None = None

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        An adapter's folder opens the model that it was trained beside, with the adapter in use.
        dtype: "float32" or "bfloat16", to compute in. Raises FolderError, DeviceError or OptionError.
        """
        kind, place = runtime.dtype(dtype), runtime.device(device)
        default = source is None or source == "default"
        opened = folder.read(DEFAULT if default or source is None else source, backend="gpt2", revision=revision)
        if is_adapter(opened):
            return cls._open_adapter(opened, device, dtype)
        from transformers import AutoModelForCausalLM

        tokenizer = load_tokenizer(opened)
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model or dtype='bfloat16'"):
            network: Any = load_transformers(opened, AutoModelForCausalLM)
            network.to(device=place, dtype=kind)
        if opened.has("generation_config.json"):
            ends = opened.config("generation_config.json").get("eos_token_id")
            network.generation_config.eos_token_id = ends
        return cls(network, tokenizer, device=place, dtype=dtype, source="" if default else opened.source)

    @classmethod
    def _open_adapter(cls, opened: folder.Folder, device: Device, dtype: DType) -> Self:
        model = opened_base(opened, lambda base: cls.open(base or None, device=device, dtype=dtype))
        model.use_adapter(model.add_adapter(opened))
        return model

    @property
    def context(self) -> int:
        """The longest sequence that the model can hold, in tokens, with the adapter that is in use."""
        return self._context(self.adapter)

    def check(self, job: Job) -> None:
        """Refuse prompts that leave no room for `max_new_tokens`, and adapters that are not there."""
        self._tokenised = (job, self._prompts(job))

    def run(self, job: Job) -> Iterator[Text]:
        """Decode all items, a group at a time."""
        kept, self._tokenised = self._tokenised, None
        prompts = kept[1] if kept is not None and kept[0].prompts is job.prompts else self._prompts(job)
        rows, seeds = [prompts[index // job.n] for index in range(len(job))], job.seeds
        names = [each for each in self._adapters(job) for _ in range(job.n)]
        groups, most = list(self._groups(rows, job.options.max_new_tokens)), job.options.max_new_tokens
        for number, (start, stop) in enumerate(groups):
            done, part = number * most, slice(start, stop)
            for chunks in decode(self, job.options, range(start, stop), rows[part], seeds[part], names[part]):
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
        rooms = [self._context(each) - options.max_new_tokens for each in self._adapters(job)]
        if min(rooms) < 1:
            raise OptionError(
                f"gpt2 option max_new_tokens={options.max_new_tokens}: the model's context holds "
                f"{min(rooms) + options.max_new_tokens} tokens, the prompt included",
                field="max_new_tokens",
            )
        given = [each for each in job.prompts if each is not None]
        encoded = iter(token_ids(self.tokenizer, given, special=True))
        rows = [self.begin if each is None else next(encoded) or self.begin for each in job.prompts]
        for index, (row, room) in enumerate(zip(rows, rooms, strict=True)):
            if len(row) > room and options.truncate == "error":
                name = f"prompt[{index}]" if len(rows) > 1 else "prompt"
                raise ContextOverflow(
                    f"{name} has {len(row)} tokens; with max_new_tokens={options.max_new_tokens} that is "
                    f"{len(row) - room} more than the context of {room + options.max_new_tokens} holds. Shorten it, ask for "
                    "fewer new tokens, or pass truncate='left' to drop its beginning",
                    excess=len(row) - room,
                )
        return [row[-room:] for row, room in zip(rows, rooms, strict=True)]

    def _adapters(self, job: Job) -> list[str | None]:
        """The adapter of each prompt."""
        given = job.options.adapter
        if given is None:
            given = self.adapter
        names = list(given) if isinstance(given, tuple) else [given] * len(job.prompts)
        if len(names) != len(job.prompts):
            raise OptionError(
                f"gpt2 option adapter: {len(names)} names for {len(job.prompts)} prompts; give one for all, or one each",
                field="adapter",
            )
        for name in {*names} - {None}:
            self.adapters[name]
        return names

    def _context(self, adapter: str | None) -> int:
        return int(self.network.config.max_position_embeddings) - self.adapters.tokens(adapter)

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
