"""Small things that the tests share: sentences that tell their label by one word, and models of them."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest

from aigc_sdk_bert.train import BERTTrainer

SIZES: dict[str, Any] = {"vocab_size": 200, "context": 32, "width": 16, "layers": 2, "heads": 2, "device": "cpu"}
WORDS = {
    "animal": ["cow", "dog", "lion", "ox"],
    "colour": ["red", "green", "blue", "white"],
    "number": ["one", "two", "six"],
}
PLACES = ["in the house", "by the river", "on a hill", "in the old city of stone"]


class Small:
    """Trainers of tiny models, and what they learn in a second."""

    quick: ClassVar[dict[str, Any]] = {
        "batch_size": 8,
        "learning_rate": 3e-3,
        "warmup_steps": 2,
        "precision": "float32",
    }

    def new(self, **changes: Any) -> BERTTrainer:
        """A trainer of a new model."""
        return BERTTrainer.open(**{**SIZES, **changes})

    def sentences(self, count: int, seed: int = 0) -> list[tuple[str, str]]:
        """(text, label): the label is the kind of the text's second word."""
        rng = random.Random(seed)
        labels = [sorted(WORDS)[index % len(WORDS)] for index in range(count)]
        return [(f"the {rng.choice(WORDS[label])} {rng.choice(PLACES)}", label) for label in labels]

    def texts(self, count: int, seed: int = 0) -> list[str]:
        """The sentences alone."""
        return [text for text, _ in self.sentences(count, seed)]

    def spans(self, count: int, seed: int = 0) -> list[dict[str, Any]]:
        """Sentences of two kinds of words, which are spans."""
        rng = random.Random(seed)
        found = []
        for _ in range(count):
            first, second = rng.sample(sorted(WORDS), 2)
            parts = ["the", rng.choice(WORDS[first]), "and the", rng.choice(WORDS[second]), rng.choice(PLACES)]
            text, spans = "", []
            for index, part in enumerate(parts):
                start = len(text) + (index > 0)
                text = f"{text} {part}".strip()
                if index in (1, 3):
                    spans.append({"start": start, "end": len(text), "label": first if index == 1 else second})
            found.append({"text": text, "spans": spans})
        return found

    def questions(self, count: int, seed: int = 0) -> list[dict[str, Any]]:
        """Where is the animal?"""
        rng = random.Random(seed)
        found = []
        for _ in range(count):
            one, other = rng.sample(WORDS["animal"], 2)
            places = rng.sample(PLACES, 2)
            context = f"the {one} is {places[0]} and the {other} is {places[1]}"
            found.append({"question": f"where is the {one}", "context": context, "answers": [places[0]]})
        return found


@pytest.fixture(scope="session")
def small() -> Small:
    """What the tests share."""
    return Small()
