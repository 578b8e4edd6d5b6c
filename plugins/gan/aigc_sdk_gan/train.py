"""Training: a generator and its critic, in turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk import runtime
from aigc_sdk.artifacts import Artifact
from aigc_sdk.errors import DataError, InputError
from aigc_sdk.labels import labelled
from aigc_sdk.protocols import Device, DType, Fit, OptionsClass, Source, Step
from aigc_sdk.training import Loop, Precision, TorchTrainer, schedule
from aigc_sdk.training.images import Augmentation, Pictures, augmented, pictures, to_tensor
from aigc_sdk.training.read_once import ReadOnce
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from .diffaug import diff_augmented
from .distance import sliced_wasserstein
from .losses import Loss, critic_loss, generator_loss
from .model import GAN
from .network import Sizes, new_networks, orthogonalise
from .regularizers import LeCam, clip_weights, gradient_penalty, squared_gradient
from .statistics import measure, measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

Decay = Annotated[float, Field(ge=0, lt=1)]
REMEDY = "choose a smaller batch_size"
PREVIEWS = 10  # rows and columns, at most
MEASURED = 20  # batches of 128, over which batch norm's statistics are measured for the averaged weights


class NewModel(Sizes):
    """What a new model is made by."""

    init: Literal["default", "orthogonal"] = Field("default", description="the first weights: torch's, or orthogonal")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights")


class TrainingOptions(Augmentation):
    """How one run trains. Weights of penalties are 0 where there is none; they can be combined."""

    batch_size: int = Field(128, ge=1, le=1 << 20, description="pictures per update, over all processes")
    corrupt: Literal["refuse", "skip"] = Field("refuse", description="what to do with pictures that cannot be read")
    loss: Loss = Field("relativistic", description="what the two players want")
    n_critic: int = Field(1, ge=1, le=100, description="updates of the critic per update of the generator")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="highest rate of Adam for the generator")
    critic_learning_rate: float | None = Field(None, gt=0, le=10, description="for the critic; None: the same")
    betas: tuple[Decay, Decay] = Field((0.0, 0.99), strict=False, description="decay of Adam's two averages")
    schedule: Literal["constant", "linear", "cosine"] = Field("linear", description="how the rates fall")
    hold: float = Field(0.5, ge=0, le=1, description="part of the run before the rates start to fall")
    final_rate: float = Field(0.02, ge=0, le=1, description="the last rate, as part of the highest")
    clip_norm: float | None = Field(None, gt=0, description="longest gradient of each network; None: any")
    ema_decay: float | None = Field(0.998, gt=0, lt=1, description="of the generator's running average; None: none")
    gradient_penalty: float = Field(0.0, ge=0, le=1e6, description="weight; pulls the critic's gradients to length 1")
    r1: float = Field(0.1, ge=0, le=1e6, description="weight of the squared gradient at real pictures")
    r2: float = Field(0.0, ge=0, le=1e6, description="weight of the squared gradient at generated pictures")
    lazy: int = Field(8, ge=1, le=1000, description="R1 and R2 count at every so manieth update, and then as much more")
    lecam: float = Field(0.0, ge=0, le=1e6, description="weight; holds scores near the other kind's average")
    weight_clip: float | None = Field(None, gt=0, description="largest weight of the critic; None: any")
    translation: float = Field(
        0.05, ge=0, le=1, description="farthest shift of all that the critic sees, part of the side"
    )
    cutout: float = Field(
        0.0, ge=0, le=1, description="side of a square that the critic does not see, part of the side"
    )
    color: float = Field(0.0, ge=0, le=1, description="strength of random brightness, saturation and contrast")
    precision: Precision = Field(
        "auto", description="of the arithmetic; auto: bfloat16 where the machine is fast at it. Weights stay float32"
    )


class GANTrainer(TorchTrainer[GAN]):
    """Trains a generator against a critic.

        trainer = aigc_sdk.trainer("gan", size=32, channels=3, classes=0)    # a new model
        trainer = aigc_sdk.trainer("gan", "default")                         # the model that this package brings
        trainer = GANTrainer(GAN(generator, critic, latent=64))              # networks of your own
        trainer.fit("digits", max_steps=1000, save_to="runs/mine")

    `data` is what `aigc_sdk.training.images.pictures` reads: a folder, arrays, a Dataset, or "digits"; pictures are brought
    to the model's size. Where the model has labels, its data need them, and as many. Real and generated pictures pass the
    critic in one batch, pair by pair with the same label.
    """

    Options: ClassVar[OptionsClass] = TrainingOptions
    Config: ClassVar[OptionsClass] = NewModel

    def __init__(self, model: GAN, *, named: bool = True) -> None:
        if model.critic is None:
            raise InputError(
                "the model has no critic to train against; pass one: GAN(network, critic, latent=...)", field="model"
            )
        self.model = model
        self.device = model.device
        self.networks = {"generator": model.network, "critic": model.critic}
        self._named = named  # a new model takes the names of its labels from its data
        self._lecam = LeCam(model.device)
        self._read: ReadOnce[Pictures] = ReadOnce()
        self._labels: Tensor | None = None  # of the run's data

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
            return cls._new(NewModel.parse("gan", config), runtime.device(device))
        check_no_sizes(config, source)
        return cls(GAN.open(source, device=device, revision=revision))

    @classmethod
    def _new(cls, sizes: NewModel, device: str) -> Self:
        what = f"a new model of {sizes.size} pixels, {sizes.width} wide"
        with runtime.LentState(sizes.seed), runtime.memory_errors(what, "choose smaller sizes"):
            network, critic = new_networks(sizes)
            if sizes.init == "orthogonal":
                orthogonalise(network)
                orthogonalise(critic)
            network.to(device)
            critic.to(device)
        labels = [str(index) for index in range(sizes.classes)]
        return cls(GAN(network, critic, sizes=sizes, labels=labels, device=device), named=False)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all data, and refuse what cannot be used; the run then starts with what was read."""
        self._read.clear()
        for name, each in (("data", data), ("validation", validation)):
            if each is not None:
                self._pictures(each, name, fit.options)
        self._try_critic()

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        found, options = self._pictures(data, "data", fit.options), fit.options
        if not self._named:
            self.model.labels, self._named = found.names, True
        self._labels = None if found.labels is None else torch.from_numpy(found.labels)
        loop = Loop(self, fit, rows=len(found), precision=options.precision)
        players = _Players(self, loop, fit, found)
        for step in loop:
            with runtime.memory_errors(f"an update of {options.batch_size} pictures", REMEDY):
                for turn in range(options.n_critic):
                    critic_metrics = players.teach_critic((step - 1) * options.n_critic + turn)
                metrics = {**critic_metrics, **players.teach_generator()}
            yield loop.step(**metrics)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The distance between `data` and as many generated pictures with the same labels; also under the name "loss".

        It is the sliced Wasserstein distance of the pixels, from -1 to 1, within each label, and averaged over the
        pictures. It needs no judge, and sees colours, shapes and variety better than fine detail.
        """
        found = self._pictures(data, "validation", fit.options)
        latents = self.model.latents(len(found), seed=0)
        labels = None if found.labels is None else found.labels.tolist()
        made = np.stack([each.pixels for each in self.model.decode(latents, labels)])[..., : found.pixels.shape[3]]
        distance = sliced_wasserstein(found.pixels, made, found.labels)
        return {"loss": distance, "sliced_wasserstein": distance}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        with super().averaged():
            if self._loop is None:
                yield
                return
            with measured(self.model.network, self._batches):
                yield

    def settle(self) -> None:
        super().settle()
        if self._loop is not None:
            measure(self.model.network, self._batches)

    def preview(self, fit: Fit) -> list[Artifact]:
        """A square of pictures of fixed latents; a column per label where the model has labels."""
        columns = min(PREVIEWS, len(self.model.labels)) if self.model.labels else PREVIEWS
        columns = max(columns, 2)
        labels = [index % columns for index in range(columns**2)] if self.model.labels else None
        return [*self.model.decode(self.model.latents(columns**2, seed=0), labels)]

    def state_dict(self) -> dict[str, Any]:
        labels = list(self.model.labels) if self._named else None
        return {**super().state_dict(), "lecam": self._lecam.state_dict(), "labels": labels}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._lecam.load_state_dict(state["lecam"])
        if state["labels"] is not None:
            self.model.labels, self._named = tuple(state["labels"]), True

    def _batches(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Latents, and labels as frequent as in the data."""
        rng = runtime.rng(0)
        for _ in range(MEASURED):
            latents, labels = torch.randn(128, self.model.latent, generator=rng), self._labels
            if labels is not None:
                labels = labels[torch.randint(len(labels), (128,), generator=rng)].to(self.device)
            yield latents.to(self.device), labels

    def _pictures(self, data: Any, name: str, options: TrainingOptions) -> Pictures:
        """The pictures in `data`, read once."""
        return self._read.of(data, lambda: self._pictures_of(data, name, options))

    def _pictures_of(self, data: Any, name: str, options: TrainingOptions) -> Pictures:
        channels, height, width = self.model.shape
        size = height if height == width else None
        found = pictures(data, size=size, channels=channels, corrupt=options.corrupt, name=name)
        if found.pixels.shape[1:3] != (height, width):
            got = "x".join(map(str, found.pixels.shape[2:0:-1]))
            raise DataError(f"{name} has pictures of {got}, the networks make {width}x{height}", field=name)
        return labelled(found, self.model.labels, named=self._named, name=name)

    def _try_critic(self) -> None:
        """Refuse networks of the user's own that do not learn, and a critic that cannot read what the generator makes."""
        if self.model.sizes is not None:
            return
        for name, network in self.networks.items():
            if not any(each.requires_grad for each in network.parameters()):
                raise InputError(f"the {name} {type(network).__name__} has no weights that can be trained", field=name)
        critic, shape = self.networks["critic"], self.model.shape
        labels = torch.zeros(2, dtype=torch.long, device=self.device) if self.model.labels else None
        try:
            with torch.no_grad():
                scores = critic(torch.zeros(2, *shape, device=self.device), labels)
        except Exception as error:  # whatever a module of the user's own raises
            raise InputError(
                f"{type(critic).__name__} cannot read pictures of {'x'.join(map(str, shape))}, channels first: "
                f"{type(error).__name__}: {error}",
                field="critic",
            ) from error
        if not isinstance(scores, Tensor) or scores.shape != (2,):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise InputError(
                f"{type(critic).__name__} gives {got} for two pictures; give one score each, (2,)", field="critic"
            )


