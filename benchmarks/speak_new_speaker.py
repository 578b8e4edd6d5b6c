"""The default voice brought nearer to a speaker of whom there are a few minutes: how like her it becomes, how well understood.

    python benchmarks/speak_new_speaker.py [--minutes 3] [--steps 200] [--speaker slt] [--unseen 24]

The speaker is another voice of flite; her recordings are sounds and transcripts alone, as a user has them, so that what is
said when is found out first. Judged are sentences that nobody learnt from: word errors by pocketsphinx, and distances from
what the speaker herself says. Beside it: the default voice as it is, a new voice made of the same recordings in as many
updates, and the speaker. It needs `apt install flite`, `pip install pocketsphinx` and aigc-sdk-metrics.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import processor

from aigc_sdk import Audio
from aigc_sdk_tts import teacher
from aigc_sdk_tts.evaluate import SpeechJudge
from aigc_sdk_tts.model import TTS
from aigc_sdk_tts.recordings import METADATA, WAVS
from aigc_sdk_tts.sentences import sentences, unseen
from aigc_sdk_tts.train import TTSTrainer
from aigc_sdk_tts.wav import write_wav

METRICS = ("wer", "mcd", "log_f0_rmse", "voicing_error", "duration_error")
ACOUSTIC: dict[str, Any] = {"learning_rate": 3e-4}
VOCODER: dict[str, Any] = {"part": "vocoder", "learning_rate": 3e-4, "betas": (0.8, 0.95), "clip_norm": 5.0}


def record(to: Path, speaker: str, minutes: float) -> float:
    """Let the speaker say sentences until `minutes` are full; returns the minutes."""
    (to / WAVS).mkdir(parents=True)
    seconds, lines = 0.0, []
    for index, sentence in enumerate(sentences(1000, seed=1)):
        if seconds >= 60 * minutes:
            break
        samples, _ = teacher.speak(sentence, speaker)
        write_wav(to / WAVS / f"{index:03d}.wav", samples, teacher.SAMPLE_RATE)
        lines.append(f"{index:03d}|{sentence}|{sentence}\n")
        seconds += len(samples) / teacher.SAMPLE_RATE
    (to / METADATA).write_text("".join(lines), encoding="utf-8")
    return seconds / 60


def judged(name: str, model: TTS, texts: dict[str, str], spoken: list[Audio], **facts: Any) -> None:
    """Print what the judge says of a voice."""
    report = SpeechJudge(model).evaluate(list(texts), list(zip(texts.values(), spoken, strict=True)), metrics=METRICS)
    scores = {key: [round(each, 4) for each in (s.value, *(s.interval or ()))] for key, s in report.scores.items()}
    print(json.dumps({"voice": name, **facts, **scores}), flush=True)


def trained(trainer: TTSTrainer, folder: Path, steps: int, **options: Any) -> tuple[TTS, float]:
    """The model after `steps`, and the seconds that they took."""
    started = time.perf_counter()
    model: TTS = trainer.fit(str(folder), max_steps=steps, progress=False, **options)
    return model, round(time.perf_counter() - started, 1)


def main() -> None:
    """Print one JSON object per voice."""
    parser = argparse.ArgumentParser(description="The default voice near a new speaker.")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--speaker", default="slt")
    parser.add_argument("--unseen", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({"what": "a new speaker", "torch": torch.__version__, "processor": processor(), **vars(given)}))
    texts = dict(list(unseen().items())[: given.unseen])
    spoken = [Audio(teacher.speak(text, given.speaker)[0][None], sample_rate=teacher.SAMPLE_RATE) for text in texts]
    own = SpeechJudge(TTS.open(device="cpu")).evaluate(spoken, list(texts.values()))
    print(json.dumps({"voice": f"flite {given.speaker}", "wer": round(own["wer"].value, 4)}), flush=True)
    judged("default", TTS.open(device="cpu"), texts, spoken)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "recordings"
        minutes = round(record(folder, given.speaker, given.minutes), 2)
        tuned, seconds = trained(TTSTrainer.open("default", device="cpu"), folder, given.steps, **ACOUSTIC)
        judged("default, acoustic model tuned", tuned, texts, spoken, minutes=minutes, seconds=seconds)
        tuned, seconds = trained(TTSTrainer(tuned), folder, given.steps, **VOCODER)
        judged("default, vocoder tuned as well", tuned, texts, spoken, minutes=minutes, seconds=seconds)
        new, seconds = trained(TTSTrainer.open(device="cpu", voices=(given.speaker,)), folder, given.steps)
        judged("new, with the default vocoder", new, texts, spoken, minutes=minutes, seconds=seconds)


if __name__ == "__main__":
    main()
