"""Listeners: recognisers that write down what a sound says, and encoders that tell voices apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk import folder, runtime
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import DataError, OptionError

from .opening import open_transformers
from .speech_batch import SILENCE, wave

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000  # Hz, of all listeners here
SPHINX = "pocketsphinx"


class PocketSphinx:
    """English speech to text by PocketSphinx with the model that its package brings: offline, small, and hard of hearing."""

    def __init__(self) -> None:
        sphinx = runtime.require("pocketsphinx", '"aigc-sdk-metrics[pocketsphinx]"', "this recogniser")
        from importlib.metadata import version

        self._decoder = sphinx.Decoder(samprate=RATE, cmn="batch", loglevel="FATAL")
        self.described = f"pocketsphinx {version('pocketsphinx')}, its own model of US English, {RATE:,} Hz"

    def __call__(self, sound: Audio) -> str:
        """What is said."""
        heard = _at_rate(sound, SPHINX)
        if np.abs(heard).max() < SILENCE:
            return ""  # in digital silence it hears dogs
        levels = np.clip(np.rint(heard * 32767), -32768, 32767).astype("<i2").tobytes()
        self._decoder.reinit_feat()  # or else its idea of the noise stays from sound to sound, and changes the words
        self._decoder.start_utt()
        self._decoder.process_raw(levels, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


class Whisper:
    """Speech to text by a Whisper (Radford et al. 2022) from a folder of transformers; greedy, up to 30 seconds of sound.

    language: such as "en", for models of many languages; None lets the model guess.
    """

    def __init__(self, network: Any, tokenizer: Any, *, language: str | None = None, source: str = "") -> None:
        from transformers import WhisperFeatureExtractor

        self.network, self.tokenizer, self.language = network.eval(), tokenizer, language
        self.longest = 2 * network.config.max_source_positions // 100  # seconds; 10 ms a frame, two to a position
        self._features = WhisperFeatureExtractor(  # type: ignore[no-untyped-call]
            feature_size=network.config.num_mel_bins, sampling_rate=RATE, chunk_length=self.longest
        )
        known = [each.strip("<|>") for each in getattr(network.generation_config, "lang_to_id", None) or ()]
        if language is not None and language not in known:
            message = f"language={language!r}: this Whisper can be told {', '.join(known) or 'none; leave it out'}"
            raise OptionError(message, field="language")
        spoken = f"language {language}" if language else "language not given"
        name = Path(source.split("@")[0]).name or "Whisper"
        self.described = f"{name} ({runtime.fingerprint(network)[:12]}), greedy, {spoken}, {RATE:,} Hz"

    @classmethod
    def open(cls, source: str | Path, *, device: str = "auto", language: str | None = None) -> Self:
        """The Whisper in a folder, or on the hub, such as openai/whisper-tiny.en. Raises FolderError."""
        opened, network = _opened(source, device, "AutoModelForSpeechSeq2Seq", "whisper")
        from aigc_sdk.weights import load_tokenizer

        if opened.has("generation_config.json"):
            from transformers import GenerationConfig

            network.generation_config = GenerationConfig.from_dict(opened.config("generation_config.json"))
        return cls(network, load_tokenizer(opened), language=language, source=opened.source)

    def __call__(self, sound: Audio) -> str:
        """What is said."""
        import torch

        from aigc_sdk.weights import quiet

        heard = _at_rate(sound, "Whisper")
        if sound.duration > self.longest:
            message = (
                f"a sound lasts {sound.duration:.1f} s, and Whisper hears {self.longest} s; cut it into utterances"
            )
            raise DataError(message, field="samples")
        features = self._features(heard, sampling_rate=RATE, return_tensors="pt").input_features  # (1, bins, frames)
        weight = next(self.network.parameters())
        wanted = {"language": self.language, "task": "transcribe"} if self.language else {}
        with torch.no_grad(), quiet():
            tokens = self.network.generate(features.to(weight), do_sample=False, num_beams=1, **wanted)
        return str(self.tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()


class XVectors:
    """Voices as vectors (Snyder et al. 2018), by a WavLM, wav2vec 2.0 or the like with an x-vector head from a folder."""

    def __init__(self, network: Any, *, normalised: bool = True, source: str = "") -> None:
        self.network, self.normalised = network.eval(), normalised
        self.shortest = _shortest(network.config)
        self.name = Path(source.split("@")[0]).name or type(network).__name__
        scaled = "scaled to variance 1" if normalised else "not scaled"
        self.described = f"{self.name} ({runtime.fingerprint(network)[:12]}), x-vectors, sound {scaled}, {RATE:,} Hz"

    @classmethod
    def open(cls, source: str | Path, *, device: str = "auto") -> Self:
        """The encoder in a folder, or on the hub, such as microsoft/wavlm-base-plus-sv. Raises FolderError."""
        opened, network = _opened(source, device, "AutoModelForAudioXVector", None)
        told = opened.config("preprocessor_config.json") if opened.has("preprocessor_config.json") else {}
        return cls(network, normalised=bool(told.get("do_normalize", True)), source=opened.source)

    def __call__(self, sound: Audio) -> NDArray[np.float64]:
        """The vector of a voice, (d,)."""
        import torch

        heard = _at_rate(sound, self.name)
        if len(heard) < self.shortest:
            message = f"a sound lasts {sound.duration:.3f} s, and {self.name} needs {self.shortest / RATE:.3f} s; leave it out"
            raise DataError(message, field="samples")
        if self.normalised:
            heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)  # as the feature extractor of wav2vec 2.0
        with torch.no_grad():
            values = torch.from_numpy(heard)[None].to(next(self.network.parameters()))  # (1, time)
            return np.asarray(self.network(values).embeddings[0].double().cpu().numpy())


def _shortest(config: Any) -> int:
    """How many samples give the two frames of which an x-vector network takes the deviation."""
    frames = 2 + sum(
        dilation * (kernel - 1) for kernel, dilation in zip(config.tdnn_kernel, config.tdnn_dilation, strict=True)
    )
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        frames = (frames - 1) * stride + kernel
    return int(frames)


def _at_rate(sound: Audio, who: str) -> NDArray[np.float64]:
    if sound.sample_rate != RATE:
        message = f"{who} hears {RATE:,} Hz, and a sound has {sound.sample_rate:,} Hz; pass sample_rate={RATE}, or resample it"
        raise DataError(message, field="samples")
    return wave(sound)


def _opened(source: str | Path, device: str, class_name: str, kind: str | None) -> tuple[folder.Folder, Any]:
    who = "speech models need"
    return open_transformers(source, device, class_name, backend="speech-metrics", who=who, kind=kind)
