"""Keys and values for any decoder of transformers: rows of different lengths, that join, leave, fork and forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

SPARE = 64  # places at least by which a layer grows: a copy per token would be most of a small model's time


class RoomyCache(Cache):
    """A cache of which every row ends at one place, filled up on the left: the form that all decoders understand.

    Virtual tokens of adapters come first, also filled up on the left: `max(virtual)` places, then those of tokens.
    A sliding window is the mask's business; every layer keeps all tokens, so that they can be forgotten again.
    """

    def __init__(self, layers: int) -> None:
        self.roomy = [RoomyLayer() for _ in range(layers)]
        super().__init__(layers=list(self.roomy))
        self.lengths: list[int] = []
        """Tokens of each row."""
        self.virtual: list[int] = []
        """Virtual tokens of each row, which come before them."""

    def arrange(
        self,
        rows: Sequence[int],
        lengths: Sequence[int],
        more: Sequence[int] | None = None,
        room: int | None = None,
        longest: int | None = None,
    ) -> None:
        """Go on with the first `lengths` tokens of these rows, put so that all end at one place after `more` tokens.

        room, longest: places of virtual tokens and of tokens, where they must be more than these rows need.
        """
        added = [0] * len(rows) if more is None else list(more)
        virtual = [self.virtual[row] for row in rows]
        old_room, old_longest = max(self.virtual, default=0), max(self.lengths, default=0)
        new_room = max(virtual, default=0) if room is None else room
        ends = [length + count for length, count in zip(lengths, added, strict=True)]
        new_longest = max(ends, default=0) if longest is None else longest
        same = list(rows) == list(range(len(self.lengths))) and (new_room, new_longest) == (old_room, old_longest)
        if not same or list(lengths) != self.lengths or any(added):
            starts = torch.tensor([old_longest - self.lengths[row] for row in rows])[:, None] + old_room
            before = torch.tensor([new_longest - end for end in ends])[:, None]
            tokens = starts + torch.arange(new_longest) - before
            first = torch.arange(new_room).expand(len(rows), -1) + (old_room - new_room)
            places = torch.cat([first, tokens], 1).clamp(0, max(0, old_room + old_longest - 1))
            for layer in self.roomy:
                layer.arrange(list(rows), places, max(added, default=0))
        self.lengths, self.virtual = list(lengths), virtual

    def absorb(self, others: Sequence[RoomyCache]) -> None:
        """Add the rows of other caches behind its own."""
        caches = [each for each in (self, *others) if each.lengths]
        room = max(max(each.virtual) for each in caches)
        longest = max(max(each.lengths) for each in caches)
        for each in caches:
            each.arrange(range(len(each.lengths)), each.lengths, room=room, longest=longest)
        for place, layer in enumerate(self.roomy):
            layer.take([each.roomy[place] for each in caches])
        self.lengths = [length for each in caches for length in each.lengths]
        self.virtual = [count for each in caches for count in each.virtual]

    def write_only(self, written: torch.Tensor | None) -> None:
        """At the next pass, write these of its tokens alone (bool, rows x tokens); the others' places are taken."""
        for layer in self.roomy:
            layer.written = written


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values: rows x heads x places x head width, the first `end` places in use."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.both: list[torch.Tensor] = []
        self.end = 0
        self.written: torch.Tensor | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Called by `update` of the library's own layers."""
        self.both = [each.new_zeros(*each.shape[:2], 0, each.shape[3]) for each in (key_states, value_states)]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.end = self.end, self.end + key_states.shape[2]
        for place, (kept, new) in enumerate(zip(self.both, (key_states, value_states), strict=True)):
            if kept.shape[2] < self.end:
                grown = kept.new_zeros(*kept.shape[:2], self.end + max(SPARE, self.end // 4), kept.shape[3])
                grown[:, :, : kept.shape[2]] = kept
                self.both[place] = kept = grown
            there = kept[:, :, start : self.end]
            there.copy_(new if self.written is None else torch.where(self.written[:, None, :, None], new, there))
        return self.both[0][:, :, : self.end], self.both[1][:, :, : self.end]

    def get_seq_length(self) -> int:
        """Places in use."""
        return self.end

    def arrange(self, rows: Sequence[int], places: torch.Tensor, more: int) -> None:
        """Go on with these rows; what comes to place p of row i was at `places[i, p]`. The last `more` are not in use yet."""
        found = []
        for kept in self.both:
            some = kept if list(rows) == list(range(len(kept))) else kept[list(rows)]
            index = places.to(kept.device)[:, None, :, None].expand(-1, kept.shape[1], -1, kept.shape[3])
            found.append(some.gather(2, index))
        self.both, self.end = found, places.shape[1] - more

    def take(self, layers: Sequence[RoomyLayer]) -> None:
        """Hold the rows of all `layers`, which have as many places in use."""
        self.end, self.is_initialized = layers[0].end, True
        self.both = [torch.cat([each.both[which][:, :, : self.end] for each in layers]) for which in range(2)]
