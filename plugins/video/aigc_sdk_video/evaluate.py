"""The evaluator: classifiers of frames and of films that no generator has seen, and what they make of generated films."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aigc_sdk import artifacts, runtime
from aigc_sdk.distances import Moments, frechet, within_label_distance
from aigc_sdk.errors import DataError, OptionError, PromptError
from aigc_sdk.judges import ClassifierEvaluator
from aigc_sdk.protocols import Device, Exam, Options, OptionsClass, Report, Score, Step
from aigc_sdk.training import order

from .architecture import ABSENT, DIRECTIONS, FREE, Sizes
from .clips import Clips, clips
from .measures import Movement, centred, movement, off_by
from .prompts import parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Things = tuple[tuple[int, int], ...]

FEATURES = 64
ENOUGH = 2 * FEATURES  # samples; a covariance of fewer says too little
WITHIN = 22.5  # degrees from the direction that was asked for
BATCH = 64


class JudgeOptions(Options):
    """How samples are judged."""

    batch_size: int = Field(64, ge=1, le=1 << 20, description="films at a time")


class JudgeNetwork(nn.Module):
    """A score per label for each frame, wherever a thing is; and features of whole films."""

    mean: Tensor
    covariance: Tensor
    within: Tensor

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for after in (24, 48, 96):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
            before = after
        layers += [nn.Conv2d(96, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.AdaptiveMaxPool2d(1)]
        self.reader = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, labels))
        layers, before = [], channels
        for after in (16, 32, 64):
            layers += [
                nn.Conv3d(before, after, 3, (1 if after == 16 else 2, 2, 2), 1),
                nn.BatchNorm3d(after),
                nn.ReLU(),
            ]
            before = after
        self.watcher = nn.Sequential(*layers, nn.AdaptiveAvgPool3d((2, 2, 2)), nn.Flatten())
        self.features = nn.Sequential(nn.Linear(64 * 8, FEATURES), nn.ReLU())
        self.labels = nn.Linear(FEATURES, labels)
        self.directions = nn.Linear(FEATURES, len(DIRECTIONS))
        self.register_buffer("mean", torch.zeros(FEATURES))  # of the reference films' features
        self.register_buffer("covariance", torch.zeros(FEATURES, FEATURES))
        self.register_buffer("within", torch.zeros(labels))  # mean distance of two reference things of a label

    def read(self, frames: Tensor) -> Tensor:
        """Scores of n x c x h x w frames in [-1, 1], n x labels; above 0 where a label is there."""
        scores: Tensor = self.reader(frames)
        return scores

    def watch(self, films: Tensor) -> Tensor:
        """Features of n x t x c x h x w films, n x FEATURES."""
        found: Tensor = self.features(self.watcher(films.transpose(1, 2)))
        return found


class VideoJudge(ClassifierEvaluator):
    """What films show and how it moves, by independent classifiers.

        judge = aigc_sdk.evaluator("video")  # of moving digits at 32 pixels
        report = judge.evaluate(aigc_sdk.load("video").generate("a 3 moving left", n=200, seed=0))
        judge = VideoJudge.trained(films, held_out, size=32)  # of your own films, which need labels

    `references` are the prompts that the samples should follow; without them, each sample's `info["objects"]`. Scores:
    `accuracy`, the part of all frames in which the judge reads just the labels that are asked for; and, over films of one
    thing on black: `direction`, the part of films that start within 22.5 degrees of the direction asked for;
    `speed_error` and `acceleration_error`, by which part their means are off the reference's; `flicker`, the mean change of
    brightness; `variety`, the mean distance between two things of a label in their first frames, as part of the
    reference's; and from 128 films on `frechet_distance[judge]` between features of the samples and of the reference. That
    is this judge's own: compare it with the floor that its protocol tells.
    """

    Options: ClassVar[OptionsClass] = JudgeOptions
    backend = "video"
    default = Path(__file__).parent / "judge"

    @staticmethod
    def new_network(channels: int, labels: int) -> JudgeNetwork:
        return JudgeNetwork(channels, labels)

    @classmethod
    def trained(
        cls,
        data: Any,
        reference: Any,
        *,
        size: int = 32,
        frames: int = 16,
        channels: int = 1,
        updates: int = 900,
        seed: int = 0,
        device: Device = "auto",
    ) -> Self:
        """Train a judge on labelled films, and let it remember the `reference`: films that it has not seen.

        data, reference: what `aigc_sdk_video.clips.clips` reads; of moving "digits" it sees one and two at a time.
        Raises DataError or OptionError.
        """
        place = runtime.device(device)
        if isinstance(updates, bool) or not isinstance(updates, int) or updates < 1:
            raise OptionError(f"updates={updates!r}: give an integer from 1 on", field="updates")
        built = {"size": size, "frames": frames, "channels": channels}
        single = Sizes.parse("VideoJudge", built)
        alone, together, held = (
            clips(data, single),
            clips(data, Sizes.parse("VideoJudge", {**built, "objects": 2})),
            clips(reference, single, name="reference"),
        )
        for name, each in (("data", alone), ("reference", held)):
            if len(each.names) < 2 or each.names != alone.names:
                raise DataError(f"{name} needs at least two labels, the same in data and reference", field=name)
        with runtime.LentState(seed, place):
            network = JudgeNetwork(channels, len(alone.names)).to(place)
            _train(network, alone, together, updates, seed, place)
        judge = cls(network, {"labels": list(alone.names), **built}, device=place)
        judge._remember(alone, held)
        return judge

    def run(self, exam: Exam) -> Report:
        films = [_film(sample, index, self.facts["size"]) for index, sample in enumerate(exam.samples)]
        things = self._expected(exam)
        guesses: list[NDArray[np.int64]] = []
        features = []
        size = exam.options.batch_size
        for start in range(0, len(films), size):
            for film in films[start : start + size]:
                scores, seen = self._judged(film)
                guesses.append(np.argsort(-scores, axis=1))
                features.append(seen)
            exam.on_step(Step(min(start + size, len(films)), len(films)))
        movements = [movement(film) if len(film) > 1 else None for film in films]
        rows = [
            self._row(ranked, asked, moved) for ranked, asked, moved in zip(guesses, things, movements, strict=True)
        ]
        return Report(dict(self._scores(films, np.stack(features), rows, things, movements)), rows)

    def _expected(self, exam: Exam) -> list[Things | None]:
        """What each sample should show: labels and directions, as indices; None where nobody says."""
        given = exam.references or [each.info.get("objects") for each in exam.samples]
        found: list[Things | None] = []
        for index, each in enumerate(given):
            try:
                found.append(self._things(each))
            except (PromptError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"references[{index}] is {each!r}, which the judge does not know: {error}", field="references"
                ) from error
        return found

    def _things(self, told: Any) -> Things | None:
        if told is None or isinstance(told, str):
            return None if told is None else parse(told, self.labels)
        return tuple(
            (
                FREE if each["label"] is None else self.labels.index(each["label"]),
                FREE if each["direction"] is None else DIRECTIONS.index(each["direction"]),
            )
            for each in told
        )

    def _row(self, ranked: NDArray[np.int64], asked: Things | None, moved: Movement | None) -> dict[str, Any]:
        """What is said of one film; `right` is the part of its frames in which just the labels asked for are read."""
        labels = {label for label, _ in asked or ()}
        right = None
        if labels and FREE not in labels:
            right = float(np.mean([set(frame[: len(labels)].tolist()) == labels for frame in ranked]))
        read, counts = np.unique(ranked[:, 0], return_counts=True)
        off = None
        if asked is not None and len(asked) == 1 and asked[0][1] != FREE and moved is not None:
            off = 180.0 if moved.angle is None else off_by(moved.angle, asked[0][1])
        return {
            "label": self.labels[read[counts.argmax()]],
            "right": right,
            "degrees_off": off,
            "speed": None if moved is None else moved.speed,
            "acceleration": None if moved is None else moved.acceleration,
        }

    def _scores(
        self,
        films: Sequence[NDArray[np.uint8]],
        features: NDArray[np.float32],
        rows: Sequence[dict[str, Any]],
        things: Sequence[Things | None],
        movements: Sequence[Movement | None],
    ) -> Iterator[tuple[str, Score]]:
        facts = self.facts
        about = (
            f"judge {facts['fingerprint'][:12]}: {facts['size']}x{facts['size']}x{facts['channels']}, reads "
            f"{facts['accuracy']:.4f} of the frames of {facts['reference']:,} reference films; samples not resized"
        )
        right = [row["right"] for row in rows if row["right"] is not None]
        if right:
            protocol = f"part of frames in which just the labels asked for score highest; {about}"
            yield "accuracy", Score(float(np.mean(right)), len(right), protocol, higher_is_better=True)
        off = [row["degrees_off"] for row in rows if row["degrees_off"] is not None]
        if off:
            protocol = (
                f"part of films whose first 4 steps lead within {WITHIN} degrees of the direction asked for; {about}"
            )
            yield "direction", Score(float(np.mean(np.array(off) <= WITHIN)), len(off), protocol, higher_is_better=True)
        alone = [index for index, asked in enumerate(things) if asked is None or len(asked) == 1]
        moved = [each for index in alone if (each := movements[index]) is not None]
        if moved:
            yield from self._motion(moved, about)
        labelled = [(index, asked[0][0]) for index in alone if (asked := things[index]) and asked[0][0] != FREE]
        if labelled:
            looks = np.stack([centred(films[index][0]) for index, _ in labelled])
            parts = within_label_distance(
                looks[..., : facts["channels"]], np.array([label for _, label in labelled]), span=1
            )
            known = {label: float(self.network.within[label]) for label in parts}
            parts = {label: parts[label] / known[label] for label in parts if known[label]}
            if parts:
                value = float(np.mean(list(parts.values())))
                protocol = (
                    "distance of two things of a label in their first frames, centred, of the reference's; mean over "
                    f"{len(parts)} labels; {about}"
                )
                yield "variety", Score(value, len(labelled), protocol, higher_is_better=True)
        if len(alone) >= ENOUGH:
            reference = Moments(*(each.double().cpu().numpy() for each in (self.network.mean, self.network.covariance)))
            value = frechet(Moments.of(features[alone]), reference)
            protocol = (
                f"on {FEATURES} features of whole films, floor {facts['floor']:.3f} (its training films); {about}"
            )
            yield "frechet_distance[judge]", Score(value, len(alone), protocol, higher_is_better=False)

    def _motion(self, moved: Sequence[Movement], about: str) -> Iterator[tuple[str, Score]]:
        facts = self.facts
        for name in ("speed", "acceleration"):
            if not facts[name]:  # the reference stands still
                continue
            value = float(np.mean([getattr(each, name) for each in moved]))
            protocol = (
                f"|mean / the reference's - 1|: {value:.3f} of {facts[name]:.3f} pixels per frame, of the middle of the "
                f"brightness; {about}"
            )
            yield f"{name}_error", Score(abs(value / facts[name] - 1), len(moved), protocol, higher_is_better=False)
        flicker = float(np.mean([each.flicker for each in moved]))
        protocol = (
            f"mean change of the frame's brightness, as part of it; the reference's is {facts['flicker']:.5f}; {about}"
        )
        yield "flicker", Score(flicker, len(moved), protocol, higher_is_better=False)

    @torch.no_grad()
    def _judged(self, film: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores of the frames of one film, t x labels, and its features: alone, so that no other film matters."""
        network = self.network.eval()
        frames = _tensor(film[..., : self.facts["channels"]], self.device)
        return network.read(frames).cpu().numpy(), network.watch(frames[None])[0].cpu().numpy()

    def _remember(self, shown: Clips, held: Clips) -> None:
        """Keep what the reference is like, and how well the judge reads it."""
        films, labels = _first_films(held, self.facts["frames"])
        judged = [self._judged(film) for film in films]
        training = np.stack([self._judged(film)[1] for film in _first_films(shown, self.facts["frames"])[0]])
        reference = Moments.of(np.stack([features for _, features in judged]))
        movements = [movement(film) for film in films]
        within = within_label_distance(np.stack([centred(film[0]) for film in films]), labels, span=1)
        with torch.no_grad():
            self.network.mean.copy_(torch.from_numpy(reference.mean))
            self.network.covariance.copy_(torch.from_numpy(reference.covariance))
            for label, distance in within.items():
                self.network.within[label] = distance
        right = [scores.argmax(1) == label for (scores, _), label in zip(judged, labels, strict=True)]
        self.facts |= {
            "reference": len(films),
            "accuracy": float(np.mean(right)),
            "floor": frechet(Moments.of(training), reference),
            "speed": float(np.mean([each.speed for each in movements])),
            "acceleration": float(np.mean([each.acceleration for each in movements])),
            "flicker": float(np.mean([each.flicker for each in movements])),
            "fingerprint": runtime.fingerprint(self.network),
        }


