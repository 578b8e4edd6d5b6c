"""One item of a call, and the row of a batch in which its text grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aigc_sdk.artifacts import Text
from aigc_sdk_gpt2.detokenize import Stops, detokenizer_for

from .prefixes import Known

if TYPE_CHECKING:
    from aigc_sdk_gpt2.control.constrain import State
    from aigc_sdk_gpt2.control.logprobs import TokenLogprobs
    from aigc_sdk_gpt2.model import GPT2


@dataclass(frozen=True)
class Item:
    """What is wanted once: at most `want` tokens that follow the tokens of `prompt`."""

    sample: int
    """The number of the item in its call."""
    prompt: Sequence[int]
    want: int
    seed: int
    adapter: str | None = None
    virtual: int = 0
    """Tokens that the adapter puts before the prompt."""

    @property
    def places(self) -> int:
        """Tokens whose keys and values are kept in the end."""
        return self.virtual + len(self.prompt) + self.want


class Row:
    """One item while it grows."""

    def __init__(self, model: GPT2, item: Item, stop: Sequence[str], places: int) -> None:
        self.item = item
        self.places = places
        """Tokens that the engine's row has room for: those of the item, or of a longer one that it was forked from."""
        self.tokens = list(item.prompt)
        self.done = False
        self._ends = model.ends
        self._text = detokenizer_for(model.tokenizer, item.prompt)
        self._stops = Stops(stop)
        self._logprobs: list[TokenLogprobs] = []
        self._told = 0  # of these, how many a chunk has carried

    @property
    def made(self) -> int:
        """Tokens so far."""
        return len(self.tokens) - len(self.item.prompt)

    @property
    def left(self) -> int:
        """Tokens that may follow."""
        return self.item.want - self.made

    @property
    def known(self) -> Known:
        """For those that begin as this row does."""
        return Known(self.tokens, self.places, self.item.adapter)

    def add(self, token: int, logprobs: TokenLogprobs | None = None, state: State | None = None) -> Iterator[Text]:
        """The chunk that `token` completes; the last one says why the text ends.

        A chunk has the log-probabilities of its own tokens, the last one those of all. state: of a text that follows a grammar.
        """
        self.tokens.append(token)
        if logprobs is not None:
            self._logprobs.append(logprobs)
        ended, last = token in self._ends, not self.left
        piece = self._stops.add("" if ended else self._text.add(token))
        ended = ended or state == "closed"
        if ended or last:
            piece += self._stops.add(self._text.end(), final=True)
        reason = "stop" if self._stops.stopped else "end" if ended else "length" if last else None
        if reason is not None:
            self.done = True
            info: dict[str, Any] = {"finish_reason": reason, "tokens": self.made}
            if self._logprobs:
                info["logprobs"] = self._logprobs
            if state is not None:
                info["complete"] = state != "open"
            yield Text(piece, sample=self.item.sample, info=info)
        elif piece:
            told, self._told = self._told, len(self._logprobs)
            info = {"logprobs": self._logprobs[told:]} if self._logprobs else {}
            yield Text(piece, sample=self.item.sample, info=info)
