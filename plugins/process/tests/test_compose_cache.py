"""The cache makes what changed, and keeps every bit of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk import Audio, Generator, Image, Text
from aigc_sdk.errors import FolderError, InputError, OptionError
from aigc_sdk_process.compose import Cache, generate
from aigc_sdk_process.finish import audio, image, slides, soundtrack, text, video

TONE = Audio((0.3 * np.sin(np.arange(16_000) / 20)).astype(np.float32)[None], sample_rate=16_000)


@pytest.fixture(scope="module")
def writer() -> Generator[Text]:
    return aigc_sdk.load("gpt2", device="cpu")


def made(cache: Cache, writer: Generator[Text], voice: Generator[Audio], **changes: Any) -> Audio:
    asked = {"prompt": "In the beginning", "tokens": 8, "seed": 3, "fade": 0.1, **changes}
    [draft] = cache.generate(writer, asked["prompt"], seed=asked["seed"], max_new_tokens=asked["tokens"])
    story = cache.call(text.joined, [asked["prompt"], draft])
    [speech] = cache.generate(voice, story, seed=0)
    return cache.call(audio.fade, speech, fade_in=asked["fade"])


def test_a_rerun_makes_nothing_and_a_change_only_what_depends_on_it(tmp_path: Path, writer: Generator[Text]) -> None:
    voice = aigc_sdk.load("tts", device="cpu")
    first = made(Cache(tmp_path), writer, voice)
    again = Cache(tmp_path)
    second = made(again, writer, voice)
    assert (again.made, again.kept) == ([], ["gpt2", "joined", "tts", "fade"])
    assert second == first
    assert (dict(second.origin), second.info) == (json.loads(json.dumps(dict(first.origin))), first.info)
    for change, remade in [
        ({"fade": 0.2}, ["fade"]),
        ({"tokens": 9}, ["gpt2", "joined", "tts", "fade"]),
        ({"seed": 4}, ["gpt2", "joined", "tts", "fade"]),
    ]:
        changed = Cache(tmp_path)
        made(changed, writer, voice, **change)
        assert changed.made == remade


def test_other_weights_are_another_model(tmp_path: Path) -> None:
    import torch

    cache = Cache(tmp_path)
    painter: Any = aigc_sdk.load("vae", device="cpu")
    cache.generate(painter, seed=0)
    with torch.no_grad():
        next(iter(painter.network.parameters())).add_(0.01)
    cache.generate(painter, seed=0)
    assert cache.made == ["vae", "vae"]


def test_every_kind_of_artifact_comes_back_with_every_bit(tmp_path: Path) -> None:
    picture = Image(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8))
    film = soundtrack.with_sound(slides.animation([picture] * 5, 5), TONE)
    for each in range(2):
        cache = Cache(tmp_path)
        found = cache.call(video.cut, film, 0.2, 0.8)
        assert found == video.cut(film, 0.2, 0.8)
        assert cache.call(audio.fade, TONE, fade_in=0.3).samples.dtype == np.float32
        assert cache.call(text.tidy, "a ,b") == Text("a, b")
        assert cache.call(video.poster, film, 0.0) == picture
        assert len(cache.kept) == 4 * each


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    Cache(tmp_path).call(audio.fade, TONE, fade_in=0.3)
    [entry] = tmp_path.iterdir()
    whole = entry.read_bytes()
    for damaged in (b"", whole[:50], whole[:-100], whole[:-8] + b"\0\0\0\0\0\0\0\x3f", b"{}" * 400):
        entry.write_bytes(damaged)
        cache = Cache(tmp_path)
        assert cache.call(audio.fade, TONE, fade_in=0.3) == audio.fade(TONE, fade_in=0.3)
        assert cache.made == ["fade"]
    assert entry.read_bytes() == whole


def test_pruning_leaves_what_was_used(tmp_path: Path) -> None:
    Cache(tmp_path).call(audio.fade, TONE, fade_in=0.3)
    cache = Cache(tmp_path)
    cache.call(audio.fade, TONE, fade_in=0.4)
    (tmp_path / "notes.txt").write_text("mine")
    assert cache.prune() == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_timed_words_are_part_of_what_a_result_depends_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    said = [
        Audio(TONE.samples, sample_rate=16_000, info={"words": [{"text": each, "start": 0, "end": 1}]}) for each in "ab"
    ]
    assert [cache.call(audio.fade, each, fade_in=0.1).info["words"][0]["text"] for each in said] == ["a", "b"]


def test_what_nobody_can_tell_apart_and_what_a_hook_may_replace_is_made_every_time(tmp_path: Path) -> None:
    class Marked:
        @aigc_sdk.hookimpl
        def aigc_artifact(self, artifact: Any, job: Any) -> None:
            """Leaves it as it is; others would mark it."""

    cache, picture = Cache(tmp_path), Image(np.zeros((4, 6, 3), np.uint8))
    for _ in range(2):
        cache.call(image.upscale, picture, lambda small: image.resize(small, 12, 8))
    with aigc_sdk.using(Marked()):
        cache.call(image.blur, picture, 1.0)
    assert (cache.made, cache.kept) == (["upscale", "upscale", "blur"], [])
    assert not list(tmp_path.iterdir())


def test_a_text_as_prompt_gives_what_its_words_give(writer: Generator[Text]) -> None:
    prompts = [text.tidy("And  he"), Text("And she"), "And they"]
    results = generate(writer, prompts, n=2, seed=1, max_new_tokens=4)
    assert results == writer.generate([str(each) for each in prompts], n=2, seed=1, max_new_tokens=4)
    assert ["parts" in each.origin for each in results] == [True, True, False, False, False, False]


def test_a_cache_without_a_seed_a_function_that_is_not_recorded_and_a_file_as_folder_are_refused(
    tmp_path: Path, writer: Generator[Text]
) -> None:
    cache = Cache(tmp_path / "cache")
    with pytest.raises(OptionError, match="give a seed"):
        cache.generate(writer, "And", seed=None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is not recorded"):
        cache.call(str.upper, "a")  # type: ignore[type-var]
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="is not a folder"):
        Cache(tmp_path / "file")
    assert not (tmp_path / "cache").exists()
