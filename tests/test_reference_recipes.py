"""The recipes of examples/reference run, on a few pictures in the format of the standard files."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Image
from aigc_sdk.errors import DataError

pytest.importorskip("aigc_sdk_gan")
pytest.importorskip("aigc_sdk_vae")
sys.path.insert(0, str(Path(__file__).parents[1] / "examples/reference"))

import recipes as reference
import standard_files as standard

RNG = np.random.default_rng(0)
GREYS = RNG.integers(0, 256, (24, 28, 28), np.uint8)
COLOURS = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)


def idx(pixels: Any) -> bytes:
    return b"\0\0\x08\x03" + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes()


def records(pixels: Any) -> bytes:
    rows = [bytes([index % 10]) + each.transpose(2, 0, 1).tobytes() for index, each in enumerate(pixels)]
    return b"".join(rows)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GREYS)))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(GREYS[:4]))
    return folder


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(5):
        (folder / f"data_batch_{number + 1}.bin").write_bytes(records(COLOURS))
    (folder / "test_batch.bin").write_bytes(records(COLOURS[:5]))
    return folder


def test_mnist_is_read_from_its_files_whatever_holds_them(mnist: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x_train=GREYS, x_test=GREYS[:4])
    for split, count in (("train", 24), ("test", 4)):
        for index, each in enumerate(GREYS[:count]):
            path = tmp_path / "folders" / split / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image(each[..., None].repeat(3, 2)).save(path)
    for source in (mnist, tmp_path / "mnist.npz", tmp_path / "folders"):
        train, test = standard.mnist(source)
        assert np.array_equal(train.pixels[..., 0], GREYS)
        assert np.array_equal(test.pixels[..., 0], GREYS[:4])


def test_pixels_of_binary_digits_are_on_or_off_as_likely_as_they_are_bright(mnist: Path) -> None:
    train, test = standard.binary_mnist(mnist)
    assert set(np.unique(train.pixels)) == {0, 255}
    bright = GREYS > 127
    assert train.pixels[..., 0][bright].mean() > 3 * train.pixels[..., 0][~bright].mean() * 0.8
    assert not train.pixels[..., 0][GREYS == 0].any()
    assert np.array_equal(standard.binary_mnist(mnist)[1].pixels, test.pixels), "they are drawn once"


def test_the_binarised_digits_of_the_papers_are_taken_as_they_are(tmp_path: Path) -> None:
    bits = RNG.integers(0, 2, (3, 784))
    for split in ("train", "test"):
        np.savetxt(tmp_path / f"binarized_mnist_{split}.amat", bits, fmt="%d")
    train, _ = standard.binary_mnist(tmp_path)
    assert np.array_equal(train.pixels.reshape(3, 784), 255 * bits)


def test_cifar_is_read_from_its_binary_version(cifar: Path) -> None:
    train, test = standard.cifar10(cifar)
    assert len(train) == 60
    assert np.array_equal(test.pixels, COLOURS[:5])
    assert test.labels is not None
    assert [test.names[each] for each in test.labels[:3]] == ["airplane", "automobile", "bird"]


BAD: list[tuple[Callable[[Path], Any], Callable[[Path], Any], str]] = [
    (lambda at: None, standard.mnist, "has none of the idx files of MNIST.*no folders train and test"),
    (lambda at: None, standard.cifar10, "has none of the .bin files"),
    (
        lambda at: (at / "train-images").write_bytes(idx(GREYS)[:-1]),
        standard.mnist,
        "no whole idx file.*fetch it again",
    ),
    (lambda at: (at / "train-images").write_bytes(b"\0\0"), standard.mnist, "no whole idx file"),
    (
        lambda at: (at / "train-images").write_bytes(idx(GREYS)),
        standard.mnist,
        "t10k-images.* cannot be read: .*No such",
    ),
    (lambda at: (at / "train-images.gz").write_bytes(gzip.compress(b"x" * 99)[:-9]), standard.mnist, "cannot be read"),
    (lambda at: (at / "data_batch_1.bin").write_bytes(b"\1" * 3072), standard.cifar10, "records of 3,073 bytes"),
    (lambda at: (at / "data_batch_1.bin").write_bytes(b"\x0b" * 3073), standard.cifar10, "a label from 0 to 9"),
    (lambda at: (at / "data_batch_1.bin").write_bytes(records(COLOURS)), standard.cifar10, "has no test_batch.bin"),
    (
        lambda at: (at / "binarized_mnist_train.amat").write_text("0 1 0\n"),
        standard.binary_mnist,
        "rows of 784 numbers that are 0 or 1",
    ),
]


@pytest.mark.parametrize(("spoil", "read", "message"), BAD)
def test_files_that_are_not_what_they_should_be_are_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], Any], read: Callable[[Path], Any], message: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    "content", [b"no zip", b"PK\3\4 and no more", {"x_test": GREYS}, {"x_train": GREYS.astype(object)}]
)
def test_an_npz_file_without_pictures_is_refused_and_nothing_is_unpickled(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "mnist.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(DataError, match=r"mnist\.npz holds no array x_train"):
        standard.mnist(path)


def test_the_rates_of_iwae_fall_in_the_stages_of_the_paper() -> None:
    recipe = reference.RECIPES["iwae"]
    assert recipe.epochs == 3280
    assert recipe.falls == (1, 4, 13, 40, 121, 364, 1093)


def small(name: str) -> Any:
    """A recipe with narrow networks and few draws."""
    from dataclasses import replace

    recipe = reference.RECIPES[name]
    if isinstance(recipe, reference.Autoencoder):
        options = {**recipe.options, "batch_size": 4} | ({"draws": 3} if name == "iwae" else {})
        return replace(recipe, sizes={**recipe.sizes, "width": 8}, options=options, draws=5)
    return replace(recipe, generator_features=4, critic={**recipe.critic, "features": 4})


@pytest.mark.parametrize("name", reference.RECIPES)
def test_every_recipe_trains_goes_on_and_prints_its_figures_beside_the_papers(
    name: str,
    mnist: Path,
    cifar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("aigc_sdk_gan.train.MEASURED", 1)
    monkeypatch.setitem(reference.RECIPES, name, small(name))
    of_digits = name in ("vae", "iwae")
    arguments = [name, "--data", str(mnist if of_digits else cifar), "--to", str(tmp_path / "run"), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["recipes.py", *arguments, "--max-steps", "2"])
    reference.main()
    printed = capsys.readouterr().out
    assert f"the paper: {reference.RECIPES[name].stated}" in printed
    assert ("NLL: " if of_digits else "generated from test pictures: 0.") in printed
    assert (tmp_path / "run/report.html").is_file()
    reference.main()
    assert capsys.readouterr().out == printed, "a finished run is not made again"


def test_the_residual_networks_have_as_many_weights_as_the_papers() -> None:
    """4.3 and 1.1 million: 256 and 128 features, with a convolution in the shortcut of every block that resizes."""
    count = lambda module: sum(each.numel() for each in module.parameters())  # noqa: E731
    convolution = lambda before, after, side: (before * side**2 + 1) * after  # noqa: E731
    up = 2 * convolution(256, 256, 3) + convolution(256, 256, 1) + 4 * 256
    assert count(reference.Generator(256)) == 129 * 4096 + 3 * up + 2 * 256 + convolution(256, 3, 3)
    inner = 2 * convolution(128, 128, 3)
    first = convolution(3, 128, 3) + convolution(128, 128, 3) + convolution(3, 128, 1)
    whole = first + 3 * inner + convolution(128, 128, 1) + 128
    assert count(reference.Critic(128, spectral=False, pool="sum")) == whole


def test_a_refusal_is_a_line_and_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["recipes.py", "sngan", "--data", str(tmp_path), "--to", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as caught:
        reference.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("data: ")
