"""The generator: fills masks, suggests words, and embeds texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field

from aigc_sdk.adapters.beside import AdaptableGenerator
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import ContextOverflow, InputError, NotOffered, PromptError
from aigc_sdk.protocols import Device, DType, Job, Options, OptionsClass, Source, Step

from .adapted import Adapted
from .data import checked_text
from .encode import Encoded, TooLong, encode
from .folders import DEFAULT
from .heads import head_of, logits
from .judge import embedded
from .masking import mask_id
from .packed import BUDGET, Packed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Filling(Options):
    """How masks are filled."""

    temperature: float = Field(1.0, gt=0, le=100, description="below 1 the likeliest tokens become likelier")
    top_k: int | None = Field(None, ge=1, description="choose among so many of the likeliest tokens; None: all")
    top_p: float | None = Field(
        None, gt=0, le=1, description="choose among the likeliest tokens that have this probability together; None: all"
    )
    greedy: bool = Field(False, description="take the likeliest token, whatever the seed")


class Suggestion(NamedTuple):
    """A token for a mask, and its probability."""

    text: str
    probability: float


class BERT(Adapted, AdaptableGenerator[Text]):
    """An encoder with a masked-language-model head; without one it embeds texts.

        model = aigc_sdk.load("bert")
        [text] = model.generate("In the [MASK] God created the heaven.")
        model.suggest("In the [MASK] God created the heaven.")     # the likeliest tokens
        model.similarity(["a king", "a queen"], ["a ruler"])       # (2, 1) cosines

    A prompt has at least one mask, `model.mask`. Masks are filled one after the other, the surest first, each in sight of
    those before it. network: a transformers encoder. tokenizer: a fast tokenizer.
    """

    Options: ClassVar[OptionsClass] = Filling
    prompt_types = (str,)
    owns_randomness = True

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        dtype: "float32" or "bfloat16", to compute in. Raises FolderError, DeviceError or OptionError.
        """
        return cls._open(source, DEFAULT, device, dtype, revision)

    @property
    def mask(self) -> str:
        """What stands in a prompt for what is to be filled in."""
        self._fills()
        return str(self.tokenizer.mask_token)

    def check(self, job: Job) -> None:
        """Refuse prompts without a mask, and those that do not fit the context."""
        self._rows(job.prompts)

    def run(self, job: Job) -> Iterator[Text]:
        """Fill all items, some at a time."""
        rows, seeds = self._rows(job.prompts), job.seeds
        items = [rows[index // job.n] for index in range(len(job))]
        done = 0
        for start, stop in _groups(items):
            for index, ids in enumerate(self._filled(items[start:stop], seeds[start:stop], job.options), start):
                prompt = job.prompts[index // job.n]
                yield Text(self._text(prompt, items[index], ids), sample=index)
            done = stop
            job.on_step(Step(done, len(items)))

    def suggest(self, text: str, k: int = 5) -> list[list[Suggestion]]:
        """The `k` likeliest tokens for each mask of `text`, in the order of the masks."""
        if not 1 <= k <= self.network.config.vocab_size:
            raise InputError(f"k={k}: ask for 1 to {self.network.config.vocab_size} tokens", field="k")
        [row] = self._rows([text])
        packed = Packed.of([row.row], self.device)
        with torch.inference_mode():
            said = logits(self.network, packed, chosen=torch.tensor(self._masks(row), device=self.device))
            chances, tokens = said.float().softmax(-1).topk(k)
        return [
            [Suggestion(self._word(token), chance) for token, chance in zip(some, values, strict=True)]
            for some, values in zip(tokens.tolist(), chances.tolist(), strict=True)
        ]

    def embed(
        self, texts: Iterable[str], *, normalise: bool = True, too_long: TooLong = "refuse"
    ) -> NDArray[np.float32]:
        """The mean of each text's last hidden states, of length 1 if normalised: float32, (texts, width)."""
        if isinstance(texts, str):
            raise InputError("texts is one text; pass a list of them", field="texts")
        given = [checked_text(text, f"texts[{index}]", "texts") for index, text in enumerate(texts)]
        rows = encode(self.tokenizer, given, [None] * len(given), self.context, too_long)
        return embedded(self.network, rows, len(given), normalise=normalise)

    def similarity(self, texts: Iterable[str], others: Iterable[str]) -> NDArray[np.float32]:
        """The cosine between the embeddings of each text and each other: float32, (texts, others)."""
        return self.embed(texts) @ self.embed(others).T

    def _fills(self) -> None:
        if head_of(self.network) != "masked":
            kind = type(self.network).__name__
            raise NotOffered(
                f"this model is a {kind}, which fills no masks; it embeds texts, and a judge is opened by "
                "aigc_sdk.evaluator('bert', source)"
            )

    def _rows(self, prompts: Iterable[str]) -> list[Encoded]:
        self._fills()
        given = list(prompts)
        for index, prompt in enumerate(given):
            if self.mask not in prompt:
                shown = f"prompt[{index}]" if len(given) > 1 else "prompt"
                raise PromptError(
                    f"{shown} holds no {self.mask}; put one where a word is to be filled in", field="prompt"
                )
            if len(prompt) > 64 * self.context:  # far more characters than tokens can hold, and slow to count
                raise ContextOverflow(
                    f"the prompt has {len(prompt):,} characters; the model reads {self.context} tokens",
                    excess=len(prompt),
                )
        return encode(self.tokenizer, given, [None] * len(given), self.context, name="prompt")

    def _masks(self, row: Encoded) -> list[int]:
        hidden = mask_id(self.tokenizer)
        return [place for place, token in enumerate(row.row.ids) if token == hidden]

    def _filled(self, rows: list[Encoded], seeds: list[int], options: Filling) -> list[list[int]]:
        """The tokens of each row with its masks filled, one mask of every row at a time."""
        packed = Packed.of([row.row for row in rows], self.device)
        ids, starts = packed.ids.clone(), packed.starts.tolist()
        rngs = [np.random.default_rng(seed) for seed in seeds]
        open_masks = [[start + place for place in self._masks(row)] for start, row in zip(starts, rows, strict=True)]
        special = sorted(set(self.tokenizer.all_special_ids))
        while any(open_masks):
            places = [place for some in open_masks for place in some]
            with torch.inference_mode():
                said = logits(self.network, packed.with_ids(ids), chosen=torch.tensor(places, device=self.device))
                said[:, special] = -torch.inf  # a text is made of words
                chances = (said.double() / options.temperature).softmax(-1).cpu().numpy()
            at = 0
            for some, rng in zip(open_masks, rngs, strict=True):
                if not some:
                    continue
                own = chances[at : at + len(some)]
                at += len(some)
                surest = int(own.max(-1).round(6).argmax())  # rounding of batches must not decide which comes first
                ids[some.pop(surest)] = _drawn(own[surest], rng, options)
        return [row.tolist() for row in torch.split(ids, list(packed.lengths))]

    def _text(self, prompt: str, row: Encoded, ids: list[int]) -> str:
        """The prompt with the words in place of its masks; everything else stays as it was written."""
        found, kept = [], 0
        for place in self._masks(row):
            start, stop = row.offsets[place]
            word = self._word(ids[place])
            before = prompt[kept:start]
            if word.startswith("##"):  # goes on with the word before it
                word, before = word[2:], before.rstrip(" ")
            found += [before, word]
            kept = stop
        return "".join([*found, prompt[kept:]])

    def _word(self, token: int) -> str:
        text = str(self.tokenizer.convert_ids_to_tokens(token))
        if text.startswith("##"):
            return text
        return str(self.tokenizer.backend_tokenizer.decode([token])).strip() or text


def _groups(rows: list[Encoded]) -> Iterator[tuple[int, int]]:
    """Consecutive rows that are filled together."""
    start = tokens = 0
    for index, row in enumerate(rows):
        if index > start and tokens + len(row) > BUDGET:
            yield start, index
            start, tokens = index, 0
        tokens += len(row)
    yield start, len(rows)


def _drawn(chances: NDArray[np.float64], rng: np.random.Generator, options: Filling) -> int:
    """One token by its probability, among those that the options leave."""
    if options.greedy:
        return int(chances.argmax())
    order = np.argsort(-chances, kind="stable")
    if options.top_k is not None:
        order = order[: options.top_k]
    left = chances[order]
    if options.top_p is not None:
        before = np.cumsum(left) - left
        order = order[before < options.top_p * left.sum()]
        left = chances[order]
    ends = np.cumsum(left)
    return int(order[min(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")), len(order) - 1)])
