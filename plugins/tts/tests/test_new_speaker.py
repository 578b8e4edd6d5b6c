"""The default voice, brought nearer to a speaker of whom there are a few recordings."""

from __future__ import annotations

from pathlib import Path

import aigc_sdk
from aigc_sdk_tts.evaluate import SpeechJudge
from aigc_sdk_tts.model import TTS
from aigc_sdk_tts.recordings import METADATA, WAVS
from aigc_sdk_tts.sentences import sentences
from aigc_sdk_tts.wav import write_wav

HIGHER = 1.5  # the speaker's pitch, as a factor of the voice's own
UNSEEN = ["We will all be away in May.", "Please send the letter to my brother."]


def recorded(folder: Path, model: TTS, n: int) -> str:
    """Recordings of somebody with a higher voice, without alignments."""
    (folder / WAVS).mkdir(parents=True)
    lines = []
    for index, text in enumerate(sentences(n, seed=1)):
        [speech] = model.generate(text, seed=index, pitch=HIGHER)
        write_wav(folder / WAVS / f"{index:03d}.wav", speech.samples[0], speech.sample_rate)
        lines.append(f"{index:03d}|{text}|{text}\n")
    (folder / METADATA).write_text("".join(lines), encoding="utf-8")
    return str(folder)


def test_the_default_voice_comes_nearer_to_a_new_speaker(tmp_path: Path) -> None:
    before = TTS.open(device="cpu")
    spoken = [before.generate(text, seed=0, pitch=HIGHER)[0] for text in UNSEEN]
    trainer = aigc_sdk.trainer("tts", "default", device="cpu")
    after = trainer.fit(
        recorded(tmp_path / "recordings", before, 16), max_steps=40, batch_size=6, learning_rate=1e-3, warmup_steps=5
    )
    first, second = (
        SpeechJudge(model).evaluate(UNSEEN, spoken, metrics=["mcd", "log_f0_rmse"]) for model in (before, after)
    )
    assert second["log_f0_rmse"].value < 0.5 * first["log_f0_rmse"].value
    assert second["mcd"].value < first["mcd"].value
