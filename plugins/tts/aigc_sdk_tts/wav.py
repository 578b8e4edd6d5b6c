"""WAV files for training: mono, 16 bits or more, at the rate that they are used at."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aigc_sdk.errors import DataError, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    """The samples in [-1, 1] of a mono 16-bit PCM file, and their rate. Raises DataError, which says what to do."""
    name = printable(str(path))
    try:
        with wave.open(str(path)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except FileNotFoundError as error:
        raise DataError(f"{name} is missing, and the transcript names it", field="data") from error
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{name} is no PCM WAV file: {printable(str(error))}; convert it", field="data") from error
    if channels != 1:
        raise DataError(f"{name} has {channels} channels; mix it down to one", field="data")
    if width != 2:
        raise DataError(f"{name} has {8 * width} bits per sample; convert it to 16-bit PCM", field="data")
    levels = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    return np.asarray(levels / 32768, np.float32), rate


def write_wav(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    """Write mono 16-bit PCM; samples beyond [-1, 1] are cut."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
