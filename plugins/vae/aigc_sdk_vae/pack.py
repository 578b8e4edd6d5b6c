"""Codes as bytes: every code takes the same number of bits, the fewest that tell all entries of the codebook apart.

1 byte    format
4 bytes   which model wrote them: the first of the sha256 of its fingerprint
the rest  the codes, row by row, the highest bit of each first; zeros fill the last byte
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from aigc_sdk.errors import DataError

FORMAT = 1
HEAD = 5  # bytes


def pack(codes: NDArray[np.int64], entries: int, fingerprint: str) -> bytes:
    """The bytes of codes, each from 0 to entries - 1."""
    places = np.arange(_width(entries))[::-1]
    bits = (codes.reshape(-1, 1) >> places) & 1
    return _head(fingerprint) + np.packbits(bits.astype(np.uint8)).tobytes()


def unpack(data: bytes, count: int, entries: int, fingerprint: str) -> NDArray[np.int64]:
    """`count` codes from the bytes that `pack` made. Raises DataError for all others."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise DataError(f"data is a {type(data).__name__}; pass the bytes that `compress` returned", field="data")
    data, width = bytes(data), _width(entries)
    if len(data) < HEAD or data[0] != FORMAT:
        raise DataError("data is no picture that `compress` wrote; pass its bytes unchanged", field="data")
    if data[:HEAD] != _head(fingerprint):
        raise DataError("data was compressed by another model; open the model that wrote it", field="data")
    if len(data) != HEAD + (count * width + 7) // 8:
        raise DataError(
            f"data has {len(data)} bytes, a picture of this model takes {HEAD + (count * width + 7) // 8}; it was cut or "
            "added to",
            field="data",
        )
    bits = np.unpackbits(np.frombuffer(data, np.uint8)[HEAD:])
    codes = bits[: count * width].reshape(count, width).astype(np.int64) @ (1 << np.arange(width)[::-1])
    if bits[count * width :].any() or codes.max() >= entries:
        raise DataError("data is damaged: it holds codes that the model does not have; fetch it again", field="data")
    return codes


def _width(entries: int) -> int:
    return (entries - 1).bit_length()


def _head(fingerprint: str) -> bytes:
    return bytes([FORMAT]) + hashlib.sha256(fingerprint.encode()).digest()[: HEAD - 1]
