"""Training of the small models: the parts of one, in one run, one phase after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from aigc_sdk import artifacts, folder, runtime
from aigc_sdk.errors import DataError
from aigc_sdk.protocols import Device, DType, Fit, Options, OptionsClass, Source, Step
from aigc_sdk.training import Loop, Precision, TorchTrainer, schedule
from aigc_sdk.training.read_once import ReadOnce
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from .architecture import DIRECTIONS, Network, Sizes
from .clips import Clips, clips
from .model import Video, is_pipeline, new_model

Rate = Annotated[float, Field(gt=0, le=10)]
Size = Annotated[int, Field(ge=1, le=1 << 20)]
REMEDY = "choose smaller batch_sizes"
ENCODED = 64  # clips that are encoded together
VALIDATED = 512  # rows that a validation looks at, at most
SHOWN = 4  # clips of a preview


class NewModel(Sizes):
    """What a new model is made by."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights")


class TrainingOptions(Options):
    """How one run trains. Pairs are for the first phase (looks, or frames) and the second (motion)."""

    share: float = Field(0.4, gt=0, lt=1, description="part of the updates that the first phase gets")
    batch_sizes: tuple[Size, Size] = Field((64, 256), strict=False, description="rows per update, over all processes")
    learning_rates: tuple[Rate, Rate] = Field((2e-3, 1e-3), strict=False, description="highest rates of AdamW")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of AdamW")
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="how the rates fall")
    warmup_steps: int = Field(50, ge=0, le=1 << 40, description="updates of each phase in which its rate rises from 0")
    hold: float = Field(0.0, ge=0, le=1, description="part of each phase before its rate starts to fall")
    final_rate: float = Field(0.01, ge=0, le=1, description="the last rates, as part of the highest")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    ema_decay: float | None = Field(
        0.999, gt=0, lt=1, description="of a running average of the second phase's weights; None: none"
    )
    precision: Precision = Field(
        "float32", description="of the arithmetic; auto: bfloat16 where the machine is fast at it"
    )
    corrupt: Literal["refuse", "skip"] = Field("refuse", description="what to do with films that cannot be read")


