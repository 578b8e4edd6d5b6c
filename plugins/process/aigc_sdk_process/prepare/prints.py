"""Fingerprints of pictures, films and sounds: what stays the same when a file is coded, scaled or made louder.

A picture's is the signs of its low frequencies (the perceptual hash of Zauner 2010, 64 bits) with a small copy of it; a
film's that of 16 of its frames; a sound's the signs of how the energy in its bands changes (Haitsma and Kalker 2002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
import PIL.Image

from aigc_sdk.artifacts import Artifact, Audio, Image, Video

from .reading import resampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, LOW = 32, 8  # of the grey copy, and of its low frequencies
SMALL = 8  # side of the copy in colours
COLOUR_LIMIT = 24  # how far the small copies of alike pictures may be apart on average, of 255
FRAMES = 16  # of a film
SOUND_RATE, FRAME, HOP = 5512, 2048, 64  # Hz; 0.37 s and 12 ms
BANDS, LOWEST, HIGHEST = 33, 300.0, 2000.0  # logarithmic, in Hz
OVERLAP = 0.8  # of the longer sound, which alike ones share
POSTINGS = 64  # places of one value that are looked at; what stands everywhere tells nothing
RECENT = 1 << 16  # places that are sorted anew for every sound
VOTES = 8  # places of a sound that are tried


def picture_hash(pixels: NDArray[np.uint8]) -> int:
    """64 bits of a picture (uint8, height x width x 3): which of its 8 x 8 lowest frequencies are above their median.

    The same bits as `imagehash.phash` gives.
    """
    from scipy.fft import dct

    grey = PIL.Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)
    waves = dct(dct(np.asarray(grey, np.float64), axis=0), axis=1)[:LOW, :LOW]
    bits = waves > np.median(waves)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sound_print(audio: Audio) -> NDArray[np.uint32]:
    """32 bits for every 12 ms of a sound; 0 where it is silent. Empty for less than 0.4 s."""
    mono = Audio(np.ascontiguousarray(audio.samples.mean(0, keepdims=True)), sample_rate=audio.sample_rate)
    samples = resampled(mono, SOUND_RATE).samples[0]
    if len(samples) < FRAME + HOP:
        return np.zeros(0, np.uint32)
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * FRAME / SOUND_RATE
    starts = np.round(edges).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    energy = np.empty((len(windows), BANDS))
    for start in range(0, len(windows), 256):
        power = np.abs(np.fft.rfft(windows[start : start + 256] * np.hanning(FRAME), axis=1)) ** 2
        energy[start : start + 256] = np.add.reduceat(power[:, : starts[-1]], starts[:-1], axis=1)
    change = np.diff(np.diff(energy, axis=1), axis=0)  # (frames - 1, 32): between bands, then between frames
    bits = np.packbits(change > 0, axis=1).view(">u4")[:, 0].astype(np.uint32)
    bits[energy[1:].sum(1) <= 1e-6 * max(energy.sum(1).max(), 1e-6)] = 0
    return bits


class Prints(Protocol):
    """Fingerprints of the items that stay, in memory."""

    def find(self, artifact: Any) -> tuple[int, float] | None:
        """The most alike of those that were added, by its place, and how alike it is from 0 to 1."""

    def add(self) -> None:
        """Add the artifact that was asked for last."""


class _Bits:
    """Hashes of equal length, compared one with all: 8 bytes a picture, with 192 of its small copy; 128 bytes a film."""

    def __init__(self, similarity: float, words: int) -> None:
        self._similarity = similarity
        self._hashes = np.zeros((16, words), np.uint64)
        self._small = np.zeros((16, SMALL * SMALL * 3), np.uint8)
        self._count = 0
        self._asked: tuple[Any, Any] = (None, None)

    def find(self, artifact: Any) -> tuple[int, float] | None:
        hashes, small = self._asked = self._print(artifact)
        differing = np.bitwise_count(self._hashes[: self._count] ^ hashes).sum(1, dtype=np.int64)
        alike = 1 - differing / (64 * len(hashes))
        close = np.flatnonzero(alike >= self._similarity)
        apart = np.abs(self._small[close].astype(np.int16) - small).mean(1)
        close = close[apart <= COLOUR_LIMIT]
        best = close[alike[close].argmax()] if len(close) else None
        return None if best is None else (int(best), float(alike[best]))

    def add(self) -> None:
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
            self._small = np.concatenate([self._small, np.zeros_like(self._small)])
        self._hashes[self._count], self._small[self._count] = self._asked
        self._count += 1

    def _print(self, artifact: Any) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
        raise NotImplementedError


class _Places(NamedTuple):
    """Where values stand: in the order of the values, and equal ones in the order that they were added."""

    values: NDArray[np.uint32]
    sounds: NDArray[np.uint32]
    frames: NDArray[np.uint32]

    @classmethod
    def empty(cls) -> Self:
        return cls(*(np.zeros(0, np.uint32) for _ in range(3)))

    def merged(self, others: Self) -> Self:
        joined = [np.concatenate(pair) for pair in zip(self, others, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return type(self)(*(each[order] for each in joined))

    def with_print(self, asked: NDArray[np.uint32], sound: int) -> Self:
        frames = np.flatnonzero(asked).astype(np.uint32)  # 0 is silence
        return self.merged(type(self)(asked[frames], np.full(len(frames), sound, np.uint32), frames))

    def proposals(self, asked: NDArray[np.uint32]) -> NDArray[np.int64]:
        """For every place of a value that was asked for, the sound there and where in it what was asked would begin."""
        frames = np.flatnonzero(asked)
        low = np.searchsorted(self.values, asked[frames], "left")
        counts = np.minimum(np.searchsorted(self.values, asked[frames], "right") - low, POSTINGS)
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(low, counts) + inside
        shifts = self.frames[places].astype(np.int64) - np.repeat(frames, counts)
        return np.asarray(self.sounds[places].astype(np.int64) << 32 | shifts + 2**31)


class PicturePrints(_Bits):
    """Of pictures."""

    def __init__(self, similarity: float) -> None:
        super().__init__(similarity, 1)

    def _print(self, artifact: Image) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
        return np.array([picture_hash(artifact.pixels)], np.uint64), _small(artifact.pixels)


class FilmPrints(_Bits):
    """Of films: 16 frames, evenly spread, so that rates and sizes do not matter and cuts do."""

    def __init__(self, similarity: float) -> None:
        super().__init__(similarity, FRAMES)

    def _print(self, artifact: Video) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
        places = ((np.arange(FRAMES) + 0.5) * len(artifact.frames) / FRAMES).astype(np.int64)
        hashes = np.array([picture_hash(artifact.frames[place]) for place in places], np.uint64)
        return hashes, _small(artifact.frames[places[FRAMES // 2]])


class SoundPrints:
    """Of sounds: values that two have in common propose how one lies over the other, and all bits there decide.

    1.4 kB a second of sound.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._prints: list[NDArray[np.uint32]] = []
        self._old = self._recent = _Places.empty()
        self._asked = np.zeros(0, np.uint32)

    def find(self, artifact: Audio) -> tuple[int, float] | None:
        self._asked = sound_print(artifact)
        keys = np.concatenate([places.proposals(self._asked) for places in (self._old, self._recent)])
        proposed, votes = np.unique(keys, return_counts=True)
        best: tuple[int, float] | None = None
        for key in proposed[np.argsort(-votes, kind="stable")[:VOTES]].tolist():
            other, shift = key >> 32, (key & 0xFFFFFFFF) - 2**31
            alike = self._alike(self._prints[other], self._asked, shift)
            if alike >= self._similarity and (best is None or alike > best[1]):
                best = other, alike
        return best

    def add(self) -> None:
        self._recent = self._recent.with_print(self._asked, len(self._prints))
        if len(self._recent.values) > RECENT:
            self._old, self._recent = self._old.merged(self._recent), _Places.empty()
        self._prints.append(self._asked)

    @staticmethod
    def _alike(one: NDArray[np.uint32], two: NDArray[np.uint32], shift: int) -> float:
        """The share of equal bits where `two` begins at `shift` in `one`; 0 where they share too little."""
        start, stop = max(0, shift), min(len(one), len(two) + shift)
        if stop - start < OVERLAP * max(len(one), len(two)):
            return 0.0
        differing = np.bitwise_count(one[start:stop] ^ two[start - shift : stop - shift]).sum(dtype=np.int64)
        return 1 - float(differing) / (32 * (stop - start))


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    copy = PIL.Image.fromarray(pixels).resize((SMALL, SMALL), PIL.Image.Resampling.BOX)
    return np.asarray(copy, np.int16).reshape(-1)


def comparable(artifact: Artifact) -> bool:
    """Whether there is anything to compare: a pixel, a frame, half a second."""
    if isinstance(artifact, Image):
        return artifact.pixels.size > 0
    if isinstance(artifact, Video):
        return artifact.frames.size > 0
    return isinstance(artifact, Audio) and artifact.duration >= 0.5
