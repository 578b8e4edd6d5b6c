"""The clip autoencoder: a clip as the latents of its first frame and, for each later one, how the picture moved and changed.

Looks are kept once and motion apart from them, as in latent flow diffusion (Ni et al. 2023) and in content and motion
latents (CMD, Yu et al. 2024); so a thing cannot change as it moves, and a motion is a few numbers that can be smooth.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4  # pixels to a side of a latent
MOTION = 4  # numbers of a frame's motion, for each channel of the latents
GRID = 4  # cells to a side: where motion is measured and told
FEATURES = 16  # of a pixel that is moved
CHANGES = 4  # channels that tell what has changed in another way than by moving
LOOK = 32  # side of the frames that are searched for what moved, at most
REACH = 3  # how many of these pixels a thing is looked for, to each side: so far it may move from frame to frame
FAR = 0.25  # of the frame's side, a flow of 1 is half of that
KL = 1e-2  # keeps latents smooth and of one scale, and what is made of them deaf to small faults
KL_MOTION = 1e-3
PAINTED = 4  # frames that a training clip is painted at, besides its first


class ClipAutoencoder(nn.Module):
    """Clips to latents of the first frame, n x z x h/4 x w/4, and motions, n x (t - 1) x MOTION z; and back."""

    def __init__(self, channels: int, latent: int, width: int = 64) -> None:
        """channels: of frames. latent: of the latents. width: features at the latents' resolution, a multiple of 32."""
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
            _layer(width // 2, FEATURES),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1),
        )
        seen = (2 * REACH + 1) ** 2 * GRID**2 + 2 * channels * (2 * GRID) ** 2
        self.watcher = nn.Sequential(
            nn.Linear(seen, 256), nn.SiLU(), nn.Linear(256, 128), nn.SiLU(), nn.Linear(128, 2 * MOTION * latent)
        )
        self.field = nn.Linear(MOTION * latent, (2 + CHANGES) * GRID**2)
        nn.init.normal_(self.field.weight, std=0.02)  # nothing moves at first
        nn.init.zeros_(self.field.bias)
        self.painter = nn.Sequential(
            nn.Conv2d(FEATURES + 1 + CHANGES, FEATURES, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(FEATURES, channels, 3, padding=1),
        )

    def forward(self, clips: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Losses of clips n x t x c x h x w: of painted frames, of each frame made from the one before, of the latents."""
        looks, moves = self._looked(clips[:, 0]), self._watched(clips)
        later = 1 + torch.randperm(clips.shape[1] - 1, device=clips.device)[:PAINTED]
        chosen = torch.cat([later.new_zeros(1), later])
        flows, changes = self._fields(_drawn(*moves), clips.shape[-1])
        shown = self._paint(_drawn(*looks), flows, changes, chosen)
        squared, absolute = F.mse_loss(shown, clips[:, chosen]), F.l1_loss(shown, clips[:, chosen])
        moved = _moved(clips[:, :-1].flatten(0, 1) + 1, flows.flatten(0, 1)) - 1  # what comes in from outside is black
        followed = F.mse_loss(moved, clips[:, 1:].flatten(0, 1))
        divergence = KL * _divergence(*looks).mean() + KL_MOTION * _divergence(*moves).sum(-1).mean()
        loss = 4 * squared + absolute + followed + divergence
        return {"loss": loss, "squared": squared, "followed": followed, "divergence": divergence}

    def look(self, frames: Tensor) -> Tensor:
        """The latents of frames in [-1, 1], n x c x h x w to n x z x h/4 x w/4."""
        return self._looked(frames)[0]

    def watch(self, clips: Tensor) -> Tensor:
        """The motion from each frame of clips to the next, n x t x c x h x w to n x (t - 1) x MOTION z."""
        return self._watched(clips)[0]

    def decode(self, looks: Tensor, moves: Tensor, size: int) -> Tensor:
        """All frames from latents and motions, the first one included; they may leave [-1, 1] a little."""
        chosen = torch.arange(moves.shape[1] + 1, device=looks.device)
        return self._paint(looks, *self._fields(moves, size), chosen)

    def _looked(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return _gaussian(self.encoder(with_places(frames)))

    def _watched(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        count, frames = clips.shape[:2]
        before, after = clips[:, :-1].flatten(0, 1), clips[:, 1:].flatten(0, 1)
        return _gaussian(self.watcher(_matched(before, after)).unflatten(0, (count, frames - 1)), -1)

    def _fields(self, moves: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """What motions mean: flows n x t x 2 x h x w, where each pixel was in the frame before, in halves of the side,
        and changes n x t x CHANGES x h x w.
        """
        coarse = self.field(moves).unflatten(-1, (2 + CHANGES, GRID**2))
        cells = torch.eye(GRID**2, device=moves.device).view(-1, 1, GRID, GRID)
        between = F.interpolate(cells, size=(size, size), mode="bilinear", align_corners=True).flatten(1)
        fine = coarse @ between.to(coarse.dtype)  # as F.interpolate of all would be, with faster gradients
        flows, changes = fine.float().unflatten(-1, (size, size)).split([2, CHANGES], 2)
        return FAR * flows, changes

    def _paint(self, looks: Tensor, flows: Tensor, changes: Tensor, chosen: Tensor) -> Tensor:
        """The frames of numbers `chosen`: the first one's features, moved by all flows up to there, and changed."""
        count, size = len(flows), flows.shape[-1]
        features = self.decoder(with_places(looks)).float()
        features = torch.cat([features, torch.ones_like(features[:, :1])], 1)  # zeros where nothing was moved to
        whole = [features.new_zeros(count, 2, size, size)]
        for flow in flows.unbind(1):
            whole.append(flow + _moved(whole[-1], flow, "border"))
        moved = _moved(features.repeat_interleave(len(chosen), 0), torch.stack(whole, 1)[:, chosen].flatten(0, 1))
        changes = F.pad(changes, (0, 0, 0, 0, 0, 0, 1, 0))[:, chosen].flatten(0, 1)
        painted: Tensor = self.painter(torch.cat([moved, changes], 1))
        return painted.view(count, len(chosen), -1, size, size)


@torch.no_grad()
def _matched(before: Tensor, after: Tensor) -> Tensor:
    """How unlike two frames are for all shifts within REACH, in each cell of the grid, and what is in them; n x features.

    Block matching, as in video codecs: the least of these costs tells a cell's motion, and their shape the rest of a pixel.
    """
    before, after = ((each + 1) / 2 for each in (before, after))
    if before.shape[-1] > LOOK:
        before, after = (F.adaptive_avg_pool2d(each, LOOK) for each in (before, after))
    side = before.shape[-1]
    around = F.pad(before, [REACH] * 4)
    difference = torch.empty_like(after)  # one for all shifts: new memory takes longer than the work
    costs = []
    for down, right in product(range(2 * REACH + 1), repeat=2):
        torch.sub(around[..., down : down + side, right : right + side], after, out=difference)
        costs.append(F.adaptive_avg_pool2d(difference.square_(), GRID).mean(1))
    matched = torch.stack(costs, 1)
    matched = matched / (matched.mean((1, 2, 3), keepdim=True) + 1e-4) / 2
    seen = [F.adaptive_avg_pool2d(each, 2 * GRID).flatten(1) for each in (before, after)]
    return torch.cat([matched.flatten(1), *seen], 1)


def _moved(images: Tensor, flows: Tensor, outside: str = "zeros") -> Tensor:
    """Images n x c x h x w whose pixels come from where flows n x 2 x h x w, (x, y) in halves of the side, say."""
    size = images.shape[-1]
    middles = (2 * torch.arange(size, device=images.device) + 1) / size - 1
    own = torch.stack(torch.meshgrid(middles, middles, indexing="xy"))
    # Gradients of a NaN place would crash torch; where weights are NaN the features are too, and so the loss.
    places = (own + flows).nan_to_num().permute(0, 2, 3, 1)
    return F.grid_sample(images, places, padding_mode=outside, align_corners=False)


def _gaussian(told: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
    mean, log_variance = told.float().chunk(2, dim)
    return mean, log_variance.clamp(-8, 4)


def _drawn(mean: Tensor, log_variance: Tensor) -> Tensor:
    return mean + torch.randn_like(mean) * (log_variance / 2).exp()


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """From a standard normal distribution, of each number."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def _layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU())


def with_places(images: Tensor) -> Tensor:
    """Images n x c x h x w with two channels more: how far down and how far right, from -1 to 1 (CoordConv, Liu et al. 2018)."""
    count, _, height, width = images.shape
    down, right = (torch.linspace(-1, 1, side, device=images.device, dtype=images.dtype) for side in (height, width))
    places = torch.stack(torch.meshgrid(down, right, indexing="ij"))
    return torch.cat([images, places.expand(count, -1, -1, -1)], 1)
