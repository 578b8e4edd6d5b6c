"""A GPT-2 with packed weights, and the sequences that grow in it."""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aigc_sdk.errors import InputError, OutOfMemory

from .arrays import Array, checked, matrix, plain, whole
from .library import check_threads, library, path_number, paths, precision_number
from .matrix import check_inputs

SPARE_LIMIT = 256 << 20  # bytes of keys and values that a network keeps for its next rows


class Norm(NamedTuple):
    """A layer norm: weight and bias of the width, and what is added to the variance."""

    weight: Array
    bias: Array
    epsilon: float


class Affine(NamedTuple):
    """A linear layer: weight inputs x outputs, with any strides, and bias."""

    weight: Array
    bias: Array


class Block(NamedTuple):
    """One block of GPT-2: norm, attention, norm, feed-forward with GELU in its tanh form (Radford et al. 2019)."""

    norms: tuple[Norm, Norm]
    qkv: Affine
    mix: Affine
    widen: Affine
    narrow: Affine
    scaling: float
    """What the scores are multiplied with, 1 / sqrt(width of a head) in GPT-2."""


class Network:
    """The weights of a GPT-2, packed once for one precision.

    tokens: vocabulary x width; positions: context x width. Both are read where they lie, and must not change.
    head: width x vocabulary. Arrays are float32, or uint16 with the bits of bfloat16. precision: of the weights and of
    what they are multiplied with, as in `Matrix`; the sums, the norms and what lies between the layers are float32. Keys
    and values are float32 for "float32" and bfloat16 otherwise. path: one of `paths()`. threads: that pack.
    Raises InputError for shapes that do not belong together, OptionError, OutOfMemory, MissingDependency.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        tokens: Array,
        positions: Array,
        norm: Norm,
        head: Array,
        heads: int,
        precision: str = "float32",
        path: str = "auto",
        threads: int = 1,
    ) -> None:
        self._library = library()
        number = path_number(path)
        self.precision, self.path = precision, paths()[number]
        self.tokens = whole(tokens, (None, None), "tokens")
        self.vocabulary, self.width = self.tokens.shape
        self.positions = whole(positions, (None, self.width), "positions")
        self.context = len(self.positions)
        if type(heads) is not int or heads < 1 or self.width % heads:
            raise InputError(f"aigc-sdk-kernels: heads={heads!r} do not divide the width {self.width}", field="heads")
        if not blocks:
            raise InputError("aigc-sdk-kernels: a network needs at least one block", field="blocks")
        self.heads, self.layers = heads, len(blocks)
        self.inner = checked(blocks[0].widen.weight, (self.width, None), "blocks[0].widen.weight").shape[1]
        check_inputs(max(self.width, self.inner), precision, "a layer")
        shape = (self.layers, self.width, self.inner, heads, self.vocabulary, self.context)
        self.handle = self._library.kernels_network(number, precision_number(precision), *shape)
        if not self.handle:
            raise OutOfMemory(f"aigc-sdk-kernels: no memory for the {precision} weights of {self.layers} blocks")
        weakref.finalize(self, self._library.kernels_free_network, self.handle)
        self._spare: deque[tuple[int, int]] = deque()
        weakref.finalize(self, _free_rows, self._spare, sys.maxsize)
        self.bytes: int = self._library.kernels_network_bytes(self.handle)
        """Of the packed weights."""
        self._fill(blocks, norm, head, check_threads(threads))

    def spare_row(self, room: int) -> int | None:
        """The memory of a row that is done with, for one of this room; None: there is none.

        Memory that is new to the process is slow: the system hands it out page by page, each filled with zeros.
        """
        for _ in range(len(self._spare)):
            try:
                own, handle = self._spare.popleft()
            except IndexError:  # another thread was faster
                return None
            if own == room:
                self._library.kernels_shorten(handle, 0)
                return handle
            self._spare.append((own, handle))
        return None

    def take_back(self, room: int, handle: int) -> None:
        """Keep a row's memory for the next, as far as SPARE_LIMIT allows: the oldest goes first."""
        self._spare.append((room, handle))
        limit = SPARE_LIMIT // self._library.kernels_row_bytes(self.handle, 1)
        if sum(own for own, _ in list(self._spare)) > limit:
            _free_rows(self._spare, 1)

    def _fill(self, blocks: Sequence[Block], norm: Norm, head: Array, threads: int) -> None:
        width, inner = self.width, self.inner
        for layer, block in enumerate(blocks):
            name = f"blocks[{layer}]"
            self._pack(layer, 0, block.qkv, (width, 3 * width), f"{name}.qkv", threads)
            self._pack(layer, 1, block.mix, (width, width), f"{name}.mix", threads)
            self._pack(layer, 2, block.widen, (width, inner), f"{name}.widen", threads)
            self._pack(layer, 3, block.narrow, (inner, width), f"{name}.narrow", threads)
            for place, each in enumerate(block.norms):
                self._norm(layer, place, each, f"{name}.norms[{place}]")
            self._library.kernels_scaling(self.handle, layer, block.scaling)
        self._norm(-1, 0, norm, "norm")
        where = matrix(checked(head, (width, self.vocabulary), "head"))
        self._library.kernels_pack(self.handle, -1, 0, *where, None, threads)
        tables = (self.tokens.ctypes.data, self.tokens.dtype == np.uint16)
        self._library.kernels_tables(
            self.handle, *tables, self.positions.ctypes.data, self.positions.dtype == np.uint16
        )

    def _pack(self, layer: int, place: int, given: Affine, shape: tuple[int, int], name: str, threads: int) -> None:
        where = matrix(checked(given.weight, shape, f"{name}.weight"))
        bias = plain(given.bias, shape[1:], f"{name}.bias")
        self._library.kernels_pack(self.handle, layer, place, *where, bias.ctypes.data, threads)

    def _norm(self, layer: int, place: int, given: Norm, name: str) -> None:
        weight = plain(given.weight, (self.width,), f"{name}.weight")
        bias = plain(given.bias, (self.width,), f"{name}.bias")
        self._library.kernels_norm(
            self.handle, layer, place, weight.ctypes.data, bias.ctypes.data, float(given.epsilon)
        )


def _free_rows(spare: deque[tuple[int, int]], count: int) -> None:
    for _ in range(count):
        try:
            _, handle = spare.popleft()
        except IndexError:  # another thread was faster
            return
        library().kernels_free_row(handle)
