"""Clips of things that move over a background: training rows from clips, and clips from conditions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from aigc_sdk_video import architecture
from aigc_sdk_video.architecture import ABSENT, FREE, Asked, Sizes

from .looks import BEHIND, Looks
from .motion import Known, Motion

HISTORY = 4  # of a window's last frames, from which the next goes on
APART = 0.7  # sides of a sprite between the middles of two things, at least
CANDIDATES = 16  # paths that are drawn for each of several things, of which some are apart
SEEN = 0.05  # of a cover, from which on it can be seen
STRAIGHT = 0.97  # cosine between a path's first step and its first quarter, from which on it has a direction


class Network(architecture.Network):
    """Looks, and motion."""

    phases: ClassVar[tuple[str, ...]] = ("looks", "motion")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.looks = Looks(sizes)
        self.motion = Motion(sizes)

    @property
    def seen(self) -> int:
        return self.sizes.frames if self.sizes.background else 2

    @torch.no_grad()
    def encode(self, clips: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """A row for each thing that is found: mean and log-variance of its look, its path; and its conditions, m x 2."""
        shown = (clips + 1) / 2
        paths, there = self.looks.paths(shown, self.looks.still(shown))  # (n, k, t, 2), (n, k)
        looks = torch.cat(self.looks.look(shown[:, 0], paths[:, :, 0]), 1)
        places = self._inside(paths)
        directions = directions_of(places.flatten(0, 1)).view(there.shape)
        labels = _labels(conditions, directions, there)
        rows = torch.cat([looks, places.flatten(0, 1).flatten(1)], 1)
        found = there.flatten()
        return rows[found], torch.stack([labels, directions], 2).flatten(0, 1)[found]

    def prepare(self, rows: Tensor) -> None:
        means, log_variances, paths = rows.tensor_split([self.sizes.latent, 2 * self.sizes.latent], 1)
        self.motion.prepare(means, log_variances, paths.view(len(rows), -1, 2))

    def count_steps(self, asked: Asked) -> int:
        given = 0 if asked.first is None else len(asked.first)
        return self._windows(asked.num_frames, given) * asked.steps

    def sample(self, asked: Asked, rng: torch.Generator, on_step: Callable[[], None]) -> Iterator[Tensor]:
        """Window after window, each of which goes on from the last frames of the one before."""
        device = self.motion.wave_mean.device
        behind = self._behind(asked, rng)
        conditions = torch.tensor(asked.objects, device=device)
        known, done = None, 0
        if asked.first is not None:
            yield asked.first
            done = len(asked.first)
            known = self._seen(asked.first[-(self.sizes.frames - 1) :], behind, len(asked.objects))
        while done < asked.num_frames:
            looks, paths = self._window(conditions, known, asked, rng, on_step)
            sprites, places = self._placed(looks, paths)
            fresh = places[:, 0 if known is None else int(known.frames[0]) :][:, : asked.num_frames - done]
            yield self._painted(sprites, fresh, behind)
            done += fresh.shape[1]
            paths = self._inside(places)
            last = paths[:, -HISTORY:]
            empty = last.new_zeros(len(last), self.sizes.frames - HISTORY, 2)
            known = Known(looks, torch.cat([last, empty], 1), torch.full((len(last),), HISTORY, device=device))
            conditions = torch.stack([conditions[:, 0], torch.full_like(conditions[:, 1], FREE)], 1)

    def _windows(self, num_frames: int, given: int) -> int:
        """How many windows make so many frames, of which some are given."""
        if num_frames <= given:
            return 0
        first = self.sizes.frames - min(given, self.sizes.frames - 1)
        return 1 + max(0, math.ceil((num_frames - given - first) / (self.sizes.frames - HISTORY)))

    @torch.no_grad()
    def _behind(self, asked: Asked, rng: torch.Generator) -> Tensor:
        """The background of the clip, 1 x c x h x w."""
        sizes, device = self.sizes, self.motion.wave_mean.device
        if not sizes.background:
            return torch.zeros(1, sizes.channels, sizes.size, sizes.size, device=device)
        if asked.first is not None:
            return self.looks.look_behind((asked.first[:1] + 1) / 2)
        return self.looks.behind(torch.randn(1, BEHIND, generator=rng).to(device))

    @torch.no_grad()
    def _seen(self, first: Tensor, behind: Tensor, count: int) -> Known:
        """What the first frames, k x c x h x w, tell of `count` things."""
        shown = ((first + 1) / 2)[None]
        paths, _ = self.looks.paths(shown, behind, count)
        looks, _ = self.looks.look(shown[:, -1], paths[:, :, -1])
        frames = len(first)
        places = torch.zeros(count, self.sizes.frames, 2, device=first.device)
        places[:, :frames] = self._inside(paths[0])
        return Known(looks, places, torch.full((count,), frames, device=first.device))

    @torch.no_grad()
    def _window(
        self, conditions: Tensor, known: Known | None, asked: Asked, rng: torch.Generator, on_step: Callable[[], None]
    ) -> tuple[Tensor, Tensor]:
        """Looks m x latent and paths m x frames x 2 of m things: of several candidates, those that keep apart."""
        motion, device = self.motion, conditions.device
        each = 1 if len(conditions) == 1 else CANDIDATES
        n = len(conditions) * each
        states = torch.randn(n, motion.size, generator=rng).to(device)
        if known is None:
            nothing = states.new_zeros(n, self.sizes.latent), states.new_zeros(n, self.sizes.frames, 2)
            given = Known(*nothing, conditions.new_zeros(n, dtype=torch.int64))
        else:
            given = Known(*(one.repeat_interleave(each, 0) for one in known))
        shown = motion.shown(given)
        guided = asked.guidance != 1 and bool((conditions != FREE).any())
        told = conditions.repeat_interleave(each, 0)
        if guided:
            told, shown = torch.cat([told, torch.full_like(told, FREE)]), torch.cat([shown, shown])
        times = torch.linspace(0, 1, asked.steps + 1).tolist()
        clock = torch.tensor(times[:-1], device=device)
        modulations = motion.modulate(clock.repeat_interleave(len(told)), told.repeat(asked.steps, 1))
        before: tuple[float, Tensor] | None = None  # the last step's length in log(t / (1 - t)), and its guess
        for now, then, how in zip(times, times[1:], modulations.view(asked.steps, len(told), -1), strict=False):
            noisy = torch.cat([states, states]) if guided else states
            guess = motion.predict(noisy, shown, how)
            if guided:
                freely = guess[n:]
                guess = freely + asked.guidance * (guess[:n] - freely)
            if known is not None:
                guess = motion.led(guess, given)
            states, before = stepped(states, guess, now, then, before), (length(now, then), guess)
            on_step()
        looks, paths = motion.apart(states)
        kept = self._kept(paths.view(len(conditions), each, *paths.shape[1:]), rng)
        chosen = torch.arange(len(conditions), device=device) * each + kept.to(device)
        return looks[chosen], paths[chosen]

    def _kept(self, paths: Tensor, rng: torch.Generator) -> Tensor:
        """Which candidate of each thing, m: at random of those sets that keep apart, or the one that does most."""
        count, each = paths.shape[:2]
        if count == 1:
            return torch.zeros(1, dtype=torch.int64)
        places = self._outside(paths).cpu()
        least = torch.full((each,) * count, math.inf)
        for one, other in itertools.combinations(range(count), 2):
            distances = (places[one][:, None] - places[other][None]).norm(dim=-1).amin(-1)  # (each, each)
            shape = [each if axis in (one, other) else 1 for axis in range(count)]
            least = torch.minimum(least, distances.view(shape))
        good = (least.flatten() >= APART * self.looks.side).nonzero()[:, 0]
        pick = float(torch.rand((), generator=rng))
        place = int(good[int(pick * len(good))]) if len(good) else int(least.argmax())
        return torch.tensor([place // each ** (count - 1 - axis) % each for axis in range(count)])

    @torch.no_grad()
    def _placed(self, looks: Tensor, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Sprites m x (c + 1) x s x s, and where they are, m x frames x 2 in pixels: whole, where there are walls.

        What cannot be seen of them is left out: rounded to a level, now this one and now that, it would flicker.
        """
        sprites = self.looks.decoder(looks)
        cover = sprites[:, -1:]
        seen = cover if self.sizes.background else (sprites[:, :-1] * cover).amax(1, keepdim=True)  # before black
        sprites[:, -1:] = cover.where(seen > SEEN, 0)
        places = self._outside(paths)
        if self.sizes.walls:
            low, high = extents(sprites[:, -1])
            low, high = low[:, None], self.sizes.size - 1 - high[:, None]  # (m, 1, 2)
            places = places.clamp(low, torch.maximum(low, high))
        return sprites, places

    @torch.no_grad()
    def _painted(self, sprites: Tensor, places: Tensor, behind: Tensor) -> Tensor:
        """The frames, t x c x h x w, of m sprites at places m x t x 2."""
        count, frames = places.shape[:2]
        there = torch.ones(frames, count, dtype=torch.bool, device=places.device)
        everywhere = sprites.repeat(frames, 1, 1, 1)
        return self.looks.paint(everywhere, places.transpose(0, 1), there, behind.expand(frames, -1, -1, -1)) * 2 - 1

    def _inside(self, places: Tensor) -> Tensor:
        """Pixels as numbers around 0, in which half a frame is 2."""
        return (places - (self.sizes.size - 1) / 2) / (self.sizes.size / 4)

    def _outside(self, places: Tensor) -> Tensor:
        return places * (self.sizes.size / 4) + (self.sizes.size - 1) / 2


