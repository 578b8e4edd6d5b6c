"""MNIST and CIFAR-10 from their standard files, as `Pictures`; nothing is downloaded, and nothing unpickled."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from aigc_sdk.errors import DataError
from aigc_sdk.training.images import Pictures, pictures

Split = tuple[Pictures, Pictures]
"""Training pictures and test pictures."""

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the red, green and blue planes


def binary_mnist(path: Path) -> Split:
    """Digits of pixels that are on or off, 28 x 28.

    Those of the files binarized_mnist_*.amat, on which the papers' figures are, if `path` is a folder with them; otherwise
    MNIST's greys, each pixel drawn once, as likely on as it is bright (Salakhutdinov & Murray 2008).
    """
    if path.is_dir() and list(path.glob("binarized_mnist_*.amat")):
        return _amat(path, "train"), _amat(path, "test")
    rng = np.random.default_rng(0)
    train, test = (
        Pictures(np.where(rng.random(each.pixels.shape) * 255 < each.pixels, 255, 0).astype(np.uint8))
        for each in mnist(path)
    )
    return train, test


def mnist(path: Path) -> Split:
    """Grey digits, 28 x 28: from the four idx files, gzipped or not, from mnist.npz, or from folders train and test."""
    if path.is_file() and path.suffix == ".npz":
        return _npz(path, "x_train"), _npz(path, "x_test")
    if path.is_dir() and list(path.glob("train-images*")):
        return _idx(path, "train-images"), _idx(path, "t10k-images")
    return _folders(path, 28, 1, "the idx files of MNIST, mnist.npz, or binarized_mnist_*.amat")


def cifar10(path: Path) -> Split:
    """Photographs in colour, 32 x 32: from the binary version's six files, or from folders train and test."""
    if path.is_dir() and list(path.glob("*_batch*.bin")):
        return _records(path, "data_batch_*.bin"), _records(path, "test_batch.bin")
    return _folders(path, 32, 3, "the .bin files of CIFAR-10's binary version, unpacked")


def _amat(path: Path, split: str) -> Pictures:
    file = path / f"binarized_mnist_{split}.amat"
    digits = np.frombuffer(_read(file), np.uint8)
    digits = digits[(digits == ord("0")) | (digits == ord("1"))]  # between them are spaces and ends of lines
    if not len(digits) or len(digits) % 784:
        raise _bad(file, "does not hold rows of 784 numbers that are 0 or 1")
    return Pictures(((digits - ord("0")) * np.uint8(255)).reshape(-1, 28, 28, 1))


def _idx(path: Path, name: str) -> Pictures:
    """The format is four bytes of kind, a big-endian 32-bit size per dimension, and the pixels."""
    file = next(iter(sorted(path.glob(f"{name}*"))), path / f"{name}-idx3-ubyte.gz")
    data = _read(file)
    sizes = [int.from_bytes(data[start : start + 4], "big") for start in (4, 8, 12)]
    if data[:4] != b"\0\0\x08\x03" or len(data) != 16 + math.prod(sizes):
        raise _bad(file, "is no whole idx file of pictures")
    return Pictures(np.frombuffer(data, np.uint8, offset=16).reshape(*sizes, 1))


def _npz(path: Path, name: str) -> Pictures:
    try:
        with np.load(path, allow_pickle=False) as file:
            pixels = file[name]
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise _bad(path, f"holds no array {name} ({error})") from error
    return pictures(pixels, size=28, channels=1, name=f"data: {path.name}, {name}")


def _records(path: Path, pattern: str) -> Pictures:
    files = sorted(path.glob(pattern))
    if not files:
        raise DataError(f"data: {path} has no {pattern}; unpack the whole binary version there", field="data")
    parts = []
    for file in files:
        data = np.frombuffer(_read(file), np.uint8)
        if not len(data) or len(data) % RECORD or data[::RECORD].max() > 9:
            raise _bad(file, f"does not hold records of {RECORD:,} bytes that begin with a label from 0 to 9")
        parts.append(data.reshape(-1, RECORD))
    rows = np.concatenate(parts)
    pixels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (n, h, w, 3)
    return Pictures(np.ascontiguousarray(pixels), rows[:, 0].astype(np.int64), CIFAR_CLASSES)


def _folders(path: Path, size: int, channels: Literal[1, 3], files: str) -> Split:
    if not all((path / each).is_dir() for each in ("train", "test")):
        raise DataError(f"data: {path} has none of {files}, and no folders train and test of pictures", field="data")
    train, test = (pictures(path / each, size=size, channels=channels) for each in ("train", "test"))
    return train, test


def _read(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(file, f"cannot be read: {error}") from error


def _bad(file: Path, what: str) -> DataError:
    return DataError(f"data: {file} {what}; fetch it again", field="data")
