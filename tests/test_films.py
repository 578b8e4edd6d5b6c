"""Films in files: with their sound, at a chosen quality, frame by frame without end, and as a sheet."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import aigc_sdk
from aigc_sdk import Audio, Backend, Generator, Image, Job, Video, _encode, media, read
from aigc_sdk.errors import DiskError, InputError, MediaError

ORIGIN = {"backend": "echo", "prompt": "waves", "seed": 3}
CODED = [(format, codec) for format, codecs in _encode.CONTAINERS.items() for codec in codecs]


def film(count: int = 12, height: int = 36, width: int = 48, fps: float = 12, seed: int = 0) -> Video:
    """Smooth noise that drifts, so that codecs have something to do."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + count, width // 4 + 1, 3))
    fine = coarse.repeat(4, 0).repeat(4, 1)[:, :width].astype(np.uint8)
    return Video(np.stack([fine[index : index + height] for index in range(count)]), fps=fps, origin=ORIGIN)


def tone(seconds: float = 1, rate: int = 24_000, channels: int = 1, start: float = 0) -> Audio:
    """Silence until `start`, then 440 Hz."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.where(t < start, 0, 0.5 * np.sin(2 * np.pi * 440 * t))
    return Audio(np.repeat(wave[None].astype(np.float32), channels, 0), sample_rate=rate)


def video(path: Path) -> Video:
    back = read(path)
    assert isinstance(back, Video)
    return back


def loss(one: Video, other: Video) -> float:
    return float(np.abs(one.frames.astype(float) - other.frames).mean())


# Sound


def test_a_film_is_equal_to_another_when_its_sound_is_too() -> None:
    silent, heard = film(), replace(film(), sound=tone())
    assert heard == replace(film(), sound=tone())
    assert hash(heard) == hash(replace(film(), sound=tone()))
    assert silent != heard != replace(film(), sound=tone(start=0.5))
    assert "with sound" in repr(heard)
    assert "sound" not in repr(silent)


def test_chunks_of_a_film_join_with_their_sounds() -> None:
    first, second = replace(film(), sound=tone(1)), replace(film(seed=1), sound=tone(0.5))
    whole = Video.join([first, film(), second])
    assert len(whole.frames) == 36
    assert whole.sound == Audio.join([tone(1), tone(0.5)])
    assert Video.join([film(), film()]).sound is None


def test_a_sound_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"Video\.sound is a str; give an Audio, or None"):
        Video(film().frames, fps=12, sound="beep")  # type: ignore[arg-type]


@pytest.mark.parametrize(("suffix", "rate"), [("mp4", 24_000), ("mp4", 44_100), ("webm", 48_000), ("zip", 22_050)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.71])
def test_a_film_comes_back_with_its_sound(
    tmp_path: Path, suffix: str, rate: int, channels: int, seconds: float
) -> None:
    was = replace(film(fps=30000 / 1001), sound=tone(seconds, rate, channels))
    back = video(was.save(tmp_path / f"a.{suffix}"))
    assert (back.fps, back.frames.shape, back.origin) == (was.fps, was.frames.shape, ORIGIN)
    assert back.sound is not None
    assert was.sound is not None
    assert (back.sound.sample_rate, back.sound.samples.shape) == (rate, was.sound.samples.shape)
    inner = slice(rate // 20, -rate // 20)
    assert np.abs(back.sound.samples - was.sound.samples)[:, inner].max() < 0.05


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_sound_and_film_are_in_step(tmp_path: Path, suffix: str) -> None:
    """A flash and a tone, both after a second; PyAV alone, as any player, finds them at one time."""
    frames = np.zeros((48, 32, 32, 3), np.uint8)
    frames[24:] = 255
    path = Video(frames, fps=24, sound=tone(2, 48_000, start=1)).save(tmp_path / f"a.{suffix}")
    with av.open(str(path)) as container:
        flash = next(frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)
    with av.open(str(path)) as container:
        heard = [(frame.time, frame.to_ndarray()) for frame in container.decode(audio=0)]
    loud = [time + (np.abs(samples) > 0.1).argmax() / 48_000 for time, samples in heard if np.abs(samples).max() > 0.1]
    assert flash == 1
    assert loud[0] == pytest.approx(1, abs=0.01)


def test_players_find_the_frames_the_rate_and_the_length(tmp_path: Path) -> None:
    path = replace(film(100, fps=30000 / 1001), sound=tone(100 * 1001 / 30000)).save(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == sum(1 for _ in container.decode(stream)) == 100
        assert stream.average_rate == Fraction(30000, 1001)
        assert stream.duration * stream.time_base == Fraction(100 * 1001, 30000)
    with av.open(str(path)) as container:
        packets = [packet.stream.type for packet in container.demux() if packet.size]
    assert "audio" in packets[:40]  # the sound lies between the frames, not behind them
    assert "video" in packets[-60:]


def test_mux_writes_webm_too_and_the_film_comes_back_with_the_sound(tmp_path: Path) -> None:
    back = video(media.mux(film(), tone(1, 48_000), tmp_path / "a.webm"))
    assert back.sound is not None
    assert back.sound.duration == pytest.approx(1)
    assert back.origin == {"video": ORIGIN, "audio": {}}


def test_gif_refuses_sound(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gif holds no sound; save it as \.mp4 or \.webm"):
        replace(film(), sound=tone()).save(tmp_path / "a.gif")


def test_a_sound_that_films_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="1 or 2 channels"):
        replace(film(), sound=tone(channels=3)).save(tmp_path / "a.mp4")
    assert replace(film(), sound=tone(channels=3)).save(tmp_path / "a.zip").exists()


def test_a_notebook_plays_the_sound() -> None:
    assert len(replace(film(), sound=tone())._repr_html_()) > len(film()._repr_html_()) + 2000


# Quality and codec


@pytest.mark.parametrize(("format", "codec"), CODED)
def test_more_quality_takes_more_bytes_and_loses_less(tmp_path: Path, format: str, codec: str) -> None:
    paths = [film().save(tmp_path / f"{quality}.{format}", quality=quality, codec=codec) for quality in (4, 20, 45)]
    sizes = [path.stat().st_size for path in paths]
    losses = [loss(video(path), film()) for path in paths]
    assert sizes == sorted(sizes, reverse=True)
    assert losses == sorted(losses)
    with av.open(str(paths[0])) as container:
        assert container.streams.video[0].codec_context.name == codec


def test_the_usual_quality_and_codec_may_be_written_out(tmp_path: Path) -> None:
    plain = film().save(tmp_path / "a.mp4").read_bytes()
    assert film().save(tmp_path / "b.mp4", quality=18, codec="h264").read_bytes() == plain


@pytest.mark.parametrize("quality", [-1, 52, 1.5, "high", True, 10**30])
def test_a_quality_that_the_codec_does_not_have_is_refused(tmp_path: Path, quality: Any) -> None:
    with pytest.raises(MediaError, match=r"quality=.*: give a whole number from 0, the best, to 51"):
        film().save(tmp_path / "a.mp4", quality=quality)


def test_a_codec_that_the_format_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"codec='h264': webm holds vp9"):
        film().save(tmp_path / "a.webm", codec="h264")
    with pytest.raises(MediaError, match=r"codec=\['h264'\]: mp4 holds h264, vp9"):
        film().save(tmp_path / "a.mp4", codec=["h264"])  # type: ignore[arg-type]
    for format in ("gif", "zip"):
        with pytest.raises(MediaError, match=f"{format} takes neither quality nor codec; mp4 and webm do"):
            film().save(tmp_path / f"a.{format}", quality=10)
    with pytest.raises(MediaError, match="png takes neither"):
        media.write(Image(film().frames[0]), tmp_path / "a.png", quality=3)


def repeated(repeats: int) -> None:
    for format, codec in CODED:
        for height, width in ((16, 16), (64, 64), (31, 33), (144, 176)):
            made = replace(film(20, height, width, seed=height), sound=tone(0.7))
            files = {media.encode(made, format, codec=codec, quality=30) for _ in range(repeats)}
            assert len(files) == 1, (format, codec, height)


def test_a_film_gives_the_same_bytes_every_time() -> None:
    repeated(2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_film_gives_the_same_bytes_sixty_times() -> None:
    repeated(60)


def test_every_codec_gives_the_same_bytes_from_several_threads() -> None:
    found: dict[int, list[bytes]] = {}

    def work(name: int) -> None:
        found[name] = [media.encode(film(), format, codec=codec) for format, codec in CODED]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2]


def test_encoders_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for format, codec in CODED:
        media.encode(film(), format, codec=codec, quality=10)
    assert capfd.readouterr() == ("", "")


class Talkie(Generator[Video]):
    """Makes a film with a sound from the seed."""

    backend = "films-talkie"
    dtype = "float32"
    device = "cpu"

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        return cls()

    def run(self, job: Job) -> Iterator[Video]:
        for sample in range(len(job)):
            yield replace(film(seed=job.seed + sample), sound=tone(), sample=sample, origin={})

    def save(self, folder: Any) -> None: ...

    def to(self, device: str) -> Self:
        return self

    def fingerprint(self) -> str:
        return "none"


@pytest.mark.parametrize(("format", "codec"), CODED)
def test_a_film_with_sound_replays_at_the_quality_it_was_saved_with(tmp_path: Path, format: str, codec: str) -> None:
    aigc_sdk.register(Talkie.backend, Backend(summary="", artifact="video", generator=f"{__name__}:Talkie"))
    try:
        [made] = aigc_sdk.load(Talkie.backend).generate(seed=5)
        path = made.save(tmp_path / f"a.{format}", codec=codec, quality=33)
        noted = read(path).origin
        assert noted["coding"] == {"quality": 33, "codec": codec}
        replay = aigc_sdk.replay(path)
        assert (replay.same, replay.differences) == (True, ())
        assert replay.artifact == made
        assert read(replace(made, origin=noted).save(tmp_path / f"b.{format}")).origin == made.origin
        for damage in (3, {"quality": 33}, {"path": "x", "codec": codec}):
            _damaged(made, damage, tmp_path / "d.zip")
            with pytest.raises(MediaError, match="damaged origin"):
                aigc_sdk.replay(tmp_path / "d.zip")
    finally:
        aigc_sdk.unregister(Talkie.backend)


def _damaged(made: Video, coding: Any, path: Path) -> None:
    made.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    facts = json.loads(contents["film.json"])
    facts["origin"]["coding"] = coding
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**contents, "film.json": json.dumps(facts).encode()}.items():
            archive.writestr(name, content)


# Frames in a zip


def test_a_zip_holds_a_picture_per_frame(tmp_path: Path) -> None:
    path = replace(film(3), sound=tone()).save(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["film.json", "000000.png", "000001.png", "000002.png", "sound.wav"]
        assert json.loads(archive.read("film.json")) == {"fps": 12, "frames": 3, "origin": ORIGIN}
        archive.extract("000002.png", tmp_path)
    assert read(tmp_path / "000002.png") == Image(film(3).frames[2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"film.json": None}, "it holds no film.json"),
        ({"000001.png": None}, "other files than"),
        ({"../000009.png": b""}, "other files than"),
        ({"film.json": b'{"fps": 12, "frames": 0}'}, "other files than"),
        ({"film.json": b'{"fps": 12, "frames": "3"}'}, "damaged"),
        ({"film.json": b'{"fps": -1, "frames": 3}'}, "damaged"),
        ({"film.json": b"[" * 100_000}, "damaged"),
        ({"000001.png": media.encode(Image(np.zeros((2, 2, 3), np.uint8)), "png")}, "another size"),
        ({"000001.png": b"x"}, "damaged"),
    ],
)
def test_another_zip_is_refused(tmp_path: Path, change: dict[str, bytes | None], said: str) -> None:
    with zipfile.ZipFile(film(3).save(tmp_path / "a.zip")) as archive:
        contents: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (contents | change).items():
            if content is not None:
                archive.writestr(name, content)
    with pytest.raises(MediaError, match=said):
        read(tmp_path / "b.zip")


# Frame by frame


@pytest.mark.parametrize(("format", "codec"), CODED)
@pytest.mark.parametrize("heard", [None, tone(1.7, 48_000)])
def test_frames_written_as_they_come_make_the_same_file(
    tmp_path: Path, format: str, codec: str, heard: Audio | None
) -> None:
    made = replace(film(40, 35, 48, fps=24), sound=heard)
    saved = made.save(tmp_path / f"a.{format}", codec=codec, quality=40)
    path = tmp_path / f"b.{format}"
    frames = iter(made.frames)
    written = media.write_film(path, frames, 24, sound=heard, codec=codec, quality=40, origin=ORIGIN)
    assert written.read_bytes() == saved.read_bytes()


def test_a_long_film_is_written_in_little_memory(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np\n"
        "from aigc_sdk import media\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "def frames(count):\n"
        "    for index in range(count):\n"
        "        yield np.roll(noise, index, 1)\n"
        "noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)\n"
        "media.write_film(sys.argv[1], frames(100), 24, quality=50)\n"
        "before = peak()\n"
        "media.write_film(sys.argv[1], frames(1500), 24, quality=50)\n"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.mp4"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10_000  # kB; the frames are 86 MB


def failing(error: Exception) -> Iterator[NDArray[np.uint8]]:
    yield from film(3).frames
    raise error


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(5, "mine"), KeyError("mine"), MediaError("mine")])
def test_an_error_of_the_frames_comes_as_it_is_and_leaves_the_old_file(tmp_path: Path, error: Exception) -> None:
    old = film(2).save(tmp_path / "a.mp4").read_bytes()
    with pytest.raises(type(error)) as caught:
        media.write_film(tmp_path / "a.mp4", failing(error), 24)
    assert caught.value is error
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [old]


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([film(1).frames[0], film(1, 20).frames[0]], r"frame 1 is \(20, 48, 3\), the first is \(36, 48, 3\)"),
        ([film(1).frames[0], film(1).frames[0].astype(np.float32)], "Image.pixels is float32"),
        ([film(1).frames], "Image.pixels is uint8 of shape"),
        (["a picture"], "Image.pixels is a str"),
        (7, "frames is a int"),
    ],
)
def test_what_are_no_frames_is_refused(tmp_path: Path, frames: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        media.write_film(tmp_path / "a.mp4", frames, 24)
    assert not list(tmp_path.iterdir())


def test_a_film_that_cannot_be_written_frame_by_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.gif: frames are written one by one as mp4 or webm"):
        media.write_film(tmp_path / "a.gif", film().frames, 24)
    with pytest.raises(MediaError, match=r"a\.mp4 cannot be written: the film has no frames"):
        media.write_film(tmp_path / "a.mp4", [], 24)
    with pytest.raises(InputError, match=r"Video\.fps is 0"):
        media.write_film(tmp_path / "a.mp4", film().frames, 0)
    with pytest.raises(MediaError, match="cannot hold 1e-06 frames per second"):
        media.write_film(tmp_path / "a.mp4", film().frames, 1e-6)
    with pytest.raises(DiskError, match=r"none.a\.mp4"):
        media.write_film(tmp_path / "none" / "a.mp4", film().frames, 24)
    with pytest.raises(MediaError, match="not a possible file name"):
        media.write_film(tmp_path / "a\0.mp4", film().frames, 24)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_while_frames_come_is_a_disk_error(tmp_path: Path) -> None:
    script = (
        "import resource, sys, numpy as np\n"
        "from aigc_sdk import errors, media\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "rng = np.random.default_rng(0)\n"
        "frames = (rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(200))\n"
        "try: media.write_film(sys.argv[1], frames, 24)\n"
        "except errors.DiskError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.mp4"], capture_output=True, text=True, check=True
    )
    assert "a.mp4 cannot be written" in done.stdout
    assert not list(tmp_path.iterdir())


# Films of others


def of_others(format: str, codec: str, sound_codec: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        heard = container.add_stream(sound_codec, rate=48_000, layout="mono")
        for pixels in film(10, 32, 32).frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        frame = av.AudioFrame.from_ndarray(tone(1, 48_000).samples, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux([*heard.encode(frame), *heard.encode(None)])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "codec", "heard"),
    [("mp4", "libx264", "libmp3lame"), ("mp4", "mpeg4", "ac3"), ("webm", "libvpx", "libopus")],
)
def test_films_of_others_are_read_with_their_sound(tmp_path: Path, format: str, codec: str, heard: str) -> None:
    path = tmp_path / f"a.{format}"
    path.write_bytes(of_others(format, codec, heard))
    back = video(path)
    assert (back.frames.shape, back.fps) == ((10, 32, 32, 3), 10)
    assert back.sound is not None
    assert back.sound.duration == pytest.approx(1, abs=0.06)


# Contact sheets


def test_a_contact_sheet_shows_the_frames_row_by_row() -> None:
    made = film(6, 10, 20)
    sheet = made.sheet(columns=3, gap=1)
    assert sheet.pixels.shape == (2 * 10 + 1, 3 * 20 + 2, 3)
    assert np.array_equal(sheet.pixels[11:, 21:41], made.frames[4])
    assert made.sheet(columns=6, scale=2).pixels.shape[0] == 20


def test_a_contact_sheet_of_some_frames_spreads_them_evenly() -> None:
    made = film(101, 8, 8)
    sheet = made.sheet(columns=3, count=3, gap=0)
    assert np.array_equal(sheet.pixels, np.concatenate([made.frames[index] for index in (0, 50, 100)], axis=1))
    assert made.sheet(count=1000).pixels.shape == made.sheet().pixels.shape


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": True}, {"count": 2.0}, {"columns": 0}, {"gap": -1}])
def test_a_contact_sheet_of_nothing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        film().sheet(**arguments)
    with pytest.raises(InputError):
        Video(np.zeros((0, 4, 4, 3), np.uint8), fps=24).sheet()
