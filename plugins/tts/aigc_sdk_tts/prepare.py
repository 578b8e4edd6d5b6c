"""Recordings read for training: every file checked, aligned where it was not, cut into clauses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aigc_sdk.errors import DataError, printable

from .features import Analysis
from .recordings import Clip, Recording, Row, clips, read_clip_parts, recordings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Corrupt = Literal["refuse", "skip"]
Read: TypeAlias = "tuple[Recording, NDArray[np.float32], list[Row] | None]"


def read_clips(data: Any, name: str, analysis: Analysis, voices: Sequence[str], corrupt: Corrupt) -> list[Clip]:
    """The clauses of all recordings in a folder. Raises DataError, which names the file and what to do."""
    read = read_recordings(data, name, analysis, corrupt, lambda each: _voice(each, voices))
    found: list[Clip] = []
    for each, samples, rows in aligned(read, analysis):
        found += clips(samples, rows, analysis, _voice(each, voices))
    return found


def read_recordings(
    data: Any, name: str, analysis: Analysis, corrupt: Corrupt, check: Callable[[Recording], object]
) -> list[Read]:
    """Each recording with its samples, and its alignment where one is given; `check` may refuse one by raising DataError."""
    read: list[Read] = []
    for each in recordings(data):
        check(each)
        try:
            read.append((each, *read_clip_parts(each, analysis)))
        except DataError:
            if corrupt == "refuse":
                raise
    if not read:
        raise DataError(f"{name}: no recording can be used", field=name)
    return read


def aligned(read: list[Read], analysis: Analysis) -> list[tuple[Recording, NDArray[np.float32], list[Row]]]:
    """Recordings with alignments, found out where there are none."""
    given = [(each, samples, rows) for each, samples, rows in read if rows is not None]
    if given:
        return given
    from .durations import align

    found = align([(samples, each.text) for each, samples, _ in read], analysis)
    return [(each, samples, rows) for (each, samples, _), rows in zip(read, found, strict=True)]


def _voice(recording: Recording, voices: Sequence[str]) -> int:
    """The number of a recording's voice; the first where it names none."""
    if not recording.voice:
        return 0
    if recording.voice not in voices:
        raise DataError(
            f"{printable(recording.name)} is of the voice {printable(recording.voice)!r}, the model has "
            f"{', '.join(voices)}; make a model with voices={(*voices, recording.voice)!r}",
            field="data",
        )
    return list(voices).index(recording.voice)
