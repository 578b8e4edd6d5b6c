"""The generator: text to speech."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field

from aigc_sdk import folder, runtime
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import OptionError, PromptError, suggestion
from aigc_sdk.protocols import Device, DType, Generator, Job, Options, OptionsClass, Source, Step

from . import network
from .front import Clause, analyse
from .phoneme_text import parse_phonemes
from .resample import Resampler
from .speech import pieces, timed
from .tokens import LEAD, TRAIL, tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT = Path(__file__).parent / "default"
PAUSES = {"": 0.15, ",": 0.22, ";": 0.35, ":": 0.35, ".": 0.5, "?": 0.5, "!": 0.5}  # seconds after a clause
PARAGRAPH = 0.9  # seconds
SPEEDS = (0.25, 4.0)
UNHEARD = "Blorpty."  # a word that is in no lexicon


class Speaking(Options):
    """How a text is spoken."""

    voice: str | None = Field(None, description="one of the model's voices; none: its first")
    speed: float = Field(1.0, ge=SPEEDS[0], le=SPEEDS[1], description="2 speaks twice as fast")
    pitch: float = Field(1.0, ge=0.5, le=2.0, description="factor of the pitch; 2 is an octave higher")
    energy: float = Field(1.0, ge=0.0, le=4.0, description="factor of the loudness; what would be too loud is cut")
    pauses: float = Field(1.0, ge=0.0, le=10.0, description="factor of the pauses between clauses")
    sample_rate: int | None = Field(None, ge=8000, le=48000, description="samples per second; none: the model's own")
    markup: Literal["plain", "ssml", "phonemes"] = Field(
        "plain", description="what the prompt is: text with [pause 0.5] marks, SSML, or phonemes as 'HH AH0 | L OW1 .'"
    )
    normalize: bool = Field(True, description="say numbers, dates, abbreviations and the like in words")


class TTS(Generator[Audio]):
    """Speech from text.

        model = aigc_sdk.load("tts")               # the voice that this package brings
        model = aigc_sdk.load("tts", "runs/mine")  # a folder
        [speech] = model.generate("Hello world.", speed=1.1)

    An Audio's `info` has the text in words (`normalized`), and `words` and `phonemes` with the seconds at which they begin
    and end. Of a stream, each chunk's is about its own clause, and the last chunk's about the whole.
    """

    Options: ClassVar[OptionsClass] = Speaking
    prompt_types = (str,)
    owns_randomness = True
    backend = "tts"

    def __init__(self, networks: network.Networks, *, device: str = "cpu", source: str = "") -> None:
        self.networks = networks
        self.acoustic, self.vocoder = networks.acoustic.eval(), networks.vocoder.eval()
        self.voices, self.analysis = networks.voices, networks.analysis
        self._both = torch.nn.ModuleDict({"acoustic": self.acoustic, "vocoder": self.vocoder})
        self.device = device
        self.dtype = "float32"
        self.source = source

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
    ) -> Self:
        """Load a voice: None or "default" for the one in this package, a folder, or a hub id.

        A folder of a speech model of transformers opens as an `aigc_sdk_tts.hub_models.SpeechModel`.
        Raises FolderError, DeviceError or OptionError.
        """
        place = runtime.device(device)
        default = source is None or source == "default"
        opened = folder.read(DEFAULT if default or source is None else source, backend="tts", revision=revision)
        if opened.config().get("model_type") != network.MODEL_TYPE:
            from .hub_models import open_family  # it imports transformers

            return cast(Self, open_family(opened, device=device, dtype=dtype))
        runtime.dtype(dtype, ("float32",))
        list(analyse(UNHEARD))  # the lexicon and the letter-to-sound model are read now rather than at the first call
        return cls(network.read(opened, place), device=place, source="" if default else opened.source)

    def check(self, job: Job) -> None:
        """Refuse a voice that the model does not have, and prompts in which there is nothing to say."""
        self.voice_index(job.options.voice)
        for index, prompt in enumerate(job.prompts):
            where = "prompt" if len(job.prompts) == 1 else f"prompt {index}"
            if not any(clause.words for clause in self.clauses(prompt, job.options)):
                raise PromptError(f"{where} holds nothing that can be spoken; give words", field="prompt")

    def fingerprint(self) -> str:
        """A digest of the weights as they are now."""
        return runtime.fingerprint(self._both)

    def run(self, job: Job) -> Iterator[Audio]:
        """Speak each item clause by clause, with noise from its own stream."""
        total, done = sum(len(each) for each in job.items), 0
        for index, (prompt, seed) in enumerate(zip(job.items, job.seeds, strict=True)):
            for chunk, place in self._spoken(prompt, seed, job.options):
                if place is not None:
                    job.on_step(Step(done + place, total))
                yield replace(chunk, sample=index)
            done += len(prompt)

    def clauses(self, prompt: str, options: Speaking) -> Iterator[Clause]:
        """What a prompt is read as. Raises PromptError where it cannot be read."""
        if options.markup == "phonemes":
            return parse_phonemes(prompt)
        return analyse(prompt, markup=options.markup, normalize=options.normalize)

    def voice_index(self, voice: str | None) -> int:
        """The number of a voice; the first for None. Raises OptionError."""
        if voice is None:
            return 0
        if voice not in self.voices:
            raise OptionError(
                f"tts option voice={voice!r}: the model has no such voice.{suggestion(voice, self.voices)} "
                f"Voices: {', '.join(self.voices[:20])}.",
                field="voice",
            )
        return self.voices.index(voice)

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, the vocoder included."""
        with folder.writing(folder_, backend="tts", role="generator", fingerprint=self.fingerprint()) as path:
            network.write(self.networks, path)

    def to(self, device: Device) -> Self:
        """Move the model to `device`."""
        self.device = runtime.device(device)
        self._both.to(self.device)
        return self

    def _spoken(self, prompt: str, seed: int, options: Speaking) -> Iterator[tuple[Audio, int | None]]:
        """One item's chunks; with a clause's last one, the character up to which the prompt is spoken."""
        rng, voice = runtime.rng(seed), self.voice_index(options.voice)
        own = self.analysis.sample_rate
        rate = options.sample_rate or own
        resampler, said, made, silence = Resampler(own, rate), Transcript(), 0, 0
        for clause, last in _with_last(self.clauses(prompt, options)):
            if not clause.words:
                silence += round((clause.pause or 0.0) * own)
                if last:
                    rest = resampler.push(np.zeros(silence, np.float32), last=True)
                    yield _chunk(rest, rate, said.whole()), len(prompt)
                continue
            spoken = timed(
                self.acoustic,
                tokens([word.phonemes for word in clause.words], clause.ending, voice),
                float(np.clip(options.speed * clause.rate, *SPEEDS)),
                self.device,
            )
            info = said.add(clause, (made + silence) / own, spoken.durations.cpu().numpy() * self.analysis.hop / own)
            loudness = options.energy * clause.volume
            for piece, ends in pieces(self.acoustic, self.vocoder, spoken, rng, pitch=options.pitch * clause.pitch):
                samples = piece.cpu().numpy() * np.float32(loudness)
                samples = np.concatenate([np.zeros(silence, np.float32), samples])
                made, silence = made + len(samples), 0
                if ends:
                    silence = self._pause(clause, options, last)
                finished = ends and last
                if finished:
                    samples = np.concatenate([samples, np.zeros(silence, np.float32)])
                yield (
                    _chunk(resampler.push(samples, last=finished), rate, said.whole() if finished else info),
                    (len(prompt) if last else clause.words[-1].end) if ends else None,
                )
                info = {}

    def _pause(self, clause: Clause, options: Speaking, last: bool) -> int:
        """Samples of silence after a clause, beside those that clauses begin and end with."""
        if clause.pause is None:
            usual = PARAGRAPH if clause.paragraph else PAUSES[clause.ending]
            seconds = 0.0 if last else usual * options.pauses / options.speed
        else:
            seconds = clause.pause
        inside = 0 if last else (LEAD + TRAIL) * self.analysis.hop
        return max(0, round(seconds * self.analysis.sample_rate) - inside)


