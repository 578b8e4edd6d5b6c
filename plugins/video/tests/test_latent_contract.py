"""The contract kit, run on the latent model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aigc_sdk.testing import GeneratorContract, TrainerContract
from aigc_sdk_video.model import Video
from aigc_sdk_video.train import VideoTrainer

SIZES: dict[str, Any] = {
    "architecture": "latent", "size": 16, "frames": 6, "classes": 3, "latent": 4, "width": 16, "depth": 1, "device": "cpu",
}  # fmt: skip
TRAINING: dict[str, Any] = {"share": 0.5, "batch_sizes": (4, 8)}


def squares(count: int = 12) -> tuple[Any, list[int]]:
    """Films of a bright square that moves right, larger for each of three labels."""
    films = np.zeros((count, 9, 16, 16), np.uint8)
    for film in range(count):
        side = 3 + film % 3
        for frame in range(9):
            films[film, frame, film % 4 : film % 4 + side, 1 + frame // 2 : 1 + frame // 2 + side] = 200
    return films, [film % 3 for film in range(count)]


class TestLatentVideo(GeneratorContract):
    @pytest.fixture
    def model(self) -> Video:
        trainer = VideoTrainer.open(**SIZES)
        trainer.fit(squares(), max_steps=4, **TRAINING)
        return trainer.model

    @pytest.fixture
    def prompts(self) -> list[Any]:
        return ["a 1 moving left", "a 2 moving up"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"steps": 2, "num_frames": 13}


class TestLatentTrainer(TrainerContract):
    @pytest.fixture
    def make(self) -> Callable[[], VideoTrainer]:
        return lambda: VideoTrainer.open(**SIZES)

    @pytest.fixture
    def data(self) -> Any:
        return squares()

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return TRAINING

    @pytest.fixture
    def bad_data(self) -> list[Any]:
        films, labels = squares()
        return [None, [], films, (films, labels[:-1])]
