"""What FastSpeech2Conformer and SpeechT5 are taught: recordings as the models of transformers and their losses take them.

Both vocoders hear the same kind of spectrogram: the base-10 logarithm of the amplitude in each band of Slaney's mel scale, in
frames of the vocoder's hop and a Hann window of four hops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aigc_sdk.errors import DataError, NotOffered, OptionError, printable

from .families.family import Family, named, numbered
from .families.fastspeech2 import FastSpeech2
from .families.speecht5 import SpeechT5
from .features import Analysis, pitch
from .prepare import Corrupt, aligned, read_recordings
from .recordings import Recording, Row
from .tokens import PAUSE

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST, HIGHEST = 80.0, 7600.0  # Hz, of the published models' spectrograms
FLOOR = 1e-10  # of an amplitude
IGNORED = -100.0  # what transformers' losses leave out


@dataclass(frozen=True)
class Lesson:
    """One recording, as a network is given it."""

    ids: Tensor
    """Tokens, (p,)."""
    frames: Tensor
    """Spectrogram, (t, mels)."""
    text: str
    voice: Any
    """A number, or an embedding (d,)."""
    durations: Tensor | None = None
    """Frames of each token, (p,)."""
    tones: Tensor | None = None
    """Logarithm of the pitch and loudness of each token, (p, 2)."""


def lessons_for(family: Family, normalized: bool | None) -> Lessons:
    """How a model is taught. Raises NotOffered for a family that is not, and OptionError for what does not suit it."""
    if isinstance(family, FastSpeech2):
        return FastSpeech2Lessons(family, normalized)
    if isinstance(family, SpeechT5):
        return SpeechT5Lessons(family, normalized)
    raise NotOffered(
        f"{family.name} models are not trained here; FastSpeech2Conformer and SpeechT5 are, and voices of this package's own"
    )


class Lessons(ABC):
    """How one family is taught."""

    def __init__(self, family: Any) -> None:
        self.family = family
        self.network: torch.nn.Module = family.network
        self.hop = int(np.prod(family.hifigan.config.upsample_rates))
        self.mels = int(family.hifigan.config.model_in_dim)
        self.analysis = _analysis(family.sample_rate)

    @abstractmethod
    def read(self, data: Any, name: str, corrupt: Corrupt) -> list[Lesson]:
        """All recordings in a folder. Raises DataError, which names the file and what to do."""

    @abstractmethod
    def loss(self, network: Any, some: Sequence[Lesson]) -> Tensor:
        """transformers' own loss of the model, mean over some recordings."""

    def held_out(self, some: Sequence[Lesson]) -> float:
        """The loss with everything off that only training has, such as dropout."""
        self.network.eval()
        return float(self.loss(self.network, some))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the vocoder should be given, (1 + samples // hop, mels)."""
        return log_mel(samples, self.family.sample_rate, self.hop, self.mels)


class SpeechT5Lessons(Lessons):
    """Letters and a speaker's embedding to frames, the stop token, and attention that is guided along the diagonal."""

    def __init__(self, family: SpeechT5, normalized: bool | None) -> None:
        super().__init__(family)
        if normalized:
            raise OptionError("normalized=True: a SpeechT5's spectrograms are never; leave it out", field="normalized")
        t5 = family.network.speecht5
        for each in (t5.encoder.wrapped_encoder, t5.decoder.wrapped_decoder):
            each.layerdrop = 0.0  # a layer left out has no attention to guide, and no gradient to exchange

    def read(self, data: Any, name: str, corrupt: Corrupt) -> list[Lesson]:
        read = read_recordings(data, name, self.analysis, corrupt, self._voice)
        return [self._lesson(each, samples) for each, samples, _ in read]

    def loss(self, network: Any, some: Sequence[Lesson]) -> Tensor:
        device = self.device
        ids, seen = _padded([each.ids for each in some], 0, device)
        labels, heard = _padded([each.frames for each in some], IGNORED, device)
        made = network(
            input_ids=ids,
            attention_mask=seen,
            labels=labels,
            decoder_attention_mask=heard,
            speaker_embeddings=torch.stack([each.voice for each in some]).to(device),
        )
        return made.loss  # type: ignore[no-any-return]

    def _lesson(self, recording: Recording, samples: NDArray[np.float32]) -> Lesson:
        config, name = self.family.network.config, printable(recording.name)
        ids = self.family._ids(recording.text)
        if self.family.tokenizer.unk_token_id in ids:
            raise DataError(f"{name}: the model lacks a character of its transcript; write it otherwise", field="data")
        whole = self.spectrogram(samples)
        whole = whole[: len(whole) // config.reduction_factor * config.reduction_factor]
        for kind, size, most in (
            ("tokens", len(ids), config.max_text_positions),
            ("frames", len(whole) // config.reduction_factor, config.max_speech_positions),
        ):
            if size > most:
                raise DataError(f"{name} has {size} {kind}, the model reads {most}; divide the recording", field="data")
        return Lesson(torch.tensor(ids), torch.from_numpy(whole), recording.text, self._voice(recording))

    def _voice(self, recording: Recording) -> Tensor:
        names = sorted(self.family.voices)
        try:
            return self.family.voices[named(recording.voice or None, names, self.family.name)]  # type: ignore[no-any-return]
        except OptionError as error:
            raise DataError(
                f"{printable(recording.name)} is of the voice {printable(recording.voice)!r}, the model has "
                f"{', '.join(names[:20])}; add its embedding to voices.safetensors",
                field="data",
            ) from error


class FastSpeech2Lessons(Lessons):
    """Phonemes to durations, pitch, energy and frames; what is said when is given, or found out as for an own voice.

    Pitch and energy of each phoneme have mean 0 and deviation 1 over the recordings that are trained on, and with
    `normalized` so has each band of the spectrogram: those of ESPnet, where the published models come from, have.
    """

    def __init__(self, family: FastSpeech2, normalized: bool | None) -> None:
        super().__init__(family)
        self.network = family.acoustic
        self.normalized = normalized is not False
        self.scales: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def read(self, data: Any, name: str, corrupt: Corrupt) -> list[Lesson]:
        read = read_recordings(data, name, self.analysis, corrupt, self._voice)
        plain = [self._lesson(*each) for each in aligned(read, self.analysis)]
        if name == "data":
            frames, tones = (torch.cat([getattr(each, key) for each in plain]) for key in ("frames", "tones"))
            own = frames if self.normalized else torch.tensor([[-1.0], [1.0]]) / 2**0.5  # mean 0, deviation 1: as it is
            self.scales = (*_scale(own), *_scale(tones))
        assert self.scales is not None  # what is trained on is read first
        middle, spread, tone, tones_spread = self.scales
        return [
            replace(each, frames=(each.frames - middle) / spread, tones=(_there(each.tones) - tone) / tones_spread)
            for each in plain
        ]

    def loss(self, network: Any, some: Sequence[Lesson]) -> Tensor:
        device, config = self.device, self.family.acoustic.config
        ids, seen = _padded([each.ids for each in some], 0, device)
        tones, _ = _padded([_there(each.tones) for each in some], 0.0, device)
        voices = torch.tensor([[each.voice] for each in some], device=device)
        made = network(
            input_ids=ids,
            attention_mask=seen,
            spectrogram_labels=_padded([each.frames for each in some], IGNORED, device)[0],
            duration_labels=_padded([_there(each.durations) for each in some], 0, device)[0],
            pitch_labels=tones[..., :1],
            energy_labels=tones[..., 1:],
            speaker_ids=voices if (config.num_speakers or 1) > 1 else None,
            lang_ids=torch.zeros_like(voices) if (config.num_languages or 1) > 1 else None,
            return_dict=True,
        )
        return made.loss  # type: ignore[no-any-return]

    def held_out(self, some: Sequence[Lesson]) -> float:
        network: Any = self.network.eval()
        for each in (network, network.duration_predictor):  # alone: as told by these two, transformers computes a loss,
            each.training = True  # and durations as logarithms
        try:
            return float(self.loss(network, some))
        finally:
            network.eval()

    def _lesson(self, recording: Recording, samples: NDArray[np.float32], rows: list[Row]) -> Lesson:
        rate, name = self.family.sample_rate, printable(recording.name)
        start, units = self._units(rows)
        unknown = sorted({token for token, _ in units} - set(self.family.vocabulary))
        if unknown:
            raise DataError(f"{name}: the model's vocab.json lacks {', '.join(unknown)}", field="data")
        ends = np.array([round((end - start) * rate / self.hop) for _, end in units])
        if not ends[-1]:
            raise DataError(f"{name}: its alignment holds no whole frame of speech", field="data")
        sound = samples[round(start * rate) :][: ends[-1] * self.hop]
        sound = np.pad(sound, (0, max(0, ends[-1] * self.hop, 4 * self.hop) - len(sound)))
        frames = torch.from_numpy(self.spectrogram(sound)[: ends[-1]])
        return Lesson(
            torch.tensor([self.family.vocabulary[token] for token, _ in units]),
            frames,
            recording.text,
            self._voice(recording),
            torch.from_numpy(np.diff(ends, prepend=0)),
            self._tones(sound, ends),
        )

    def _units(self, rows: Sequence[Row]) -> tuple[float, list[tuple[str, float]]]:
        """Where speech begins, and every token of it with the second at which it ends; a mark has the pause after it."""
        settings, vocabulary = self.family.settings, self.family.vocabulary
        spaced = not settings.get("should_strip_spaces", False) and " " in vocabulary
        start, word = 0.0, ""
        units: list[tuple[str, float]] = []
        for row in rows:
            if row.phoneme != PAUSE:
                if spaced and units and row.mark != word:
                    units.append((" ", units[-1][1]))
                units.append((row.phoneme, row.end))
                word = row.mark
            elif not units:
                start = row.end
            elif row.mark in vocabulary:
                units.append((row.mark, row.end))
            else:
                units[-1] = (units[-1][0], row.end)
        return start, [*units, (settings.get("eos_token", "<sos/eos>"), units[-1][1])]

    def _tones(self, sound: NDArray[np.float32], ends: NDArray[np.int64]) -> Tensor:
        """Logarithm of the pitch and loudness, each the mean over a token, (p, 2)."""
        own = self.analysis
        count = len(sound) // own.hop
        pitches, _ = pitch(torch.from_numpy(sound[: count * own.hop].copy()), own)
        loudness = np.sqrt((sound[: count * own.hop].reshape(count, own.hop) ** 2).mean(1))
        values = np.stack([pitches.log().numpy(), loudness], axis=1)  # (count, 2)
        places = np.clip(np.round(np.concatenate([[0], ends]) * self.hop / own.hop), 0, count - 1)
        spans = [(int(a), max(int(a) + 1, int(b))) for a, b in pairwise(places)]
        return torch.from_numpy(np.stack([values[a:b].mean(0) for a, b in spans])).float()

    def _voice(self, recording: Recording) -> int:
        count = self.family.acoustic.config.num_speakers or 1
        try:
            return numbered("voice", recording.voice or None, count, self.family.name) or 0
        except OptionError as error:
            raise DataError(
                f"{printable(recording.name)} is of the voice {printable(recording.voice)!r}, the model has '0' to "
                f"'{count - 1}'",
                field="data",
            ) from error


def log_mel(samples: NDArray[np.float32], rate: int, hop: int, mels: int) -> NDArray[np.float32]:
    """The spectrogram of samples (time,) that both families' vocoders are given, (1 + time // hop, mels)."""
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    size = 4 * hop
    length = 1 << (size - 1).bit_length()
    bands = mel_filter_bank(length // 2 + 1, mels, LOWEST, min(HIGHEST, rate / 2), rate, "slaney", "slaney")
    made = spectrogram(
        samples, window_function(size), size, hop, length, mel_filters=bands, mel_floor=FLOOR, log_mel="log10"
    )
    return np.ascontiguousarray(made.T, np.float32)


def _analysis(rate: int) -> Analysis:
    """How the aligner and the pitch tracker look at sounds of this rate: as at 16,000 Hz, as nearly as can be."""
    hop = 2 * round(rate / 160)
    size = 1 << (4 * hop - 1).bit_length()
    highest = min(7900.0, rate / 2)
    return Analysis.parse("tts", {"sample_rate": rate, "hop": hop, "window": 4 * hop, "fft": size, "highest": highest})


def _padded(values: Sequence[Tensor], padding: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Values (t, ...) of several lengths side by side, (n, longest, ...), and 1 where they are: (n, longest)."""
    there = pad_sequence([torch.ones(len(each), dtype=torch.long) for each in values], batch_first=True)
    return pad_sequence(list(values), batch_first=True, padding_value=padding).to(device), there.to(device)


def _scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column of (n, d)."""
    return values.mean(0), values.std(0).clamp(min=1e-5)


def _there(values: Tensor | None) -> Tensor:
    assert values is not None  # FastSpeech2's lessons have them
    return values
