"""From logits to the next token. Every row draws from a random stream of its own, so a batch changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from aigc_sdk import runtime

if TYPE_CHECKING:
    from .decode import Decoding

NUCLEUS = 256  # tokens among which the nucleus is looked for first: sorting a whole vocabulary takes milliseconds


class NotFinite(ArithmeticError):
    """The logits of `row` are NaN or infinite."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class Sampler:
    """Chooses the next token of each row.

    The order is that of Hugging Face's generate: repetition penalty, minimum length, temperature, top-k, top-p, min-p.
    A token is drawn by one uniform number per row, looked up in the summed probabilities in the vocabulary's order:
    so that neither ties nor rounding in the order of likelihood change it.
    """

    def __init__(
        self, options: Decoding, prompts: Sequence[Sequence[int]], seeds: Sequence[int], ends: frozenset[int]
    ) -> None:
        self.options = options
        self.ends = sorted(ends)
        self.made = 0
        self._rngs = [runtime.rng(seed) for seed in seeds] if options.temperature else []
        self._prompts = prompts
        self._seen: torch.Tensor | None = None  # which tokens each row holds already: rows x vocabulary

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token of every row: logits (rows x vocabulary) -> int64 (rows), on the CPU. Raises NotFinite."""
        options, scores = self.options, logits.float()
        if options.repetition_penalty != 1:
            scores = self._penalised(scores)
        if self.made < options.min_new_tokens and self.ends:
            scores = scores.index_fill(1, torch.tensor(self.ends, device=scores.device), -torch.inf)
        highest, tokens = scores.max(-1)
        _refuse(highest)
        if options.temperature:
            weights = ((scores - highest[:, None]) / options.temperature).exp_()
            tokens = self._drawn(kept(weights, options.top_k, options.top_p, options.min_p), tokens)
        self.made += 1
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        return tokens.cpu()

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order."""
        self._rngs = [self._rngs[row] for row in rows] if self._rngs else []
        if self._seen is not None:
            self._seen = self._seen[list(rows)]

    def _penalised(self, scores: torch.Tensor) -> torch.Tensor:
        """Tokens that are there already are made less likely (Keskar et al. 2019, CTRL)."""
        if self._seen is None:
            self._seen = torch.zeros_like(scores, dtype=torch.bool)
            for row, prompt in zip(self._seen, self._prompts, strict=True):
                row[torch.tensor(prompt, device=row.device)] = True
        penalty = self.options.repetition_penalty
        return torch.where(self._seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)

    def _drawn(self, weights: torch.Tensor, likeliest: torch.Tensor) -> torch.Tensor:
        drawn = torch.cat([torch.rand(1, generator=rng, dtype=torch.float64) for rng in self._rngs])
        summed = weights.cumsum(-1, dtype=torch.float64)
        points = drawn.to(summed.device)[:, None] * summed[:, -1:]
        tokens = torch.searchsorted(summed, points, right=True)[:, 0]
        return torch.where(tokens < weights.shape[1], tokens, likeliest)  # a point may round up to the sum itself


def kept(weights: torch.Tensor, top_k: int, top_p: float, min_p: float) -> torch.Tensor:
    """`weights` with 0 for the tokens that are filtered out; tokens that weigh the same stay or go together.

    weights: rows x vocabulary, probabilities in units of the likeliest token's, which therefore has 1.
    top-k: Fan et al. 2018; top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2025.
    """
    if 0 < top_k < weights.shape[1]:
        weights = _from(weights, weights.topk(top_k).values[:, -1:])
    if top_p < 1:
        weights = _from(weights, _nucleus(weights, top_p))
    return _from(weights, min_p) if min_p else weights


def _from(weights: torch.Tensor, least: torch.Tensor | float) -> torch.Tensor:
    return torch.where(weights >= least, weights, 0)


def _nucleus(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """The weight of the last of those likeliest tokens that together reach `top_p`: rows x 1."""
    goal = top_p * weights.sum(-1, keepdim=True, dtype=torch.float64)
    size = NUCLEUS
    while True:
        size = min(size, weights.shape[1])
        values = weights.topk(size).values
        short = values.cumsum(-1, dtype=torch.float64) < goal
        if size == weights.shape[1] or not bool(short[:, -1].any()):
            return values.gather(1, short.sum(-1, keepdim=True).clamp(max=size - 1))
        size *= 16


def _refuse(highest: torch.Tensor) -> None:
    finite = torch.isfinite(highest)
    if not bool(finite.all()):
        raise NotFinite(int((~finite).nonzero()[0]))
