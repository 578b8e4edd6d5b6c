"""The codebook of a VQ-VAE, which follows averages instead of gradients, and a prior over grids of codes."""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

DECAY = 0.99  # of the averages
DEAD = 0.1  # part of an even share of use, below which an entry is taken for dead
HIDDEN = 128  # of the prior
DROPPED = 0.1  # of the prior's inputs, which makes it see grids that it has not met


class Codebook(nn.Module):
    """`codes` vectors; each moves to the average of the vectors that are matched with it (van den Oord et al. 2017, A.1).

    An entry that is hardly used starts anew from a vector of the batch (Dhariwal et al. 2020); at first all do.
    """

    entries: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, codes: int, latent: int) -> None:
        super().__init__()
        self.register_buffer("entries", torch.randn(codes, latent))
        self.register_buffer("uses", torch.zeros(codes))  # average of how often each is matched in a batch
        self.register_buffer("sums", torch.zeros(codes, latent))  # average of the sum of what is matched with it

    def forward(self, vectors: Tensor) -> Tensor:
        """The nearest entry's number for each of vectors, (n, latent, h, w) to (n, h w); in training, entries follow."""
        flat = vectors.detach().permute(0, 2, 3, 1).flatten(0, 2)  # (n h w, latent)
        if self.training and not self.uses.any():
            self._restart(flat, torch.ones_like(self.uses, dtype=torch.bool), len(flat) / len(self.uses))
        codes = self._nearest(flat)
        if self.training:
            self._follow(flat, codes)
        return codes.view(len(vectors), -1)

    def look_up(self, codes: Tensor, side: int) -> Tensor:
        """The entries of codes, (n, h w) to (n, latent, h, w)."""
        return self.entries[codes].view(len(codes), side, side, -1).permute(0, 3, 1, 2)

    def _nearest(self, flat: Tensor) -> Tensor:
        entries = self.entries.to(flat.dtype)
        return (entries.square().sum(1) - 2 * flat @ entries.T).argmin(1)

    @torch.no_grad()
    def _follow(self, flat: Tensor, codes: Tensor) -> None:
        matched = F.one_hot(codes, len(self.entries)).to(flat.dtype)  # (n h w, codes)
        uses, sums = matched.sum(0), matched.T @ flat
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(uses)
            torch.distributed.all_reduce(sums)
        self.uses.lerp_(uses, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        share = self.uses.sum() / len(self.uses)
        used = self.uses > DEAD * share
        self.entries.copy_(torch.where(used[:, None], self.sums / self.uses.clamp_min(1e-9)[:, None], self.entries))
        self._restart(flat, ~used, share)

    @torch.no_grad()
    def _restart(self, flat: Tensor, dead: Tensor, share: Tensor | float) -> None:
        """Entries start as vectors of the batch, with an even share of use; the draw is made whether or not one does."""
        drawn = flat[torch.randint(len(flat), (len(self.entries),), device=flat.device)]
        self.entries.copy_(torch.where(dead[:, None], drawn, self.entries))
        self.uses.copy_(torch.where(dead, share, self.uses))
        self.sums.copy_(torch.where(dead[:, None], drawn * share, self.sums))


class CodePrior(nn.Module):
    """A recurrent network that gives the probability of each code, given those before it and the label."""

    def __init__(self, codes: int, classes: int, positions: int) -> None:
        super().__init__()
        self.codes, self.positions = codes, positions
        self.before = nn.Embedding(codes + 1, HIDDEN)  # the last one stands before the first code
        self.place = nn.Parameter(0.02 * torch.randn(positions, HIDDEN))
        self.label = nn.Embedding(classes, HIDDEN) if classes else None
        self.memory = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, codes)

    def log_probability(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        """log p of each grid of codes, (n, positions) to (n,)."""
        start = codes.new_full((len(codes), 1), self.codes)
        inputs = self._inputs(torch.cat([start, codes[:, :-1]], 1), self.place, labels)
        states, _ = self.memory(F.dropout(inputs, DROPPED, self.training))
        logits = self.head(states)  # (n, positions, codes)
        return -F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape).sum(1)

    def draw(self, uniform: Tensor, labels: Tensor | None, temperature: float) -> Tensor:
        """Grids of codes, (n, positions), by uniform numbers in [0, 1), (n, positions).

        Each picks the code at which the cumulative probability passes it; temperature: below 1, probable codes gain.
        """
        code, state = torch.full((len(uniform), 1), self.codes, device=uniform.device), None
        drawn: list[Tensor] = []
        for position in range(self.positions):
            inputs = self._inputs(code, self.place[position], labels)
            states, state = self.memory(inputs, state)
            chances = torch.softmax(self.head(states[:, 0]).double() / temperature, 1).cumsum(1)
            code = torch.searchsorted(chances, uniform[:, position, None].double().contiguous()).clamp_max(
                self.codes - 1
            )
            drawn.append(code)
        return torch.cat(drawn, 1)

    def _inputs(self, codes: Tensor, place: Tensor, labels: Tensor | None) -> Tensor:
        inputs = self.before(codes) + place
        return cast(Tensor, inputs if self.label is None else inputs + self.label(labels)[:, None])
