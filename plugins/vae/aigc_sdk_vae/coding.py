"""From random numbers to latents, from latents to pictures, and back from pictures to what their latents may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from aigc_sdk import runtime
from aigc_sdk.artifacts import Image
from aigc_sdk.drawing import drawn, group_size, padded
from aigc_sdk.errors import InputError, OptionError
from aigc_sdk.protocols import DType

from .fitted import Mixture
from .gaussian import Gaussian
from .network import GaussianNetwork, Network, Sizes, VQNetwork

BATCH = 256  # pictures that are encoded together


class Draw(NamedTuple):
    """The random numbers of one picture, whatever becomes of them."""

    noise: Tensor  # (latent,), or (positions,) uniform numbers for codes
    pick: Tensor  # (), a uniform number that picks a component
    label: int


class Coding:
    """A network with its labels and the sampler that was fitted to it; tensors in, tensors or pictures out."""

    def __init__(
        self,
        network: Network,
        *,
        sizes: Sizes,
        labels: Sequence[str] = (),
        fitted: Mixture | None = None,
        device: str = "cpu",
        dtype: DType = "float32",
        source: str = "",
    ) -> None:
        self.network = network.eval()
        self.sizes = sizes
        self.labels = tuple(labels)
        self.fitted = fitted
        self.device = device
        self.dtype: str = dtype
        self.source = source
        self.latent = sizes.latent
        self.shape = sizes.shape
        self._group = group_size(sizes.shape)

    def _draw(self, seed: int) -> Draw:
        rng = runtime.rng(seed)
        if isinstance(self.network, VQNetwork):
            noise = torch.rand(self.sizes.grid**2, generator=rng, dtype=torch.float64)
        else:
            noise = torch.randn(self.latent, generator=rng)
        label = int(torch.randint(max(1, len(self.labels)), (), generator=rng))
        return Draw(noise, torch.rand((), generator=rng), label)

    @torch.no_grad()
    def _latents(self, draws: Sequence[Draw], labels: Sequence[int], sampler: str, temperature: float) -> Tensor:
        """Latents (n, latent), or codes (n, grid, grid), on the CPU."""
        noise, pick = torch.stack([each.noise for each in draws]), torch.stack([each.pick for each in draws])
        its = torch.tensor(labels)
        if isinstance(self.network, VQNetwork):
            return self._codes_of_prior(self.network, noise, its, temperature)
        if self._sampler(sampler) == "fitted" and self.fitted is not None:
            return self.fitted.draw(noise, pick, its, temperature)
        if self.network.prior is None:
            return temperature * noise
        components = self.network.eval().components()
        own = self.network.prior.labels.cpu()
        rows = [(own == label).nonzero()[:, 0] if self.labels else torch.arange(len(own)) for label in labels]
        chosen = torch.stack([row[int(each * len(row))] for row, each in zip(rows, pick, strict=True)])
        some = Gaussian(components.mean.cpu()[chosen], components.log_variance.cpu()[chosen])
        return some.moved(temperature * noise)

    def _codes_of_prior(self, network: VQNetwork, uniform: Tensor, labels: Tensor, temperature: float) -> Tensor:
        network.eval()
        grid, drawn = self.sizes.grid, []
        for start in range(0, len(uniform), self._group):
            some, its = uniform[start : start + self._group], labels[start : start + self._group]
            uniforms = padded(some, self._group).to(self.device)
            beside = padded(its, self._group).to(self.device) if self.labels else None
            drawn.append(network.prior.draw(uniforms, beside, temperature)[: len(some)].cpu())
        return torch.cat(drawn).view(-1, grid, grid)

    def _made(self, latents: Tensor, labels: Sequence[int | None]) -> list[Image]:
        """The pictures of latents or codes, which are on the CPU."""
        self.network.eval()
        told = bool(self.labels) and isinstance(self.network, GaussianNetwork)
        return drawn(
            self._decoded, latents, labels, names=self.labels, told=told, group=self._group, device=self.device
        )

    def _decoded(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Pictures in [-1, 1] as float32."""
        if isinstance(self.network, VQNetwork):
            outputs = self.network.decode(self.network.codebook.look_up(latents.flatten(1), self.sizes.grid))
        else:
            outputs = self.network.decode(latents, labels)
        return self.network.likelihood.mean(outputs)

    @torch.no_grad()
    def _encoded(self, pixels: Tensor, labels: Tensor | None) -> Gaussian | Tensor:
        """What latents may be, or codes (n, grid, grid)."""
        if isinstance(self.network, GaussianNetwork):
            return self._gaussians(pixels, labels)
        network = self.network.eval()
        grid = self.sizes.grid
        return torch.cat(
            [network.codebook(network.encode(some)).view(-1, grid, grid) for some in torch.split(pixels, BATCH)]
        )

    @torch.no_grad()
    def _gaussians(self, pixels: Tensor, labels: Tensor | None) -> Gaussian:
        network = cast(GaussianNetwork, self.network.eval())
        its: Sequence[Tensor | None] = [None] * len(pixels) if labels is None else torch.split(labels, BATCH)
        found = [
            network.encode(some, some_labels)
            for some, some_labels in zip(torch.split(pixels, BATCH), its, strict=False)
        ]
        return Gaussian(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _sampler(self, sampler: str) -> str:
        if sampler == "auto":
            return "prior" if self.fitted is None else "fitted"
        if sampler == "fitted" and self.fitted is None:
            remedy = (
                "use 'prior'" if isinstance(self.network, VQNetwork) else "call model.fit_sampler(data), or use 'prior'"
            )
            raise OptionError(f"vae option sampler='fitted': the model has none; {remedy}", field="sampler")
        return sampler


def checked(latents: Any, network: Network, sizes: Sizes) -> Tensor:
    """Latents, or codes, that a user gives, as a tensor. Raises InputError."""
    shape = (sizes.latent,) if isinstance(network, GaussianNetwork) else (sizes.grid, sizes.grid)
    try:
        given = np.asarray(latents)
        if isinstance(network, GaussianNetwork):
            found = torch.from_numpy(given.astype(np.float32, casting="same_kind"))
        else:
            found = torch.from_numpy(np.nan_to_num(given).astype(np.int64))
    except (TypeError, ValueError) as error:
        raise InputError(f"latents are no array of numbers: {error}", field="latents") from error
    if found.shape[1:] != shape or not len(found):
        wanted = " x ".join(map(str, shape))
        raise InputError(
            f"latents have the shape {tuple(found.shape)}; give n x {wanted}, as `encode` does", field="latents"
        )
    if isinstance(network, VQNetwork):
        entries = len(network.codebook.entries)
        if not np.array_equal(given, found.numpy()) or found.min() < 0 or found.max() >= entries:
            raise InputError(f"latents hold what is no code; give integers from 0 to {entries - 1}", field="latents")
    elif not found.isfinite().all():
        raise InputError("latents hold NaN or infinity; give finite numbers", field="latents")
    return found
