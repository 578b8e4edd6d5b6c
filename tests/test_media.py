"""Files of every format: what comes back, what is inside, and what damage does."""

import hashlib
import io
import json
import os
import random
import re
import stat
import subprocess
import sys
import threading
import time
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from aigc_sdk import Artifact, Audio, Image, Text, Video, _limits, media, read, replay
from aigc_sdk.errors import DiskError, MediaError

PROMPT = 'a --> b\n<!-- aigc_sdk: {"x": 1} -->\nünï 漢字 \N{SNOWMAN}\u2028\0"\\</pre>\r\n'
ORIGIN = {"backend": "echo", "prompt": PROMPT, "seed": 2**63 - 1, "options": {"temperature": 0.1, "stop": ["-->"]}}
SUFFIXES = list(media.FORMATS)
EXACT = ["txt", "md", "json", "png", "webp", "gif", "zip", "wav", "flac"]
CODED = [each for each in SUFFIXES if media.FORMATS[each].kind != "text"]


def picture(height: int = 21, width: int = 33) -> Image:
    y, x = np.mgrid[:height, :width]
    return Image(np.stack([x * 7 % 256, y * 11 % 256, (x + y) * 3 % 256], -1).astype(np.uint8), origin=ORIGIN)


def film(time: int = 6, height: int = 20, width: int = 32, fps: float = 12.5) -> Video:
    """Few colours, so that GIF keeps them all."""
    t, y, x = np.mgrid[:time, :height, :width]
    on = (x - 3 * t) ** 2 + (y - 10) ** 2 < 36
    return Video(np.where(on[..., None], (230, 120, 40), (20, 40, 90)).astype(np.uint8), fps=fps, origin=ORIGIN)


def sound(seconds: float = 0.1, rate: int = 24_000, channels: int = 1) -> Audio:
    """On the grid of 16 bits, so that PCM keeps every sample."""
    t = np.arange(round(seconds * rate)) / rate
    waves = [0.5 * np.sin(2 * np.pi * 440 * (1 + channel) * t) for channel in range(channels)]
    samples = (np.rint(np.stack(waves) * 32768) / 32768 + 0.0).astype(np.float32)  # no negative zeros
    return Audio(samples, sample_rate=rate, origin=ORIGIN)


MADE: dict[str, Artifact] = {
    "text": Text("One line.\r\nAnother, 漢字.\n", origin=ORIGIN, info={"finish_reason": "stop"}),
    "image": picture(),
    "video": film(),
    "audio": sound(),
}


def made(suffix: str) -> Artifact:
    return MADE[media.FORMATS[suffix].kind]


def written(folder: Path, suffix: str, data: bytes) -> Path:
    path = folder / f"file.{suffix}"
    path.write_bytes(data)
    return path


def difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("suffix", EXACT)
def test_lossless_formats_give_back_what_was_saved(tmp_path: Path, suffix: str) -> None:
    path = made(suffix).save(tmp_path / f"made.{suffix}")
    assert read(path) == made(suffix)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "mp4", "webm"])
