"""The evaluator of pictures: sets, references, labels; streamed, merged, compared."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import ViTConfig, ViTModel

from aigc_sdk import Evaluator, Image
from aigc_sdk.comparison import compare
from aigc_sdk.errors import (
    DataError,
    InputError,
)
from aigc_sdk.testing import EvaluatorContract
from aigc_sdk_metrics.accumulate import Metric
from aigc_sdk_metrics.averages import inception_score_of
from aigc_sdk_metrics.features import Backbone, Looked
from aigc_sdk_metrics.frechet import Moments, frechet_distance
from aigc_sdk_metrics.gathered import Gathered
from aigc_sdk_metrics.image import ImageMetrics, nearest_sheet
from aigc_sdk_metrics.kernels import kernel_distance

SETS = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "copies")


def pictures(n: int, seed: int = 0, size: int = 16) -> list[Image]:
    """Noise around a colour each."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 200, (n, 1, 1, 3))
    return [Image(each.astype(np.uint8)) for each in colours + rng.integers(0, 50, (n, size, size, 3))]


def moments(found: list[Any]) -> NDArray[np.float64]:
    """Mean and spread of each colour: six numbers."""
    return np.array([[*each.mean((0, 1)), *each.std((0, 1))] for each in found])


COLOURS = Backbone(moments, name="colours")


class TestPictures(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> ImageMetrics:
        return ImageMetrics.open()

    @pytest.fixture
    def samples(self) -> list[Any]:
        return list(pictures(4))

    @pytest.fixture
    def references(self) -> list[Any]:
        return list(pictures(4, seed=1))


class TestPicturesWithANetwork(TestPictures):
    @pytest.fixture
    def samples(self) -> list[Any]:
        return list(pictures(8))

    @pytest.fixture
    def references(self) -> list[Any]:
        return list(pictures(8, seed=1))

    @pytest.fixture
    def options(self, vit: Path) -> dict[str, Any]:
        return {"metrics": (*SETS, "psnr", "perceptual_distance"), "features": str(vit), "bootstrap": 50}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=16,
            patch_size=8,
        )
        ViTModel(config).save_pretrained(folder)
    return folder


def test_set_scores_are_those_of_the_networks_features() -> None:
    samples, references = pictures(30), pictures(40, seed=1)
    report = ImageMetrics(features=COLOURS, real=references).evaluate(samples, metrics=SETS)
    first, second = (moments([each.pixels for each in some]) for some in (samples, references))
    wanted = frechet_distance(Moments.of(first), Moments.of(second))
    assert report["frechet_distance[colours]"].value == pytest.approx(wanted, rel=1e-9)
    assert report["kernel_distance[colours]"].value == pytest.approx(kernel_distance(first, second), rel=1e-9)
    for name in SETS:
        score = report[f"{name}[colours]"]
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]
        assert score.n == 30
        assert "network colours" in score.protocol
        assert "40 of real samples" in score.protocol


def test_the_same_set_has_distance_zero_and_full_precision() -> None:
    some = pictures(30)
    report = ImageMetrics(features=COLOURS).evaluate(some, some, metrics=SETS)
    assert report["frechet_distance[colours]"].value == pytest.approx(0, abs=1e-3)
    interval = report["frechet_distance[colours]"].interval
    assert interval is not None
    assert interval[0] >= 0
    assert [report[f"{name}[colours]"].value for name in ("precision", "recall", "coverage", "copies")] == [1, 1, 1, 1]


def test_no_score_is_called_fid_unless_the_network_is_the_papers(vit: Path) -> None:
    report = ImageMetrics.open().evaluate(
        pictures(6),
        pictures(6, seed=1),
        metrics=("frechet_distance", "kernel_distance"),
        features=str(vit),
        bootstrap=0,
    )
    assert set(report.scores) == {"frechet_distance[tiny-vit]", "kernel_distance[tiny-vit]"}
    assert "ViTModel" in report["frechet_distance[tiny-vit]"].protocol


