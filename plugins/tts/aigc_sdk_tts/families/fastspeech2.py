"""FastSpeech2Conformer (Guo et al. 2021, arXiv:2010.13956), with its HiFi-GAN inside or in the folder `vocoder`.

Its phonemes come from this package's front end, in place of the transformers tokenizer's g2p_en.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from aigc_sdk.errors import MismatchedFolder, PromptError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import load_transformers, quiet
from aigc_sdk_tts.front import Word, analyse

from .family import Family, Piece, Wording, numbered, vocoder_from
from .hifigan import Vocoder

VOCODER = "vocoder"
RATE = 22_050  # of every published one; the configuration has no field for it


class FastSpeech2(Family):
    """A FastSpeech2Conformer. It speaks English, from ARPAbet with stress."""

    name = "FastSpeech2Conformer"
    takes = frozenset({"voice", "language", "speed", "pause"})
    splits = True

    def __init__(
        self, network: Any, vocoder: Any, vocabulary: Mapping[str, int], settings: Mapping[str, Any], dtype: torch.dtype
    ) -> None:
        self.network = network
        self.acoustic = getattr(network, "model", network)
        self.hifigan = vocoder
        self.vocabulary = vocabulary
        self.settings = settings
        self.sample_rate = int(getattr(vocoder.config, "sampling_rate", RATE))
        self._vocoder = Vocoder(vocoder, dtype)

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it; in float32 but for the vocoder."""
        from transformers import AutoModelForTextToSpectrogram, AutoModelForTextToWaveform, FastSpeech2ConformerHifiGan

        vocabulary = opened.json("vocab.json")
        settings = opened.config("tokenizer_config.json") if opened.has("tokenizer_config.json") else {}
        if opened.config()["model_type"] == "fastspeech2_conformer_with_hifigan":
            network: Any = load_transformers(opened, AutoModelForTextToWaveform)
            vocoder: Any = network.vocoder
        elif (opened.path / VOCODER).is_dir():
            network = load_transformers(opened, AutoModelForTextToSpectrogram)
            vocoder = vocoder_from(opened.path / VOCODER, FastSpeech2ConformerHifiGan)
        else:
            raise MismatchedFolder(
                f"{printable(str(opened.path))} has no folder {VOCODER!r}; put its FastSpeech2ConformerHifiGan there with "
                "save_pretrained, or open a fastspeech2_conformer_with_hifigan"
            )
        made, read = getattr(network, "model", network).config.num_mel_bins, vocoder.config.model_in_dim
        if made != read:
            raise MismatchedFolder(
                f"{printable(str(opened.path))}: the vocoder's model_in_dim is {read}, the model's num_mel_bins {made}; take the "
                "vocoder that belongs to it"
            )
        network.float().to(device)
        return cls(network, vocoder.float().to(device), vocabulary, settings, dtype)

    def check(self, text: str, options: Wording) -> None:
        """Refuse voices and languages that it lacks, and text that the front end cannot read."""
        config = self.acoustic.config
        numbered("voice", options.voice, config.num_speakers or 1, self.name)
        numbered("language", options.language, config.num_languages or 1, self.name)
        self._tokens(text)

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak one sentence; times of its words come with the first piece."""
        tokens, words = self._tokens(text)
        with torch.inference_mode():
            frames, durations = self._frames(tokens, options)
        times = self._times(words, durations)
        for samples in self._vocoder.windows(frames):
            yield Piece(samples, times)
            times = []

    def save(self, path: Path) -> None:
        """Write the model as transformers does, and the vocoder beside it where it is not inside."""
        with quiet():
            self.network.save_pretrained(path)
            if "vocoder" in self.modules():
                self.hifigan.save_pretrained(path / VOCODER)
        (path / "vocab.json").write_text(json.dumps(self.vocabulary, ensure_ascii=False))
        (path / "tokenizer_config.json").write_text(json.dumps(self.settings, ensure_ascii=False))

    def modules(self) -> dict[str, nn.Module]:
        """The network, and the vocoder where it is not inside."""
        inside = self.acoustic is not self.network
        return {"network": self.network} if inside else {"network": self.network, "vocoder": self.hifigan}

    def to(self, device: str) -> None:
        """Move the model and what was made of its weights."""
        super().to(device)
        self._vocoder.to(device)

    def _tokens(self, text: str) -> tuple[list[int], list[tuple[Word, int, int]]]:
        """The numbers of the text's phonemes and marks, and where in them each word lies."""
        spaced = not self.settings.get("should_strip_spaces", False) and " " in self.vocabulary
        tokens: list[str] = []
        words: list[tuple[Word, int, int]] = []
        for clause in analyse(text):
            for word in clause.words:
                if spaced and tokens:
                    tokens.append(" ")
                words.append((word, len(tokens), len(tokens) + len(word.phonemes)))
                tokens += word.phonemes
            if clause.ending in self.vocabulary:
                tokens.append(clause.ending)
        unknown = sorted({each for each in tokens if each not in self.vocabulary})
        if unknown:
            raise PromptError(f"the model's vocab.json lacks the phonemes {', '.join(unknown)}", field="prompt")
        end = self.settings.get("eos_token", "<sos/eos>")
        if not isinstance(end, str) or end not in self.vocabulary:
            raise MismatchedFolder(f"vocab.json has no end token {end!r}, which tokenizer_config.json names")
        return [self.vocabulary[each] for each in (*tokens, end)], words

    def _frames(self, tokens: list[int], options: Wording) -> tuple[Tensor, Tensor]:
        """What the vocoder is given, (1, mels, t), and the frames of each token, (tokens,)."""
        config, device = self.acoustic.config, self.acoustic.device
        usual = config.speaking_speed
        config.speaking_speed = usual / options.speed  # it multiplies durations, whatever its name says
        try:
            made = self.acoustic(
                torch.tensor([tokens], device=device),
                speaker_ids=self._number("voice", options.voice, config.num_speakers, device),
                lang_ids=self._number("language", options.language, config.num_languages, device),
                return_dict=True,
            )
            durations = made.duration_outputs[0].float()
            durations = torch.round(durations * config.speaking_speed)
        finally:
            config.speaking_speed = usual
        frames = made.spectrogram
        if self.hifigan.config.normalize_before:
            frames = (frames - self.hifigan.mean) / self.hifigan.scale
        return frames.transpose(1, 2), durations

    def _number(self, kind: Any, wanted: str | None, count: int | None, device: Any) -> Tensor | None:
        number = numbered(kind, wanted, count or 1, self.name)
        return None if number is None else torch.tensor([[number]], device=device)

    def _times(self, words: list[tuple[Word, int, int]], durations: Tensor) -> list[tuple[str, float, float]]:
        ends = [0.0, *(durations.cumsum(0).cpu() * self._vocoder.hop / self.sample_rate).tolist()]
        return [(word.text, round(ends[start], 4), round(ends[stop], 4)) for word, start, stop in words]
