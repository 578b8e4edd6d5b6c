"""Beam search: the texts that are likeliest as a whole, as far as a search with a few open ends at a time finds them.

After Hugging Face's generate, whose results it gives: the same candidates, scores and ends (Graves 2012; Wu et al. 2016 for the
length penalty).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import torch

from aigc_sdk import runtime
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import AigcError
from aigc_sdk.protocols import Step
from aigc_sdk_gpt2.control.rules import RowFault
from aigc_sdk_gpt2.control.sampling import NOTHING_LEFT, Sampler, refuse_nan
from aigc_sdk_gpt2.engines.engine import engine_for

from .batch import REMEDY
from .rows import Item, Row

if TYPE_CHECKING:
    from aigc_sdk_gpt2.control.constrain import State
    from aigc_sdk_gpt2.model import GPT2
    from aigc_sdk_gpt2.options import Decoding


class Found(NamedTuple):
    """A text that has ended."""

    score: float
    """The sum of its tokens' log-probabilities, divided by their number to the power of the length penalty."""
    tokens: list[int]


def search(
    model: GPT2, options: Decoding, items: Sequence[Item], on_step: Callable[[Step], None], *, per_place: int
) -> Iterator[Text]:
    """The n best texts of each prompt, best first, each in one piece when its search has ended.

    items: those of one prompt follow each other. per_place: bytes of cache that one token of one row takes.
    """
    samples = [list(each) for _, each in groupby(items, key=lambda item: id(item.prompt))]
    total, made = sum(item.want for item in items), 0
    beams = Beams(model, options, samples, per_place=per_place)
    while beams.busy:
        with runtime.memory_errors(f"searching for {len(items)} texts", REMEDY):
            steps, ended = beams.turn()
        made += steps
        on_step(Step(made, total))
        for one in ended:
            for item, found in zip(one.items, one.best(), strict=True):
                whole = _text(model, options.stop, item, found.tokens, beams.state_of(found.tokens))
                yield Text(whole.text, sample=item.sample, info={**whole.info, "score": found.score})


def _text(model: GPT2, stop: Sequence[str], item: Item, tokens: Sequence[int], state: State | None = None) -> Text:
    """The text of these tokens, as it would come from a row that took them one by one."""
    row = Row(model, item, stop, item.places)
    chunks = [chunk for token in tokens[:-1] for chunk in row.add(token)]
    return Text.join([*chunks, *row.add(tokens[-1], None, state), Text("")])


class Beams:
    """The searches of several prompts side by side; each has some rows of the engine and of the sampler."""

    def __init__(self, model: GPT2, options: Decoding, samples: Sequence[list[Item]], *, per_place: int) -> None:
        self._options, self._samples = options, deque(samples)
        self._places = (options.cache_mb << 20) // max(per_place, 1)
        names = {each.adapter for items in samples for each in items}
        self._engine = engine_for(model.network, sorted(names, key=str), options.engine)
        self._sampler = Sampler(options, model.ends, model.tokenizer)
        self._text = partial(_text, model, options.stop)
        self._ends = model.ends
        self._searches: list[Search] = []
        self._tokens: list[int] = []  # what each row goes on with

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._samples or self._searches)

    def state_of(self, tokens: Sequence[int]) -> State | None:
        """How far a text is, where it follows a grammar."""
        return self._sampler.state_of(tokens)

    def turn(self) -> tuple[int, list[Search]]:
        """One pass of the model: how many tokens of the texts that are wanted it settles, and the searches that end."""
        before = sum(each.settled for each in self._searches)
        old, kept = list(self._searches), len(self._tokens)
        if new := self._admitted():
            prompts = [each.items[0].prompt for each in new]
            logits = self._engine.join(
                prompts, [each.items[0].want for each in new], [each.items[0].adapter for each in new]
            )
            self._sampler.join(prompts, [each.items[0].seed for each in new], [each.items[0].want for each in new])
            self._searches += new
            self._advance(logits, new, kept)
        else:
            logits = self._engine.step(torch.tensor(self._tokens))
            self._advance(logits, old, 0)
        after = sum(each.settled for each in (*old, *new))
        ended = [each for each in self._searches if each.over]
        self._searches = [each for each in self._searches if not each.over]
        return after - before, ended

    def _admitted(self) -> list[Search]:
        """The next prompts, as far as there is room for all the rows that they and those that are there may come to have."""
        new: list[Search] = []
        width = self._options.num_beams
        longest = max((each.items[0].places for each in self._searches), default=0)
        while self._samples:
            longest, count = max(longest, self._samples[0][0].places), len(self._searches) + len(new) + 1
            room = count * width <= self._options.max_batch_size and count * width * longest <= self._places
            if count > 1 and not room:
                break
            new.append(Search(self._samples.popleft(), self._options, self._ends, self._text))
        return new

    def _advance(self, logits: torch.Tensor, searches: Sequence[Search], first: int) -> None:
        """Let these searches choose, whose rows are those from `first` on; the rows go on as they choose."""
        rows = range(first, first + len(logits))
        try:
            scores = self._sampler.changed(logits.float().log_softmax(-1), rows)
            refuse_nan(scores.amax(-1), rows)
        except RowFault as error:
            raise AigcError(f"sample {self._owner(error.row, searches, first)}: {error}") from error
        parents, tokens, start = list(range(first)), self._tokens[:first], first
        for one in searches:
            size = len(one.scores)
            chosen = one.choose(scores[start - first : start - first + size])
            parents += [start + parent for parent, _ in chosen]
            tokens += [token for _, token in chosen]
            start += size
        self._select(parents)
        self._sampler.take(tokens[first:], range(first, len(tokens)))
        self._tokens = tokens
        self._close(searches, first)

    def _close(self, searches: Sequence[Search], first: int) -> None:
        """Take out the rows whose texts follow a grammar and cannot go on."""
        states = self._sampler.states(range(first, len(self._tokens)))
        if states is None:
            return
        kept, start = list(range(first)), 0
        for one in searches:
            size = len(one.scores)
            going = one.keep(states[start : start + size])
            kept += [first + start + place for place in going]
            start += size
        if len(kept) < len(self._tokens):
            self._select(kept)
            self._tokens = [self._tokens[row] for row in kept]

    def _select(self, rows: Sequence[int]) -> None:
        if list(rows) != list(range(len(self._engine.lengths))):
            self._engine.select(rows)
            self._sampler.select(rows)

    def _owner(self, row: int, searches: Sequence[Search], first: int) -> int:
        for one in searches:
            if row < first + len(one.scores):
                return one.items[0].sample
            first += len(one.scores)
        raise IndexError(row)


