"""A composed file says what it was made of, and is made again from that; nothing else is ever called."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk import Artifact, Audio, Generator, Image, Text, Video, media
from aigc_sdk.errors import AigcError, InputError, MediaError
from aigc_sdk_process import compose
from aigc_sdk_process.compose import parts, record
from aigc_sdk_process.finish import audio, image, loudness, slides, soundtrack, subtitles, text, video

MUSIC = Audio((0.3 * np.sin(np.arange(16_000) / 20)).astype(np.float32)[None], sample_rate=16_000)
PICTURE = Image(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))


@pytest.fixture(scope="module")
def writer() -> Generator[Text]:
    return aigc_sdk.load("gpt2", device="cpu")


@pytest.fixture(scope="module")
def voice() -> Generator[Audio]:
    return aigc_sdk.load("tts", device="cpu")


@pytest.fixture(scope="module")
def painter() -> Generator[Image]:
    return aigc_sdk.load("vae", device="cpu")


def narrated(writer: Generator[Text], voice: Generator[Audio], painter: Generator[Image]) -> Video:
    """A short film with everything in it."""
    drafts = writer.generate("And the king said", n=3, seed=5, max_new_tokens=12)
    story = text.tidy(text.joined(["The king.", drafts[1]], " "))
    [speech] = compose.generate(voice, story, seed=0)
    sound = audio.mix(loudness.normalized(speech, -20.0, peaks="limit"), MUSIC, level=-20)
    pictures = painter.generate(n=2, seed=3)
    show = slides.slideshow(pictures, sound.duration, size=(64, 48), fps=8)
    film = soundtrack.with_sound(show, sound, policy="pad", leads="sound")
    return subtitles.burn(film, subtitles.cues(sound), size=8)


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.zip"])
def test_a_film_of_words_speech_music_and_pictures_is_made_again_to_the_byte(
    name: str, tmp_path: Path, writer: Generator[Text], voice: Generator[Audio], painter: Generator[Image]
) -> None:
    place = narrated(writer, voice, painter).save(tmp_path / name)
    again = compose.replay(place, given=[MUSIC])
    assert again.same, again
    assert again.differences == ()
    kinds = [next(iter(set(part) & {"made", "call", "given"})) for part in again.artifact.origin["parts"].values()]
    assert {kind: kinds.count(kind) for kind in ("made", "given")} == {"made": 4, "given": 1}


def test_another_process_makes_it_again(tmp_path: Path, voice: Generator[Audio]) -> None:
    [speech] = compose.generate(voice, text.tidy("Good  morning ."), seed=0)
    place = audio.fade(speech, fade_in=0.1).save(tmp_path / "speech.wav")
    code = "import sys; from aigc_sdk_process import compose; print(compose.replay(sys.argv[1]).same)"
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_what_was_given_has_to_be_given_again(tmp_path: Path) -> None:
    place = audio.fade(MUSIC, fade_in=0.1).save(tmp_path / "music.flac")
    assert compose.replay(place, given=[PICTURE, MUSIC]).same
    with pytest.raises(MediaError, match=r"of kind audio, was given.*pass it: replay\(path, given="):
        compose.replay(place, given=[PICTURE])


def test_a_file_of_one_artifact_is_replayed_as_by_the_core(tmp_path: Path, painter: Generator[Image]) -> None:
    [picture] = painter.generate(seed=1)
    assert compose.replay(picture.save(tmp_path / "one.png")).same


def test_quality_and_codec_of_a_film_are_part_of_what_is_made_again(tmp_path: Path) -> None:
    place = slides.animation([PICTURE, PICTURE], 5).save(tmp_path / "film.mp4", quality=30, codec="vp9")
    assert compose.replay(place, given=[PICTURE]).same


def test_a_function_of_ones_own_can_be_recorded(tmp_path: Path) -> None:
    @compose.recorded
    def mirrored(picture: Image, *, times: int = 1) -> Image:
        return Image(picture.pixels[:, :: (-1) ** times])

    place = mirrored(image.blur(PICTURE, 1.0)).save(tmp_path / "mirrored.png")
    assert compose.replay(place, given=[PICTURE]).same
    name = next(each for each in record.RECORDED if each.endswith("mirrored"))
    del record.RECORDED[name]
    with pytest.raises(MediaError, match="import the module that defines it first"):
        compose.replay(place, given=[PICTURE])


def test_options_may_have_any_names(tmp_path: Path) -> None:
    @compose.recorded
    def named(picture: Image, options: dict[str, Any]) -> Image:
        return Image(picture.pixels[:, :: len(options["part"])].copy())

    options = {"part": "abc", "model": {"map": [1, 2]}, "unrecorded": None, "map": {}, "picture": PICTURE}
    made = named(PICTURE, options)
    assert compose.replay(made.save(tmp_path / "named.png"), given=[PICTURE]).same


def test_a_model_that_a_function_was_given_is_opened_again(tmp_path: Path, painter: Generator[Image]) -> None:
    @compose.recorded
    def drawn(model: Generator[Image], seed: int) -> Image:
        return Image(model.generate(seed=seed)[0].pixels)

    assert compose.replay(drawn(painter, 4).save(tmp_path / "drawn.png")).same


def test_a_plain_function_as_a_model_is_told_to_be_unrecorded(tmp_path: Path) -> None:
    place = image.upscale(PICTURE, lambda small: image.resize(small, 64, 48)).save(tmp_path / "large.png")
    with pytest.raises(MediaError, match="something that a file cannot hold"):
        compose.replay(place, given=[PICTURE])


def test_a_part_that_comes_out_otherwise_is_named(tmp_path: Path, voice: Generator[Audio]) -> None:
    [speech] = voice.generate("Good morning.", seed=0)
    heard = Audio(speech.samples * np.float32(0.5), sample_rate=speech.sample_rate, origin=speech.origin)
    again = compose.replay(audio.fade(heard, fade_in=0.1).save(tmp_path / "half.wav"))
    assert not again.same
    assert again.differences[0].startswith("the part by 'tts' is not the same")


def test_another_number_of_threads_is_told_and_alone_makes_no_part_another(
    tmp_path: Path, voice: Generator[Audio]
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        [speech] = compose.generate(voice, text.joined(["Good", "morning."], " "), seed=0)
        place = audio.fade(speech, fade_in=0.1).save(tmp_path / "faded.wav")
        torch.set_num_threads(1)
        again = compose.replay(place)
    finally:
        torch.set_num_threads(before)
    assert "tts: threads was 2, is 1" in again.differences
    assert again.same == (not any("is not the same" in each for each in again.differences))  # sums may round otherwise


def test_the_same_part_is_noted_once_and_made_once(tmp_path: Path) -> None:
    tiled = slides.animation([image.blur(PICTURE, 2.0)] * 30, 5)
    assert len(tiled.origin["parts"]) == 3
    assert len(json.dumps(tiled.origin)) < 4000


def test_recording_moves_nothing_and_gives_the_same_origin_every_time() -> None:
    before = PICTURE.pixels.copy()
    one, other = image.sharpen(PICTURE), image.sharpen(PICTURE, amount=1.0)
    assert one.origin == other.origin
    assert np.array_equal(PICTURE.pixels, before)
    assert image.sharpen(PICTURE, 1.1).origin["whole"] != one.origin["whole"]


def test_the_digest_is_of_the_content_alone() -> None:
    loud = Audio(MUSIC.samples, sample_rate=16_000, info={"a": 1}, origin={"b": 2}, sample=3)
    assert parts.digest(loud) == parts.digest(MUSIC)
    assert parts.digest(Audio(MUSIC.samples, sample_rate=16_001)) != parts.digest(MUSIC)
    silent = Video(np.zeros((1, 2, 2, 3), np.uint8), fps=1)
    assert parts.digest(silent) != parts.digest(Video(silent.frames, fps=1, sound=MUSIC))


def renamed(origin: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The origin with its last part changed, and named as one who forges it would."""
    noted = {key: json.loads(json.dumps(part)) for key, part in origin["parts"].items()}
    last = noted.pop(origin["whole"])
    change(last)
    return {**origin, "whole": parts.key_of(last), "parts": {**noted, parts.key_of(last): last}}


