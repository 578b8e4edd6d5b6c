"""When each phoneme of a recording is said, found out from the recordings and their transcripts alone.

Hidden Markov models with one Gaussian per state, two states per phoneme, and pauses that may be left out between clauses.
They start from an even division of what is not silent, and are estimated along the best path again and again (segmental
k-means, Juang and Rabiner 1990). There is nothing random in it, so the same recordings give the same alignments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from aigc_sdk.errors import DataError, PromptError, printable

from .features import Analysis, log_mel
from .front import analyse
from .phonemes import SYMBOLS
from .recordings import Row
from .tokens import PAUSE

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = 2  # states of a phoneme
CEPSTRA = 13
ROUNDS = 14
LEAST_DEVIATION = 0.15  # of a Gaussian, as part of the deviation over all frames
SILENCE = 0.25  # part of the way from the quietest to the loudest frame, in log energy, below which one is silent
MODELS = {name: index for index, name in enumerate((PAUSE, *sorted({each.rstrip("012") for each in SYMBOLS})))}


@dataclass(frozen=True)
class _Path:
    """The states of one recording in order, and what lies in it."""

    frames: NDArray[np.float32]  # (t, features)
    rows: list[Row]  # one per phoneme or pause, their ends not yet known
    models: NDArray[np.int64]  # the Gaussian of each state, (s,)
    skips: NDArray[np.bool_]  # where the states of a pause begin, which may be left out, (s,)


def align(recordings: Sequence[tuple[NDArray[np.float32], str]], analysis: Analysis) -> list[list[Row]]:
    """The alignment of each recording, given as samples and transcript. Raises DataError for one too short for its text."""
    paths = [_path(samples, text, analysis) for samples, text in recordings]
    everything = np.concatenate([each.frames for each in paths])
    least = (LEAST_DEVIATION * everything.std(0)) ** 2
    found = [_even(each) for each in paths]
    for _ in range(ROUNDS):
        means, variances = _estimated(paths, found, least)
        found = [_best(each, means, variances) for each in paths]
    return [_timed(path, states, analysis) for path, states in zip(paths, found, strict=True)]


def _path(samples: NDArray[np.float32], text: str, analysis: Analysis) -> _Path:
    shown = printable(text, 60)
    rows = [Row(0.0, PAUSE, "")]
    number = 0
    try:
        for clause in analyse(text):
            for word in clause.words:
                rows += [Row(0.0, phoneme, str(number)) for phoneme in word.phonemes]
                number += 1
            rows.append(Row(0.0, PAUSE, clause.ending))
    except PromptError as error:
        raise DataError(f"the transcript {shown!r} cannot be read: {error}", field="data") from error
    frames = _features(samples, analysis)
    if len(frames) < PARTS * len(rows):
        raise DataError(
            f"the recording of {shown!r} lasts {len(samples) / analysis.sample_rate:.2f} s, too short for its "
            f"{len(rows)} phonemes; is the transcript its own?",
            field="data",
        )
    models = [PARTS * MODELS[row.phoneme.rstrip("012")] + part for row in rows for part in range(PARTS)]
    skips = [row.phoneme == PAUSE and part == 0 for row in rows for part in range(PARTS)]
    return _Path(frames, rows, np.array(models), np.array(skips))


def _features(samples: NDArray[np.float32], analysis: Analysis) -> NDArray[np.float32]:
    """Cepstra of the mel bands and their change over time, (t, 2 * CEPSTRA)."""
    sound = torch.from_numpy(samples[: len(samples) // analysis.hop * analysis.hop].copy())
    mel = log_mel(sound, analysis).T.numpy()
    places = np.pi / analysis.mels * (np.arange(analysis.mels) + 0.5)
    cepstra = mel @ np.cos(places[:, None] * np.arange(CEPSTRA)) / analysis.mels
    around = np.pad(cepstra, ((2, 2), (0, 0)), mode="edge")
    change = (2 * (around[4:] - around[:-4]) + around[3:-1] - around[1:-3]) / 10
    return np.concatenate([cepstra, 2 * change], 1).astype(np.float32)


def _even(path: _Path) -> NDArray[np.int64]:
    """The state of each frame, (t,): pauses where the ends are silent, and the rest divided evenly."""
    energy = path.frames[:, 0]
    loud = np.flatnonzero(energy > energy.min() + SILENCE * (np.percentile(energy, 95) - energy.min()))
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(energy))
    spoken = np.flatnonzero(path.models // PARTS != MODELS[PAUSE])
    if last - first < len(spoken):
        first, last = 0, len(energy)
    states = np.zeros(len(energy), np.int64)
    states[first:last] = spoken[np.arange(last - first) * len(spoken) // (last - first)]
    states[:first] = np.arange(first) * PARTS // max(1, first)
    after = len(energy) - last
    states[last:] = len(path.models) - PARTS + np.arange(after) * PARTS // max(1, after)
    return states


def _estimated(
    paths: Sequence[_Path], found: Sequence[NDArray[np.int64]], least: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of every Gaussian, (models, features) each; a rare one leans on all frames."""
    frames = np.concatenate([each.frames for each in paths]).astype(np.float64)
    owners = np.concatenate([path.models[states] for path, states in zip(paths, found, strict=True)])
    size = PARTS * len(MODELS)
    counts = np.bincount(owners, minlength=size)[:, None] + 2.0
    sums, squares = np.zeros((size, frames.shape[1])), np.zeros((size, frames.shape[1]))
    np.add.at(sums, owners, frames)
    np.add.at(squares, owners, frames**2)
    means = (sums + 2.0 * frames.mean(0)) / counts
    variances = (squares + 2.0 * (frames**2).mean(0)) / counts - means**2
    return means, np.maximum(variances, least)