def test_few_samples_are_told_to_bias_the_distance_and_a_singular_covariance_too() -> None:
    judge = ImageMetrics(features=COLOURS)
    few = judge.evaluate(pictures(5), pictures(5, seed=1), metrics=("frechet_distance",))["frechet_distance[colours]"]
    assert "5 samples for 6 features: biased upwards" in few.protocol
    assert "singular" in few.protocol
    many = judge.evaluate(pictures(60), pictures(60, seed=1), metrics=("frechet_distance",))[
        "frechet_distance[colours]"
    ]
    assert "biased" not in many.protocol


def test_an_extrapolated_distance_is_offered() -> None:
    judge = ImageMetrics(features=COLOURS, real=pictures(300, seed=1))
    report = judge.evaluate(pictures(120), metrics=("frechet_distance", "frechet_infinity"))
    endless, plain = report["frechet_infinity[colours]"], report["frechet_distance[colours]"]
    assert endless.value < plain.value
    assert "Chong and Forsyth" in endless.protocol
    assert endless.interval is not None
    assert plain.interval is not None
    assert endless.interval[1] - endless.interval[0] >= plain.interval[1] - plain.interval[0]


def test_each_picture_is_looked_at_once_for_all_metrics() -> None:
    seen = []

    def counting(found: list[Any]) -> Looked:
        seen.extend(each.tobytes() for each in found)
        features = moments(found)
        chances = np.exp(features / 255)
        return Looked(features, chances / chances.sum(1, keepdims=True))

    samples, references = pictures(40), pictures(40, seed=1)
    judge = ImageMetrics(features=Backbone(counting, name="counting"))
    judge.evaluate(samples, references, metrics=(*SETS, "inception_score"))
    assert len(seen) == len(set(seen)) == 80
    seen.clear()
    judge = ImageMetrics(features=Backbone(counting, name="counting"), real=references)
    for _ in range(2):  # and the real set once for all calls
        judge.evaluate(samples, metrics=(*SETS, "inception_score"))
    assert len(seen) == 40 + 2 * 40


def test_layers_come_from_the_same_look_as_features() -> None:
    calls = []

    def deep(found: list[Any]) -> Looked:
        calls.extend(found)
        return Looked(moments(found), layers=(np.stack(found).transpose(0, 3, 1, 2).astype(float),))

    backbone = Backbone(lambda found: pytest.fail("looked at twice"), name="deep", deep=deep, batch_size=3)
    report = ImageMetrics(features=backbone).evaluate(
        pictures(8), pictures(8, seed=1), metrics=("perceptual_distance", "frechet_distance")
    )
    assert len(calls) == 16
    assert 0 < report["perceptual_distance[deep]"].value < 4


def streamed(judge: ImageMetrics, names: tuple[str, ...], **options: Any) -> list[Metric]:
    parsed = judge.Options.parse("ImageMetrics", {"metrics": names, **options})
    return list(judge.metrics(parsed))


@pytest.mark.parametrize("real", [True, False])
def test_streamed_and_merged_scores_are_those_of_one_call(real: bool) -> None:
    samples, references = pictures(60), pictures(60, seed=1)
    judge = ImageMetrics(features=COLOURS, real=references if real else None)
    against: Any = None if real else references
    names = (*SETS, "frechet_infinity") if len(samples) >= 100 else SETS
    whole = judge.evaluate(samples, against, metrics=names)
    one, other = (streamed(judge, names)[0] for _ in range(2))
    for start in range(0, 25, 10):
        stop = min(25, start + 10)
        one.update(samples[start:stop], None if real else references[start:stop])
    other.update(samples[25:], None if real else references[25:])
    one.merge(pickle.loads(pickle.dumps(other)))
    for name, score in one.compute().items():
        assert score.value == pytest.approx(whole[name].value, rel=1e-9), name
        assert score.n == 60


