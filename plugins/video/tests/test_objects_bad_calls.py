"""Bad input to the small models is refused at the call, with a typed error that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from aigc_sdk import Image
from aigc_sdk import Video as Film
from aigc_sdk.errors import AigcError, DataError, InputError, OptionError, PromptError
from aigc_sdk_video.clips import count_frames
from aigc_sdk_video.evaluate import VideoJudge
from aigc_sdk_video.model import Video
from aigc_sdk_video.train import VideoTrainer

SIZES: dict[str, Any] = {"size": 16, "frames": 6, "classes": 10, "latent": 4, "width": 16, "depth": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def model() -> Video:
    return VideoTrainer.open(**SIZES).model


def grey(height: int = 16, width: int = 16, frames: int | None = None) -> Any:
    return np.zeros((height, width, 3) if frames is None else (frames, height, width, 3), np.uint8)


CALLS: list[tuple[str, dict[str, Any], type[AigcError], str]] = [
    ("a 3", {"num_frames": 0}, OptionError, "num_frames"),
    ("a 3", {"num_frames": -4}, OptionError, "num_frames"),
    ("a 3", {"num_frames": 2.5}, OptionError, "num_frames"),
    ("a 3", {"num_frames": 10**9}, OptionError, "num_frames"),
    ("a 3", {"fps": 0.0}, OptionError, "fps"),
    ("a 3", {"fps": float("nan")}, OptionError, "fps"),
    ("a 3", {"steps": 0}, OptionError, "steps"),
    ("a 3", {"steps": "many"}, OptionError, "steps"),
    ("a 3", {"guidance": -1.0}, OptionError, "guidance"),
    ("a 3", {"guidance": float("inf")}, OptionError, "guidance"),
    ("a 3", {"frames": 16}, OptionError, "num_frames"),
    ("a 3", {"height": 32}, OptionError, "height"),
    ("a 3", {"negative_prompt": "a 4"}, OptionError, "negative_prompt"),
    ("a 3", {"image": grey(15, 17)}, OptionError, "17x15"),
    ("a 3", {"image": grey(32, 32)}, OptionError, "32x32"),
    ("a 3", {"image": "/no/such/file.png"}, OptionError, "image"),
    ("a 3", {"image": 7}, OptionError, "image"),
    ("a 3", {"image": grey().astype(np.float32)}, OptionError, "image"),
    ("a 3", {"image": "data:image/png;frames=1;base64,????"}, OptionError, "recorded"),
    ("a 3", {"image": grey(), "num_frames": 1}, OptionError, "num_frames"),
    ("a 3", {"image": grey(), "video": grey(frames=2)}, OptionError, "give one"),
    ("a 3", {"video": grey(frames=0)}, OptionError, "no frame"),
    ("a 3", {"video": grey(frames=6), "num_frames": 6}, OptionError, "num_frames"),
    ("a 3", {"video": grey(8, 16, 2)}, OptionError, "16x8"),
    ("a 3", {"video": Image(grey())}, OptionError, "video"),
    ("", {}, PromptError, "empty"),
    ("a zebra moving left", {}, PromptError, "zebra"),
    ("a 12 moving left", {}, PromptError, "12"),
    ("a 3 moving leftt", {}, PromptError, "leftt"),
    ("a 3 moving left right", {}, PromptError, "two directions"),
    ("a 1, a 2, a 3 and a 4", {}, PromptError, "4 things"),
    (" and ", {}, PromptError, "nothing"),
    (7, {}, PromptError, "int"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "options", "error", "said"), CALLS)
def test_a_bad_call_is_refused_before_anything_runs(
    model: Video, prompt: Any, options: dict[str, Any], error: type[AigcError], said: str
) -> None:
    with pytest.raises(error, match=said):
        model.stream(prompt, **options)


def bad_folders(folder: Path) -> dict[str, Callable[[], None]]:
    """How to fill a folder with each kind of bad film."""

    def film(frames: int) -> Film:
        return Film(grey(frames=frames), fps=8)

    def no_film() -> None:
        (folder / "a.mp4").write_bytes(b"no film at all")

    def short() -> None:
        film(3).save(folder / "a.mp4")

    def cut_short() -> None:
        path = film(12).save(folder / "a.mp4")
        path.write_bytes(path.read_bytes()[:300])

    def uneven() -> None:
        frames = [PIL.Image.fromarray(np.full((16, 16, 3), 20 * index, np.uint8)) for index in range(9)]
        durations = [100, 300, 100, 100, 500, 100, 100, 100, 100]
        frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=durations)

    return {
        "no film": lambda: None,
        "cannot be read": no_film,
        "cut short|cannot be read": cut_short,
        "uneven": uneven,
        "3 frames": short,
    }


@pytest.mark.parametrize("said", list(bad_folders(Path())))
def test_a_folder_with_a_bad_film_is_refused(tmp_path: Path, said: str) -> None:
    bad_folders(tmp_path)[said]()
    with pytest.raises(DataError, match=said):
        VideoTrainer.open(**{**SIZES, "classes": 0}).steps(tmp_path, max_steps=2)


def test_bad_films_can_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film at all")
    rng = np.random.default_rng(0)
    Film(rng.integers(0, 255, (9, 16, 16, 3), np.uint8), fps=8).save(tmp_path / "b.mp4")
    trainer = VideoTrainer.open(**{**SIZES, "classes": 0})
    assert len(list(trainer.steps(tmp_path, max_steps=2, batch_sizes=(2, 2), corrupt="skip"))) == 2
    assert count_frames(tmp_path / "b.mp4") == 9


BUILDS: list[tuple[dict[str, Any], str]] = [
    ({"size": 17}, "size"),
    ({"size": 0}, "size"),
    ({"frames": 1}, "frames"),
    ({"channels": 2}, "channels"),
    ({"classes": -1}, "classes"),
    ({"objects": 9}, "objects"),
    ({"architecture": "transformer"}, "architecture"),
]


@pytest.mark.parametrize(("changes", "said"), BUILDS)
def test_a_model_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        VideoTrainer.open(**{**SIZES, **changes})


def test_a_judge_refuses_films_of_another_size_and_prompts_it_does_not_know() -> None:
    films = np.zeros((6, 8, 16, 16), np.uint8)
    judge = VideoJudge.trained((films, [0, 1] * 3), (films, [0, 1] * 3), size=16, frames=6, updates=1, device="cpu")
    with pytest.raises(DataError, match="32x32"):
        judge.evaluate([Film(grey(32, 32, 4), fps=8)])
    with pytest.raises(DataError, match="zebra"):
        judge.evaluate([Film(grey(frames=4), fps=8)], ["a zebra"])


def test_data_of_other_labels_is_refused(model: Video) -> None:
    films = np.zeros((4, 8, 16, 16), np.uint8)
    with pytest.raises(InputError, match="labels"):
        VideoTrainer.open(**SIZES).steps((films, ["cat", "dog", "cat", "dog"]), max_steps=2)
