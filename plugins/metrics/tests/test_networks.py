"""Feature networks: folders, modules, CLIP, and FID's Inception."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, ResNetConfig, ResNetModel, ViTConfig
from transformers import ViTForImageClassification as ViTClassifier

from aigc_sdk import Image
from aigc_sdk.errors import (
    CorruptFolder,
    DataError,
    InputError,
    MismatchedFolder,
    NotOffered,
)
from aigc_sdk_metrics.features import Backbone
from aigc_sdk_metrics.image import ImageMetrics
from aigc_sdk_metrics.inception import Inception, Look, open_inception
from aigc_sdk_metrics.networks import legacy_bilinear, open_folder
from aigc_sdk_metrics.prepare import Preparation


def pictures(n: int, seed: int = 0, size: int = 16) -> list[Image]:
    """Noise around a colour each."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(40, 200, (n, 1, 1, 3))
    return [Image(each.astype(np.uint8)) for each in colours + rng.integers(0, 50, (n, size, size, 3))]


def moments(found: list[Any]) -> NDArray[np.float64]:
    """Mean and spread of each colour: six numbers."""
    return np.array([[*each.mean((0, 1)), *each.std((0, 1))] for each in found])


COLOURS = Backbone(moments, name="colours")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-classifier"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8,
            num_labels=5,
        )  # fmt: skip
        ViTClassifier(config).save_pretrained(folder)
    said = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    words = ["<pad>", "<start>", "red", "blue", "sky", "bus", "<unk>", "<end>"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 7)]
    )
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPConfig(
            text_config={**small, "vocab_size": 8, "max_position_embeddings": 8, "eos_token_id": 7, "bos_token_id": 1},
            vision_config={**small, "image_size": 16, "patch_size": 8},
            projection_dim=8,
        )
        CLIPModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def test_a_classifiers_folder_gives_features_and_probabilities(classifier: Path) -> None:
    backbone = open_folder(classifier, device="cpu")
    looked = backbone([each.pixels for each in pictures(3, size=20)])
    assert looked.features.shape == (3, 12)
    assert looked.probabilities is not None
    np.testing.assert_allclose(looked.probabilities.sum(1), 1, rtol=1e-6)
    assert "16x16 (Pillow bilinear)" in backbone.about
    report = ImageMetrics.open().evaluate(pictures(6), metrics=("inception_score",), features=str(classifier))
    assert 1 <= report["inception_score[tiny-classifier]"].value < 5


def test_folders_of_other_kinds_give_pooled_features(tmp_path: Path, clip: Path) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(tmp_path / "resnet")
    looked = open_folder(tmp_path / "resnet", device="cpu")([each.pixels for each in pictures(2, size=32)])
    assert looked.features.shape == (2, 12)
    assert open_folder(clip, device="cpu")([pictures(1)[0].pixels]).features.shape == (1, 8)


def test_a_module_of_ones_own_is_a_network_with_layers() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3))
    backbone = Backbone.of_module(network, name="small", size=12, layers=("1", "2"))
    samples, references = pictures(5), pictures(5, seed=1)
    report = ImageMetrics(features=backbone).evaluate(samples, references, metrics=("perceptual_distance", "precision"))
    assert report["perceptual_distance[small]"].value > 0
    assert "layers 1, 2" in report["perceptual_distance[small]"].protocol
    same = ImageMetrics(features=backbone).evaluate(samples, samples, metrics=("perceptual_distance",))
    assert same["perceptual_distance[small]"].value == 0
    with pytest.raises(InputError, match="no layer '7'"):
        Backbone.of_module(network, name="small", layers=("7",))
    with pytest.raises(NotOffered, match="shows no layers"):
        ImageMetrics(features=COLOURS).evaluate(samples, references, metrics=("perceptual_distance",))