def test_of_a_large_set_a_fixed_number_of_features_is_kept_whatever_the_order() -> None:
    judge = ImageMetrics(features=COLOURS, real=pictures(200, seed=1))
    samples = pictures(300)
    there = judge.evaluate(samples, metrics=SETS, keep=64)
    back = judge.evaluate(samples[::-1], metrics=SETS, keep=64)
    assert "64 of 300 samples and 64 of 200 real ones" in there["precision[colours]"].protocol
    assert there["precision[colours]"].n == 64
    assert there["frechet_distance[colours]"].n == 300
    both = there, judge.evaluate(samples, metrics=("frechet_distance",))
    widths = [np.ptp(each["frechet_distance[colours]"].interval or ()) for each in both]
    assert widths[0] == pytest.approx(widths[1], rel=0.6)  # of 64 contributions, for 300 samples
    for name, score in there.scores.items():
        assert back[name].value == pytest.approx(score.value, rel=1e-9), name
    whole = judge.evaluate(samples, metrics=SETS)
    assert there["frechet_distance[colours]"].value == pytest.approx(whole["frechet_distance[colours]"].value, rel=1e-9)


def test_what_is_kept_is_the_same_in_one_process_and_in_several() -> None:
    rng = np.random.default_rng(0)
    features, keys = rng.standard_normal((500, 3)), rng.integers(0, 2**63, 500).astype(np.uint64)
    whole, parts = Gathered(32), [Gathered(32) for _ in range(4)]
    for start in range(0, 500, 20):
        whole.add(features[start : start + 20], keys[start : start + 20])
    for index, part in enumerate(parts):
        part.add(features[125 * index : 125 * (index + 1)], keys[125 * index : 125 * (index + 1)])
    for part in parts[1:]:
        parts[0].merge(part)
    np.testing.assert_array_equal(whole.features, features[np.sort(np.argsort(keys)[:32])])
    np.testing.assert_array_equal(parts[0].features, whole.features)
    np.testing.assert_array_equal(parts[0].shuffled, whole.shuffled)
    np.testing.assert_array_equal(parts[0].places, whole.places)
    assert not whole.whole


def test_copies_of_training_pictures_are_found_and_shown() -> None:
    training = pictures(50, seed=1)
    samples = [*pictures(10, seed=5), training[31], Image(np.minimum(training[8].pixels, 254))]
    report = ImageMetrics(features=COLOURS, real=training).evaluate(samples, metrics=("copies",))
    assert report["copies[colours]"].value >= 2 / 12
    assert [report.rows[index]["nearest[colours]"] for index in (10, 11)] == [31, 8]
    assert report.rows[10]["nearest_distance[colours]"] == 0
    sheet = nearest_sheet(samples, training, report, count=2)
    assert sheet.pixels.shape == (2 * 16 + 2, 2 * 16 + 2, 3)
    np.testing.assert_array_equal(sheet.pixels[:16, :16], sheet.pixels[:16, 18:])  # the copy and what it is a copy of
    with pytest.raises(InputError, match="no nearest real ones"):
        nearest_sheet(samples, training, ImageMetrics().evaluate(samples, samples))