@dataclass
class Transcript:
    """What was said when."""

    normalized: list[str] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    phonemes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, clause: Clause, start: float, durations: NDArray[np.float64]) -> dict[str, Any]:
        """Note a clause that starts at a second, with its phonemes' durations; returns what is to be told of it."""
        ends = start + durations.cumsum()  # of the pause before, each phoneme, the pause after
        words, phonemes, place = [], [], 0
        for word in clause.words:
            size = len(word.phonemes)
            times = [round(float(each), 4) for each in ends[place : place + size + 1]]
            words.append(
                {"text": word.text, "spoken": word.spoken, "from": word.start, "to": word.end}
                | {"start": times[0], "end": times[-1]}
            )
            phonemes += [
                {"phoneme": phoneme, "start": times[index], "end": times[index + 1]}
                for index, phoneme in enumerate(word.phonemes)
            ]
            place += size
        normalized = " ".join(word.spoken for word in clause.words) + clause.ending
        self.normalized.append(normalized)
        self.words += words
        self.phonemes += phonemes
        return {"normalized": normalized, "words": words, "phonemes": phonemes}

    def whole(self) -> dict[str, Any]:
        """What is to be told of all clauses."""
        return {"normalized": " ".join(self.normalized), "words": self.words, "phonemes": self.phonemes}


def _with_last(clauses: Iterator[Clause]) -> Iterator[tuple[Clause, bool]]:
    """Each clause, and whether it is the last."""
    held: Clause | None = None
    for each in clauses:
        if held is not None:
            yield held, False
        held = each
    if held is not None:
        yield held, True


def _chunk(samples: NDArray[np.float32], rate: int, info: dict[str, Any]) -> Audio:
    return Audio(samples.clip(-1, 1)[None], sample_rate=rate, info=info)
