"""One packed matrix, and products with it."""

from __future__ import annotations

import weakref

import numpy as np

from aigc_sdk.errors import InputError, OutOfMemory

from .arrays import Array, checked, matrix, plain
from .library import check_threads, library, path_number, precision_number

INPUT_LIMIT = 1 << 16  # of inputs in int8: 65536 products of bytes are sure to fit 32 bits


class Matrix:
    """A matrix packed once, with which any number of rows are multiplied.

        packed = Matrix(weight, bias, precision="int8")     # weight: inputs x outputs
        y = packed(x)                                       # x @ weight + bias, float32

    weight: float32, or uint16 with the bits of bfloat16, with any strides. bias: outputs, or None.
    precision: "float32"; "bfloat16", where weights and inputs are rounded to it and sums are float32; or "int8", where
    weights are integers with one scale per output and inputs bytes over the range of each row. path: one of `paths()`.
    The result is the same for any number of threads, and each row's is the same whatever rows are beside it.
    Raises InputError, OptionError, OutOfMemory, and MissingDependency where the library is not there.
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        *,
        precision: str = "float32",
        path: str = "auto",
        threads: int = 1,
    ) -> None:
        self._library = library()
        self._precision, self._path = precision_number(precision), path_number(path)
        weight = checked(weight, (None, None), "weight")
        check_inputs(weight.shape[0], precision, "weight")
        self.inputs, self.outputs = weight.shape
        bias = None if bias is None else plain(bias, (self.outputs,), "bias")
        address, half, by_input, by_output = matrix(weight)
        self._handle = self._library.kernels_linear(
            self._precision,
            self.outputs,
            self.inputs,
            address,
            half,
            by_input,
            by_output,
            None if bias is None else bias.ctypes.data,
            check_threads(threads),
        )
        if not self._handle:
            raise OutOfMemory(f"aigc-sdk-kernels: no memory for a matrix of {self.inputs} x {self.outputs}")
        weakref.finalize(self, self._library.kernels_free_linear, self._handle)

    def __call__(self, x: Array, *, threads: int = 1) -> Array:
        """The rows of `x`, float32, times the matrix: rows x outputs."""
        x = plain(x, (None, self.inputs), "x")
        made = np.empty((len(x), self.outputs), np.float32)
        if self._library.kernels_product(
            self._path, self._precision, self._handle, x.ctypes.data, len(x), made.ctypes.data, check_threads(threads)
        ):
            raise OutOfMemory(f"aigc-sdk-kernels: no memory for {len(x)} rows of {self.inputs}")
        return made


def check_inputs(inputs: int, precision: str, name: str) -> None:
    """Refuse what would not fit the sums."""
    if precision == "int8" and inputs > INPUT_LIMIT:
        raise InputError(
            f"aigc-sdk-kernels: {name} has {inputs} inputs; int8 takes {INPUT_LIMIT} at most, use precision='bfloat16'",
            field=name,
        )
