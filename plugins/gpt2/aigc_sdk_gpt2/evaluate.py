"""How well a language model predicts texts: perplexity and bits per byte, by sliding windows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from aigc_sdk.artifacts import Text
from aigc_sdk.calls import check_text
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.judges import ModelEvaluator
from aigc_sdk.protocols import Exam, Options, OptionsClass, Report, Score, Step
from aigc_sdk.statistics import bootstrap
from aigc_sdk.weights import token_ids

from .model import GPT2
from .score import logprobs

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTEXT_LIMIT = 1024  # tokens; the default window of models whose context is longer


class Windows(Options):
    """How texts are read."""

    context: int | None = Field(
        None, ge=2, description="tokens that the model sees at a time; None: its context, at most 1,024"
    )
    stride: int | None = Field(
        None, ge=1, description="tokens scored per window; smaller is slower and gives more context; None: half"
    )
    batch_size: int = Field(16, ge=1, le=4096, description="windows at a time, at most")
    bootstrap: int = Field(0, ge=0, le=100_000, description="resamplings of the samples for the intervals; 0: none")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the resamplings")


@dataclass(frozen=True)
class Window:
    """The model sees `tokens[start:stop]` of a sample, and is scored on predicting `tokens[scored + 1 : stop + 1]`."""

    sample: int
    start: int
    scored: int
    stop: int


class Perplexity(ModelEvaluator[GPT2]):
    """Perplexity per token and bits per byte of texts under a language model.

        report = aigc_sdk.evaluator("gpt2", "runs/mine").evaluate([text])
        report["bits_per_byte"].value

    Each text is read on its own, after an end-of-text token, so that its first token is predicted as well. Windows of
    `context` tokens overlap: each scores its last `stride` tokens, which so have at least `context - stride` tokens
    before them, except at a text's beginning. Bits per byte compares models with different tokenizers; perplexity does
    not. An empty text has a row without figures, and counts for nothing.
    """

    Options: ClassVar[OptionsClass] = Windows
    Model = GPT2

    def run(self, exam: Exam) -> Report:
        texts = [_text(sample, index) for index, sample in enumerate(exam.samples)]
        if not any(texts):
            raise DataError("every sample is an empty text; pass at least one that is not", field="samples")
        context, stride = self._sizes(exam.options)
        # Nothing is dropped when a model is judged.
        self.model.network.eval()  # type: ignore[no-untyped-call]
        tokens = self._tokens(texts)
        windows = [each for index, row in enumerate(tokens) for each in _windows(index, len(row), context, stride)]
        nats = np.zeros(len(texts))
        size = exam.options.batch_size
        for done in range(0, len(windows), size):
            some = windows[done : done + size]
            for window, value in zip(some, self._score(some, tokens), strict=True):
                nats[window.sample] += value
            exam.on_step(Step(min(done + size, len(windows)), len(windows)))
        counts = np.array([len(row) - 1 for row in tokens])
        sizes = np.array([len(text.encode()) for text in texts])
        return self._report(exam.options, context, stride, nats, counts, sizes)

    def _sizes(self, options: Windows) -> tuple[int, int]:
        longest = self.model.context
        context = options.context or min(longest, CONTEXT_LIMIT)
        if context > longest:
            raise OptionError(f"context={context}: the model reads at most {longest} tokens", field="context")
        stride = options.stride or max(1, context // 2)
        if stride > context:
            raise OptionError(f"stride={stride} is more than the context of {context} tokens", field="stride")
        return context, stride

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return [self.model.begin + row for row in token_ids(self.model.tokenizer, texts)]

    def _score(self, windows: Sequence[Window], tokens: list[list[int]]) -> list[float]:
        """The nats of each window's scored tokens."""
        rows = [(tokens[each.sample][each.start : each.stop + 1], each.scored - each.start + 1) for each in windows]
        return [-float(found.sum(dtype=torch.float64)) for found in logprobs(self.model.network, rows)]

    def _report(
        self,
        options: Windows,
        context: int,
        stride: int,
        nats: NDArray[np.float64],
        counts: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> Report:
        rows = [
            {
                "nats": float(nat) if size else None,
                "tokens": int(count),
                "bytes": int(size),
                "perplexity": perplexity(nat, count) if size else None,
                "bits_per_byte": bits(nat, size) if size else None,
            }
            for nat, count, size in zip(nats, counts, sizes, strict=True)
        ]
        used = sizes > 0
        nats, counts, sizes = nats[used], counts[used], sizes[used]
        protocol = (
            f"context {context}, stride {stride}, first token after {self._first()}, {self._tokenizer()}, "
            f"{counts.sum():,} tokens, {sizes.sum():,} bytes, {self.model.dtype}"
        )
        resampled = options.bootstrap > 0 and len(nats) > 1
        if resampled:
            protocol += f"; 95 % interval of {options.bootstrap:,} bootstrap resamplings of the samples"
        scores = {}
        for name, figure, units in (("perplexity", perplexity, counts), ("bits_per_byte", bits, sizes)):

            def over(taken: Any, figure: Any = figure, units: Any = units) -> float:
                return float(figure(nats[taken].sum(), units[taken].sum()))

            scores[name] = Score(
                value=over(slice(None)),
                n=len(nats),
                protocol=protocol,
                higher_is_better=False,
                interval=bootstrap(over, len(nats), options.bootstrap, options.seed),
            )
        return Report(scores, rows)

    def _first(self) -> str:
        return str(self.model.tokenizer.convert_ids_to_tokens(self.model.begin)[0])

    def _tokenizer(self) -> str:
        digest = hashlib.sha256(self.model.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
        return f"tokenizer of {len(self.model.tokenizer):,} tokens (sha256 {digest[:12]})"


def perplexity(nats: float, tokens: float) -> float:
    """exp of the mean nats per token; infinite where a float cannot hold it."""
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


def bits(nats: float, size: float) -> float:
    """Bits per byte of UTF-8."""
    return float(nats / math.log(2) / size)


def _text(sample: Any, index: int) -> str:
    if not isinstance(sample, Text):
        raise DataError(f"samples[{index}] is a {type(sample).__name__}; perplexity is of Text", field="samples")
    check_text(sample.text, f"samples[{index}]", "samples")
    return sample.text


def _windows(sample: int, length: int, context: int, stride: int) -> Iterator[Window]:
    """The windows over a sample of `length` tokens, the first token being given; every other is scored once."""
    scored, stop = 0, min(context, length - 1)
    while scored < length - 1:
        yield Window(sample, max(0, stop - context), scored, stop)
        scored, stop = stop, min(stop + stride, length - 1)
