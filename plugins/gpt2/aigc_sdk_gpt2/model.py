"""The generator: GPT-2 and other decoder-only models in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np

from aigc_sdk import folder, runtime
from aigc_sdk.adapters.beside import AdaptableGenerator, opened_base
from aigc_sdk.adapters.files import is_adapter
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import ContextOverflow, InputError, OptionError, PromptError
from aigc_sdk.protocols import Device, DType, Job, OptionsClass, Source
from aigc_sdk.weights import load_tokenizer, load_transformers, token_ids

from .chat import prompt_tokens, read_template
from .control.sampling import Sampler
from .decoding.beam import search
from .decoding.decode import decode
from .decoding.rows import Item
from .engines.engine import cache_bytes, described, engine_for, kind_of_engine
from .engines.precision import Packed
from .options import Decoding
from .score import TokenScores, hidden, logprobs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DEFAULT = Path(__file__).parent / "default"
ENDLESS = 1 << 31  # tokens: the context of models that keep a state of one size


class GPT2(AdaptableGenerator[Text]):
    """GPT-2, or another decoder-only language model.

        model = aigc_sdk.load("gpt2")                                # the model that this package brings
        model = aigc_sdk.load("gpt2", "distilbert/distilgpt2")       # a folder or a hub id

    The result is the continuation alone; `origin["prompt"]` holds the prompt. `info["finish_reason"]` is "end" (the model
    ended the text), "stop" (a stop string) or "length"; `info["tokens"]` counts the tokens. network: a transformers
    model with a language-modelling head. tokenizer: a fast tokenizer.
    """

    Options: ClassVar[OptionsClass] = Decoding
    prompt_types = (str, dict, type(None))
    owns_randomness = True
    backend = "gpt2"
    _checked: tuple[Job, list[Item]] | None = None

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        source: str = "",
    ) -> None:
        super().__init__(network, tokenizer, device=device, dtype=dtype, source=source)
        Packed.choose(network, "int8" if dtype == "int8" else "")

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        An adapter's folder opens the model that it was trained beside, with the adapter in use.
        dtype: what to compute in. "float32", "bfloat16"; "int8" multiplies by weights of eight bits, packed here, beside
        float32, which is what is saved; "auto" is the fastest of them that loses little on this processor, as `dtype` and
        every origin then say. Raises FolderError, DeviceError or OptionError.
        """
        place = runtime.device(device)
        dtype = cast("DType", runtime.precision(dtype, place))
        kind = runtime.dtype("float32" if dtype == "int8" else dtype)
        default = source is None or source == "default"
        opened = folder.read(DEFAULT if default or source is None else source, backend="gpt2", revision=revision)
        if is_adapter(opened):
            return cls._open_adapter(opened, device, dtype)
        from transformers import AutoModelForCausalLM

        tokenizer = load_tokenizer(opened)
        read_template(tokenizer, opened)
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model or dtype='bfloat16'"):
            network: Any = load_transformers(opened, AutoModelForCausalLM)
            network.to(device=place, dtype=kind)
        if opened.has("generation_config.json"):
            ends = opened.config("generation_config.json").get("eos_token_id")
            network.generation_config.eos_token_id = ends
        model = cls(network, tokenizer, device=place, dtype=dtype, source="" if default else opened.source)
        engine_for(network)  # packs the weights
        return model

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
        """Refuse prompts that leave no room for `max_new_tokens`, adapters that are not there, and drafts that cannot guess."""
        if job.n > job.options.num_beams > 1:
            raise OptionError(
                f"n={job.n} with num_beams={job.options.num_beams}: a search gives as many texts as it has beams, at most",
                field="n",
            )
        items = self._items(job)
        kind_of_engine(self.network, self._adapters(job), job.options.engine)  # refuses one that cannot be had
        Sampler(job.options, self.ends, self.tokenizer)  # refuses what this model's tokens cannot do
        self._check_memory(items, job.options)
        if job.options.speculate:
            self._check_speculation(items, job.options)
        self._checked = (job, items)

    def run(self, job: Job) -> Iterator[Text]:
        """Decode all items, as many at a time as `max_batch_size` and `cache_mb` allow; chunks come as they are made."""
        kept, self._checked = self._checked, None
        items = kept[1] if kept is not None and kept[0].prompts is job.prompts else self._items(job)
        loop = decode if job.options.num_beams == 1 else search
        return loop(self, job.options, items, job.on_step, per_place=self._per_place(job.options))

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

    def embed(self, texts: Iterable[str], pooling: Literal["mean", "last"] = "mean") -> NDArray[np.float32]:
        """One vector for each text: what the model's last norm gives for its tokens, as float32, texts x width.

        pooling: "mean" over the tokens of a text, or that of its "last" one, which has seen all. The vectors are not scaled
        to a length of 1; compare them by their cosine. The adapter in use has its part in them. Raises PromptError for a
        text that is empty, ContextOverflow for one that is too long, OptionError and InputError.
        """
        if pooling not in ("mean", "last"):
            raise OptionError(
                f"pooling={pooling!r}: take the 'mean' of a text's tokens, or the 'last' one", field="pooling"
            )
        given = [*texts] if not isinstance(texts, str) else [texts]
        rows = [self._embedded(text, index) for index, text in enumerate(given)]
        made = hidden(self.network, rows)
        pooled = [each.mean(0) if pooling == "mean" else each[-1] for each in made]
        width = int(self.network.config.hidden_size)
        return np.stack([each.numpy() for each in pooled]) if pooled else np.zeros((0, width), np.float32)

    def to(self, device: Device) -> Self:
        """Move the model to `device` and return it. Raises DeviceError, and OptionError for int8, which CPUs compute."""
        runtime.precision(self.dtype, runtime.device(device))
        return super().to(device)

    def identity(self, job: Job) -> dict[str, Any]:
        """The model's source, fingerprint and adapters, and the engine that computes."""
        kind = kind_of_engine(self.network, self._adapters(job), job.options.engine)
        return {**super().identity(job), "engine": described(kind)}

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

    def draft(self, source: str) -> GPT2:
        """The small model at `source`, opened once, that guesses for this one. Raises OptionError for other tokens."""
        known: dict[tuple[str, str, str], GPT2] = self.__dict__.setdefault("_drafts", {})
        key = (source, self.device, self.dtype)
        if key not in known:
            found = type(self).open(source, device=self.device, dtype=cast(DType, self.dtype))
            if found.tokenizer.get_vocab() != self.tokenizer.get_vocab():
                raise OptionError(
                    f"gpt2 option draft={source!r}: it has other tokens than this model ({len(found.tokenizer):,} and "
                    f"{len(self.tokenizer):,}); give a smaller model with the same tokenizer",
                    field="draft",
                )
            known[key] = found
        return known[key]

    def _items(self, job: Job) -> list[Item]:
        """What is wanted, item by item; several samples of one prompt share its tokens."""
        adapters, wants = self._adapters(job), self._wants(job)
        virtual = [self.adapters.tokens(each) for each in adapters]
        prompts = self._prompts(job, [self._context(each) - want for each, want in zip(adapters, wants, strict=True)])
        return [
            Item(index, prompts[at], wants[at], seed, adapters[at], virtual[at])
            for index, seed in enumerate(job.seeds)
            for at in (index // job.n,)
        ]

    def _wants(self, job: Job) -> list[int]:
        """How many tokens to make for each prompt, at most."""
        given = job.options.max_new_tokens
        wants = [given] * len(job.prompts) if isinstance(given, int) else list(given)
        if len(wants) != len(job.prompts):
            raise OptionError(
                f"gpt2 option max_new_tokens: {len(wants)} numbers for {len(job.prompts)} prompts; give one for all, or "
                "one each",
                field="max_new_tokens",
            )
        return wants

    def _prompts(self, job: Job, rooms: list[int]) -> list[list[int]]:
        """The tokens of each prompt, which may be as many as its room."""
        wants = self._wants(job)
        least = min(range(len(rooms)), key=lambda at: rooms[at])
        if rooms[least] < 1:
            raise OptionError(
                f"gpt2 option max_new_tokens={wants[least]}: the model's context holds {rooms[least] + wants[least]} tokens, "
                "the prompt included",
                field="max_new_tokens",
            )
        rows = [found or self.begin for found in prompt_tokens(self.tokenizer, job.prompts)]
        for index, (row, room, want) in enumerate(zip(rows, rooms, wants, strict=True)):
            if len(row) > room and job.options.truncate == "error":
                name = f"prompt[{index}]" if len(rows) > 1 else "prompt"
                raise ContextOverflow(
                    f"{name} has {len(row)} tokens; with max_new_tokens={want} that is {len(row) - room} more than the "
                    f"context of {room + want} holds. Shorten it, ask for fewer new tokens, or pass truncate='left' to "
                    "drop its beginning",
                    excess=len(row) - room,
                )
        return [row[-room:] for row, room in zip(rows, rooms, strict=True)]

    def _check_memory(self, items: list[Item], options: Decoding) -> None:
        """Refuse an item that `cache_mb` is too little for even alone."""
        needed = max(each.places for each in items) * self._per_place(options) * options.num_beams
        if needed > options.cache_mb << 20:
            raise OptionError(
                f"gpt2 option cache_mb={options.cache_mb}: the keys and values of the longest prompt and its new tokens "
                f"alone take {-(-needed >> 20):,} MiB; give as much, or ask for fewer tokens",
                field="cache_mb",
            )

    def _check_speculation(self, items: list[Item], options: Decoding) -> None:
        """Refuse guesses that cannot be taken back, and a draft whose context is too short."""
        if not kind_of_engine(self.network).rewinds:
            raise OptionError(
                f"gpt2 option speculate={options.speculate}: a {self.network.config.model_type!r} model cannot forget tokens "
                "that were guessed wrong; leave it out",
                field="speculate",
            )
        if options.draft is None:
            return
        longest, context = max(len(each.prompt) + each.want for each in items), self.draft(options.draft).context
        if longest > context:
            raise OptionError(
                f"gpt2 option draft={options.draft!r}: its context holds {context:,} tokens, and the longest prompt with its "
                f"new tokens has {longest:,}; ask for fewer, or leave it out",
                field="draft",
            )

    def _per_place(self, options: Decoding) -> int:
        """Bytes that the keys and values of one token take, those of the draft included."""
        drafts = () if options.draft is None else (self.draft(options.draft).network,)
        return sum(cache_bytes(each) for each in (self.network, *drafts))

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
        most = getattr(self.network.config, "max_position_embeddings", None) or ENDLESS
        return int(most) - self.adapters.tokens(adapter)

    def _embedded(self, text: Any, index: int) -> list[int]:
        from aigc_sdk.calls import check_prompt

        check_prompt(text, (str,), "embed", f"texts[{index}]")
        [row] = token_ids(self.tokenizer, [text], special=True)
        excess = len(row) - self.context
        if excess > 0:
            raise ContextOverflow(
                f"texts[{index}] has {len(row)} tokens, {excess} more than the context of {self.context} holds; split it",
                excess=excess,
                field="texts",
            )
        return row or self.begin

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
