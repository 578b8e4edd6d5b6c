"""Small voices and small recordings, which the tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk_tts.front import analyse
from aigc_sdk_tts.recordings import ALIGNMENTS, METADATA, WAVS, Row, write_alignment
from aigc_sdk_tts.resample import Resampler
from aigc_sdk_tts.train import TTSTrainer
from aigc_sdk_tts.wav import write_wav

SIZES: dict[str, Any] = {
    "width": 8,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "vocoder": "new",
    "vocoder_width": 8,
    "vocoder_layers": 1,
    "critic_width": 1,
    "device": "cpu",
}
TEXTS = ("Hello there, you.", "No, not you.", "Well done.")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TTSTrainer]:
    """Opens a trainer of a voice that is small enough for a test."""
    return _tiny


@pytest.fixture(scope="session")
def tone() -> Callable[..., Any]:
    """Makes something between a hum and a hiss."""
    return _tone


@pytest.fixture(scope="session")
def recorded() -> Callable[..., Path]:
    """Makes a folder of recordings."""
    return _recorded


def _tiny(**changes: Any) -> TTSTrainer:
    """A trainer of a voice that is small enough for a test."""
    return TTSTrainer.open(**{**SIZES, **changes})


def _tone(seconds: float, pitch: float = 110.0, rate: int = 16000, seed: int = 0) -> Any:
    """Something between a hum and a hiss."""
    time = np.arange(round(seconds * rate)) / rate
    hum = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
    hiss = np.random.default_rng(seed).normal(0, 0.05, len(time))
    return (0.2 * hum + hiss).astype(np.float32)


def _recorded(
    folder: Path, texts: Sequence[str] = TEXTS, *, aligned: bool = True, voices: Sequence[str] = (), rate: int = 16000
) -> Path:
    """A folder of recordings in LJSpeech's layout, in which each word sounds as its letters have it."""
    (folder / WAVS).mkdir(parents=True)
    if aligned:
        (folder / ALIGNMENTS).mkdir()
    lines = []
    for index, text in enumerate(texts):
        samples, rows = _said(text, index)
        write_wav(folder / WAVS / f"r{index}.wav", Resampler(16000, rate).push(samples, last=True), rate)
        if aligned:
            write_alignment(folder / ALIGNMENTS / f"r{index}.tsv", rows)
        voice = f"|{voices[index % len(voices)]}" if voices else ""
        lines.append(f"r{index}|{text}|{text}{voice}\n")
    (folder / METADATA).write_text("".join(lines), encoding="utf-8")
    return folder


def _said(text: str, seed: int) -> tuple[Any, list[Row]]:
    sounds, rows, now, number = [np.zeros(1600, np.float32)], [Row(0.1, "pau", "")], 0.1, 0
    for clause in analyse(text):
        for word in clause.words:
            for phoneme in word.phonemes:
                pitch = 90.0 + 7 * (sum(map(ord, phoneme)) % 20)
                sounds.append(_tone(0.08, pitch, seed=seed))
                now += 0.08
                rows.append(Row(now, phoneme, str(number)))
            number += 1
        sounds.append(np.zeros(3200, np.float32))
        now += 0.2
        rows.append(Row(now, "pau", clause.ending))
    return np.concatenate(sounds), rows
