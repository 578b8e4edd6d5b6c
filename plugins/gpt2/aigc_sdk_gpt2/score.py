"""How likely a model finds given tokens: the log-probabilities behind `score` and the evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGITS_LIMIT = 1 << 25  # floats of logits at a time: 128 MB


@dataclass(frozen=True)
class TokenScores:
    """How likely a model finds a text: natural logarithms of probabilities."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    """log p of each token, given everything before it."""

    @property
    def logprob(self) -> float:
        """log p of the whole text."""
        return sum(self.logprobs)


@torch.inference_mode()
def logprobs(network: PreTrainedModel, rows: Sequence[tuple[Sequence[int], int]]) -> list[torch.Tensor]:
    """log p of every token from `first` on, given those before it, for each (tokens, first); float32, on the CPU.

    Rows are filled up on the right, where causal attention never looks, so that no row depends on another. Only the
    logits of what is scored are made, at most LOGITS_LIMIT at a time.
    """
    found: list[torch.Tensor] = []
    for part in _portions(rows, network.config.vocab_size):
        inputs = torch.zeros(len(part), max(len(tokens) for tokens, _ in part) - 1, dtype=torch.int64)
        for filled, (tokens, _) in zip(inputs, part, strict=True):
            filled[: len(tokens) - 1] = torch.tensor(tokens[:-1])
        logits = network(input_ids=inputs.to(network.device), use_cache=False).logits
        for row, (tokens, first) in zip(logits, part, strict=True):
            predicted = row[first - 1 : len(tokens) - 1].float().log_softmax(-1)
            answers = torch.tensor(tokens[first:], device=predicted.device)
            found.append(predicted.gather(1, answers[:, None])[:, 0].cpu())
    return found


def _portions(rows: Sequence[tuple[Sequence[int], int]], vocabulary: int) -> list[Sequence[tuple[Sequence[int], int]]]:
    """Consecutive rows whose logits, filled up to the longest of them, are few enough."""
    found: list[Sequence[tuple[Sequence[int], int]]] = []
    start = longest = 0
    for index, (tokens, _) in enumerate(rows):
        longest = max(longest, len(tokens))
        if index > start and (index - start + 1) * longest * vocabulary > LOGITS_LIMIT:
            found.append(rows[start:index])
            start, longest = index, len(tokens)
    return [*found, rows[start:]] if rows else []
