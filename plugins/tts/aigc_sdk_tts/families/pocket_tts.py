"""PocketTTS: a small model that makes continuous latents; the folder `audio_tokenizer` holds its codec.

Its voices are recordings as the codec's latents, (frames, latent_dim) each, under their names in `voices.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from aigc_sdk.errors import ContextOverflow, MismatchedFolder, OptionError, PromptError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import file_shapes, load_tokenizer, load_transformers, quiet, read_file

from .family import Family, Piece, Wording, generation_settings, inner_model, named, plain_ids
from .reference import samples_of

CODEC = "audio_tokenizer"
VOICES = "voices.safetensors"
FEW, SPACES = 5, " " * 8  # words; a text with fewer is given more tokens, as by the model's makers
TAIL = {True: 4, False: 2}  # frames after the end of a text of few words, and of any other
FADE = 0.005  # seconds at the beginning: the decoder starts with a click


class PocketTTS(Family):
    """A PocketTTS model. It speaks with one of its voices, or that of a recording."""

    name = "PocketTTS"
    takes = frozenset({"voice", "temperature", "max_seconds", "pause", "reference", "consent"})
    splits = True

    def __init__(self, network: Any, codec: Any, tokenizer: Any, voices: Mapping[str, Tensor]) -> None:
        self.network = network
        self.codec = codec
        self.tokenizer = tokenizer
        self.voices = dict(voices)
        self.sample_rate = int(codec.config.sampling_rate)
        self.frame = int(codec.config.frame_size)  # samples
        network.loss_weighting = nn.Identity()  # for training alone; published folders have no weights for it

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it in `dtype`; its codec in float32."""
        from transformers import AutoModelForTextToWaveform

        tokenizer = load_tokenizer(opened)
        network: Any = load_transformers(opened, AutoModelForTextToWaveform, free=_of_training)
        generation_settings(network, opened, cls.name)
        codec = inner_model(opened, CODEC, "PocketTTSAudioTokenizerModel")
        size = int(network.config.latent_dim)
        if codec.config.latent_dim != size:
            raise MismatchedFolder(
                f"{printable(str(opened.path))}: the model makes latents of {size} numbers, its {CODEC} reads "
                f"{codec.config.latent_dim}; take the one that belongs to it"
            )
        voices: Mapping[str, Tensor] = {}
        if opened.has(VOICES):
            shapes = file_shapes(opened.path / VOICES)
            wrong = next((name for name, shape in shapes.items() if len(shape) != 2 or shape[1] != size), None)
            if wrong is not None:
                raise MismatchedFolder(
                    f"{printable(str(opened.path))}: the voice {printable(wrong)!r} has the shape {shapes[wrong]}, the "
                    f"model needs (frames, {size})"
                )
            voices = read_file(opened.path / VOICES, shapes)
        return cls(network.to(device=device, dtype=dtype), codec.float().to(device), tokenizer, voices)

    def check(self, text: str, options: Wording) -> None:
        """Refuse voices that are not there, no voice at all, and what does not fit the context."""
        reference = samples_of(options, self.sample_rate, text="unused")
        if reference is not None and options.voice is not None:
            raise OptionError(
                f"tts option voice={options.voice!r}: a reference is a voice already; pass one", field="voice"
            )
        if reference is not None and self.codec.encoder is None:
            raise OptionError(f"tts option reference: the folder's {CODEC} has no encoder", field="reference")
        if reference is None:
            if not self.voices:
                raise OptionError(
                    f"tts option voice: the folder has no {VOICES}; pass a reference, and consent", field="voice"
                )
            named(options.voice, sorted(self.voices), self.name)
        frames = len(reference) // self.frame + 2 if reference is not None else len(self._voice(options))
        needed = len(self._ids(text)) + frames + 2 + self._frames(options)
        excess = needed - int(self.network.config.max_position_embeddings)
        if excess > 0:
            raise ContextOverflow(
                f"voice, sentence and max_seconds={options.max_seconds:g} need {excess} places more than the model has; "
                "shorten them",
                excess=excess,
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak one sentence, in one piece."""
        config, device, most = self.network.config, self.network.device, self._frames(options)
        with torch.inference_mode(), quiet():
            voice = self._voice(options).to(device, self.network.dtype)  # (frames, latent_dim)
            before = [config.audio_prompt_bos_token_id, *[config.audio_prompt_token_id] * len(voice)]
            ids = torch.tensor([[*before, *self._ids(text), config.audio_bos_token_id]], device=device)
            made = self.network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                audio_prompt_latents=voice[None],
                audio_prompt_latents_mask=torch.ones(1, len(voice), dtype=torch.long, device=device),
                frames_after_eos=TAIL[len(text.split()) < FEW],
                max_new_tokens=most,
                return_dict_in_generate=True,
                **self._drawing(options.temperature),
            )
            sound = self.codec.decode(made.audio_latents.float()).audio_values[0, 0]
            fade = min(len(sound), int(FADE * self.sample_rate))
            sound[:fade] *= torch.linspace(0, 1, fade, device=sound.device)
        yield Piece(sound.cpu().numpy(), cut=made.audio_latents.shape[1] >= most)

    def save(self, path: Path) -> None:
        """Write the model as transformers does, its codec and its voices beside it."""
        from safetensors.torch import save_file

        with quiet():
            self.network.save_pretrained(path)
            self.codec.save_pretrained(path / CODEC)
            self.tokenizer.save_pretrained(path)
        if self.voices:
            save_file({name: each.contiguous() for name, each in self.voices.items()}, path / VOICES)

    def modules(self) -> dict[str, nn.Module]:
        """The network and its codec."""
        return {"network": self.network, "codec": self.codec}

    def _voice(self, options: Wording) -> Tensor:
        """A voice's latents, (frames, latent_dim)."""
        from transformers import PocketTTSFeatureExtractor

        reference = samples_of(options, self.sample_rate, text="unused")
        if reference is None:
            return self.voices[named(options.voice, sorted(self.voices), self.name)]
        extractor: Any = PocketTTSFeatureExtractor(  # type: ignore[no-untyped-call]
            sampling_rate=self.sample_rate, frame_size=self.frame, pad_to_multiple_of=self.frame
        )
        values = extractor([reference], sampling_rate=self.sample_rate)["input_values"]
        with torch.inference_mode():
            return self.codec.encode(values.to(self.codec.device)).latents[0]  # type: ignore[no-any-return]

    def _ids(self, text: str) -> list[int]:
        """A sentence's tokens: it begins with a capital, ends with a mark, and is never very short."""
        wanted = " ".join(text.split())
        wanted = wanted[:1].upper() + wanted[1:] + ("." if wanted[-1:].isalnum() else "")
        wanted = wanted if len(wanted.split()) >= FEW else SPACES + wanted
        ids = plain_ids(self.tokenizer, wanted, "prompt")
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids:
            raise PromptError(f"the model lacks a character of {printable(text, 80)!r}", field="prompt")
        return ids

    def _frames(self, options: Wording) -> int:
        return max(1, int(options.max_seconds * self.sample_rate / self.frame))

    def _drawing(self, temperature: float | None) -> dict[str, Any]:
        return {} if temperature is None else {"do_sample": temperature > 0, "temperature": temperature or 1.0}


def _of_training(name: str) -> bool:
    return name.startswith("loss_weighting.") or name == "latent_stats_num_updates"
