"""What the networks are trained for: frames like the recordings', and sounds whose spectra are like theirs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .acoustic import GAP, Phonemes, frame_places, to_units
from .features import FLOOR, Analysis, log_mel, windowed_stft
from .recordings import Clip
from .tokens import packed, packed_durations

MEL, PITCH, VOICE, DURATION = 2.0, 0.3, 0.3, 0.5  # weights
RESOLUTIONS = ((0.032, 0.02, 0.004), (0.064, 0.05, 0.01), (0.128, 0.1, 0.02))  # seconds of transform, window and hop
QUIET = 1e-4  # magnitudes below count as equal


@dataclass(frozen=True)
class Counts:
    """How much there is in a whole batch, which losses are divided by."""

    phonemes: int
    frames: int
    voiced: int


@dataclass(frozen=True)
class Clauses:
    """Clauses in one packed sequence, and what the network shall make of them."""

    phonemes: Phonemes
    durations: Tensor
    frames: Tensor  # (t, mels + 2), in the network's units


def counts(clips: list[Clip]) -> Counts:
    """Phonemes without the pauses at the ends, frames, and frames with a voice."""
    return Counts(
        max(1, sum(len(each.durations) - 2 for each in clips)),
        sum(len(each.mel) for each in clips),
        max(1, int(sum(each.voiced.sum() for each in clips))),
    )


def clauses(clips: list[Clip], device: str) -> Clauses:
    """Clips side by side, with gaps between."""
    gap = torch.zeros(GAP, clips[0].mel.shape[1] + 2)
    frames = [part for each in clips for part in (to_units(each.mel.float(), each.pitch, each.voiced), gap)]
    durations = packed_durations([each.durations for each in clips])
    return Clauses(
        packed([each.tokens for each in clips]).to(device), durations.to(device), torch.cat(frames[:-1]).to(device)
    )


def acoustic_losses(acoustic: torch.nn.Module, batch: Clauses, whole: Counts) -> dict[str, Tensor]:
    """This part's share of each loss of the whole batch, unweighted."""
    lengths, frames = acoustic(batch.phonemes, batch.durations)
    mask = batch.phonemes.mask[frame_places(batch.durations)[0]].float()
    made, wanted = frames.float(), batch.frames
    voiced = wanted[:, -1] * mask
    mel = ((made[:, :-2] - wanted[:, :-2]).abs().mean(1) * mask).sum() / whole.frames
    tones = ((made[:, -2] - wanted[:, -2]).abs() * voiced).sum() / whole.voiced
    entropy = F.binary_cross_entropy_with_logits(made[:, -1], wanted[:, -1], reduction="none")
    spoken = (batch.phonemes.symbols > 0).float()
    wrong = (lengths.float() - batch.durations.clamp(min=1).float().log()).square()
    return {
        "mel": mel,
        "pitch": tones,
        "voicing": (entropy * mask).sum() / whole.frames,
        "duration": (wrong * spoken).sum() / whole.phonemes,
    }


def weighted(losses: dict[str, Tensor]) -> Tensor:
    """The one loss that the acoustic model is trained for."""
    return MEL * losses["mel"] + PITCH * losses["pitch"] + VOICE * losses["voicing"] + DURATION * losses["duration"]


@dataclass(frozen=True)
class Crops:
    """Pieces of recordings of one length."""

    mel: Tensor  # (n, t, mels)
    pitch: Tensor  # (n, t)
    voiced: Tensor  # (n, t)
    samples: Tensor  # (n, t * hop)


def crops(clips: list[Clip], frames: int, hop: int, device: str) -> Crops:
    """A piece of every clip, from a place that torch's random state draws; short clips are followed by silence."""
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for clip in clips:
        short = max(0, frames - len(clip.mel))
        start = int(torch.randint(len(clip.mel) - frames + 1, ())) if not short else 0
        stop = start + frames
        mel = F.pad(clip.mel[start:stop].float(), (0, 0, 0, short), value=float(torch.tensor(FLOOR).log()))
        tones = F.pad(clip.pitch[None, start:stop], (0, short), mode="replicate")[0]
        voiced = F.pad(clip.voiced[start:stop], (0, short))
        samples = F.pad(clip.samples[start * hop : stop * hop].float() / 32767, (0, short * hop))
        found.append((mel, tones, voiced, samples))
    return Crops(*(torch.stack(each).to(device) for each in zip(*found, strict=True)))


def spectral_loss(made: Tensor, wanted: Tensor, analysis: Analysis) -> Tensor:
    """How far spectra at three resolutions, and mel bands, are apart; of each sound (n,).

    The multi-resolution STFT loss of Yamamoto et al. 2020 (https://arxiv.org/abs/1910.11480).
    """
    total = (log_mel(made, analysis) - log_mel(wanted, analysis)).abs().mean((1, 2))
    for sizes in _sizes(analysis.sample_rate):
        first, second = (windowed_stft(each, *sizes).abs() for each in (made, wanted))
        distance = (first - second).square().sum((1, 2)).clamp(min=1e-12).sqrt()
        converged = distance / second.square().sum((1, 2)).sqrt().clamp(min=1e-3)
        logs = ((first + QUIET).log() - (second + QUIET).log()).abs().mean((1, 2))
        total = total + (converged + logs) / len(RESOLUTIONS)
    return total


@cache
def _sizes(rate: int) -> list[tuple[int, int, int]]:
    """Transform, hop and window in samples."""
    return [
        (2 ** round(torch.tensor(rate * fft).log2().item()), round(rate * hop), round(rate * window))
        for fft, window, hop in RESOLUTIONS
    ]
