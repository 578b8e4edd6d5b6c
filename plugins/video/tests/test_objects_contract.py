"""The contract kit, run on the object model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Video as Film
from aigc_sdk.artifacts import Artifact
from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_video.architecture import Sizes
from aigc_sdk_video.clips import Clips, clips
from aigc_sdk_video.evaluate import VideoJudge
from aigc_sdk_video.model import Video
from aigc_sdk_video.train import VideoTrainer

SIZES: dict[str, Any] = {
    "size": 16, "frames": 6, "classes": 3, "latent": 4, "width": 16, "depth": 1, "device": "cpu",
}  # fmt: skip


def squares(n: int = 12, length: int = 9, labels: bool = True) -> Any:
    """Films of a bright square that moves, larger for each label."""
    rng = np.random.default_rng(0)
    films = np.zeros((n, length, 16, 16), np.uint8)
    for film in range(n):
        x, y = rng.integers(0, 4, 2)
        side = 3 + film % 3
        for frame in range(length):
            films[film, frame, y : y + side, x + frame // 2 : x + frame // 2 + side] = 200
    return (films, [film % 3 for film in range(n)]) if labels else films


def tiny(**changes: Any) -> VideoTrainer:
    return VideoTrainer.open(**{**SIZES, **changes})


class TestVideo(GeneratorContract):
    @pytest.fixture
    def model(self) -> Video:
        trainer = tiny()
        trainer.fit(squares(), max_steps=4, share=0.5, batch_sizes=(4, 8))
        return trainer.model

    @pytest.fixture
    def prompts(self) -> list[Any]:
        return ["a 1 moving left", "a 2 moving up and a 0"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"steps": 2, "num_frames": 13}


class TestVideoFromPictures(TestVideo):
    """Clips that go on from a first frame, without labels, over a background, in colours."""

    @pytest.fixture
    def model(self) -> Video:
        return tiny(classes=0, background=True, channels=3, objects=2).model

    @pytest.fixture
    def prompts(self) -> list[Any]:
        return [None, "something moving down"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        frame = "data:image/png;frames=1;base64,"
        frame += "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR4nGNgGAWjYBSMglEwCkbBSAYABBAAAWtMFGQAAAAASUVORK5CYII="
        return {"steps": 1, "num_frames": 9, "guidance": 1.0}


class TestVideoTrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], VideoTrainer]:
        return tiny

    @pytest.fixture
    def data(self) -> Any:
        return squares()

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"share": 0.5, "batch_sizes": (4, 8)}

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        films, labels = squares()
        return [
            None, [], 7, "/no/such/folder", squares(labels=False), (films, labels[:-1]), (films[:, :3], labels),
            (films.astype(np.float32), labels), films[0],
        ]  # fmt: skip


class TestTrainerOfScenes(TestVideoTrainer):
    """Two things over a background, in colours."""

    @pytest.fixture
    def make(self) -> Callable[[], VideoTrainer]:
        return lambda: tiny(background=True, objects=2, channels=3)


class TestVideoJudge(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> VideoJudge:
        return VideoJudge.trained(squares(), squares(9), size=16, frames=6, updates=3, device="cpu")

    @pytest.fixture
    def samples(self) -> list[Artifact | str]:
        return [Film(film[..., None].repeat(3, 3), fps=8) for film in squares(5, labels=False)]

    @pytest.fixture
    def references(self) -> list[Any] | None:
        return ["a 0 moving right", "a 1", "a 2 moving left", "0", "a 1 and a 2"]


def test_the_small_data_is_what_it_seems() -> None:
    found = clips(squares(), Sizes.parse("test", {"size": 16, "frames": 6, "classes": 3}))
    assert isinstance(found, Clips)
    assert (len(found), found.names) == (24, ("0", "1", "2"))
