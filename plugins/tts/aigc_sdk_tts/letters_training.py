"""Training of the letter-to-sound model from the lexicon, and its figures on words that were held out."""

from __future__ import annotations

import argparse
import random
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from . import lexicon
from .alignment import Chunk, align
from .letters import ALPHABET, FILE, LetterToSound, load, save
from .phonemes import without_stress

EPOCHS, BATCH, RATE = 16, 256, 3e-3
_RAREST = 15  # chunks seen less often are slips of the alignment; their words are left out of training


def main() -> None:
    """Train, write, and report the accuracy of what was written; or of the model that comes with the package."""
    parser = argparse.ArgumentParser(description="Train the letter-to-sound model.")
    parser.add_argument("--to", type=Path, help="the safetensors file to write; none: train nothing, only report")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="where to train")
    arguments = parser.parse_args()
    if arguments.to:
        model = train(training_words(), epochs=arguments.epochs, seed=arguments.seed, device=arguments.device)
        save(model, arguments.to)
    words = held_out_words()
    whole, stressless = accuracy(load(arguments.to or FILE), words)
    print(f"of {len(words):,} held-out words {stressless:.3f} are right, {whole:.3f} with their stress")


def held_out(word: str) -> bool:
    """Whether a word is kept from training: one in 25, by its checksum, so that every machine keeps the same."""
    return zlib.crc32(word.encode()) % 25 == 0


def held_out_words() -> list[str]:
    return [each for each in _plain_words() if held_out(each)]


def training_words() -> list[str]:
    return [each for each in _plain_words() if not held_out(each)]


def _plain_words() -> list[str]:
    """The lexicon's words of letters alone; a single letter is a name, not a word."""
    return [each for each in lexicon.words() if each.isalpha() and len(each) > 1]


def accuracy(model: LetterToSound, words: Sequence[str]) -> tuple[float, float]:
    """The share of words said as in one of the lexicon's pronunciations: with stress, and with stress ignored."""
    whole = stressless = 0
    for word in words:
        said, right = model.pronounce(word), lexicon.pronunciations(word)
        whole += said in right
        stressless += without_stress(said) in map(without_stress, right)
    return whole / len(words), stressless / len(words)


def train(
    words: Sequence[str], *, epochs: int = EPOCHS, seed: int = 0, device: str = "cpu", show: bool = True, **sizes: int
) -> LetterToSound:
    """A model of the words' first pronunciations; `sizes` are those of LetterToSound."""
    rows, chunks = _examples(words)
    torch.manual_seed(seed)
    model = LetterToSound(chunks, **sizes).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    total = epochs * sum(1 for _ in _batches(rows, seed))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total, pct_start=0.05)
    start = time.monotonic()
    for epoch in range(epochs):
        losses = [
            _update(model, optimizer, schedule, letters.to(device), said.to(device))
            for letters, said in _batches(rows, seed + epoch)
        ]
        if show:
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, {time.monotonic() - start:.0f} s", flush=True)
    return model.cpu().eval()


def _examples(words: Sequence[str]) -> tuple[list[tuple[list[int], list[int]]], list[Chunk]]:
    """Letters and chunks of each word as numbers, and the chunks in the numbers' order."""
    paths = align(words, [lexicon.pronunciations(each)[0] for each in words])
    counts = Counter(chunk for path in paths if path for chunk in path)
    numbers = {chunk: index for index, chunk in enumerate(sorted(each for each, n in counts.items() if n >= _RAREST))}
    rows = [
        ([ALPHABET.index(letter) for letter in word], [numbers[chunk] for chunk in path])
        for word, path in zip(words, paths, strict=True)
        if path and all(chunk in numbers for chunk in path)
    ]
    return rows, list(numbers)


def _batches(rows: list[tuple[list[int], list[int]]], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Words of one length in each batch, so that nothing is padded; batches and words in the seed's order."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    by_length: dict[int, list[tuple[list[int], list[int]]]] = {}
    for row in shuffled:
        by_length.setdefault(len(row[0]), []).append(row)
    batches = [same[at : at + BATCH] for same in by_length.values() for at in range(0, len(same), BATCH)]
    random.Random(seed).shuffle(batches)
    for batch in batches:
        letters, chunks = zip(*batch, strict=True)
        yield torch.tensor(letters), torch.tensor(chunks)


def _update(
    model: LetterToSound,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    letters: Tensor,
    chunks: Tensor,
) -> float:
    loss = cross_entropy(model(letters, chunks).flatten(0, 1), chunks.flatten())
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return loss.item()
