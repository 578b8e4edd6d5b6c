"""Pictures as a network wants them: resized, cut and scaled, as its preprocessor_config.json says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk.errors import CorruptFolder, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aigc_sdk.folder import Folder

SIZE_LIMIT = 4096
FILE = "preprocessor_config.json"
KERNELS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers


@dataclass(frozen=True)
class Preparation:
    """From pixels of 0 to 255 to what a network reads: (value / 255 - mean) / std per channel."""

    size: tuple[int, int] | int | None
    """Height and width; one number for the shorter side; None for pictures that are left as they are."""
    crop: tuple[int, int] | None = None
    """Height and width of the middle that is kept."""
    kernel: int = 3
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @classmethod
    def read(cls, opened: Folder, size: int | None) -> Self:
        """What the folder says; where it says nothing, a square of `size` and values from -1 to 1."""
        if not opened.has(FILE):
            return cls(None if size is None else (size, size))
        said = opened.config(FILE)
        try:
            return cls(
                size=_size(said.get("size")) if said.get("do_resize", True) else None,
                crop=_both(said["crop_size"]) if said.get("do_center_crop") and said.get("crop_size") else None,
                kernel=int(said.get("resample", 3)),
                mean=_triple(said.get("image_mean") if said.get("do_normalize", True) else (0, 0, 0)),
                std=_triple(said.get("image_std") if said.get("do_normalize", True) else (1, 1, 1)),
            )._checked()
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFolder(f"{opened.path}: {FILE} describes no preparation of pictures: {error}") from error

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Pictures, h x w x 3 each, as one array: (n, 3, h, w)."""
        made = [self._one(each) for each in pictures]
        if len({each.shape for each in made}) > 1:
            sizes = " and ".join(sorted({"{1}x{0}".format(*each.shape) for each in made}))
            raise DataError(
                f"a network looks at pictures of one size, got {sizes}; set the size to resize to", field="samples"
            )
        planes = np.stack(made).astype(np.float32)  # (n, h, w, 3)
        scaled = (planes / np.float32(255) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)

    def __str__(self) -> str:
        """For a protocol."""
        if self.size is None:
            return "pictures as large as they are"
        sized = f"shorter side {self.size}" if isinstance(self.size, int) else "{1}x{0}".format(*self.size)
        cut = "" if self.crop is None else ", middle {1}x{0}".format(*self.crop)
        return f"resized to {sized} (Pillow {KERNELS[self.kernel]}){cut}"

    def _one(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        resized = pixels if self.size is None else resize(pixels, self._wanted(pixels), self.kernel)
        return resized if self.crop is None else _middle(resized, self.crop)

    def _wanted(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size or (0, 0)
        height, width = pixels.shape[:2]
        shorter = min(height, width)
        return max(1, height * self.size // shorter), max(1, width * self.size // shorter)

    def _checked(self) -> Self:
        sides = (self.size,) if isinstance(self.size, int) else self.size or ()
        if any(not 1 <= each <= SIZE_LIMIT for each in (*sides, *(self.crop or ()))):
            raise ValueError(f"the sizes {self.size} and {self.crop} are not from 1 to {SIZE_LIMIT}")
        if self.kernel not in KERNELS or not all(each > 0 for each in self.std):
            raise ValueError(f"resample {self.kernel} or image_std {self.std}")
        return self


def resize(pixels: NDArray[np.uint8], size: tuple[int, int], kernel: int = 3) -> NDArray[np.uint8]:
    """The picture at another height and width, with Pillow's filter, which smooths where it makes smaller."""
    import PIL.Image

    if pixels.shape[:2] == size:
        return pixels
    made = PIL.Image.fromarray(pixels).resize((size[1], size[0]), PIL.Image.Resampling(kernel))
    return np.asarray(made)


def _middle(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """What lies in the middle; black beside pictures that are smaller."""
    for axis in (0, 1):
        over = pixels.shape[axis] - size[axis]
        if over < 0:
            widths = [(0, 0)] * 3
            widths[axis] = (-over // 2, -over - -over // 2)
            pixels = np.pad(pixels, widths)
        else:
            pixels = np.take(pixels, range(over // 2, over // 2 + size[axis]), axis)
    return pixels


def _size(said: Any) -> tuple[int, int] | int:
    if isinstance(said, Mapping) and "shortest_edge" in said:
        return int(said["shortest_edge"])
    return _both(said)


def _both(said: Any) -> tuple[int, int]:
    if isinstance(said, Mapping):
        return int(said["height"]), int(said["width"])
    return int(said), int(said)


def _triple(said: Any) -> tuple[float, float, float]:
    if said is None:
        return (0.5, 0.5, 0.5)
    first, second, third = (float(each) for each in said)
    return first, second, third
