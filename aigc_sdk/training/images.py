"""Pictures to train on: from wherever they are into one array, from arrays to tensors and back, and augmented.

Networks work on floats in [-1, 1], n x channels x height x width; arrays are uint8, n x height x width x channels.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import PIL.Image
import PIL.ImageOps
from pydantic import Field

from aigc_sdk import media
from aigc_sdk._limits import PIXEL_LIMIT
from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError, DiskError, InputError, MediaError, OptionError, OutOfMemory, printable, shown
from aigc_sdk.protocols import Options
from aigc_sdk.runtime import require

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

SUFFIXES = tuple(f".{suffix}" for suffix, each in media.FORMATS.items() if each.kind == "image")
DIGITS = {"digits": None, "digits/train": slice(1200), "digits/test": slice(1200, None)}
TOGETHER = 256  # pictures that are decoded at a time, so that an endless source is not read ahead
LUMA = (19595, 38470, 7471)  # red, green and blue of 65,536: ITU-R 601-2, as Pillow computes it


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size, in one array, with their labels where they have some."""

    pixels: Pixels
    """n x height x width x channels (1 or 3)."""
    labels: NDArray[np.int64] | None = None
    """n, each an index into `names`."""
    names: tuple[str, ...] = ()
    """Of the labels: digits, the names of folders or classes."""
    skipped: tuple[str, ...] = ()
    """`file: reason` for every picture that was left out."""

    def __len__(self) -> int:
        return len(self.pixels)

    def _content(self) -> tuple[Any, ...]:
        return (self.pixels, self.labels, self.names)  # what a run's record of its data is a digest of


def pictures(
    data: Any,
    *,
    size: int | None = None,
    channels: Literal[1, 3] | None = None,
    corrupt: Literal["refuse", "skip"] = "refuse",
    name: str = "data",
) -> Pictures:
    """Gather pictures from what a user has.

    data: one of
      - "digits": scikit-learn's 1,797 handwritten digits, 8 x 8 in 16 greys; "digits/train" and "digits/test" are a fixed
        shuffled split of 1,200 and 597
      - a folder of png, jpg and webp files. Sub-folders are labels, in the order of their names, and may hold
        further ones. Hidden and other files are left alone; links to files are followed wherever they lead, links to
        folders are not: they count as corrupt
      - an array n x height x width [x channels], uint8, or floating in [0, 1]; or a pair of one and n labels
      - a `datasets.Dataset` with a column of images, and of labels perhaps
      - a list or other iterable of Images, Pillow images or arrays; or of pairs of one and a label
      - Pictures
    size: the side of the square to which the middle of every picture is resized (bicubic); None leaves them as they are.
    channels: 1 for greys, 3 for colours; None for greys if all of them are.
    corrupt: whether a picture that cannot be read is refused, or left out and told in `skipped`.
    name: what the errors call `data`.

    Raises DataError, naming the picture and the remedy; DiskError for a file that may not be read; MissingDependency.
    """
    _check_arguments(size, channels, corrupt)
    items, names = _items(data, name)
    load = partial(_load, size=size, channels=channels, corrupt=corrupt, name=name)
    kept: list[_Item] = []
    skipped: list[str] = []
    try:
        for item, found in _loaded(items, load):
            if isinstance(found, str):
                skipped.append(found)
            else:
                kept.append(replace(item, picture=found))  # lets go of the file's bytes
        if not kept:
            reason = f"all {len(skipped)} pictures are corrupt; {skipped[0]}" if skipped else "it holds no pictures"
            raise DataError(f"{name}: {reason}", field=name)
        pixels = _stacked(kept, name)
    except MemoryError as error:
        raise OutOfMemory(f"{name}: the pictures do not fit in memory; give fewer, or a smaller size") from error
    labels, names = _indexed(kept, names, name)
    return Pictures(pixels, labels, names, tuple(skipped))


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """n x height x width x channels of uint8 as float32 in [-1, 1], n x channels x height x width."""
    import torch

    planes = torch.tensor(pixels).permute(0, 3, 1, 2).contiguous()  # (n, c, h, w)
    return planes.to(torch.float32).div_(127.5).sub_(1)


