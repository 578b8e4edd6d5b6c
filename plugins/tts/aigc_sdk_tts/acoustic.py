"""The acoustic model: phonemes to durations, pitch and a log-mel spectrogram.

After FastSpeech 2 (Ren et al. 2020, https://arxiv.org/abs/2006.04558), with blocks after ConvNeXt (Liu et al. 2022,
https://arxiv.org/abs/2201.03545) in place of attention. Everything is local: a frame depends on the 15 frames and a phoneme on
the 14 phonemes on either side, so that a clause can be spoken piece by piece.

Sequences are packed: clauses lie one after another with gaps between them, which a mask keeps at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk.protocols import Options

from .features import Analysis

KERNEL = 7
GAP = KERNEL // 2  # frames or phonemes between two clauses, so that no block sees both
BOUNDARIES = 4  # inside a word, at its start, at its end, both
MEL_MEAN, MEL_SCALE = -5.0, 3.0
PITCH_MEAN, PITCH_SCALE = 120.0, 1 / 3  # of its logarithm


class AcousticSizes(Options):
    """The acoustic model's sizes."""

    width: int = Field(192, ge=8, le=1024, description="numbers per phoneme and frame")
    encoder_layers: int = Field(4, ge=1, le=24, description="blocks over the phonemes")
    decoder_layers: int = Field(5, ge=1, le=24, description="blocks over the frames")
    expansion: int = Field(3, ge=1, le=8, description="a block's inner width, as a multiple of the width")


@dataclass(frozen=True)
class Phonemes:
    """Phonemes of one clause, or of several with gaps between; each tensor is (p,)."""

    symbols: Tensor
    boundaries: Tensor
    endings: Tensor
    voices: Tensor
    mask: Tensor
    """1 where there is a phoneme, 0 in gaps."""

    def to(self, device: str) -> Phonemes:
        """The same on a device."""
        return Phonemes(*(each.to(device) for each in vars(self).values()))


class Block(nn.Module):
    """A depthwise convolution along time, then two layers at each place, added to what came in."""

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.along = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.rise = nn.Linear(width, width * expansion)
        self.fall = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (n, t, width), (t, 1)
        seen = (x if mask is None else x * mask).transpose(1, 2)
        inner = self.norm(self.along(seen).transpose(1, 2))
        added: Tensor = self.scale * self.fall(F.gelu(self.rise(inner)))
        return x + added


class Acoustic(nn.Module):
    """Phonemes to frames. symbols, endings, voices: how many of each there are."""

    def __init__(self, sizes: AcousticSizes, analysis: Analysis, symbols: int, endings: int, voices: int) -> None:
        super().__init__()
        width, expansion = sizes.width, sizes.expansion
        self.mels = analysis.mels
        self.symbol = _embedding(symbols, width)
        self.boundary = _embedding(BOUNDARIES, width)
        self.ending = _embedding(endings, width)
        self.voice = _embedding(voices, width)
        self.encoder = nn.ModuleList(Block(width, KERNEL, expansion) for _ in range(sizes.encoder_layers))
        self.timer = nn.ModuleList(Block(width, 3, 1) for _ in range(2))
        self.duration = nn.Linear(width, 1)
        self.place = nn.Linear(4, width)
        self.decoder = nn.ModuleList(Block(width, KERNEL, expansion) for _ in range(sizes.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, self.mels + 2)

    @property
    def reach(self) -> int:
        """How many frames on either side a frame depends on."""
        return len(self.decoder) * GAP

    def forward(self, phonemes: Phonemes, durations: Tensor) -> tuple[Tensor, Tensor]:
        """What training compares: the durations' logarithms (p,), and the frames (t, mels + 2) with given durations."""
        features, lengths = self.encode(phonemes)
        owners, places = frame_places(durations)
        return lengths, self.decode(features, owners, places, phonemes.mask[owners])

    def encode(self, phonemes: Phonemes) -> tuple[Tensor, Tensor]:
        """Each phoneme's features (p, width) and the logarithm of its duration in frames (p,)."""
        mask = phonemes.mask[:, None].float()  # (p, 1)
        x = self.symbol(phonemes.symbols) + self.boundary(phonemes.boundaries)
        x = (x + self.ending(phonemes.endings) + self.voice(phonemes.voices))[None]  # (1, p, width)
        for block in self.encoder:
            x = block(x, mask)
        timed = x.detach() * 0.9 + x * 0.1  # durations are easy to learn; they shall not shape the features
        for block in self.timer:
            timed = block(timed, mask)
        return x[0], self.duration(timed)[0, :, 0]

    def decode(self, features: Tensor, owners: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        """Frames (t, mels + 2) in the network's units: log-mel, log-pitch, and the logit of a voice.

        owners: the phoneme of each frame (t,). places: see `frame_places`. mask: (t,), 0 in gaps.
        """
        x = (features[owners] + self.place(places))[None]  # (1, t, width)
        frames = None if mask is None else mask[:, None].float()
        for block in self.decoder:
            x = block(x, frames)
        out: Tensor = self.out(self.norm(x))[0]
        return out


def _embedding(n: int, width: int) -> nn.Embedding:
    """An embedding with small first weights."""
    return nn.Embedding(n, width, _weight=nn.init.normal_(torch.empty(n, width), std=0.5))


def frame_places(durations: Tensor) -> tuple[Tensor, Tensor]:
    """For durations (p,) in frames: each frame's phoneme (t,), and where in it the frame lies (t, 4)."""
    owners = torch.repeat_interleave(torch.arange(len(durations), device=durations.device), durations)
    starts = durations.cumsum(0) - durations
    since = (torch.arange(len(owners), device=owners.device) - starts[owners]).float()
    length = durations[owners].float()
    places = [(since + 0.5) / length, length.log() / 3, (since + 0.5) / 10, (length - since - 0.5) / 10]
    return owners, torch.stack(places, 1)


def to_units(mel: Tensor, pitch: Tensor, voiced: Tensor) -> Tensor:
    """Log-mel (t, mels), pitch in Hz (t,) and voicing (t,) as the network's frames."""
    tones = (pitch.log() - torch.tensor(PITCH_MEAN).log()) / PITCH_SCALE
    return torch.cat([(mel - MEL_MEAN) / MEL_SCALE, tones[:, None], voiced[:, None].float()], 1)


def from_units(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel (t, mels), pitch in Hz (t,), and where there is a voice (t,), of the network's frames."""
    mel = frames[:, :-2] * MEL_SCALE + MEL_MEAN
    return mel, PITCH_MEAN * torch.exp(frames[:, -2] * PITCH_SCALE), (frames[:, -1] > 0).float()
