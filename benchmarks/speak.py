"""The default voice beside flite, its teacher: word errors, speed, first sound, loading; and its vocoder alone.

    python benchmarks/speak.py [--quick] [--threads 1] [--model FOLDER]

64 sentences that nobody learnt from, with names, numbers, dates and money, go as plain text through each one's own front
end; pocketsphinx hears both. It needs `apt install flite` and `pip install pocketsphinx pesq pystoi`. The real-time factor is
seconds of computing per second of speech; the first sound is that of `stream` on a loaded model; the vocoder makes the
teacher's speech again from its mel spectrogram, pitch and voicing. Last, a text of 10,000 words is streamed.
"""

from __future__ import annotations

import argparse
import json
import resource
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
from aigc_sdk_tts.sentences import sentences, unseen

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


def mistakes(say: Any, judged: dict[str, str]) -> dict[str, Any]:
    """Word errors and the real-time factor of one speaker."""
    listen, wrong, count, computing, speaking, heard = Recogniser(), 0, 0, 0.0, 0.0, []
    for text, transcript in judged.items():
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


def long(model: TTS, size: int = 10_000, every: int = 20) -> dict[str, Any]:
    """A text of `size` words as a stream: memory on the way, words that are lost, and how its halves are understood."""
    text = " ".join(" ".join(sentences(size // 8, seed=9)).split()[:size])
    listen, memory, counts, said, piece = Recogniser(), [], [], 0, [np.zeros((1, 0), np.float32)]
    wanted: list[str] = []
    for index, chunk in enumerate(model.stream(text, seed=0)):
        its = chunk.info.get("words", []) if "normalized" in chunk.info else []
        if its and wanted and said % every == 0:
            heard = listen(Audio(np.concatenate(piece, 1), sample_rate=chunk.sample_rate))
            counts.append((edits(heard, wanted), len(wanted)))
        if its:
            said, wanted, piece = said + 1, words(chunk.info["normalized"]), []
        piece.append(chunk.samples)
        if index % 500 == 499:
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    halves = [np.sum(each, 0) for each in np.array_split(np.array(counts), 2)]
    return {
        "words_written": len(text.split()),
        "words_told": len(its),
        "peak_mb": memory,
        "wer_of_halves": [round(float(wrong / count), 4) for wrong, count in halves],
    }


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
    judged = dict(list(unseen().items())[: 12 if given.quick else None])
    model = TTS.open(given.model, device="cpu")
    model.generate("Once, to warm up.", seed=0)
    ours = mistakes(lambda text: model.generate(text, seed=0)[0], judged)
    theirs = mistakes(by_teacher, judged)
    print(json.dumps({"speaker": "aigc_sdk_tts", **ours}), flush=True)
    print(json.dumps({"speaker": "flite rms", **theirs}), flush=True)
    print(json.dumps({"wer_ratio": round(ours["errors"] / max(1, theirs["errors"]), 3)}), flush=True)
    first = first_sounds(model, list(judged))
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
    print(json.dumps({"long_text": long(model, 1000 if given.quick else 10_000)}), flush=True)


if __name__ == "__main__":
    main()
