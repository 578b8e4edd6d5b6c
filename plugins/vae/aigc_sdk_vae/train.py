"""Training: an encoder, a decoder and what stands between them, together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
import pydantic
import torch
from pydantic import Field
from torch import Tensor

from aigc_sdk import runtime
from aigc_sdk.artifacts import Artifact, Image
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.labels import labelled
from aigc_sdk.protocols import Device, DType, Fit, OptionsClass, Source, Step
from aigc_sdk.training import Loop, Precision, TorchTrainer, order, schedule
from aigc_sdk.training.images import Augmentation, Pictures, augmented, pictures, to_images, to_tensor
from aigc_sdk.training.read_once import ReadOnce
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from .measure import measure
from .model import VAE
from .network import GaussianNetwork, Sizes, VQNetwork, new_network
from .objective import Objective
from .stored import COMPONENTS_LIMIT

Decay = Annotated[float, Field(ge=0, lt=1)]
Update = Annotated[int, Field(ge=1, le=1 << 40)]
REMEDY = "choose a smaller batch_size"
FITTED_ROWS = 10_000  # pictures that the sampler is fitted to, at most
SHOWN = 8  # pictures in a row of a preview
DRAWS = 4  # draws per picture of validation


class NewModel(Sizes):
    """What a new model is made by."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights")


class TrainingOptions(Augmentation):
    """How one run trains."""

    batch_size: int = Field(64, ge=1, le=1 << 20, description="pictures per update, over all processes")
    corrupt: Literal["refuse", "skip"] = Field("refuse", description="what to do with pictures that cannot be read")
    objective: Literal["elbo", "tc", "iwae", "wae"] = Field(
        "elbo",
        description="the evidence bound, or that of beta-TC-VAE, of IWAE, or of a Wasserstein autoencoder (WAE-MMD)",
    )
    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the rate, what latents cost (beta-VAE)")
    kl_warmup_steps: int = Field(0, ge=0, le=1 << 40, description="updates in which that weight rises from 0")
    free_bits: float = Field(0.0, ge=0, le=1e3, description="rate that each latent has for nothing, in bits")
    tc_weight: float = Field(6.0, ge=0, le=1e6, description="of the total correlation, with objective='tc'")
    draws: int = Field(8, ge=1, le=10_000, description="draws per picture, with objective='iwae'")
    mmd_weight: float = Field(10.0, ge=0, le=1e9, description="of the distance from the prior, with objective='wae'")
    commitment: float = Field(0.25, ge=0, le=1e6, description="how strongly vectors are drawn to codes, with kind='vq'")
    components: int | None = Field(
        None,
        ge=1,
        le=COMPONENTS_LIMIT,
        description="Gaussians per label of the fitted sampler; None: 1, or 10 without labels",
    )
    learning_rate: float = Field(2e-3, gt=0, le=10, description="highest rate of AdamW")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), strict=False, description="decay of AdamW's two averages")
    epsilon: float = Field(1e-8, gt=0, le=1, description="of AdamW, added to the root of the second average")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of AdamW")
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="how the rate falls")
    warmup_steps: int = Field(0, ge=0, le=1 << 40, description="updates in which the rate rises from 0")
    hold: float = Field(0.0, ge=0, le=1, description="part of the run before the rate starts to fall")
    final_rate: float = Field(0.02, ge=0, le=1, description="the last rate, as part of the highest")
    milestones: tuple[Update, ...] = Field(
        (), strict=False, description="updates after each of which the rate is multiplied by milestone_factor"
    )
    milestone_factor: float = Field(0.1, gt=0, le=1, description="see milestones")
    clip_norm: float | None = Field(None, gt=0, description="longest gradient; None: any")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of a running average of the weights; None: none")
    precision: Precision = Field(
        "auto", description="auto: bfloat16 where the machine is fast at it. Weights stay float32"
    )

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones={self.milestones}: give each later than the one before")
        if self.batch_size == 1 and self.objective in ("tc", "wae"):
            raise ValueError(
                f"objective={self.objective!r} compares the pictures of a batch; choose a batch_size above 1"
            )
        if self.free_bits and self.objective != "elbo":
            raise ValueError(f"free_bits is of objective='elbo', not of {self.objective!r}; leave one out")
        if self.objective in ("iwae", "wae") and (self.beta != 1 or self.kl_warmup_steps):
            name = "beta" if self.beta != 1 else "kl_warmup_steps"
            raise ValueError(
                f"{name}={getattr(self, name):g}: objective={self.objective!r} has no rate to weigh; leave it out"
            )
        return self


