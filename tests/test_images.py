"""Pictures to train on: every source gives the same, what is wrong is named, and tensors come back as they were."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from aigc_sdk import Image, media
from aigc_sdk.errors import DataError, DiskError, InputError, MediaError, MissingDependency, OptionError
from aigc_sdk.training import Augmentation, Pictures, augmented, pictures, to_images, to_tensor
from aigc_sdk.training.digest import data_digest


def colours(n: int = 4, height: int = 6, width: int = 5) -> NDArray[np.uint8]:
    return np.random.RandomState(0).randint(0, 256, (n, height, width, 3)).astype(np.uint8)


def greys(n: int = 4, side: int = 6) -> NDArray[np.uint8]:
    return np.random.RandomState(1).randint(0, 256, (n, side, side)).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def written(folder: Path, *names: str) -> Path:
    """The first pictures of `colours`, under these names."""
    for name, pixels in zip(names, colours(len(names)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(pixels))
    return folder


# Sources


def test_the_digits_are_there_with_their_split() -> None:
    every, train, test = pictures("digits"), pictures("digits/train"), pictures("digits/test")
    assert every.pixels.shape == (1797, 8, 8, 1)
    assert (len(train), len(test)) == (1200, 597)
    assert every.names == train.names == tuple("0123456789")
    assert set(every.pixels.reshape(-1)) == {round(grey * 255 / 16) for grey in range(17)}
    rows = [each.tobytes() for each in every.pixels]
    assert sorted(rows) == sorted(each.tobytes() for part in (train, test) for each in part.pixels)
    assert train.labels is not None
    assert train.labels[:10].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5]


def test_without_scikit_learn_the_digits_name_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependency, match="pip install scikit-learn"):
        pictures("digits")


def test_a_folder_gives_its_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = pictures(written(tmp_path, "b.png", "a.PNG", "c.png"))
    assert np.array_equal(found.pixels, colours(3)[[1, 0, 2]])
    assert (found.labels, found.names, found.skipped) == (None, (), ())


def test_sub_folders_are_labels_and_may_hold_further_ones(tmp_path: Path) -> None:
    found = pictures(str(written(tmp_path, "dog/a.png", "cat/new/b.png", "cat/a.png")))
    assert found.names == ("cat", "dog")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1]
    assert np.array_equal(found.pixels, colours(3)[[2, 1, 0]])


def test_other_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    written(tmp_path, "a.png", ".hidden.png", ".thumbnails/a.png", "b.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert len(pictures(tmp_path)) == 2


def test_a_file_is_what_it_holds_whatever_its_suffix_among_pictures(tmp_path: Path) -> None:
    written(tmp_path, "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(pictures(tmp_path).pixels, colours(1))


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)]
)
def test_files_of_greys_stay_grey_and_others_become_rgb(mode: str, channels: int, tmp_path: Path) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    PIL.Image.fromarray(colours(1)[0]).convert(mode).save(tmp_path / name)
    assert pictures(tmp_path).pixels.shape == (1, 6, 5, channels)


def test_greys_among_colours_become_colours(tmp_path: Path) -> None:
    written(tmp_path, "a.png")
    PIL.Image.fromarray(greys(1)[0][:, :5]).save(tmp_path / "b.png")
    found = pictures(tmp_path).pixels
    assert found.shape == (2, 6, 5, 3)
    assert np.array_equal(found[1], np.repeat(greys(1)[0][:, :5, None], 3, 2))


def dataset(**columns: Any) -> Any:
    import datasets

    kinds: dict[str, Any] = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog", "owl"]),
        "other": datasets.Image(),
        "count": datasets.Value("int64"),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features({name: kinds[name] for name in columns}))


SOURCES: dict[str, Callable[[], Any]] = {
    "array": colours,
    "floating array": lambda: colours() / 255,
    "half precision": lambda: (colours() / 255).astype(np.float32),
    "tensor": lambda: torch.from_numpy(colours()),
    "floating tensor": lambda: torch.from_numpy(colours()).double() / 255,
    "Images": lambda: [Image(each) for each in colours()],
    "Pillow images": lambda: [PIL.Image.fromarray(each) for each in colours()],
    "arrays": lambda: list(colours()),
    "generator": lambda: (Image(each) for each in colours()),
    "dataset": lambda: dataset(image=[{"bytes": png(each)} for each in colours()]),
    "Pictures": lambda: Pictures(colours()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_pixels(source: str) -> None:
    found = pictures(SOURCES[source]())
    assert found.pixels.dtype == np.uint8
    assert np.array_equal(found.pixels, colours())
    assert found.labels is None


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        ([3, 10, 3, 7], ("3", "7", "10"), [0, 2, 0, 1]),
        (np.array([1, 0, 1, 0], np.uint8), ("0", "1"), [1, 0, 1, 0]),
        (torch.tensor([1, 0, 1, 0]), ("0", "1"), [1, 0, 1, 0]),
        (["owl", "cat", "owl", "owl"], ("cat", "owl"), [1, 0, 1, 1]),
    ],
)
@pytest.mark.parametrize("pairs", [True, False], ids=["pairs", "a pair"])
def test_labels_become_indices_of_their_names(
    labels: Any, names: tuple[str, ...], indices: list[int], pairs: bool
) -> None:
    found = pictures(list(zip(map(Image, colours()), labels, strict=True)) if pairs else (colours(), labels))
    assert found.names == names
    assert found.labels is not None
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == indices


def test_the_classes_of_a_dataset_keep_their_names_and_order() -> None:
    found = pictures(dataset(image=[{"bytes": png(each)} for each in colours(2)], label=[2, 0], count=[1, 1]))
    assert found.names == ("cat", "dog", "owl")
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0]
    assert pictures(found).names == found.names


# Size and channels


def test_a_size_takes_the_middle_square() -> None:
    wide = np.zeros((1, 10, 30, 3), np.uint8)
    wide[:, :, 7:23] = 200  # bicubic looks a little beyond the square
    assert (pictures(wide, size=4).pixels == 200).all()
    assert pictures(wide.transpose(0, 2, 1, 3), size=7).pixels.shape == (1, 7, 7, 3)
    mixed = [Image(np.zeros((side, 9, 3), np.uint8)) for side in (5, 8)]
    assert pictures(mixed, size=6).pixels.shape == (2, 6, 6, 3)


def test_a_size_that_pictures_have_already_changes_nothing() -> None:
    assert np.array_equal(pictures(greys(), size=6).pixels[..., 0], greys())


def test_greys_repeated_thrice_are_greys_again_with_one_channel() -> None:
    thrice = [Image(np.repeat(each[..., None], 3, 2)) for each in greys()]
    assert np.array_equal(pictures(thrice, channels=1).pixels[..., 0], greys())
    assert np.array_equal(pictures(greys(), channels=3).pixels, np.stack([each.pixels for each in thrice]))


def test_colours_become_the_greys_of_pillow() -> None:
    expected = [np.asarray(PIL.Image.fromarray(each).convert("L")) for each in colours()]
    assert np.array_equal(pictures(colours(), channels=1).pixels[..., 0], expected)


# What is refused


def with_nan() -> Any:
    array = colours() / 255
    array[2, 0, 0, 0] = np.nan
    return array


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (with_nan, r"data\[2\] has pixels that are NaN or infinite"),
    "a range": (lambda: colours() / 1.0, r"data\[0\] has pixels from .* to 25\d; .* divide by 255"),
    "another range": (lambda: colours() / 127.5 - 1, r"data\[0\] has pixels from -.* use \(array \+ 1\) / 2"),
    "integers": (lambda: colours().astype(int), r"data\[0\] holds int64; give uint8"),
    "channels first": (lambda: colours().transpose(0, 3, 1, 2), r"shape \(3, 6, 5\); .* np.moveaxis"),
    "four channels": (lambda: np.zeros((2, 6, 5, 4), np.uint8), r"shape \(6, 5, 4\); .* array\[..., :3\]"),
    "one picture": (lambda: colours()[0], r"shape \(6, 5, 3\), as one picture has"),
    "vectors": (lambda: np.zeros((4, 64)), r"shape \(4, 64\); give n x height x width"),
    "no pixels": (lambda: np.zeros((2, 0, 5), np.uint8), r"data\[0\] is of shape \(0, 5\)"),
    "an Image": (lambda: Image(colours()[0]), "data is of type Image, .* pass a list of them"),
    "splits": (lambda: {"train": colours()}, r"such as data\['train'\]"),
    "nothing": (list, "data: it holds no pictures"),
    "no rows": (lambda: colours()[:0], "data: it holds no pictures"),
    "None": (lambda: None, "data is of type NoneType"),
    "words": (lambda: ["a", "b"], r"data\[0\] is a str; give an aigc_sdk.Image"),
    "sizes": (lambda: [*colours(1), *greys(1)], r"data\[0\] is of 5 x 6 pixels and data\[1\] of 6 x 6; give a size"),
    "fewer labels": (lambda: (colours(), [0, 1]), "4 pictures and 2 labels"),
    "one-hot labels": (lambda: (colours(), np.eye(4)), r"argmax\(1\)"),
    "floating labels": (lambda: (colours(), [0, 1, 0.5, 1]), r"the label of data\[2\] is 0.5, a float"),
    "labels in two types": (lambda: (colours(), [0, 1, "2", 1]), "strings and integers"),
    "a label missing": (lambda: [(colours()[0], 1), colours()[1]], r"data\[0\] has a label and data\[1\] has none"),
    "labels as a word": (lambda: (colours(), "abcd"), "the labels of data are a str"),
    "an index without a name": (
        lambda: Pictures(colours(1), np.array([3]), ("a",)),
        "is 3; the indices of its 1 names end at 0",
    ),
    "no image column": (lambda: dataset(count=[1]), r"one column of images and has none; .* count \(Value\)"),
    "two image columns": (lambda: dataset(image=[None], other=[None]), "has 2 of them"),
    "a dataset without a label": (lambda: dataset(image=[{"bytes": b""}], label=[None]), r"data\[0\] has no label"),
    "a damaged row": (lambda: dataset(image=[{"bytes": b"no"}]), r"data\[0\]: it cannot be read: it is damaged"),
    "an empty row": (lambda: dataset(image=[None]), r"data\[0\]: it is empty"),
    "a folder that is not there": (lambda: "digits/all", "digits/all is no folder of pictures, nor one of digits"),
    "a file": (lambda: Path(__file__), "pass the folder that it is in"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_data_that_cannot_be_trained_on_is_refused_by_name(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(DataError, match=message) as caught:
        pictures(make())
    assert caught.value.field == "data"


def test_errors_call_the_data_what_the_caller_does() -> None:
    with pytest.raises(DataError, match=r"^validation\[2\]") as caught:
        pictures(with_nan(), name="validation")
    assert caught.value.field == "validation"


@pytest.mark.parametrize(
    "arguments", [{"size": 0}, {"size": True}, {"size": 8.0}, {"size": 10**6}, {"channels": 2}, {"corrupt": "ignore"}]
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(arguments))}=") as caught:
        pictures(colours(), **arguments)
    assert caught.value.field == next(iter(arguments))


def test_a_folder_without_pictures_tells_what_it_holds(tmp_path: Path) -> None:
    for name in ("a.bmp", "b.bmp", "README"):
        (tmp_path / name).touch()
    with pytest.raises(
        DataError, match=re.escape("(.png, .jpg, .jpeg, .webp)") + r".* but \.bmp \(2\), without a suffix"
    ):
        pictures(tmp_path)


# Corrupt files


def bomb() -> bytes:
    """A picture of 100 bytes that claims 90,000 x 90,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 90_000, 90_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 99)) + chunk(b"IEND", b"")
    )


