"""What adversarial training and unlabelled texts are worth, on a language of made-up words that is learnt in seconds.

Run it with `pytest -m slow -s` to see the tables.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from aigc_sdk_bert.adversarial import Ball
from aigc_sdk_bert.attack import moved, reworded
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.train import BERTTrainer

SEEDS = (0, 1, 2)
LABELS = ("poem", "statute")
COMMON = ["the", "a", "of", "and", "with", "in", "on", "to", "very", "was", "is", "it"]
SIZES: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "context": 32, "device": "cpu"}
QUICK: dict[str, Any] = {"batch_size": 16, "learning_rate": 2e-3, "precision": "float32"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


class Language:
    """Each label has words of its own; a text is some of them among words that all texts have."""

    def __init__(self, seed: int, words: int) -> None:
        self.rng = random.Random(seed)
        made: set[str] = set()
        while len(made) < words * len(LABELS):
            made.add("".join(self.rng.choice("bcdfghjklmnprstvwz") + self.rng.choice("aeiou") for _ in range(3)))
        every = sorted(made)
        self.rng.shuffle(every)
        self.words = {label: every[index * words :][:words] for index, label in enumerate(LABELS)}

    def texts(self, n: int, own: int) -> list[tuple[str, str]]:
        return [self._text(self.rng.choice(LABELS), own) for _ in range(n)]

    def synonyms(self, word: str) -> list[str]:
        """The words of the same label, which change nothing about what a text is."""
        return next((found for found in self.words.values() if word in found), [])

    def _text(self, label: str, own: int) -> tuple[str, str]:
        words = [self.rng.choice(COMMON) for _ in range(self.rng.randint(3, 6))]
        for _ in range(own):
            words.insert(self.rng.randint(0, len(words)), self.rng.choice(self.words[label]))
        return " ".join(words), label


def trained(data: Any, seed: int, **options: Any) -> Judge:
    judge = BERTTrainer.open(seed=seed, **SIZES).fit(data, seed=seed, **{**QUICK, **options})
    assert isinstance(judge, Judge)
    return judge


def accuracy(judge: Judge, data: list[tuple[str, str]]) -> float:
    texts, labels = zip(*data, strict=True)
    return float(
        np.mean([judge.labels[row.argmax()] == label for row, label in zip(judge.predict(texts), labels, strict=True)])
    )


def test_adversarial_training_raises_accuracy_under_attack() -> None:
    """All train for 120 updates on plain texts, and then for 240 each in its way."""
    kinds, attack = (None, "fgm", "pgd", "freelb"), Ball(epsilon=0.3, rate=0.075, steps=10)
    options = {"adversarial_epsilon": 0.2, "adversarial_rate": 0.1, "adversarial_steps": 3}
    found: dict[Any, list[list[float]]] = {kind: [] for kind in kinds}
    for seed in SEEDS:
        language = Language(seed, words=20)
        data, held_out = language.texts(300, own=2), language.texts(200, own=2)
        texts, labels = zip(*held_out, strict=True)
        for kind in kinds:
            trainer = BERTTrainer.open(seed=seed, **SIZES)
            trainer.fit(data, seed=seed, max_steps=120, **QUICK)
            judge = trainer.fit(data, seed=seed, max_steps=240, adversarial=kind, **options, **QUICK)
            assert isinstance(judge, Judge)
            by_embeddings = moved(judge, texts, labels, attack)
            by_words = reworded(judge, texts[:40], labels[:40], language.synonyms)
            found[kind].append([by_embeddings.accuracy, by_embeddings.under_attack, by_words.under_attack])
    print("\ntraining, seed: accuracy, with embeddings moved, with words replaced")
    for kind, rows in found.items():
        print(kind, *(" ".join(f"{each:.3f}" for each in row) for row in rows), sep=" | ")
    for kind in kinds[1:]:
        for plain, hardened in zip(found[None], found[kind], strict=True):
            assert hardened[0] >= plain[0] - 0.02
            assert hardened[1] > plain[1]
        assert np.mean(found[kind], 0)[1] > np.mean(found[None], 0)[1] + 0.2


def test_unlabelled_texts_raise_the_accuracy_of_a_few_labelled_ones() -> None:
    """5 % of 600 texts have their label; every run makes 240 updates, of 16 labelled texts each."""
    ways: dict[str, dict[str, Any]] = {
        "labelled alone": {},
        "pseudo": {"unlabelled": "pseudo", "confidence": 0.9},
        "consistency": {"unlabelled": "consistency", "confidence": 0.8},
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for seed in SEEDS:
        language = Language(seed, words=40)
        data, held_out = language.texts(600, own=4), language.texts(600, own=4)
        labelled = data[: len(data) // 20]
        rest = [(text, None) for text, _ in data[len(labelled) :]]
        for way, options in ways.items():
            some = [*labelled, *rest] if options else labelled
            more = {"change_share": 0.5, "unlabelled_after": 80} if options else {}
            found[way].append(accuracy(trained(some, seed, max_steps=240, **options, **more), held_out))
    print("\nheld-out accuracy by seed, and their mean")
    for way, values in found.items():
        print(way, *(f"{each:.3f}" for each in values), f"{np.mean(values):.3f}", sep=" | ")
    for way in ("pseudo", "consistency"):
        assert all(better > plain for better, plain in zip(found[way], found["labelled alone"], strict=True))
        assert np.mean(found[way]) > np.mean(found["labelled alone"]) + 0.05
