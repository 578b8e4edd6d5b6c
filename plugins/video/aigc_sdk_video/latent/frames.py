"""The frame autoencoder: frames to grids of latents, a quarter of the side, and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4
KL = 1e-3  # keeps latents smooth and of one scale


class FrameAutoencoder(nn.Module):
    """A variational autoencoder that is told where it is (CoordConv, Liu et al. 2018), so that places are easy to keep."""

    def __init__(self, channels: int, latent: int, width: int = 64) -> None:
        """channels: of frames. latent: of grids of latents. width: features at the grid's resolution, a multiple of 32."""
        super().__init__()
        self.encoder = nn.Sequential(
            _layer(channels + 2, width // 2, 2),
            _layer(width // 2, width, 2),
            _layer(width, width),
            nn.Conv2d(width, 2 * latent, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            _layer(latent + 2, width),
            _layer(width, width),
            nn.Upsample(scale_factor=2),
            _layer(width, width // 2),
            nn.Upsample(scale_factor=2),
            _layer(width // 2, width // 4),
            nn.Conv2d(width // 4, channels, 3, padding=1),
        )

    def forward(self, clips: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Losses of clips n x t x c x h x w: squared and absolute error, and the divergence from a normal distribution."""
        frames = clips.flatten(0, 1)
        mean, log_variance = self._encoded(frames)
        shown = self.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp())
        squared, absolute = F.mse_loss(shown, frames), F.l1_loss(shown, frames)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return {"loss": 4 * squared + absolute + 2 * KL * divergence, "squared": squared, "divergence": divergence}

    def encode(self, frames: Tensor) -> Tensor:
        """The latents of frames in [-1, 1], n x c x h x w to n x latent x h/4 x w/4."""
        return self._encoded(frames)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Frames from latents; they may leave [-1, 1] a little."""
        shown: Tensor = self.decoder(_with_places(latents))
        return shown

    def _encoded(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(_with_places(frames)).chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)


def _layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU())


def _with_places(images: Tensor) -> Tensor:
    """Images n x c x h x w with two channels more: how far down and how far right, from -1 to 1."""
    count, _, height, width = images.shape
    down, right = (torch.linspace(-1, 1, side, device=images.device, dtype=images.dtype) for side in (height, width))
    places = torch.stack(torch.meshgrid(down, right, indexing="ij"))
    return torch.cat([images, places.expand(count, -1, -1, -1)], 1)
