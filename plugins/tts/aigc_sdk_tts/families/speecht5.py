"""SpeechT5 with its HiFi-GAN (Ao et al. 2022, arXiv:2110.07205).

A folder as transformers writes it, and beside it `vocoder/`, a SpeechT5HifiGan, and `voices.safetensors`, a speaker's
embedding under each name. Dropout in its decoder is on at all times: what it says differs from seed to seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from aigc_sdk.errors import ContextOverflow, MismatchedFolder, PromptError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import file_shapes, load_tokenizer, load_transformers, quiet, read_file, token_ids

from .family import Family, Piece, Wording, named, vocoder_from
from .hifigan import Vocoder

VOCODER = "vocoder"
VOICES = "voices.safetensors"


class SpeechT5(Family):
    """A SpeechT5 for speech from text; its mel is made step by step, a sentence at a time."""

    name = "SpeechT5"
    takes = frozenset({"voice", "pause", "max_seconds"})
    splits = True

    def __init__(
        self, network: Any, vocoder: Any, tokenizer: Any, voices: Mapping[str, Tensor], dtype: torch.dtype
    ) -> None:
        self.network = network
        self.hifigan = vocoder
        self.tokenizer = tokenizer
        self.voices = dict(voices)
        self.sample_rate = int(vocoder.config.sampling_rate)
        self._vocoder = Vocoder(vocoder, dtype)

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it; in float32 but for the vocoder."""
        from transformers import AutoModelForTextToSpectrogram, SpeechT5HifiGan

        shown = printable(str(opened.path))
        if not (opened.path / VOCODER).is_dir():
            raise MismatchedFolder(
                f"{shown} has no folder {VOCODER!r}; put a SpeechT5HifiGan there with save_pretrained"
            )
        if not opened.has(VOICES):
            raise MismatchedFolder(f"{shown} has no {VOICES}; put speakers' embeddings in it, each under a name")
        tokenizer = load_tokenizer(opened)
        network: Any = load_transformers(opened, AutoModelForTextToSpectrogram)
        shapes, width = file_shapes(opened.path / VOICES), network.config.speaker_embedding_dim
        voices = read_file(opened.path / VOICES, dict.fromkeys(shapes, (width,)))
        vocoder: Any = vocoder_from(opened.path / VOCODER, SpeechT5HifiGan)
        if vocoder.config.model_in_dim != network.config.num_mel_bins:
            raise MismatchedFolder(
                f"{shown}: the vocoder's model_in_dim is {vocoder.config.model_in_dim}, the model's num_mel_bins "
                f"{network.config.num_mel_bins}; take the vocoder that belongs to it"
            )
        return cls(network.float().to(device), vocoder.to(device), tokenizer, voices, dtype)

    def check(self, text: str, options: Wording) -> None:
        """Refuse voices that are not there, and sentences that are too long or hold unknown characters."""
        named(options.voice, sorted(self.voices), self.name)
        ids = self._ids(text)
        excess = len(ids) - self.network.config.max_text_positions
        if excess > 0:
            raise ContextOverflow(
                f"a sentence has {excess} tokens more than the model can hold; divide it", excess=excess
            )
        if self.tokenizer.unk_token_id in ids:
            raise PromptError(
                f"the model lacks a character of {printable(text, 80)!r}; pass normalize=True, or write it otherwise",
                field="prompt",
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak one sentence."""
        with torch.inference_mode():
            frames, cut = self._frames(self._ids(text), options)
        for samples in self._vocoder.windows(frames):
            yield Piece(samples, cut=cut)

    def save(self, path: Path) -> None:
        """Write the model as transformers does, the vocoder and the voices beside it."""
        from safetensors.torch import save_file

        with quiet():
            self.network.save_pretrained(path)
            self.hifigan.save_pretrained(path / VOCODER)
            self.tokenizer.save_pretrained(path)
        save_file({name: each.contiguous() for name, each in self.voices.items()}, path / VOICES)

    def modules(self) -> dict[str, nn.Module]:
        """The network and its vocoder."""
        return {"network": self.network, "vocoder": self.hifigan}

    def to(self, device: str) -> None:
        """Move the model and what was made of its weights."""
        super().to(device)
        self._vocoder.to(device)

    def _ids(self, text: str) -> list[int]:
        return token_ids(self.tokenizer, [text], special=True)[0]

    def _frames(self, ids: list[int], options: Wording) -> tuple[Tensor, bool]:
        """What the vocoder is given, (1, mels, t), and whether the model was stopped."""
        network: Any = self.network
        voice = self.voices[named(options.voice, sorted(self.voices), self.name)]
        most = int(options.max_seconds * self.sample_rate / self._vocoder.hop)
        steps = max(1, most // network.config.reduction_factor)
        # Half a step more, because the ratio is multiplied back and cut down to whole steps.
        ratio = (steps + 0.5) * network.config.reduction_factor / len(ids)
        frames = network.generate_speech(
            torch.tensor([ids], device=network.device),
            voice[None].to(network.device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=network.device),
            maxlenratio=ratio,
        )
        cut = len(frames) >= steps * network.config.reduction_factor
        if self.hifigan.config.normalize_before:
            frames = (frames - self.hifigan.mean) / self.hifigan.scale
        return frames.T[None], cut
