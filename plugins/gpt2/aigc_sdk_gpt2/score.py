"""How likely a model finds given tokens, and what it makes of them: behind `score`, `embed` and the evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from aigc_sdk.adapters import Adapters

from .engines.engine import kind_of_engine, read_limit
from .engines.plain import PlainGPT2, portions
from .engines.precision import products

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


def logprobs(network: PreTrainedModel, rows: Sequence[tuple[Sequence[int], int]]) -> list[torch.Tensor]:
    """log p of every token from `first` on, given those before it, for each (tokens, first); float32, on the CPU.

    No row depends on another. Only the logits of what is scored are made, about LOGITS_LIMIT at a time.
    """
    names, most = Adapters.of(network).current, max(1, LOGITS_LIMIT // network.config.vocab_size)
    plain = kind_of_engine(network, names, "torch") is PlainGPT2
    made = _packed(network, rows, most) if plain else _filled(network, rows, most)
    return [each.cpu() for each in made]


@torch.inference_mode()
def hidden(network: PreTrainedModel, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """What the last norm gives for each token: tokens x width for each row, float32, on the CPU."""
    names = Adapters.of(network).current
    if rows and kind_of_engine(network, names, "torch") is PlainGPT2:
        made = PlainGPT2(network).hidden(rows, names)
        return [each.float().cpu() for each in torch.split(made, list(map(len, rows)))]
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    for some, inputs in _alike(network, rows, read_limit(network)):
        with products(network):
            # Asked of the whole network: the hooks of adapters are on it.
            last = network(input_ids=inputs, use_cache=False, output_hidden_states=True).hidden_states[-1]
        for row, each in zip(some, last, strict=True):
            found[row] = each[: len(rows[row])].float().cpu()
    return found


@torch.inference_mode()
def _packed(network: Any, rows: Sequence[tuple[Sequence[int], int]], most: int) -> list[torch.Tensor]:
    """Through GPT-2 without any filling: all rows are one long one but for the attention."""
    engine, names = PlainGPT2(network), Adapters.of(network).current
    found: list[torch.Tensor] = []
    for part in portions([len(tokens) for tokens, _ in rows], read_limit(network)):
        some = rows[part]
        states = torch.split(engine.hidden([row[:-1] for row, _ in some], names), [len(row) - 1 for row, _ in some])
        asked = torch.cat([state[first - 1 :] for state, (_, first) in zip(states, some, strict=True)])
        answers = torch.tensor([token for tokens, first in some for token in tokens[first:]], device=asked.device)
        made = [
            _chosen(engine.logits(states), tokens)
            for states, tokens in zip(torch.split(asked, most), torch.split(answers, most), strict=True)
        ]
        found += torch.split(torch.cat(made), [len(tokens) - first for tokens, first in some])
    return found


@torch.inference_mode()
def _filled(network: Any, rows: Sequence[tuple[Sequence[int], int]], most: int) -> list[torch.Tensor]:
    """Through the network's own forward pass; rows are filled up on the right, where causal models never look."""
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    for some, inputs in _alike(network, [tokens[:-1] for tokens, _ in rows], most):
        with products(network):
            logits = network(input_ids=inputs, use_cache=False).logits
        for row, made in zip(some, logits, strict=True):
            tokens, first = rows[row]
            found[row] = _chosen(made[first - 1 : len(tokens) - 1], torch.tensor(tokens[first:], device=made.device))
    return found


def _chosen(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def _alike(network: Any, rows: Sequence[Sequence[int]], most: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Rows of like lengths, at most so many tokens at a time: which they are, and their tokens filled up on the right."""
    some: list[int] = []
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]), reverse=True)
    for place, row in enumerate(order):
        some.append(row)
        longest = len(rows[some[0]])
        following = order[place + 1 : place + 2]
        if not following or (len(some) + 1) * longest > most or 2 * len(rows[following[0]]) < longest:
            inputs = torch.zeros(len(some), longest, dtype=torch.int64)
            for filled, each in zip(inputs, some, strict=True):
                filled[: len(rows[each])] = torch.tensor(rows[each])
            yield some, inputs.to(network.device)
            some = []
