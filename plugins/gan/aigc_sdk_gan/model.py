"""The generator: pictures from latents, and what one can do with latents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk import calls, folder, runtime
from aigc_sdk.artifacts import Image
from aigc_sdk.drawing import drawn, group_size
from aigc_sdk.errors import DataError, InputError, MismatchedFolder, NotOffered, OptionError
from aigc_sdk.labels import Label, LabelOption, known, label_index
from aigc_sdk.protocols import Device, DType, Generator, Job, Options, OptionsClass, Source, Step
from aigc_sdk.training.images import pictures, to_tensor
from aigc_sdk.weights import fill, on_meta, write_module

from .invert import Projection, nearest_latent
from .latents import arc, draw, semantic_directions
from .network import Sizes, new_networks
from .stored import described

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT = Path(__file__).parent / "default"
CRITIC = "critic"  # the folder inside a model's folder; it is there to train the model further
STEPS_LIMIT = 100_000


class Drawing(Options):
    """How pictures are drawn."""

    label: LabelOption = Field(
        None, description="a label's name or, where none is called so, its number; none: each picture draws its own"
    )
    truncation: float | None = Field(
        None, gt=0, le=100, description="farthest a latent's numbers go from 0: less is more typical and less varied"
    )


class GAN(Generator[Image]):
    """Pictures from a generative adversarial network.

        model = aigc_sdk.load("gan")               # the model that this package brings: handwritten digits
        model = aigc_sdk.load("gan", "runs/mine")  # a folder
        model.generate(n=16, label="3", seed=0)

    An image's `info["label"]` is its label. network: latents n x latent, and labels (n,) or None, to pictures in [-1, 1],
    n x channels x height x width. critic: what it was trained against; such pictures and labels to scores (n,). labels:
    their names. sizes: what the networks were made by. Networks of your own have none: give `latent`, how many numbers
    their latents have; a folder of theirs opens with them, as `GAN.open(folder, network=..., critic=...)`.
    """

    Options: ClassVar[OptionsClass] = Drawing
    prompt_types = (type(None),)
    owns_randomness = True
    backend = "gan"

    def __init__(
        self,
        network: nn.Module,
        critic: nn.Module | None = None,
        *,
        sizes: Sizes | None = None,
        latent: int | None = None,
        labels: Sequence[str] = (),
        device: str = "cpu",
        dtype: DType = "float32",
        source: str = "",
    ) -> None:
        self.network = network.eval()
        self.critic = critic if critic is None else critic.eval()
        self.sizes = sizes
        self.labels = tuple(labels)
        self.device = device
        self.dtype = dtype
        self.source = source
        if sizes is not None:
            self.latent = sizes.latent
            self.shape: tuple[Literal[1, 3], int, int] = (sizes.channels, sizes.size, sizes.size)
        elif latent is None or latent < 1:
            message = f"latent={latent!r}: say how many numbers the latents of your network have"
            raise OptionError(message, field="latent")
        else:
            self.latent = latent
            self.shape = self._tried()

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        network: nn.Module | None = None,
        critic: nn.Module | None = None,
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        dtype: "float32" or "bfloat16", to compute in. network, critic: modules of your own, where the folder is of such;
        they get its weights. Raises FolderError, DeviceError or OptionError.
        """
        kind, place = runtime.dtype(dtype), runtime.device(device)
        default = source is None or source == "default"
        opened = folder.read(DEFAULT if default or source is None else source, backend="gan", revision=revision)
        sizes, latent, labels = described(opened)
        if sizes is not None:
            with on_meta():
                network, critic = new_networks(sizes)
        elif network is None:
            raise MismatchedFolder(
                f"{opened.path} has weights of networks that are not this package's; pass them: "
                "aigc_sdk_gan.model.GAN.open(folder, network=..., critic=...)"
            )
        has_critic = (opened.path / CRITIC).is_dir()
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model"):
            fill(network, opened.path, place, kind)
            if critic is not None and has_critic:
                fill(critic, opened.path / CRITIC, place, torch.float32)
        return cls(
            network,
            critic if has_critic else None,
            sizes=sizes,
            latent=latent,
            labels=labels,
            device=place,
            dtype=dtype,
            source="" if default else opened.source,
        )

    def check(self, job: Job) -> None:
        """Refuse a label that the model does not know."""
        self.label_index(job.options.label)

    def fingerprint(self) -> str:
        """A digest of the weights as they are now."""
        return runtime.fingerprint(self.network)

    def run(self, job: Job) -> Iterator[Image]:
        """Draw each item's latent and label from its own stream, and make groups of pictures."""
        wanted, seeds, done = self.label_index(job.options.label), job.seeds, 0
        group = group_size(self.shape)
        for start in range(0, len(seeds), group):
            drawn = [self._drawn(seed, job.options.truncation) for seed in seeds[start : start + group]]
            chosen = [own if wanted is None else wanted for _, own in drawn]
            images = self._made(torch.stack([latent for latent, _ in drawn]), chosen)
            done += len(images)
            job.on_step(Step(done, len(seeds)))
            for index, image in enumerate(images):
                yield Image(image.pixels, sample=start + index, info=image.info)

    def latents(self, n: int, *, seed: int = 0, truncation: float | None = None) -> NDArray[np.float32]:
        """The latents of `generate(n=n, seed=seed, truncation=truncation)`, n x latent."""
        Drawing.parse("gan", {"truncation": truncation})
        calls.check_count("n", n, calls.SAMPLES_LIMIT)
        calls.check_seed(seed)
        seeds = [calls.item_seed(seed, index) for index in range(n)]
        return torch.stack([self._drawn(each, truncation)[0] for each in seeds]).numpy()

    def decode(self, latents: Any, label: Label | Sequence[Label] = None) -> list[Image]:
        """The pictures of latents, n x latent; label: one for all, or one each.

        Raises InputError for latents of another shape, and OptionError for a label that is missing or unknown.
        """
        given = self._checked(latents)
        each = (
            list(label)
            if isinstance(label, Sequence | np.ndarray) and not isinstance(label, str)
            else [label] * len(given)
        )
        if len(each) != len(given):
            raise InputError(f"{len(each)} labels for {len(given)} latents; pass one label, or one each", field="label")
        chosen = [self.label_index(one) for one in each]
        if self.labels and None in chosen:
            raise OptionError(f"a latent has no label of its own; pass label=. {known(self.labels)}", field="label")
        return self._made(given, [one or 0 for one in chosen])

    def interpolate(
        self, seed_a: int, seed_b: int, steps: int = 8, *, label: Label = None, truncation: float | None = None
    ) -> list[Image]:
        """`steps` pictures from that of `seed_a` to that of `seed_b`, along an arc between their latents.

        label: of all of them; None: the one that `seed_a` draws.
        """
        calls.check_count("steps", steps, calls.SAMPLES_LIMIT)
        [first], [last] = (self.latents(1, seed=seed, truncation=truncation) for seed in (seed_a, seed_b))
        wanted = self.label_index(label)
        chosen = self._drawn(seed_a, truncation)[1] if wanted is None else wanted
        return self._made(arc(torch.from_numpy(first), torch.from_numpy(last), steps), [chosen] * steps)

    def mix(self, seed_a: int, seed_b: int, *, label: Label = None, truncation: float | None = None) -> list[Image]:
        """The picture of `seed_a`, then ever more of its latent's parts taken from `seed_b`, the finest first.

        Fine parts bring over textures and strokes, coarse ones shapes; the last picture is that of `seed_b` with the label.
        label: of all; None: the one that `seed_a` draws. Raises NotOffered for a model without skip_latents, whose latent
        enters at one place.
        """
        if self.sizes is None or not self.sizes.skip_latents:
            raise NotOffered(
                "this model's latent enters at one place; train one with skip_latents=True to mix pictures"
            )
        parts = self.sizes.parts
        [coarse], [fine] = (self.latents(1, seed=seed, truncation=truncation) for seed in (seed_a, seed_b))
        mixed = [
            np.r_[coarse[:kept], fine[kept:]] for kept in (sum(parts[:count]) for count in range(len(parts), -1, -1))
        ]
        wanted = self.label_index(label)
        chosen = self._drawn(seed_a, truncation)[1] if wanted is None else wanted
        return self._made(torch.from_numpy(np.stack(mixed)), [chosen] * len(mixed))

    def directions(self, k: int = 5) -> NDArray[np.float32]:
        """The `k` directions (k x latent) in which a latent's picture changes most, the strongest first (SeFa).

        `model.decode(latents + 2 * model.directions()[0], label)` goes along the first. Raises NotOffered for a model
        with skip_latents, and for a network of your own whose first layer is not a Linear called `stem`.
        """
        stem = getattr(self.network, "stem", None)
        if self.sizes is not None and self.sizes.skip_latents:
            raise NotOffered(
                "this model's latent enters at several places, so its directions have no one matrix; see mix"
            )
        if not isinstance(stem, nn.Linear) or stem.in_features < self.latent:
            raise NotOffered(
                f"{type(self.network).__name__} has no Linear called 'stem' that takes the latent, so its directions have "
                "no closed form"
            )
        calls.check_count("k", k, self.latent)
        return semantic_directions(stem.weight.detach().cpu()[:, : self.latent], k).numpy()

    def project(
        self,
        image: Image,
        steps: int = 200,
        *,
        label: Label = None,
        seed: int = 0,
        on_step: Callable[[Step], None] | None = None,
    ) -> Projection:
        """The latent whose picture comes nearest to `image`, by `steps` of gradient descent from several starts.

        label: the picture's; None tries all. Raises DataError for a picture of another size than the model's.
        """
        calls.check_count("steps", steps, STEPS_LIMIT)
        if not isinstance(image, Image):
            raise DataError(f"image is a {type(image).__name__}; pass one aigc_sdk.Image", field="image")
        found = pictures([image], channels=self.shape[0], name="image")
        if found.pixels.shape[1:3] != self.shape[1:]:
            height, width = found.pixels.shape[1:3]
            raise DataError(
                f"image is {width}x{height}, the model makes {self.shape[2]}x{self.shape[1]}; resize it first",
                field="image",
            )
        wanted = self.label_index(label)
        tried = list(range(len(self.labels))) if wanted is None else [wanted]
        watch = calls.watcher(on_step, self)
        self.network.eval()
        with torch.inference_mode(False), torch.enable_grad():
            latent, index, error = nearest_latent(
                self._decoded,
                to_tensor(found.pixels).to(self.device),
                self.latent,
                torch.tensor(tried, device=self.device) if self.labels else None,
                steps,
                runtime.rng(calls.check_seed(seed)),
                lambda step: watch(Step(step, steps)),
            )
        chosen = 0 if index is None else int(index)
        [made] = self._made(latent.cpu()[None], [chosen])
        name = self.labels[chosen] if self.labels else None
        return Projection(latent.cpu().numpy(), name, made, 127.5 * error**0.5)

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, the critic included."""
        with folder.writing(folder_, backend="gan", role="generator", fingerprint=self.fingerprint()) as path:
            own = None if self.sizes else {"latent": self.latent, "shape": list(self.shape)}
            sizes = self.sizes.model_dump(include=set(Sizes.model_fields)) if self.sizes else None
            config = {"model_type": "aigc_gan", "sizes": sizes, "own": own, "labels": self.labels}
            (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            write_module(self.network, path)
            if self.critic is not None:
                write_module(self.critic, path / CRITIC)

    def to(self, device: Device) -> Self:
        """Move the model to `device`."""
        self.device = runtime.device(device)
        self.network.to(self.device)
        if self.critic is not None:
            self.critic.to(self.device)
        return self

    def label_index(self, label: Label) -> int | None:
        """The number of a label that is given by name or number; None for None. Raises OptionError."""
        return label_index(label, self.labels, "gan")

    def _drawn(self, seed: int, truncation: float | None) -> tuple[Tensor, int]:
        """The latent and the label that a seed draws."""
        rng = runtime.rng(seed)
        latent = draw(self.latent, rng, truncation)
        return latent, int(torch.randint(max(1, len(self.labels)), (), generator=rng))

    def _made(self, latents: Tensor, labels: Sequence[int]) -> list[Image]:
        """The pictures of latents (n, latent) on the CPU."""
        self.network.eval()
        told, group = bool(self.labels), group_size(self.shape)
        return drawn(self._decoded, latents, labels, names=self.labels, told=told, group=group, device=self.device)

    def _decoded(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Pictures in [-1, 1] as float32."""
        made: Tensor = self.network(latents.to(runtime.dtype(self.dtype)), labels)
        return made.float()

    def _checked(self, latents: Any) -> Tensor:
        try:
            given = torch.from_numpy(np.asarray(latents).astype(np.float32, casting="same_kind"))
        except (TypeError, ValueError) as error:
            raise InputError(f"latents are no array of numbers: {error}", field="latents") from error
        if given.ndim != 2 or given.shape[1] != self.latent or not len(given):
            raise InputError(
                f"latents have the shape {tuple(given.shape)}; give n x {self.latent}, as `latents(n)` does",
                field="latents",
            )
        if not given.isfinite().all():
            raise InputError("latents hold NaN or infinity; give finite numbers", field="latents")
        return given

    def _tried(self) -> tuple[Literal[1, 3], int, int]:
        """The shape of what a network of the user's own makes. Raises InputError when it makes no pictures."""
        label = torch.zeros(2, dtype=torch.long, device=self.device) if self.labels else None
        try:
            with torch.no_grad():
                made = self.network(torch.zeros(2, self.latent, device=self.device), label)
        except Exception as error:  # whatever a module of the user's own raises
            raise InputError(
                f"{type(self.network).__name__} cannot be called with latents 2 x {self.latent} and "
                f"{'labels (2,)' if self.labels else 'None'}: {type(error).__name__}: {error}",
                field="network",
            ) from error
        if not isinstance(made, Tensor) or made.ndim != 4 or len(made) != 2 or made.shape[1] not in (1, 3):
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise InputError(
                f"{type(self.network).__name__} makes {got} of two latents; make 2 x channels (1 or 3) x height x width",
                field="network",
            )
        return (1 if made.shape[1] == 1 else 3), int(made.shape[2]), int(made.shape[3])
