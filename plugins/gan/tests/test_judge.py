"""The judge, and the distances that it tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aigc_sdk.artifacts import Image, Text
from aigc_sdk.distances import Moments, frechet, within_label_distance
from aigc_sdk.errors import CorruptFolder, DataError
from aigc_sdk.testing import EvaluatorContract
from aigc_sdk_gan.distance import sliced_wasserstein
from aigc_sdk_gan.judge import Judge
from aigc_sdk_gan.train import GANTrainer

LABELS = ("bright", "dark")


def halves(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], list[int]]:
    """8 x 8 pictures that are bright above or below, with noise."""
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 60, (n, 8, 8)).astype(np.uint8), [index % 2 for index in range(n)]
    for image, label in zip(pixels, labels, strict=True):
        image[4 * label : 4 * label + 4] += rng.integers(100, 190, dtype=np.uint8)
    return pixels, labels


def images(n: int, seed: int = 0) -> list[Image]:
    pixels, labels = halves(n, seed)
    return [
        Image(each[..., None].repeat(3, 2), info={"label": str(label)})
        for each, label in zip(pixels, labels, strict=True)
    ]


@pytest.fixture(scope="module")
def trained() -> Judge:
    return Judge.trained(halves(200), halves(100, seed=1), size=8, epochs=3, device="cpu")


class TestJudge(EvaluatorContract):
    @pytest.fixture
    def judge(self, trained: Judge, tmp_path: Path) -> Judge:
        trained.save(tmp_path / "opened anew for every check")
        return Judge.open(tmp_path / "opened anew for every check", device="cpu")

    @pytest.fixture
    def samples(self) -> list[Any]:
        return list(images(6))

    @pytest.fixture
    def references(self) -> list[Any]:
        return ["0", 1, "0", "1", 0, 1]


def test_good_pictures_are_taken_for_their_labels_and_are_as_varied(trained: Judge) -> None:
    report = trained.evaluate(images(140, seed=2))
    assert report["accuracy"].value == 1
    assert report["coverage"].value == 1
    assert report["variety"].value == pytest.approx(1, abs=0.1)
    assert report["frechet_distance[judge]"].value < 3 * max(0.1, trained.facts["floor"])
    assert report.rows[1]["label"] == report.rows[1]["expected"] == "1"
    assert 0.5 < report.rows[1]["probability"] <= 1


def test_wrong_labels_collapse_and_noise_are_seen(trained: Judge) -> None:
    good = images(140, seed=2)
    swapped = trained.evaluate(good, [1 - index % 2 for index in range(140)])
    assert swapped["accuracy"].value == 0
    collapsed = trained.evaluate([good[index % 2] for index in range(140)])
    assert collapsed["variety"].value == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(0)
    noise = trained.evaluate([Image(rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(140)])
    distances = [each["frechet_distance[judge]"].value for each in (trained.evaluate(good), collapsed, noise)]
    assert distances[0] < min(distances[1:])


def test_the_protocol_says_which_judge_and_what_the_floor_is(trained: Judge) -> None:
    protocol = trained.evaluate(images(130))["frechet_distance[judge]"].protocol
    for part in (trained.facts["fingerprint"][:12], "8x8x1", "200 pictures", "100 reference pictures", "floor"):
        assert part in protocol


def test_few_samples_and_unlabelled_ones_get_no_score_that_would_mean_nothing(trained: Judge) -> None:
    few = trained.evaluate(images(127))
    assert "frechet_distance[judge]" not in few.scores
    unlabelled = trained.evaluate([Image(each.pixels) for each in images(4)])
    assert set(unlabelled.scores) == {"coverage"}
    assert unlabelled.rows[0]["expected"] is None


@pytest.mark.parametrize(
    ("call", "field", "words"),
    [
        (lambda j: j.evaluate([Text("x")]), "samples", "this judge is for Image"),
        (lambda j: j.evaluate([Image(np.zeros((9, 8, 3), np.uint8))]), "samples", "is 8x9, the judge is for 8x8"),
        (
            lambda j: j.evaluate(images(2), ["0", "2"]),
            "references",
            "'2', which the judge does not know; it knows 0, 1",
        ),
        (lambda j: Judge.trained(halves(9)[0], halves(9), size=8), "data", "data needs labels"),
        (lambda j: Judge.trained(halves(9), halves(9)[0], size=8), "reference", "reference needs labels"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(
    trained: Judge, call: Callable[[Judge], Any], field: str, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        call(trained)
    assert caught.value.field == field
    assert words in str(caught.value)


def test_a_generators_folder_is_no_judge(tmp_path: Path) -> None:
    GANTrainer.open(device="cpu", size=8, width=2, critic_width=2).model.save(tmp_path / "model")
    with pytest.raises(CorruptFolder, match="describes no judge"):
        Judge.open(tmp_path / "model", device="cpu")


def test_the_frechet_distance_of_known_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    covariance = root @ root.T
    plain = Moments(np.zeros(5), covariance)
    assert frechet(plain, plain) == pytest.approx(0, abs=1e-9)
    moved = Moments(np.arange(5.0), covariance)
    assert frechet(plain, moved) == pytest.approx(30)
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0])  # diagonal: the sum of (sqrt a - sqrt b)^2
    assert frechet(Moments(np.zeros(3), np.diag(a)), Moments(np.zeros(3), np.diag(b))) == pytest.approx(1 + 1 + 9)


def test_the_frechet_distance_is_that_of_the_matrix_root() -> None:
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    rng = np.random.default_rng(1)
    a, b = (
        Moments.of(rng.standard_normal((50, 8))),
        Moments.of(rng.standard_normal((70, 8)) @ rng.standard_normal((8, 8))),
    )
    root = sqrtm(a.covariance @ b.covariance).real
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-8)


def test_the_sliced_distance_is_zero_for_the_same_set_and_knows_labels() -> None:
    pixels, labels = halves(60)
    turned = np.random.default_rng(0).permutation(60)
    numbers = np.array(labels)
    assert sliced_wasserstein(pixels, pixels[turned], None) == pytest.approx(0, abs=1e-12)
    assert sliced_wasserstein(pixels, pixels, numbers) == 0
    assert sliced_wasserstein(pixels, pixels[::-1], numbers) > 0.3  # every picture has the other label


def test_the_sliced_distance_of_a_shift_is_the_mean_length_of_its_projection() -> None:
    dark, bright = np.zeros((9, 4, 4, 1), np.uint8), np.full((9, 4, 4, 1), 255, np.uint8)
    rng = np.random.default_rng(0)
    slices = rng.standard_normal((16, 128))
    slices /= np.linalg.norm(slices, axis=0)
    expected = np.abs(2 * slices.sum(0)).mean()  # every pixel goes from -1 to 1
    assert sliced_wasserstein(dark, bright, None) == pytest.approx(expected)


def test_the_distance_within_a_label_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (7, 2, 2, 1), np.uint8)
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    found = within_label_distance(pixels, labels)
    points = pixels.reshape(7, 4) / 127.5 - 1
    expected = np.mean([np.linalg.norm(points[a] - points[b]) for a in range(3) for b in range(3) if a != b])
    assert found[0] == pytest.approx(expected)
    assert set(found) == {0, 1}
