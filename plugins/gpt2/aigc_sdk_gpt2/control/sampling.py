"""From logits to the next token. Every row draws from a random stream of its own, so a batch changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from aigc_sdk import runtime

from .constrain import Constraint, State
from .filters import drawn
from .logprobs import of_rows
from .rules import NO_CHANCE, RowFault, rules_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from aigc_sdk_gpt2.options import Decoding

    from .logprobs import TokenLogprobs


NOTHING_LEFT = "no token is left to choose: together its options rule out every one"
NOT_FINITE = "the model computed NaN or infinity; its weights are damaged, or its dtype is too narrow for it: try dtype='float32'"


class Choice(NamedTuple):
    """The next token of each row, and what there is to say about it."""

    tokens: torch.Tensor
    """int64, rows, on the CPU."""
    logprobs: list[TokenLogprobs] | None = None
    """Of each row's token, where they are asked for."""
    states: list[State] | None = None
    """How far each row's text is, with its token, where it follows a grammar; a text that is "closed" has ended."""


class Sampler:
    """Chooses the next token of each row, and keeps what that depends on: the row's random stream and its tokens so far.

    The order is that of Hugging Face's generate: bias, penalties and bans (see `rules_for`), then temperature, top-k, top-p,
    min-p and typical-p. A token is drawn by one uniform number per row, looked up in the summed probabilities in the
    vocabulary's order: so that neither ties nor rounding in the order of likelihood change it.
    """

    def __init__(self, options: Decoding, ends: frozenset[int], tokenizer: PreTrainedTokenizerFast) -> None:
        """Raises OptionError for what this model's tokens cannot do, and MissingDependency."""
        self.options, self._tokenizer = options, tokenizer
        self._rules = rules_for(options, ends, tokenizer)
        self._constraint = next((rule for rule in self._rules if isinstance(rule, Constraint)), None)
        self._rngs: list[torch.Generator] = []

    def join(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], room: Sequence[int]) -> None:
        """New rows behind those that are there; `room[i]` tokens, at most, will follow prompt i."""
        self._rngs += [runtime.rng(seed) for seed in seeds]
        for rule in self._rules:
            rule.join(prompts, room)

    def choose(self, logits: torch.Tensor, rows: Sequence[int] | None = None) -> Choice:
        """The next token of these rows (None: of all), which go on with it; logits: rows x vocabulary. Raises RowFault."""
        places = range(len(self._rngs)) if rows is None else rows
        options, scores = self.options, self.changed(logits, places)
        highest, likeliest = scores.max(-1)
        refuse_nan(highest, places)
        if not bool((highest > NO_CHANCE).all()):
            raise RowFault(places[int((highest == NO_CHANCE).nonzero()[0])], NOTHING_LEFT)
        if options.temperature:
            weights = ((scores - highest[:, None]) / options.temperature).exp_()
            uniforms = [float(torch.rand((), generator=self._rngs[row], dtype=torch.float64)) for row in places]
            likeliest = drawn(weights, options, uniforms)
        tokens = likeliest.cpu()
        if self._constraint is not None:
            tokens = torch.tensor(self._constraint.settle(tokens.tolist(), places))
        self.take(tokens.tolist(), places)
        reported = None if options.logprobs is None else of_rows(logits, tokens, options.logprobs, self._tokenizer)
        return Choice(tokens, reported, self.states(places))

    def changed(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The scores that these rows choose by: float32, rows x vocabulary. Raises RowFault."""
        scores = logits.float()
        if self._rules:
            scores = scores.clone()
            for rule in self._rules:
                rule.apply(scores, rows)
        return scores

    def take(self, tokens: Sequence[int], rows: Sequence[int]) -> None:
        """These rows go on with these tokens; `choose` does it by itself."""
        for rule in self._rules:
            rule.take(tokens, rows)

    def states(self, rows: Sequence[int]) -> list[State] | None:
        """How far the texts of these rows are, where they follow a grammar."""
        return None if self._constraint is None else [self._constraint.state(row) for row in rows]

    def state_of(self, tokens: Sequence[int]) -> State | None:
        """How far a text of these tokens would be, where texts follow a grammar."""
        return None if self._constraint is None else self._constraint.state_of(tokens)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order. A row that is named twice goes on twice, with one random stream for both."""
        self._rngs = [self._rngs[row] for row in rows]
        for rule in self._rules:
            rule.select(rows)


def refuse_nan(highest: torch.Tensor, rows: Sequence[int]) -> None:
    """Raise RowFault for the first of these rows whose highest score is NaN or infinity."""
    bad = ~(highest < torch.inf)
    if bool(bad.any()):
        raise RowFault(rows[int(bad.nonzero()[0])], NOT_FINITE)
