"""CSM: a language model over Mimi's codes, which can go on with a voice that it has heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from aigc_sdk.errors import ContextOverflow
from aigc_sdk.folder import Folder
from aigc_sdk.weights import foreign_errors, load_tokenizer, load_transformers, quiet, token_ids

from .family import Family, Piece, Wording, numbered
from .reference import samples_of

SPEAKERS = 10  # which the text names as [0] to [9]; without a reference each has a voice that is drawn


class Csm(Family):
    """A CSM model. It draws its voice, or takes that of a recording whose text is given."""

    name = "CSM"
    takes = frozenset({"voice", "temperature", "max_seconds", "reference", "reference_text", "consent"})

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.sample_rate = int(network.config.codec_config.sampling_rate)
        own, inner = network.generation_config, network.depth_decoder.generation_config
        self._usual = ((own.do_sample, own.temperature), (inner.do_sample, inner.temperature))

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it whole in `dtype`."""
        from transformers import AutoModelForTextToWaveform, GenerationConfig

        tokenizer = load_tokenizer(opened)
        network: Any = load_transformers(opened, AutoModelForTextToWaveform)
        if opened.has("generation_config.json"):
            settings, prefix = opened.config("generation_config.json"), "depth_decoder_"
            own = {key: value for key, value in settings.items() if not key.startswith(prefix)}
            inner = {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}
            with foreign_errors(opened.path, "generation_config.json is none of CSM's"):
                network.generation_config = GenerationConfig.from_dict(own)
                network.depth_decoder.generation_config = GenerationConfig.from_dict(inner)
        return cls(network.to(device=device, dtype=dtype), tokenizer)

    def check(self, text: str, options: Wording) -> None:
        """Refuse what does not fit the context; a reference's text is needed, for the model reads it with its sound."""
        samples_of(options, self.sample_rate, text="needed")
        numbered("voice", options.voice, SPEAKERS, self.name)
        room = int(self.network.config.max_position_embeddings)
        needed = self._inputs(text, options)["input_ids"].shape[1] + self._frames(options)
        if needed > room:
            raise ContextOverflow(
                f"prompt, reference and max_seconds={options.max_seconds:g} need {needed} places, the model has {room}; "
                "shorten them",
                excess=needed - room,
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak a text, in one piece."""
        with torch.inference_mode(), quiet():
            made = self.network.generate(
                **self._inputs(text, options),
                max_new_tokens=self._frames(options),
                output_audio=False,
                **self._drawing(options.temperature),
            )
            codes = made if isinstance(made, Tensor) else made.sequences
            codes = codes[0, -self._frames(options) :]  # (t, codebooks)
            ends = (codes == self.network.config.codebook_eos_token_id).all(dim=-1).nonzero()
            cut = len(ends) == 0
            codes = codes if cut else codes[: int(ends[0])]
            sound = self._sound(codes)
        yield Piece(sound.float().cpu().numpy(), cut=cut)

    def save(self, path: Path) -> None:
        """Write the model as transformers does."""
        with quiet():
            self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)

    def _sound(self, codes: Tensor) -> Tensor:
        if not len(codes):
            return codes.new_zeros(0, dtype=torch.float32)
        books = self.network.config.codec_config.codebook_size
        codes = codes.clamp(0, books - 1)  # the model's own vocabulary has some more, for padding
        return self.network.codec_model.decode(codes.T[None]).audio_values[0, 0]  # type: ignore[no-any-return]

    def _frames(self, options: Wording) -> int:
        return max(1, int(options.max_seconds * self.network.config.codec_config.frame_rate))

    def _inputs(self, text: str, options: Wording) -> dict[str, Tensor]:
        """What the model reads: where there is a reference its text and sound, then the text."""
        speaker = f"[{options.voice or 0}]"
        device, config = self.network.device, self.network.config
        [ids] = token_ids(self.tokenizer, [speaker + text], special=True)
        reference = samples_of(options, self.sample_rate, text="needed")
        sound: dict[str, Tensor] = {}
        if reference is not None:
            values = torch.from_numpy(reference).to(device, self.network.dtype)[None, None]  # (1, 1, t)
            with torch.inference_mode():
                length = self.network.codec_model.encode(values).audio_codes.shape[-1]
            [before] = token_ids(self.tokenizer, [f"{speaker}{options.reference_text}"], special=True)
            ids = [*before, *[config.audio_token_id] * length, config.audio_eos_token_id, *ids]
            sound = {"input_values": values, "input_values_cutoffs": torch.tensor([[values.shape[-1]]], device=device)}
        whole = torch.tensor([ids], device=device)
        return {"input_ids": whole, "attention_mask": torch.ones_like(whole), **sound}

    def _drawing(self, temperature: float | None) -> dict[str, Any]:
        """What `generate` is told; the depth decoder keeps what it is told, so it is told each time."""
        usual = self._usual
        if temperature is not None:
            usual = ((temperature > 0, temperature or 1.0),) * 2
        (draws, heat), (inner_draws, inner_heat) = usual
        return {
            "do_sample": draws,
            "temperature": heat,
            "depth_decoder_do_sample": inner_draws,
            "depth_decoder_temperature": inner_heat,
        }
