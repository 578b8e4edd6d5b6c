"""Dia: dialogue from text, as codes of DAC; the folder `audio_tokenizer` holds its DAC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from aigc_sdk.errors import ContextOverflow, MismatchedFolder, OptionError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import foreign_errors, load_transformers, quiet

from .family import Family, Piece, Wording
from .reference import samples_of

CODEC = "audio_tokenizer"
TAGS = {"[S1]": 1, "[S2]": 2}  # who speaks; every other token is a byte
_TAG = re.compile(r"(\[S[12]\])")


class Dia(Family):
    """A Dia model. [S1] and [S2] in a text say who speaks; it goes on with the voice of a recording."""

    name = "Dia"
    takes = frozenset({"temperature", "guidance", "max_seconds", "reference", "reference_text", "consent"})

    def __init__(self, network: Any, codec: Any) -> None:
        self.network = network
        self.codec = codec
        self.sample_rate = int(codec.config.sampling_rate)

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it in `dtype`; its DAC in float32."""
        from transformers import AutoModel, AutoModelForSpeechSeq2Seq, GenerationConfig

        place = opened.path / CODEC
        if not place.is_dir():
            raise MismatchedFolder(
                f"{printable(str(opened.path))} has no folder {CODEC!r}; put its DacModel there with save_pretrained"
            )
        network: Any = load_transformers(opened, AutoModelForSpeechSeq2Seq)
        if opened.has("generation_config.json"):
            with foreign_errors(opened.path, "generation_config.json is none of Dia's"):
                network.generation_config = GenerationConfig.from_dict(opened.config("generation_config.json"))
        codec: Any = load_transformers(Folder(place, str(place), None), AutoModel)
        if codec.config.n_codebooks != network.config.decoder_config.num_channels:
            raise MismatchedFolder(
                f"{printable(str(opened.path))}: the model speaks in {network.config.decoder_config.num_channels} codebooks, "
                f"its {CODEC} has {codec.config.n_codebooks}; take the one that belongs to it"
            )
        return cls(network.to(device=device, dtype=dtype), codec.float().to(device))

    def check(self, text: str, options: Wording) -> None:
        """Refuse temperatures that Dia cannot do, and texts that are too long."""
        samples_of(options, self.sample_rate, text="needed")
        if options.temperature is not None and 0 < options.temperature < 1:
            raise OptionError(
                f"tts option temperature={options.temperature:g}: Dia draws at 1 or more, or not at all with 0",
                field="temperature",
            )
        room = int(self.network.config.encoder_config.max_position_embeddings)
        excess = len(_ids(text, options)) - room
        if excess > 0:
            raise ContextOverflow(
                f"the text has {excess} bytes more than the {room} that Dia reads; divide it", excess=excess
            )
        places = int(self.network.config.decoder_config.max_position_embeddings)
        excess = self._frames(options) + 1 + 2 * max(self.network.config.delay_pattern) - places
        if excess > 0:
            raise ContextOverflow(
                f"max_seconds={options.max_seconds:g} is {excess} frames more than the model's {places}; lower it",
                excess=excess,
                field="max_seconds",
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak a text, in one piece."""
        from transformers import DiaProcessor

        network, device = self.network, self.network.device
        decoder, delays = network.config.decoder_config, network.config.delay_pattern
        ids = torch.tensor([_ids(text, options)], device=device)
        with torch.inference_mode(), quiet():
            begin = self._beginning(options)  # (1, t, codebooks)
            steps, books = begin.shape[1] + max(delays), begin.shape[2]
            room = torch.full((1, steps, books), decoder.pad_token_id, device=device)
            room[:, : begin.shape[1]] = begin
            made = network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                decoder_input_ids=DiaProcessor.apply_audio_delay(
                    room,
                    decoder.pad_token_id,
                    decoder.bos_token_id,
                    DiaProcessor.build_indices(1, steps, books, delays),
                ),
                decoder_attention_mask=torch.ones(1, steps, dtype=torch.long, device=device),
                max_new_tokens=self._frames(options),
                **self._drawing(options),
            )
            made = made if isinstance(made, Tensor) else made.sequences
            places = DiaProcessor.build_indices(1, made.shape[1], books, delays, revert=True)
            codes = DiaProcessor.apply_audio_delay(made, -1, -1, places)[0]
            ended = made[0, :, 0] == decoder.eos_token_id
            padding = int((made[0, :, 0] == decoder.pad_token_id).sum())
            stop = int(ended.nonzero()[0]) if bool(ended.any()) else made.shape[1] - padding - max(delays)
            sound = self._sound(codes[begin.shape[1] : stop])
        # The model is made to end before its last places, which the delays need.
        cut = stop - begin.shape[1] >= self._frames(options) - max(delays) - 1
        yield Piece(sound.float().cpu().numpy(), cut=cut)

    def save(self, path: Path) -> None:
        """Write the model as transformers does, and its DAC beside it."""
        from transformers import DiaTokenizer

        with quiet():
            self.network.save_pretrained(path)
            self.codec.save_pretrained(path / CODEC)
            DiaTokenizer().save_pretrained(path)

    def modules(self) -> dict[str, nn.Module]:
        """The network and its DAC."""
        return {"network": self.network, "codec": self.codec}

    def _sound(self, codes: Tensor) -> Tensor:
        """The samples of codes (t, codebooks)."""
        if not len(codes):
            return codes.new_zeros(0, dtype=torch.float32)
        codes = codes.clamp(0, self.codec.config.codebook_size - 1)
        return self.codec.decode(audio_codes=codes.T[None].long()).audio_values.flatten()  # type: ignore[no-any-return]

    def _beginning(self, options: Wording) -> Tensor:
        """The codes that the model goes on from: a first one, then the reference's."""
        decoder = self.network.config.decoder_config
        first = torch.full((1, 1, decoder.num_channels), decoder.bos_token_id, device=self.network.device)
        reference = samples_of(options, self.sample_rate, text="needed")
        if reference is None:
            return first
        whole = len(reference) // self.codec.config.hop_length * self.codec.config.hop_length
        sound = torch.from_numpy(reference[:whole]).to(self.network.device)[None, None]
        return torch.cat([first, self.codec.encode(sound).audio_codes.transpose(1, 2)], dim=1)

    def _frames(self, options: Wording) -> int:
        return max(1, int(options.max_seconds * self.sample_rate / self.codec.config.hop_length))

    def _drawing(self, options: Wording) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if options.temperature is not None:
            told |= {"do_sample": options.temperature > 0, "temperature": options.temperature or 1.0}
        return told if options.guidance is None else {**told, "guidance_scale": options.guidance}


def _ids(text: str, options: Wording) -> list[int]:
    """A text's bytes and tags, after what is said in the reference."""
    whole = " ".join(each for each in (options.reference_text, text) if each)
    whole = whole if _TAG.match(whole) else f"[S1] {whole}"
    parts = [[TAGS[each]] if each in TAGS else list(each.encode()) for each in _TAG.split(whole)]
    return [each for part in parts for each in part]
