"""The object model's parts: prompts, moving digits, painting, finding things, motion; and what its clips are like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk.runtime import rng
from aigc_sdk_video.architecture import ABSENT, DIRECTIONS, FREE, Asked, Sizes
from aigc_sdk_video.clips import clips
from aigc_sdk_video.digits import APART, MovingDigits, apart
from aigc_sdk_video.model import Video
from aigc_sdk_video.objects.finding import difference, find, follow
from aigc_sdk_video.objects.network import Network, _labels, directions_of
from aigc_sdk_video.painting import cut, middles, paste
from aigc_sdk_video.prompts import parse
from aigc_sdk_video.train import VideoTrainer

DIGITS = tuple("0123456789")
LEFT, UP, UP_LEFT = (DIRECTIONS.index(each) for each in ("left", "up", "up left"))


@pytest.mark.parametrize(
    ("prompt", "things"),
    [
        ("a 3 moving left", ((3, LEFT),)),
        ("Seven moves up-left.", ((7, UP_LEFT),)),
        ("a 3 moving left and a 7 moving up", ((3, LEFT), (7, UP))),
        ("the digit 5", ((5, FREE),)),
        ("something going upwards, a 0", ((FREE, UP), (0, FREE))),
    ],
)
def test_a_prompt_names_things_and_their_directions(prompt: str, things: Any) -> None:
    assert parse(prompt, DIGITS) == things


def test_moving_digits_start_as_they_are_told_and_never_cover_each_other() -> None:
    made = MovingDigits("digits/test", size=32, length=16, objects=2)
    for clip in range(40):
        _, directions, paths = made._clip(clip)
        assert apart(paths[None])[0] >= APART * 32
        for direction, path in zip(directions, paths, strict=True):
            step = path[3] - path[0]
            angle = np.degrees(np.arctan2(step[1], step[0]))
            assert abs((angle - 45 * direction + 180) % 360 - 180) <= 15.001


def test_a_clip_of_moving_digits_is_the_same_whatever_was_made_before() -> None:
    one, other = (MovingDigits("digits/test", size=32, length=16, objects=2, background=True) for _ in range(2))
    one.frames(np.arange(9), np.zeros(9, np.int64), 4)
    rows, starts = np.array([5]), np.array([3])
    assert np.array_equal(one.frames(rows, starts, 2), other.frames(np.array([2, 5]), np.array([0, 3]), 2)[1:])


def test_what_is_pasted_is_found_and_cut_out_again() -> None:
    sprites = torch.rand(3, 1, 8, 8, generator=rng(0))
    places = torch.tensor([[9.5, 12.5], [20.5, 8.5], [15.5, 15.5]])  # between pixels, as the middle of an even side is
    frames = paste(sprites, places, 32)
    assert torch.allclose(cut(frames, places, 8), sprites, atol=1e-5)
    offsets = middles(sprites[:, 0]) - 3.5
    assert torch.allclose(middles(frames[:, 0]), places + offsets, atol=1e-4)


def test_two_things_over_a_background_are_found_and_followed() -> None:
    t, size = 10, 32
    ways = [
        np.array([[8.0 + 1.5 * f, 9.0] for f in range(t)]),
        np.array([[22.0 - f, 24.0 - 0.5 * f] for f in range(t)]),
    ]
    behind = torch.rand(1, 1, size, size, generator=rng(1)) * 0.3
    frames = behind.expand(t, -1, -1, -1).clone()
    for way, side in zip(ways, (6, 5), strict=True):
        frames = torch.maximum(frames, paste(torch.ones(t, 1, side, side), torch.from_numpy(way).float(), size))
    weights = difference(frames, behind)[None]  # (1, t, h, w)
    start, there = find(weights[:, 0], 3, 8.0)
    assert there.tolist() == [[True, True, False]]
    paths = follow(weights, start, there, 8.0)
    for place, way in enumerate(ways):
        assert np.abs(paths[0, place].numpy() - way).max() < 0.5


def test_a_path_has_a_direction_only_where_it_begins_straight() -> None:
    steps = torch.arange(16.0)[:, None]
    left, bent = torch.cat([-steps, 0 * steps], 1), torch.cat([(steps - 2).abs(), 0 * steps], 1)
    assert directions_of(torch.stack([left, bent])).tolist() == [LEFT, FREE]


def test_labels_go_to_the_things_whose_directions_fit() -> None:
    conditions = torch.tensor([[[3, LEFT], [7, UP]], [[3, LEFT], [7, LEFT]], [[4, UP], [ABSENT, ABSENT]]])
    directions = torch.tensor([[UP, LEFT], [LEFT, LEFT], [UP, FREE]])
    there = torch.tensor([[True, True], [True, True], [True, False]])
    assert _labels(conditions, directions, there).tolist() == [[7, 3], [FREE, FREE], [4, FREE]]


def test_a_path_comes_back_from_its_waves() -> None:
    motion = Network(Sizes.parse("test", {"frames": 12, "width": 8, "depth": 1})).motion
    looks, paths = torch.randn(5, 16, generator=rng(0)), torch.randn(5, 12, 2, generator=rng(1))
    motion.prepare(looks, torch.zeros(5, 16), paths)
    for found, given in zip(motion.apart(motion.state(looks, paths)), (looks, paths), strict=True):
        assert torch.allclose(found, given, atol=1e-4)


@pytest.fixture(scope="module")
def default() -> Video:
    return Video.open(device="cpu")


def test_a_clip_goes_on_from_its_first_frame(default: Video) -> None:
    [clip] = default.generate("a 4 moving right", seed=3)
    [longer] = default.generate("a 4", image=clip.frames[5], num_frames=24, seed=4)
    assert np.array_equal(longer.frames[0], clip.frames[5])
    assert len(longer.frames) == 24
    assert moved(longer.frames) < 3


def test_a_clip_goes_on_from_a_film_as_it_was_moving(default: Video) -> None:
    [clip] = default.generate("a 4 moving right", seed=3, num_frames=6)
    [longer] = default.generate(None, video=clip, num_frames=10, seed=4)
    assert np.array_equal(longer.frames[:6], clip.frames)
    before, after = (np.diff(centres(each), axis=0).mean(0) for each in (longer.frames[2:6], longer.frames[5:8]))
    assert np.linalg.norm(after - before) < 0.7


def test_any_length_is_made_window_by_window_without_jumps(default: Video) -> None:
    chunks = list(default.stream("a 7 moving up", seed=0, num_frames=50))
    assert [len(chunk.frames) for chunk in chunks] == [16, 12, 12, 10]
    assert moved(np.concatenate([chunk.frames for chunk in chunks])) < 3


def test_two_things_keep_apart(default: Video) -> None:
    network = default.network
    things = ((3, LEFT), (7, UP))
    asked = Asked(things, 16, 20, 1.5)
    for seed in range(5):
        [frames] = network.sample(asked, rng(seed), lambda: None)
        weights = ((frames + 1) / 2)[:, 0]
        found, there = find(weights, 2, 6.0)
        assert there.all()
        assert float((found[:, 0] - found[:, 1]).norm(dim=1).min()) > 6


def test_a_model_learns_scenes_of_several_things_over_backgrounds() -> None:
    sizes = {"size": 32, "frames": 8, "objects": 2, "background": True, "width": 32, "depth": 1, "latent": 8}
    scenes = clips("digits/train", Sizes.parse("test", sizes))
    some = replace(scenes, places=scenes.places[:24])
    trainer = VideoTrainer.open(device="cpu", **sizes)
    steps = list(trainer.steps(some, max_steps=30, share=0.9, batch_sizes=(8, 8)))
    losses = [step.metrics["reconstruction"] for step in steps if "reconstruction" in step.metrics]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    [clip] = trainer.model.generate("a 3 and a 5", seed=0, steps=2)
    assert clip.frames.shape == (8, 32, 32, 3)


def test_conditions_hold_for_the_beginning_of_a_clip_alone() -> None:
    found = clips("digits/test", Sizes.parse("test", {"frames": 8}))
    rows = np.flatnonzero(found.places[:, 0] == 0)
    directions = found.conditions(rows)[:, 0, 1].tolist()
    assert directions[0] != FREE
    assert set(directions[1:]) == {FREE}


def centres(frames: Any) -> Any:
    return middles(torch.from_numpy(frames[..., 0].astype(np.float32))).numpy()


def moved(frames: Any) -> float:
    """The longest step of the middle, in pixels."""
    return float(np.linalg.norm(np.diff(centres(frames), axis=0), axis=1).max())