def to_images(tensor: torch.Tensor) -> list[Pixels]:
    """n x channels x height x width as the pixels of n Images: clipped to [-1, 1], uint8, height x width x 3.

    Raises InputError for another shape, and for NaN and infinity.
    """
    import torch

    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
        message = f"the tensor is of shape {tuple(tensor.shape)}; give n x channels x height x width, 1 or 3 channels"
        raise InputError(message, field="tensor")
    planes = tensor.detach().float().cpu()
    if not torch.isfinite(planes).all():
        raise InputError(
            "the tensor has pixels that are not finite; the network that made them has none", field="tensor"
        )
    scaled = planes.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    rows = scaled.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).contiguous().numpy()  # (n, h, w, 3)
    return list(rows)


class Augmentation(Options):
    """How far each picture is moved at random, anew whenever it is drawn; a trainer's Options may inherit it."""

    flip: bool = Field(False, description="mirror every other picture, left for right")
    shift: float = Field(0.0, ge=0, le=1024, description="farthest shift, across and down, in pixels")
    rotate: float = Field(0.0, ge=0, le=180, description="largest angle of a turn, in degrees")
    zoom: float = Field(0.0, ge=0, le=0.9, description="largest part by which a picture grows or shrinks")
    outside: Literal["mirror", "black"] = Field(
        "mirror", description="what comes in from beyond the edge: the picture mirrored, or black"
    )


def augmented(batch: torch.Tensor, how: Augmentation, rng: torch.Generator | None = None) -> torch.Tensor:
    """Every picture of a batch (n x channels x height x width, in [-1, 1]) moved by a draw of its own.

    rng: where the draws come from; None is torch's global state, which a Loop seeds for each step. Differentiable.
    """
    import torch
    from torch.nn import functional

    if not (how.flip or how.shift or how.rotate or how.zoom):
        return batch
    n, _, height, width = batch.shape
    drawn = torch.rand(n, 5, generator=rng, device="cpu" if rng is None else rng.device).to(batch.device)
    either, angle, growth, across, down = (2 * drawn - 1).unbind(1)  # each (n,), in [-1, 1)
    mirror = torch.where(either < 0, -1.0, 1.0) if how.flip else torch.ones_like(either)
    angle = angle * math.radians(how.rotate)
    scale = 1 / (1 + growth * how.zoom)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    # From a place in the result to one in the picture, in units of half a side: so a turn needs the sides' ratio.
    rows = [
        torch.stack([mirror * cos, -mirror * sin * height / width, across * how.shift * 2 / width], 1),
        torch.stack([sin * width / height, cos, down * how.shift * 2 / height], 1),
    ]
    places = functional.affine_grid(torch.stack(rows, 1), list(batch.shape), align_corners=False)
    places = places.to(batch.dtype)
    if how.outside == "mirror":
        return functional.grid_sample(batch, places, padding_mode="reflection", align_corners=False)
    return functional.grid_sample(batch + 1, places, padding_mode="zeros", align_corners=False) - 1


@dataclass(frozen=True)
class _Item:
    """One picture that is still to be loaded, and what an error calls it."""

    where: str
    picture: Any  # a Path, a file's bytes, an Image, a Pillow image, an array; or the error that stands in its place
    label: Any = None


def _check_arguments(size: Any, channels: Any, corrupt: Any) -> None:
    limit = math.isqrt(PIXEL_LIMIT)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= limit):
        raise OptionError(f"size={shown(size)}: give pixels from 1 to {limit:,}, or None", field="size")
    if channels not in (None, 1, 3):
        raise OptionError(f"channels={shown(channels)}: give 1 for greys, 3 for colours, or None", field="channels")
    if corrupt not in ("refuse", "skip"):
        raise OptionError(f"corrupt={shown(corrupt)}: use 'refuse' or 'skip'", field="corrupt")


