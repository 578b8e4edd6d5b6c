"""The evaluator of films: movement with known answers, sets, references, and the layout of VBench."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import VideoMAEConfig, VideoMAEModel

import aigc_sdk
from aigc_sdk import Image, Text, Video
from aigc_sdk.errors import AigcError, DataError, InputError, MismatchedFolder, NotAModel, NotOffered, OptionError
from aigc_sdk.testing import EvaluatorContract
from aigc_sdk_metrics.features import Backbone
from aigc_sdk_metrics.frechet import Moments, frechet_distance
from aigc_sdk_metrics.image import ImageMetrics
from aigc_sdk_metrics.motion import block_matching, flicker, smoothness, warped, warping_error
from aigc_sdk_metrics.networks import open_folder
from aigc_sdk_metrics.similarity import psnr, ssim
from aigc_sdk_metrics.vbench import write_vbench
from aigc_sdk_metrics.video import VideoMetrics, frames

Frames = NDArray[np.uint8]


def sliding(step: tuple[int, int], count: int = 4, size: int = 40, seed: int = 0) -> Frames:
    """A window that moves over noise: (right, down) is how its content moves from frame to frame."""
    right, down = step
    margin = 8 * count
    wide = np.random.default_rng(seed).integers(0, 256, (size + 2 * margin, size + 2 * margin, 3), np.uint8)
    starts = [(margin - index * down, margin - index * right) for index in range(count)]
    return np.stack([wide[top : top + size, left : left + size] for top, left in starts])


def films(n: int, seed: int = 0, count: int = 4, size: int = 16) -> list[Video]:
    return [Video(sliding((index % 3, 1), count, size, seed + index), fps=8) for index in range(n)]


def summary(found: list[Any]) -> NDArray[np.float64]:
    """Mean and spread of each colour, and how much neighbouring frames differ."""
    return np.array(
        [
            [*each.mean((0, 1, 2)), *each.std((0, 1, 2)), np.abs(np.diff(each.astype(float), axis=0)).mean()]
            for each in found
        ]
    )


SUMMARY = Backbone(summary, name="summary")


class TestFilms(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> VideoMetrics:
        return VideoMetrics.open()

    @pytest.fixture
    def samples(self) -> list[Any]:
        return list(films(3))

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"metrics": ("flicker", "smoothness", "warping_error"), "bootstrap": 50}


class TestFilmsWithReferences(TestFilms):
    @pytest.fixture
    def references(self) -> list[Any]:
        return list(films(3, seed=9))

    @pytest.fixture
    def options(self, videomae: Path) -> dict[str, Any]:
        return {"metrics": ("psnr", "ssim", "frechet_distance"), "features": str(videomae), "bootstrap": 50}


@pytest.fixture(scope="module")
def videomae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-videomae"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = VideoMAEConfig(
            hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8,
            num_frames=4, tubelet_size=2,
        )  # fmt: skip
        VideoMAEModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("step", [(0, 0), (3, 0), (0, -5), (-2, 4), (7, 7)])
def test_block_matching_finds_whole_steps(step: tuple[int, int]) -> None:
    first, second = sliding(step, 2)
    flow = block_matching(first, second)
    inside = flow[8:-8, 8:-8]  # blocks that no border cuts
    assert (inside == step).all()
    assert flow.shape == (40, 40, 2)


def test_where_all_steps_are_equally_good_nothing_moves() -> None:
    flat = np.full((20, 30, 3), 90, np.uint8)
    assert not block_matching(flat, flat).any()


def test_warping_by_the_true_flow_gives_the_frame_back() -> None:
    first, second = sliding((3, -2), 2)
    flow = np.tile([3.0, -2.0], (40, 40, 1))
    np.testing.assert_array_equal(warped(second, flow)[4:-4, 4:-4], first[4:-4, 4:-4])
    ramp = np.arange(8.0)[None, :, None].repeat(4, 0)
    np.testing.assert_allclose(warped(ramp, np.tile([0.5, 0.0], (4, 8, 1)))[0, :, 0], [*(np.arange(7) + 0.5), 7])


def test_flicker_is_the_mean_step_between_frames() -> None:
    levels = np.array([0, 51, 0, 102], np.uint8)
    assert flicker(np.full((4, 3, 3, 3), 1, np.uint8) * levels[:, None, None, None]) == pytest.approx(
        (0.2 + 0.2 + 0.4) / 3
    )
    assert flicker(np.repeat(sliding((0, 0), 1), 5, axis=0)) == 0


def test_even_movement_is_smooth_and_a_jump_is_not() -> None:
    even = sliding((2, 0), 5)
    jumping = even.copy()
    jumping[2] = even[0]
    assert smoothness(np.repeat(even[:1], 4, axis=0)) == 1
    assert smoothness(jumping) < smoothness(even)

    def true(first: Any, second: Any) -> Any:
        return np.tile([4.0, 0.0], (*first.shape[:2], 1))  # from the frame before to the frame after

    assert smoothness(even, flow=true) > 0.97  # all but the borders


def test_a_film_that_only_moves_has_no_warping_error_and_one_that_fades_has() -> None:
    moving = sliding((2, 1), 3)
    assert warping_error(moving) == pytest.approx(0, abs=0.01)
    fading = np.repeat(moving[:1], 3, axis=0)
    fading[1] = fading[1] // 2
    still = warping_error(fading, flow=lambda first, second: np.zeros((*first.shape[:2], 2)))
    expected = np.mean([np.square((a.astype(float) - b) / 255).mean() for a, b in pairwise(fading)])
    assert still == pytest.approx(expected)


def test_pixels_that_leave_the_picture_do_not_count_and_a_film_may_have_none() -> None:
    moving = sliding((2, 0), 2)

    def beyond(first: Any, second: Any) -> Any:
        return np.tile([100.0, 0.0], (*first.shape[:2], 1))

    assert warping_error(moving, flow=beyond) is None
    with pytest.raises(DataError, match="pixels that can be followed"):
        VideoMetrics(flow=beyond).evaluate([Video(moving, fps=4)], metrics=("warping_error",))


def test_frames_are_compared_one_by_one_with_the_references() -> None:
    samples, references = films(3), films(3, seed=9)
    report = VideoMetrics().evaluate(samples, references, metrics=("psnr", "ssim"))
    for name, value in (("psnr", psnr), ("ssim", ssim)):
        rows = [
            np.mean([value(a, b) for a, b in zip(one.frames, other.frames, strict=True)])
            for one, other in zip(samples, references, strict=True)
        ]
        assert [row[name] for row in report.rows] == pytest.approx(rows)
        assert report[name].value == pytest.approx(np.mean(rows))
        assert report[name].interval is not None


def test_a_distance_of_sets_bears_the_name_of_its_network() -> None:
    samples, real = films(12), films(15, seed=50)
    report = VideoMetrics(features=SUMMARY, real=real).evaluate(
        samples, metrics=("frechet_distance", "recall", "copies")
    )
    first, second = (summary([each.frames for each in some]) for some in (samples, real))
    expected = frechet_distance(Moments.of(first), Moments.of(second))
    assert report["frechet_distance[summary]"].value == pytest.approx(expected, rel=1e-9)
    assert set(report.scores) == {f"{name}[summary]" for name in ("frechet_distance", "recall", "copies")}


def test_a_film_models_folder_reads_frames_evenly(videomae: Path) -> None:
    backbone = open_folder(videomae, device="cpu", films=True)
    long = sliding((1, 0), 9, 20)
    looked = backbone([long, long[[0, 3, 5, 8]]])  # the frames that are taken of nine
    assert looked.features.shape == (2, 12)
    np.testing.assert_allclose(looked.features[0], looked.features[1], rtol=1e-5)
    assert "4 frames evenly taken" in backbone.about
    with pytest.raises(MismatchedFolder, match="model of films; give one of pictures"):
        open_folder(videomae, device="cpu")


def test_scores_of_pictures_are_for_frames_too() -> None:
    some = frames(films(2, count=5), every=2)
    assert [(each.info["film"], each.info["frame"]) for each in some] == [
        (0, 0),
        (0, 2),
        (0, 4),
        (1, 0),
        (1, 2),
        (1, 4),
    ]
    report = ImageMetrics().evaluate(some, some, metrics=("ssim",))
    assert report["ssim"].value == pytest.approx(1)
    with pytest.raises(InputError, match="every=0"):
        frames(films(1), every=0)


def test_real_films_come_from_a_folder(tmp_path: Path) -> None:
    for index, each in enumerate(films(4, seed=50)):
        each.save(tmp_path / f"{index}.gif")
    report = VideoMetrics(features=SUMMARY).evaluate(films(5), metrics=("frechet_distance",), real=str(tmp_path))
    assert f"4 of the folder {tmp_path.name}" in report["frechet_distance[summary]"].protocol


def test_streamed_and_merged_scores_are_those_of_one_call() -> None:
    judge, samples = VideoMetrics(), films(7)
    whole = judge.evaluate(samples)
    parsed = judge.Options.parse("VideoMetrics", {})
    for mine, other in zip(judge.metrics(parsed), judge.metrics(parsed), strict=True):
        mine.update(samples[:3])
        mine.update(samples[3:5])
        other.update(samples[5:])
        mine.merge(other)
        for name, score in mine.compute().items():
            assert score.value == pytest.approx(whole[name].value, rel=1e-12)
            assert score.n == 7


def test_films_are_laid_out_for_vbench(tmp_path: Path) -> None:
    made = films(3)
    paths = write_vbench(made, tmp_path / "sampled", ["a cat", "a dog", "a cat"])
    assert [each.name for each in paths] == ["a cat-0.mp4", "a dog-0.mp4", "a cat-1.mp4"]
    found = aigc_sdk.read(paths[2])
    assert isinstance(found, Video)
    assert found.frames.shape == made[2].frames.shape
    prompted = [Video(each.frames, fps=8, origin={"prompt": "a cat"}) for each in made]
    assert len(write_vbench(prompted, tmp_path / "other")) == 3
    with pytest.raises(DataError, match="is there already"):
        write_vbench(prompted, tmp_path / "other")


@pytest.mark.parametrize(
    ("prompts", "field", "words"),
    [
        (["a cat"], "prompts", "1 prompts for 2 films"),
        (None, "prompts", "prompts\\[0\\] is None"),
        (["a cat", ""], "prompts", "prompts\\[1\\] is ''"),
        (["a/cat", "b"], "prompts", "cannot name a file"),
        (["..", "b"], "prompts", "cannot name a file"),
        (["x" * 300, "b"], "prompts", "at most 255 bytes"),
        (["two\nlines", "b"], "prompts", "prompts\\[0\\] is"),
    ],
)
def test_prompts_that_name_no_file_are_refused_before_anything_is_written(
    tmp_path: Path, prompts: Any, field: str, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        write_vbench(films(2), tmp_path / "sampled", prompts)
    assert caught.value.field == field
    assert not (tmp_path / "sampled").exists()


def still(count: int, size: int = 16) -> Video:
    return Video(np.zeros((count, size, size, 3), np.uint8), fps=8)


@pytest.mark.parametrize(
    ("call", "error", "field", "words"),
    [
        (lambda p: VideoMetrics().evaluate([]), DataError, "samples", "no samples"),
        (lambda p: VideoMetrics().evaluate([Image(np.zeros((9, 9, 3), np.uint8))]), DataError, "samples", "is a Image"),
        (lambda p: VideoMetrics().evaluate([still(1)]), DataError, "samples", "1 frame; flicker needs 2"),
        (lambda p: VideoMetrics().evaluate([still(2)]), DataError, "samples", "2 frames; smoothness needs 3"),
        (lambda p: VideoMetrics().evaluate([still(0)]), DataError, "samples", "has no pixels"),
        (lambda p: VideoMetrics().evaluate(films(1), metrics=("ssim",)), DataError, "references", "pass references="),
        (
            lambda p: VideoMetrics().evaluate([still(3)], [still(4)], metrics=("psnr",)),
            DataError,
            "references",
            "16x16 with 3 frames and references[0] is 16x16 with 4 frames",
        ),
        (
            lambda p: VideoMetrics().evaluate([still(3)], [Video(still(3).frames, fps=24)], metrics=("psnr",)),
            DataError,
            "references",
            "8 and references[0] 24 frames per second",
        ),
        (lambda p: VideoMetrics().evaluate([still(3)], ["a"], metrics=("psnr",)), DataError, "references", "compares with Video"),
        (
            lambda p: VideoMetrics().evaluate([still(3, 8)], [still(3, 8)], metrics=("ssim",)),
            DataError,
            "samples",
            "ssim needs 11x11",
        ),
        (lambda p: VideoMetrics().evaluate(films(2), metrics=("fvd",)), OptionError, "metrics", "no metric 'fvd'"),
        (lambda p: VideoMetrics().evaluate(films(2), metrics=("frechet_distance",)), OptionError, "features", "pass features="),
        (
            lambda p: VideoMetrics(features=SUMMARY).evaluate(films(2), metrics=("frechet_distance",)),
            DataError,
            "references",
            "pass references=, or real=",
        ),
        (
            lambda p: VideoMetrics(flow=lambda a, b: np.zeros((2, 2, 2))).evaluate([still(3)]),
            DataError,
            "flow",
            "must be finite numbers of (16, 16, 2)",
        ),
        (
            lambda p: VideoMetrics(flow=lambda a, b: np.full((16, 16, 2), np.nan)).evaluate([still(3)]),
            DataError,
            "flow",
            "must be finite",
        ),
        (lambda p: VideoMetrics(flow="raft"), InputError, "flow", "pass a function of two frames"),  # type: ignore[arg-type]
        (lambda p: VideoMetrics(real=[Text("x")]), DataError, "samples", "is a Text"),  # type: ignore[list-item]
        (lambda p: VideoMetrics(flow=block_matching).save(p / "x"), NotOffered, None, "its own flow"),
        (
            lambda p: VideoMetrics().evaluate(films(2), films(2), metrics=("recall",), features=str(p / "none")),
            NotAModel,
            None,
            "no folder",
        ),
        (lambda p: write_vbench([], p), DataError, "films", "one Video or more"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_by_name(
    tmp_path: Path, call: Callable[[Path], Any], error: type[AigcError], field: str | None, words: str
) -> None:
    with pytest.raises(error) as caught:
        call(tmp_path)
    assert words in str(caught.value)
    assert getattr(caught.value, "field", None) == field
