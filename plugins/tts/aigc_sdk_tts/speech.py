"""A clause from tokens to samples, piece by piece: what the first piece needs is done first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .acoustic import Acoustic, frame_places, from_units
from .tokens import LEAD, TRAIL, Tokens, packed
from .vocoder import MARGIN, Vocoder

FIRST, NEXT, MOST = 24, 96, 240  # frames of the first piece, the second, and all later ones
LONGEST = 80  # frames of a phoneme, at the speed at which it was learnt


@dataclass(frozen=True)
class Timed:
    """A clause whose phonemes have their times."""

    features: Tensor
    """(p, width)"""
    durations: Tensor
    """Frames of each phoneme, (p,)."""


def timed(acoustic: Acoustic, clause: Tokens, speed: float, device: str) -> Timed:
    """Encode a clause and decide how long everything takes; speed 2 is twice as fast."""
    with torch.inference_mode():
        features, lengths = acoustic.encode(packed([clause]).to(device))
        durations = _rounded(lengths, speed)
    return Timed(features, durations)


def _rounded(lengths: Tensor, speed: float) -> Tensor:
    """Whole frames, one at least, of logarithms; sums are rounded, so that mistakes do not add up."""
    wanted = lengths.exp().clamp(1.0, LONGEST) / speed
    wanted[0], wanted[-1] = LEAD, TRAIL
    ends = wanted.double().cumsum(0).round().long()
    return torch.diff(ends, prepend=ends.new_zeros(1)).clamp(min=1)


def pieces(
    acoustic: Acoustic,
    vocoder: Vocoder,
    clause: Timed,
    rng: torch.Generator,
    *,
    pitch: float = 1.0,
    whole: bool = False,
) -> Iterator[tuple[Tensor, bool]]:
    """The samples of a clause in consecutive pieces, and whether each is the last.

    whole: in one piece, which differs by rounding alone.
    """
    with torch.inference_mode():
        rendering = _Rendering(acoustic, vocoder, clause, rng, pitch)
    for start, stop in [(0, rendering.frames)] if whole else _spans(rendering.frames):
        with torch.inference_mode():
            piece = rendering.piece(start, stop)
        yield piece, stop == rendering.frames


class _Rendering:
    """What has been made of a clause so far; every frame and every pulse is made once."""

    def __init__(self, acoustic: Acoustic, vocoder: Vocoder, clause: Timed, rng: torch.Generator, pitch: float) -> None:
        self.acoustic, self.vocoder, self.features, self.scale = acoustic, vocoder, clause.features, pitch
        self.owners, self.places = frame_places(clause.durations)
        self.frames = len(self.owners)
        self.hop = vocoder.analysis.hop
        device = clause.features.device
        self.mel = torch.zeros(0, acoustic.mels, device=device)
        self.pitch = torch.zeros(0, device=device)
        self.voiced = torch.zeros(0, device=device)
        self.train = torch.zeros(0, device=device)
        self.noise = torch.randn(self.frames * self.hop, generator=rng).to(device)
        self.phase = torch.zeros(1, dtype=torch.float64, device=device)

    def piece(self, start: int, stop: int) -> Tensor:
        """The samples of the frames from `start` to `stop`."""
        reach = MARGIN + self.vocoder.reach
        self._decode(min(self.frames, stop + reach))  # which is more than the pulses need
        self._pulse(min(self.frames, stop + 2 * MARGIN))
        low, high = max(0, start - reach), min(self.frames, stop + reach)
        seen = (self.mel[None, low:high], self.pitch[None, low:high], self.voiced[None, low:high])
        inner = (start - MARGIN, stop + MARGIN)
        gains = [_cut(each, inner[0] - low, inner[1] - low) for each in self.vocoder.gains(*seen)]
        outer = ((start - 2 * MARGIN) * self.hop, (stop + 2 * MARGIN) * self.hop)
        sources = [_cut(each[None], *outer) for each in (self.train, self.noise)]
        return self.vocoder.filtered(sources[0], sources[1], gains[0], gains[1])[0]

    def _decode(self, stop: int) -> None:
        """Make mel, pitch and voicing up to a frame."""
        start = len(self.mel)
        if stop <= start:
            return
        low, high = max(0, start - self.acoustic.reach), min(self.frames, stop + self.acoustic.reach)
        made = self.acoustic.decode(self.features, self.owners[low:high], self.places[low:high])
        mel, pitch, voiced = from_units(made[start - low : stop - low].float())
        self.mel = torch.cat([self.mel, mel])
        self.pitch = torch.cat([self.pitch, (pitch * self.scale).clamp(20.0, 1000.0)])
        self.voiced = torch.cat([self.voiced, voiced])

    def _pulse(self, stop: int) -> None:
        """Make pulses up to a frame, going on where the phase is."""
        start = len(self.train) // self.hop
        if stop <= start:
            return
        around = torch.arange(start - 1, stop + 1).clamp(0, self.frames - 1)
        made, self.phase = self.vocoder.pulses(self.pitch[None, around], self.phase)
        self.train = torch.cat([self.train, made[0]])


def _spans(frames: int) -> Iterator[tuple[int, int]]:
    """Where pieces begin and end; a last one that would be short belongs to the one before."""
    start, size = 0, FIRST
    while start < frames:
        stop = start + size if frames - start - size >= FIRST else frames
        yield start, stop
        start, size = stop, NEXT if size == FIRST else MOST


def _cut(values: Tensor, start: int, stop: int) -> Tensor:
    """Values (..., n) from start to stop, with zeros for those that are not there."""
    size = values.shape[-1]
    there = values[..., max(0, start) : min(size, stop)]
    return F.pad(there, (max(0, -start), max(0, stop - size)))