def _best(path: _Path, means: NDArray[np.float64], variances: NDArray[np.float64]) -> NDArray[np.int64]:
    """The likeliest state of each frame, (t,), by Viterbi's algorithm: stay, go on, or leave a pause out."""
    likely = _likelihoods(path, means, variances)  # (t, s)
    frames, states = likely.shape
    jumps = np.zeros(states, bool)  # states that can be reached past a pause
    jumps[PARTS + 1 :] = path.skips[1:-PARTS]
    score = np.full(states, -np.inf)
    score[0] = likely[0, 0]
    if path.skips[0]:
        score[PARTS] = likely[0, PARTS]
    came = np.zeros((frames, states), np.int8)  # how many states back
    nothing = np.full(PARTS + 1, -np.inf)
    for frame in range(1, frames):
        went = np.concatenate([nothing[:1], score[:-1]])
        jumped = np.where(jumps, np.concatenate([nothing, score[: -PARTS - 1]]), -np.inf)
        choice = np.argmax((score, went, jumped), axis=0)
        came[frame] = np.array([0, 1, PARTS + 1])[choice]
        score = np.maximum(np.maximum(score, went), jumped) + likely[frame]
    last = states - 1 if score[-1] >= score[-1 - PARTS] else states - 1 - PARTS
    found = np.empty(frames, np.int64)
    for frame in range(frames - 1, -1, -1):
        found[frame] = last
        last -= came[frame, last]
    return found


def _likelihoods(path: _Path, means: NDArray[np.float64], variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of each Gaussian's density at each frame, (t, s)."""
    used, where = np.unique(path.models, return_inverse=True)
    precise = 1 / variances[used]
    constant = -0.5 * (np.log(variances[used]) + means[used] ** 2 * precise).sum(1)
    frames = path.frames.astype(np.float64)
    found = frames @ (means[used] * precise).T - 0.5 * frames**2 @ precise.T + constant
    return np.asarray(found[:, where])


def _timed(path: _Path, states: NDArray[np.int64], analysis: Analysis) -> list[Row]:
    """The rows that took any frames, with the seconds at which they end."""
    ends = np.searchsorted(states // PARTS, np.arange(len(path.rows)), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return [
        Row(float(end) * analysis.hop / analysis.sample_rate, row.phoneme, row.mark)
        for row, start, end in zip(path.rows, starts, ends, strict=True)
        if end > start
    ]