FORGERIES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lambda part: part.update(call="os.system", arguments={"command": "touch forged"}), "no recorded function"),
    (lambda part: part.update(call="aigc_sdk_process.finish.image.resized"), "no recorded function"),
    (lambda part: part.update(call="aigc_sdk_process.finish.subtitles.save"), "no recorded function"),
    (lambda part: part.update(call="aigc_sdk_process.finish.image.__class__"), "no recorded function"),
    (lambda part: part["arguments"].update(radius=1e9), "radius=1000000000.0"),
    (lambda part: part["arguments"].update(unknown=1), "unexpected keyword"),
    (lambda part: part["arguments"].update(image={"part": "0" * 16}), "damaged parts"),
    (lambda part: part["arguments"].update(image={"model": {"backend": "vae"}}), "damaged origin"),
    (lambda part: part.pop("digest"), "damaged parts"),
    (lambda part: part.update(given="image"), "damaged parts"),
    (lambda part: part.pop("call"), "damaged parts"),
    (lambda part: (part.pop("call"), part.update(made={"backend": "vae"})), "damaged origin"),
]


@pytest.mark.parametrize(("change", "words"), FORGERIES)
def test_a_forged_origin_is_refused_and_nothing_in_it_runs(
    change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = image.blur(PICTURE, 1.0)
    place = Image(made.pixels, origin=renamed(dict(made.origin), change)).save(tmp_path / "forged.png")
    with pytest.raises(MediaError, match=words):
        compose.replay(place, given=[PICTURE])
    assert [each.name for each in tmp_path.iterdir()] == ["forged.png"]


def test_a_part_that_was_changed_under_its_name_is_noticed(tmp_path: Path) -> None:
    origin = json.loads(json.dumps(image.blur(PICTURE, 1.0).origin))
    origin["parts"][origin["whole"]]["arguments"]["radius"] = 2.0
    place = Image(PICTURE.pixels, origin=origin).save(tmp_path / "changed.png")
    with pytest.raises(MediaError, match="carries damaged parts"):
        compose.replay(place, given=[PICTURE])


def test_a_recorded_function_makes_an_artifact() -> None:
    @compose.recorded
    def wrong() -> Artifact:
        return "text"  # type: ignore[return-value]

    with pytest.raises(InputError, match="a recorded function makes an artifact"):
        wrong()


def test_every_finishing_function_that_returns_an_artifact_is_recorded(tmp_path: Path) -> None:
    names = {name.removeprefix("aigc_sdk_process.finish.") for name in record.RECORDED}
    wanted = {
        "audio.channels", "audio.concatenate", "audio.cut", "audio.fade", "audio.fit", "audio.gate", "audio.mix",
        "audio.resample", "audio.stretch", "audio.trim", "image.blur", "image.colour_temperature", "image.contrast",
        "image.denoise", "image.remove_background", "image.resize", "image.sharpen", "image.tile", "image.upscale",
        "image.watermark", "loudness.normalized", "slides.animation", "slides.slideshow", "soundtrack.with_sound",
        "subtitles.burn", "text.finished", "text.joined", "text.mended", "text.spaced", "text.tidy",
        "text.without_repeats", "video.concatenate", "video.cut", "video.fit", "video.interpolate", "video.poster",
        "video.resize", "video.speed",
    }  # fmt: skip
    assert wanted <= names
    assert video.poster(slides.animation([PICTURE], 1)).origin["whole"]
    assert media.read(text.tidy("a ,b").save(tmp_path / "a.txt")).origin["whole"]


@pytest.mark.parametrize("name", ["mutated.png", "mutated.wav", "mutated.mp4", "mutated.json"])
def test_a_damaged_file_gives_a_typed_error_or_what_is_left_of_it(name: str, tmp_path: Path) -> None:
    made: dict[str, Artifact] = {
        "png": image.blur(PICTURE, 1.0),
        "wav": audio.fade(MUSIC, fade_in=0.1),
        "mp4": slides.animation([PICTURE] * 3, 5),
        "json": text.tidy("a ,b"),
    }
    whole = made[name.split(".")[1]].save(tmp_path / name).read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(250):
        damaged = bytearray(whole)
        for place in draw.integers(0, min(len(whole), 3000), draw.integers(1, 4)):
            damaged[place] = draw.integers(0, 256)
        (tmp_path / name).write_bytes(
            bytes(damaged[: len(whole) if draw.random() < 0.7 else draw.integers(0, len(whole))])
        )
        try:
            compose.replay(tmp_path / name, given=[PICTURE, MUSIC])
        except AigcError:
            continue
