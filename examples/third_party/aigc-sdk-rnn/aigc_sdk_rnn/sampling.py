"""From logits to the next token."""

from __future__ import annotations

import torch

from aigc_sdk import runtime


class Sampler:
    """Chooses the tokens of one item, from a random stream of its own.

    temperature 0 takes the likeliest token. top_k: draw from that many likeliest tokens, 0 from all. top_p: draw from the
    likeliest tokens whose probabilities reach this part together. Tokens as likely as the last of these stay as well.
    """

    def __init__(self, temperature: float, top_k: int, top_p: float, seed: int) -> None:
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p
        self._rng = runtime.rng(seed)

    def choose(self, logits: torch.Tensor) -> int:
        """The next token: logits (vocabulary), on the CPU; -inf for what cannot be."""
        if not self._temperature:
            return int(logits.argmax())
        chances = torch.softmax((logits.double() - logits.max()) / self._temperature, dim=0)
        return int(torch.multinomial(self._kept(chances), 1, generator=self._rng))

    def _kept(self, chances: torch.Tensor) -> torch.Tensor:
        """The chances, with 0 for the tokens that are filtered out; they need not add up to 1."""
        if 0 < self._top_k < len(chances):
            chances = _from(chances, chances.topk(self._top_k).values[-1])
        if self._top_p < 1:
            falling = chances.sort(descending=True).values
            short = falling.cumsum(0) < self._top_p * falling.sum()
            chances = _from(chances, falling[min(int(short.sum()), len(falling) - 1)])
        return chances


def _from(chances: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    return torch.where(chances >= least, chances, 0)