class _Players:
    """One update of each network in a run."""

    def __init__(self, trainer: GANTrainer, loop: Loop, fit: Fit, found: Pictures) -> None:
        options: TrainingOptions = fit.options
        self.trainer, self.loop, self.options, self.found = trainer, loop, options, found
        rates = {"generator": options.learning_rate, "critic": options.critic_learning_rate or options.learning_rate}
        updates = {"generator": fit.max_steps, "critic": fit.max_steps * options.n_critic}

        def trained(name: str, ema: float | None = None) -> nn.Module:
            adam = torch.optim.Adam(trainer.networks[name].parameters(), rates[name], options.betas, fused=True)
            falls = schedule(options.schedule, updates[name], hold=options.hold, final=options.final_rate)
            return loop.trains(name, adam, clip_norm=options.clip_norm, schedule=falls, ema=ema)

        self.generator, self.critic = trained("generator", options.ema_decay), trained("critic")

    def teach_critic(self, update: int) -> dict[str, Tensor]:
        """Update the critic on a new batch; `update` is how many it has had."""
        options, loop = self.options, self.loop
        [rows] = loop.parts(loop.draw(options.batch_size))
        self.real, self.labels = self._batch(rows)
        latents = torch.randn(len(rows), self.trainer.model.latent, device=self.trainer.device)
        with loop.autocast():
            self.fake = self.generator(latents, self.labels)
        real, fake = self._shown(self.real), self._shown(self.fake.detach())
        real_scores, fake_scores = self._scores(torch.cat([real, fake])).chunk(2)
        losses = critic_loss(options.loss, real_scores, fake_scores)
        penalties = self._penalties(update, real, fake, real_scores, fake_scores)
        loop.backward((losses + penalties).sum() / options.batch_size, "critic")
        loop.update("critic")
        if options.weight_clip is not None:
            clip_weights(self.critic, options.weight_clip)
        sums = {"critic_loss": losses, "real_score": real_scores, "fake_score": fake_scores}
        return {name: each.detach().sum() / options.batch_size for name, each in sums.items()}

    def teach_generator(self) -> dict[str, Tensor]:
        """Update the generator with the pictures that the critic saw last."""
        options = self.options
        fake = self._shown(self.fake)
        if options.loss == "relativistic":
            real_scores, fake_scores = self._scores(torch.cat([self._shown(self.real), fake])).chunk(2)
        else:
            real_scores = fake_scores = self._scores(fake)
        loss = generator_loss(options.loss, real_scores, fake_scores).sum() / options.batch_size
        self.loop.backward(loss, "generator")
        self.loop.update("generator")
        return {"generator_loss": loss.detach()}

    def _batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        device = self.trainer.device
        images = augmented(to_tensor(self.found.pixels[rows]).to(device), self.options)
        labels = None if self.found.labels is None else torch.from_numpy(self.found.labels[rows]).to(device)
        return images, labels

    def _shown(self, images: Tensor) -> Tensor:
        """What the critic sees of pictures: real ones and generated ones change in the same ways, by draws of their own."""
        options = self.options
        return diff_augmented(
            images.float(), translation=options.translation, cutout=options.cutout, color=options.color
        )

    def _scores(self, images: Tensor) -> Tensor:
        labels = self.labels
        if labels is not None:
            labels = labels.repeat(len(images) // len(labels))
        with self.loop.autocast():
            scores: Tensor = self.critic(images, labels)
        return scores.float()

    def _penalties(self, update: int, real: Tensor, fake: Tensor, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """All penalties together, per pair; gradients of gradients are taken in float32."""
        options, critic, labels = self.options, self.critic, self.labels
        total = torch.zeros_like(real_scores)
        if options.gradient_penalty:
            total = total + options.gradient_penalty * gradient_penalty(critic, real, fake, labels)
        if update % options.lazy == 0:
            if options.r1:
                total = total + options.lazy * options.r1 * squared_gradient(critic, real, labels)
            if options.r2:
                total = total + options.lazy * options.r2 * squared_gradient(critic, fake, labels)
        if options.lecam:
            total = total + options.lecam * self.trainer._lecam(real_scores, fake_scores)
        return total
