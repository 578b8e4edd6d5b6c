"""The network: embedding, LSTM or GRU, and a layer that foresees the next token."""

from __future__ import annotations

from typing import Any, Literal, Self

import pydantic
import torch
from pydantic import Field
from torch import nn

from aigc_sdk import Options

State = tuple[torch.Tensor, ...]
"""What the cells remember: (h, c) of an LSTM, (h,) of a GRU, each (layers, N, width)."""


class Sizes(Options):
    """What a model is made of; it stands so in config.json."""

    cell: Literal["lstm", "gru"] = Field(
        "lstm",
        description="lstm (Hochreiter and Schmidhuber 1997) or gru (Cho et al. 2014), which is a quarter smaller",
    )
    tokens: Literal["characters", "bpe"] = Field("characters", description="what is foreseen: characters or byte pairs")
    vocabulary: int = Field(
        128,
        ge=2,
        le=1 << 16,
        description="tokens at most; byte pairs need 257 or more, and are 512 where nothing is said",
    )
    width: int = Field(256, ge=1, le=4096, description="features per token and per layer")
    layers: int = Field(1, ge=1, le=16, description="recurrent layers")
    tied: bool = Field(
        False, description="one matrix to read tokens and to foresee them (Press and Wolf 2017); fewer weights"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_many_as_usual(cls, given: Any) -> Any:
        pairs = isinstance(given, dict) and given.get("tokens") == "bpe" and "vocabulary" not in given
        return {**given, "vocabulary": 512} if pairs else given

    @pydantic.model_validator(mode="after")
    def _bytes_fit(self) -> Self:
        if self.tokens == "bpe" and self.vocabulary < 257:
            raise ValueError(f"vocabulary={self.vocabulary} has no room for the 256 bytes and a merge; bpe needs 257")
        return self


class Network(nn.Module):
    """tokens (N, T) and a state -> logits (N, T, vocabulary), and the state after them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        cells = nn.LSTM if sizes.cell == "lstm" else nn.GRU
        self.cells = cells(sizes.width, sizes.width, sizes.layers, batch_first=True)
        self.dropout = nn.Dropout(0.0)
        # A matrix that two layers share has one name alone, or a folder would hold it twice and open it as two.
        self.head = None if sizes.tied else nn.Parameter(torch.empty(sizes.vocabulary, sizes.width))
        self.bias = nn.Parameter(torch.zeros(sizes.vocabulary))
        for matrix in (self.embedding.weight, self.head):
            if matrix is not None:
                nn.init.normal_(matrix, std=sizes.width**-0.5)
        if sizes.cell == "lstm":
            self._remember(sizes.width)

    def _remember(self, width: int) -> None:
        """Forget gates begin open, so that a gradient reaches far from the first step on (Jozefowicz et al. 2015)."""
        for name, gates in self.cells.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(gates[width : 2 * width])

    def drop(self, probability: float) -> None:
        """How much of the features in front of, between and behind the layers is dropped in training."""
        self.dropout.p = probability
        self.cells.dropout = probability if self.cells.num_layers > 1 else 0.0

    def forward(self, tokens: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        features = self.dropout(self.embedding(tokens))  # (N, T, width)
        given = state[0] if state is not None and len(state) == 1 else state
        features, after = self.cells(features, given)
        matrix = self.embedding.weight if self.head is None else self.head
        logits = nn.functional.linear(self.dropout(features), matrix, self.bias)
        return logits, after if isinstance(after, tuple) else (after,)
