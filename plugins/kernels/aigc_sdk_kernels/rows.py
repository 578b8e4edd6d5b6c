"""Sequences that grow in a network, and the memory of their keys and values."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aigc_sdk.errors import ContextOverflow, InputError, OutOfMemory

from .library import check_threads, library
from .network import Network

STEP = 64  # tokens by which the room of rows goes up: rows of nearly one length can then use each other's


class Rows:
    """Sequences that grow in a network, of any lengths. What one computes does not depend, in any bit, on the others.

    A row's memory is what `add` makes room for, more only where it outgrows that, and free again when it is dropped.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.lengths: list[int] = []
        """Tokens that each row holds."""
        self._rows: list[Row] = []

    def add(self, room: Sequence[int]) -> None:
        """Empty rows behind those that are there, with room for so many tokens each.

        Raises ContextOverflow for more than the network has positions, InputError, or OutOfMemory; no row is added then.
        """
        for tokens in room:
            if tokens < 1:
                raise InputError(f"aigc-sdk-kernels: room={tokens}; a row holds at least 1 token", field="room")
            excess = tokens - self.network.context
            if excess > 0:
                raise self._overflow(f"room={tokens}", excess)
        made = [Row(self.network, tokens) for tokens in room]
        self._rows += made
        self.lengths += [0] * len(made)

    def forward(
        self, tokens: NDArray[np.int64], counts: Sequence[int], *, first: int = 0, every: bool = False, threads: int = 1
    ) -> NDArray[np.float32]:
        """Append tokens to the rows from `first` on, counts[i] of them to row first + i.

        tokens: all of them, row by row. The logits after the last token of each row that got some, or after `every`
        token: as many x vocabulary. Raises InputError for tokens outside the vocabulary, ContextOverflow, OutOfMemory; no
        row has grown then.
        """
        tokens = np.ascontiguousarray(tokens, np.int64)
        self._check(tokens, counts, first)
        for at, count in enumerate(counts, first):
            self._rows[at] = self._rows[at].holding(self.lengths[at] + count)
        rows = self._rows[first:]
        asked = len(tokens) if every else sum(count > 0 for count in counts)
        made = np.empty((asked, self.network.vocabulary), np.float32)
        answer = library().kernels_forward(
            self.network.handle,
            len(rows),
            (ctypes.c_void_p * len(rows))(*[row.handle for row in rows]),
            (ctypes.c_int * len(rows))(*counts),
            tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
            every,
            made.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            check_threads(threads),
        )
        if answer:  # the arguments are checked: it is the memory
            raise OutOfMemory("aigc-sdk-kernels: no memory for the layers of this call; append fewer tokens at a time")
        self.lengths[first:] = [length + count for length, count in zip(self.lengths[first:], counts, strict=True)]
        return made

    def rewind(self, counts: Sequence[int]) -> None:
        """Forget the last counts[i] tokens of row i. Raises InputError for more than it holds; no row is changed then."""
        if len(counts) != len(self._rows):
            raise InputError(
                f"aigc-sdk-kernels: {len(counts)} counts for {len(self._rows)} rows; give one each", field="counts"
            )
        for at, (count, length) in enumerate(zip(counts, self.lengths, strict=True)):
            if not 0 <= count <= length:
                raise InputError(
                    f"aigc-sdk-kernels: row {at} holds {length} tokens and cannot forget {count}", field="counts"
                )
        self.lengths = [length - count for length, count in zip(self.lengths, counts, strict=True)]
        for row, length in zip(self._rows, self.lengths, strict=True):
            row.shorten(length)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order; a row that is named twice goes on twice, one that is not is dropped."""
        for row in rows:
            if not 0 <= row < len(self._rows):
                raise InputError(f"aigc-sdk-kernels: there is no row {row} among {len(self._rows)}", field="rows")
        seen: set[int] = set()
        kept = []
        for row in rows:
            kept.append(self._rows[row].fork(self._rows[row].room) if row in seen else self._rows[row])
            seen.add(row)
        self._rows, self.lengths = kept, [self.lengths[row] for row in rows]

    def _check(self, tokens: NDArray[np.int64], counts: Sequence[int], first: int) -> None:
        lengths = self.lengths[first:]
        if len(counts) != len(lengths):
            raise InputError(
                f"aigc-sdk-kernels: {len(counts)} counts for {len(lengths)} rows; give one each", field="counts"
            )
        if min(counts, default=0) < 0 or tokens.shape != (sum(counts),):
            raise InputError(
                f"aigc-sdk-kernels: tokens of shape {tokens.shape} for the counts {list(counts)}", field="tokens"
            )
        vocabulary = self.network.vocabulary
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < vocabulary):
            token = next(int(each) for each in tokens if not 0 <= each < vocabulary)
            raise InputError(
                f"aigc-sdk-kernels: token {token} is outside the vocabulary of {vocabulary}", field="tokens"
            )
        for row, (length, count) in enumerate(zip(lengths, counts, strict=True), first):
            excess = length + count - self.network.context
            if excess > 0:
                raise self._overflow(f"{count} tokens more for row {row}, which holds {length},", excess)

    def _overflow(self, what: str, excess: int) -> ContextOverflow:
        context = self.network.context
        return ContextOverflow(
            f"aigc-sdk-kernels: {what} is {excess} more than the context of {context} holds; shorten it", excess=excess
        )


class Row:
    """One row's memory; it goes back to the network with the object."""

    def __init__(self, network: Network, room: int) -> None:
        self.network = network
        self.room = -(-room // STEP) * STEP
        self.handle = network.spare_row(self.room) or library().kernels_row(network.handle, self.room)
        if not self.handle:
            raise OutOfMemory(f"aigc-sdk-kernels: no memory for a row of {room} tokens; decode fewer at a time")
        weakref.finalize(self, network.take_back, self.room, self.handle)

    def shorten(self, length: int) -> None:
        """Forget what lies behind the first tokens."""
        library().kernels_shorten(self.handle, length)

    def fork(self, room: int) -> Row:
        """A row with such room that goes on from here by itself."""
        copy = Row(self.network, room)
        library().kernels_fork(self.network.handle, copy.handle, self.handle)
        return copy

    def holding(self, tokens: int) -> Row:
        """The same row with room for so many tokens."""
        return self if tokens <= self.room else self.fork(tokens)
