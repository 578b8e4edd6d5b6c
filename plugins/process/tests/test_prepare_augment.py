"""Augmentation: the same copy from the same seed and name, whatever else is in the data set."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk import Artifact, Audio, Image, Text, Video
from aigc_sdk.errors import DataError, InputError, OptionError
from aigc_sdk_process import prepare
from aigc_sdk_process.prepare import augment

ALL = {
    "flip": True,
    "crop": 0.3,
    "rotate": 20.0,
    "elastic": 3.0,
    "colour": 0.3,
    "blur": 1.5,
    "noise": 9.0,
    "cutout": 0.3,
}


def picture(seed: int = 0, side: int = 32) -> Image:
    rng = np.random.default_rng(seed)
    small = Image(rng.integers(0, 256, (5, 5, 3), np.uint8)).to_pil().resize((side, side))
    return Image.from_pil(small)


def tone(hertz: float = 440.0, seconds: float = 1.0, rate: int = 16_000) -> Audio:
    times = np.arange(round(seconds * rate)) / rate
    return Audio((0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)[None], sample_rate=rate)


def film() -> Video:
    rng = np.random.default_rng(0)
    sound = tone(seconds=2.0)
    return Video(rng.integers(0, 256, (20, 8, 12, 3), np.uint8), fps=10, sound=sound)


def one(function: Callable[..., Any], artifact: Artifact, **changes: Any) -> Any:
    """The first changed copy."""
    [made] = function([prepare.Item("x", artifact)], originals=False, **changes)
    return made.artifact


SOUND_CHANGES = {"speed": 0.2, "pitch": 3.0, "noise": 20.0, "mask_time": 0.2}
CASES: list[tuple[Callable[..., Any], Callable[[int], Artifact], dict[str, Any]]] = [
    (prepare.augment_pictures, picture, ALL),
    (prepare.augment_sounds, lambda seed: tone(300 + 10 * seed, 0.4), SOUND_CHANGES),
    (prepare.augment_films, lambda seed: film(), {"flip": True, "crop": 0.4, "speed": 0.3}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "make", "changes"), CASES, ids=["pictures", "sounds", "films"])
def test_a_copy_depends_on_its_seed_and_name_alone(function: Any, make: Any, changes: dict[str, Any]) -> None:
    np.random.seed(7)
    random.seed(7)
    before = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    given = [prepare.Item(f"n{index}", make(index)) for index in range(3)]
    made = {item.id: item for item in function(given, seed=5, copies=2, **changes)}
    assert sorted(made) == sorted(f"n{index}{copy}" for index in range(3) for copy in ("", "~1", "~2"))
    assert made["n1~2"].facts == {"augmented_from": "n1"}
    alone = list(function([given[1]], seed=5, copies=2, originals=False, **changes))
    assert alone == [made["n1~1"], made["n1~2"]]
    assert alone[0].artifact != alone[1].artifact
    [other] = function([given[1]], seed=6, originals=False, **changes)
    assert other.artifact != alone[0].artifact
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # type: ignore[index]


def test_a_change_is_the_same_whatever_others_are_switched_on() -> None:
    flips = [one(prepare.augment_pictures, picture(), seed=seed, flip=True) == picture() for seed in range(8)]
    assert 0 < sum(flips) < 8
    for seed, unchanged in enumerate(flips):
        both = one(prepare.augment_pictures, picture(), seed=seed, flip=True, cutout=0.2)
        cut = one(prepare.augment_pictures, picture(), seed=seed, cutout=0.2)
        assert (both == cut) == unchanged


@pytest.mark.parametrize("change", ALL)
def test_every_change_of_pictures_changes_them_and_keeps_their_size(change: str) -> None:
    made = [one(prepare.augment_pictures, picture(), seed=seed, **{change: ALL[change]}) for seed in range(4)]
    assert any(each != picture() for each in made)
    assert {each.pixels.shape for each in made} == {(32, 32, 3)}


def test_pictures_are_turned_by_the_angle_and_mirrored_at_the_edge() -> None:
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[5, 20] = 255
    turned = augment._rotated(pixels, 90)
    assert tuple(int(each) for each in np.argwhere(turned[..., 0] > 128)[0]) == (20, 35)  # clockwise
    assert np.array_equal(augment._rotated(pixels, 0), pixels)


def test_cut_out_squares_have_their_size() -> None:
    made = one(prepare.augment_pictures, Image(np.zeros((20, 30, 3), np.uint8)), cutout=0.5)
    assert (made.pixels[..., 0] == 128).sum() == 100


def test_noise_stands_at_the_ratio_that_was_asked_for() -> None:
    made = one(prepare.augment_sounds, tone(), noise=10.0)
    noise = made.samples - tone().samples
    measured = 10 * np.log10(np.square(tone().samples).mean() / np.square(noise).mean())
    assert measured == pytest.approx(10, abs=0.1)


def peak_hertz(sound: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(sound.samples[0] * np.hanning(sound.samples.shape[1])))
    return float(spectrum.argmax() / sound.duration)


def test_pitch_changes_the_pitch_and_not_the_length_and_speed_the_length_and_not_the_pitch() -> None:
    pitched = [one(prepare.augment_sounds, tone(), seed=seed, pitch=5.0) for seed in range(4)]
    assert {each.samples.shape for each in pitched} == {(1, 16_000)}
    semitones = [12 * np.log2(peak_hertz(each) / 440) for each in pitched]
    assert max(map(abs, semitones)) <= 5.1
    assert max(semitones) - min(semitones) > 1
    made = [one(prepare.augment_sounds, tone(), seed=seed, speed=0.3) for seed in range(4)]
    assert all(0.75 <= each.duration <= 1.45 and abs(peak_hertz(each) - 440) < 5 for each in made)
    assert len({each.duration for each in made}) > 1


def test_a_room_echoes_and_a_click_alone_changes_nothing() -> None:
    answer = np.zeros((1, 8000), np.float32)
    answer[0, [100, 4100]] = 1.0, 0.5
    click = Audio(np.eye(1, 16_000, dtype=np.float32) * 0.5, sample_rate=16_000)
    made = one(prepare.augment_sounds, click, impulses=[Audio(answer, sample_rate=16_000)])
    assert np.flatnonzero(np.abs(made.samples[0]) > 0.01).tolist() == [0, 4000]
    dry = Audio(np.eye(1, 10, dtype=np.float32), sample_rate=16_000)
    assert np.allclose(one(prepare.augment_sounds, tone(), impulses=[dry]).samples, tone().samples, atol=1e-5)


def test_masks_silence_a_band_and_a_stretch_and_keep_the_length() -> None:
    rng = np.random.default_rng(0)
    noise = Audio(rng.uniform(-0.5, 0.5, (1, 16_001)).astype(np.float32), sample_rate=16_000)
    for changes in ({"mask_time": 0.4}, {"mask_bands": 0.4}):
        made = [one(prepare.augment_sounds, noise, seed=seed, **changes) for seed in range(5)]
        assert {each.samples.shape for each in made} == {(1, 16_001)}
        lost = [1 - np.square(each.samples).mean() / np.square(noise.samples).mean() for each in made]
        assert 0.02 < max(lost) <= 0.45


def test_sounds_never_leave_their_range() -> None:
    loud = Audio(np.sign(tone().samples), sample_rate=16_000)
    made = one(prepare.augment_sounds, loud, noise=0.0)
    assert 0.9 < np.abs(made.samples).max() <= 1


def test_films_keep_their_sound_in_step() -> None:
    for seed in range(6):
        made = one(prepare.augment_films, film(), seed=seed, crop=0.5, speed=0.4)
        assert made.sound is not None
        assert abs(made.duration - made.sound.duration) < 0.1


def test_mixtures_are_sums_with_the_weights_that_their_labels_have() -> None:
    given = [
        prepare.Item(f"n{index}", Image(np.full((4, 4, 3), 80 * index, np.uint8)), {"label": index})
        for index in range(3)
    ]
    made = list(prepare.mix_pictures(given, alpha=1.0, copies=4))
    assert len(made) == 12
    assert any(len(item.facts["label"]) == 2 for item in made)
    for item in made:
        assert sum(item.facts["label"].values()) == pytest.approx(1)
        expected = sum(80 * int(label) * weight for label, weight in item.facts["label"].items())
        assert isinstance(item.artifact, Image)
        assert abs(int(item.artifact.pixels[0, 0, 0]) - expected) <= 0.51
    assert list(prepare.mix_pictures(given[::-1], alpha=1.0, copies=4))[-4:] == made[:4]


def test_texts_are_changed_by_a_model_that_fills_masks() -> None:
    pytest.importorskip("aigc_sdk_bert")
    model = aigc_sdk.load("bert")
    text = "And God said, Let there be light: and there was light."
    given = [prepare.Item(f"n{index}", Text(text), {"label": "x"}) for index in range(2)]
    made = {item.id: str(item.artifact) for item in prepare.augment_texts(given, model, share=0.2, top_k=5)}
    assert made["n0"] == text
    assert made["n0~1"] != text
    assert made["n0~1"] != made["n1~1"]
    [alone] = prepare.augment_texts(given[1:], model, share=0.2, top_k=5, originals=False)
    assert str(alone.artifact) == made["n1~1"]
    assert alone.facts == {"label": "x", "augmented_from": "n1"}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: prepare.augment_pictures([]), "no change is switched on"),
        (lambda: prepare.augment_pictures([], crop=2.0), "crop"),
        (lambda: prepare.augment_pictures([], flipp=True), "Did you mean 'flip'"),
        (lambda: prepare.augment_pictures([], flip=True, copies=-1), "copies"),
        (lambda: prepare.augment_pictures([], flip=True, seed="x"), "seed"),
        (lambda: prepare.augment_sounds([], impulses=["hall.wav"]), "impulses"),
        (lambda: prepare.augment_sounds([], impulses=tone()), "impulses"),
        (lambda: prepare.augment_sounds([], impulses=[Audio(np.zeros((1, 9), np.float32), sample_rate=8000)]), "silent"),
        (lambda: prepare.augment_sounds([], pitch=99.0), "pitch"),
        (lambda: prepare.augment_films([], speed=0.9), "speed"),
        (lambda: prepare.augment_texts([], "bert"), "fills masks"),
        (lambda: prepare.augment_texts([], aigc_sdk.load("echo")), "fills masks"),
        (lambda: prepare.mix_pictures([], alpha=0), "alpha"),
        (lambda: prepare.mix_pictures([prepare.Item("a", picture())]), "label"),
        (lambda: list(prepare.augment_films([prepare.Item("a", picture())], flip=True)), "kind"),
    ],
)  # fmt: skip
def test_bad_calls_are_refused_before_anything_is_made(call: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        call()


def test_what_cannot_be_changed_is_named() -> None:
    for function, artifact, changes in (
        (prepare.augment_pictures, Image(np.zeros((0, 4, 3), np.uint8)), {"flip": True}),
        (prepare.augment_sounds, Audio(np.zeros((1, 0), np.float32), sample_rate=8000), {"speed": 0.1}),
        (prepare.augment_films, Video(np.zeros((0, 4, 4, 3), np.uint8), fps=1), {"flip": True}),
    ):
        with pytest.raises(DataError, match="x cannot be augmented"):
            one(function, artifact, **changes)
    sizes = [prepare.Item("a", picture(side=8), {"label": 1}), prepare.Item("b", picture(side=9), {"label": 1})]
    with pytest.raises((DataError, OptionError), match="resize"):
        prepare.mix_pictures(sizes)