def damage(kind: str, path: Path) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "bomb":
        path.write_bytes(bomb())
    elif kind == "a program":
        path.write_bytes(b"#!/bin/sh\nexit\n")
    elif kind == "a film":
        path.write_bytes(b"GIF89a" + path.read_bytes())
    else:
        path.unlink()
        if kind == "a broken link":
            path.symlink_to("nowhere.png")
        elif kind == "a pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.parent.parent)


DAMAGES = ["empty", "cut", "bomb", "a program", "a film", "a broken link", "a pipe", "a link to a folder"]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_corrupt_picture_is_refused_or_skipped_by_name(kind: str, tmp_path: Path) -> None:
    names = ("cat/a.png", "cat/b.png", "dog/c.png")
    run = written(tmp_path / "data", *names)
    damage(kind, run / "cat/b.png")
    with pytest.raises(DataError, match=r"cat/b\.png: .*; repair it, leave it out, or skip"):
        pictures(run)
    found = pictures(run, corrupt="skip")
    assert np.array_equal(found.pixels, colours(3)[[0, 2]])
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith(f"{run}/cat/b.png: ")


def test_a_label_whose_pictures_are_all_corrupt_is_none(tmp_path: Path) -> None:
    run = written(tmp_path, "cat/a.png", "dog/b.png")
    damage("cut", run / "cat/a.png")
    found = pictures(run, corrupt="skip")
    assert found.names == ("dog",)
    assert found.labels is not None
    assert found.labels.tolist() == [0]


