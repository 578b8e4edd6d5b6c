"""What the networks see of a sound: log-mel spectrogram, pitch, and whether there is a voice.

Frame i is of the samples from i * hop to (i + 1) * hop, and centred on them; so n frames are n * hop samples.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import pydantic
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aigc_sdk import mel
from aigc_sdk.protocols import Options

FLOOR = 1e-5  # of a mel band's magnitude
VOICED_PEAK, VOICED_LEVEL = 0.45, 0.004  # autocorrelation and amplitude above which a frame has a voice
PREFER_SHORT = 0.88  # a lag is taken before longer ones if its peak reaches this part of the highest


class Analysis(Options):
    """How sounds are turned into frames; an acoustic model and a vocoder work together only if theirs is the same."""

    sample_rate: int = Field(16000, ge=8000, le=48000, description="samples per second")
    hop: int = Field(200, ge=40, le=1024, description="samples per frame")
    window: int = Field(800, ge=160, le=4096, description="samples of the Hann window, 4 hops")
    fft: int = Field(1024, ge=256, le=4096, description="samples of the Fourier transform")
    mels: int = Field(80, ge=20, le=128, description="bands of the mel scale")
    lowest: float = Field(50.0, ge=0, le=500, description="Hz at which the lowest band begins")
    highest: float = Field(7900.0, ge=2000, le=24000, description="Hz at which the highest band ends")
    lowest_pitch: float = Field(55.0, ge=30, le=200, description="Hz of the lowest voice")
    highest_pitch: float = Field(300.0, ge=150, le=1000, description="Hz of the highest voice")

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Self:
        if self.window != 4 * self.hop or self.fft < self.window or self.hop % 2 or self.fft % 2:
            raise ValueError("window must be 4 hops, fft no shorter, and hop and fft even")
        if self.highest > self.sample_rate / 2:
            raise ValueError("highest is beyond half of sample_rate")
        return self

    @property
    def bins(self) -> int:
        """How many frequencies a frame has."""
        return self.fft // 2 + 1


def stft(sound: Tensor, analysis: Analysis) -> Tensor:
    """The complex spectrum of samples (..., n * hop): (..., bins, n)."""
    side = (analysis.fft - analysis.hop) // 2
    return windowed_stft(F.pad(sound, (side, side)), analysis.fft, analysis.hop, analysis.window)


def windowed_stft(sound: Tensor, fft: int, hop: int, window: int) -> Tensor:
    """The spectrum of every whole frame in `sound`, nothing padded."""
    return torch.stft(sound, fft, hop, window, hann(window, sound.device), center=False, return_complex=True)


def log_mel(sound: Tensor, analysis: Analysis) -> Tensor:
    """The logarithm of the magnitude in each mel band: (..., mels, n) of samples (..., n * hop)."""
    magnitude = stft(sound, analysis).abs()
    return (mel_bands(analysis).to(sound.device) @ magnitude).clamp(min=FLOOR).log()


def pitch(sound: Tensor, analysis: Analysis) -> tuple[Tensor, Tensor]:
    """The pitch in Hz and whether there is a voice, (n,) each, of samples (n * hop,).

    By the autocorrelation of 60 ms, divided by the window's own (Boersma 1993), with the first peak that is nearly the
    highest, refined by a parabola. Where there is no voice the pitch goes on a line between its neighbours.
    """
    size = int(0.06 * analysis.sample_rate) // 2 * 2
    side = (size - analysis.hop) // 2
    frames = F.pad(sound, (side, side)).unfold(0, size, analysis.hop)  # (n, size)
    frames = frames - frames.mean(1, keepdim=True)
    window = hann(size, sound.device)
    correlation = _autocorrelation(frames * window) / _autocorrelation(window[None]).clamp(min=1e-6)
    correlation = correlation / (correlation[:, :1] + 1e-6)
    shortest = int(analysis.sample_rate / analysis.highest_pitch)
    longest = int(analysis.sample_rate / analysis.lowest_pitch)
    some = correlation[:, shortest - 1 : longest + 2]
    before, here, after = some[:, :-2], some[:, 1:-1], some[:, 2:]
    highest = here.max(1, keepdim=True).values
    peaks = (here >= PREFER_SHORT * highest) & (here >= before) & (here >= after)
    first = torch.where(peaks.any(1), peaks.float().argmax(1), here.argmax(1))[:, None]
    left, middle, right = (each.gather(1, first) for each in (before, here, after))
    bend = left - 2 * middle + right
    shift = torch.where(bend.abs() > 1e-6, 0.5 * (left - right) / bend, torch.zeros_like(bend)).clamp(-0.5, 0.5)
    lag = shortest + first + shift
    voiced = (highest[:, 0] > VOICED_PEAK) & (frames.pow(2).mean(1).sqrt() > VOICED_LEVEL)
    return _bridged(analysis.sample_rate / _median(lag[:, 0]), voiced), voiced


@cache
def mel_bands(analysis: Analysis) -> Tensor:
    """Triangles on the mel scale, (mels, bins)."""
    evenly = torch.linspace(mel.mel(analysis.lowest), mel.mel(analysis.highest), analysis.mels + 2, dtype=torch.float64)
    edges = 700 * (10 ** (evenly / 2595) - 1)  # by torch to the last bit, as voices have learnt them
    frequencies = torch.linspace(0, analysis.sample_rate / 2, analysis.bins, dtype=torch.float64)
    return torch.from_numpy(mel.triangles(edges.numpy(), frequencies.numpy())).float()


@cache
def hann(size: int, device: torch.device) -> Tensor:
    """The periodic Hann window."""
    return torch.hann_window(size, device=device)


def _autocorrelation(frames: Tensor) -> Tensor:
    size = 2 * frames.shape[1]
    found: Tensor = torch.fft.irfft(torch.fft.rfft(frames, size).abs() ** 2)
    return found[:, : frames.shape[1] // 2]


def _median(values: Tensor) -> Tensor:
    """The median of each value and its neighbours: a single frame an octave off is a mistake."""
    return F.pad(values[None], (1, 1), mode="replicate")[0].unfold(0, 3, 1).median(1).values


def _bridged(pitches: Tensor, voiced: Tensor) -> Tensor:
    """Pitches with lines over the frames without a voice."""
    import numpy as np

    there = voiced.nonzero()[:, 0].cpu().numpy()
    if not len(there):
        return torch.full_like(pitches, 120.0)
    found = np.interp(np.arange(len(pitches)), there, pitches.cpu().numpy()[there])
    return torch.from_numpy(found).to(pitches)
