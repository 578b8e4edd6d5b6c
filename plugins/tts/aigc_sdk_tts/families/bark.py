"""Bark: three transformers from text over semantic tokens to codes, and EnCodec from codes to sound.

A voice is a prompt for all three. They lie in `voices.safetensors` as NAME.semantic_prompt (n,), NAME.coarse_prompt (2, n)
and NAME.fine_prompt (8, n), because a model folder holds no .npy files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from aigc_sdk.errors import ContextOverflow, MismatchedFolder, OptionError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import file_shapes, foreign_errors, load_tokenizer, load_transformers, quiet, read_file, token_ids

from .family import Family, Piece, Wording, named

VOICES = "voices.safetensors"
PARTS = ("semantic_prompt", "coarse_prompt", "fine_prompt")


class Bark(Family):
    """A Bark model. Without a voice it draws one."""

    name = "Bark"
    takes = frozenset({"voice", "temperature", "max_seconds"})

    def __init__(self, network: Any, tokenizer: Any, voices: Mapping[str, dict[str, Tensor]]) -> None:
        from transformers.models.bark.generation_configuration_bark import BarkSemanticGenerationConfig

        self.network = network
        self.tokenizer = tokenizer
        self.voices = dict(voices)
        self.sample_rate = int(network.generation_config.sample_rate)
        self.semantic: Any = BarkSemanticGenerationConfig(  # type: ignore[no-untyped-call]
            **network.generation_config.semantic_config
        )

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it whole in `dtype`."""
        from transformers import AutoModelForTextToWaveform, GenerationConfig

        tokenizer = load_tokenizer(opened)
        settings = opened.config("generation_config.json")
        network: Any = load_transformers(opened, AutoModelForTextToWaveform)
        with foreign_errors(opened.path, "generation_config.json is none of Bark's"):
            network.generation_config = GenerationConfig.from_dict(settings)
            return cls(network.to(device=device, dtype=dtype), tokenizer, _voices(opened))

    def check(self, text: str, options: Wording) -> None:
        """Refuse voices that are not there, and texts that the model would cut off."""
        if options.voice is not None and not self.voices:
            raise OptionError(
                f"tts option voice={options.voice!r}: the folder has no {VOICES} with voices; leave it out",
                field="voice",
            )
        if options.voice is not None:
            named(options.voice, sorted(self.voices), self.name)
        excess = len(self._ids(text)) - self._room
        if excess > 0:
            raise ContextOverflow(
                f"the prompt has {excess} tokens more than the {self._room} that Bark reads; divide it into several prompts",
                excess=excess,
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak a text, in one piece."""
        network, rate = self.network, self.semantic.semantic_rate_hz
        ids = self._ids(text)
        padding = self._room - len(ids)
        most = max(1, int(options.max_seconds * rate))
        with torch.inference_mode(), quiet():
            samples = network.generate(
                torch.tensor([ids + [0] * padding], device=network.device),
                attention_mask=torch.tensor([[1] * len(ids) + [0] * padding], device=network.device),
                history_prompt=self._voice(options.voice),
                semantic_min_new_tokens=1,  # of none its codec cannot make a sound, not even an empty one
                semantic_max_new_tokens=most,
                **_drawing(options.temperature),
            )
        found = samples.flatten().float().cpu().numpy()
        # A token less: as many semantic tokens make a whole number of codes, rounded down.
        yield Piece(found, cut=len(found) / self.sample_rate >= (most - 1) / rate)

    def save(self, path: Path) -> None:
        """Write the model as transformers does, and the voices beside it."""
        from safetensors.torch import save_file

        with quiet():
            self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        flat = {f"{name}.{part}": each.contiguous() for name, its in self.voices.items() for part, each in its.items()}
        if flat:
            save_file(flat, path / VOICES)

    @property
    def _room(self) -> int:
        return int(self.semantic.max_input_semantic_length)

    def _ids(self, text: str) -> list[int]:
        return token_ids(self.tokenizer, [text])[0]

    def _voice(self, name: str | None) -> dict[str, Tensor] | None:
        if name is None:
            return None
        return {part: each.to(self.network.device) for part, each in self.voices[name].items()}


def _drawing(temperature: float | None) -> dict[str, Any]:
    """What `generate` is told for a temperature; None leaves what the folder says."""
    if temperature is None:
        return {}
    if temperature == 0:
        return {"semantic_do_sample": False, "coarse_do_sample": False, "fine_temperature": None}
    return {
        name: value
        for part in ("semantic", "coarse")
        for name, value in ((f"{part}_do_sample", True), (f"{part}_temperature", temperature))
    }


def _voices(opened: Folder) -> dict[str, dict[str, Tensor]]:
    if not opened.has(VOICES):
        return {}
    shapes = file_shapes(opened.path / VOICES)
    names = sorted({each.rpartition(".")[0] for each in shapes})
    wrong = sorted(set(shapes) ^ {f"{name}.{part}" for name in names for part in PARTS})
    if wrong:
        raise MismatchedFolder(
            f"{printable(str(opened.path))}: {VOICES} misses or should not have {printable(wrong[0])}; "
            f"a voice has {', '.join(PARTS)}"
        )
    tensors = read_file(opened.path / VOICES, shapes)
    return {name: {part: tensors[f"{name}.{part}"] for part in PARTS} for name in names}