def test_two_reports_on_one_real_set_can_be_compared() -> None:
    judge = ImageMetrics(features=COLOURS, real=pictures(80, seed=1))
    good, bad = pictures(80, seed=2), [Image(each.pixels // 3) for each in pictures(80, seed=2)]
    names = ("frechet_distance", "precision", "recall")
    found = compare(judge.evaluate(bad, metrics=names), judge.evaluate(good, metrics=names), times=500)
    for name in names:
        assert found[f"{name}[colours]"].better == "second", name
    assert not found.left_out


def test_real_pictures_come_from_a_folder_and_moments_from_a_file(tmp_path: Path) -> None:
    real = pictures(20, seed=1)
    for index, each in enumerate(real):
        (tmp_path / "real" / str(index % 2)).mkdir(parents=True, exist_ok=True)
        each.save(tmp_path / "real" / str(index % 2) / f"{index}.png")
    samples = pictures(25)
    judge = ImageMetrics(features=COLOURS)
    found = judge.evaluate(samples, metrics=("frechet_distance", "recall"), real=str(tmp_path / "real"))
    given = ImageMetrics(features=COLOURS, real=real).evaluate(samples, metrics=("frechet_distance", "recall"))
    for name, score in given.scores.items():
        assert found[name].value == pytest.approx(score.value, rel=1e-9)
    assert "20 of the folder real" in found["recall[colours]"].protocol

    features = moments([each.pixels for each in real])
    np.savez(tmp_path / "stats.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    stated = judge.evaluate(samples, metrics=("frechet_distance",), real=str(tmp_path / "stats.npz"))
    name = "frechet_distance[colours]"
    assert stated[name].value == pytest.approx(given[name].value, rel=1e-9)
    assert "the moments in stats.npz" in stated[name].protocol
    with pytest.raises(DataError, match="have no features"):
        judge.evaluate(samples, metrics=("recall",), real=str(tmp_path / "stats.npz"))


def test_kernel_distance_by_subsets_tells_its_protocol() -> None:
    judge = ImageMetrics(features=COLOURS, real=pictures(60, seed=1))
    options: dict[str, Any] = {"metrics": ("kernel_distance",), "kid_subsets": 20, "kid_subset_size": 30}
    score = judge.evaluate(pictures(50), **options)["kernel_distance[colours]"]
    assert "20 random subsets of 30 of each" in score.protocol
    whole = judge.evaluate(pictures(50), metrics=("kernel_distance",))["kernel_distance[colours]"]
    assert score.value == pytest.approx(whole.value, rel=0.5)


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_the_inception_score_of_certain_and_even_classes_is_their_number(classes: int) -> None:
    certain = np.tile(np.eye(classes), (3, 1))
    assert inception_score_of(certain) == (pytest.approx(classes), 0)
    alike = np.full((12, classes), 1 / classes)
    assert inception_score_of(alike)[0] == pytest.approx(1)
    judge = ImageMetrics(
        features=Backbone(lambda found: Looked(certain[: len(found)], certain[: len(found)]), name="sure")
    )
    report = judge.evaluate(pictures(3 * classes), metrics=("inception_score",))
    assert report["inception_score[sure]"].value == pytest.approx(classes)


def test_the_inception_score_is_the_formula_of_the_paper_in_splits() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(6) / 3, 50)
    parts = []
    for part in np.array_split(chances, 5):
        mean = part.mean(0)
        parts.append(np.exp(np.mean([(p * (np.log(p) - np.log(mean))).sum() for p in part])))
    assert inception_score_of(chances, 5) == (pytest.approx(np.mean(parts)), pytest.approx(np.std(parts)))


def test_a_judge_of_labels_gives_accuracy() -> None:
    bright = [Image(np.full((4, 4, 3), value, np.uint8), info={"label": "high"}) for value in (250, 200, 10)]

    def level(images: list[Image]) -> list[str]:
        return ["high" if each.pixels.mean() > 100 else "low" for each in images]

    judge = ImageMetrics(classifier=level)
    report = judge.evaluate(bright, metrics=("accuracy",))
    assert report["accuracy[level]"].value == pytest.approx(2 / 3)
    assert judge.evaluate(bright, ["high", "high", "low"], metrics=("accuracy",))["accuracy[level]"].value == 1


def test_an_evaluator_can_be_the_judge_of_labels() -> None:
    class Half(ImageMetrics):
        def run(self, exam: Any) -> Any:
            from aigc_sdk import Report

            return Report({}, [{"label": index % 2} for index in range(len(exam.samples))])

    judge: Evaluator = Half()
    report = ImageMetrics(classifier=judge).evaluate(pictures(4), ["0", 1, "1", 1], metrics=("accuracy",))
    assert report["accuracy[Half]"].value == 0.75
