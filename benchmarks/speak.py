"""The default voice beside flite, its teacher: word errors, speed, first sound, loading; and its vocoder alone.

    python benchmarks/speak.py [--quick] [--threads 1] [--model FOLDER]

64 sentences that nobody learnt from, with names, numbers, dates and money, go as plain text through each one's own front
end; pocketsphinx hears both. It needs `apt install flite` and `pip install pocketsphinx pesq pystoi`. The real-time factor is
seconds of computing per second of speech; the first sound is that of `stream` on a loaded model; the vocoder makes the
teacher's speech again from its mel spectrogram, pitch and voicing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from machine import processor
from pesq import pesq
from pystoi import stoi

from aigc_sdk import Audio, runtime
from aigc_sdk_tts import teacher
from aigc_sdk_tts.features import log_mel, pitch
from aigc_sdk_tts.model import TTS
from aigc_sdk_tts.recogniser import Recogniser, edits, words
from aigc_sdk_tts.sentences import unseen

LOAD = """
import time, sys
import torch, aigc_sdk
from aigc_sdk_tts.model import TTS
started = time.perf_counter()
TTS.open(sys.argv[1], device="cpu")
print(time.perf_counter() - started)
"""


def by_teacher(text: str) -> Audio:
    """What flite says, as a process of its own, as it is used."""
    samples, _ = teacher.speak(text)
    return Audio(samples[None], sample_rate=teacher.SAMPLE_RATE)


def mistakes(say: Any, sentences: dict[str, str]) -> dict[str, Any]:
    """Word errors and the real-time factor of one speaker."""
    listen, wrong, count, computing, speaking, heard = Recogniser(), 0, 0, 0.0, 0.0, []
    for text, transcript in sentences.items():
        started = time.perf_counter()
        speech = say(text)
        computing += time.perf_counter() - started
        speaking += speech.duration
        found, wanted = listen(speech), words(transcript)
        wrong, count = wrong + edits(found, wanted), count + len(wanted)
        if found != wanted:
            heard.append([" ".join(wanted), " ".join(found)])
    return {"wer": round(wrong / count, 4), "errors": wrong, "words": count, "rtf": round(computing / speaking, 4)} | {
        "misheard": heard
    }


def first_sounds(model: TTS, texts: list[str]) -> list[float]:
    """Milliseconds from the call to the first chunk, of each text."""
    found = []
    for text in texts:
        started = time.perf_counter()
        stream = model.stream(text, seed=0)
        next(stream)
        found.append(1000 * (time.perf_counter() - started))
        stream.close()  # type: ignore[attr-defined]
    return found


def copied(model: TTS, texts: list[str]) -> dict[str, Any]:
    """How much of the teacher's speech the vocoder keeps: PESQ (wide band) and STOI, means over sentences."""
    scores, hop, rate = [], model.analysis.hop, model.analysis.sample_rate
    for text in texts:
        samples, _ = teacher.speak(text)
        sound = torch.from_numpy(samples[: len(samples) // hop * hop])
        tones, voiced = pitch(sound, model.analysis)
        mel = log_mel(sound, model.analysis).T
        noise = torch.randn(1, len(sound), generator=runtime.rng(0))
        with torch.inference_mode():
            made = model.vocoder(mel[None], tones[None], voiced[None].float(), noise)[0].numpy()
        scores.append((pesq(rate, sound.numpy(), made, "wb"), stoi(sound.numpy(), made, rate)))
    return dict(zip(("pesq_wb", "stoi"), np.round(np.mean(scores, 0), 4).tolist(), strict=True))


def main() -> None:
    """Print one JSON object per question."""
    parser = argparse.ArgumentParser(description="The default voice beside its teacher.")
    parser.add_argument("--quick", action="store_true", help="12 sentences")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="default")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        json.dumps(
            {
                "what": "the default voice",
                "torch": torch.__version__,
                "threads": given.threads,
                "processor": processor(),
            }
        )
    )
    sentences = dict(list(unseen().items())[: 12 if given.quick else None])
    model = TTS.open(given.model, device="cpu")
    model.generate("Once, to warm up.", seed=0)
    ours = mistakes(lambda text: model.generate(text, seed=0)[0], sentences)
    theirs = mistakes(by_teacher, sentences)
    print(json.dumps({"speaker": "aigc_sdk_tts", **ours}), flush=True)
    print(json.dumps({"speaker": "flite rms", **theirs}), flush=True)
    print(json.dumps({"wer_ratio": round(ours["errors"] / max(1, theirs["errors"]), 3)}), flush=True)
    first = first_sounds(model, list(sentences))
    print(
        json.dumps({"first_sound_ms": [round(each, 1) for each in (statistics.median(first), max(first))]}), flush=True
    )
    loads = [
        float(
            subprocess.run([sys.executable, "-c", LOAD, given.model], capture_output=True, text=True, check=True).stdout
        )
        for _ in range(3)
    ]
    print(json.dumps({"load_s": round(statistics.median(loads), 3)}), flush=True)
    print(json.dumps({"copy_synthesis": copied(model, list(unseen())[:24])}), flush=True)


if __name__ == "__main__":
    main()
