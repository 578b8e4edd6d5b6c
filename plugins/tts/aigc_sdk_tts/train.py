"""Training: a voice from recordings, and its vocoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
from pydantic import Field
from torch import Tensor

from aigc_sdk import runtime
from aigc_sdk.artifacts import Artifact
from aigc_sdk.protocols import Device, DType, Fit, Options, OptionsClass, Source, Step
from aigc_sdk.training import Loop, Precision, TorchTrainer, schedule
from aigc_sdk.training.read_once import ReadOnce
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from .acoustic import AcousticSizes
from .discriminators import Critics, critics_loss, deceiving_loss, likeness_loss
from .features import Analysis
from .model import TTS
from .network import Networks, new_acoustic
from .objective import acoustic_losses, clauses, counts, crops, spectral_loss, weighted
from .prepare import Corrupt, read_clips
from .recordings import Clip
from .vocoder import Vocoder, VocoderSizes

Decay = Annotated[float, Field(ge=0, lt=1)]
REMEDY = "choose a smaller batch_size"
PREVIEW = "This is how the voice sounds now."
EDGE = 2  # frames at either end of a crop that nothing is learnt from: their windows reach beyond it


class NewVoice(AcousticSizes):
    """What a new voice is made by; its analysis is the default voice's."""

    voices: tuple[str, ...] = Field(("voice",), strict=False, min_length=1, description="the names of its speakers")
    vocoder: Literal["default", "new"] = Field("default", description="the one in this package, or one to be trained")
    vocoder_width: int = Field(192, ge=8, le=1024, description="of a new vocoder: numbers per frame")
    vocoder_layers: int = Field(4, ge=1, le=24, description="of a new vocoder: blocks over the frames")
    critic_width: int = Field(
        8, ge=1, le=256, description="channels of the critics that a vocoder can be trained against"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights")


class TrainingOptions(Options):
    """How one run trains."""

    part: Literal["acoustic", "vocoder"] = Field("acoustic", description="which of the two networks is trained")
    batch_size: int = Field(8, ge=1, le=4096, description="clauses per update, over all processes")
    corrupt: Corrupt = Field("refuse", description="what to do with recordings that cannot be used")
    crop: float = Field(0.8, ge=0.2, le=10, description="seconds of each clause that the vocoder is trained on")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="highest rate of AdamW")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), strict=False, description="decay of Adam's two averages")
    weight_decay: float = Field(0.01, ge=0, le=10, description="of AdamW")
    warmup_steps: int = Field(50, ge=0, le=10**6, description="updates in which the rate rises")
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="how the rates fall")
    final_rate: float = Field(0.02, ge=0, le=1, description="the last rate, as part of the highest")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of the weights' running average; None: none")
    adversarial: float = Field(0.0, ge=0, le=1e3, description="weight of deceiving the critics; 0 trains without them")
    likeness: float = Field(2.0, ge=0, le=1e3, description="weight of features that critics see, with adversarial")
    critic_learning_rate: float = Field(5e-4, gt=0, le=10, description="highest rate of the critics' AdamW")
    precision: Precision = Field("float32", description="of the arithmetic; weights stay float32")