def _items(data: Any, name: str) -> tuple[Iterator[_Item], tuple[str, ...] | None]:
    """The pictures that `data` holds, and the names of the labels where these are indices of names."""
    if isinstance(data, str) and data in DIGITS:
        data = _digits(data)
    if isinstance(data, Pictures):
        return _paired(data.pixels, data.labels, name), data.names or None
    if isinstance(data, str | Path):
        return _files(Path(data).expanduser(), name), None
    if hasattr(data, "features") and hasattr(data, "cast_column"):
        return _rows(data, name)
    if isinstance(data, tuple) and len(data) == 2 and (_is_array(data[0]) or isinstance(data[0], list)):
        return _paired(data[0], data[1], name), None
    if _is_array(data):
        return _paired(data, None, name), None
    if isinstance(data, Iterable) and not isinstance(data, Mapping | bytes | Image | PIL.Image.Image):
        return _singles(data, name), None
    remedy = "pass a folder, an array, a list of pictures, a datasets.Dataset, or 'digits'"
    if isinstance(data, Image | PIL.Image.Image):
        remedy = "pass a list of them"
    if isinstance(data, Mapping):
        remedy = f"pass one of its parts, such as {name}['train']"
    kind = type(data).__name__
    raise DataError(f"{name} is of type {kind}, which pictures are not taken from; {remedy}", field=name)


def _digits(which: str) -> Pictures:
    found = require("sklearn.datasets", "scikit-learn", f"the data set {which!r}").load_digits()
    greys = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]  # (n, 8, 8, 1)
    labels, part = found.target.astype(np.int64), DIGITS[which]
    if part is not None:
        order = np.random.RandomState(0).permutation(len(labels))[part]  # numpy promises never to change this order
        greys, labels = greys[order], labels[order]
    return Pictures(greys, labels, tuple("0123456789"))


def _files(folder: Path, name: str) -> Iterator[_Item]:
    if not folder.is_dir():
        known = f", nor one of {', '.join(DIGITS)}" if not folder.exists() else ": pass the folder that it is in"
        raise DataError(f"{name}: {printable(str(folder))} is no folder of pictures{known}", field=name)
    others: Counter[str] = Counter()
    found: list[tuple[Path, Path | MediaError]] = []
    for path in _walked(folder):
        if path.is_dir():  # a link to a folder
            found.append(
                (path, MediaError("it is a link to a folder, which is not followed; put the folder itself there"))
            )
        elif path.suffix.lower() in SUFFIXES:
            found.append((path, path))
        else:
            others[path.suffix.lower() or "without a suffix"] += 1
    if not found:
        instead = ", ".join(f"{printable(suffix)} ({count})" for suffix, count in others.most_common(5)) or "nothing"
        message = f"{name}: there are no pictures ({', '.join(SUFFIXES)}) in {printable(str(folder))}, but {instead}"
        raise DataError(message, field=name)
    for path, picture in sorted(found, key=lambda pair: pair[0].parts):
        inside = path.relative_to(folder).parts
        yield _Item(printable(str(path)), picture, inside[0] if len(inside) > 1 else None)


def _walked(folder: Path) -> Iterator[Path]:
    """Every file, and every link to a folder; nothing that is hidden."""

    def refuse(error: OSError) -> None:
        raise DiskError(f"{printable(str(error.filename))} cannot be read: {error.strerror or error}") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        links = [each for each in folders if os.path.islink(os.path.join(root, each))]
        yield from (Path(root, each) for each in (*links, *files) if not each.startswith("."))


def _rows(data: Any, name: str) -> tuple[Iterator[_Item], tuple[str, ...] | None]:
    """The rows of a `datasets.Dataset`, its files undecoded: Pillow then opens none that is too large."""
    features = data.features or {}
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    column = _only([each for each, kind in kinds.items() if kind == "Image"], "column of images", kinds, name)
    classes = [each for each, kind in kinds.items() if kind == "ClassLabel"]
    if "label" in kinds:
        label: str | None = "label"
    else:
        label = _only(classes, "column of labels", kinds, name) if classes else None
    names = tuple(features[label].names) if label in classes else None
    undecoded = data.with_format(None).cast_column(column, type(features[column])(decode=False))

    def items() -> Iterator[_Item]:
        for index, row in enumerate(undecoded):
            file = row[column] or {}
            picture = file.get("bytes") or (Path(file["path"]) if file.get("path") else MediaError("it is empty"))
            where = f"{name}[{index}]"
            if label is not None and row[label] is None:
                raise DataError(f"{where} has no label; leave it out, or remove the column {label!r}", field=name)
            yield _Item(where, picture, None if label is None else row[label])

    return items(), names


