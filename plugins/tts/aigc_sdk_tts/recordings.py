"""Recordings for training, in the layout of LJSpeech.

    folder/metadata.csv     id|text|text as it is spoken, a line per recording; a fourth column names its voice
    folder/wavs/id.wav      mono, 16 bits, at the model's sample rate
    folder/alignments/id.tsv    optional: when each phoneme ends; where the folder is missing, it is found out

A line of an alignment is `seconds<TAB>phoneme<TAB>number of the word`; a pause is `seconds<TAB>pau<TAB>how the clause
before it ends`, such as "," or ".". Recordings are cut into clauses at their pauses.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aigc_sdk.errors import DataError, printable

from .features import Analysis, log_mel, pitch
from .phonemes import SYMBOLS
from .tokens import ENDINGS, LEAD, PAUSE, TRAIL, Tokens, tokens
from .wav import read_wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA, WAVS, ALIGNMENTS = "metadata.csv", "wavs", "alignments"
LONGEST = 30.0  # seconds of a recording
QUIET, CLIPPED, CLIPPED_PART = 0.01, 0.999, 0.002
SLACK = 0.3  # seconds by which an alignment may end before or after its recording


@dataclass(frozen=True)
class Row:
    """One line of an alignment: a phoneme with its word, or a pause with how the clause before it ends."""

    end: float
    phoneme: str
    mark: str


@dataclass(frozen=True)
class Recording:
    """One line of metadata.csv."""

    name: str
    text: str
    voice: str
    wav: Path
    alignment: Path | None


@dataclass(frozen=True)
class Clip:
    """One clause to learn from."""

    tokens: Tokens
    durations: Tensor
    """Frames of each phoneme, (p,)."""
    mel: Tensor
    """(t, mels), float16."""
    pitch: Tensor
    """Hz, (t,)."""
    voiced: Tensor
    """(t,), 0 or 1."""
    samples: Tensor
    """(t * hop,), int16."""


def recordings(data: Any) -> list[Recording]:
    """What metadata.csv lists. Raises DataError for a folder that is no such, and for recordings without a partner."""
    if not isinstance(data, str | Path):
        raise DataError(f"data is a {type(data).__name__}; give a folder with {METADATA} and {WAVS}/", field="data")
    folder = Path(data)
    shown = printable(str(folder))
    if not (folder / METADATA).is_file():
        raise DataError(f"{shown} has no {METADATA}; it lists `id|text|text as it is spoken`", field="data")
    aligned = (folder / ALIGNMENTS).is_dir()
    found = []
    for number, row in enumerate(_rows(folder / METADATA), 1):
        if len(row) < 2 or not row[0].strip() or not row[-1 if len(row) < 3 else 2].strip():
            raise DataError(f"{shown}/{METADATA}, line {number}: give `id|text|text as it is spoken`", field="data")
        name = row[0].strip()
        if "/" in name or "\\" in name or name.startswith("."):
            raise DataError(f"{shown}/{METADATA}, line {number}: {printable(name)!r} is no file's name", field="data")
        text, voice = (row[2] if len(row) > 2 else row[1]).strip(), row[3].strip() if len(row) > 3 else ""
        alignment = folder / ALIGNMENTS / f"{name}.tsv" if aligned else None
        found.append(Recording(name, text, voice, folder / WAVS / f"{name}.wav", alignment))
    _check_names(found, folder)
    return found


def read_clip_parts(recording: Recording, analysis: Analysis) -> tuple[NDArray[np.float32], list[Row] | None]:
    """The samples of a recording and its alignment, both checked. Raises DataError, which names the file."""
    samples, rate = read_wav(recording.wav)
    _check_sound(samples, rate, recording.wav, analysis)
    if recording.alignment is None:
        return samples, None
    return samples, read_alignment(recording.alignment, len(samples) / rate)


def read_alignment(path: Path, seconds: float) -> list[Row]:
    """The rows of an alignment of a recording of `seconds`. Raises DataError, which names the line."""
    shown = printable(str(path))
    if not path.is_file():
        raise DataError(f"{shown} is missing; align every recording or none", field="data")
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{shown}, line {number}"
        parts = line.split("\t")
        try:
            row = Row(float(parts[0]), parts[1], parts[2])
        except (ValueError, IndexError) as error:
            raise DataError(f"{where}: give `seconds<TAB>phoneme<TAB>word`", field="data") from error
        if row.phoneme != PAUSE and row.phoneme not in SYMBOLS:
            raise DataError(f"{where}: {printable(row.phoneme)!r} is neither {PAUSE} nor a phoneme", field="data")
        if row.phoneme == PAUSE and row.mark not in ENDINGS:
            raise DataError(f"{where}: a clause cannot end with {printable(row.mark)!r}", field="data")
        if not (rows[-1].end if rows else 0.0) <= row.end <= seconds + SLACK:
            raise DataError(f"{where}: {row.end} s is before the line above or after the recording", field="data")
        rows.append(row)
    if all(row.phoneme == PAUSE for row in rows):
        raise DataError(f"{shown} holds no phoneme", field="data")
    return rows


def write_alignment(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as `read_alignment` reads them."""
    path.write_text("".join(f"{row.end:.4f}\t{row.phoneme}\t{row.mark}\n" for row in rows), encoding="utf-8")


