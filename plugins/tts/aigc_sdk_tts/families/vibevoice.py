"""VibeVoice (Peng et al. 2025, arXiv:2508.19205): latents by next-token diffusion, with its codec inside.

The sampler of its diffusion is one of diffusers', which is an optional dependency.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from aigc_sdk import runtime
from aigc_sdk.errors import ContextOverflow, MismatchedFolder, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import foreign_errors, load_tokenizer, load_transformers, quiet

from .family import Family, Piece, Wording, generation_settings, plain_ids
from .reference import samples_of

RATE = 24_000  # of every published one, unless preprocessor_config.json has another
LEVEL = 10 ** (-25 / 20)  # of a reference: the root of its mean square
SAMPLER = "DPMSolverMultistepScheduler"
SAMPLING = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
TASK = (
    " Transform the text provided by various speakers into speech output, utilizing the distinct voice of each respective "
    "speaker.\n"
)  # what the model was trained to be told


class VibeVoice(Family):
    """A VibeVoice model. It draws its voice, or takes that of a recording."""

    name = "VibeVoice"
    takes = frozenset({"guidance", "max_seconds", "reference", "consent"})

    def __init__(self, network: Any, tokenizer: Any, rate: int) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.sample_rate = rate
        self.frame = int(network.config.audio_config.hop_length)  # samples

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it whole in `dtype`. Raises MissingDependency without diffusers."""
        from transformers import AutoModelForTextToWaveform

        runtime.require("diffusers", '"aigc-sdk-tts[vibevoice]"', "the sampler of a VibeVoice")
        tokenizer = load_tokenizer(opened)
        network: Any = load_transformers(opened, AutoModelForTextToWaveform)
        generation_settings(network, opened, cls.name)
        wanted = getattr(network.generation_config, "noise_scheduler_class", SAMPLER)
        if wanted != SAMPLER:
            raise MismatchedFolder(
                f"{printable(str(opened.path))}: generation_config.json wants the sampler {printable(str(wanted))!r}; "
                f"here it is {SAMPLER}"
            )
        name = "preprocessor_config.json"
        settings = opened.config(name) if opened.has(name) else {}
        made = cls(network.to(device=device, dtype=dtype), tokenizer, int(settings.get("sampling_rate", RATE)))
        with foreign_errors(opened.path, "generation_config.json has no settings of its sampler"):
            made._sampler()
        return made

    def check(self, text: str, options: Wording) -> None:
        """Refuse what does not fit the context."""
        reference = samples_of(options, self.sample_rate, text="unused")
        needed = len(self._ids(text, 0 if reference is None else self._size(reference))) + self._frames(options)
        room = int(self.network.config.text_config.max_position_embeddings)
        if needed > room:
            raise ContextOverflow(
                f"prompt, reference and max_seconds={options.max_seconds:g} need {needed} places, the model has {room}; "
                "shorten them",
                excess=needed - room,
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak a text, in one piece."""
        most = self._frames(options)
        guided = {} if options.guidance is None else {"guidance_scale": options.guidance}
        with torch.inference_mode(), quiet():
            made = self.network.generate(
                **self._inputs(text, options), max_new_tokens=most, noise_scheduler=self._sampler(), **guided
            )
            [sound] = made if isinstance(made, list) else made.audio
            samples = np.zeros(0, np.float32) if sound is None else sound.flatten().float().cpu().numpy()
        yield Piece(samples, cut=len(samples) >= most * self.frame)

    def save(self, path: Path) -> None:
        """Write the model as transformers does."""
        from transformers import VibeVoiceAcousticTokenizerFeatureExtractor

        kept = self.network.generation_config
        for each in ("noise_scheduler", "monitor_progress"):  # transformers leaves them there, and cannot write them
            if hasattr(kept, each):
                delattr(kept, each)
        with quiet():
            self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
            extractor: Any = VibeVoiceAcousticTokenizerFeatureExtractor(  # type: ignore[no-untyped-call]
                sampling_rate=self.sample_rate, pad_to_multiple_of=self.frame
            )
            extractor.save_pretrained(path)

    def _sampler(self) -> Any:
        """A sampler of its own for each call, because it keeps where it is."""
        from diffusers import DPMSolverMultistepScheduler

        settings = getattr(self.network.generation_config, "noise_scheduler_config", SAMPLING)
        return DPMSolverMultistepScheduler(**settings)  # type: ignore[no-untyped-call]

    def _inputs(self, text: str, options: Wording) -> dict[str, Tensor]:
        """What the model reads: the task, where there is a reference its sound, then the text."""
        device, reference = self.network.device, samples_of(options, self.sample_rate, text="unused")
        frames, sound = 0, {}
        if reference is not None:
            frames = self._size(reference)
            loud = reference * (LEVEL / (float(np.sqrt(np.mean(reference**2))) + 1e-6))
            loud = loud / max(1.0, float(np.abs(loud).max()))
            padded = np.pad(loud, (0, frames * self.frame - len(loud)))
            values = torch.from_numpy(padded).to(device, self.network.dtype)[None, None]  # (1, 1, t)
            there = torch.arange(values.shape[-1], device=device)[None] < len(reference)
            sound = {"input_values": values, "padding_mask": there}
        ids = torch.tensor([self._ids(text, frames)], device=device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **sound}

    def _ids(self, text: str, frames: int) -> list[int]:
        config = self.network.config
        begin, end = config.audio_bos_token_id, config.audio_eos_token_id

        def plain(some: str) -> list[int]:
            return plain_ids(self.tokenizer, some, "prompt")

        voice: list[int] = []
        if frames:
            voice = [*plain(" Voice input:\n"), *plain(" Speaker 0:"), begin, *[config.audio_token_id] * frames, end]
            voice += plain("\n")
        asked = [*plain(" Text input:\n"), *plain(f" Speaker 0: {text}\n"), *plain(" Speech output:\n")]
        return [*plain(TASK), *voice, *asked, begin]

    def _size(self, reference: Any) -> int:
        return -(-len(reference) // self.frame)

    def _frames(self, options: Wording) -> int:
        return max(1, int(options.max_seconds * self.sample_rate / self.frame))
