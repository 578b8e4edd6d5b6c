"""Films: each function against what is known about the result, and files as FFmpeg reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from aigc_sdk import Audio, Image, Video
from aigc_sdk.errors import InputError
from aigc_sdk_process.finish import slides, soundtrack, video


def moving(count: int, fps: float = 10, step: int = 4, **facts: Any) -> Video:
    """A square that goes to the right."""
    frames = np.zeros((count, 48, 96, 3), np.uint8)
    for index in range(count):
        frames[index, 12:32, 4 + index * step : 24 + index * step] = (200, 120, 40)
    return Video(frames, fps=fps, **facts)


def numbered(count: int, fps: float = 10, **facts: Any) -> Video:
    """Frame i is as bright as i."""
    frames = np.zeros((count, 4, 6, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Video(frames, fps=fps, **facts)


def tone(seconds: float, rate: int = 16_000, channels: int = 1) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), sample_rate=rate)


def shown(film: Video) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in film.frames]


def test_a_cut_has_the_frames_the_sound_and_the_words_of_that_part() -> None:
    film = numbered(20, sound=tone(2.0), info={"words": [{"text": "a", "start": 0.6, "end": 0.9}]})
    made = video.cut(film, 0.5, 1.2)
    assert shown(made) == list(range(5, 12))
    assert made.sound is not None
    assert film.sound is not None
    assert np.array_equal(made.sound.samples, film.sound.samples[:, 8000:19_200])
    assert made.info["words"] == [{"text": "a", "start": 0.1, "end": 0.4}]


def test_films_one_after_the_other_keep_their_sounds_in_step() -> None:
    made = video.concatenate([numbered(10), numbered(10, sound=tone(0.8))])
    assert len(made.frames) == 20
    assert made.sound is not None
    assert made.sound.samples.shape == (1, 32_000)
    assert not made.sound.samples[:, :16_000].any()
    assert made.sound.samples[:, 16_000:28_000].any()
    assert not made.sound.samples[:, 28_900:].any()


def test_a_dissolve_goes_from_one_film_to_the_next_without_a_jump() -> None:
    dark, bright = (Video(np.full((10, 4, 4, 3), level, np.uint8), fps=10) for level in (0, 200))
    made = video.concatenate([dark, bright], crossfade=0.4)
    assert shown(made) == [0] * 6 + [40, 80, 120, 160] + [200] * 6


@pytest.mark.parametrize(("factor", "frames"), [(2.0, 10), (0.5, 40), (1.25, 16)])
def test_speed_changes_the_length_of_frames_and_sound_alike(factor: float, frames: int) -> None:
    made = video.speed(numbered(20, sound=tone(2.0, channels=2)), factor)
    assert (len(made.frames), made.fps) == (frames, 10)
    assert made.sound is not None
    assert made.sound.samples.shape == (2, frames * 1600)


def test_motion_is_followed_more_closely_than_by_a_blend_and_that_than_by_repeating() -> None:
    film, truth = moving(10), moving(20, 20, 2)
    errors = {
        method: float(
            np.mean((video.interpolate(film, 20, method=method).frames[:19].astype(float) - truth.frames[:19]) ** 2)
        )
        for method in video.METHODS
    }
    assert errors["motion"] < 0.5 * errors["blend"] < errors["repeat"]


@pytest.mark.parametrize("method", video.METHODS)
@pytest.mark.parametrize("fps", [4.0, 10.0, 23.976, 60.0])
def test_another_frame_rate_keeps_the_duration_to_half_a_frame(method: str, fps: float) -> None:
    film = moving(8, sound=tone(0.8))
    made = video.interpolate(film, fps, method=method)
    assert abs(made.duration - film.duration) <= 0.5 / fps + 1e-9
    assert np.abs(made.frames[0].astype(int) - film.frames[0]).max() <= 1  # FFmpeg follows motion in YUV
    assert made.sound is not None
    assert made.sound.duration == pytest.approx(made.duration, abs=1e-4)


@pytest.mark.parametrize("policy", ["pad", "loop", "stretch"])
def test_a_shorter_film_follows_its_sound_by_the_policy(policy: str) -> None:
    made = soundtrack.with_sound(numbered(10), tone(1.52), policy=policy, leads="sound")
    assert len(made.frames) == 15
    assert made.sound is not None
    assert made.sound.duration == pytest.approx(1.5, abs=1e-9)
    last = {"pad": [9] * 5, "loop": [0, 1, 2, 3, 4], "stretch": [6, 7, 8, 8, 9]}[policy]
    assert shown(made)[10:] == last


@pytest.mark.parametrize(
    ("policy", "seconds"), [("pad", 0.6), ("trim", 1.7), ("loop", 0.3), ("stretch", 1.4), ("refuse", 1.04)]
)
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_follows_its_film_at_any_rate_and_in_mono_and_stereo(
    policy: str, seconds: float, rate: int, channels: int
) -> None:
    made = soundtrack.with_sound(numbered(10), tone(seconds, rate, channels), policy=policy)
    assert len(made.frames) == 10
    assert made.sound is not None
    assert made.sound.samples.shape == (channels, rate)


def test_a_sound_of_another_length_is_refused_unless_a_policy_is_said() -> None:
    with pytest.raises(InputError, match='say how: "pad", "trim", "loop" or "stretch"'):
        soundtrack.with_sound(numbered(10), tone(1.2))


def test_ffmpeg_reads_streams_lengths_rate_and_frames_as_they_were_asked_for(tmp_path: Path) -> None:
    film = soundtrack.with_sound(moving(37, 25), tone(1.9), policy="trim", channels=2, sample_rate=48_000)
    with av.open(str(film.save(tmp_path / "film.mp4"))) as file:
        pictures, sound = file.streams.video[0], file.streams.audio[0]
        assert (sound.rate, sound.channels) == (48_000, 2)
        lengths = [float((each.duration or 0) * (each.time_base or 0)) for each in (pictures, sound)]
        assert lengths == [pytest.approx(37 / 25, abs=0.04)] * 2
        assert sum(1 for _ in file.decode(pictures)) == 37


def test_the_poster_is_the_frame_of_a_second_or_the_sharpest() -> None:
    film = numbered(10)
    assert video.poster(film, 0.35).pixels[0, 0, 0] == 3
    assert video.poster(film, 1.0).pixels[0, 0, 0] == 9
    frames = film.to_numpy()
    frames[6, ::2] = 255
    assert video.poster(Video(frames, fps=10)).info["frame"] == 6


def test_a_slideshow_lasts_as_long_as_asked_and_shows_every_picture() -> None:
    pictures = [Image(np.full((8, 8, 3), level, np.uint8)) for level in (50, 150, 250)]
    made = slides.slideshow(pictures, 3.0, size=(32, 16), fps=10, dissolve=0.0, background=(9, 9, 9))
    assert made.frames.shape == (30, 16, 32, 3)
    assert [int(made.frames[index, 8, 16, 0]) for index in (0, 9, 10, 19, 20, 29)] == [50, 50, 150, 150, 250, 250]
    assert made.frames[0, 8, 0].tolist() == [9, 9, 9]  # the picture is square, the film is not


def test_a_zoom_enlarges_the_middle_and_a_dissolve_mixes() -> None:
    edge = np.zeros((16, 16, 3), np.uint8)
    edge[4:12, 4:12] = 200
    made = slides.slideshow([Image(edge)], 1.0, size=(16, 16), fps=10, dissolve=0, zoom=2.0, filter="nearest")
    assert (made.frames[0] > 0).mean() < (made.frames[5] > 0).mean() < (made.frames[9] > 0).mean() == 1
    two = [Image(np.full((4, 4, 3), level, np.uint8)) for level in (0, 200)]
    mixed = slides.slideshow(two, 2.0, size=(4, 4), fps=10, dissolve=0.4, filter="nearest")
    assert shown(mixed)[4:12] == [0, 0, 40, 80, 120, 160, 200, 200]


def test_an_animation_has_the_pictures_as_its_frames() -> None:
    film = numbered(5)
    assert np.array_equal(slides.animation([Image(frame) for frame in film.frames], 10).frames, film.frames)


def test_a_film_is_resized_frame_by_frame() -> None:
    assert video.resize(moving(3), 48, 24).frames.shape == (3, 24, 48, 3)