def extents(covers: Tensor) -> tuple[Tensor, Tensor]:
    """How far what can be seen of covers m x s x s reaches from the middle, in pixels: left and up, right and down, m x 2."""
    side = covers.shape[1]
    seen = torch.stack([covers.amax(1), covers.amax(2)], 1) > SEEN  # (m, 2, s): by columns, by rows
    first = seen.int().argmax(2)
    last = side - 1 - seen.flip(2).int().argmax(2)
    return (side - 1) / 2 - first, last - (side - 1) / 2


def length(now: float, then: float) -> float:
    """Of a step from time to time, in the logarithm of signal over noise; infinite from noise alone, and to none."""
    if now == 0 or then == 1:
        return math.inf
    return math.log(then / (1 - then)) - math.log(now / (1 - now))


def stepped(states: Tensor, guess: Tensor, now: float, then: float, before: tuple[float, Tensor] | None) -> Tensor:
    """States one step nearer to their guess, which is led on from the guess before: of second order, at no more cost.

    DPM-Solver++(2M) (Lu et al. 2022); the first step and the last are of first order.
    """
    step = length(now, then)
    if before is not None and math.isfinite(step) and math.isfinite(before[0]):
        guess = guess + step / (2 * before[0]) * (guess - before[1])
    return states + (then - now) / (1 - now) * (guess - states)