class Search:
    """The open ends of one prompt's texts, best first, and the texts that have ended."""

    def __init__(
        self, items: list[Item], options: Decoding, ends: frozenset[int], text: Callable[[Item, Sequence[int]], Text]
    ) -> None:
        """text: the text of an item that has these tokens."""
        self.items, self.options = items, options
        self.over = False
        self.scores = torch.zeros(1)
        """The sum of log-probabilities of each open end, float32: one to begin with."""
        self._tokens: list[list[int]] = [[]]
        self._made = 0
        self._found: list[Found] = []
        self._ends = ends
        self._text = partial(text, items[0])
        self._hopeful = True

    @property
    def settled(self) -> int:
        """Tokens made so far of the texts that are wanted; all that they could have had when the search is over."""
        return (self.items[0].want if self.over else self._made) * len(self.items)

    def best(self) -> list[Found]:
        """As many as there are items, the best first. Where fewer texts were found, the last one comes again."""
        found = self._found[: len(self.items)]
        return found + found[-1:] * (len(self.items) - len(found))

    def choose(self, logprobs: torch.Tensor) -> list[tuple[int, int]]:
        """The open ends to go on with, as pairs of the one before and its next token; logprobs: open ends x vocabulary."""
        width = self.options.num_beams
        self._made += 1
        summed = (logprobs + self.scores.to(logprobs.device)[:, None]).flatten()
        scores, places = (each.cpu() for each in summed.topk(min(max(2, 1 + len(self._ends)) * width, len(summed))))
        if scores[0] == -torch.inf:
            raise AigcError(f"sample {self.items[0].sample}: {NOTHING_LEFT}")
        going, ended = list[tuple[float, int, int]](), list[Found]()
        last, vocabulary = self._made == self.items[0].want, logprobs.shape[1]
        whole = True
        for rank, (score, place) in enumerate(zip(scores, places.tolist(), strict=True)):
            if score == -torch.inf:
                break
            parent, token = divmod(place, vocabulary)
            tokens = [*self._tokens[parent], token]
            if not (last or token in self._ends or self._stops(tokens)):
                whole = False
                if len(going) < width:
                    going.append((float(score), parent, token))
            elif rank < width:
                ended.append(Found(self._final(score), tokens))
        self._end(ended)
        self._tokens = [[*self._tokens[parent], token] for _, parent, token in going]
        self.scores = torch.tensor([score for score, _, _ in going])
        self._judge(stuck=whole)
        if self.over:
            self._tokens, self.scores, going = [], torch.zeros(0), []
        return [(parent, token) for _, parent, token in going]

    def keep(self, states: Sequence[State]) -> list[int]:
        """The open ends that can go on; those that cannot have ended."""
        closed = [place for place, state in enumerate(states) if state == "closed"]
        self._end([Found(self._final(self.scores[place]), self._tokens[place]) for place in closed])
        going = [place for place in range(len(states)) if place not in closed]
        self._tokens = [self._tokens[place] for place in going]
        self.scores = self.scores[going]
        if closed:
            self._judge(stuck=not going)
            if self.over:
                self._tokens, self.scores, going = [], torch.zeros(0), []
        return going

    def _stops(self, tokens: Sequence[int]) -> bool:
        """Whether a stop string is in the text."""
        return bool(self.options.stop) and self._text(tokens).info.get("finish_reason") == "stop"

    def _final(self, score: torch.Tensor) -> float:
        return float(score / self._made**self.options.length_penalty)

    def _end(self, new: Sequence[Found]) -> None:
        """Keep the best of the texts that have ended."""
        full = len(self._found) == self.options.num_beams
        if self._hopeful and not (full and self.options.early_stopping is True):
            merged = sorted([*self._found, *new], key=lambda each: -each.score)
            self._found = merged[: self.options.num_beams]

    def _judge(self, *, stuck: bool) -> None:
        """Whether the search is over; stuck: no open end can go on."""
        full, early = len(self._found) == self.options.num_beams, self.options.early_stopping
        power = self.options.length_penalty
        length = self.items[0].want if early == "never" and power > 0 else self._made
        if full and len(self.scores):
            self._hopeful &= float(self.scores[0] / length**power) > self._found[-1].score
        self.over = stuck or not self._hopeful or (full and early is True)
