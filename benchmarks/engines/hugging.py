"""transformers' own `generate`: prompts are filled up on the left, and every row goes on as long as the longest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Transformers:
    """One network as it is."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def generate(self, prompts: Sequence[Sequence[int]], wants: Sequence[int]) -> list[list[int]]:
        """One call for all."""
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        device = self._network.device
        made = self._network.generate(
            ids.to(device), attention_mask=mask.to(device), max_new_tokens=max(wants), do_sample=False, pad_token_id=0
        )
        return [row[longest : longest + want].tolist() for row, want in zip(made, wants, strict=True)]