def test_when_every_picture_is_corrupt_nothing_is_left_to_train_on(tmp_path: Path) -> None:
    damage("cut", written(tmp_path, "a.png") / "a.png")
    with pytest.raises(DataError, match=r"all 1 pictures are corrupt; .*a\.png: "):
        pictures(tmp_path, corrupt="skip")


def test_a_link_to_a_file_is_followed_wherever_it_leads(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere", "x.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").symlink_to(tmp_path / "elsewhere/x.png")
    assert np.array_equal(pictures(tmp_path / "data").pixels, colours(1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_no_corrupt_one(tmp_path: Path) -> None:
    written(tmp_path, "a.png", "b.png")
    (tmp_path / "b.png").chmod(0)
    with pytest.raises(DiskError, match=r"b\.png"):
        pictures(tmp_path, corrupt="skip")


def test_a_pillow_image_that_does_not_load_is_corrupt_too() -> None:
    opened = [PIL.Image.open(io.BytesIO(png(each))) for each in colours(2)]
    cut = PIL.Image.open(io.BytesIO(png(colours(1)[0])[:-30]))
    assert len(pictures([*opened, cut], corrupt="skip")) == 2
    with pytest.raises(DataError, match=r"data\[0\]: it cannot be read"):
        pictures([cut])


# Tensors


def test_pixels_come_back_from_tensors_exactly() -> None:
    for pixels in (colours(), greys()[..., None]):
        tensor = to_tensor(pixels)
        assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, (4, pixels.shape[3], 6, pixels.shape[2]))
        assert tensor.is_contiguous()
        assert np.array_equal(np.stack(to_images(tensor)), np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert to_tensor(every).min() == -1
    assert to_tensor(every).max() == 1
    assert np.array_equal(to_images(to_tensor(every))[0][..., 0], every[0, ..., 0])


def test_tensors_are_clipped_and_may_be_of_half_precision() -> None:
    [image] = to_images(torch.tensor([-3.0, 3.0], dtype=torch.bfloat16).reshape(1, 1, 1, 2).requires_grad_())
    assert image.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert Image(image).pixels.shape == (1, 2, 3)


@pytest.mark.parametrize("tensor", [torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4), torch.full((1, 1, 2, 2), torch.nan)])
def test_a_tensor_that_is_no_picture_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(InputError, match="the tensor"):
        to_images(tensor)


# Augmentation


def batch(height: int = 12, width: int = 12) -> torch.Tensor:
    return torch.rand(32, 2, height, width, generator=torch.Generator().manual_seed(2)) * 2 - 1


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_augmentation_the_batch_and_the_random_state_are_as_before() -> None:
    before = torch.get_rng_state()
    same = batch()
    assert augmented(same, Augmentation()) is same
    assert torch.equal(torch.get_rng_state(), before)


def test_a_flip_mirrors_about_half_of_the_pictures_and_nothing_else() -> None:
    whole = batch()
    moved = augmented(whole, Augmentation(flip=True), rng())
    same = [torch.allclose(one, other, atol=1e-4) for one, other in zip(whole, moved, strict=True)]
    mirrored = [torch.allclose(one.flip(2), other, atol=1e-4) for one, other in zip(whole, moved, strict=True)]
    assert all(one != other for one, other in zip(same, mirrored, strict=True))
    assert 8 <= sum(mirrored) <= 24


def test_one_seed_gives_one_augmentation_and_each_picture_its_own() -> None:
    how = Augmentation(shift=2, rotate=20, zoom=0.2, flip=True)
    alike = batch()[:1].expand(8, -1, -1, -1)
    moved = augmented(alike, how, rng())
    assert torch.equal(moved, augmented(alike, how, rng()))
    assert not torch.equal(moved, augmented(alike, how, rng(1)))
    assert len({each.numpy().tobytes() for each in moved}) == 8


def spot(height: int, width: int, y: int, x: int, n: int = 64) -> torch.Tensor:
    picture = torch.full((n, 1, height, width), -1.0)
    picture[:, :, y, x] = 1
    return picture


def centres(moved: torch.Tensor) -> torch.Tensor:
    """Where the brightness lies, n x 2: y and x in pixels."""
    weight = (moved[:, 0] + 1).clamp(min=0)
    y = torch.arange(moved.shape[2]).float()[:, None]
    x = torch.arange(moved.shape[3]).float()
    total = weight.sum((1, 2))
    return torch.stack([(weight * y).sum((1, 2)), (weight * x).sum((1, 2))], 1) / total[:, None]


@pytest.mark.parametrize(("height", "width"), [(21, 21), (21, 41)])
def test_shift_turn_and_zoom_move_by_pixels_degrees_and_parts(height: int, width: int) -> None:
    middle = torch.tensor([height // 2, width // 2]).float()
    shifts = (
        centres(augmented(spot(height, width, 10, 20 if width > 21 else 10), Augmentation(shift=3), rng())) - middle
    )
    assert 2 < shifts.abs().max() <= 3.01
    arm = spot(height, width, height // 2, width // 2 + 8)
    turned = centres(augmented(arm, Augmentation(rotate=30), rng())) - middle
    angles = torch.rad2deg(torch.atan2(turned[:, 0], turned[:, 1]))
    assert turned.norm(dim=1) == pytest.approx(8, abs=0.3)  # a circle, whatever the sides of the picture
    assert 20 < angles.abs().max() <= 31
    zoomed = centres(augmented(arm, Augmentation(zoom=0.25), rng())) - middle
    assert zoomed[:, 0].abs().max() < 0.05
    assert 5.8 <= zoomed[:, 1].min() < 7
    assert 9 < zoomed[:, 1].max() <= 10.2


@pytest.mark.parametrize(("outside", "lowest"), [("mirror", 0.99), ("black", -1.0)])
def test_what_comes_in_from_beyond_the_edge_is_the_picture_mirrored_or_black(outside: Any, lowest: float) -> None:
    moved = augmented(torch.ones(16, 1, 8, 8), Augmentation(shift=3, outside=outside), rng())
    assert float(moved.min()) == pytest.approx(lowest, abs=0.02)
    assert float(moved.max()) == pytest.approx(1)


def test_gradients_pass_through_an_augmentation() -> None:
    images = batch().requires_grad_()
    augmented(images, Augmentation(shift=1, rotate=5), rng()).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


# Contact sheets


def test_a_grid_lays_images_out_row_by_row_on_white() -> None:
    red, green, blue = (
        Image(np.full((2, 3, 3), colour, np.uint8)) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    )
    sheet = media.grid([red, green, blue], columns=2, gap=1).pixels
    assert sheet.shape == (5, 7, 3)
    assert np.array_equal(sheet[:2, :3], red.pixels)
    assert np.array_equal(sheet[:2, 4:], green.pixels)
    assert np.array_equal(sheet[3:, :3], blue.pixels)
    assert (sheet[2] == 255).all()
    assert (sheet[:, 3] == 255).all()
    assert (sheet[3:, 4:] == 255).all()


def test_a_grid_enlarges_by_whole_pixels_and_puts_smaller_images_in_the_middle() -> None:
    large, small = Image(np.zeros((4, 4, 3), np.uint8)), Image(np.zeros((2, 2, 3), np.uint8))
    sheet = media.grid([large, small], columns=2, gap=0, scale=3).pixels
    assert sheet.shape == (12, 24, 3)
    assert (sheet[:, :12] == 0).all()
    assert (sheet[3:9, 15:21] == 0).all()
    assert sheet[:, 12:].sum() == (12 * 12 - 6 * 6) * 3 * 255


@pytest.mark.parametrize(("count", "shape"), [(1, (4, 5)), (2, (4, 11)), (9, (14, 17)), (10, (14, 23))])
def test_a_grid_is_about_as_wide_as_high(count: int, shape: tuple[int, int]) -> None:
    images = [Image(np.zeros((4, 5, 3), np.uint8))] * count
    assert media.grid(images, gap=1).pixels.shape[:2] == shape
    assert media.grid(images, columns=100, gap=0).pixels.shape[:2] == (4, 5 * count)


@pytest.mark.parametrize(
    ("images", "arguments", "field"),
    [
        ([], {}, "images"),
        (["a"], {}, "images"),
        ([Image(np.zeros((0, 2, 3), np.uint8))], {}, "images"),
        ([Image(np.zeros((2, 2, 3), np.uint8))], {"columns": 0}, "columns"),
        ([Image(np.zeros((2, 2, 3), np.uint8))], {"gap": -1}, "gap"),
        ([Image(np.zeros((2, 2, 3), np.uint8))], {"scale": 1.5}, "scale"),
    ],
)
def test_a_grid_of_nothing_or_by_wrong_numbers_is_refused(images: Any, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        media.grid(images, **arguments)
    assert caught.value.field == field


def test_a_grid_larger_than_any_picture_may_be_is_refused_before_it_is_made() -> None:
    with pytest.raises(MediaError, match="limit"):
        media.grid([Image(np.zeros((100, 100, 3), np.uint8))] * 4, scale=1000)


def test_a_folder_has_the_digest_of_its_names_and_sizes(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one", "x/a.png", "b.png"), written(tmp_path / "other", "x/a.png", "b.png")
    assert data_digest(one) == data_digest(str(other)) is not None
    (one / "b.png").unlink()
    assert data_digest(one) != data_digest(other)


def test_pictures_have_a_digest_so_that_a_resumed_run_knows_its_data() -> None:
    one, other = Pictures(colours()), Pictures(colours(), np.zeros(4, np.int64), ("a",))
    assert data_digest(one) == data_digest(Pictures(colours())) != data_digest(other)
