"""How the default voice was made: `python -m aigc_sdk_tts.recipe --to FOLDER` makes it again; it needs flite.

The speech of the teacher, and both trainings with their checkpoints, lie in FOLDER-run; started again after an
interruption, the recipe goes on from the newest. On one quiet core it takes about 45 minutes. `--sentences 600
--steps 300` is the short version, of four minutes, whose voice is intelligible and no more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import lexicon, teacher
from .front import analyse
from .model import TTS
from .network import Networks
from .recordings import ALIGNMENTS, METADATA, WAVS, write_alignment
from .sentences import sentences
from .train import TTSTrainer
from .wav import write_wav

SENTENCES = 3600
ACOUSTIC: dict[str, Any] = {"part": "acoustic", "batch_size": 12}
ACOUSTIC_STEPS = 1600
VOCODER: dict[str, Any] = {"part": "vocoder", "batch_size": 8, "betas": (0.8, 0.95), "clip_norm": 5.0}
VOCODER_STEPS = 2800
POLISH: dict[str, Any] = {**VOCODER, "batch_size": 16, "crop": 1.0}  # of the vocoder, afterwards
POLISH_STEPS = 3600
SHORTEST_WORD = 3  # letters of the lexicon's words that are recorded in lists


def record(to: Path, n: int = SENTENCES, seed: int = 0) -> Path:
    """Let the teacher say `n` sentences, and write a folder to train on. What it reads otherwise is left out."""
    done = to / METADATA
    if done.exists():
        return to
    (to / WAVS).mkdir(parents=True, exist_ok=True)
    (to / ALIGNMENTS).mkdir(exist_ok=True)
    words = [each for each in lexicon.words() if each.isalpha() and len(each) >= SHORTEST_WORD]
    lines = []
    for index, sentence in enumerate(sentences(n, words=words, seed=seed)):
        samples, phones = teacher.speak(sentence)
        rows = teacher.aligned(list(analyse(sentence)), phones)
        if rows is None:
            continue
        name = f"{index:05d}"
        write_wav(to / WAVS / f"{name}.wav", samples, teacher.SAMPLE_RATE)
        write_alignment(to / ALIGNMENTS / f"{name}.tsv", rows)
        lines.append(f"{name}|{sentence}|{sentence}\n")
    done.write_text("".join(lines), encoding="utf-8")
    return to


def train(
    speech: Path, run: Path, options: dict[str, Any], max_steps: int, seed: int = 0, start: TTS | None = None
) -> TTS:
    """Train one of the two networks, new ones or those of `start`, with checkpoints in `run`."""
    new: dict[str, Any] = {"voices": (teacher.VOICE,), "vocoder": "new"}
    trainer = TTSTrainer.open(device="cpu", seed=seed, **new) if start is None else TTSTrainer(start)
    model: TTS = trainer.fit(
        str(speech), max_steps=max_steps, seed=seed, save_to=run, save_every=200, resume=True, progress=True, **options
    )
    return model


def export(acoustic: TTS, vocoder: TTS, to: Path) -> TTS:
    """Write the two networks as one voice, rounded to float16, and open it again in float32, as users do."""
    first, second = acoustic.networks, vocoder.networks
    both = Networks(
        first.acoustic.half(),
        second.vocoder.half(),
        first.analysis,
        first.acoustic_sizes,
        second.vocoder_sizes,
        first.voices,
    )
    TTS(both).save(to)
    return TTS.open(to, device="cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, train both networks, and write the voice."""
    parser = argparse.ArgumentParser(description="Make the default voice again.")
    parser.add_argument("--to", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--steps", type=int, help="updates of each network, for a shorter run")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    run = given.to.with_name(given.to.name + "-run")
    speech = record(run / "speech", given.sentences, given.seed)
    acoustic = train(speech, run / "acoustic", ACOUSTIC, given.steps or ACOUSTIC_STEPS, given.seed)
    vocoder = train(speech, run / "vocoder", VOCODER, given.steps or VOCODER_STEPS, given.seed)
    polished = train(speech, run / "polish", POLISH, given.steps or POLISH_STEPS, given.seed, vocoder)
    export(acoustic, polished, given.to)


if __name__ == "__main__":
    main()
