"""The default model keeps what its card says, with room for chance in few clips; and folders open as what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

import aigc_sdk
import aigc_sdk_video
from aigc_sdk.folder import file_sums
from aigc_sdk.protocols import Report
from aigc_sdk_video.evaluate import VideoJudge
from aigc_sdk_video.model import DEFAULT, Video
from aigc_sdk_video.pipelines.families import FAMILIES
from aigc_sdk_video.recipe import figures


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return figures(Video.open(device="cpu"), VideoJudge.open(device="cpu"), each=2)


def test_the_default_model_shows_what_it_is_asked_for(reports: dict[str, Report]) -> None:
    assert reports["one digit"]["accuracy"].value > 0.97
    assert reports["one digit"]["direction"].value > 0.93
    assert reports["two digits"]["accuracy"].value > 0.9


def test_the_default_model_moves_as_the_data_do(reports: dict[str, Report]) -> None:
    assert reports["one digit"]["speed_error"].value < 0.15
    assert reports["one digit"]["acceleration_error"].value < 0.5
    assert reports["one digit"]["flicker"].value < 0.001


def test_the_default_model_is_varied_and_near_the_data(reports: dict[str, Report]) -> None:
    report = reports["one digit"]
    assert report["variety"].value > 0.8
    assert report["frechet_distance[judge]"].value < 15


def test_the_default_model_is_small() -> None:
    assert sum(each["size"] for each in file_sums(DEFAULT).values()) < 5_000_000


def test_a_prompt_is_not_needed_and_what_was_drawn_is_told() -> None:
    made = aigc_sdk.load("video", device="cpu").generate(n=4, seed=0)
    told = [each.info["objects"][0] for each in made]
    assert len({(each["label"], each["direction"]) for each in told}) > 1


def test_the_manifest_opens_every_family_of_pipelines() -> None:
    films = {"aigc_video", *(name for name, each in FAMILIES.items() if each.kind == "video")}
    assert films == set(aigc_sdk_video.backend.opens)
    assert set(FAMILIES) - films == set(aigc_sdk_video.still.opens)


def test_a_pipeline_is_generated_with_and_trained_through_the_same_names(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from aigc_sdk_video.pipelines import LoRATrainer, VideoPipeline, tiny_pipeline

    tiny_pipeline("WanPipeline").save_pretrained(tmp_path / "wan")
    assert isinstance(aigc_sdk.load("video", tmp_path / "wan", device="cpu"), VideoPipeline)
    assert isinstance(aigc_sdk.trainer("video", tmp_path / "wan", device="cpu", rank=2), LoRATrainer)
