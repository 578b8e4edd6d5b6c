"""From logits to the next token. Every row draws from a random stream of its own, so a batch changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .model import Decoding


class Sampler:
    """Chooses the next token of each row; `seen` marks the tokens that a row holds already.

    The order is that of Hugging Face's generate: repetition penalty, minimum length, temperature, top-k, top-p, min-p.
    """

    def __init__(self, options: Decoding, prompts: list[list[int]], seeds: list[int], ends: frozenset[int]) -> None:
        self.options = options
        self.ends = sorted(ends)
        self.rngs = [torch.Generator().manual_seed(seed) for seed in seeds] if options.temperature else []
        self.prompts = prompts
        self.made = 0
        self._seen: torch.Tensor | None = None

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token of every row: logits (rows x vocabulary) -> int64 (rows), on the CPU.

        Raises ArithmeticError with the row when its logits are NaN.
        """
        scores = logits.float()
        _refuse_nan(scores)
        options = self.options
        if options.repetition_penalty != 1:
            scores = self._penalised(scores)
        if self.made < options.min_new_tokens and self.ends:
            scores = scores.index_fill(1, torch.tensor(self.ends, device=scores.device), -torch.inf)
        tokens = self._drawn(scores) if options.temperature else scores.argmax(-1).cpu()
        self.made += 1
        if self._seen is not None:
            self._seen.scatter_(1, tokens.to(self._seen.device)[:, None], True)
        return tokens

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows alone."""
        self.rngs = [self.rngs[row] for row in rows] if self.rngs else []
        self.prompts = [self.prompts[row] for row in rows]
        if self._seen is not None:
            self._seen = self._seen[rows]

    def _penalised(self, scores: torch.Tensor) -> torch.Tensor:
        """Tokens that are there already are made less likely (Keskar et al. 2019, CTRL)."""
        if self._seen is None:
            self._seen = torch.zeros_like(scores, dtype=torch.bool)
            for row, prompt in zip(self._seen, self.prompts, strict=True):
                row[torch.tensor(prompt, device=row.device)] = True
        penalty = self.options.repetition_penalty
        return torch.where(self._seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)

    def _drawn(self, scores: torch.Tensor) -> torch.Tensor:
        ordered, tokens = (scores.cpu() / self.options.temperature).sort(dim=-1, descending=True, stable=True)
        probabilities = _kept(ordered, self.options).double()
        points = torch.stack([torch.rand((), generator=rng, dtype=torch.float64) for rng in self.rngs])
        summed = probabilities.cumsum(-1)
        places = torch.searchsorted(summed, (points * summed[:, -1])[:, None], right=True)
        last = (probabilities > 0).sum(-1, keepdim=True) - 1  # a point rounded up to the sum itself
        return tokens.gather(1, places.minimum(last)).squeeze(1)


def _kept(ordered: torch.Tensor, options: Decoding) -> torch.Tensor:
    """The probabilities of descending scores, those that are filtered out being 0; the first always stays.

    top-k: Fan et al. 2018; top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2025.
    """
    if options.top_k:
        ordered = ordered[:, : options.top_k]
    probabilities = ordered.softmax(-1)
    if options.top_p < 1:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= options.top_p, 0)
        probabilities[:, 0] = ordered.softmax(-1)[:, 0]
    if options.min_p:
        probabilities = probabilities.masked_fill(probabilities < options.min_p * probabilities[:, :1], 0)
    return probabilities


def _refuse_nan(scores: torch.Tensor) -> None:
    highest = scores.amax(-1)
    broken = ~torch.isfinite(highest)
    if bool(broken.any()):
        raise ArithmeticError(int(broken.nonzero()[0]))
