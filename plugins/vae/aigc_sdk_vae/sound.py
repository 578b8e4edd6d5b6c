"""Short sounds as pictures that a VAE learns, and back: log-mel spectrograms.

spectrogram = Spectrogram()
model = VAETrainer.open(size=64, classes=0).fit([spectrogram.picture(each) for each in sounds], max_steps=1000)
[sound] = map(spectrogram.sound, model.generate(seed=0))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from aigc_sdk import mel, runtime
from aigc_sdk.artifacts import Audio, Image
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.training.images import pictures

ROUNDS = 100  # of finding phases
MOMENTUM = 0.99  # (Perraudin et al. 2013)
LOWEST_PITCH = 40.0  # Hz, where the lowest band begins


@dataclass(frozen=True)
class Spectrogram:
    """How sounds become square grey pictures: time from left to right, pitch upwards, loudness as brightness.

    size: bands and frames; a picture is size x hop / sample_rate seconds long. hop, window: samples from one frame to the
    next, and in one. depth: dB from black to white; white is about a sine of full scale. Raises OptionError.
    """

    size: int = 64
    sample_rate: int = 16_000
    hop: int = 256
    window: int = 1024
    depth: float = 80.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("size", 8, 256),
            ("sample_rate", 1000, 384_000),
            ("hop", 1, 1 << 16),
            ("depth", 1, 200),
        ):
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name}={getattr(self, name)!r}: give {low:,} to {high:,}", field=name)
        if not 2 * self.hop <= self.window <= self.length:
            raise OptionError(
                f"window={self.window}: give at least two hops, and at most a picture's length", field="window"
            )

    @property
    def length(self) -> int:
        """Samples in a picture."""
        return self.size * self.hop

    def picture(self, sound: Audio) -> Image:
        """The picture of the beginning of a sound; silence follows a shorter one. Raises DataError for another rate."""
        if not isinstance(sound, Audio):
            raise DataError(f"sound is a {type(sound).__name__}; pass an Audio", field="sound")
        if sound.sample_rate != self.sample_rate:
            raise DataError(
                f"sound has {sound.sample_rate} samples per second, pictures are of {self.sample_rate}; resample it, or "
                f"use Spectrogram(sample_rate={sound.sample_rate})",
                field="sound",
            )
        wave = torch.from_numpy(sound.samples.mean(0)[: self.length].copy())
        wave = torch.nn.functional.pad(wave, (0, self.length - len(wave)))
        loudness = 10 * torch.log10(
            (self._bands @ self._analysed(wave).abs().square()).clamp_min(1e-20)
        )  # dB, (size, size)
        bright = (255 * (1 + loudness / self.depth)).round().clamp(0, 255).flip(0)
        return Image(bright.to(torch.uint8)[..., None].expand(-1, -1, 3).contiguous().numpy())

    def sound(self, image: Image, *, seed: int = 0) -> Audio:
        """A sound whose picture this is, or nearly: pictures have no phases, and those are searched for from a random start.

        (Griffin & Lim 1984, with the momentum of Perraudin et al. 2013.)
        """
        found = pictures([image], channels=1, name="image").pixels[0, ..., 0]
        if found.shape != (self.size, self.size):
            raise DataError(
                f"image is {found.shape[1]}x{found.shape[0]}, a spectrogram here is {self.size}x{self.size}",
                field="image",
            )
        bright = torch.from_numpy(found.astype(np.float32)).flip(0)
        power = 10 ** ((bright / 255 - 1) * self.depth / 10) * (bright > 0)
        magnitude = _unmixed(self._bands, power).sqrt()  # (bins, size)
        wave = self._found(magnitude, runtime.rng(seed))
        return Audio((wave / max(1.0, float(wave.abs().max())))[None].numpy(), sample_rate=self.sample_rate)

    @cached_property
    def _shape(self) -> Tensor:
        return torch.hann_window(self.window)

    @cached_property
    def _bands(self) -> Tensor:
        """Triangles on the mel scale, (size, bins); a sine between two of them gives about its own loudness in both."""
        edges = mel.edges(LOWEST_PITCH, self.sample_rate / 2, self.size)
        pitch = np.linspace(0, self.sample_rate / 2, self.window // 2 + 1)
        bands = mel.triangles(edges, pitch)
        # a band that falls between two bins takes the nearer one
        nearest = np.abs(edges[1:-1, None] - pitch).argmin(1)
        empty = bands.sum(1) == 0
        bands[empty.nonzero()[0], nearest[empty]] = 1.0
        return torch.from_numpy(bands).float()

    def _analysed(self, wave: Tensor) -> Tensor:
        """Frequencies over time, (bins, size): a sine of full scale has the magnitude 1 at its bin."""
        found = torch.stft(wave, self.window, self.hop, window=self._shape, return_complex=True)
        return found[:, : self.size] * (2 / float(self._shape.sum()))

    def _synthesised(self, frequencies: Tensor) -> Tensor:
        last = torch.nn.functional.pad(frequencies, (0, 1)) * (float(self._shape.sum()) / 2)
        return torch.istft(last, self.window, self.hop, window=self._shape, length=self.length)

    def _found(self, magnitude: Tensor, rng: torch.Generator) -> Tensor:
        phase = torch.exp(2j * math.pi * torch.rand(magnitude.shape, generator=rng))
        before = torch.zeros_like(phase)
        for _ in range(ROUNDS):
            now = self._analysed(self._synthesised(magnitude * phase))
            ahead = now + MOMENTUM * (now - before)
            phase, before = ahead / ahead.abs().clamp_min(1e-12), now
        return self._synthesised(magnitude * phase)


def _unmixed(bands: Tensor, wanted: Tensor) -> Tensor:
    """The power of all frequencies that gives those of the bands: multiplicative updates (Lee & Seung 2001)."""
    found = bands.T @ wanted + 1e-12
    for _ in range(ROUNDS):
        found = found * (bands.T @ wanted) / (bands.T @ (bands @ found)).clamp_min(1e-20)
    return found
