"""The vocoder: log-mel, pitch and voicing to a waveform.

A source and a filter after Neural Homomorphic Vocoder (Liu et al. 2020,
https://www.isca-archive.org/interspeech_2020/liu20_interspeech.html): a train of pulses at the pitch, and noise, each brought
to shape by gains that a small network gives for every frame and frequency. All is local, and the pulses' phase is carried
on, so that pieces join without a click.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk.protocols import Options

from .acoustic import MEL_MEAN, MEL_SCALE, PITCH_MEAN, Block
from .features import Analysis, hann, windowed_stft

KERNEL, FIRST_KERNEL = 7, 5
MARGIN = 2  # frames whose windows reach into a frame on either side
OVERLAP = 1.5  # the sum of squared Hann windows, 4 of which overlap
NOISE_LEVEL = 5.0  # magnitude of every frequency
LEAST_GAIN, MOST_GAIN = -12.0, 6.0  # logarithms


class VocoderSizes(Options):
    """The vocoder's sizes."""

    width: int = Field(192, ge=8, le=1024, description="numbers per frame")
    layers: int = Field(4, ge=1, le=24, description="blocks over the frames")
    expansion: int = Field(3, ge=1, le=8, description="a block's inner width, as a multiple of the width")


class Vocoder(nn.Module):
    """Frames to samples."""

    def __init__(self, sizes: VocoderSizes, analysis: Analysis) -> None:
        super().__init__()
        self.analysis = analysis
        self.enter = nn.Conv1d(analysis.mels + 2, sizes.width, FIRST_KERNEL, padding=FIRST_KERNEL // 2)
        self.blocks = nn.ModuleList(Block(sizes.width, KERNEL, sizes.expansion) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        self.out = nn.Linear(sizes.width, 2 * analysis.bins)
        nn.init.constant_(self.out.bias, -1.0)

    @property
    def reach(self) -> int:
        """How many frames on either side a frame's gains depend on."""
        return FIRST_KERNEL // 2 + len(self.blocks) * (KERNEL // 2)

    def gains(self, mel: Tensor, pitch: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
        """What to multiply the spectra of pulses and noise by, (n, bins, t) each, of (n, t, mels), (n, t), (n, t)."""
        tones = torch.log(pitch / PITCH_MEAN) * voiced
        seen = torch.cat([(mel - MEL_MEAN) / MEL_SCALE, tones[..., None], voiced[..., None]], -1)
        x = self.enter(seen.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x, None)
        pulses, noise = self.out(self.norm(x)).clamp(LEAST_GAIN, MOST_GAIN).exp().transpose(1, 2).chunk(2, 1)
        return pulses, noise

    def forward(self, mel: Tensor, pitch: Tensor, voiced: Tensor, noise: Tensor) -> Tensor:
        """Samples (n, t * hop) of whole clips; noise: standard normal, as many."""
        pulses, _ = self.pulses(_extended(pitch), torch.zeros(len(mel), device=mel.device))
        margin = 2 * MARGIN * self.analysis.hop
        sources = (F.pad(each, (margin, margin)) for each in (pulses, noise))
        gains = (F.pad(each, (MARGIN, MARGIN)) for each in self.gains(mel, pitch, voiced))
        return self.filtered(*sources, *gains)

    def pulses(self, pitch: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        """A train of pulses (n, t * hop) for frames with one neighbour at each end (n, t + 2), and the phase after it.

        phase: (n,), in turns. The pulses are sums of all harmonics below the Nyquist frequency, in closed form. There are
        pulses everywhere, also where there is no voice: the gains decide, which know more than one bit per frame.
        """
        rate = self.analysis.sample_rate
        tone = self._between(pitch)
        turns = phase[:, None].double() + torch.cumsum(tone.double() / rate, 1)
        angle = (turns % 1.0).float() * (2 * math.pi)
        harmonics = torch.floor(0.4875 * rate / tone)
        half = torch.sin(angle / 2)
        small = half.abs() < 1e-4
        kernel = torch.sin((harmonics + 0.5) * angle) / (2 * torch.where(small, torch.ones_like(half), half)) - 0.5
        train = torch.where(small, harmonics, kernel)
        return train * (tone / rate).sqrt() * 2, (turns[:, -1] % 1.0)

    def filtered(self, pulses: Tensor, noise: Tensor, pulse_gains: Tensor, noise_gains: Tensor) -> Tensor:
        """Samples (n, t * hop): sources of t + 8 frames (four at each end), gains of t + 4.

        Of the noise only the phases are random: its spectrum is made flat, so that the gains have the last word.
        """
        shape = self.analysis
        side = (shape.fft - shape.window) // 2
        spectra = [
            windowed_stft(
                F.pad(each, (side - shape.hop // 2, side - shape.hop // 2)), shape.fft, shape.hop, shape.window
            )
            for each in (pulses, noise)
        ]
        flat = spectra[1] * (NOISE_LEVEL / (spectra[1].abs() + 1e-3))
        return self._overlapped(spectra[0] * pulse_gains + flat * noise_gains)

    def _between(self, frames: Tensor) -> Tensor:
        """Values at every sample (n, t * hop), on lines between the middles of frames (n, t + 2)."""
        hop = self.analysis.hop
        size = frames.shape[1] * hop
        lines = F.interpolate(frames[:, None], size=size, mode="linear", align_corners=False)[:, 0]
        return lines[:, hop:-hop]

    def _overlapped(self, spectra: Tensor) -> Tensor:
        """Windowed frames added up, and cut to what all of them reach."""
        shape = self.analysis
        side = (shape.fft - shape.window) // 2
        frames = torch.fft.irfft(spectra, shape.fft, dim=1)[:, side : side + shape.window]
        frames = frames * (hann(shape.window, spectra.device)[:, None] / OVERLAP)
        length = (frames.shape[2] - 1) * shape.hop + shape.window
        added = F.fold(frames, (1, length), (1, shape.window), stride=(1, shape.hop))[:, 0, 0]
        edge = (2 * MARGIN - 1) * shape.hop + shape.hop // 2
        return added[:, edge:-edge]


def _extended(frames: Tensor) -> Tensor:
    """Frames (n, t) with the first and the last once more, (n, t + 2)."""
    return torch.cat([frames[:, :1], frames, frames[:, -1:]], 1)
