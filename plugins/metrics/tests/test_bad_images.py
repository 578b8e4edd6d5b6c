"""Pictures, networks and options that cannot be used are refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aigc_sdk import Image, Text, Video
from aigc_sdk.errors import (
    AigcError,
    DataError,
    InputError,
    NotAModel,
    NotOffered,
    OptionError,
)
from aigc_sdk_metrics.accumulate import Metric
from aigc_sdk_metrics.features import Backbone, Looked
from aigc_sdk_metrics.image import ImageMetrics


def pictures(n: int, seed: int = 0, size: int = 16) -> list[Image]:
    """Noise around a colour each."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 200, (n, 1, 1, 3))
    return [Image(each.astype(np.uint8)) for each in colours + rng.integers(0, 50, (n, size, size, 3))]


def moments(found: list[Any]) -> NDArray[np.float64]:
    """Mean and spread of each colour: six numbers."""
    return np.array([[*each.mean((0, 1)), *each.std((0, 1))] for each in found])


COLOURS = Backbone(moments, name="colours")


def streamed(judge: ImageMetrics, names: tuple[str, ...], **options: Any) -> list[Metric]:
    parsed = judge.Options.parse("ImageMetrics", {"metrics": names, **options})
    return list(judge.metrics(parsed))


def wrong(values: Any) -> ImageMetrics:
    return ImageMetrics(features=Backbone(lambda found: values, name="wrong"))


def growing(found: list[Any]) -> NDArray[np.float64]:
    """As many features as a picture is wide."""
    return np.stack([each.mean((0, 2)) for each in found])


NAN = np.full((2, 3), np.nan)
FRECHET: dict[str, Any] = {"metrics": ("frechet_distance",)}


