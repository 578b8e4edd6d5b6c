"""VITS and MMS-TTS: one network from characters to sound (Kim et al. 2021, arXiv:2106.06103).

The steps are transformers' own `VitsModel.forward` for one text, taken apart so that the decoder can be asked for the
first sound before the last, and because that call moves NumPy's global random state.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aigc_sdk.errors import InputError, MismatchedFolder, PromptError, printable
from aigc_sdk.folder import Folder
from aigc_sdk.weights import load_transformers, quiet

from .family import Family, Piece, Wording, numbered
from .hifigan import Vocoder

MOST_FRAMES = 200_000  # of one sentence; durations are drawn, and a broken model can draw any


class Vits(Family):
    """A VITS model. In bfloat16 its decoder computes in it, where nearly all of the time goes."""

    name = "VITS"
    takes = frozenset({"voice", "speed", "temperature", "pause"})
    splits = True

    def __init__(self, network: Any, tokenizer: Any, vocabulary: Path, dtype: torch.dtype) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.sample_rate = int(network.config.sampling_rate)
        self._vocoder = Vocoder(network.decoder, dtype)
        self._flow: Any = folded(network.flow)

    @classmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it; in float32 but for the decoder."""
        from transformers import AutoModelForTextToWaveform

        tokenizer = _tokenizer(opened)
        network: Any = load_transformers(opened, AutoModelForTextToWaveform)
        kind: Any = cls
        if tokenizer.phonemize:
            from .phoneme_vits import PhonemeVits

            kind = PhonemeVits
        return cast(Self, kind(network.float().to(device), tokenizer, opened.path / "vocab.json", dtype))

    def check(self, text: str, options: Wording) -> None:
        """Refuse letters and digits that the model does not know, rather than leave them out of what is said."""
        numbered("voice", options.voice, self._voices, self.name)
        known = self.tokenizer.encoder
        lost = sorted({each for each in self._spelled(text, options) if each.isalnum() and each not in known})
        if lost:
            hint = (
                "pass normalize=True, or write it out" if any(each.isdigit() for each in lost) else "write it otherwise"
            )
            raise PromptError(
                f"the model has no sound for {printable(' '.join(lost), 60)}, which the prompt holds; {hint}",
                field="prompt",
            )
        if not any(each.isalnum() for each in self._prepared(text, options)):
            raise PromptError("the prompt holds nothing that this model can say; give words", field="prompt")

    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak one sentence; times of its words come with the first piece."""
        with torch.inference_mode():
            frames, speaker, words = self._frames(text, options)
        for samples in self._vocoder.windows(frames, speaker):
            yield Piece(samples, words)
            words = []

    def save(self, path: Path) -> None:
        """Write the model as transformers does."""
        with quiet():
            self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        if not (path / "vocab.json").is_file():
            shutil.copyfile(self.vocabulary, path / "vocab.json")

    def to(self, device: str) -> None:
        """Move the model and what was made of its weights."""
        super().to(device)
        self._vocoder.to(device)
        self._flow.to(device)

    @property
    def _voices(self) -> int:
        return int(self.network.config.num_speakers)

    @property
    def _hop(self) -> int:
        return math.prod(self.network.config.upsample_rates)

    def _spelled(self, text: str, options: Wording) -> str:
        """A text in the model's own letters, with whatever it has no sound for."""
        prepared = text if not self.tokenizer.normalize else self.tokenizer.normalize_text(text)
        return str(self.tokenizer._preprocess_char(prepared))

    def _prepared(self, text: str, options: Wording) -> str:
        """A text as it is given to the tokenizer."""
        return str(self.tokenizer.prepare_for_tokenization(text)[0])

    def _frames(self, text: str, options: Wording) -> tuple[Tensor, Tensor | None, list[tuple[str, float, float]]]:
        """What the decoder is given: frames (1, c, t) and the speaker (1, c, 1); and the words' times."""
        network: Any = self.network
        prepared = self._prepared(text, options)
        ids = torch.tensor([self.tokenizer(prepared, normalize=False)["input_ids"]], device=network.device)
        mask = torch.ones(1, 1, ids.shape[1], device=network.device)
        number = numbered("voice", options.voice, self._voices, self.name)
        speaker = None
        if number is not None:
            speaker = network.embed_speaker(torch.tensor([number], device=network.device))[..., None]
        hidden, means, deviations = self._encoded(ids, mask)
        durations = self._durations(hidden, mask, speaker, options.speed)
        means, deviations = (each.repeat_interleave(durations, dim=2) for each in (means, deviations))
        scale = network.noise_scale if options.temperature is None else options.temperature
        # Laid out (1, t, c) as in transformers, where the same seed so draws the same noise.
        noise = torch.randn_like(means.transpose(1, 2).contiguous().transpose(1, 2))
        latents = means + noise * deviations * scale
        seen = torch.ones(1, 1, latents.shape[2], device=latents.device)
        frames = self._flow(latents, seen, speaker, reverse=True)
        return frames, speaker, self._written(self._times(prepared, durations), text)

    def _written(self, words: list[tuple[str, float, float]], text: str) -> list[tuple[str, float, float]]:
        """The words' times under the words that are written."""
        return words

    def _encoded(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The text encoder: its output, and the prior's means and deviations, each (1, c, characters)."""
        encoder: Any = self.network.text_encoder
        x = encoder.embed_tokens(ids) * math.sqrt(self.network.config.hidden_size)
        for layer in encoder.encoder.layers:
            x = layer(x, padding_mask=mask.transpose(1, 2))[0]
        x = x.transpose(1, 2)
        means, logs = encoder.project(x).split(self.network.config.flow_size, dim=1)
        return x, means, logs.exp()

    def _durations(self, hidden: Tensor, mask: Tensor, speaker: Tensor | None, speed: float) -> Tensor:
        """How many frames each character takes, (characters,)."""
        network: Any = self.network
        if network.config.use_stochastic_duration_prediction:
            logs = network.duration_predictor(
                hidden, mask, speaker, reverse=True, noise_scale=network.noise_scale_duration
            )
        else:
            logs = network.duration_predictor(hidden, mask, speaker)
        frames = torch.ceil(logs.exp() / (network.speaking_rate * speed))[0, 0]
        if not bool(torch.isfinite(frames).all()) or float(frames.sum()) > MOST_FRAMES:
            raise InputError(f"the model wants {float(frames.sum()):g} frames for one sentence; its weights are broken")
        if float(frames.sum()) < 1:
            frames[-1] = 1
        return frames.long()

    def _times(self, prepared: str, durations: Tensor) -> list[tuple[str, float, float]]:
        """When each word is said, by the durations of its characters."""
        tokens = self.tokenizer.tokenize(prepared, normalize=False)
        ends = (durations.cumsum(0).cpu() * self._hop / self.sample_rate).tolist()
        if len(tokens) != len(ends):
            return []
        blank = self.tokenizer._convert_id_to_token(0) if self.tokenizer.add_blank else None
        words: list[tuple[str, float, float]] = []
        word, start, end = "", 0.0, 0.0
        for index, token in enumerate([*tokens, " "]):
            if token == blank:
                continue
            if token.isspace():
                if any(each.isalnum() for each in word):
                    words.append((word, round(start, 4), round(end, 4)))
                word = ""
                continue
            if not word:
                start = ends[index - 1] if index else 0.0
            word, end = word + token, ends[index]
        return words


def folded(module: nn.Module) -> nn.Module:
    """A copy of `module` in which weight norm is multiplied out."""
    done = copy.deepcopy(module)
    for parent in list(done.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv1d) and parametrize.is_parametrized(child):
                setattr(parent, name, _plain(child))
    return done.requires_grad_(False)


def _plain(layer: nn.Conv1d) -> nn.Conv1d:
    made = nn.Conv1d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size[0],
        stride=layer.stride[0],
        padding=layer.padding[0],
        dilation=layer.dilation[0],
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    made.weight = nn.Parameter(layer.weight.detach().clone())
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias.detach().clone())
    return made


def _tokenizer(opened: Folder) -> Any:
    from transformers import VitsTokenizer

    vocabulary = opened.json("vocab.json")
    if not all(isinstance(each, int) for each in vocabulary.values()):
        raise MismatchedFolder(f"{printable(str(opened.path))}: vocab.json is no table of characters and their numbers")
    settings: Mapping[str, Any] = opened.config("tokenizer_config.json") if opened.has("tokenizer_config.json") else {}
    known = {
        key: settings[key]
        for key in ("language", "add_blank", "normalize", "phonemize", "is_uroman")
        if key in settings
    }
    if known.get("is_uroman"):
        from aigc_sdk.runtime import require

        require("uroman", "uroman", "this VITS model's text preparation")
    special = {key: settings[key] for key in ("pad_token", "unk_token") if isinstance(settings.get(key), str)}
    return VitsTokenizer(str(opened.path / "vocab.json"), **known, **special)
