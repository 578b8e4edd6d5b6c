"""The decoder of Higgs Audio's codec: codes of several books to samples.

transformers' own class of the whole codec needs torchaudio, for its encoder alone. The encoder's weights are kept, so that
what is saved opens there; with them a recording cannot be encoded here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_sdk.errors import MismatchedFolder, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import SINGLE, foreign_errors, on_meta, quiet, read_weights

KIND = "higgs_audio_v2_tokenizer"


class HiggsCodec(nn.Module):
    """Each book's entries are added up, and a DAC decoder makes samples of the sums. Names are those of transformers."""

    def __init__(self, config: Any, kept: Mapping[str, Tensor]) -> None:
        super().__init__()
        from transformers import AutoModel

        acoustic = config.acoustic_model_config
        self.config = config
        self.kept = dict(kept)
        self.quantizer = nn.ModuleDict(
            {"quantizers": nn.ModuleList(_Book(config) for _ in range(config.num_quantizers))}
        )
        self.fc2 = nn.Linear(config.hidden_size, acoustic.hidden_size)
        self.acoustic_decoder: Any = AutoModel.from_config(acoustic).decoder  # type: ignore[no-untyped-call]
        self.acoustic_decoder.tanh = nn.Identity()
        for each in self.acoustic_decoder.modules():
            if isinstance(each, nn.ConvTranspose1d):
                each.output_padding = (each.stride[0] % 2,)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The codec in a folder, in float32. Raises MismatchedFolder where it is another one."""
        from transformers import HiggsAudioV2TokenizerConfig

        shown, opened = printable(str(path)), Folder(path, str(path), None)
        settings = opened.config()
        if settings.get("model_type") != KIND:
            raise MismatchedFolder(f"{shown} is a {printable(str(settings.get('model_type')))} model, no {KIND}")
        weights = read_weights(path)
        with foreign_errors(path, "config.json describes no codec"), quiet(), on_meta():
            made = cls(HiggsAudioV2TokenizerConfig(**settings), {})
        own = made.state_dict()
        for name, each in own.items():
            if name not in weights or weights[name].shape != each.shape:
                raise MismatchedFolder(f"{shown}: {SINGLE} has no {name} of shape {tuple(each.shape)}")
        made.load_state_dict({name: weights.pop(name) for name in own}, assign=True)
        made.kept = weights
        return made.float().eval()

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """The samples of codes (codebooks, t): (time,)."""
        books: Any = self.quantizer["quantizers"]
        found = torch.stack([book(some) for book, some in zip(books, codes, strict=True)]).sum(0)  # (t, hidden)
        return self.acoustic_decoder(self.fc2(found).T[None]).flatten()  # type: ignore[no-any-return]

    def save(self, path: Path) -> None:
        """Write the whole codec as transformers does."""
        from safetensors.torch import save_file

        path.mkdir(exist_ok=True)
        own = {name: each.detach().cpu().contiguous() for name, each in self.state_dict().items()}
        save_file({**self.kept, **own}, path / SINGLE, {"format": "pt"})
        (path / "config.json").write_text(
            json.dumps(self.config.to_dict(), indent=2, default=str) + "\n", encoding="utf-8"
        )


class _Book(nn.Module):
    """One codebook: (t,) to (t, hidden)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.codebook = nn.Module()
        self.codebook.register_buffer("embed", torch.zeros(config.codebook_size, config.codebook_dim))
        self.project_out = nn.Linear(config.codebook_dim, config.hidden_size)

    def forward(self, codes: Tensor) -> Tensor:
        embed: Any = self.codebook.embed
        return self.project_out(F.embedding(codes, embed))  # type: ignore[no-any-return]