class TTSTrainer(TorchTrainer[TTS]):
    """Trains a voice on recordings and their transcripts.

        trainer = aigc_sdk.trainer("tts", voices=("ann",))   # a new acoustic model, with the default vocoder
        trainer = aigc_sdk.trainer("tts", "default")         # go on from the default voice
        trainer.fit("recordings", max_steps=1000, save_to="runs/ann")

    `data` is a folder in the layout of LJSpeech, see `aigc_sdk_tts.recordings`. Where it has no alignments, they are found
    out first. `part="vocoder"` trains the vocoder; with `adversarial` above 0 against critics as well.
    """

    Options: ClassVar[OptionsClass] = TrainingOptions
    Config: ClassVar[OptionsClass] = NewVoice

    def __init__(self, model: TTS, *, critic_width: int = 8, seed: int = 0) -> None:
        self.model = model
        self.device = model.device
        with runtime.LentState(seed):
            critics = Critics(critic_width).to(self.device)
        self.networks = {"acoustic": model.acoustic, "vocoder": model.vocoder, "critics": critics}
        self._read: ReadOnce[list[Clip]] = ReadOnce()

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        **config: Any,
    ) -> Self:
        """Start from the voice at `source` ("default": the one in this package), or from a new one made by `config`.

        A folder of a FastSpeech2Conformer or a SpeechT5 opens as an `aigc_sdk_tts.hub_training.HubTrainer`.
        """
        check_dtype(dtype)
        if source is None:
            return cls._new(NewVoice.parse("tts", config), runtime.device(device))
        check_no_sizes(config, source, kind="voice")
        model: Any = TTS.open(source, device=device, revision=revision)
        if not isinstance(model, TTS):
            from .hub_training import HubTrainer  # it imports transformers

            return cast(Self, HubTrainer(model))
        return cls(model)

    @classmethod
    def _new(cls, wanted: NewVoice, device: str) -> Self:
        sizes = AcousticSizes(**wanted.model_dump(include=set(AcousticSizes.model_fields)))
        analysis = Analysis.parse("tts", {})
        with runtime.LentState(wanted.seed), runtime.memory_errors("a new voice", "choose smaller sizes"):
            acoustic = new_acoustic(sizes, analysis, len(wanted.voices)).to(device)
            if wanted.vocoder == "new":
                vocoder_sizes = VocoderSizes.parse(
                    "tts", {"width": wanted.vocoder_width, "layers": wanted.vocoder_layers}
                )
                vocoder = Vocoder(vocoder_sizes, analysis).to(device)
        if wanted.vocoder == "default":
            default = TTS.open(device=device).networks
            vocoder, vocoder_sizes, analysis = default.vocoder, default.vocoder_sizes, default.analysis
        networks = Networks(acoustic, vocoder, analysis, sizes, vocoder_sizes, wanted.voices)
        return cls(TTS(networks, device=device), critic_width=wanted.critic_width, seed=wanted.seed)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all recordings, and refuse what cannot be used; the run then starts with what was read."""
        self._read.clear()
        for name, each in (("data", data), ("validation", validation)):
            if each is not None or name == "data":
                self._clips(each, name, fit.options)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        clips, options = self._clips(data, "data", fit.options), fit.options
        loop = Loop(self, fit, rows=len(clips), precision=options.precision)
        update = _Acoustic(self, loop, fit) if options.part == "acoustic" else _Vocoder(self, loop, fit)
        for _ in loop:
            chosen = loop.draw(options.batch_size)
            with runtime.memory_errors(f"an update of {options.batch_size} clauses", REMEDY):
                [rows] = loop.parts(chosen)
                metrics = update([clips[row] for row in rows], [clips[row] for row in chosen])
            yield loop.step(**metrics)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The losses on `data`; of the acoustic model in its own units, of the vocoder over the first seconds of each."""
        clips = self._clips(data, "validation", fit.options)
        with torch.inference_mode():
            if fit.options.part == "vocoder":
                return {"loss": self._spectral(clips)}
            whole = counts(clips)
            sums: dict[str, float] = {}
            for clip in clips:
                losses = acoustic_losses(self.model.acoustic, clauses([clip], self.device), whole)
                for name, each in {"loss": weighted(losses), **losses}.items():
                    sums[name] = sums.get(name, 0.0) + float(each)
        return sums

    def preview(self, fit: Fit) -> list[Artifact]:
        """One sentence, always the same."""
        return [*self.model.generate(PREVIEW, seed=0)]

    def _spectral(self, clips: list[Clip]) -> float:
        """The mean spectral loss of whole clauses."""
        total, rng, hop = 0.0, runtime.rng(0), self.model.analysis.hop
        for clip in clips:
            mel, tones, voiced = (each[None].to(self.device) for each in (clip.mel.float(), clip.pitch, clip.voiced))
            noise = torch.randn(1, len(clip.mel) * hop, generator=rng).to(self.device)
            wanted = clip.samples[None].to(self.device).float() / 32767
            total += float(spectral_loss(self.model.vocoder(mel, tones, voiced, noise), wanted, self.model.analysis))
        return total / len(clips)

    def _clips(self, data: Any, name: str, options: TrainingOptions) -> list[Clip]:
        """The clauses in `data`, read once."""
        model = self.model
        return self._read.of(data, lambda: read_clips(data, name, model.analysis, model.voices, options.corrupt))


