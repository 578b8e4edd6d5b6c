"""Items that are decoded together: each joins when there is room for it, and leaves when its text has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from aigc_sdk import runtime
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import AigcError
from aigc_sdk_gpt2.control.rules import RowFault
from aigc_sdk_gpt2.control.sampling import Choice, Sampler
from aigc_sdk_gpt2.engines.engine import Engine, engine_for
from aigc_sdk_gpt2.engines.plain import PlainGPT2

from .prefixes import Known, Plan, plan
from .rows import Item, Row
from .speculation import Draft, Guesser, LookUp, Pace

if TYPE_CHECKING:
    from aigc_sdk_gpt2.model import GPT2
    from aigc_sdk_gpt2.options import Decoding

PASS = 24  # tokens that one pass may check: beyond, it takes as much longer as there are more of them
REMEDY = "ask for a smaller max_batch_size or cache_mb, or fewer tokens"


class Batch:
    """The rows of an engine, of the sampler and of the guesser side by side.

    Every `turn` is one pass of the model: it reads the prompts of items that join, or makes the next token of every row,
    or several where they were guessed right. The order in which things happen depends on items and options alone.
    """

    def __init__(self, model: GPT2, options: Decoding, items: Iterable[Item], *, per_place: int) -> None:
        """per_place: bytes that one token of one row takes in the cache."""
        self.waiting = deque(items)
        self.made = 0
        """Tokens made so far, those that ended texts have not used included."""
        self._model, self._options = model, options
        self._places = (options.cache_mb << 20) // max(per_place, 1)
        self._rows: list[Row] = []
        self._paces: list[Pace] = []
        self._adapters = sorted({each.adapter for each in self.waiting}, key=str)
        self._sampler = Sampler(options, model.ends, model.tokenizer)
        self._open()
        self._guard = partial(runtime.memory_errors, f"decoding {len(self.waiting)} texts", REMEDY)

    def _open(self) -> None:
        """Begin with an empty cache."""
        self._engine: Engine = engine_for(self._model.network, self._adapters, self._options.engine)
        self._guesser: Guesser | None = _guesser(self._model, self._options)
        self._stays = isinstance(self._engine, PlainGPT2) or isinstance(self._guesser, Draft)
        """Whether the cache is as large as it ever was: one tensor of so many rows of so many places."""
        self._most = self._longest = 0

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.waiting) or not all(row.done for row in self._rows)

    def turn(self) -> list[Text]:
        """One pass of the model; the chunks that it completes."""
        going = _closed_up([row.done for row in self._rows])
        new = self._admitted([self._rows[place] for place in going])
        if new:
            return self._join(new, going)
        if len(going) < len(self._rows):
            self._engine.select(going)
            self._keep(going)
        guesses = self._guesses() if self._guesser is not None else []
        return self._check(guesses) if any(guesses) else self._step()

    def close(self) -> None:
        """Drop all rows, and what they hold: also when an error's traceback keeps this object."""
        self.waiting.clear()
        self._rows.clear()
        for each in ("_engine", "_sampler", "_guesser"):
            self.__dict__.pop(each, None)

    def _admitted(self, going: Sequence[Row]) -> list[Item]:
        """The next items, in their order, as far as there are rows and memory for them."""
        new: list[Item] = []
        longest = max((row.places for row in going), default=0)
        while self.waiting and len(going) + len(new) < self._options.max_batch_size:
            count, wanted = len(going) + len(new) + 1, max(longest, self.waiting[0].places)
            if self._stays:
                count, wanted = max(count, self._most), max(wanted, self._longest)
            if count * wanted > self._places:  # a row of the cache is as long as the longest of them
                if going or new:
                    break
                self._keep(())
                self._open()
            longest = max(longest, self.waiting[0].places)
            new.append(self.waiting.popleft())
            self._most, self._longest = max(self._most, len(going) + len(new)), max(self._longest, longest)
        return new

    def _join(self, new: Sequence[Item], going: Sequence[int]) -> list[Text]:
        """Read the prompts of new rows, what they share only once, and make their first tokens."""
        known = [Known(each.prompt, each.places, each.adapter) for each in new]
        here = plan(known, [row.known for row in self._rows], rewinds=self._engine.rewinds)
        places = self._room(known, here)
        with self._guard():
            logits = self._read(new, here, going, places)
        order = [*(fork.row for fork in here.from_rows), *here.roots, *(fork.row for fork in here.from_roots)]
        prompts = [new[row].prompt for row in order]
        self._keep(going)
        self._rows += [Row(self._model, new[row], self._options.stop, places[row]) for row in order]
        self._paces += [Pace(self._options.speculate) for _ in order]
        self._sampler.join(prompts, [new[row].seed for row in order], [new[row].want for row in order])
        if self._guesser is not None:
            with self._guard():
                self._guesser.join(prompts, [new[row].want for row in order])
        joined = range(len(going), len(self._rows))
        return self._take(joined, self._choose(logits, joined))

    def _room(self, new: Sequence[Known], here: Plan) -> list[int]:
        """For how many tokens each new row has places: a fork has those of its source."""
        places = [each.places for each in new]
        for fork in here.from_roots:
            places[fork.source] = max(places[fork.source], places[fork.row])
        for fork in here.from_roots:
            places[fork.row] = places[fork.source]
        for fork in here.from_rows:
            places[fork.row] = self._rows[fork.source].places
        return places

    def _read(self, new: Sequence[Item], here: Plan, going: Sequence[int], places: Sequence[int]) -> torch.Tensor:
        """The engine's part of joining; the logits that follow each new row, in their order in the engine."""
        engine, roots, kept = self._engine, [new[row] for row in here.roots], len(going) + len(here.from_rows)
        sources = [*going, *(fork.source for fork in here.from_rows)]
        if sources != list(range(len(self._rows))):
            engine.select(sources)
        self._forget(len(going), [len(self._rows[each.source].tokens) - 1 - each.common for each in here.from_rows])
        rooms = [places[row] - new[row].virtual - len(new[row].prompt) for row in here.roots]
        read = engine.join([each.prompt for each in roots], rooms, [each.adapter for each in roots]) if roots else None
        at = {row: place for place, row in enumerate(here.roots)}
        if here.from_roots:
            engine.select([*range(kept + len(roots)), *(kept + at[fork.source] for fork in here.from_roots)])
            forgotten = [len(new[each.source].prompt) - each.common for each in here.from_roots]
            self._forget(kept + len(roots), forgotten)
        rest = {each.row: new[each.row].prompt[each.common :] for each in (*here.from_rows, *here.from_roots)}
        if not any(rest.values()):
            assert read is not None
            return read[[*at.values(), *(at[each.source] for each in here.from_roots)]] if here.from_roots else read
        added: list[Sequence[int]] = [[]] * len(going)
        added += [rest[each.row] for each in here.from_rows]
        added += [[]] * len(roots)
        added += [rest[each.row] for each in here.from_roots]
        more = iter(engine.extend(added, last=True))
        found = [next(more) for _ in here.from_rows]
        found += [] if read is None else [*read]
        found += [
            next(more) if rest[each.row] else found[len(here.from_rows) + at[each.source]] for each in here.from_roots
        ]
        return torch.stack(found)

    def _forget(self, first: int, counts: Sequence[int]) -> None:
        """Of the engine's rows from `first` on."""
        if any(counts):
            self._engine.rewind([0] * first + list(counts))

    def _step(self) -> list[Text]:
        """The next token of every row."""
        with self._guard():
            logits = self._engine.step(torch.tensor([row.tokens[-1] for row in self._rows]))
        rows = range(len(self._rows))
        return self._take(rows, self._choose(logits, rows))

    def _guesses(self) -> list[list[int]]:
        assert self._guesser is not None
        sizes = [min(pace.size(), row.left - 1) for row, pace in zip(self._rows, self._paces, strict=True)]
        spare = PASS - len(self._rows)
        for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):  # first those whose guesses come true
            sizes[row] = max(min(sizes[row], spare), 0)
            spare -= sizes[row]
        with self._guard():
            return self._guesser.guess([row.tokens for row in self._rows], sizes)

    def _check(self, guesses: Sequence[Sequence[int]]) -> list[Text]:
        """Read the last token and the guesses of every row; go on as far as they are what is chosen anyway."""
        new = [[row.tokens[-1], *guess] for row, guess in zip(self._rows, guesses, strict=True)]
        with self._guard():
            logits = self._engine.extend(new)
        starts = list(accumulate((len(each) for each in new), initial=0))
        before = [row.made for row in self._rows]
        rows, place, chunks = list(range(len(new))), 0, list[Text]()
        while rows:
            chosen = self._choose(logits[[starts[row] + place for row in rows]], rows)
            chunks += self._take(rows, chosen)
            right = [row for row in rows if new[row][place + 1 : place + 2] == self._rows[row].tokens[-1:]]
            rows, place = [row for row in right if not self._rows[row].done], place + 1
        made = [row.made - count for row, count in zip(self._rows, before, strict=True)]
        for pace, guess, count in zip(self._paces, guesses, made, strict=True):
            if guess:
                pace.learn(len(guess), count - 1)
        self._forget(0, [len(each) - count for each, count in zip(new, made, strict=True)])
        return chunks

    def _choose(self, logits: torch.Tensor, rows: Sequence[int]) -> Choice:
        try:
            return self._sampler.choose(logits, None if len(rows) == len(self._rows) else rows)
        except RowFault as error:
            raise AigcError(f"sample {self._rows[error.row].item.sample}: {error}") from error

    def _take(self, rows: Sequence[int], chosen: Choice) -> list[Text]:
        """Give these rows their tokens; the chunks that become complete."""
        chunks: list[Text] = []
        for place, (row, token) in enumerate(zip(rows, chosen.tokens.tolist(), strict=True)):
            one = self._rows[row]
            logprobs = None if chosen.logprobs is None else chosen.logprobs[place]
            chunks += one.add(token, logprobs, None if chosen.states is None else chosen.states[place])
            self.made += 1 + one.left if one.done else 1
        return chunks

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order, in all but the engine."""
        if list(rows) == list(range(len(self._rows))):
            return
        self._rows = [self._rows[row] for row in rows]
        self._paces = [self._paces[row] for row in rows]
        self._sampler.select(rows)
        if self._guesser is not None:
            self._guesser.select(rows)


def _guesser(model: GPT2, options: Decoding) -> Guesser | None:
    if not options.speculate:
        return None
    if options.draft is None:
        return LookUp()
    return Draft(model.draft(options.draft), "torch" if options.engine == "torch" else "auto")


def _closed_up(done: Sequence[bool]) -> list[int]:
    """The rows that go on; the last of them take the places of those that do not, and nothing else moves."""
    going = [row for row, ended in enumerate(done) if not ended]
    last = [row for row in going if row >= len(going)]
    return [row if not done[row] else last.pop() for row in range(len(going))]
