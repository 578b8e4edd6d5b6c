"""Curves, waveforms and spectrograms of the site's figures: small SVGs and pictures that need no library in the browser."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigc_sdk import Audio, Image
from aigc_sdk.training import report

WIDTH, HEIGHT = 900, 120
HEAT = np.array(
    [(10, 10, 34), (78, 22, 110), (177, 42, 99), (240, 106, 54), (251, 252, 191)], float
)  # from quiet to loud
WINDOW, HOP = 512, 64  # samples


def waveform(speech: Audio) -> str:
    """The loudest and the quietest sample of every column, and the words where they are said."""
    sound = speech.samples.mean(axis=0)
    columns = [part for part in np.array_split(sound, WIDTH) if len(part)]
    scale = HEIGHT / 2 / max(1e-6, float(np.abs(sound).max()))
    middle = HEIGHT / 2
    path = "".join(
        f"M{x} {middle - part.max() * scale:.1f}V{middle - part.min() * scale + 0.5:.1f}"
        for x, part in enumerate(columns)
    )
    words = "".join(
        f'<text x="{(each["start"] + each["end"]) / 2 / speech.duration * WIDTH:.0f}" y="{HEIGHT + 18}">'
        f"{html.escape(each['spoken'])}</text>"
        for each in speech.info["words"]
    )
    return (
        f'<svg class="wave" viewBox="0 0 {WIDTH} {HEIGHT + 24}" role="img" aria-label="waveform">'
        f'<path d="{path}"/><g>{words}</g></svg>'
    )


def spectrogram(speech: Audio) -> Image:
    """Power over time and frequency, the 70 dB below the loudest."""
    sound = np.pad(speech.samples.mean(axis=0), WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = 20 * np.log10(np.abs(np.fft.rfft(frames)) + 1e-9).T[::-1]
    return Image(coloured(np.clip(1 + (power - power.max()) / 70, 0, 1)))


def coloured(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers from 0 to 1 as colours."""
    places = np.linspace(0, 1, len(HEAT))
    return (
        np.stack([np.interp(values, places, HEAT[:, channel]) for channel in range(3)], axis=-1)
        .round()
        .astype(np.uint8)
    )


def curves(log: Sequence[Mapping[str, Any]]) -> str:
    """The loss of every step, and that of the validation, from a run's log."""
    lines = {
        "loss": [(line["step"], line["loss"]) for line in log],
        "validation": [(line["step"], line["validation_loss"]) for line in log if "validation_loss" in line],
    }
    return report.plot("loss", lines).replace("<svg ", '<svg class="curves" ', 1)