def _first_films(found: Clips, frames: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """The first stretch of up to 1,024 clips, and their labels."""
    rows = np.flatnonzero(found.places[:, 1] == 0)[:1024]
    labels = found.conditions(rows)[:, 0, 0]
    films = [
        film for start in range(0, len(rows), BATCH) for film in found.frames(rows[start : start + BATCH], 0, frames)
    ]
    return films, labels


def _train(network: JudgeNetwork, alone: Clips, together: Clips, updates: int, seed: int, device: str) -> None:
    """AdamW with a rate that falls to 0. A third of the updates are for whole films."""
    adam = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.05, fused=True)
    falling = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, updates)
    network.train()
    first = np.flatnonzero(alone.places[:, 1] == 0)
    for update in range(updates):
        adam.zero_grad()
        if update % 3 == 2:
            rows = first[order.rows(seed, len(first), update * BATCH // 2, BATCH // 2)]
            loss = _watching(network, alone, rows, device)
        else:
            source = (alone, together)[update % 3]
            rows = order.rows(seed + 1, len(source), update * BATCH, BATCH)
            loss = _reading(network, source, rows, update % source.length, device)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        falling.step()


def _reading(network: JudgeNetwork, source: Clips, rows: NDArray[np.int64], offset: int, device: str) -> Tensor:
    """Whether each label is in a frame, or not."""
    frames = source.frames(rows, offset, 1)[:, 0]
    labels = torch.from_numpy(source.conditions(rows)[:, :, 0]).to(device)
    scores = network.read(_tensor(frames, device))
    wanted = torch.zeros_like(scores)
    for each in labels.unbind(1):
        there = each != ABSENT
        wanted[there, each[there]] = 1
    return F.binary_cross_entropy_with_logits(scores, wanted) * scores.shape[1]


def _watching(network: JudgeNetwork, source: Clips, rows: NDArray[np.int64], device: str) -> Tensor:
    films = source.frames(rows, 0, source.length)
    conditions = torch.from_numpy(source.conditions(rows)[:, 0]).to(device)
    features = network.watch(_tensor(films, device))
    loss = F.cross_entropy(network.labels(features), conditions[:, 0])
    turned = conditions[:, 1] != FREE
    if bool(turned.any()):
        loss = loss + F.cross_entropy(network.directions(features[turned]), conditions[turned, 1])
    return loss


def _tensor(frames: NDArray[np.uint8], device: str) -> Tensor:
    """Frames ... x h x w x c in [-1, 1], the channels before height and width."""
    found = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, -3))).to(device)
    return found.float() / 127.5 - 1


def _film(sample: Any, index: int, size: int) -> NDArray[np.uint8]:
    if not isinstance(sample, artifacts.Video):
        raise DataError(f"samples[{index}] is a {type(sample).__name__}; this judge is for Video", field="samples")
    if not len(sample.frames):
        raise DataError(f"samples[{index}] has no frame; leave it out", field="samples")
    if sample.frames.shape[1:3] != (size, size):
        height, width = sample.frames.shape[1:3]
        raise DataError(
            f"samples[{index}] is {width}x{height}, the judge is for {size}x{size}; resize it, or train a judge of that size",
            field="samples",
        )
    return sample.frames
