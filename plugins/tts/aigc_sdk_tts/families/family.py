"""What an adapter has to offer, and what several of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import nn

from aigc_sdk.errors import MismatchedFolder, OptionError, PromptError, printable, suggestion
from aigc_sdk.folder import Folder
from aigc_sdk.protocols import Options
from aigc_sdk.weights import fill, foreign_errors, load_transformers, on_meta, quiet, token_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Wording(Options):
    """How a text is spoken by a model of transformers; each says which of these it can do."""

    voice: str | None = Field(None, description="a speaker's name or number; none: the first")
    language: str | None = Field(
        None,
        description="of models that have several, the number of one; of a VITS that reads phonemes, eSpeak NG's name, as de",
    )
    speed: float = Field(1.0, ge=0.25, le=4.0, description="2 speaks twice as fast")
    temperature: float | None = Field(
        None,
        ge=0.0,
        le=2.0,
        description="how freely a model draws; 0: the likeliest always; none: as its makers set it",
    )
    guidance: float | None = Field(
        None, ge=1.0, le=20.0, description="how closely the text is kept to, by classifier-free guidance; 1: none of it"
    )
    max_seconds: float = Field(30.0, gt=0.0, le=600.0, description="seconds after which a model is stopped")
    pause: float = Field(0.2, ge=0.0, le=10.0, description="seconds of silence between sentences")
    normalize: bool = Field(False, description="say numbers, dates and the like in English words first")
    sample_rate: int | None = Field(None, ge=8000, le=48000, description="samples per second; none: the model's own")
    reference: str | None = Field(None, description="a sound file with the voice to speak with")
    reference_text: str | None = Field(None, description="what is said in the reference")
    consent: str | None = Field(
        None,
        description="who agreed, and how, that this voice is used; needed with a reference, and kept in the origin",
    )


COMMON = frozenset({"normalize", "sample_rate"})
"""The options that `hub_models` does itself, for every family."""
ABILITIES: Mapping[str, str] = {
    "voice": "has one voice",
    "language": "has one language",
    "speed": "has no control of its speed",
    "temperature": "draws nothing, or not in a way that can be set",
    "guidance": "knows no guidance",
    "max_seconds": "ends by itself",
    "pause": "reads its text in one piece",
    "reference": "cannot speak with the voice of a recording",
    "reference_text": "cannot speak with the voice of a recording",
    "consent": "cannot speak with the voice of a recording",
}
"""What is said of a model that does not take an option."""


@dataclass(frozen=True)
class Piece:
    """Some of a text's samples, as they are made."""

    samples: NDArray[np.float32]
    """(time,)"""
    words: Sequence[tuple[str, float, float]] = ()
    """Words that begin in what is made of this sentence, with begin and end in its seconds; on its first piece."""
    cut: bool = False
    """Whether the model was stopped by `max_seconds`."""


class Family(ABC):
    """One model, open. Everything that it draws is from torch's global random state, which the caller has seeded."""

    name: ClassVar[str]
    takes: ClassVar[frozenset[str]]
    """The options that it can do, beside COMMON."""
    splits: ClassVar[bool] = False
    """Whether a text is given to it sentence by sentence. A model that draws its voice anew each time is not."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    network: Any
    """A transformers model."""
    sample_rate: int

    @classmethod
    @abstractmethod
    def open(cls, opened: Folder, device: str, dtype: torch.dtype) -> Self:
        """Load it from a checked folder."""

    @abstractmethod
    def speak(self, text: str, options: Wording) -> Iterator[Piece]:
        """Speak a text, piece by piece."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write everything that `open` reads."""

    @abstractmethod
    def check(self, text: str, options: Wording) -> None:
        """Refuse what this model cannot say or do; options that it does not take are refused already."""

    def modules(self) -> dict[str, nn.Module]:
        """The networks that make up the model."""
        return {"network": self.network}

    def to(self, device: str) -> None:
        """Move the model."""
        for each in self.modules().values():
            each.to(device)


def refuse_untaken(family: Family, options: Wording) -> None:
    """Refuse every option that was set and that this family does not take, by name."""
    for name, field in Wording.model_fields.items():
        value = getattr(options, name)
        if name in family.takes | COMMON or value == field.default:
            continue
        taken = ", ".join(sorted(family.takes | COMMON))
        raise OptionError(
            f"tts option {name}={value!r}: a {family.name} model {ABILITIES[name]}; leave it out. It takes {taken}.",
            field=name,
        )


def numbered(kind: Literal["voice", "language"], wanted: str | None, count: int, family: str) -> int | None:
    """The number of a voice or a language, which are "0" to `count - 1`; None where there is but one.

    Raises OptionError.
    """
    if count <= 1:
        if wanted not in (None, "0"):
            raise OptionError(f"tts option {kind}={wanted!r}: this {family} model has one {kind}", field=kind)
        return None
    if wanted is None:
        return 0
    if not (wanted.isascii() and wanted.isdigit() and int(wanted) < count):
        raise OptionError(f"tts option {kind}={wanted!r}: this {family} model has '0' to '{count - 1}'", field=kind)
    return int(wanted)


def named(wanted: str | None, names: Sequence[str], family: str) -> str:
    """The voice that is wanted, or the first. Raises OptionError."""
    if wanted is None:
        return names[0]
    if wanted not in names:
        raise OptionError(
            f"tts option voice={wanted!r}: this {family} model has no such voice.{suggestion(wanted, names)} "
            f"Voices: {', '.join(names[:20])}.",
            field="voice",
        )
    return wanted


def vocoder_from(folder: Path, model_class: Any) -> nn.Module:
    """A HiFi-GAN of transformers from a folder with config.json and model.safetensors."""
    opened = Folder(folder, str(folder), None)
    with foreign_errors(folder, "config.json describes no vocoder"), quiet(), on_meta():
        made = model_class(model_class.config_class(**opened.config()))
    fill(made, folder, "cpu", torch.float32)
    return made.eval()  # type: ignore[no-any-return]


def inner_model(opened: Folder, name: str, class_name: str) -> Any:
    """A model of transformers in a folder inside a model's folder. Raises MismatchedFolder where it is missing."""
    from transformers import AutoModel

    place = opened.path / name
    if not place.is_dir():
        raise MismatchedFolder(
            f"{printable(str(opened.path))} has no folder {name!r}; put its {class_name} there with save_pretrained"
        )
    return load_transformers(Folder(place, str(place), None), AutoModel)


def generation_settings(network: Any, opened: Folder, family: str) -> None:
    """Give a network the settings in generation_config.json, where there is one."""
    from transformers import GenerationConfig

    if opened.has("generation_config.json"):
        with foreign_errors(opened.path, f"generation_config.json is none of {family}'s"):
            network.generation_config = GenerationConfig.from_dict(opened.config("generation_config.json"))


def plain_ids(tokenizer: Any, text: str, field: str) -> list[int]:
    """The tokens of a text that may hold none of the tokenizer's marks. Raises PromptError."""
    marks = [each for each in tokenizer.get_added_vocab() if each in text]
    if marks:
        raise PromptError(f"{field} holds {marks[0]!r}, which is a mark of the model's own; leave it out", field=field)
    return token_ids(tokenizer, [text])[0]