def test_lossy_pictures_and_films_come_back_much_alike(tmp_path: Path, suffix: str) -> None:
    name = "pixels" if suffix.startswith("j") else "frames"
    back, was = (getattr(each, name) for each in (read(made(suffix).save(tmp_path / f"a.{suffix}")), made(suffix)))
    assert back.shape == was.shape
    assert difference(back, was) < 6  # sharp edges in colour are what these formats spare


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
@pytest.mark.parametrize("rate", [11_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_sounds_come_back_as_long_and_much_alike(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    was = sound(0.5, rate, channels)
    back = read(was.save(tmp_path / f"a.{suffix}"))
    assert isinstance(back, Audio)
    assert len(back.samples) == channels
    assert back.duration == pytest.approx(was.duration, abs=1 / 8000)
    loudest = [np.abs(np.fft.rfft(each.samples[0])).argmax() / each.duration for each in (back, was)]
    assert loudest[0] == pytest.approx(loudest[1], abs=2.1)  # Hz


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bits_move_a_sample_by_at_most_half_a_step(tmp_path: Path, suffix: str) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (2, 1000)).astype(np.float32)
    samples[0, :4] = [1, -1, 0, 32767.4 / 32768]
    back = read(Audio(samples, sample_rate=8000).save(tmp_path / f"a.{suffix}"))
    assert isinstance(back, Audio)
    moved = np.abs(back.samples - samples)
    assert moved[0, 0] == pytest.approx(1 / 32768)
    moved[0, 0] = 0
    assert moved.max() <= 1 / 65536 + 1e-9
    again = read(back.save(tmp_path / f"b.{suffix}"))
    assert again == back


def test_wav_holds_any_number_of_channels(tmp_path: Path) -> None:
    assert read(sound(channels=5).save(tmp_path / "a.wav")) == sound(channels=5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_origin_is_in_the_file(tmp_path: Path, suffix: str) -> None:
    assert read(made(suffix).save(tmp_path / f"a.{suffix}")).origin == ORIGIN


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_origin_of_a_megabyte_is_in_the_file(tmp_path: Path, suffix: str) -> None:
    long = {"prompt": "漢" * 300_000 + "-->"}  # three bytes each in UTF-8
    artifact = type(made(suffix)).join([made(suffix)])
    object.__setattr__(artifact, "origin", long)
    assert read(artifact.save(tmp_path / f"a.{suffix}")).origin == long


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_origin_can_be_left_out(tmp_path: Path, suffix: str) -> None:
    path = made(suffix).save(tmp_path / f"a.{suffix}", origin=False)
    assert read(path).origin == {}
    assert b"prompt" not in path.read_bytes()


@pytest.mark.parametrize("note", ["[1]", "{", "null", "[" * 100_000, "", "9" * 10_000])
def test_a_strange_note_under_our_name_is_no_origin(tmp_path: Path, note: str) -> None:
    info = PIL.Image.Exif()
    info[0x010E] = f"aigc_sdk: {note}"
    PIL.Image.new("RGB", (3, 3)).save(tmp_path / "a.webp", exif=info)
    assert read(tmp_path / "a.webp").origin == {}


def test_ordinary_programs_see_the_origin(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    assert json.loads(PIL.Image.open(tmp_path / "a.png").text["aigc_sdk"]) == ORIGIN  # type: ignore[attr-defined]
    picture().save(tmp_path / "a.jpg")
    assert PIL.Image.open(tmp_path / "a.jpg").info["comment"].startswith(b'aigc_sdk: {"backend"')
    for suffix, name in (("mp4", "aigc_sdk"), ("mp3", "aigc_sdk"), ("flac", "aigc_sdk"), ("wav", "comment")):
        with av.open(str(made(suffix).save(tmp_path / f"a.{suffix}"))) as container:
            assert "backend" in container.metadata[name]


def test_an_origin_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="origin=False"):
        Text("a", origin={"prompt": object()}).save(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["txt", "md"])
@pytest.mark.parametrize("origin", [{}, {"prompt": "x"}])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\ufeffbyte order mark",
        "no end of line",
        "\r\n\r",
        '<!-- aigc_sdk: {"seed": 1} -->',
        'a\n<!-- aigc_sdk: {"seed": 1} -->',
        'a\n<!-- aigc_sdk: {"seed": 1} -->\n',
        'a\n<!-- aigc_sdk: {"seed": 1} -->\r\n',
        "a\n<!-- aigc_sdk: {} -->\n<!-- aigc_sdk: {} -->\n",
        "a\n<!-- aigc_sdk: nothing -->\n",
        "a\n<!-- aigc_sdk: ",
    ],
)
def test_every_text_survives_its_file(tmp_path: Path, suffix: str, origin: dict[str, str], text: str) -> None:
    back = read(Text(text, origin=origin).save(tmp_path / f"a.{suffix}"))
    assert back == Text(text)
    assert back.origin == origin


def test_the_origin_line_of_a_text_survives_a_change_of_line_ends(tmp_path: Path) -> None:
    data = media.encode(Text("one\ntwo", origin=ORIGIN), "md").replace(b"\n", b"\r\n")
    back = read(written(tmp_path, "md", data))
    assert back == Text("one\r\ntwo")
    assert back.origin == ORIGIN


def test_json_holds_text_origin_and_info(tmp_path: Path) -> None:
    path = MADE["text"].save(tmp_path / "a.json")
    assert json.loads(path.read_text()) == {
        "text": str(MADE["text"]),
        "origin": ORIGIN,
        "info": {"finish_reason": "stop"},
    }
    assert read(path).info == {"finish_reason": "stop"}
    assert "漢字" in path.read_text()


@pytest.mark.parametrize("suffix", ["txt", "md", "json"])
def test_text_that_no_file_can_hold_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(MediaError, match=r"lone surrogate \\ud800"):
        Text("a\ud800b").save(tmp_path / f"a.{suffix}")


def test_info_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"save it as \.txt"):
        Text("a", info={"tensor": object()}).save(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["[]", '"text"', "{}", '{"text": 1}', '{"text": "a", "info": 3}', "[" * 200_000])
