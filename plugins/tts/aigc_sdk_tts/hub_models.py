"""Any speech model of transformers behind the contract: the adapter is found by the folder's model type."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import torch

from aigc_sdk import folder, runtime
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import InputError, NotAModel, PromptError
from aigc_sdk.protocols import Device, DType, Generator, Job, OptionsClass, Source, Step

from .families import FAMILIES
from .families.family import Family, Piece, Wording, refuse_untaken
from .families.reference import check_consent
from .resample import Resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 300  # characters of a sentence; longer ones are divided at a comma, or else at a space
_SENTENCE = re.compile(
    r"[^\n]+?(?:[.!?\u2026]+[\"')\]]*(?=\s|$)|[\u3002\uff01\uff1f]+|(?=\n)|$)"
)  # CJK marks need no space


def open_family(opened: folder.Folder, *, device: Device = "auto", dtype: DType = "float32") -> SpeechModel:
    """The model in a checked folder. Raises FolderError, DeviceError, OptionError or MissingDependency."""
    kind = opened.config().get("model_type")
    if kind not in FAMILIES:
        raise NotAModel(f"{opened.path} is a {kind!r} model; speech models here are {', '.join(sorted(FAMILIES))}")
    module, _, name = FAMILIES[kind].partition(":")
    family: type[Family] = getattr(import_module(f".families.{module}", __package__), name)
    place, number = runtime.device(device), runtime.dtype(dtype, family.dtypes)
    with runtime.memory_errors(f"the model {opened.source}", "use a smaller model or dtype='bfloat16'"):
        made = family.open(opened, place, number)
    return SpeechModel(made, device=place, dtype=dtype, source=opened.source)


class SpeechModel(Generator[Audio]):
    """Speech from a model of transformers.

        model = aigc_sdk.load("tts", "facebook/mms-tts-eng")
        [speech] = model.generate("Hello world.", seed=1, speed=1.1)

    `info["sentences"]` has what was said when, `info["words"]` the words where the model has their times, and
    `info["finish_reason"]` is "length" where `max_seconds` stopped it. Options that a model cannot do are refused.
    """

    Options: ClassVar[OptionsClass] = Wording
    prompt_types = (str,)
    backend = "tts"

    def __init__(self, family: Family, *, device: str = "cpu", dtype: DType = "float32", source: str = "") -> None:
        self.family = family
        self.device = device
        self.dtype = dtype
        self.source = source
        self._modules = torch.nn.ModuleDict(family.modules())

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model from a folder or a hub id."""
        if source is None:
            raise NotAModel("a speech model of transformers is a folder or a hub id; give one")
        return cast(
            Self, open_family(folder.read(source, backend="tts", revision=revision), device=device, dtype=dtype)
        )

    def check(self, job: Job) -> None:
        """Refuse what the model cannot do or say, and a cloned voice without consent."""
        options: Wording = job.options
        refuse_untaken(self.family, options)
        check_consent(options)
        for prompt in job.prompts:
            for sentence in self._sentences(prompt, options):
                self.family.check(sentence, options)

    def fingerprint(self) -> str:
        """A digest of the weights as they are now."""
        return runtime.fingerprint(self._modules)

    def identity(self, job: Job) -> dict[str, Any]:
        """What the model is; with a reference, the sum of its bytes."""
        reference = job.options.reference
        cloned = {} if reference is None else {"reference": hashlib.sha256(Path(reference).read_bytes()).hexdigest()}
        return {**super().identity(job), **cloned}

    def run(self, job: Job) -> Iterator[Audio]:
        """Speak each item, from a seed of its own, sentence by sentence."""
        texts = [list(self._sentences(prompt, job.options)) for prompt in job.prompts]
        done, total = 0, job.n * sum(map(len, texts))
        for index, seed in enumerate(job.seeds):
            runtime.set_global_seed(seed, self.device)  # of the state that is lent to this call
            sentences = texts[index // job.n]
            telling = _Telling(self.family.sample_rate, job.options)
            for number, sentence in enumerate(sentences):
                last = number + 1 == len(sentences)
                yield from telling.told(self.family.speak(sentence, job.options), sentence, index, last)
                done += 1
                job.on_step(Step(done, total))

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, which plain transformers opens too."""
        with folder.writing(folder_, backend="tts", role="generator", fingerprint=self.fingerprint()) as path:
            self.family.save(path)

    def to(self, device: Device) -> Self:
        """Move the model to `device`."""
        self.device = runtime.device(device)
        self.family.to(self.device)
        return self

    def _sentences(self, prompt: str, options: Wording) -> list[str]:
        text = _in_words(prompt) if options.normalize else prompt
        found = sentences(text) if self.family.splits else [text.strip()]
        if not any(each.isalnum() for each in text):
            raise PromptError("the prompt holds nothing that can be spoken; give words", field="prompt")
        return found


@dataclass
class _Telling:
    """One item's chunks: silence between sentences, another sample rate, and what was said when."""

    own: int
    options: Wording
    made: int = 0
    sentences: list[dict[str, Any]] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    cut: bool = False

    def __post_init__(self) -> None:
        self.rate = self.options.sample_rate or self.own
        self.resampler = Resampler(self.own, self.rate)

    def told(self, pieces: Iterator[Piece], sentence: str, sample: int, last: bool) -> Iterator[Audio]:
        """The chunks of one sentence; the last chunk's info is about the whole."""
        start = self.made
        held: Piece | None = None
        for piece in pieces:
            if held is not None:
                yield self._chunk(held.samples, sample, {})
            at = start / self.own
            self.words += [{"text": word, "start": at + begin, "end": at + end} for word, begin, end in piece.words]
            self.cut |= piece.cut
            self.made += len(piece.samples)
            held = piece
        samples = np.zeros(0, np.float32) if held is None else held.samples
        self.sentences.append({"text": sentence, "start": start / self.own, "end": self.made / self.own})
        if last:
            yield self._chunk(samples, sample, self._info(), last=True)
            return
        silence = np.zeros(round(self.options.pause * self.own), np.float32)
        self.made += len(silence)
        yield self._chunk(np.concatenate([samples, silence]), sample, {})

    def _info(self) -> dict[str, Any]:
        words = {"words": self.words} if self.words else {}
        return {"sentences": self.sentences, **words, "finish_reason": "length" if self.cut else "end"}

    def _chunk(self, samples: NDArray[np.float32], sample: int, info: dict[str, Any], last: bool = False) -> Audio:
        if not np.isfinite(samples).all():
            raise InputError("the model's samples are not finite; its weights do not suit this dtype or are broken")
        samples = self.resampler.push(np.clip(samples, -1, 1), last=last)
        return Audio(np.clip(samples, -1, 1)[None], sample_rate=self.rate, sample=sample, info=info)


def sentences(text: str) -> list[str]:
    """A text in sentences of LONGEST characters at most, with nothing lost."""
    found = []
    for each in _SENTENCE.findall(text):
        rest = each.strip()
        while len(rest) > LONGEST:
            place = max(rest.rfind(mark, 0, LONGEST) for mark in ",;:\uff0c\u3001")
            place = place if place > LONGEST // 4 else rest.rfind(" ", 0, LONGEST)
            place = place + 1 if place > 0 else LONGEST
            found.append(rest[:place].strip())
            rest = rest[place:].strip()
        found.append(rest)
    return [each for each in found if any(char.isalnum() for char in each)]


def _in_words(text: str) -> str:
    """An English text with its numbers, dates and the like in words."""
    from .front import analyse

    clauses = [clause for clause in analyse(text) if clause.words]
    return " ".join(" ".join(word.spoken for word in clause.words) + clause.ending for clause in clauses)
