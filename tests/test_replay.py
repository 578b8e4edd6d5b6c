"""Replay: an artifact's own file is enough to make it again, to the byte; or it says what is different."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk import Artifact, Audio, Backend, Generator, Image, Job, Text, Video, media, registry
from aigc_sdk.errors import AigcError, DeviceError, MediaError, NotAModel, OptionError, PromptError, UnknownBackend
from aigc_sdk.testing import contract
from aigc_sdk_echo.model import Echo
from aigc_sdk_echo.train import EchoTrainer

PROMPTS = ["one two three four --> five", 'ünï 漢字 <!-- aigc_sdk: {"x": 1} -->', "line\r\nends\n"]
TEXTS = [suffix for suffix, each in media.FORMATS.items() if each.kind == "text"]
OTHERS = [suffix for suffix, each in media.FORMATS.items() if each.kind != "text"]


class Painter(Generator[Any]):
    """Draws noise from the global state that it is lent, so that an item depends on those before it."""

    backend = "replay-image"
    dtype = "float32"
    weights = "w1"

    def __init__(self, device: str) -> None:
        self.device = device

    @classmethod
    def open(cls, source: Any = None, *, device: str = "auto", **arguments: Any) -> Self:
        return cls("cpu" if device == "auto" else device)

    def run(self, job: Job) -> Iterator[Artifact]:
        for sample in range(len(job)):
            yield self.piece(sample)

    def piece(self, sample: int) -> Artifact:
        return Image(noise(13, 17, 3), sample=sample)

    def save(self, folder: Any) -> None: ...

    def to(self, device: str) -> Self:
        return self

    def fingerprint(self) -> str:
        return self.weights


class Filmer(Painter):
    backend = "replay-video"

    def piece(self, sample: int) -> Artifact:
        return Video(noise(5, 18, 20, 3), fps=12.5, sample=sample)


class Speaker(Painter):
    backend = "replay-audio"

    def piece(self, sample: int) -> Artifact:
        return Audio(torch.rand(1, 2400).numpy() - np.float32(0.5), sample_rate=24_000, sample=sample)


class Describer(Painter):
    backend = "replay-text"
    prompt_types = (str, bytes)

    def piece(self, sample: int) -> Artifact:
        return Text(str(noise(4)), sample=sample)


def noise(*shape: int) -> Any:
    return torch.randint(256, shape, dtype=torch.uint8).numpy()


@pytest.fixture(autouse=True)
def backends() -> Iterator[None]:
    kinds: dict[Any, type[Painter]] = {"image": Painter, "video": Filmer, "audio": Speaker, "text": Describer}
    for kind, cls in kinds.items():
        aigc_sdk.register(cls.backend, Backend(summary="", artifact=kind, generator=f"{__name__}:{cls.__name__}"))
    yield
    for cls in kinds.values():
        aigc_sdk.unregister(cls.backend)
    registry.versions_of.cache_clear()


@pytest.mark.parametrize("suffix", TEXTS)
def test_every_text_of_a_batch_replays_to_the_byte(tmp_path: Path, suffix: str) -> None:
    for index, made in enumerate(Echo().generate(PROMPTS, n=3, shuffle=True, times=2)):
        path = made.save(tmp_path / f"{index}.{suffix}")
        before = path.read_bytes()
        replay = aigc_sdk.replay(path)
        assert (replay.same, replay.differences, str(replay)) == (True, (), "the same, to the byte")
        assert (replay.artifact, replay.artifact.origin) == (made, made.origin)
        assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", OTHERS)
def test_pictures_films_and_sounds_replay_to_the_byte(tmp_path: Path, suffix: str) -> None:
    made = aigc_sdk.load(f"replay-{media.FORMATS[suffix].kind}").generate([None, "two"], n=2)[2]
    path = made.save(tmp_path / f"made.{suffix}")
    with contract.untouched():
        replay = aigc_sdk.replay(path)
    assert (replay.same, replay.differences) == (True, ())
    assert replay.artifact == made


def test_a_batch_too_large_for_its_origin_replays_item_by_item(tmp_path: Path) -> None:
    made = Echo().generate([f"{index} " * 5000 for index in range(6)], n=2, seed=4)[-1]
    assert made.origin["call"] == {"seed": 4, "n": 2, "index": 11, "prompts": None}
    replay = aigc_sdk.replay(made.save(tmp_path / "made.txt"))
    assert (replay.same, replay.differences) == (True, ())


def test_a_model_in_a_folder_is_found_again_by_its_file(tmp_path: Path) -> None:
    EchoTrainer.open().fit(["the sea was calm and the sky was grey"], max_steps=2).save(tmp_path / "model")
    made = aigc_sdk.load(tmp_path / "model").generate("the", n=2, seed=1, babble=9)[1]
    path = made.save(tmp_path / "made.txt")
    assert aigc_sdk.replay(path).same
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(NotAModel, match="model"):
        aigc_sdk.replay(path)


# What is different


def saved(folder: Path, **origin: Any) -> Path:
    """A text of a batch, with another origin than it has."""
    made = Echo().generate(PROMPTS, n=2, seed=3)[3]
    return replace(made, origin={**made.origin, **origin}).save(folder / "made.txt")


def test_other_versions_are_told(tmp_path: Path) -> None:
    versions = {**registry.versions_of("echo"), "aigc-sdk-echo": "0.0.1", "gone": "1.0"}
    path = saved(tmp_path, versions=versions)
    replay = aigc_sdk.replay(path)
    now = registry.versions_of("echo")["aigc-sdk-echo"]
    told = (f"versions.aigc-sdk-echo was '0.0.1', is {now!r}", "versions.gone was '1.0', is None")
    assert (replay.same, replay.differences) == (False, told)
    assert str(replay) == f"not the same\n- {told[0]}\n- {told[1]}"
    assert replay.artifact == aigc_sdk.read(path)


def test_other_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = aigc_sdk.load("replay-image").generate(seed=1)[0].save(tmp_path / "made.png")
    monkeypatch.setattr(Painter, "weights", "w2")
    replay = aigc_sdk.replay(path)
    assert (replay.same, replay.differences) == (False, ("model.fingerprint was 'w1', is 'w2'",))


def test_an_edited_file_is_not_the_same_though_nothing_else_is_different(tmp_path: Path) -> None:
    path = Echo().generate("one two")[0].save(tmp_path / "made.txt")
    path.write_bytes(path.read_bytes().replace(b"one two\n", b"one too\n"))
    replay = aigc_sdk.replay(path)
    assert (replay.same, replay.differences, str(replay)) == (False, (), "not the same")
    assert replay.artifact.text == "one two"  # type: ignore[attr-defined]


def test_it_is_made_on_the_device_it_was_made_on_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = aigc_sdk.load("replay-image", device="elsewhere").generate(seed=1)[0].save(tmp_path / "made.png")
    assert aigc_sdk.replay(path).same
    moved = aigc_sdk.replay(path, device="cpu")
    assert (moved.same, moved.differences) == (False, ("device was 'elsewhere', is 'cpu'",))
    with pytest.raises(DeviceError, match="cuda"):
        aigc_sdk.replay(saved(tmp_path, device="cuda"))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of torch's threads, which is as it was after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.versions_of
    monkeypatch.setattr(registry, "versions_of", lambda name: {**known(name), "torch": torch.__version__})


@pytest.mark.usefixtures("of_torch")
def test_another_number_of_threads_is_told_and_does_not_make_the_same_content_another(
    tmp_path: Path, threads: Callable[[int], None]
) -> None:
    threads(2)
    path = aigc_sdk.load("replay-image", device="cpu").generate(seed=1)[0].save(tmp_path / "made.png")
    assert aigc_sdk.read(path).origin["threads"] == 2
    assert (aigc_sdk.replay(path).same, aigc_sdk.replay(path).differences) == (True, ())
    threads(1)
    replay = aigc_sdk.replay(path)
    assert (replay.same, replay.differences) == (True, ("threads was 2, is 1",))
    assert replay.artifact.origin["threads"] == 1


@pytest.mark.usefixtures("of_torch")
def test_a_file_that_records_no_threads_is_compared_without_them(tmp_path: Path) -> None:
    made = aigc_sdk.load("replay-image", device="cpu").generate(seed=1)[0]
    path = replace(made, origin={k: v for k, v in made.origin.items() if k != "threads"}).save(tmp_path / "made.png")
    assert (aigc_sdk.replay(path).same, aigc_sdk.replay(path).differences) == (True, ())


def test_what_torch_has_no_part_in_records_no_threads() -> None:
    assert "threads" not in Echo().generate("one two")[0].origin


# What cannot be replayed


@pytest.mark.parametrize("suffix", ["txt", "json"])
def test_a_file_without_an_origin_is_refused(tmp_path: Path, suffix: str) -> None:
    path = Echo().generate("one")[0].save(tmp_path / f"made.{suffix}", origin=False)
    with pytest.raises(MediaError, match=rf"made\.{suffix} carries no origin"):
        aigc_sdk.replay(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is no file"):
        aigc_sdk.replay(tmp_path / "made.txt")


def test_a_film_and_its_sound_that_were_put_together_are_refused(tmp_path: Path) -> None:
    film, sound = (aigc_sdk.load(f"replay-{kind}").generate(seed=1)[0] for kind in ("video", "audio"))
    with pytest.raises(MediaError, match=r"both\.mp4 was put together from several artifacts; replay those"):
        aigc_sdk.replay(media.mux(film, sound, tmp_path / "both.mp4"))


def test_a_prompt_that_was_not_recorded_is_refused(tmp_path: Path) -> None:
    path = aigc_sdk.load("replay-text").generate(b"\0one")[0].save(tmp_path / "made.txt")
    with pytest.raises(MediaError, match=r"made from a prompt that a file cannot hold: b'\\x00one'"):
        aigc_sdk.replay(path)


KEYS = ("model", "device", "dtype", "options", "seed", "prompt")
CALL = {"seed": 3, "n": 2, "index": 3, "prompts": PROMPTS}
DAMAGED: dict[str, dict[str, Any]] = {
    **{f"{key} of another type": {key: [7]} for key in KEYS},
    "a model without a source": {"model": {"fingerprint": ""}},
    "a source that is none": {"model": {"source": None}},
    "a seed as text": {"seed": "3"},
    **{f"a call without {key}": {"call": {k: v for k, v in CALL.items() if k != key}} for key in CALL},
    **{f"a call with {key} as text": {"call": {**CALL, key: "3"}} for key in CALL},
    "a call that is a list": {"call": [3]},
    "a call that is nothing": {"call": None},
    "an index behind the last": {"call": {**CALL, "index": 6}},
    "a negative index": {"call": {**CALL, "index": -1}},
    "a call of no prompts": {"call": {**CALL, "prompts": []}},
    "a call of no samples": {"call": {**CALL, "n": 0}},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_origin_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MediaError, match=r"made\.txt carries a damaged origin"):
        aigc_sdk.replay(saved(tmp_path, **DAMAGED[kind]))


@pytest.mark.parametrize("key", ["backend", *KEYS])
def test_an_origin_without_a_part_is_refused(tmp_path: Path, key: str) -> None:
    made = Echo().generate("one")[0]
    origin = {name: value for name, value in made.origin.items() if name != key}
    with pytest.raises(MediaError, match=r"made\.txt"):
        aigc_sdk.replay(replace(made, origin=origin).save(tmp_path / "made.txt"))


@pytest.mark.parametrize(
    ("origin", "error", "said"),
    [
        ({"backend": "ehco"}, UnknownBackend, "Did you mean 'echo'"),
        ({"backend": "../x"}, UnknownBackend, "x"),
        ({"model": {"source": "/nowhere", "fingerprint": ""}}, NotAModel, "/nowhere"),
        ({"model": {"source": "~nobody-of-that-name/x", "fingerprint": ""}}, NotAModel, "~nobody-of-that-name/x"),
        ({"options": {"tims": 2}}, OptionError, "Did you mean 'times'"),
        ({"options": {"times": 0}}, OptionError, "times=0"),
        ({"options": {"seed": 1, "n": 2, "prompt": "x"}}, OptionError, "no option 'seed'"),
        ({"options": {"on_step": 1}}, OptionError, "no option 'on_step'"),
        ({"call": {**CALL, "seed": -1}}, OptionError, "seed=-1"),
        ({"call": {**CALL, "n": 10**9}}, OptionError, "n=1000000000"),
        ({"call": {**CALL, "prompts": [["a"], ["b"]]}}, PromptError, r"prompt\[0\] is a list"),
    ],
)
def test_an_origin_that_asks_for_what_is_not_there_is_refused_by_name(
    tmp_path: Path, origin: dict[str, Any], error: type[AigcError], said: str
) -> None:
    with pytest.raises(error, match=said):
        aigc_sdk.replay(saved(tmp_path, **origin))


def test_whatever_stands_in_an_origin_gives_a_typed_error_or_a_difference(tmp_path: Path) -> None:
    whole = json.loads(json.dumps(dict(Echo().generate(PROMPTS, n=2, seed=3)[3].origin)))
    places = [(key,) for key in whole] + [(key, part) for key in ("model", "options", "call") for part in whole[key]]
    outcomes = []
    for place in places:
        for value in (None, True, -1, 0.5, 10**30, "", "\0", "x" * 10_000, [], [[]], {}, {"unrecorded": 1}):
            changed = json.loads(json.dumps(whole))
            target = changed[place[0]] if len(place) > 1 else changed
            target[place[-1]] = value
            try:
                outcomes.append(aigc_sdk.replay(saved(tmp_path, **changed)).same)
            except AigcError as error:
                outcomes.append(error)
    assert len(outcomes) == 12 * len(places)
    assert sum(isinstance(each, AigcError) for each in outcomes) > len(outcomes) / 2
