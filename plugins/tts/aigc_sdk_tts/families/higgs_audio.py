"""Higgs Audio v2: speech as delayed codes of several books; the folder `audio_tokenizer` holds its codec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from aigc_sdk.errors import ContextOverflow, MismatchedFolder, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import load_tokenizer, load_transformers, quiet, token_ids

from .family import Family, Piece, Wording, generation_settings, plain_ids
from .higgs_codec import HiggsCodec

CODEC = "audio_tokenizer"
SYSTEM = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nGenerate audio following instruction.\n\n"
    "<|scene_desc_start|>\nAudio is recorded from a quiet room.\n<|scene_desc_end|><|eot_id|>"
)  # what the model was trained to be told
USER, SAYS = "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"
TURN = "<|eot_id|>"
MARKS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", TURN)


class HiggsAudio(Family):
    """A Higgs Audio model. It draws its voice. To take that of a recording, its codec's encoder would need torchaudio."""

    name = "Higgs Audio"
    takes = frozenset({"temperature", "max_seconds"})

    def __init__(self, network: Any, codec: HiggsCodec, tokenizer: Any) -> None:
        self.network = network
        self.codec = codec
        self.tokenizer = tokenizer
        self.sample_rate = int(codec.config.sample_rate)

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it in `dtype`; its codec in float32."""
        from transformers import AutoModelForTextToWaveform

        tokenizer: Any = load_tokenizer(opened)
        lacking = [each for each in MARKS if tokenizer.convert_tokens_to_ids(each) in (None, tokenizer.unk_token_id)]
        if lacking:
            raise MismatchedFolder(
                f"{printable(str(opened.path))}: the tokenizer has no {lacking[0]}, which prompts need"
            )
        network: Any = load_transformers(opened, AutoModelForTextToWaveform)
        generation_settings(network, opened, cls.name)
        place = opened.path / CODEC
        if not place.is_dir():
            raise MismatchedFolder(
                f"{printable(str(opened.path))} has no folder {CODEC!r}; put its HiggsAudioV2TokenizerModel there with "
                "save_pretrained"
            )
        codec = HiggsCodec.open(place)
        if codec.config.num_quantizers != network.config.num_codebooks:
            raise MismatchedFolder(
                f"{printable(str(opened.path))}: the model speaks in {network.config.num_codebooks} codebooks, its {CODEC} "
                f"has {codec.config.num_quantizers}; take the one that belongs to it"
            )
        return cls(network.to(device=device, dtype=dtype), codec.to(device), tokenizer)

    def check(self, text: str, options: Wording) -> None:
        """Refuse what does not fit the context."""
        needed = len(self._ids(text)) + self._steps(options)
        room = int(self.network.config.max_position_embeddings)
        if needed > room:
            raise ContextOverflow(
                f"prompt and max_seconds={options.max_seconds:g} need {needed} places, the model has {room}; "
                "shorten them",
                excess=needed - room,
            )

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak a text, in one piece."""
        books = self.network.config.num_codebooks
        with torch.inference_mode(), quiet():
            ids = torch.tensor([self._ids(text)], device=self.network.device)
            made = self.network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._steps(options),
                **self._drawing(options.temperature),
            )
            rows = made if isinstance(made, Tensor) else made.audio_sequences
            rows = rows[0, 1:]  # (t, codebooks); the first holds where the stream begins
            ended = (rows == self.network.config.audio_stream_eos_id).all(-1).nonzero()
            rows = rows[: int(ended[0])] if len(ended) else rows
            size = len(rows) - books + 1
            codes = torch.stack([rows[book : book + max(0, size), book] for book in range(books)])  # (codebooks, t)
            sound = self._sound(codes)
        yield Piece(sound.float().cpu().numpy(), cut=not len(ended))

    def save(self, path: Path) -> None:
        """Write the model as transformers does, and its codec beside it."""
        with quiet():
            self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        self.codec.save(path / CODEC)

    def modules(self) -> dict[str, nn.Module]:
        """The network and its codec."""
        return {"network": self.network, "codec": self.codec}

    def _sound(self, codes: Tensor) -> Tensor:
        """The samples of codes (codebooks, t)."""
        if not codes.shape[1]:
            return codes.new_zeros(0, dtype=torch.float32)
        return self.codec.decode(codes.clamp(0, self.codec.config.codebook_size - 1))

    def _ids(self, text: str) -> list[int]:
        """What the model reads: the task, the text, and that its turn begins."""
        asked = [*self._marked(USER), *plain_ids(self.tokenizer, text, "prompt"), *self._marked(TURN + SAYS)]
        return [*self._marked(SYSTEM), *asked, int(self.network.config.audio_bos_token_id)]

    def _marked(self, text: str) -> list[int]:
        return token_ids(self.tokenizer, [text])[0]

    def _steps(self, options: Wording) -> int:
        """Tokens for `max_seconds`: one that begins the stream, and as many more as books are late."""
        frames = max(1, int(options.max_seconds * self.sample_rate / self.codec.config.hop_length))
        return frames + int(self.network.config.num_codebooks)

    def _drawing(self, temperature: float | None) -> dict[str, Any]:
        return {} if temperature is None else {"do_sample": temperature > 0, "temperature": temperature or 1.0}
