"""How well a language model predicts texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aigc_sdk.errors import DataError, InputError, printable

from .accumulate import KEPT, Array, Figure, Summed, ratio
from .text_batch import TextBatch


class Likelihood(Summed):
    """Perplexity per token and bits per byte of texts under a model that can score.

    scorer: anything with `score(texts)` that returns for each text an object whose `logprobs` are the natural logarithms of
    its tokens' probabilities, such as `aigc_sdk.load("gpt2")`. Each text is scored by itself and whole: one that does not
    fit the model's context is refused by the model. Bits per byte compares models with different tokenizers; perplexity
    does not. An empty text counts for nothing.
    """

    name = "perplexity"
    batch = TextBatch
    size = 3

    def __init__(self, scorer: Any, keep: int = KEPT) -> None:
        if not callable(getattr(scorer, "score", None)):
            message = f"scorer is a {type(scorer).__name__}, which has no score(texts); pass a model that can score"
            raise InputError(message, field="scorer")
        super().__init__(keep)
        self.scorer = scorer
        self.protocol = f"scored by {describe(scorer)}; each text by itself, whole; sums over all texts"

    def measure(self, batch: Any) -> Array:
        """[nats, tokens, bytes] of each text."""
        filled = [text for text in batch.samples if text]
        found = list(self.scorer.score(filled)) if filled else []
        if len(found) != len(filled):
            message = f"{type(self.scorer).__name__}.score returned {len(found)} scores for {len(filled)} texts"
            raise InputError(f"{message}; it returns one each", field="scorer")
        scores = iter(found)
        return np.array([self._one(text, next(scores)) if text else [0.0] * 3 for text in batch.samples])

    def figures(self) -> dict[str, Figure]:
        """Both are better the lower they are."""
        needs = "a text that is not empty, and a model that holds it for possible"
        return {
            "perplexity": Figure(perplexity, f"exp of nats per token, {self.protocol}", False, needs),
            "bits_per_byte": Figure(bits_per_byte, f"bits per byte of UTF-8, {self.protocol}", False, needs),
        }

    def _one(self, text: str, score: Any) -> list[float]:
        logprobs = np.asarray(score.logprobs, np.float64)
        if np.isnan(logprobs).any() or (logprobs > 1e-6).any():
            raise DataError(f"the scorer's logprobs of {printable(text, 40)!r} are no logarithms of probabilities")
        return [-float(logprobs.sum()), len(logprobs), len(text.encode())]


def describe(model: Any) -> str:
    """A model's backend, source and the beginning of its weights' digest, as far as it tells them."""
    names = [getattr(model, "backend", "") or type(model).__name__, str(getattr(model, "source", "") or "")]
    fingerprint = getattr(model, "fingerprint", None)
    digest = fingerprint() if callable(fingerprint) else ""
    return " ".join(each for each in [*names, f"({digest[:12]})" if digest else ""] if each)


def perplexity(sums: Array) -> Array:
    """exp of the mean nats per token; infinite where a float cannot hold it."""
    with np.errstate(over="ignore"):
        return np.exp(ratio(sums, 0, 1))


def bits_per_byte(sums: Array) -> Array:
    """Bits per byte of UTF-8."""
    return ratio(sums, 0, 2, 1 / math.log(2))
