"""A voice that is made from nothing in three minutes: it says digits, and a recogniser understands them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from aigc_sdk_tts.evaluate import SpeechJudge
from aigc_sdk_tts.model import TTS
from aigc_sdk_tts.recordings import METADATA, WAVS
from aigc_sdk_tts.train import TTSTrainer
from aigc_sdk_tts.wav import write_wav

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def strings(n: int, seed: int) -> list[str]:
    """`n` strings of five digits."""
    rng = random.Random(seed)
    return [" ".join(rng.choice(DIGITS) for _ in range(5)) + "." for _ in range(n)]


def recorded(folder: Path, texts: list[str]) -> Path:
    """Recordings without alignments, spoken by the default voice."""
    model = TTS.open(device="cpu")
    (folder / WAVS).mkdir(parents=True)
    for index, text in enumerate(texts):
        [speech] = model.generate(text, seed=index)
        write_wav(folder / WAVS / f"{index:03d}.wav", speech.samples[0], speech.sample_rate)
    lines = [f"{index:03d}|{text}|{text}\n" for index, text in enumerate(texts)]
    (folder / METADATA).write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_small_voice_learns_to_say_digits_in_three_minutes(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    folder = recorded(tmp_path / "digits", strings(120, seed=0))
    trainer = TTSTrainer.open(device="cpu", width=96, voices=("digits",))
    model = trainer.fit(str(folder), max_steps=1000, learning_rate=3e-3)
    report = SpeechJudge(model).evaluate(strings(40, seed=1), vocabulary=DIGITS)
    print(report)
    assert report["wer"].value <= 0.10
