"""The trainer: windows of text, the same order and the same updates however often a run is interrupted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from aigc_sdk import Fit, Options, Step, runtime
from aigc_sdk.errors import DataError, MismatchedFolder
from aigc_sdk.protocols import Device, DType, Source
from aigc_sdk.training import Loop, TorchTrainer, order, schedule
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from . import tokens as tokens_
from .data import text_of
from .likelihood import foreseen
from .model import RNN
from .network import Sizes
from .tokens import Tokens, after_line_end


class NewModel(Sizes):
    """What a new model is made of."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights")


class Training(Options):
    """How one run trains."""

    batch_size: int = Field(16, ge=1, le=1 << 20, description="windows per update, over all processes")
    micro_batch_size: int | None = Field(None, ge=1, description="windows at a time; None: the whole batch")
    window: int = Field(64, ge=1, le=1 << 16, description="tokens through which an update is carried back")
    learning_rate: float = Field(0.008, gt=0, le=1, description="highest rate of AdamW")
    weight_decay: float = Field(0.0, ge=0, le=1, description="of AdamW")
    warmup_steps: int = Field(20, ge=0, description="updates in which the rate rises from 0; it then falls as a cosine")
    final_rate: float = Field(0.05, ge=0, le=1, description="the last rate, as part of the highest")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, in front of, between and behind the layers")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of a running average of the weights; None: none")


class RNNTrainer(TorchTrainer[RNN]):
    """Trains a recurrent language model.

        trainer = aigc_sdk.trainer("rnn", cell="gru", width=384)            # a new model
        trainer = aigc_sdk.trainer("rnn", tokens="bpe", vocabulary=1024)    # of byte pairs
        trainer = aigc_sdk.trainer("rnn", "default")                        # the model that this package brings

    data: the name of a text file, or a list of strings and `Path`s. A new model's first run learns its alphabet or its
    byte pairs from the data before anything else. Each update is of windows of the text, each read with an empty state
    and carried back through all of it. The loss is the mean over the tokens of a batch, in nats per token.
    """

    Options = Training
    Config = NewModel

    def __init__(self, model: RNN, *, learns_tokens: bool = False) -> None:
        self.model = model
        self.device = model.device
        self.networks = {"network": model.network}
        self._learns_tokens = learns_tokens
        self._learnt: tuple[str, Tokens] | None = None  # for a text that was checked, and may be trained on next

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        **config: Any,
    ) -> Self:
        """Start from a new model made by `config`, or from the one at `source` ("default": the one in this package)."""
        check_dtype(dtype)
        if source is not None:
            check_no_sizes(config, source)
            return cls(RNN.open(source, device=device, revision=revision))
        new = NewModel.parse("rnn", config)
        sizes = Sizes.parse("rnn", new.model_dump(exclude={"seed"}))
        return cls(RNN.new(sizes, seed=new.seed, device=runtime.device(device)), learns_tokens=True)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Refuse data at the call."""
        text = text_of(data, "data")
        _windows(self._tokens_for(text), text, fit.options.window)
        if validation is not None:
            text_of(validation, "validation")

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        """One Step per update."""
        options: Training = fit.options
        text = text_of(data, "data")
        self._take(self._tokens_for(text))
        known, rows = _windows(self.model.tokens, text, options.window)
        self.model.network.drop(options.dropout)
        loop = Loop(self, fit, rows=rows)
        network = loop.trains(
            "network",
            torch.optim.AdamW(
                self.model.network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
            ),
            clip_norm=options.clip_norm,
            schedule=schedule("cosine", fit.max_steps, warmup_steps=options.warmup_steps, final=options.final_rate),
            ema=options.ema_decay,
        )
        for _ in loop:
            shift = _shift(fit.seed, loop.position // rows, len(known) - rows * options.window)
            starts = loop.draw(options.batch_size) * options.window + shift
            loss = torch.zeros((), device=self.device)
            remedy = "choose a smaller micro_batch_size or window"
            with runtime.memory_errors(f"an update of {options.batch_size} windows", remedy):
                for part in loop.parts(starts, options.micro_batch_size):
                    windows = torch.from_numpy(known[part[:, None] + np.arange(options.window + 1)]).to(self.device)
                    logits, _ = network(windows[:, :-1])
                    nats = torch.nn.functional.cross_entropy(
                        logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="sum"
                    )
                    part_loss = nats / (options.batch_size * options.window)
                    loop.backward(part_loss)
                    loss += part_loss.detach()
                norm = loop.update("network")
            self.model.network.eval()  # between updates the model is the user's to try
            yield loop.step(loss=loss, gradient_norm=norm)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The mean loss in nats per token, and bits per byte, of held-out text read from its beginning to its end."""
        text = text_of(data, "validation")
        self.model.network.eval()
        found = foreseen(self.model, text)
        return {"loss": found.nats / found.tokens, "bits_per_byte": found.nats / math.log(2) / len(text.encode())}

    def state_dict(self) -> dict[str, Any]:
        """What TorchTrainer keeps, and the tokens."""
        tokens = self.model.tokens
        return {**super().state_dict(), "tokens": {"kind": tokens.kind, "content": tokens.describe()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned. Raises MismatchedFolder."""
        rest, own = dict(state), self.model.sizes.tokens
        tokens = rest.pop("tokens", None)
        if not isinstance(tokens, Mapping) or tokens.get("kind") != own:
            raise MismatchedFolder(f"this is no state of an RNNTrainer whose tokens are {own}")
        super().load_state_dict(rest)
        self._take(tokens_.KINDS[own](tokens["content"]))

    def _tokens_for(self, text: str) -> Tokens:
        """The model's tokens; of a new model those that it is to learn from the text."""
        if not self._learns_tokens:
            return self.model.tokens
        if self._learnt is None or self._learnt[0] != text:
            sizes = self.model.sizes
            self._learnt = (text, tokens_.learn(sizes.tokens, text, sizes.vocabulary))
        return self._learnt[1]

    def _take(self, tokens: Tokens) -> None:
        self.model.tokens = tokens
        self._learns_tokens, self._learnt = False, None


def _windows(tokens: Tokens, text: str, window: int) -> tuple[NDArray[np.int64], int]:
    """The tokens of a text after a line end, and how many windows and what each foresees fit into them."""
    known = after_line_end(tokens, text)
    rows = (len(known) - 1) // window
    if not rows:
        message = f"data has {len(known) - 1:,} tokens, fewer than one window of {window}; pass more, or window="
        raise DataError(message, field="data")
    return known, rows


def _shift(seed: int, epoch: int, room: int) -> int:
    """Where the windows of an epoch begin: another place in each, as far as the text's end leaves room."""
    return int(order.rows(seed, room, epoch, 1)[0])
