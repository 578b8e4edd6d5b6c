"""Where pictures come from: folders, arrays, data sets and lists, as items that are still to be loaded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL.Image

from aigc_sdk import media
from aigc_sdk.artifacts import Image
from aigc_sdk.errors import DataError, DiskError, MediaError, printable, shown
from aigc_sdk.runtime import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

SUFFIXES = tuple(f".{suffix}" for suffix, each in media.FORMATS.items() if each.kind == "image")
DIGITS = {"digits": None, "digits/train": slice(1200), "digits/test": slice(1200, None)}


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


@dataclass(frozen=True)
class Item:
    """One picture that is still to be loaded, and what an error calls it."""

    where: str
    picture: Any  # a Path, a file's bytes, an Image, a Pillow image, an array; or the error that stands in its place
    label: Any = None


def items(data: Any, name: str) -> tuple[Iterator[Item], tuple[str, ...] | None]:
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


def _files(folder: Path, name: str) -> Iterator[Item]:
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
        yield Item(printable(str(path)), picture, inside[0] if len(inside) > 1 else None)


def _walked(folder: Path) -> Iterator[Path]:
    """Every file, and every link to a folder; nothing that is hidden."""

    def refuse(error: OSError) -> None:
        raise DiskError(f"{printable(str(error.filename))} cannot be read: {error.strerror or error}") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        links = [each for each in folders if os.path.islink(os.path.join(root, each))]
        yield from (Path(root, each) for each in (*links, *files) if not each.startswith("."))


def _rows(data: Any, name: str) -> tuple[Iterator[Item], tuple[str, ...] | None]:
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

    def items() -> Iterator[Item]:
        for index, row in enumerate(undecoded):
            file = row[column] or {}
            picture = file.get("bytes") or (Path(file["path"]) if file.get("path") else MediaError("it is empty"))
            where = f"{name}[{index}]"
            if label is not None and row[label] is None:
                raise DataError(f"{where} has no label; leave it out, or remove the column {label!r}", field=name)
            yield Item(where, picture, None if label is None else row[label])

    return items(), names


def _only(found: list[str], what: str, kinds: Mapping[str, str], name: str) -> str:
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{printable(column)} ({kind})" for column, kind in kinds.items())
    count = f"{len(found)} of them" if found else "none"
    raise DataError(f"{name} needs one {what} and has {count}; its columns are: {listed}", field=name)


def _paired(rows: Any, labels: Any, name: str) -> Iterator[Item]:
    """The pictures of an array or a list, and as many labels."""
    rows = _as_numpy(rows)
    if isinstance(rows, np.ndarray):
        _check_shape(rows, name)
    if labels is None:
        return (Item(f"{name}[{index}]", row) for index, row in enumerate(rows))
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
    return (Item(f"{name}[{index}]", row, _label(label, name, index)) for index, (row, label) in enumerate(pairs))


def _singles(data: Iterable[Any], name: str) -> Iterator[Item]:
    for index, each in enumerate(data):
        if isinstance(each, tuple | list) and len(each) == 2:
            yield Item(f"{name}[{index}]", _as_numpy(each[0]), _label(each[1], name, index))
        else:
            yield Item(f"{name}[{index}]", _as_numpy(each))


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
