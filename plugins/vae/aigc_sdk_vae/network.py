"""The networks: encoders and decoders, convolutional or plain, and what makes a VAE or a VQ-VAE of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, Self, cast

import pydantic
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk.errors import InputError
from aigc_sdk.protocols import Options

from .codebook import Codebook, CodePrior
from .gaussian import Gaussian, standard_log_density
from .likelihood import Bernoulli, GaussianPixels, LogisticPixels, PixelLikelihood

BOTTOM = 4  # pixels; sides are halved while they are even and longer
FEATURES = 128  # of a picture as a whole
ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh}
PRECISE = 8.0  # largest size of a log variance: beyond it exp() tells nothing


class Sizes(Options):
    """What a network is made by; the defaults are those of the default model."""

    kind: Literal["gaussian", "vq"] = Field(
        "gaussian", description="latents: a vector of Gaussians, or a grid of entries of a codebook (VQ-VAE)"
    )
    architecture: Literal["conv", "mlp"] = Field("conv", description="convolutions, or layers that see all pixels")
    size: int = Field(16, ge=2, le=256, description="side of the pictures, in pixels")
    channels: Literal[1, 3] = Field(1, description="1: grey, 3: RGB")
    classes: int = Field(10, ge=0, le=100_000, description="how many labels there are; 0: pictures without labels")
    latent: int = Field(
        16, ge=1, le=4096, description="numbers in a latent; with kind='vq', in an entry of the codebook"
    )
    width: int = Field(32, ge=1, le=4096, description="features at half resolution; of mlp: of each hidden layer")
    depth: int = Field(1, ge=0, le=16, description="blocks per resolution, or hidden layers; an mlp of 0 is linear")
    activation: Literal["silu", "relu", "tanh"] = Field("silu", description="between the layers of an mlp")
    likelihood: Literal["gaussian", "logistic", "bernoulli"] = Field(
        "gaussian", description="of pixels: real numbers, 256 values (discretised logistic), or on and off"
    )
    variance: Literal["shared", "predicted"] = Field(
        "shared", description="scale of gaussian and logistic: one number, learnt, or one per pixel from the decoder"
    )
    prior: Literal["normal", "vamp"] = Field(
        "normal", description="of Gaussian latents: standard normal, or what learnt pseudo-inputs encode to (VAMP)"
    )
    pseudo_inputs: int = Field(200, ge=1, le=10_000, description="of prior='vamp'")
    codes: int = Field(64, ge=2, le=65_536, description="entries of the codebook, of kind='vq'")

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.classes == 1:
            raise ValueError("classes=1: one label tells nothing; use 0 for pictures without labels")
        if self.architecture == "conv" and not self.halvings:
            raise ValueError(
                f"size={self.size}: convolutions halve the side, so it must be even and at least 6; resize, or use "
                "architecture='mlp'"
            )
        if self.architecture == "conv" and self.depth == 0:
            raise ValueError("depth=0 is of architecture='mlp'; convolutions need at least 1")
        if self.architecture == "conv" and self.activation != "silu":
            raise ValueError(f"activation={self.activation!r} is of architecture='mlp'; leave it out")
        if self.likelihood == "bernoulli" and self.variance == "predicted":
            raise ValueError(
                "variance='predicted' is of gaussian and logistic pixels; leave it out, or change likelihood"
            )
        if self.kind == "vq" and (self.architecture == "mlp" or self.prior == "vamp"):
            raise ValueError("kind='vq' needs architecture='conv', and learns a prior over codes of its own")
        if self.prior == "vamp" and self.pseudo_inputs < self.classes:
            raise ValueError(f"pseudo_inputs={self.pseudo_inputs}: each of the {self.classes} labels needs one")
        return self

    @property
    def halvings(self) -> int:
        """How often the side is halved."""
        side, count = self.size, 0
        while side % 2 == 0 and side > BOTTOM:
            side, count = side // 2, count + 1
        return count

    @property
    def grid(self) -> int:
        """The side of the smallest feature map."""
        return self.size >> self.halvings

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a picture: channels, height, width."""
        return self.channels, self.size, self.size

    @property
    def widths(self) -> list[int]:
        """Features at each halved resolution, the largest first."""
        return [self.width * min(8, 2**level) for level in range(self.halvings)]