class VAETrainer(TorchTrainer[VAE]):
    """Trains a variational autoencoder.

        trainer = aigc_sdk.trainer("vae", size=32, channels=3, classes=0)    # a new model
        trainer = aigc_sdk.trainer("vae", kind="vq")                         # a VQ-VAE
        trainer = aigc_sdk.trainer("vae", "default")                         # the model that this package brings
        trainer.fit("digits", max_steps=1000, save_to="runs/mine")

    `data` is what `aigc_sdk.training.images.pictures` reads: a folder, arrays, a Dataset, or "digits"; pictures are brought
    to the model's size. Where the model has labels, its data need them, and as many. A step's metrics are in nats per
    picture: distortion is -log p(pixels | latents), rate what the latents cost. A model that is saved or finished has
    the sampler "fitted", made of up to 10,000 of the training pictures.
    """

    Options: ClassVar[OptionsClass] = TrainingOptions
    Config: ClassVar[OptionsClass] = NewModel

    def __init__(self, model: VAE, *, named: bool = True) -> None:
        self.model = model
        self.device = model.device
        self.networks = {"network": Objective(model.network)}
        self._named = named  # a new model takes the names of its labels, and pseudo-inputs, from its data
        self._read: ReadOnce[Pictures] = ReadOnce()
        self._training: tuple[Pictures, TrainingOptions] | None = None

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
        """Start from the model at `source` ("default": the one in this package), or from a new one made by `config`."""
        check_dtype(dtype)
        if source is None:
            return cls._new(NewModel.parse("vae", config), runtime.device(device))
        check_no_sizes(config, source)
        return cls(VAE.open(source, device=device, revision=revision))

    @classmethod
    def _new(cls, sizes: NewModel, device: str) -> Self:
        what = f"a new model of {sizes.size} pixels, {sizes.width} wide"
        with runtime.LentState(sizes.seed), runtime.memory_errors(what, "choose smaller sizes"):
            network = new_network(sizes).to(device)
        labels = [str(index) for index in range(sizes.classes)]
        return cls(VAE(network, sizes=sizes, labels=labels, device=device), named=False)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all data, and refuse what cannot be used; the run then starts with what was read."""
        self._check_objective(fit.options)
        self._read.clear()
        for name, each in (("data", data), ("validation", validation)):
            if each is not None:
                self._pictures(each, name, fit.options)
        if fit.options.objective == "tc" and len(self._pictures(data, "data", fit.options)) == 1:
            raise DataError("data holds one picture; objective='tc' compares pictures, so give more", field="data")

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        found, options = self._pictures(data, "data", fit.options), fit.options
        self._training, self.model.fitted = (found, options), None
        if not self._named:
            self._take_from_data(found, fit.seed)
        loop = Loop(self, fit, rows=len(found), precision=options.precision)
        network = loop.trains(
            "network",
            torch.optim.AdamW(
                self.networks["network"].parameters(),
                options.learning_rate,
                options.betas,
                options.epsilon,
                weight_decay=options.weight_decay,
                fused=True,
            ),
            clip_norm=options.clip_norm,
            schedule=_schedule(options, fit.max_steps),
            ema=options.ema_decay,
        )
        for step in loop:
            beta = options.beta * min(1.0, step / max(1, options.kl_warmup_steps))
            with runtime.memory_errors(f"an update of {options.batch_size} pictures", REMEDY):
                [rows] = loop.parts(loop.draw(options.batch_size))
                pixels, labels = self._batch(found, rows, options)
                with loop.autocast():
                    terms = network(pixels, labels, options, beta, len(found))
                loss = terms.loss.sum() / options.batch_size
                loop.backward(loss)
                loop.update("network")
            distortion, rate = (each.detach().sum() / options.batch_size for each in (terms.distortion, terms.rate))
            yield loop.step(loss=loss, distortion=distortion, rate=rate)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The negative evidence bound (ELBO) as "loss", and its two parts, in nats per picture; the error in levels."""
        pixels, labels = self._batch(self._pictures(data, "validation", fit.options), slice(None), None)
        found = measure(self.model.network, pixels, labels, DRAWS, 0)
        return {
            "loss": float(-found.elbo.mean()),
            "distortion": float(-(found.elbo + found.rate).mean()),
            "rate": float(found.rate.mean()),
            "reconstruction_error": float(127.5 * np.sqrt(found.error.mean())),
        }

    def preview(self, fit: Fit) -> list[Artifact]:
        """A square: a row of training pictures, what is left of them, and rows that are made of fixed latents."""
        if self._training is None:
            return []
        found, labels = self._training[0], self.model.labels
        pixels, its = self._batch(found, slice(SHOWN), None)
        latents = self.model._encoded(pixels, its)
        means = latents.cpu() if isinstance(latents, Tensor) else latents.mean.cpu()
        count = SHOWN * (SHOWN - 2)
        chosen = [index % len(labels) for index in range(count)] if labels else [0] * count
        drawn = self.model._latents([self.model._draw(seed) for seed in range(count)], chosen, "auto", 1.0)
        shown = [Image(each) for each in to_images(pixels.cpu())]
        shown += self.model._made(means, [0] * len(means) if its is None else its.tolist())
        return [*shown, *self.model._made(drawn, chosen)]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The sampler is fitted to the weights that a model is judged and saved with, and taken away again."""
        with super().averaged():
            before = self.model.fitted
            self._fit_sampler()
            try:
                yield
            finally:
                self.model.fitted = before

    def settle(self) -> None:
        super().settle()
        self._fit_sampler()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "labels": list(self.model.labels) if self._named else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if state["labels"] is not None:
            self.model.labels, self._named = tuple(state["labels"]), True

    def _batch(self, found: Pictures, rows: Any, options: TrainingOptions | None) -> tuple[Tensor, Tensor | None]:
        """Pictures, moved as the options say, and labels."""
        pixels = to_tensor(found.pixels[rows]).to(self.device)
        labels = None if found.labels is None else torch.from_numpy(found.labels[rows]).to(self.device)
        return pixels if options is None else augmented(pixels, options), labels

    def _fit_sampler(self) -> None:
        if self._training is None or not isinstance(self.model.network, GaussianNetwork):
            return
        found, options = self._training
        rows = order.rows(0, len(found), 0, min(FITTED_ROWS, len(found)))
        labels = None if found.labels is None else found.labels[rows]
        self.model.fit_sampler(Pictures(found.pixels[rows], labels, found.names), components=options.components)

    def _take_from_data(self, found: Pictures, seed: int) -> None:
        """What a new model gets from its data: the names of its labels, and pictures to begin its pseudo-inputs with."""
        self.model.labels, self._named = found.names, True
        network = self.model.network
        prior = network.prior if isinstance(network, GaussianNetwork) else None
        if prior is None:
            return
        shuffled = order.rows(seed, len(found), 0, len(found))
        wanted = prior.labels.cpu().numpy()
        rows = np.zeros(len(wanted), np.int64)
        for label in np.unique(wanted):
            own = shuffled if found.labels is None else shuffled[found.labels[shuffled] == label]
            rows[wanted == label] = np.resize(own, int((wanted == label).sum()))
        with torch.no_grad():
            prior.free.copy_(to_tensor(found.pixels[rows]))

    def _pictures(self, data: Any, name: str, options: TrainingOptions) -> Pictures:
        """The pictures in `data`, read once."""
        return self._read.of(data, lambda: self._pictures_of(data, name, options))

    def _pictures_of(self, data: Any, name: str, options: TrainingOptions) -> Pictures:
        channels, height, _ = self.model.shape
        found = pictures(data, size=height, channels=cast(Any, channels), corrupt=options.corrupt, name=name)
        return labelled(found, self.model.labels, named=self._named, name=name)

    def _check_objective(self, options: TrainingOptions) -> None:
        network = self.model.network
        if isinstance(network, VQNetwork) and (options.objective != "elbo" or options.free_bits or options.beta != 1):
            changed = next(
                name for name in ("objective", "free_bits", "beta") if getattr(options, name) != _default(name)
            )
            raise OptionError(
                f"{changed}={getattr(options, changed)!r} is of Gaussian latents, and the model has codes; leave it out",
                field=changed,
            )
        if options.free_bits and not isinstance(network, VQNetwork) and network.prior is not None:
            raise OptionError(
                f"free_bits={options.free_bits:g} needs prior='normal', whose rate has a part per latent; leave it out",
                field="free_bits",
            )


def _schedule(options: TrainingOptions, max_steps: int) -> Callable[[int], float]:
    """The run's schedule, and steps down after the milestones."""
    smooth = schedule(
        options.schedule,
        max_steps,
        warmup_steps=options.warmup_steps,
        hold=options.hold,
        final=options.final_rate,
    )

    def rate(update: int) -> float:
        passed = sum(update > each for each in options.milestones)
        return smooth(update) * options.milestone_factor**passed

    return rate


def _default(name: str) -> Any:
    return TrainingOptions.model_fields[name].default