def clips(samples: NDArray[np.float32], rows: Sequence[Row], analysis: Analysis, voice: int = 0) -> Iterator[Clip]:
    """The clauses of an aligned recording."""
    before, clause = 0.0, []
    for row in (*rows, Row(len(samples) / analysis.sample_rate, PAUSE, "")):
        if row.phoneme != PAUSE:
            clause.append((before, row))
        elif clause:
            yield _clip(samples, clause, row, analysis, voice)
            clause = []
        before = row.end


def _clip(
    samples: NDArray[np.float32], clause: list[tuple[float, Row]], pause: Row, analysis: Analysis, voice: int
) -> Clip:
    """One clause with its phonemes, cut out with LEAD and TRAIL frames of what is around it."""
    hop, rate = analysis.hop, analysis.sample_rate
    first = round(clause[0][0] * rate) - LEAD * hop
    ends = [LEAD, *(LEAD + round((row.end - clause[0][0]) * rate / hop) for _, row in clause)]
    for place in range(1, len(ends)):  # every phoneme has a frame at least
        ends[place] = max(ends[place], ends[place - 1] + 1)
    durations = [LEAD, *np.diff(ends), TRAIL]
    sound = _cut(samples, first, sum(durations) * hop)
    mel = log_mel(sound, analysis).T
    tones, voiced = pitch(sound, analysis)
    words: dict[str, list[str]] = {}
    for _, row in clause:
        words.setdefault(row.mark, []).append(row.phoneme)
    return Clip(
        tokens(list(words.values()), pause.mark, voice),
        torch.tensor(durations),
        mel.half().contiguous(),
        tones,
        voiced.float(),
        (sound * 32767).round().short(),
    )


def _cut(samples: NDArray[np.float32], first: int, size: int) -> Tensor:
    """`size` samples from `first`, with zeros where there are none."""
    sound = torch.zeros(size)
    start, stop = max(0, first), min(len(samples), first + size)
    sound[start - first : stop - first] = torch.from_numpy(samples[start:stop])
    return sound


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(str(path))} is not UTF-8 text: {error}", field="data") from error
    return [row for row in csv.reader(text.splitlines(), delimiter="|", quoting=csv.QUOTE_NONE) if row]


def _check_names(found: list[Recording], folder: Path) -> None:
    """Every transcript has a sound and every sound a transcript."""
    shown = printable(str(folder))
    if not found:
        raise DataError(f"{shown}/{METADATA} lists no recording", field="data")
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"{shown}/{METADATA} lists {printable(twice)!r} twice", field="data")
    sounds = {each.stem for each in (folder / WAVS).glob("*.wav")}
    missing, extra = sorted(set(names) - sounds), sorted(sounds - set(names))
    if missing:
        raise DataError(f"{shown}/{WAVS} has no {printable(missing[0])}.wav, which {METADATA} lists", field="data")
    if extra:
        raise DataError(f"{shown}/{WAVS}/{printable(extra[0])}.wav has no line in {METADATA}", field="data")


def _check_sound(samples: NDArray[np.float32], rate: int, path: Path, analysis: Analysis) -> None:
    shown, loudness = printable(str(path)), np.abs(samples)
    if rate != analysis.sample_rate:
        raise DataError(
            f"{shown} has {rate:,} samples a second, the model {analysis.sample_rate:,}; resample it", field="data"
        )
    if not 2 * analysis.fft <= len(samples) <= LONGEST * rate:
        raise DataError(f"{shown} lasts {len(samples) / rate:.2f} s; give from 0.2 to {LONGEST:g} s", field="data")
    if loudness.max() < QUIET:
        raise DataError(f"{shown} is silent: no sample above {QUIET}", field="data")
    if (loudness > CLIPPED).mean() > CLIPPED_PART:
        raise DataError(f"{shown} is clipped: many samples are at the limit; record it less loudly", field="data")
