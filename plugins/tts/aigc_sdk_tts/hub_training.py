"""Fine-tuning of transformers' speech models, by their own losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field

from aigc_sdk import runtime
from aigc_sdk.artifacts import Artifact
from aigc_sdk.errors import NotAModel
from aigc_sdk.protocols import Device, DType, Fit, Options, OptionsClass, Source, Step
from aigc_sdk.training import Loop, Precision, TorchTrainer, schedule
from aigc_sdk.training.read_once import ReadOnce
from aigc_sdk.training.torch_trainer import check_dtype

from .hub_models import SpeechModel
from .lessons import Lesson, Lessons, lessons_for
from .prepare import Corrupt

PREVIEW_SECONDS = 10.0


class FineTuningOptions(Options):
    """How one run trains."""

    batch_size: int = Field(8, ge=1, le=4096, description="recordings per update, over all processes")
    corrupt: Corrupt = Field("refuse", description="what to do with recordings that cannot be used")
    normalized: bool | None = Field(
        None,
        description="of a FastSpeech2Conformer: whether each band of its spectrograms has mean 0 and deviation 1; "
        "none: yes, as the published ones",
    )
    learning_rate: float = Field(1e-4, gt=0, le=10, description="highest rate of AdamW")
    weight_decay: float = Field(0.01, ge=0, le=10, description="of AdamW")
    warmup_steps: int = Field(50, ge=0, le=10**6, description="updates in which the rate rises")
    schedule: Literal["constant", "linear", "cosine"] = Field("linear", description="how the rate falls")
    final_rate: float = Field(0.0, ge=0, le=1, description="the last rate, as part of the highest")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of the weights' running average; None: none")
    precision: Precision = Field("float32", description="of the arithmetic; weights stay float32")


class HubTrainer(TorchTrainer[SpeechModel]):
    """Fine-tunes a FastSpeech2Conformer or a SpeechT5 on recordings and their transcripts.

        trainer = aigc_sdk.trainer("tts", "models/speecht5")  # a folder as `aigc_sdk.load("tts", ...)` opens it
        trainer.fit("recordings", max_steps=1000, save_to="runs/ann")

    `data` is a folder in the layout of LJSpeech, see `aigc_sdk_tts.recordings`, at the model's sample rate. The fourth column
    of metadata.csv names a voice: a number, or of a SpeechT5 a name in voices.safetensors. The vocoder stays as it is.
    """

    Options: ClassVar[OptionsClass] = FineTuningOptions

    def __init__(self, model: SpeechModel) -> None:
        self.model = model
        self.device = model.device
        self.networks = {"network": lessons_for(model.family, None).network}
        self._taught: Lessons | None = None
        self._read: ReadOnce[list[Lesson]] = ReadOnce()

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
        """Start from the model at `source`, a folder or a hub id."""
        check_dtype(dtype)
        cls.Config.parse("tts", config)
        if source is None:
            raise NotAModel("a speech model of transformers is a folder or a hub id; give one")
        return cls(SpeechModel.open(source, device=device, revision=revision))

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all recordings, and refuse what cannot be used; the run then starts with what was read."""
        self._read.clear()
        self._taught = lessons_for(self.model.family, fit.options.normalized)
        self._lessons(data, "data", fit.options)
        if validation is not None:
            self._lessons(validation, "validation", fit.options)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        lessons, options = self._lessons(data, "data", fit.options), fit.options
        taught = self._teaching(options)
        loop = Loop(self, fit, rows=len(lessons), precision=options.precision)
        adam = torch.optim.AdamW(
            taught.network.parameters(), options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        falls = schedule(options.schedule, fit.max_steps, warmup_steps=options.warmup_steps, final=options.final_rate)
        network = loop.trains("network", adam, clip_norm=options.clip_norm, schedule=falls, ema=options.ema_decay)
        for _ in loop:
            chosen = loop.draw(options.batch_size)
            with runtime.memory_errors(f"an update of {options.batch_size} recordings", "choose a smaller batch_size"):
                [own] = loop.parts(chosen)
                with loop.autocast():
                    loss = taught.loss(network, [lessons[row] for row in own]) * (len(own) / len(chosen))
                loop.backward(loss)
                loop.update("network")
            taught.network.eval()  # between updates the model is the user's to try
            yield loop.step(loss=loss)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The mean of the recordings' losses on `data`; dropout that a model has at all times is the same each time."""
        lessons, taught = self._lessons(data, "validation", fit.options), self._teaching(fit.options)
        with torch.inference_mode(), runtime.LentState(fit.seed, self.device):
            return {"loss": sum(taught.held_out([each]) for each in lessons) / len(lessons)}

    def preview(self, fit: Fit) -> list[Artifact]:
        """The first transcript, always the same."""
        lessons = self._read.first()
        limit: dict[str, Any] = {"max_seconds": PREVIEW_SECONDS} if "max_seconds" in self.model.family.takes else {}
        return [*self.model.generate(lessons[0].text, seed=0, **limit)]

    def _teaching(self, options: FineTuningOptions) -> Lessons:
        if self._taught is None:
            self._taught = lessons_for(self.model.family, options.normalized)
        return self._taught

    def _lessons(self, data: Any, name: str, options: FineTuningOptions) -> list[Lesson]:
        """The recordings in `data`, read once."""
        return self._read.of(data, lambda: self._teaching(options).read(data, name, options.corrupt))
