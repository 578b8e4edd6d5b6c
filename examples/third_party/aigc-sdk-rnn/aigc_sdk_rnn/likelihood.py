"""How well a model foresees a text."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .model import CHUNK, RNN
from .network import State
from .tokens import after_line_end, unknown_bits


class Foreseen(NamedTuple):
    """What a text costs under a model."""

    nats: float
    """Of all its tokens together; an unknown character costs that it is one, and which."""
    tokens: int


def foreseen(model: RNN, text: str) -> Foreseen:
    """The negative log-likelihood of a text after a line end; the state is carried from its beginning to its end."""
    tokens = after_line_end(model.tokens, text)
    nats, state = 0.0, None
    for start in range(0, len(tokens) - 1, CHUNK):
        some, state = _chunk(model, tokens[start : start + CHUNK + 1], state)
        nats += some
    unknown = int((tokens[1:] == model.tokens.unknown).sum()) if model.tokens.unknown is not None else 0
    return Foreseen(nats + unknown * unknown_bits(model.tokens) * math.log(2), len(tokens) - 1)


@torch.inference_mode()
def _chunk(model: RNN, tokens: NDArray[np.int64], state: State | None) -> tuple[float, State]:
    """The nats of all tokens but the first, and the state before the last."""
    known = torch.from_numpy(tokens).to(model.device)
    logits, after = model.network(known[None, :-1], state)
    loss = torch.nn.functional.cross_entropy(logits[0], known[1:], reduction="none")
    return float(loss.sum(dtype=torch.float64)), after
