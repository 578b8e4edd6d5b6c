"""The generator: pictures from latents, latents from pictures, and what one can do with both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk import calls, folder, runtime
from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError, InputError, NotOffered, OptionError
from aigc_sdk.labels import Label, LabelOption, known, label_index
from aigc_sdk.protocols import Device, DType, Generator, Job, Options, OptionsClass, Source, Step
from aigc_sdk.training.images import pictures, to_tensor
from aigc_sdk.weights import fill, on_meta, write_module

from .coding import Coding, checked
from .fitted import Mixture, fit
from .gaussian import Gaussian
from .measure import measure
from .network import GaussianNetwork, Sizes, VQNetwork, new_network
from .pack import pack, unpack
from .stored import COMPONENTS_LIMIT, check_own, described

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Latents: TypeAlias = NDArray[np.float32] | NDArray[np.int64]

DEFAULT = Path(__file__).parent / "default"
FITTED = "fitted"  # the folder inside a model's folder that holds the fitted sampler
DRAWS_LIMIT = 1_000_000

Labels = Label | Sequence[Label]


class Drawing(Options):
    """How pictures are drawn."""

    label: LabelOption = Field(
        None, description="a label's name or, where none is called so, its number; none: each picture draws its own"
    )
    sampler: Literal["auto", "prior", "fitted"] = Field(
        "auto",
        description="where latents come from: the prior, or Gaussians fitted to what the training data encode to",
    )
    temperature: float = Field(
        1.0, gt=0, le=100, description="spread of the latents; less is more typical and less varied"
    )


class VAE(Coding, Generator[Image]):
    """Pictures from a variational autoencoder.

        model = aigc_sdk.load("vae")               # the model that this package brings: handwritten digits
        model = aigc_sdk.load("vae", "runs/mine")  # a folder
        model.generate(n=16, label="3", seed=0)

    An image's `info["label"]` is its label. Methods take pictures as `aigc_sdk.training.images.pictures` reads them: an
    Image, a list of them, an array, a folder. Those of a folder or of a data set's name are brought to the model's size;
    all others must have it. Where the model has labels, pictures need theirs: in the data, or as `label`, one for all or
    one each. An encoder and a decoder of your own stand in `VAE(GaussianNetwork(sizes, encoder, decoder), sizes=sizes)`.
    network, sizes: what was built, and by what. labels: their names. fitted: the sampler of that name.
    """

    Options: ClassVar[OptionsClass] = Drawing
    prompt_types = (type(None),)
    owns_randomness = True
    backend = "vae"

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        dtype: "float32" or "bfloat16", to compute in. encoder, decoder: modules of your own, where the folder is of such;
        they get its weights. Raises FolderError, DeviceError or OptionError.
        """
        kind, place = runtime.dtype(dtype), runtime.device(device)
        default = source is None or source == "default"
        opened = folder.read(DEFAULT if default or source is None else source, backend="vae", revision=revision)
        sizes, labels, components = described(opened)
        check_own(opened, encoder, decoder)
        with on_meta():
            network = new_network(sizes, encoder, decoder)
            fitted = Mixture(max(1, len(labels)), components, sizes.latent) if components else None
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model"):
            fill(network, opened.path, place, kind)
            if fitted is not None:
                fill(fitted, opened.path / FITTED, "cpu", torch.float32)
        return cls(
            network,
            sizes=sizes,
            labels=labels,
            fitted=fitted,
            device=place,
            dtype=dtype,
            source="" if default else opened.source,
        )

    def check(self, job: Job) -> None:
        """Refuse a label that the model does not know, and a sampler that it does not have."""
        self.label_index(job.options.label)
        self._sampler(job.options.sampler)

    def fingerprint(self) -> str:
        """A digest of the weights as they are now, the fitted sampler's included."""
        own = runtime.fingerprint(self.network)
        return own if self.fitted is None else runtime.tensor_digest(_named(own, self.fitted))

    def run(self, job: Job) -> Iterator[Image]:
        """Draw each item's latent and label from its own stream, and make groups of pictures."""
        options: Drawing = job.options
        wanted, seeds, done = self.label_index(options.label), job.seeds, 0
        for start in range(0, len(seeds), self._group):
            draws = [self._draw(seed) for seed in seeds[start : start + self._group]]
            chosen = [draw.label if wanted is None else wanted for draw in draws]
            images = self._made(self._latents(draws, chosen, options.sampler, options.temperature), chosen)
            done += len(images)
            job.on_step(Step(done, len(seeds)))
            for index, image in enumerate(images):
                yield Image(image.pixels, sample=start + index, info=image.info)

    def latents(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        label: Label = None,
        sampler: Literal["auto", "prior", "fitted"] = "auto",
        temperature: float = 1.0,
    ) -> Latents:
        """The latents of `generate(n=n, seed=seed, label=label, ...)`, as `decode` takes them."""
        options = Drawing.parse("vae", {"label": label, "sampler": sampler, "temperature": temperature})
        calls.check_count("n", n, calls.SAMPLES_LIMIT)
        calls.check_seed(seed)
        wanted = self.label_index(options.label)
        self._sampler(options.sampler)
        draws = [self._draw(calls.item_seed(seed, index)) for index in range(n)]
        chosen = [draw.label if wanted is None else wanted for draw in draws]
        found = self._latents(draws, chosen, options.sampler, options.temperature)
        return _array(found)

    def encode(self, images: Any, label: Labels = None) -> Latents:
        """The means of the latents of pictures, float32, n x latent; with kind="vq", their codes, int64, n x grid x grid."""
        found = self._encoded(*self.read(images, label))
        return _array(found.mean if isinstance(found, Gaussian) else found)

    def decode(self, latents: Any, label: Labels = None) -> list[Image]:
        """The pictures of latents, as `encode` gives them; label: one for all, or one each.

        Raises InputError for latents of another shape, and OptionError for a label that is missing or unknown.
        """
        given = checked(latents, self.network, self.sizes)
        return self._made(given, self._labels(label, len(given), "latents"))

    def reconstruct(self, images: Any, label: Labels = None) -> list[Image]:
        """What is left of pictures that are encoded and decoded."""
        pixels, labels = self.read(images, label)
        found = self._encoded(pixels, labels)
        return self._made(
            found.mean.cpu() if isinstance(found, Gaussian) else found.cpu(), _listed(labels, len(pixels))
        )

    def interpolate(self, first: Any, last: Any, steps: int = 8, *, label: Label = None) -> list[Image]:
        """`steps` pictures from one to another, along the line between their latents."""
        self._needs_gaussians("interpolate")
        calls.check_count("steps", steps, calls.SAMPLES_LIMIT)
        ends = [self.read(each, label, name=name) for each, name in ((first, "first"), (last, "last"))]
        for (pixels, _), name in zip(ends, ("first", "last"), strict=True):
            _one(pixels, name)
        latents = torch.cat([self._gaussians(*each).mean for each in ends]).cpu()
        along = torch.linspace(0, 1, steps)[:, None]
        return self._made(torch.lerp(latents[:1], latents[1:], along), _listed(ends[0][1], 1) * steps)

    def traverse(
        self,
        image: Any = None,
        *,
        label: Label = None,
        latents: Sequence[int] | None = None,
        steps: int = 8,
        span: float = 3.0,
        seed: int = 0,
    ) -> list[Image]:
        """Pictures that differ in one latent at a time: a row of `steps` for each of `latents`, or for all.

        In a row that latent goes from -span to span, and the others stay as they are in `image` or, without one, in the
        picture of `seed`. `aigc_sdk.media.grid(images, columns=steps)` shows the rows.
        """
        self._needs_gaussians("traverse")
        calls.check_count("steps", steps, calls.SAMPLES_LIMIT)
        if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span <= 100:
            raise OptionError(f"span={span!r}: give a number above 0, at most 100", field="span")
        chosen = range(self.latent) if latents is None else latents
        if not isinstance(chosen, Sequence) or not len(chosen):
            raise OptionError(
                f"latents={latents!r}: give a list of numbers from 0 to {self.latent - 1}, or None for all",
                field="latents",
            )
        for each in chosen:
            if isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < self.latent:
                raise OptionError(f"latents holds {each!r}; the model has 0 to {self.latent - 1}", field="latents")
        start, its = self._start(image, label, seed)
        rows = start.repeat(len(chosen), steps, 1)  # (rows, steps, latent)
        for row, each in enumerate(chosen):
            rows[row, :, each] = torch.linspace(-span, span, steps)
        return self._made(rows.flatten(0, 1), [its] * (len(chosen) * steps))

    def anomaly(self, images: Any, label: Labels = None, *, draws: int = 16, seed: int = 0) -> NDArray[np.float64]:
        """How badly the model explains each picture, (n,): the negative evidence bound, in nats; more is stranger.

        Where the model has labels and a picture has none, it is that of the label that explains it best.
        """
        calls.check_count("draws", draws, DRAWS_LIMIT)
        calls.check_seed(seed)
        pixels, labels = self.read(images, label, needs_labels=False)
        if labels is not None or not self.labels:
            return -measure(self.network, pixels, labels, draws, seed).elbo
        tried = [torch.full((len(pixels),), index, device=self.device) for index in range(len(self.labels))]
        bounds = np.stack([measure(self.network, pixels, each, draws, seed).elbo for each in tried])
        best: NDArray[np.float64] = bounds.max(0)
        return -best

    def compress(self, image: Any) -> bytes:
        """A picture as bytes: its codes, each in the fewest bits that tell all codes apart, after five bytes of head.

        `decompress` gives back what `reconstruct` gives, exactly. Raises NotOffered for a model without codes.
        """
        network = self._codes("compress")
        pixels, _ = self.read(image, None, needs_labels=False, name="image")
        codes = self._encoded(_one(pixels, "image"), None)
        return pack(cast(Tensor, codes).cpu().numpy(), len(network.codebook.entries), runtime.fingerprint(network))

    def decompress(self, data: bytes) -> Image:
        """The picture that `compress` made bytes of; `info["bits_per_pixel"]` is what it takes, the head included.

        Raises DataError for bytes that are damaged or another model's.
        """
        network = self._codes("decompress")
        grid = self.sizes.grid
        codes = unpack(data, grid**2, len(network.codebook.entries), runtime.fingerprint(network))
        [image] = self._made(torch.from_numpy(codes).view(1, grid, grid), [None])
        return Image(image.pixels, info={"bits_per_pixel": 8 * len(data) / self.sizes.size**2})

    def fit_sampler(self, images: Any, label: Labels = None, *, components: int | None = None) -> None:
        """Fit the sampler "fitted" to what pictures encode to: a mixture of `components` Gaussians for each label.

        components: None is one where there are labels, and ten where there are none. The trainer does this by itself.
        """
        self._needs_gaussians("fit_sampler")
        count = (
            (1 if self.labels else 10)
            if components is None
            else calls.check_count("components", components, COMPONENTS_LIMIT)
        )
        pixels, labels = self.read(images, label)
        self.fitted = fit(self._gaussians(pixels, labels), labels, len(self.labels), count)

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, the fitted sampler included."""
        with folder.writing(folder_, backend="vae", role="generator", fingerprint=self.fingerprint()) as path:
            config = {
                "model_type": "aigc_vae",
                "sizes": self.sizes.model_dump(include=set(Sizes.model_fields)),
                "labels": self.labels,
                "own": isinstance(self.network, GaussianNetwork) and self.network.own,
                "components": 0 if self.fitted is None else self.fitted.weights.shape[1],
            }
            (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            write_module(self.network, path)
            if self.fitted is not None:
                write_module(self.fitted, path / FITTED)

    def to(self, device: Device) -> Self:
        """Move the model to `device`."""
        self.device = runtime.device(device)
        self.network.to(self.device)
        return self

    def label_index(self, label: Label) -> int | None:
        """The number of a label that is given by name or number; None for None. Raises OptionError."""
        return label_index(label, self.labels, "vae")

    def read(
        self,
        images: Any,
        label: Labels = None,
        *,
        needs_labels: bool = True,
        name: str = "images",
    ) -> tuple[Tensor, Tensor | None]:
        """Pictures in [-1, 1], n x channels x height x width, and their labels (n,) where the model has any.

        Raises DataError for pictures of another size, or labels that are missing or unknown.
        """
        given = [images] if isinstance(images, Image) else images
        size = self.sizes.size if isinstance(given, str | Path) else None
        found = pictures(given, size=size, channels=cast(Any, self.shape[0]), name=name)
        height, width = found.pixels.shape[1:3]
        if (height, width) != self.shape[1:]:
            raise DataError(
                f"{name}: {width}x{height} pixels, the model's pictures have {self.shape[2]}x{self.shape[1]}; resize them",
                field=name,
            )
        pixels = to_tensor(found.pixels).to(self.device)
        if label is not None:
            its: list[int | None] = self._labels(label, len(pixels), name)
        elif self.labels and found.labels is not None:
            places = [self.label_index(each) for each in found.names]
            its = [places[index] for index in found.labels]
        elif self.labels and needs_labels and isinstance(self.network, GaussianNetwork):
            raise OptionError(
                f"{name}: the pictures have no labels, and the model needs them; pass label=. {known(self.labels)}",
                field="label",
            )
        else:
            return pixels, None
        return pixels, torch.tensor(cast(list[int], its), device=self.device)

    def _start(self, image: Any, label: Label, seed: int) -> tuple[Tensor, int | None]:
        """The latent (latent,) and the label of an image, or of a seed."""
        if image is not None:
            pixels, labels = self.read(image, label, name="image")
            return self._gaussians(_one(pixels, "image"), labels).mean[0].cpu(), _listed(labels, 1)[0]
        draw = self._draw(calls.check_seed(seed))
        wanted = self.label_index(label)
        chosen = draw.label if wanted is None else wanted
        return self._latents([draw], [chosen], "auto", 1.0)[0], chosen

    def _labels(self, label: Labels, n: int, name: str) -> list[int | None]:
        """The label of each of `n`; label: one for all, or one each."""
        each: list[Label] = [cast(Label, label)] * n if np.ndim(cast(Any, label)) == 0 else [*cast(Any, label)]
        if len(each) != n:
            raise InputError(f"{name}: {len(each)} labels for {n}; pass one label, or one each", field="label")
        chosen = [self.label_index(one) for one in each]
        if self.labels and isinstance(self.network, GaussianNetwork) and None in chosen:
            raise OptionError(
                f"{name}: some have no label of their own; pass label=. {known(self.labels)}", field="label"
            )
        return chosen

    def _needs_gaussians(self, what: str) -> None:
        if isinstance(self.network, VQNetwork):
            raise NotOffered(f"{what} needs Gaussian latents, and this model has codes; use a model of kind='gaussian'")

    def _codes(self, what: str) -> VQNetwork:
        if not isinstance(self.network, VQNetwork):
            raise NotOffered(f"{what} needs codes, and this model has Gaussian latents; use a model of kind='vq'")
        return self.network


def _named(digest: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's tensors, and a digest among them."""
    return {"": torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8), **module.state_dict()}


def _array(latents: Tensor) -> Latents:
    found: Latents = latents.cpu().numpy()
    return found


def _one(pixels: Tensor, name: str) -> Tensor:
    if len(pixels) != 1:
        raise DataError(f"{name} holds {len(pixels)} pictures; pass one", field=name)
    return pixels


def _listed(labels: Tensor | None, n: int) -> list[int | None]:
    return [None] * n if labels is None else labels.tolist()
