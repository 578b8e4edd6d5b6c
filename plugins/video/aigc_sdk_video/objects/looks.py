"""The first phase: looks from cut-outs, sprites from looks, backgrounds from frames. Frames here are in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aigc_sdk_video.architecture import Sizes
from aigc_sdk_video.painting import cut, paste

from .finding import difference, find, follow

BEHIND = 32  # numbers that a background is made of
RATE = 2e-3  # weight of what a look costs, in nats per number


class Looks(nn.Module):
    """An autoencoder of things: the look comes from one frame, the place from the next, so that neither learns the other."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.side = sizes.size // 2
        self.encoder = _encoder(sizes.channels, self.side, 2 * sizes.latent)
        self.decoder = _decoder(sizes.latent, self.side, sizes.channels + 1)
        self.behind_encoder = _encoder(sizes.channels, sizes.size, 2 * BEHIND) if sizes.background else None
        self.behind_decoder = _decoder(BEHIND, sizes.size, sizes.channels) if sizes.background else None

    def forward(self, clips: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Losses of clips n x t x c x h x w in [-1, 1]; conditions are not needed."""
        clips = (clips + 1) / 2
        behind = self.still(clips)  # (n, c, h, w)
        with torch.no_grad():
            paths, there = self.paths(clips, behind)
        frame = int(torch.randint(clips.shape[1] - 1, ()))
        mean, log_variance = self.look(clips[:, frame], paths[:, :, frame])
        drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        shown = self.paint(self.decoder(drawn), paths[:, :, frame + 1], there, behind)
        error = shown - clips[:, frame + 1]
        cost = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        rate = (cost.mean(1) * there.flatten()).sum() / there.sum()
        losses = {"reconstruction": error.square().mean(), "rate": rate}
        loss = 16 * losses["reconstruction"] + 2 * error.abs().mean() + RATE * rate
        if self.behind_encoder is not None:
            found, uncertain = self.behind_encoder(clips[:, frame] * 2 - 1).chunk(2, 1)
            uncertain = uncertain.clamp(-8, 4)
            made = self.behind(found + torch.randn_like(found) * (uncertain / 2).exp())
            losses["background"] = (made - behind).square().mean()
            cost = 0.5 * (found.square() + uncertain.exp() - 1 - uncertain)
            loss = loss + 16 * losses["background"] + RATE * cost.mean()
        return {"loss": loss, **losses}

    def still(self, clips: Tensor) -> Tensor:
        """What is behind the things of n x t x c x h x w clips: what most frames show; black where there is nothing."""
        return clips.median(1).values if self.sizes.background else torch.zeros_like(clips[:, 0])

    def look_behind(self, frame: Tensor) -> Tensor:
        """The background of single frames, n x c x h x w, without the things before it."""
        if self.behind_encoder is None:
            return torch.zeros_like(frame)
        return self.behind(self.behind_encoder(frame * 2 - 1).chunk(2, 1)[0])

    def behind(self, numbers: Tensor) -> Tensor:
        """A background, n x c x h x w, of its numbers, n x BEHIND."""
        assert self.behind_decoder is not None
        made: Tensor = self.behind_decoder(numbers)
        return made

    def paths(self, clips: Tensor, behind: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Where the things of clips are, n x count x t x 2, and whether there is one, n x count."""
        n, t, _, height, width = clips.shape
        apart = difference(clips.flatten(0, 1), behind.repeat_interleave(t, 0)).view(n, t, height, width)
        radius = 0.75 * self.side
        start, there = find(apart[:, 0], count or self.sizes.objects, radius)
        return follow(apart, start, there, radius), there

    def look(self, frames: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """The looks of things at places n x count x 2 of frames: means and log-variances, n * count x latent."""
        cuts = cut(frames.repeat_interleave(places.shape[1], 0), places.flatten(0, 1), self.side)
        mean, log_variance = self.encoder(cuts * 2 - 1).chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)

    def paint(self, sprites: Tensor, places: Tensor, there: Tensor, behind: Tensor) -> Tensor:
        """Sprites n * count x (c + 1) x s x s, the last channel of which covers, over a background: n x c x h x w."""
        n, count = there.shape
        colour, cover = sprites[:, :-1], sprites[:, -1:]
        layers = paste(torch.cat([colour * cover, cover], 1), places.reshape(-1, 2), self.sizes.size)
        layers = layers.view(n, count, *layers.shape[1:]) * there[:, :, None, None, None]
        shown = behind
        for each in range(count):
            shown = shown * (1 - layers[:, each, -1:]) + layers[:, each, :-1]
        return shown


def _encoder(channels: int, side: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 32
    while side > 5 and side % 2 == 0:
        layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.SiLU()]
        channels, width, side = width, min(2 * width, 128), side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, 128), nn.SiLU(), nn.Linear(128, outputs))


def _decoder(inputs: int, side: int, channels: int) -> nn.Sequential:
    ups = 0
    while side > 5 and side % 2 == 0:
        side, ups = side // 2, ups + 1
    width = min(16 * 2**ups, 128)
    layers: list[nn.Module] = [nn.Linear(inputs, width * side**2), nn.SiLU(), nn.Unflatten(1, (width, side, side))]
    for _ in range(ups):
        narrow = max(16, width // 2)
        layers += [nn.Conv2d(width, narrow, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2)]
        width = narrow
    return nn.Sequential(
        *layers, nn.Conv2d(width, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, channels, 3, padding=1), Bounded()
    )


class Bounded(nn.Module):
    """A sigmoid that reaches 0 and 1: what is next to nothing would flicker when it is rounded to a level."""

    def forward(self, numbers: Tensor) -> Tensor:
        return (1.06 * torch.sigmoid(numbers) - 0.03).clamp(0, 1)
