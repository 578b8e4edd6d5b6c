"""Fine-tuning: a LoRA beside a pipeline's network, by the loss that the pipeline's scheduler defines.

What the network is told beside the noisy latents (texts, positions, masks) is caught from the pipeline's own first step, so
that it is trained under just the call that it gets when it generates.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk import folder, runtime
from aigc_sdk.errors import DataError, NotAModel, NotOffered, OptionError
from aigc_sdk.protocols import Device, DType, Fit, Options, OptionsClass, Source, Step
from aigc_sdk.training import Loop, TorchTrainer, schedule

from . import encoding, lora_data, lora_files
from .families import FAMILIES
from .loading import silent
from .lora_data import Sample
from .model import ImagePipeline, VideoPipeline, _Pipeline

Decay = Annotated[float, Field(ge=0, lt=1)]
REMEDY = "choose a smaller batch_size, fewer or smaller frames, or gradient_checkpointing=True"
LEVELS = 4  # of noise, at which a sample is validated


class NewLoRA(Options):
    """The size of a new LoRA."""

    rank: int = Field(16, ge=1, le=1024, description="rank of the change to each layer")
    alpha: float | None = Field(None, gt=0, le=65536, description="scale of the change, over the rank; None: the rank")
    targets: tuple[str, ...] = Field(
        ("to_q", "to_k", "to_v", "to_out.0"),
        strict=False,
        description="the ends of the names of the layers that are changed",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights")


class LoRATraining(Options):
    """How one run trains."""

    batch_size: int = Field(
        1, ge=1, le=65536, description="samples per update, over all processes; one at a time is computed"
    )
    num_frames: int | None = Field(None, ge=1, le=10_000, description="frames that are taken of each film; None: all")
    height: int | None = Field(None, ge=8, le=8192, description="rows that samples are cropped to; None: their own")
    width: int | None = Field(None, ge=8, le=8192, description="columns that samples are cropped to")
    caption_dropout: float = Field(
        0.1, ge=0, le=1, description="part of the samples whose text is left out, for guidance"
    )
    learning_rate: float = Field(1e-4, gt=0, le=10, description="highest rate of AdamW")
    betas: tuple[Decay, Decay] = Field((0.9, 0.99), strict=False, description="decay of AdamW's two averages")
    weight_decay: float = Field(0.0, ge=0, le=1, description="of all weights of the LoRA")
    schedule: Literal["constant", "linear", "cosine"] = Field("constant", description="how the rate falls")
    warmup_steps: int = Field(0, ge=0, description="updates in which the rate rises from 0")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the arithmetic; auto: bfloat16 where the machine is fast at it. The LoRA stays float32"
    )
    gradient_checkpointing: bool = Field(False, description="compute more, keep less in memory")


class Adapted(nn.Module):
    """A network under training whose only weights are its LoRA's; calls go through to it."""

    def __init__(self, adapter: lora_files.Adapter) -> None:
        super().__init__()
        self.network: Any
        self.__dict__["network"] = adapter.network  # not as a module: neither its weights nor its state are this one's
        for name, each in adapter.weights().items():
            self.register_parameter(name.replace(".", "/"), each)

    def forward(self, **arguments: Any) -> Tensor:
        """The network's prediction."""
        return self.network(**arguments)[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Known:
    """One sample as the network is trained on it."""

    latents: Tensor
    told: Mapping[str, Any]
    untold: Mapping[str, Any]
    """What the network is told of it, and what it is told without a text."""


class LoRATrainer(TorchTrainer[_Pipeline[Any]]):
    """Trains a LoRA for a pipeline of diffusers, of films or of pictures.

        trainer = LoRATrainer.open("models/wan", rank=16)
        model = trainer.fit([(film, "a cat jumps"), ...], max_steps=500, save_to="runs/cat")
        model.generate("a cat jumps over a wall")

    `data` is what `lora_data.samples` reads: pairs of a film or picture and its text, or a folder. The loss is that of flow
    matching, or of the noise, its velocity or the clean sample, as the pipeline's scheduler says; the mean over all numbers.
    The folder of a LoRA that is opened goes on being trained. A saved model is the LoRA's file alone, which plain diffusers
    opens with `load_lora_weights`.
    """

    Options: ClassVar[OptionsClass] = LoRATraining
    Config: ClassVar[OptionsClass] = NewLoRA

    def __init__(self, model: _Pipeline[Any]) -> None:
        """Train the LoRA that `model` has in use."""
        if model.lora is None:
            raise NotOffered("the pipeline has no LoRA in use; LoRATrainer.open makes one")
        if getattr(model.pipe.config, "boundary_ratio", None) is not None:
            raise NotOffered("a Wan with two experts needs a LoRA for each, which is not offered; train a Wan with one")
        self.model = model
        self.device = model.device
        for each in model.lora.weights().values():
            each.data = each.data.float()
            each.requires_grad_(True)
        self.networks = {"network": Adapted(model.lora)}
        self._validation: tuple[Any, list[_Known]] | None = None

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
        """Start from the pipeline, or from the LoRA, at `source`; `dtype` is that of the pipeline, whose weights stay."""
        sizes = NewLoRA.parse("lora", config)
        if source is None:
            raise NotAModel("a LoRA is trained for a pipeline; give the folder of one")
        backend = folder.backend_of(source)
        kind: type[_Pipeline[Any]] = ImagePipeline if backend == ImagePipeline.backend else VideoPipeline
        model = kind.open(source, device=device, dtype=dtype, revision=revision)
        if model.lora is not None and config:
            raise OptionError(
                f"{', '.join(config)}: only a new LoRA takes sizes; the one at {str(source)!r} has its own",
                field=next(iter(config)),
            )
        if model.lora is None:
            alpha = float(sizes.rank) if sizes.alpha is None else sizes.alpha
            model.lora = lora_files.add(
                model.pipe, model.name, rank=sizes.rank, alpha=alpha, targets=sizes.targets, seed=sizes.seed
            )
        return cls(model)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all data, and refuse what cannot be trained with."""
        if (fit.options.height is None) != (fit.options.width is None):
            raise OptionError("height and width: give both, or neither", field="height")
        self._samples(data, fit, "data")
        if validation is not None:
            self._samples(validation, fit, "validation")

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        options: LoRATraining = fit.options
        known = self._known(self._samples(data, fit, "data"))
        network: Any = self.networks["network"]
        if options.gradient_checkpointing:
            network.network.enable_gradient_checkpointing()
        loop = Loop(self, fit, rows=len(known), precision=options.precision)
        tuned = loop.trains(
            "network",
            torch.optim.AdamW(
                network.parameters(), options.learning_rate, betas=options.betas, weight_decay=options.weight_decay
            ),
            clip_norm=options.clip_norm,
            schedule=schedule(options.schedule, fit.max_steps, warmup_steps=options.warmup_steps),
        )
        for _ in loop:
            loss = torch.zeros((), device=self.device)
            with runtime.memory_errors("an update", REMEDY):
                for [row] in loop.parts(loop.draw(options.batch_size), 1):
                    told = known[row].untold if torch.rand(()) < options.caption_dropout else known[row].told
                    with loop.autocast():
                        part = self._loss(tuned, known[row].latents, told, self._level()) / options.batch_size
                    loop.backward(part)
                    loss += part.detach()
                norm = loop.update("network")
            yield loop.step(loss=loss, gradient_norm=norm)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The mean loss over all samples, each at the same levels with the same noise every time."""
        if self._validation is None or self._validation[0] is not data:
            self._validation = (data, self._known(self._samples(data, fit, "validation")))
        total, network = 0.0, self.networks["network"]
        with torch.no_grad(), runtime.LentState(fit.seed, self.device):
            for each in self._validation[1]:
                for index in range(LEVELS):
                    total += self._loss(network, each.latents, each.told, (index + 0.5) / LEVELS).item()
        return {"loss": total / len(self._validation[1]) / LEVELS}

    def _samples(self, data: Any, fit: Fit, name: str) -> list[Sample]:
        options: LoRATraining = fit.options
        size = None if options.height is None or options.width is None else (options.height, options.width)
        kind = self.model.family.kind
        found = list(lora_data.samples(data, kind, name, num_frames=options.num_frames, size=size))
        if not found:
            raise DataError(f"{name} holds no sample; give pairs of a {kind} and its text", field=name)
        lora_data.check_sizes(found, self.model.pipe, self.model.name, name)
        return found

    def _known(self, samples: list[Sample]) -> list[_Known]:
        """Latents and conditions of all samples; the same texts and sizes are asked for once."""
        conditions: dict[Any, Mapping[str, Any]] = {}

        def told(caption: str, sample: Sample) -> Mapping[str, Any]:
            key = (caption, sample.frames.shape[:3])
            if key not in conditions:
                conditions[key] = self._told(caption, sample)
            return conditions[key]

        found = []
        for each in samples:
            latents = encoding.encoded(self.model.pipe, self.model.name, each.frames)
            found.append(_Known(latents, told(each.caption, each), told("", each)))
            noisy = found[-1].told[_noisy(found[-1].told)]
            if noisy.shape != latents.shape:
                raise NotOffered(
                    f"a {self.model.name} is not trained here: its network reads {tuple(noisy.shape)}, and the latents are "
                    f"{tuple(latents.shape)}"
                )
        return found

    def _told(self, caption: str, sample: Sample) -> Mapping[str, Any]:
        """The arguments that the pipeline calls its network with at its first step, caught on the way."""
        pipe, name = self.model.pipe, self.model.name
        assert self.model.lora is not None
        network = self.model.lora.network
        count, height, width = sample.frames.shape[:3]
        given: dict[str, Any] = {"prompt": caption, "num_inference_steps": 2, "height": height, "width": width}
        if FAMILIES[name].kind == "video":
            given["num_frames"] = count
        if "true_guidance" not in FAMILIES[name].takes:  # of HunyuanVideo guidance is an input of the network
            given["guidance_scale"] = 1.0

        def catch(module: nn.Module, arguments: Any, named: Any) -> None:
            raise _Caught(dict(inspect.signature(network.forward).bind(*arguments, **named).arguments))

        handle = network.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with silent():
                pipe(**given, generator=runtime.rng(0), output_type="latent")
        except _Caught as caught:
            return {**caught.arguments, "return_dict": False}
        finally:
            handle.remove()
        raise NotOffered(f"a {name} did not call its network")

    def _level(self) -> float:
        """A level of noise in (0, 1), from a logit-normal distribution (Esser et al. 2024), or an even one."""
        if encoding.flows(self.model.pipe.scheduler):
            return float(torch.randn(()).sigmoid())
        return float(torch.rand(()))

    def _loss(self, network: nn.Module, latents: Tensor, told: Mapping[str, Any], level: float) -> Tensor:
        """The mean squared error of what the network says of noisy latents; the noise is drawn from the global state."""
        noise = torch.randn(latents.shape).to(latents)
        noisy, target, time = encoding.task(self.model.pipe.scheduler, latents, noise, level)
        name = _noisy(told)
        given = told["timestep"]
        told = {**told, name: noisy.to(told[name].dtype), "timestep": torch.full_like(torch.as_tensor(given), time)}
        predicted: Tensor = network(**told)
        channels = target.shape[_channels(self.model.name)]
        predicted = predicted.narrow(_channels(self.model.name), 0, channels)  # a learned variance comes after
        return (predicted.float() - target.float()).square().mean()


class _Caught(Exception):
    """Carries what a network was called with."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments


def _noisy(told: Mapping[str, Any]) -> str:
    """The name that a network has for the noisy latents."""
    return "sample" if "sample" in told else "hidden_states"


def _channels(name: str) -> int:
    """The axis of the channels: frames come first in CogVideoX, LTX has rows of channels."""
    return 2 if name.startswith(("CogVideoX", "LTX")) else 1
