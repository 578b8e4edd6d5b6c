"""VITS that reads phonemes: eSpeak NG spells the text, in any of its languages, as transformers' tokenizer has it do in English."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aigc_sdk_tts import espeak

from .family import Wording
from .vits import Vits

LANGUAGE = "en-us"  # transformers' own, and only one


class PhonemeVits(Vits):
    """A VITS whose vocabulary is IPA. `language` is of the text; a model says well what it was trained on."""

    takes = Vits.takes | {"language"}

    def __init__(self, network: Any, tokenizer: Any, vocabulary: Path, dtype: torch.dtype) -> None:
        espeak.speller()  # its absence is told now rather than at the first call
        super().__init__(network, tokenizer, vocabulary, dtype)
        tokenizer.phonemize = False  # it gets phonemes

    def save(self, path: Path) -> None:
        """Write the model as transformers does."""
        self.tokenizer.phonemize = True
        try:
            super().save(path)
        finally:
            self.tokenizer.phonemize = False

    def _spelled(self, text: str, options: Wording) -> str:
        return espeak.phonemes(super()._spelled(text, options), options.language or LANGUAGE)

    def _prepared(self, text: str, options: Wording) -> str:
        known = self.tokenizer.encoder
        return "".join(each for each in self._spelled(text, options) if each in known).strip()

    def _written(self, words: list[tuple[str, float, float]], text: str) -> list[tuple[str, float, float]]:
        """No times where words were run together, as "of the" is."""
        written = [each for each in text.split() if any(char.isalnum() for char in each)]
        if len(written) != len(words):
            return []
        return [(name, start, end) for name, (_, start, end) in zip(written, words, strict=True)]