class GaussianNetwork(nn.Module):
    """A VAE: pictures to Gaussian latents and back. Where there are labels, all of it sees them (conditional VAE).

    encoder, decoder: modules of your own, in the place of those that `sizes` describe. An encoder takes pictures in
    [-1, 1], n x channels x height x width, and features of their labels (n, latent) or None, and gives n x 2 latent: means,
    then log variances. A decoder takes n x latent, beside which stand the features of labels, and gives what the likelihood
    needs: a number per pixel, n x channels x height x width, or two with variance="predicted". Raises InputError for
    modules that do not.
    """

    def __init__(self, sizes: Sizes, encoder: nn.Module | None = None, decoder: nn.Module | None = None) -> None:
        super().__init__()
        self.own = encoder is not None or decoder is not None
        self.latent = sizes.latent
        self.likelihood = new_likelihood(sizes)
        beside = sizes.latent if sizes.classes else 0  # features of a label
        self.embedding = nn.Embedding(sizes.classes, beside) if beside else None
        per_pixel, plain = self.likelihood.per_pixel, sizes.architecture == "mlp"
        if encoder is not None:
            _try("encoder", encoder, [sizes.shape, (beside,) if beside else None], (2 * sizes.latent,))
        if decoder is not None:
            outputs = (sizes.channels * per_pixel, sizes.size, sizes.size)
            _try("decoder", decoder, [(sizes.latent + beside,)], outputs)
        if encoder is None:
            encoder = MLPEncoder(sizes, beside) if plain else ConvEncoder(sizes, beside)
        if decoder is None:
            decoder = MLPDecoder(sizes, beside, per_pixel) if plain else ConvDecoder(sizes, beside, per_pixel)
        self.encoder, self.decoder = encoder, decoder
        self.prior: PseudoInputs | None = PseudoInputs(sizes) if sizes.prior == "vamp" else None

    def encode(self, pixels: Tensor, labels: Tensor | None) -> Gaussian:
        """What the latents may be, (n, latent)."""
        mean, log_variance = self.encoder(_cast(pixels, self), self._beside(labels)).float().chunk(2, 1)
        return Gaussian(mean, log_variance.clamp(-PRECISE, PRECISE))

    def decode(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """What the likelihood needs of each pixel, (n, c, h, w)."""
        beside = self._beside(labels)
        code = _cast(latents, self)
        return cast(Tensor, self.decoder(code if beside is None else torch.cat([code, beside], 1))).float()

    def log_prior(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """log of the prior density, (n,)."""
        if self.prior is None:
            return standard_log_density(latents).sum(1)
        return self.prior.log_density(latents, labels, self.components())

    def components(self) -> Gaussian:
        """What the pseudo-inputs encode to, (pseudo_inputs, latent)."""
        assert self.prior is not None
        return self.encode(self.prior.pixels(), self.prior.labels if self.embedding is not None else None)

    def _beside(self, labels: Tensor | None) -> Tensor | None:
        return None if self.embedding is None else self.embedding(labels)


class PseudoInputs(nn.Module):
    """The VAMP prior: an equal mixture of what learnt pictures encode to (Tomczak & Welling 2018); of each label its own."""

    labels: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.free = nn.Parameter(0.05 * torch.randn(sizes.pseudo_inputs, *sizes.shape))
        self.register_buffer("labels", torch.arange(sizes.pseudo_inputs) % max(1, sizes.classes))

    def pixels(self) -> Tensor:
        """The pictures, (pseudo_inputs, c, h, w)."""
        return F.hardtanh(self.free)

    def log_density(self, latents: Tensor, labels: Tensor | None, components: Gaussian) -> Tensor:
        """log of the mixture's density, (n,)."""
        precision = torch.exp(-components.log_variance)  # (k, d)
        with torch.autocast(latents.device.type, enabled=False):  # large numbers that nearly cancel
            squared = (  # the sum over d of (z - mean)^2 / variance, without an n x k x d tensor
                latents.square() @ precision.T
                - 2 * latents @ (components.mean * precision).T
                + (components.mean.square() * precision).sum(1)
            )
        constant = standard_log_density(torch.zeros_like(precision)).sum(1) - 0.5 * components.log_variance.sum(1)
        each = constant - 0.5 * squared  # (n, k)
        if labels is None:
            return each.logsumexp(1) - math.log(each.shape[1])
        own = labels[:, None] == self.labels[None, :]  # (n, k)
        return each.masked_fill(~own, -torch.inf).logsumexp(1) - own.sum(1).log()


class VQNetwork(nn.Module):
    """A VQ-VAE (van den Oord et al. 2017): pictures to a grid of codes and back, and a prior over codes to draw them from.

    Labels, where there are any, are the prior's alone: codes mean the same for all.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.latent, self.grid = sizes.latent, sizes.grid
        self.likelihood = new_likelihood(sizes)
        self.down = nn.Sequential(*_down(sizes), nn.Conv2d(sizes.widths[-1], sizes.latent, 1))
        self.codebook = Codebook(sizes.codes, sizes.latent)
        self.up = nn.Sequential(
            nn.Conv2d(sizes.latent, sizes.widths[-1], 1), *_up(sizes), _last(sizes, self.likelihood.per_pixel)
        )
        self.prior = CodePrior(sizes.codes, sizes.classes, sizes.grid**2)

    def encode(self, pixels: Tensor) -> Tensor:
        """Vectors that are yet to be matched with the codebook, (n, latent, grid, grid)."""
        return cast(Tensor, self.down(_laid_out(_cast(pixels, self)))).float()

    def decode(self, entries: Tensor) -> Tensor:
        """What the likelihood needs of each pixel; entries: of the codebook, (n, latent, grid, grid)."""
        return cast(Tensor, self.up(_laid_out(_cast(entries, self)))).float()


Network = GaussianNetwork | VQNetwork


def new_network(sizes: Sizes, encoder: nn.Module | None = None, decoder: nn.Module | None = None) -> Network:
    """The network of these sizes, with torch's own first weights; `encoder`, `decoder`: see GaussianNetwork."""
    return VQNetwork(sizes) if sizes.kind == "vq" else GaussianNetwork(sizes, encoder, decoder)


def new_likelihood(sizes: Sizes) -> PixelLikelihood:
    """The likelihood that these sizes name."""
    if sizes.likelihood == "bernoulli":
        return Bernoulli()
    predicted = sizes.variance == "predicted"
    return (
        GaussianPixels(predicted=predicted) if sizes.likelihood == "gaussian" else LogisticPixels(predicted=predicted)
    )


class MLPEncoder(nn.Module):
    """Pictures and features of a label to means and log variances, through hidden layers."""

    def __init__(self, sizes: Sizes, beside: int) -> None:
        super().__init__()
        pixels = sizes.channels * sizes.size**2
        self.layers = nn.Sequential(
            *_layers([pixels + beside, *[sizes.width] * sizes.depth, 2 * sizes.latent], sizes.activation)
        )

    def forward(self, pixels: Tensor, beside: Tensor | None) -> Tensor:
        flat = pixels.flatten(1)
        return cast(Tensor, self.layers(flat if beside is None else torch.cat([flat, beside], 1)))


class MLPDecoder(nn.Module):
    """Latents and features of a label to outputs per pixel, through hidden layers."""

    def __init__(self, sizes: Sizes, beside: int, per_pixel: int) -> None:
        super().__init__()
        self.shape = (sizes.channels * per_pixel, sizes.size, sizes.size)
        outputs = sizes.channels * per_pixel * sizes.size**2
        self.layers = nn.Sequential(
            *_layers([sizes.latent + beside, *[sizes.width] * sizes.depth, outputs], sizes.activation)
        )

    def forward(self, code: Tensor) -> Tensor:
        return cast(Tensor, self.layers(code)).view(-1, *self.shape)


class ConvEncoder(nn.Module):
    """Pictures and features of a label to means and log variances, through convolutions that halve the sides."""

    def __init__(self, sizes: Sizes, beside: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_down(sizes), nn.Flatten())
        self.head = nn.Sequential(*_layers([sizes.widths[-1] * sizes.grid**2 + beside, FEATURES, 2 * sizes.latent]))

    def forward(self, pixels: Tensor, beside: Tensor | None) -> Tensor:
        features = self.body(_laid_out(pixels))
        return cast(Tensor, self.head(features if beside is None else torch.cat([features, beside], 1)))


class ConvDecoder(nn.Module):
    """Latents and features of a label to outputs per pixel, through convolutions that double the sides."""

    def __init__(self, sizes: Sizes, beside: int, per_pixel: int) -> None:
        super().__init__()
        self.shape = (sizes.widths[-1], sizes.grid, sizes.grid)
        self.stem = nn.Linear(sizes.latent + beside, sizes.widths[-1] * sizes.grid**2)
        self.body = nn.Sequential(*_normed(sizes.widths[-1]), *_up(sizes), _last(sizes, per_pixel))

    def forward(self, code: Tensor) -> Tensor:
        x = self.stem(code).view(-1, *self.shape)
        return cast(Tensor, self.body(_laid_out(x)))


def _layers(widths: list[int], activation: str = "silu") -> list[nn.Module]:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [ACTIVATIONS[activation]()] * bool(layers) + [nn.Linear(before, after)]
    return layers


def _try(name: str, module: nn.Module, inputs: list[tuple[int, ...] | None], wanted: tuple[int, ...]) -> None:
    """Refuse a module of the user's own that does not make `wanted` of each of two rows."""
    own = next(module.parameters(), torch.zeros(()))
    zeros = [None if shape is None else own.new_zeros(2, *shape) for shape in inputs]
    taken = " and ".join("None" if shape is None else _by(2, *shape) for shape in inputs)
    kind = f"{name} {type(module).__name__}"
    try:
        with torch.no_grad(), own.device:
            made = module.eval()(*zeros)
    except Exception as error:  # whatever a module of the user's own raises
        raise InputError(
            f"{kind} cannot be called with {taken}: {type(error).__name__}: {error}", field=name
        ) from error
    got = _by(*made.shape) if isinstance(made, Tensor) else type(made).__name__
    if got != _by(2, *wanted):
        raise InputError(f"{kind} makes {got} of {taken}; make {_by(2, *wanted)}", field=name)


def _by(*shape: int) -> str:
    return " x ".join(map(str, shape))


def _down(sizes: Sizes) -> list[nn.Module]:
    """Each halving: a convolution of stride 2, and `depth - 1` more."""
    layers: list[nn.Module] = []
    for before, after in pairwise([sizes.channels, *sizes.widths]):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU()]
        for _ in range(sizes.depth - 1):
            layers += [nn.Conv2d(after, after, 3, padding=1), nn.SiLU()]
    return layers


def _up(sizes: Sizes) -> list[nn.Module]:
    """Each doubling: copies, a convolution, and `depth - 1` more; the full resolution has half of `width` features."""
    layers: list[nn.Module] = []
    for before, after in pairwise([*reversed(sizes.widths), _full(sizes)]):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1), *_normed(after)]
        for _ in range(sizes.depth - 1):
            layers += [nn.Conv2d(after, after, 3, padding=1), *_normed(after)]
    return layers


def _last(sizes: Sizes, per_pixel: int) -> nn.Module:
    return nn.Conv2d(_full(sizes), sizes.channels * per_pixel, 3, padding=1)


def _full(sizes: Sizes) -> int:
    return max(1, sizes.width // 2)


def _normed(features: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(features), nn.LeakyReLU(0.2)]


def _laid_out(x: Tensor) -> Tensor:
    """Feature maps with the channels last where the arithmetic is bfloat16, whose convolutions are faster so."""
    fast = x.dtype == torch.bfloat16 or torch.is_autocast_enabled(x.device.type)
    return x.contiguous(memory_format=torch.channels_last) if fast else x


def _cast(numbers: Tensor, network: nn.Module) -> Tensor:
    """Numbers in the dtype of the network's weights."""
    return numbers.to(next(network.parameters()).dtype)
