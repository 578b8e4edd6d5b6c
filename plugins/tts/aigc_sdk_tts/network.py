"""What a voice is made of, and the folder that it lies in.

my-voice/   config.json        analysis and sizes of the acoustic model, and the names of its voices
            model.safetensors  the acoustic model
            vocoder/           config.json and model.safetensors of the vocoder, which has an analysis of its own
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aigc_sdk import folder
from aigc_sdk.errors import CorruptFolder, MismatchedFolder, OptionError
from aigc_sdk.protocols import OptionsClass
from aigc_sdk.weights import fill, on_meta, write_module

from .acoustic import Acoustic, AcousticSizes
from .features import Analysis
from .phonemes import SYMBOLS
from .tokens import ENDINGS
from .vocoder import Vocoder, VocoderSizes

MODEL_TYPE = "aigc_tts"
VOCODER = "vocoder"


@dataclass(frozen=True)
class Networks:
    """A voice's two networks and what they were made by."""

    acoustic: Acoustic
    vocoder: Vocoder
    analysis: Analysis
    acoustic_sizes: AcousticSizes
    vocoder_sizes: VocoderSizes
    voices: tuple[str, ...]


def new_acoustic(sizes: AcousticSizes, analysis: Analysis, voices: int) -> Acoustic:
    """An acoustic model with first weights from torch's global random state."""
    return Acoustic(sizes, analysis, symbols=1 + len(SYMBOLS), endings=len(ENDINGS), voices=voices)


def read(opened: folder.Folder, device: str) -> Networks:
    """The networks in a folder, in float32. Raises MismatchedFolder where the two do not work together."""
    config = opened.config()
    vocoder_config = opened.config(f"{VOCODER}/config.json")
    analysis = _parsed(opened, Analysis, config.get("analysis"))
    own = _parsed(opened, Analysis, vocoder_config.get("analysis"))
    check_match(analysis, own, str(opened.path))
    sizes = _parsed(opened, AcousticSizes, config.get("acoustic"))
    vocoder_sizes = _parsed(opened, VocoderSizes, vocoder_config.get("vocoder"))
    voices = config.get("voices")
    if not isinstance(voices, list) or not voices or not all(isinstance(each, str) for each in voices):
        raise CorruptFolder(f"{opened.path}: config.json has no list of voices")
    if config.get("symbols") != list(SYMBOLS):
        raise MismatchedFolder(f"{opened.path}: config.json has other phonemes than this version's {len(SYMBOLS)}")
    with on_meta():
        acoustic, vocoder = new_acoustic(sizes, analysis, len(voices)), Vocoder(vocoder_sizes, analysis)
    fill(acoustic, opened.path, device, torch.float32)
    fill(vocoder, opened.path / VOCODER, device, torch.float32)
    return Networks(acoustic, vocoder, analysis, sizes, vocoder_sizes, tuple(voices))


def write(networks: Networks, path: Path) -> None:
    """Write the networks' files into a folder, in float16 where the weights are."""
    _write_config(
        path,
        model_type=MODEL_TYPE,
        analysis=networks.analysis.model_dump(),
        acoustic=networks.acoustic_sizes.model_dump(include=set(AcousticSizes.model_fields)),
        voices=list(networks.voices),
        symbols=list(SYMBOLS),
    )
    write_module(networks.acoustic, path)
    inner = path / VOCODER
    inner.mkdir(exist_ok=True)
    _write_config(inner, analysis=networks.vocoder.analysis.model_dump(), vocoder=networks.vocoder_sizes.model_dump())
    write_module(networks.vocoder, inner)


def check_match(acoustic: Analysis, vocoder: Analysis, where: str) -> None:
    """Refuse an acoustic model and a vocoder that do not mean the same by a frame."""
    for name in Analysis.model_fields:
        first, second = getattr(acoustic, name), getattr(vocoder, name)
        if first != second:
            raise MismatchedFolder(
                f"{where}: the acoustic model has {name}={first}, the vocoder {name}={second}; "
                "take a vocoder that was trained with the acoustic model's analysis"
            )


def _parsed(opened: folder.Folder, kind: OptionsClass, values: Any) -> Any:
    if not isinstance(values, dict):
        raise CorruptFolder(f"{opened.path}: config.json has no {kind.__name__}")
    try:
        return kind.parse("tts", values)
    except OptionError as error:
        raise CorruptFolder(f"{opened.path}: config.json describes no voice: {error}") from error


def _write_config(path: Path, **values: Any) -> None:
    (path / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