class _Acoustic:
    """Updates of the acoustic model."""

    def __init__(self, trainer: TTSTrainer, loop: Loop, fit: Fit) -> None:
        self.trainer, self.loop = trainer, loop
        self.network = loop.trains("acoustic", **_optimisation(trainer, "acoustic", fit, fit.options.learning_rate))

    def __call__(self, own: list[Clip], batch: list[Clip]) -> dict[str, Tensor]:
        whole = counts(batch)
        with self.loop.autocast():
            losses = acoustic_losses(self.network, clauses(own, self.trainer.device), whole)
        loss = weighted(losses)
        self.loop.backward(loss)
        self.loop.update("acoustic")
        return {"loss": loss, **losses}


class _Vocoder:
    """Updates of the vocoder, and of its critics where it has any."""

    def __init__(self, trainer: TTSTrainer, loop: Loop, fit: Fit) -> None:
        self.trainer, self.loop, self.options = trainer, loop, fit.options
        self.analysis = trainer.model.analysis
        self.frames = max(4 * EDGE, round(self.options.crop * self.analysis.sample_rate / self.analysis.hop))
        self.vocoder = loop.trains("vocoder", **_optimisation(trainer, "vocoder", fit, self.options.learning_rate))
        if self.options.adversarial:
            own = _optimisation(trainer, "critics", fit, self.options.critic_learning_rate)
            self.critics = loop.trains("critics", **{**own, "ema": None})

    def __call__(self, own: list[Clip], batch: list[Clip]) -> dict[str, Tensor]:
        hop, device = self.analysis.hop, self.trainer.device
        some = crops(own, self.frames, hop, device)
        noise = torch.randn(some.samples.shape, device=device)
        made = self.vocoder(some.mel, some.pitch, some.voiced, noise)
        inner = slice(EDGE * hop, -EDGE * hop)
        made, wanted = made[:, inner], some.samples[:, inner]
        spectral = spectral_loss(made, wanted, self.analysis).sum() / len(batch)
        metrics, loss = {"spectral": spectral}, spectral
        if self.options.adversarial:
            metrics |= self._teach_critics(made.detach(), wanted, len(batch))
            real, mine = self.critics(wanted), self.critics(made)
            deceived = deceiving_loss(mine).sum() / len(batch)
            likeness = likeness_loss(real, mine).sum() / len(batch)
            loss = loss + self.options.adversarial * (deceived + self.options.likeness * likeness)
            metrics |= {"deceiving": deceived, "likeness": likeness}
        self.loop.backward(loss, "vocoder")
        self.loop.update("vocoder")
        return {"loss": loss, **metrics}

    def _teach_critics(self, made: Tensor, wanted: Tensor, size: int) -> dict[str, Tensor]:
        loss = critics_loss(self.critics(wanted), self.critics(made)).sum() / size
        self.loop.backward(loss, "critics")
        self.loop.update("critics")
        return {"critics": loss}


def _optimisation(trainer: TTSTrainer, name: str, fit: Fit, rate: float) -> dict[str, Any]:
    options: TrainingOptions = fit.options
    falls = schedule(options.schedule, fit.max_steps, warmup_steps=options.warmup_steps, final=options.final_rate)
    parameters = trainer.networks[name].parameters()
    adam = torch.optim.AdamW(parameters, rate, options.betas, weight_decay=options.weight_decay, fused=True)
    return {"optimizers": adam, "clip_norm": options.clip_norm, "schedule": falls, "ema": options.ema_decay}
