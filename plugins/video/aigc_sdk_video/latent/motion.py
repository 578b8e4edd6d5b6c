"""The flow over latents: a transformer that guesses a clip's latents from noisy ones, and makes them step by step.

A clip's latents x and noise e are mixed as t x + (1 - t) e; t runs from 0, all noise, to 1 (rectified flow, Liu et al. 2022).
What is guessed is x itself (Li & He 2025). Tokens are patches of the first frame's latents, and the motion of each later frame,
so attention is over space and time at once. Convolutions before and after it see what is near, at every place alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_sdk_video.architecture import ABSENT

from .frames import with_places

PATCH = 2  # side of the latents that make a token
HEAD = 64  # features of an attention head, about
FUSED = 128  # most tokens whose attention is plain products: gradients of torch's fused one are slow for few on a CPU
HARDEST = 25.0  # the largest weight of a guess; without a limit the last, easiest steps would outweigh all others
DROPPED = 0.1  # of the conditions, all of them and each alone
KNOWN = 0.2  # of training clips, whose first frames are given
LOOKS = 2.0  # weight of the latents: what is seen takes longer to learn than how it moves
TIMES = 128  # features of t
LEAST = 0.1  # spread that a number is taken to have at least: those that say nothing stay small


class MotionFlow(nn.Module):
    """Guesses rows, latents and motions of clips one after the other, from noisy ones of which a part may be known."""

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        *,
        latent: int,
        side: int,
        motion: int,
        frames: int,
        classes: int,
        directions: int,
        width: int,
        depth: int,
    ) -> None:
        """latent, side: channels and side of a frame's latents. motion: numbers of a frame's. width, depth: features, layers."""
        super().__init__()
        self.latent, self.side, self.motion, self.frames = latent, side, motion, frames
        self.classes, self.directions = classes, directions
        self.looks = latent * side * side  # numbers of a row that are latents; the others are motions
        self.register_buffer("mean", torch.zeros(self.looks + (frames - 1) * motion))
        self.register_buffer("spread", torch.ones(self.looks + (frames - 1) * motion))
        self.cells = (side // PATCH) ** 2
        self.fine = width // 32 * 8 + 16  # features of a latent, a multiple of 8
        self.begin = nn.Conv2d(latent + 3, self.fine, 3, padding=1)  # the latents, what is known of them, and places
        self.before, self.after = Fine(self.fine, width), Fine(self.fine, width)
        volume = self.fine * PATCH * PATCH
        self.into = nn.Linear(volume, width)
        self.into_motion = nn.Linear(motion + 1, width)
        self.places = nn.Parameter(_places(side // PATCH, frames - 1, width))
        self.label = nn.Embedding(classes + 1, width)  # the last is "any"
        self.direction = nn.Embedding(directions + 1, width)
        self.thing = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(TIMES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, depth) for _ in range(depth))
        self.out_of = nn.Linear(width, volume)
        self.out = nn.Conv2d(self.fine, latent, 3, padding=1)
        self.out_motion = nn.Linear(width, motion)
        for last in (*self.out.parameters(), *self.out_motion.parameters()):
            nn.init.zeros_(last)

    def forward(self, rows: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Losses of rows, n x numbers: how wrong the latents are guessed, and how wrong the motions."""
        latents = self.standard(rows)
        time = torch.sigmoid(torch.randn(len(rows), device=rows.device))
        known = self._drawn_known(len(rows), rows.device)
        noise = torch.randn_like(latents)
        seen = torch.where(known, latents, noise + time[:, None] * (latents - noise))
        error = (self.guess(seen, known, time, _dropped(conditions)).float() - latents).square() * ~known
        weight = (1 - time).square().reciprocal().clamp(max=HARDEST)
        looks = (weight * error[:, : self.looks].mean(1)).mean()
        moves = (weight * error[:, self.looks :].mean(1)).mean()
        return {"loss": LOOKS * looks + moves, "looks": looks, "moves": moves}

    @torch.no_grad()
    def make(
        self,
        conditions: Tensor,
        first: Tensor,
        rng: torch.Generator,
        *,
        steps: int,
        guidance: float,
        on_step: Callable[[], None],
    ) -> Tensor:
        """The row of one clip; first: the numbers that it begins with, of which there may be none."""
        device = first.device
        mixed = torch.randn(1, len(self.mean), generator=rng).to(device)
        begun = torch.zeros_like(mixed)
        begun[0, : len(first)] = (first - self.mean[: len(first)]) / self.spread[: len(first)]
        known = (torch.arange(len(self.mean), device=device) < len(first))[None]
        asked = conditions[None] if guidance == 1 else torch.stack([conditions, _free(conditions)])
        for now, then in pairwise(torch.linspace(0, 1, steps + 1, device=device)):
            seen = torch.where(known, begun, mixed).expand(len(asked), -1)
            guesses = self.guess(seen, known.expand(len(asked), -1), now, asked)
            guess = guesses[:1] if guidance == 1 else guesses[1:] + guidance * (guesses[:1] - guesses[1:])
            mixed = mixed + (then - now) / (1 - now) * (guess - mixed)
            on_step()
        return torch.where(known, begun, mixed)[0] * self.spread + self.mean

    def guess(self, seen: Tensor, known: Tensor, time: Tensor, conditions: Tensor) -> Tensor:
        """What standard rows noisy ones come from, n x numbers; what is known is seen without noise.

        known: as seen. time: n, or one for all. conditions: n x objects x 2.
        """
        told = known.to(seen.dtype)
        (grids, moves), (grids_told, moves_told) = self._parts(seen), self._parts(told)
        grids, moves = torch.cat([grids, grids_told[:, :1]], 1), torch.cat([moves, moves_told[..., :1]], -1)
        condition = F.silu(self.time(_waves(time.expand(len(seen)))) + self._things(conditions))
        fine = self.before(self.begin(with_places(grids)), condition)
        tokens = torch.cat([self.into(_patched(fine)), self.into_motion(moves)], 1) + self.places
        for block in self.blocks:
            tokens = block(tokens, condition)
        tokens = _normal(tokens)
        fine = self.after(fine + _unpatched(self.out_of(tokens[:, : self.cells]), self.side), condition)
        looks = self.out(F.silu(F.group_norm(fine, 8)))
        return torch.cat([looks.flatten(1), self.out_motion(tokens[:, self.cells :]).flatten(1)], 1)

    def standard(self, rows: Tensor) -> Tensor:
        """Rows with mean 0 and deviation 1, or less where a number says little."""
        return (rows - self.mean) / self.spread

    @torch.no_grad()
    def measure(self, rows: Tensor) -> None:
        """Take mean and deviation of every channel of the latents, and of every number of a motion."""
        looks = rows[:, : self.looks].reshape(len(rows), self.latent, -1).transpose(0, 1).flatten(1)
        moves = rows[:, self.looks :].reshape(-1, self.motion).T
        for buffer, (of_looks, of_moves) in (
            (self.mean, (looks.mean(1), moves.mean(1))),
            (self.spread, (looks.std(1).clamp(min=LEAST), moves.std(1).clamp(min=LEAST))),
        ):
            buffer.copy_(torch.cat([of_looks.repeat_interleave(self.side**2), of_moves.repeat(self.frames - 1)]))

    def _things(self, conditions: Tensor) -> Tensor:
        """What is in a clip, n x width: the sum over its things, each a pair of label and direction."""
        there = (conditions[..., :1] != ABSENT).to(self.label.weight.dtype)
        labels, directions = conditions.unbind(-1)
        labels = torch.where(labels < 0, self.classes, labels)
        directions = torch.where(directions < 0, self.directions, directions)
        things = self.thing(torch.cat([self.label(labels), self.direction(directions)], -1))
        total: Tensor = (things * there).sum(1)
        return total

    def _drawn_known(self, count: int, device: torch.device) -> Tensor:
        """What is given of each row: nothing, the first frame's latents, or these and some motions; as booleans."""
        draw = torch.rand(count, 3, device=device)
        several = (draw[:, 2] * (self.frames // 2)).long()  # motions
        number = self.looks + self.motion * torch.where(draw[:, 1] < 0.4, 0, several)
        number = torch.where(draw[:, 0] < KNOWN, number, 0)
        return torch.arange(len(self.mean), device=device) < number[:, None]

    def _parts(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as latents, n x z x h x w, and motions, n x (t - 1) x numbers."""
        looks, moves = rows[:, : self.looks], rows[:, self.looks :]
        count = len(rows)
        return looks.reshape(count, self.latent, self.side, self.side), moves.reshape(count, -1, self.motion)


class Fine(nn.Module):
    """Two convolutions beside what they change, scaled and shifted by the condition: what is near, at every place alike."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        self.modulation = nn.Linear(width, 2 * features)

    def forward(self, grids: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, 1)
        inner = self.first(F.silu(F.group_norm(grids, 8)))
        changed: Tensor = grids + self.second(F.silu(F.group_norm(inner, 8) * (1 + scale) + shift))
        return changed


class Block(nn.Module):
    """Attention over space and time, then a layer for each token, both scaled and shifted by the condition.

    The gates begin open (DiT, Peebles & Xie 2023, begins with them closed): few steps are not enough to open them.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % heads == 0)
        self.queries = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        for last in (self.mixed, self.narrow):
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(depth))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            self.modulation.bias.view(6, width)[[2, 5]] = 1

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        scale, shift, gate, scale_2, shift_2, gate_2 = self.modulation(condition)[:, None].chunk(6, -1)
        tokens = tokens + gate * self._attend(_normal(tokens) * (1 + scale) + shift)
        inner = F.relu(self.wide(_normal(tokens) * (1 + scale_2) + shift_2)).square()
        changed: Tensor = tokens + gate_2 * self.narrow(inner)
        return changed

    def _attend(self, tokens: Tensor) -> Tensor:
        count, length, width = tokens.shape
        parts = self.queries(tokens).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each n x heads x length x features
        if length > FUSED:
            seen = F.scaled_dot_product_attention(query, key, value)
        else:
            seen = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1).to(value.dtype) @ value
        mixed: Tensor = self.mixed(seen.transpose(1, 2).reshape(count, length, width))
        return mixed


def _patched(grids: Tensor) -> Tensor:
    """Grids n x c x h x w to tokens, n x (rows columns) x (c patch patch)."""
    return F.pixel_unshuffle(grids, PATCH).flatten(2).transpose(1, 2)


def _unpatched(tokens: Tensor, side: int) -> Tensor:
    return F.pixel_shuffle(tokens.transpose(1, 2).reshape(len(tokens), -1, side // PATCH, side // PATCH), PATCH)


def _normal(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])


def _waves(time: Tensor) -> Tensor:
    """Times in [0, 1], n, as sines and cosines of many frequencies, n x TIMES."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), TIMES // 2, device=time.device))
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def _places(cells: int, times: int, width: int) -> Tensor:
    """What tokens are told of their places at first, 1 x (cells cells + times) x width: half row and half column, or time."""
    half = width // 2
    row = _wave_table(cells, half)[:, None].expand(-1, cells, -1)
    column = _wave_table(cells, width - half)[None].expand(cells, -1, -1)
    return 0.5 * torch.cat([torch.cat([row, column], -1).flatten(0, 1), _wave_table(times, width)])[None]


def _wave_table(length: int, features: int) -> Tensor:
    frequencies = math.pi / 2 * torch.exp(-math.log(30) * torch.arange((features + 1) // 2) / ((features + 1) // 2))
    angles = torch.arange(length)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :features]


def _free(conditions: Tensor) -> Tensor:
    """The conditions with nothing said about what is there."""
    return conditions.clamp(max=-1)


def _dropped(conditions: Tensor) -> Tensor:
    """Conditions of which some say nothing: sometimes all of a clip's, sometimes its labels or its directions."""
    count, _, _ = conditions.shape
    draw = torch.rand(count, 1, 3, device=conditions.device) < DROPPED
    silent = draw[..., :1] | draw[..., 1:]  # n x 1 x 2
    return torch.where(silent, _free(conditions), conditions)