@pytest.mark.parametrize(
    ("call", "error", "field", "words"),
    [
        (lambda p: ImageMetrics().evaluate([]), DataError, "samples", "no samples"),
        (lambda p: ImageMetrics().evaluate(pictures(2), pictures(3)), DataError, "references", "3 references for 2"),
        (lambda p: ImageMetrics().evaluate([Text("x")], pictures(1)), DataError, "samples", "is a Text"),
        (lambda p: ImageMetrics().evaluate(pictures(1)), DataError, "references", "pass references="),
        (lambda p: ImageMetrics().evaluate(pictures(1), ["a label"]), DataError, "references", "compares with Image"),
        (lambda p: ImageMetrics().evaluate(pictures(1), [7]), DataError, "references", "references[0] is 7"),
        (
            lambda p: ImageMetrics().evaluate(pictures(1), [Video(np.zeros((1, 9, 9, 3), np.uint8), fps=1)]),
            DataError,
            "references",
            "is a Video",
        ),
        (
            lambda p: ImageMetrics().evaluate(pictures(1), pictures(1, size=17)),
            DataError,
            "references",
            "16x16 and references[0] is 17x17",
        ),
        (lambda p: ImageMetrics().evaluate(pictures(1, size=9), pictures(1, size=9)), DataError, "samples", "ssim needs 11x11"),
        (
            lambda p: ImageMetrics().evaluate([Image(np.zeros((0, 4, 3), np.uint8))], pictures(1)),
            DataError,
            "samples",
            "has no pixels",
        ),
        (lambda p: ImageMetrics().evaluate(pictures(1), pictures(1), metrics=("fid",)), OptionError, "metrics", "no metric 'fid'"),
        (lambda p: ImageMetrics().evaluate(pictures(1), pictures(1), metrics=()), OptionError, "metrics", "at least 1"),
        (lambda p: ImageMetrics().evaluate(pictures(3), pictures(3), **FRECHET), OptionError, "features", "pass features="),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(3), **FRECHET),
            DataError,
            "references",
            "pass references=, or real=",
        ),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(1), pictures(1), **FRECHET),
            DataError,
            "samples",
            "two samples or more",
        ),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(3), pictures(3), metrics=("precision",)),
            DataError,
            "samples",
            "neighbour 3 of 3",
        ),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(9), pictures(9), metrics=("frechet_infinity",)),
            DataError,
            "samples",
            "100 samples or more",
        ),
        (lambda p: wrong(NAN).evaluate(pictures(2), pictures(2), **FRECHET), DataError, "samples", "not finite"),
        (lambda p: wrong(np.zeros((3, 3))).evaluate(pictures(2), pictures(2), **FRECHET), DataError, "samples", "shape (3, 3)"),
        (lambda p: wrong(np.zeros(2)).evaluate(pictures(2), pictures(2), **FRECHET), DataError, "samples", "must be (2, d)"),
        (
            lambda p: ImageMetrics(features=Backbone(growing, name="growing")).evaluate(
                pictures(5), pictures(5, seed=1, size=20), metrics=("precision",)
            ),
            DataError,
            "references",
            "features of 16 and 20 numbers",
        ),
        (lambda p: wrong([["a"]] * 2).evaluate(pictures(2), pictures(2), **FRECHET), InputError, "look", "must make numbers"),
        (
            lambda p: wrong(Looked(np.zeros((2, 3)), np.ones((2, 3)))).evaluate(pictures(2), metrics=("inception_score",)),
            DataError,
            "samples",
            "add up to 1",
        ),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(2), metrics=("inception_score",)),
            NotOffered,
            None,
            "no probabilities",
        ),
        (lambda p: ImageMetrics().evaluate(pictures(1), ["a"], metrics=("accuracy",)), InputError, "classifier", "classifier="),
        (
            lambda p: ImageMetrics(classifier=lambda images: ["a"]).evaluate(pictures(2), ["a", "b"], metrics=("accuracy",)),
            InputError,
            "judge",
            "1 labels for 2 pictures",
        ),
        (lambda p: ImageMetrics(classifier=3).evaluate(pictures(1), ["a"], metrics=("accuracy",)), InputError, "judge", "is 3"),
        (lambda p: ImageMetrics(features=moments), OptionError, "features", "wrap it: Backbone"),
        (lambda p: ImageMetrics(real="photos"), OptionError, "real", "option of that name"),
        (lambda p: ImageMetrics(real=[Text("x")]), DataError, "samples", "is a Text"),
        (lambda p: Backbone(moments, name="a[b]"), InputError, "name", "without brackets"),
        (lambda p: Backbone("vit", name="a"), InputError, "look", "pass a function"),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(3), real=str(p / "none"), **FRECHET),
            DataError,
            "real",
            "is no folder",
        ),
        (
            lambda p: ImageMetrics(features=COLOURS).evaluate(pictures(3), real=str(p), **FRECHET),
            DataError,
            "real",
            "holds no files",
        ),
        (lambda p: ImageMetrics().evaluate(pictures(3), pictures(3), features=str(p), **FRECHET), NotAModel, None, "config.json"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_by_name(
    tmp_path: Path, call: Callable[[Path], Any], error: type[AigcError], field: str | None, words: str
) -> None:
    with pytest.raises(error) as caught:
        call(tmp_path)
    assert words in str(caught.value)
    assert getattr(caught.value, "field", None) == field


def test_files_that_hold_no_moments_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    np.savez(tmp_path / "other.npz", means=np.zeros(3))
    (tmp_path / "no.npz").write_bytes(b"nothing")
    for name, words in (
        ("wrong", "(3,) and sigma (2, 2)"),
        ("other", "no arrays mu and sigma"),
        ("no", "no arrays mu and sigma"),
    ):
        with pytest.raises(DataError) as caught:
            ImageMetrics(features=COLOURS).evaluate(pictures(3), real=str(tmp_path / f"{name}.npz"), **FRECHET)
        assert words in str(caught.value)


def test_a_judge_with_networks_of_its_own_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(NotOffered, match="its own features"):
        ImageMetrics(features=COLOURS).save(tmp_path / "judge")


def test_metrics_of_other_settings_cannot_be_merged() -> None:
    judge = ImageMetrics(features=COLOURS)
    one, other = streamed(judge, ("precision",))[0], streamed(judge, ("precision",), neighbours=5)[0]
    with pytest.raises(InputError, match="cannot be merged"):
        one.merge(other)