def test_json_that_holds_no_text_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(MediaError):
        read(written(tmp_path, "json", content.encode()))


def test_equal_artifacts_give_equal_files_also_in_another_process() -> None:
    script = (
        "import hashlib, importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('made', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(*(hashlib.sha256(module.media.encode(module.made(s), s)).hexdigest() for s in module.SUFFIXES))"
    )
    command = [sys.executable, "-c", script, __file__]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    here = [hashlib.sha256(media.encode(made(suffix), suffix)).hexdigest() for suffix in SUFFIXES]
    assert [run.stdout.split() for run in runs] == [here, here]


def test_equal_artifacts_give_equal_files_from_several_threads() -> None:
    found: dict[int, list[bytes]] = {}

    def work(name: int) -> None:
        found[name] = [media.encode(made(suffix), suffix) for suffix in SUFFIXES]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2] == found[3]


def test_encoding_reads_arrays_in_any_memory_layout() -> None:
    backwards = np.ascontiguousarray(film().frames[:, ::-1])[:, ::-1]
    assert media.encode(Video(backwards, fps=12.5), "mp4") == media.encode(film(), "mp4", origin=False)
    channels_first = np.ascontiguousarray(picture().pixels.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert media.encode(Image(channels_first), "png") == media.encode(picture(), "png", origin=False)
    time_first = np.ascontiguousarray(sound(channels=2).samples.T).T
    for suffix in ("wav", "flac", "ogg"):
        plain = media.encode(sound(channels=2), suffix, origin=False)
        assert media.encode(Audio(time_first, sample_rate=24_000), suffix) == plain


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (21, 32), (20, 33), (21, 33)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_films_of_any_size_come_back_with_that_size(tmp_path: Path, count: int, height: int, width: int) -> None:
    frames = np.full((count, height, width, 3), (200, 30, 60), np.uint8)
    for suffix in ("mp4", "webm", "gif", "zip"):
        path = Video(frames, fps=24).save(tmp_path / f"a.{suffix}")
        back = read(path)
        assert isinstance(back, Video)
        assert back.frames.shape == frames.shape
        assert difference(back.frames, frames) < 2
    with av.open(str(tmp_path / "a.mp4")) as container:  # players show the sizes that the codec knows, which are even
        assert container.streams.video[0].width == width + width % 2


@pytest.mark.parametrize("fps", [0.5, 1, 7.123, 12.5, 23.976, 24, 30000 / 1001, 50])
def test_films_keep_their_frame_rate(tmp_path: Path, fps: float) -> None:
    for suffix in ("mp4", "webm", "gif", "zip"):
        back = read(film(fps=fps).save(tmp_path / f"a.{suffix}"))
        assert isinstance(back, Video)
        assert back.fps == pytest.approx(fps, rel=1e-6)


def test_colours_of_films_are_tagged_and_come_back(tmp_path: Path) -> None:
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 180, 40)):
        frames = np.full((2, 32, 32, 3), colour, np.uint8)
        path = Video(frames, fps=24).save(tmp_path / "a.mp4")
        back = read(path)
        assert isinstance(back, Video)
        assert np.abs(back.frames.astype(int) - frames).max() <= 4
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)  # BT.709


