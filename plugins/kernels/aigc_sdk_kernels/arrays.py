"""Arrays as the compiled library takes them: addresses and strides, checked before they are handed on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigc_sdk.errors import InputError

Array = NDArray[Any]
"""float32, or uint16 that holds the bits of bfloat16."""


def checked(array: Array, shape: tuple[int | None, ...], name: str) -> Array:
    """`array`, float32 or uint16 of this shape (None: any size). Raises InputError for another."""
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.uint16):
        kind = getattr(array, "dtype", type(array).__name__)
        raise InputError(
            f"aigc-sdk-kernels: {name} is {kind}; pass a numpy array of float32, or of uint16 with the bits of bfloat16",
            field=name,
        )
    if array.ndim != len(shape) or any(size not in (None, own) for size, own in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        raise InputError(
            f"aigc-sdk-kernels: {name} has the shape {array.shape}; the network needs {wanted}", field=name
        )
    if 0 in array.shape:
        raise InputError(f"aigc-sdk-kernels: {name} of shape {array.shape} is empty", field=name)
    return array


def plain(array: Array, shape: tuple[int | None, ...], name: str) -> Array:
    """The same as contiguous float32."""
    array = checked(array, shape, name)
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(array)


def whole(array: Array, shape: tuple[int | None, ...], name: str) -> Array:
    """The same without gaps, copied only where it has some."""
    return np.ascontiguousarray(checked(array, shape, name))


def matrix(array: Array) -> tuple[int, bool, int, int]:
    """Address, whether it is bfloat16, and both strides in elements, of an inputs x outputs matrix."""
    by_input, by_output = (stride // array.itemsize for stride in array.strides)
    return array.ctypes.data, array.dtype == np.uint16, by_input, by_output