class VideoTrainer(TorchTrainer[Video]):
    """Trains a small film model.

        trainer = aigc_sdk.trainer("video")                           # a new model of things that move
        trainer = aigc_sdk.trainer("video", architecture="latent")    # a new model of any clips
        trainer = aigc_sdk.trainer("video", "default")                # the model that this package brings
        trainer.fit("digits/train", max_steps=6000, save_to="runs/mine")

    `data` is what `aigc_sdk_video.clips.clips` reads: a folder of films, arrays, films, or moving "digits". The first
    phase learns to take frames apart and put them together; all data are then encoded once, and the second learns how they
    move. A step's metrics are its phase's losses.
    """

    Options: ClassVar[OptionsClass] = TrainingOptions
    Config: ClassVar[OptionsClass] = NewModel

    def __init__(self, model: Video, *, named: bool = True) -> None:
        self.model = model
        self.device = model.device
        self.network: Network = model.network
        self.networks = {phase: getattr(self.network, phase) for phase in self.network.phases}
        self._named = named  # a new model takes the names of its labels from its data
        self._read: ReadOnce[Clips] = ReadOnce()
        self._prompts: list[str] = []

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
        """Start from the model at `source` ("default": the one in this package), or from a new one made by `config`.

        The folder of a diffusers pipeline, or of a LoRA of one, opens as an `aigc_sdk_video.pipelines.LoRATrainer`.
        """
        if source not in (None, "default") and is_pipeline(
            folder.read(str(source), backend="video", revision=revision)
        ):
            from .pipelines.lora import LoRATrainer  # it imports diffusers

            lora = LoRATrainer.open(source, device=device, dtype=dtype, revision=revision, **config)
            return cast(Self, lora)
        check_dtype(dtype)
        if source is None:
            parsed = NewModel.parse("video", config)
            sizes = Sizes.parse("video", parsed.model_dump(exclude={"seed"}))
            return cls(new_model(sizes, parsed.seed, runtime.device(device)), named=False)
        check_no_sizes(config, source)
        return cls(Video.open(source, device=device, revision=revision))

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Gather all data, and refuse what cannot be used; the run then starts with what was gathered."""
        self._read.clear()
        for name, each in (("data", data), ("validation", validation)):
            if each is not None:
                self._clips(each, name, fit.options)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        found, options = self._clips(data, "data", fit.options), fit.options
        if not self._named:
            self.model.labels, self._named = found.names or self.model.labels, True
        self._prompts = _prompts(self.model.labels)
        loop = Loop(self, fit, rows=len(found), precision=options.precision)
        last = max(1, round(options.share * fit.max_steps))  # step of the first phase
        first, second = self.network.phases
        called = {
            first: self._trains(loop, first, 0, last, options),
            second: self._trains(loop, second, 1, max(1, fit.max_steps - last), options),
        }
        encoded: tuple[Tensor, Tensor] | None = None
        for step in loop:
            place = int(step > last)
            phase, size = self.network.phases[place], options.batch_sizes[place]
            with runtime.memory_errors(f"an update of {size} rows", REMEDY):
                if place and encoded is None:
                    encoded = self._encoded(found)
                    self.network.prepare(encoded[0])
                if encoded is not None:
                    loop.rows = len(encoded[0])
                [rows] = loop.parts(loop.draw(size))
                batch = self._stretch(found, rows) if encoded is None else tuple(each[rows] for each in encoded)
                with loop.autocast():
                    losses = called[phase](*batch)
                part = len(rows) / size
                loop.backward(losses["loss"].float() * part, phase)
                loop.update(phase)
            yield loop.step(**{name: each.detach().float() * part for name, each in losses.items()})

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The losses of both phases on up to 512 rows, each by its name; "loss" is the second's.

        Where the first phase sees more than two frames of a row, it sees fewer rows.
        """
        found = self._clips(data, "validation", fit.options)
        rows = np.linspace(0, len(found) - 1, min(VALIDATED, len(found))).astype(np.int64)
        metrics: dict[str, float] = {}
        first, second = self.network.phases
        with torch.no_grad():
            self.network.eval()
            torch.manual_seed(0)  # the state is lent
            seen = self.networks[first](*self._stretch(found, rows[:: max(1, self.network.seen // 2)]))
            encoded = self._encoded(found, rows)
            moved = self.networks[second](*encoded)
        for phase, losses in ((first, seen), (second, moved)):
            metrics |= {f"{phase}_{name}": float(value) for name, value in losses.items()}
        return {"loss": metrics[f"{second}_loss"], **metrics}

    def preview(self, fit: Fit) -> list[artifacts.Artifact]:
        """A few clips of fixed prompts and seeds."""
        return [self.model.generate(prompt, seed=index)[0] for index, prompt in enumerate(self._prompts)]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "labels": list(self.model.labels) if self._named else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if state["labels"] is not None:
            self.model.labels, self._named = tuple(state["labels"]), True

    def _trains(self, loop: Loop, phase: str, place: int, steps: int, options: TrainingOptions) -> torch.nn.Module:
        adam = torch.optim.AdamW(
            self.networks[phase].parameters(),
            options.learning_rates[place],
            (0.9, 0.98 if place else 0.999),
            weight_decay=options.weight_decay,
            fused=True,
        )
        falling = schedule(
            options.schedule,
            steps,
            warmup_steps=min(options.warmup_steps, steps // 4),
            hold=options.hold,
            final=options.final_rate,
        )
        # What the first phase ends with is what all data are encoded with: an average would be something else.
        average = options.ema_decay if place else None
        return loop.trains(phase, adam, clip_norm=options.clip_norm, schedule=falling, ema=average)

    def _stretch(self, found: Clips, rows: Any) -> tuple[Tensor, Tensor]:
        """The stretch of each row that the first phase sees, from a frame on that is drawn for the batch."""
        seen, frames = self.network.seen, self.model.sizes.frames
        offset = int(torch.randint(frames - seen + 1, ()))
        return self._tensors(found.frames(rows, offset, seen), found.conditions(rows))

    @torch.no_grad()
    def _encoded(self, found: Clips, rows: Any = None) -> tuple[Tensor, Tensor]:
        """All rows as the second phase sees them."""
        rows = np.arange(len(found)) if rows is None else rows
        self.network.eval()
        parts = []
        for start in range(0, len(rows), ENCODED):
            some = rows[start : start + ENCODED]
            shown = found.frames(some, 0, self.model.sizes.frames)
            parts.append(self.network.encode(*self._tensors(shown, found.conditions(some))))
        encoded, conditions = (torch.cat(each) for each in zip(*parts, strict=True))
        self.network.train()
        return encoded, conditions

    def _tensors(self, frames: Any, conditions: Any) -> tuple[Tensor, Tensor]:
        shown = torch.from_numpy(frames).to(self.device).float().permute(0, 1, 4, 2, 3) / 127.5 - 1
        return shown, torch.from_numpy(conditions).to(self.device)

    def _clips(self, data: Any, name: str, options: TrainingOptions) -> Clips:
        """The clips in `data`, gathered once."""
        return self._read.of(data, lambda: self._clips_of(data, name, options))

    def _clips_of(self, data: Any, name: str, options: TrainingOptions) -> Clips:
        found = clips(data, self.model.sizes, corrupt=options.corrupt, name=name)
        labels = self.model.labels
        if not labels:
            return found
        if not found.names:
            raise DataError(
                f"{name} has no labels, and the model was made for {len(labels)}; pass (clips, labels) or a folder with a "
                "folder per label, or make a model with classes=0",
                field=name,
            )
        if found.names != labels and (self._named or len(found.names) != len(labels)):
            raise DataError(
                f"{name} has the labels {', '.join(found.names[:5])} ({len(found.names)}), the model "
                f"{', '.join(labels[:5])} ({len(labels)}); give data of the same labels, or make a model with "
                f"classes={len(found.names)}",
                field=name,
            )
        return found


def _prompts(labels: tuple[str, ...]) -> list[str]:
    """What previews show: labels and directions in turn."""
    return [
        f"a {labels[index % len(labels)] if labels else 'thing'} moving {DIRECTIONS[2 * index % 8]}"
        for index in range(SHOWN)
    ]