def directions_of(paths: Tensor) -> Tensor:
    """The direction of paths m x t x 2, (m,): where the first quarter leads, if it is straight, and FREE otherwise."""
    steps = paths[:, 1 : paths.shape[1] // 4 + 1] - paths[:, : paths.shape[1] // 4]
    whole = steps.sum(1)
    straight = torch.cosine_similarity(steps, whole[:, None], dim=2).amin(1) >= STRAIGHT
    eighths = (torch.atan2(whole[:, 1], whole[:, 0]) / (math.pi / 4)).round().long() % 8
    return torch.where(straight, eighths, FREE)


def _labels(conditions: Tensor, directions: Tensor, there: Tensor) -> Tensor:
    """The label of each thing that was found, n x k: conditions n x k x 2 are in an order of their own.

    The things of a clip are paired with those of its conditions whose directions fit best; where that cannot tell, and
    labels differ, nobody knows which is which.
    """
    count = directions.shape[1]
    if count == 1:
        return conditions[:, :1, 0].clamp(min=FREE)
    orders = list(itertools.permutations(range(count)))
    costs = []
    for order in orders:
        told = conditions[:, order, 1]
        turn = ((directions - told) % 8).minimum((told - directions) % 8).float()
        unknown = (directions == FREE) | (told == FREE)
        cost = torch.where(unknown, 2.0, turn).masked_fill(~there, 0.0).masked_fill(there != (told != ABSENT), 8.0)
        costs.append(cost.sum(1))
    ranked = torch.stack(costs, 1)  # (n, orders)
    best = ranked.argmin(1)
    places = torch.tensor(orders, device=conditions.device)[best]  # (n, k)
    labels = conditions[:, :, 0].gather(1, places)
    told = (conditions[:, :, 0] == conditions[:, :1, 0]).all(1)
    second = ranked.topk(2, largest=False).values
    sure = told | (second[:, 1] - second[:, 0] >= 1)
    return torch.where(sure[:, None] & (labels >= 0), labels, FREE)