def test_gif_keeps_equal_frames_that_follow_each_other(tmp_path: Path) -> None:
    still = np.repeat(film(1).frames, 5, axis=0)
    frames = np.concatenate([still, film().frames, still])
    back = read(Video(frames, fps=24).save(tmp_path / "a.gif"))
    assert back == Video(frames, fps=24)


def test_a_gif_of_others_plays_at_the_rate_that_its_durations_share(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[200, 100, 300])
    back = read(tmp_path / "a.gif")
    assert isinstance(back, Video)
    assert back.fps == 10
    assert [tuple(each) for each in back.frames[:, 0, 0]] == [(255, 0, 0)] * 2 + [(0, 128, 0)] + [(0, 0, 255)] * 3


def test_gif_refuses_more_frames_per_second_than_it_plays(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"at most 50 frames per second.*\.mp4"):
        film(fps=60).save(tmp_path / "a.gif")


def test_pictures_of_others_come_as_upright_eight_bit_rgb(tmp_path: Path) -> None:
    grey = (np.arange(16).reshape(4, 4) * 4096).astype(np.uint16)
    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    PIL.Image.new("CMYK", (4, 2), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    PIL.Image.new("RGB", (4, 2)).save(tmp_path / "turned.jpg", exif=turned)
    back = {each.stem: read(each) for each in tmp_path.iterdir()}
    assert all(isinstance(each, Image) for each in back.values())
    assert np.array_equal(back["grey"].pixels[..., 0], grey >> 8)  # type: ignore[attr-defined]
    assert difference(back["print"].pixels, np.array([255, 0, 0])) < 5  # type: ignore[attr-defined]
    assert back["turned"].pixels.shape == (4, 2, 3)  # type: ignore[attr-defined]


def wave(codec: str, samples: NDArray[np.float32]) -> bytes:
    """A WAV file as other programs write it."""
    buffer, layout = io.BytesIO(), "stereo" if len(samples) == 2 else "mono"
    with av.open(buffer, "w", format="wav") as container:
        container.metadata["comment"] = "mqqqqn"
        stream: Any = container.add_stream(codec, rate=8000, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return buffer.getvalue()


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s24le", "pcm_f32le", "pcm_mulaw"])
def test_sounds_of_others_are_read_with_metadata_in_any_encoding(tmp_path: Path, codec: str) -> None:
    data = wave(codec, sound(rate=8000, channels=2).samples)
    back = read(written(tmp_path, "wav", data.replace(b"qqqq", b"\xe4\xf6\xfc\xff")))
    assert isinstance(back, Audio)
    assert difference(back.samples, sound(rate=8000, channels=2).samples) < 0.01


def test_samples_of_others_that_leave_the_range_are_clipped_and_nan_is_refused(tmp_path: Path) -> None:
    loud = written(tmp_path, "wav", wave("pcm_f32le", np.array([[2, -3, 0.5]], np.float32)))
    assert read(loud) == Audio(np.array([[1, -1, 0.5]], np.float32), sample_rate=8000)
    with pytest.raises(MediaError):
        read(written(tmp_path, "wav", wave("pcm_f32le", np.array([[0, np.nan]], np.float32))))


@pytest.mark.parametrize(("audio_rate", "size"), [(16_000, 32), (22_050, 33), (11_000, 32), (96_000, 32)])
def test_mux_puts_film_and_sound_into_one_file_with_both_origins(tmp_path: Path, audio_rate: int, size: int) -> None:
    path = media.mux(film(12, size, size), sound(0.5, audio_rate, 2), tmp_path / "both.mp4")
    with av.open(str(path)) as container:
        kinds = {stream.type: stream.codec_context.name for stream in container.streams}
        heard = sum(frame.samples for frame in container.decode(audio=0)) / container.streams.audio[0].rate
    assert kinds == {"video": "h264", "audio": "aac"}
    assert heard == pytest.approx(0.5, abs=0.05)  # AAC comes in blocks of 1024 samples
    back = read(path)
    assert isinstance(back, Video)
    assert back.frames.shape == (12, size, size, 3)
    assert back.origin == {"video": ORIGIN, "audio": ORIGIN}
    assert path.read_bytes() == media.mux(film(12, size, size), sound(0.5, audio_rate, 2), path).read_bytes()
    with pytest.raises(MediaError, match="put together"):
        replay(path)


def test_mux_refuses_what_is_no_film_and_sound(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"written as \.mp4"):
        media.mux(film(), sound(), tmp_path / "a.gif")
    with pytest.raises(MediaError, match="Audio and Video"):
        media.mux(sound(), film(), tmp_path / "a.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("artifact", "name", "known"),
    [
        (Text("a"), "a.png", "txt, md, json"),
        (picture(), "a.mp4", "png, jpg, jpeg, webp"),
        (film(), "a.png", "mp4, webm, gif, zip"),
        (sound(), "a.m4a", "wav, flac, mp3, ogg"),
        (sound(), "a", "wav, flac, mp3, ogg"),
        (sound(), "a.wav.", "wav, flac, mp3, ogg"),
        (sound(), ".wav", "wav, flac, mp3, ogg"),
        (sound(), "", "wav, flac, mp3, ogg"),
    ],
)
def test_another_suffix_is_refused_with_those_that_fit(
    tmp_path: Path, artifact: Artifact, name: str, known: str
) -> None:
    with pytest.raises(MediaError, match=f"{type(artifact).__name__} cannot be written .*use one of: {known}"):
        artifact.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    assert read(picture().save(tmp_path / "A.PNG")) == picture()


def test_media_types_have_names() -> None:
    assert media.mime_type("png") == media.mime_type("PNG") == "image/png"
    with pytest.raises(MediaError, match="bmp"):
        media.mime_type("bmp")


@pytest.mark.parametrize(
    ("artifact", "suffix"),
    [
        (Image(np.zeros((0, 4, 3), np.uint8)), "png"),
        (Video(np.zeros((0, 4, 4, 3), np.uint8), fps=24), "mp4"),
        (Video(np.zeros((0, 4, 4, 3), np.uint8), fps=24), "gif"),
        (Audio(np.zeros((1, 0), np.float32), sample_rate=8000), "wav"),
        (Audio(np.zeros((0, 9), np.float32), sample_rate=8000), "ogg"),
        (Audio(np.zeros((1, 3), np.float32), sample_rate=22_050), "ogg"),
        (sound(channels=3), "mp3"),
        (Image(np.zeros((1, 20_000, 3), np.uint8)), "webp"),
        (Image(np.zeros((1, 70_000, 3), np.uint8)), "jpg"),
        (film(fps=1e-6), "mp4"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, artifact: Artifact, suffix: str) -> None:
    with pytest.raises(MediaError, match=f"cannot be written as {suffix}"):
        artifact.save(tmp_path / f"a.{suffix}")
    assert not list(tmp_path.iterdir())


def outcome(path: Path, seconds: float = 10) -> Artifact | None:
    """What reading gives; None for a MediaError. Nothing else may come of a damaged file, and soon."""
    started = time.process_time()
    found, complaint = None, ""
    try:
        found = read(path)
    except MediaError as error:
        complaint = str(error)
    assert "0x" not in complaint  # an address in memory is nobody's business
    assert time.process_time() - started < seconds
    return found


def check_truncations(folder: Path, suffix: str, count: int) -> None:
    """Cut anywhere, a file is refused, unless nothing but metadata at its end is missing."""
    data = media.encode(made(suffix), suffix)
    whole = read(written(folder, suffix, data))
    for size in sorted({*range(0, len(data), max(1, len(data) // count)), *range(len(data) - 12, len(data))}):
        assert outcome(written(folder, suffix, data[:size])) in (None, whole), size


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes replaced, cut out or put in, and numbers at their extremes; headers half of the time."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 8])):
        at = rng.randrange(min(len(changed), 200) if rng.random() < 0.5 else len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
            case 2:
                changed[at] = rng.choice([0, 127, 128, 255])
            case _:
                changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x80"])
    return bytes(changed) or b"\0"


def check_mutations(folder: Path, suffix: str, count: int) -> None:
    data = media.encode(made(suffix), suffix)
    rng = random.Random(suffix)
    for _ in range(count):
        found = outcome(written(folder, suffix, mutated(data, rng)))
        assert found is None or found.kind == media.FORMATS[suffix].kind


pillow_mutters = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pillow_mutters
@pytest.mark.parametrize("suffix", CODED)
def test_files_that_are_cut_short_are_refused(tmp_path: Path, suffix: str) -> None:
    check_truncations(tmp_path, suffix, 60)


@pillow_mutters
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_give_media_errors_only(tmp_path: Path, suffix: str) -> None:
    check_mutations(tmp_path, suffix, 150)


@pytest.mark.slow
@pillow_mutters
@pytest.mark.parametrize("suffix", CODED)
def test_files_that_are_cut_at_any_byte_are_refused(tmp_path: Path, suffix: str) -> None:
    check_truncations(tmp_path, suffix, 10**9)


@pytest.mark.slow
@pillow_mutters
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_damaged_files_give_media_errors_only(tmp_path: Path, suffix: str) -> None:
    check_mutations(tmp_path, suffix, 3000)


def bomb(suffix: str) -> bytes:
    """A small file that claims 2.5 billion pixels."""
    data = bytearray(media.encode(made(suffix), suffix, origin=False))
    if suffix == "png":
        at = data.index(b"IHDR") + 4
        data[at : at + 8] = (50_000).to_bytes(4, "big") * 2
        data[at + 13 : at + 17] = zlib.crc32(data[at - 4 : at + 13]).to_bytes(4, "big")
    elif suffix == "jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = (50_000).to_bytes(2, "big") * 2
    else:
        data[6:10] = (50_000).to_bytes(2, "little") * 2
    return bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif"])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, suffix, bomb(suffix))
    script = (
        "import sys, aigc_sdk\n"
        "try: aigc_sdk.read(sys.argv[1])\n"
        "except aigc_sdk.errors.MediaError: print(open('/proc/self/status').read())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, path], capture_output=True, text=True, check=True
    )
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)  # getrusage would count the parent's peak in
    assert int(peak) < 300_000


def test_a_picture_just_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in ("png", "jpg", "webp", "gif", "mp4", "webm", "zip"):
        path = made(suffix).save(tmp_path / f"a.{suffix}")
        monkeypatch.setattr(_limits, "PIXEL_LIMIT", 20 * 32 - 1)
        with pytest.raises(MediaError, match=r"pixels; the limit is 639"):
            read(path)
        monkeypatch.undo()
        assert read(path)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "zip", "wav", "flac", "mp3", "ogg"])
def test_films_and_sounds_that_are_too_large_in_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = made(suffix).save(tmp_path / f"a.{suffix}")
    monkeypatch.setattr(_limits, "DECODED_LIMIT", 5000)
    with pytest.raises(MediaError, match="the limit is 5,000, so split it"):
        read(path)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as file:
        file.truncate(10**11)  # a hole, which takes no space
    with pytest.raises(MediaError, match=r"100,000,000,000 bytes; the limit is"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", CODED)
@pytest.mark.parametrize(
    "content",
    [
        b"ffconcat version 1.0\nfile 'secret.wav'\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n",
        b"http://127.0.0.1:9/",
        b"<svg><image href='file:///etc/passwd'/></svg>",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>secret.wav</BaseURL></MPD>",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"",
        b"\0" * 5000,
    ],
)
def test_files_that_refer_to_others_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    sound().save(tmp_path / "secret.wav")
    with pytest.raises(MediaError):
        read(written(tmp_path, suffix, content))


def test_a_film_cannot_name_another_file_as_its_data(tmp_path: Path) -> None:
    data = media.encode(film(), "mp4", origin=False)
    entry = b"\0\0\0\x0curl \0\0\0\x01"  # "the data is in this file"
    assert entry in data
    path = str(tmp_path / "secret.mp4").encode()
    film().save(tmp_path / "secret.mp4")
    for reference in (b"file://" + path, b"http://127.0.0.1:9/a.mp4"):
        found = outcome(written(tmp_path, "mp4", data.replace(entry, b"\0\0\0\x0curl \0\0\0\0" + reference)))
        assert found is None


def test_a_format_under_another_name_is_refused(tmp_path: Path) -> None:
    for suffix in CODED:
        for other in CODED:
            if media.FORMATS[suffix].mime != media.FORMATS[other].mime:
                with pytest.raises(MediaError):
                    read(written(tmp_path, other, media.encode(made(suffix), suffix)))


def test_codecs_that_nobody_needs_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 32, 20, "yuvj420p"
        for pixels in film().frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="encoded as mjpeg"):
        read(written(tmp_path, "mp4", buffer.getvalue()))


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    for name in ("fifo.wav", "zero.wav", "folder.wav"):
        with pytest.raises(MediaError, match="not an ordinary file"):
            read(tmp_path / name)
        with pytest.raises(MediaError, match="not an ordinary file"):
            sound().save(tmp_path / name)
    with pytest.raises(DiskError):
        read(tmp_path / "loop.wav")
    for missing in ("none.wav", "folder.wav/none.wav", "fifo.wav/none.wav", "a\0b.wav"):
        with pytest.raises(MediaError, match="there is no file"):
            read(tmp_path / missing)
    with pytest.raises(MediaError, match="not a possible file name"):
        sound().save(tmp_path / "a\0b.wav")
    with pytest.raises(MediaError, match=r"none of the suffixes .* png"):
        read(tmp_path / "none.bmp")


def test_a_long_name_outside_ascii_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("漢" * 80 + ".png")  # 244 bytes of the 255 that file systems allow
    assert read(picture().save(path)) == picture()


def test_saving_leaves_one_file_of_the_usual_mode_and_replaces_the_old_one(tmp_path: Path) -> None:
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            path = picture().save(tmp_path / "a.png")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_a_disk_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"none.a\.png"):
        picture().save(tmp_path / "none" / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="a part of the path is a file"):
        picture().save(tmp_path / "file" / "a.png")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    old = Text("old").save(tmp_path / "a.txt")
    script = (
        "import resource, sys, aigc_sdk\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: aigc_sdk.Text('new' * 100_000).save(sys.argv[1])\n"
        "except aigc_sdk.errors.DiskError as error: print(error, isinstance(error, OSError), error.__cause__)"
    )
    done = subprocess.run([sys.executable, "-c", script, old], capture_output=True, text=True, check=True)
    assert "a.txt cannot be written" in done.stdout
    assert "True" in done.stdout
    assert str(read(old)) == "old"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_disk_error(tmp_path: Path) -> None:
    old = Text("old").save(tmp_path / "a.txt")
    old.chmod(0)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DiskError, match="you may not write there"):
            Text("new").save(old)
        with pytest.raises(DiskError, match="cannot be read"):
            read(old)
    finally:
        tmp_path.chmod(0o700)


def test_a_read_only_file_system_is_a_disk_error() -> None:
    with pytest.raises(DiskError, match=r"/proc/a\.txt cannot be written"):
        Text("new").save("/proc/a.txt")


def test_reading_and_writing_say_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for suffix in SUFFIXES:
        data = media.encode(made(suffix), suffix)
        outcome(written(tmp_path, suffix, data))
        outcome(written(tmp_path, suffix, data[: len(data) // 2]))
    assert capfd.readouterr() == ("", "")


def test_importing_the_package_loads_no_torch_numpy_or_codec_and_opens_no_socket() -> None:
    script = (
        "import sys, socket\n"
        "def refuse(*_): raise SystemExit('a socket was opened')\n"
        "socket.socket.__init__ = refuse\n"
        "import aigc_sdk, aigc_sdk.media\n"
        "print(*({'torch', 'numpy', 'PIL', 'av', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