def _only(found: list[str], what: str, kinds: Mapping[str, str], name: str) -> str:
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{printable(column)} ({kind})" for column, kind in kinds.items())
    count = f"{len(found)} of them" if found else "none"
    raise DataError(f"{name} needs one {what} and has {count}; its columns are: {listed}", field=name)


def _paired(rows: Any, labels: Any, name: str) -> Iterator[_Item]:
    """The pictures of an array or a list, and as many labels."""
    rows = _as_numpy(rows)
    if isinstance(rows, np.ndarray):
        _check_shape(rows, name)
    if labels is None:
        return (_Item(f"{name}[{index}]", row) for index, row in enumerate(rows))
    labels = _as_numpy(labels)
    if not isinstance(labels, Sequence | np.ndarray) or isinstance(labels, str | bytes):
        raise DataError(f"the labels of {name} are a {type(labels).__name__}; give a list or an array", field=name)
    if np.ndim(labels[:1]) != 1:
        raise DataError(
            f"the labels of {name} are no single numbers; for rows of scores give their argmax(1)", field=name
        )
    if len(labels) != len(rows):
        raise DataError(f"{name} has {len(rows):,} pictures and {len(labels):,} labels; give as many", field=name)
    pairs = zip(rows, labels, strict=True)
    return (_Item(f"{name}[{index}]", row, _label(label, name, index)) for index, (row, label) in enumerate(pairs))


def _singles(data: Iterable[Any], name: str) -> Iterator[_Item]:
    for index, each in enumerate(data):
        if isinstance(each, tuple | list) and len(each) == 2:
            yield _Item(f"{name}[{index}]", _as_numpy(each[0]), _label(each[1], name, index))
        else:
            yield _Item(f"{name}[{index}]", _as_numpy(each))


def _is_array(data: Any) -> bool:
    return isinstance(data, np.ndarray) or hasattr(data, "detach")


def _as_numpy(data: Any) -> Any:
    """A torch tensor as an array, and everything else as it is."""
    if not hasattr(data, "detach"):
        return data
    tensor = data.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _check_shape(array: NDArray[Any], name: str) -> None:
    if array.ndim == 4 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        return
    one = ", as one picture has: pass a list of it" if array.ndim == 3 else ""
    message = f"{name} is an array of shape {array.shape}{one}; give n x height x width [x channels]"
    raise DataError(message, field=name)


def _label(label: Any, name: str, index: int) -> str | int:
    """A label as a string or an integer."""
    plain = label.item() if hasattr(label, "item") and np.ndim(label) == 0 else label
    if isinstance(plain, bool) or not isinstance(plain, str | int):
        message = (
            f"the label of {name}[{index}] is {shown(label)}, a {type(label).__name__}; give an integer or a string"
        )
        raise DataError(message, field=name)
    return plain


def _loaded(items: Iterator[_Item], load: Any) -> Iterator[tuple[_Item, Pixels | str]]:
    """In order, some at a time; Pillow decodes and resizes outside Python's lock."""
    with ThreadPoolExecutor() as pool:
        while some := list(islice(items, TOGETHER)):
            cheap = isinstance(some[0].picture, np.ndarray)  # handing it to another thread costs more than the work
            yield from zip(some, map(load, some) if cheap else pool.map(load, some), strict=True)


def _load(item: _Item, *, size: int | None, channels: int | None, corrupt: str, name: str) -> Pixels | str:
    """The pixels, or why there are none."""
    try:
        pixels = _pixels(item, name)
    except MediaError as error:
        if corrupt == "skip":
            return f"{item.where}: {error}"
        message = f"{item.where}: {error}; repair it, leave it out, or skip all such (corrupt='skip')"
        raise DataError(message, field=name) from error
    return _square(_coloured(pixels, channels), size)