def test_pictures_fit_their_captions_by_a_local_clip(clip: Path) -> None:
    judge = ImageMetrics.open()
    captions = ["red bus", "blue sky", "red sky"]
    report = judge.evaluate(pictures(3), captions, metrics=("clip_score",), clip=str(clip))
    score = report["clip_score[tiny-clip]"]
    assert 0 <= score.value <= 100
    assert score.value == pytest.approx(np.mean([row["clip_score[tiny-clip]"] for row in report.rows]))
    prompted = [Image(each.pixels, origin={"prompt": text}) for each, text in zip(pictures(3), captions, strict=True)]
    assert (
        judge.evaluate(prompted, metrics=("clip_score",), clip=str(clip))["clip_score[tiny-clip]"].value == score.value
    )
    with pytest.raises(DataError, match="the caption of samples\\[0\\]"):
        judge.evaluate(pictures(3), metrics=("clip_score",), clip=str(clip))


def test_inceptions_weights_and_shapes_are_those_of_the_published_network() -> None:
    network = Inception().eval()
    assert (
        sum(each.numel() for each in network.parameters()) == 23_850_960
    )  # torchvision's 23,834,568 with 1,008 classes
    names = set(network.state_dict())
    for name in (
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_6e.branch7x7dbl_5.bn.running_var",
        "Mixed_7c.branch_pool.conv.weight",
    ):
        assert name in names
    looked = Look(network)([each.pixels for each in pictures(2, size=20)])
    assert looked.features.shape == (2, 2048)
    assert looked.probabilities is not None
    assert looked.probabilities.shape == (2, 1008)


def test_only_the_published_file_opens_as_fids_network(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Inception()
    torch.save(network.state_dict(), tmp_path / "other.pth")
    with pytest.raises(CorruptFolder, match=r"download https://github\.com/mseitzer"):
        ImageMetrics.open().evaluate(
            pictures(4), pictures(4), metrics=("frechet_distance",), features=str(tmp_path / "other.pth")
        )
    from aigc_sdk.storage import sha256

    backbone = open_inception(tmp_path / "other.pth", device="cpu", sha256=sha256(tmp_path / "other.pth"))
    report = ImageMetrics(features=backbone).evaluate(
        pictures(4), pictures(4, seed=1), metrics=("frechet_distance", "inception_score", "kernel_distance", "recall")
    )
    assert set(report.scores) == {"fid", "inception_score", "kid", "recall[inception-2015-12-05]"}


def test_tensorflows_resize_takes_pixels_at_multiples_of_the_scale() -> None:
    ramp = np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 4)[..., None].repeat(3, 2) * 10  # rows of 0, 10, 20, 30
    np.testing.assert_allclose(legacy_bilinear(ramp, 8)[:, 0, 0], [0, 5, 10, 15, 20, 25, 30, 30])
    np.testing.assert_allclose(legacy_bilinear(ramp, 2)[:, 0, 0], [0, 20])
    np.testing.assert_array_equal(legacy_bilinear(ramp, 4), ramp)


def test_pictures_are_prepared_as_the_folder_says() -> None:
    wide = np.zeros((10, 20, 3), np.uint8)
    wide[:, 8:12] = 255
    made = Preparation(size=10, crop=(10, 10), mean=(0, 0, 0), std=(1, 1, 1))([wide])
    assert made.shape == (1, 3, 10, 10)
    assert made[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]  # the middle
    small = Preparation(size=None, crop=(4, 4))([np.full((2, 2, 3), 255, np.uint8)])
    assert small[0, 0].tolist() == [[-1, -1, -1, -1], [-1, 1, 1, -1], [-1, 1, 1, -1], [-1, -1, -1, -1]]


FRECHET: dict[str, Any] = {"metrics": ("frechet_distance",)}


def test_pictures_of_several_sizes_are_refused_by_a_network_that_has_no_size() -> None:
    network = Backbone.of_module(torch.nn.Conv2d(3, 4, 3), name="small")
    with pytest.raises(DataError, match="16x16 and 20x20"):
        ImageMetrics(features=network).evaluate([*pictures(2), *pictures(2, size=20)], pictures(4), **FRECHET)


def test_a_model_of_films_is_no_network_for_pictures(classifier: Path) -> None:
    with pytest.raises(MismatchedFolder, match="model of pictures; give one of films"):
        open_folder(classifier, device="cpu", films=True)
