"""The generators of diffusers' pipelines: the contract, steps and looks, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk.artifacts import Image, Video
from aigc_sdk.errors import (
    ContextOverflow,
    InputError,
    MismatchedFolder,
    NotAModel,
    NotOffered,
    OptionError,
    OutOfMemory,
    PromptError,
)
from aigc_sdk.protocols import Step
from aigc_sdk.testing import GeneratorContract
from aigc_sdk_video.pipelines import ImagePipeline, VideoPipeline, tiny_pipeline
from aigc_sdk_video.pipelines.model import Denoised

pytest.importorskip("diffusers")

SMALL: dict[str, Any] = {"num_frames": 5, "height": 16, "width": 16, "steps": 2}
BLACK = np.zeros((16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    place = tmp_path_factory.mktemp("wan") / "wan"
    VideoPipeline(tiny_pipeline("WanPipeline")).save(place)
    return VideoPipeline.open(place, device="cpu")


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> ImagePipeline:
    place = tmp_path_factory.mktemp("stable") / "stable"
    ImagePipeline(tiny_pipeline("StableDiffusionPipeline")).save(place)
    return ImagePipeline.open(place, device="cpu")


@pytest.fixture(scope="module")
def made() -> Callable[[str], VideoPipeline]:
    known: dict[str, VideoPipeline] = {}

    def make(name: str) -> VideoPipeline:
        if name not in known:
            known[name] = VideoPipeline(tiny_pipeline(name))
        return known[name]

    return make


class TestVideoPipeline(GeneratorContract):
    @pytest.fixture
    def model(self, wan: VideoPipeline) -> VideoPipeline:
        return wan

    @pytest.fixture
    def prompts(self) -> list[Any]:
        return ["a cat", "a dog runs"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {**SMALL, "guidance": 3.0, "negative_prompt": "blurred"}


class TestImagePipeline(GeneratorContract):
    @pytest.fixture
    def model(self, stable: ImagePipeline) -> ImagePipeline:
        return stable

    @pytest.fixture
    def prompts(self) -> list[Any]:
        return ["a cat", "a dog"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"steps": 2, "height": 16, "width": 16}


def test_load_opens_folders_of_both_kinds(wan: VideoPipeline, stable: ImagePipeline) -> None:
    assert isinstance(aigc_sdk.load(wan.source, device="cpu"), VideoPipeline)
    assert isinstance(aigc_sdk.load("diffusion", stable.source, device="cpu"), ImagePipeline)


def test_every_step_is_told_and_can_be_looked_at(wan: VideoPipeline) -> None:
    seen: list[tuple[int, int | None]] = []
    looks: list[Any] = []

    def watch(step: Step) -> None:
        assert isinstance(step, Denoised)
        seen.append((step.index, step.total))
        if step.look is not None:
            looks.append(step.preview())

    films = wan.generate("a cat", n=2, seed=1, on_step=watch, **SMALL)
    assert seen == [(index + 1, 8) for index in range(8)], "two steps and two pieces of each film"
    assert len(looks) == 4
    assert looks[1].frames.shape == films[0].frames.shape
    assert np.array_equal(looks[1].frames, films[0].frames), "after the last step it is the film"
    assert not np.array_equal(looks[0].frames, films[0].frames)


@pytest.mark.parametrize("name", ["HunyuanVideo15Pipeline", "DDPMPipeline"])
def test_pipelines_without_a_callback_tell_of_their_steps_too(name: str) -> None:
    model: Any = VideoPipeline(tiny_pipeline(name)) if "Video" in name else ImagePipeline(tiny_pipeline(name))
    chosen = SMALL if "Video" in name else {"steps": 2}
    seen: list[Step] = []
    model.generate("a cat" if "Video" in name else None, seed=1, on_step=seen.append, **chosen)
    assert [(each.index, each.total) for each in seen] == [(1, 2), (2, 2)]
    with pytest.raises(NotOffered, match="nothing to show"):
        seen[0].preview()  # type: ignore[attr-defined]


def test_a_call_is_cancelled_between_two_steps(wan: VideoPipeline) -> None:
    class Enough(Exception):
        pass

    seen = []

    def stop(step: Step) -> None:
        seen.append(step.index)
        raise Enough

    with pytest.raises(Enough):
        wan.generate("a cat", seed=1, on_step=stop, **{**SMALL, "steps": 50})
    assert seen == [1]
    assert torch.is_grad_enabled()


def test_the_callers_code_runs_with_its_own_grad_mode(wan: VideoPipeline) -> None:
    modes = []
    wan.generate("a cat", seed=1, on_step=lambda step: modes.append(torch.is_grad_enabled()), **SMALL)
    assert all(modes)


def test_a_picture_of_the_same_proportions_is_resized_and_another_is_asked_about() -> None:
    model = VideoPipeline(tiny_pipeline("WanImageToVideoPipeline"))
    large, wide = np.zeros((64, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)
    [film] = model.generate("a cat", image=large, seed=1, **SMALL)
    assert film.frames.shape == (5, 16, 16, 3)
    with pytest.raises(OptionError, match="fit='crop'") as caught:
        model.generate("a cat", image=wide, seed=1, **SMALL)
    assert caught.value.field == "image"
    for fit in ("crop", "stretch"):
        assert model.generate("a cat", image=wide, fit=fit, seed=1, **SMALL)[0].frames.shape == (5, 16, 16, 3)
    [own] = model.generate("a cat", image=wide, num_frames=5, steps=2, seed=1)
    assert own.frames.shape == (5, 32, 64, 3)


def test_a_picture_may_be_an_image_a_path_or_an_array(tmp_path: Path) -> None:
    model = VideoPipeline(tiny_pipeline("WanImageToVideoPipeline"))
    picture = Image(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    picture.save(tmp_path / "picture.png")
    given = [picture, picture.to_pil(), picture.pixels, tmp_path / "picture.png", str(tmp_path / "picture.png")]
    films = [model.generate("a cat", image=each, seed=1, **SMALL)[0] for each in given]
    assert all(each == films[0] for each in films)


def test_a_film_made_from_a_picture_replays_from_its_own_file(tmp_path: Path) -> None:
    place = tmp_path / "wan"
    VideoPipeline(tiny_pipeline("WanImageToVideoPipeline")).save(place)
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    [film] = VideoPipeline.open(place, device="cpu").generate("a cat", image=picture, seed=1, **SMALL)
    film.save(tmp_path / "film.mp4")
    assert aigc_sdk.replay(tmp_path / "film.mp4").same


def test_a_film_that_was_started_from_keeps_its_frame_rate(wan: VideoPipeline) -> None:
    film = Video(np.zeros((5, 16, 16, 3), np.uint8), fps=30000 / 1001)
    [other] = wan.generate("a cat", video=film, steps=2, seed=1)
    assert other.fps == film.fps


BAD: dict[str, tuple[str, str | None, dict[str, Any], type[Exception], str]] = {
    "no frames": ("WanPipeline", "a", {"num_frames": 0}, OptionError, "greater than or equal to 1"),
    "fewer than no frames": ("WanPipeline", "a", {"num_frames": -4}, OptionError, "greater"),
    "frames in between": ("WanPipeline", "a", {"num_frames": 8}, OptionError, "the nearest are 5 and 9"),
    "frames in between (LTX)": ("LTXPipeline", "a", {"num_frames": 12}, OptionError, "9 and 13"),
    "frames in between (CogVideoX)": ("CogVideoXPipeline", "a", {"num_frames": 13}, OptionError, "9 and 17"),
    "frames in between (Mochi)": ("MochiPipeline", "a", {"num_frames": 9}, OptionError, "7 and 13"),
    "half a frame": ("WanPipeline", "a", {"num_frames": 5.5}, OptionError, "num_frames"),
    "more frames than the adapter has places": (
        "AnimateDiffPipeline",
        "a",
        {"num_frames": 33},
        OptionError,
        "32 at most",
    ),
    "an odd side": ("WanPipeline", "a", {"height": 17, "width": 16}, OptionError, "the nearest are 16 and 32"),
    "a side in between": ("LTXPipeline", "a", {"height": 32, "width": 48}, OptionError, "32 and 64"),
    "one side alone": ("WanPipeline", "a", {"height": 16, "width": None}, OptionError, "both, or neither"),
    "a tiny side": ("WanPipeline", "a", {"height": 1, "width": 16}, OptionError, "greater"),
    "no prompt": ("WanPipeline", None, {}, PromptError, "makes what a text says"),
    "an empty prompt": ("WanPipeline", "", {}, PromptError, "empty"),
    "a prompt that is a number": ("WanPipeline", 7, {}, PromptError, "takes str"),  # type: ignore[dict-item]
    "a prompt where none is read": (
        "StableVideoDiffusionPipeline",
        "a",
        {"image": BLACK},
        PromptError,
        "reads no text",
    ),
    "a prompt that would be cut": ("LTXPipeline", "a" * 200, {}, ContextOverflow, "128"),
    "no picture": ("WanImageToVideoPipeline", "a", {}, OptionError, "starts from it"),
    "no film": ("WanVideoToVideoPipeline", "a", {"num_frames": None}, OptionError, "starts from it"),
    "a picture where none is taken": ("WanPipeline", "a", {"image": BLACK}, OptionError, "no use for it"),
    "a picture that is not there": ("LTXPipeline", "a", {"image": "/no/such.png"}, OptionError, "image"),
    "a picture that is none": ("LTXPipeline", "a", {"image": __file__}, OptionError, "image"),
    "a picture of floats": ("LTXPipeline", "a", {"image": BLACK / 255}, OptionError, "uint8"),
    "a picture without colours": ("LTXPipeline", "a", {"image": BLACK[:, :, 0]}, OptionError, "height x width x 3"),
    "a film that is not there": ("WanPipeline", "a", {"video": "/no/such.mp4"}, OptionError, "video"),
    "a film without frames": ("WanPipeline", "a", {"video": BLACK[None][:0]}, OptionError, "no frame"),
    "a film of the wrong length": (
        "WanPipeline",
        "a",
        {"video": np.repeat(BLACK[None], 6, 0), "num_frames": None},
        OptionError,
        "5 and 9",
    ),
    "a film and another number of frames": (
        "WanPipeline",
        "a",
        {"video": np.repeat(BLACK[None], 9, 0), "num_frames": 5},
        OptionError,
        "has 9 frames",
    ),
    "strength of nothing": ("WanPipeline", "a", {"strength": 0.5}, OptionError, "nothing to start from"),
    "strength of no step": (
        "WanPipeline",
        "a",
        {"video": np.repeat(BLACK[None], 5, 0), "strength": 0.1},
        OptionError,
        "no step at all",
    ),
    "too much strength": ("WanPipeline", "a", {"strength": 1.5}, OptionError, "less than or equal to 1"),
    "a last picture alone": ("WanPipeline", "a", {"last_image": BLACK}, OptionError, "no use"),
    "a negative prompt where none is read": (
        "StableVideoDiffusionPipeline",
        None,
        {"image": BLACK, "negative_prompt": "b"},
        OptionError,
        "no use for it",
    ),
    "guidance of a second expert": ("WanPipeline", "a", {"guidance_2": 2.0}, OptionError, "one expert"),
    "a negative prompt that would do nothing": (
        "HunyuanVideoPipeline",
        "a",
        {"negative_prompt": "b"},
        OptionError,
        "true_guidance",
    ),
    "a frame rate of 0": ("WanPipeline", "a", {"fps": 0.0}, OptionError, "greater than 0"),
    "half a frame rate": (
        "StableVideoDiffusionPipeline",
        None,
        {"image": BLACK, "fps": 7.5},
        OptionError,
        "whole number",
    ),
    "guidance that is no number": ("WanPipeline", "a", {"guidance": float("nan")}, OptionError, "finite"),
    "no steps": ("WanPipeline", "a", {"steps": 0}, OptionError, "greater"),
    "an unknown option": ("WanPipeline", "a", {"frames": 5}, OptionError, "num_frames"),
    "another fit": ("WanPipeline", "a", {"fit": "squeeze"}, OptionError, "refuse"),
    "more than the memory holds": (
        "WanPipeline",
        "a",
        {"num_frames": 9997, "height": 8192, "width": 8192},
        OutOfMemory,
        "fewer or smaller",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_made_is_refused_at_the_call(case: str, made: Callable[[str], VideoPipeline]) -> None:
    name, prompt, changed, error, message = BAD[case]
    model = made(name)
    family = model.family
    chosen = {each: value for each, value in SMALL.items() if each in family.takes or each == "steps"}
    chosen = {each: value for each, value in {**chosen, **changed}.items() if value is not None}
    if name.startswith("LTX"):
        chosen = {**chosen, "num_frames": changed.get("num_frames", 9), "height": 32, "width": 32, **changed}
    elif name.startswith(("CogVideoX", "Mochi", "AnimateDiff")):
        chosen = {"steps": 2, **changed}
    with pytest.raises(error, match=message):
        model.stream(prompt, seed=1, **chosen)


def test_weights_that_make_no_numbers_are_told_of() -> None:
    model = VideoPipeline(tiny_pipeline("LTXPipeline"))
    with torch.no_grad():
        next(model.pipe.vae.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        model.generate("a cat", num_frames=9, height=32, width=32, steps=2, seed=1)


def test_pipelines_of_the_other_kind_are_refused_with_who_opens_them(stable: ImagePipeline) -> None:
    with pytest.raises(NotAModel):
        VideoPipeline(stable.pipe)
    with pytest.raises(MismatchedFolder, match="diffusion"):
        VideoPipeline.open(stable.source)
    with pytest.raises(NotAModel, match="no model of its own"):
        ImagePipeline.open()