def _pixels(item: _Item, name: str) -> Pixels:
    picture = item.picture
    if isinstance(picture, MediaError):
        raise picture
    if isinstance(picture, Image):
        picture = picture.pixels
    if isinstance(picture, np.ndarray):
        return _from_array(picture, item.where, name)
    if isinstance(picture, Path | bytes | PIL.Image.Image):
        return media.pixels(picture)
    kind = type(picture).__name__
    message = (
        f"{item.where} is a {kind}; give an aigc_sdk.Image, a Pillow image, an array, or a pair of one and a label"
    )
    raise DataError(message, field=name)


def _from_array(array: NDArray[Any], where: str, name: str) -> Pixels:
    """One picture as uint8, height x width x channels."""
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3) or not shaped.size:
        remedy = "give height x width [x 1 or 3]"
        if array.ndim == 3 and array.shape[0] in (1, 3):
            remedy = "the channels come last: use np.moveaxis(array, -3, -1)"
        if array.ndim == 3 and array.shape[2] == 4:
            remedy = "leave the fourth channel out: array[..., :3]"
        raise DataError(f"{where} is of shape {array.shape}; {remedy}", field=name)
    if shaped.dtype == np.uint8:
        return shaped
    if not np.issubdtype(shaped.dtype, np.floating):
        message = f"{where} holds {shaped.dtype}; give uint8 from 0 to 255, or floating numbers from 0 to 1"
        raise DataError(message, field=name)
    low, high = float(shaped.min()), float(shaped.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{where} has pixels that are NaN or infinite; repair it or leave it out", field=name)
    if low < 0 or high > 1:
        remedy = "divide by 255" if low >= 0 else "use (array + 1) / 2 if they lie between -1 and 1"
        message = f"{where} has pixels from {low:.4g} to {high:.4g}; floating ones lie between 0 and 1: {remedy}"
        raise DataError(message, field=name)
    scaled: NDArray[np.floating] = np.rint(shaped * 255)
    return scaled.astype(np.uint8)


def _coloured(pixels: Pixels, channels: int | None) -> Pixels:
    if channels in (None, pixels.shape[2]):
        return pixels
    if channels == 3:
        return pixels.repeat(3, axis=2)
    greys: NDArray[np.int64] = pixels @ np.array(LUMA) + 2**15
    greys = (pixels @ np.array(LUMA) + 2**15) >> 16
    return greys[..., None].astype(np.uint8, copy=False)


def _square(pixels: Pixels, size: int | None) -> Pixels:
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    picture = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    fitted = PIL.ImageOps.fit(picture, (size, size), PIL.Image.Resampling.BICUBIC)
    return np.asarray(fitted, np.uint8).reshape(size, size, -1)


def _stacked(items: Sequence[_Item], name: str) -> Pixels:
    first = items[0]
    for item in items:
        if item.picture.shape[:2] != first.picture.shape[:2]:
            one, two = (f"{width} x {height}" for height, width, _ in (first.picture.shape, item.picture.shape))
            message = f"{first.where} is of {one} pixels and {item.where} of {two}; give a size to make them alike"
            raise DataError(message, field=name)
    channels = max(item.picture.shape[2] for item in items)
    return np.stack([_coloured(item.picture, channels) for item in items])


def _indexed(
    items: Sequence[_Item], names: tuple[str, ...] | None, name: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """The labels as indices of their names; strings and integers each have their own order."""
    labels = [item.label for item in items]
    without = next((item for item in items if item.label is None), None)
    if without is not None:
        labelled = next((item for item in items if item.label is not None), None)
        if labelled is None:
            return None, names or ()
        message = (
            f"{labelled.where} has a label and {without.where} has none; give one to each (in a folder: sub-folders)"
        )
        raise DataError(message, field=name)
    if names is not None:
        outside = next((item for item in items if not 0 <= item.label < len(names)), None)
        if outside is not None:
            last = f"the indices of its {len(names)} names end at {len(names) - 1}"
            message = f"the label of {outside.where} is {outside.label}; {last}"
            raise DataError(message, field=name)
        return np.array(labels, np.int64), names
    if len({type(each) for each in labels}) > 1:
        raise DataError(f"the labels of {name} are strings and integers; give either", field=name)
    order = {label: index for index, label in enumerate(sorted(set(labels)))}
    return np.array([order[each] for each in labels], np.int64), tuple(map(str, order))
