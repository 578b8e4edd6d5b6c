"""Text as pixels, through Pillow; characters that a font does not have are refused rather than drawn as boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as pillow
from PIL import ImageDraw, ImageFont

from aigc_sdk.errors import InputError, MissingDependency, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING = "\U0010ffff"  # a noncharacter: no font has it, so it is drawn as the font's sign for what is missing


def font_of(size: int, path: str | None = None) -> ImageFont.FreeTypeFont:
    """A font of `size` pixels: a TrueType or OpenType file, or Pillow's own, which has Latin letters.

    Raises InputError for a file that is no font, and MissingDependency for a Pillow that was built without FreeType.
    """
    if path is not None:
        if not isinstance(path, str | Path) or not Path(path).is_file():
            raise InputError(f"font={path!r:.200}: there is no such file; give a .ttf or .otf file", field="font")
        try:
            return ImageFont.truetype(str(path), size)
        except OSError as error:
            raise InputError(f"font={printable(str(path))}: it is no font that can be read", field="font") from error
    own = ImageFont.load_default(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        raise MissingDependency("this Pillow was built without FreeType; pip install --force-reinstall pillow")
    return own


def drawn(text: str, font: ImageFont.FreeTypeFont, width: int) -> NDArray[np.float32]:
    """How much each pixel is covered, from 0 to 1: lines x `width` at most, centred. Raises InputError for a missing letter."""
    _refuse_missing(text, font)
    lines = _balanced(text, font, width)
    ascent, descent = font.getmetrics()
    height = ascent + descent
    longest = max(round(font.getlength(line) + 0.5) for line in lines)
    canvas = pillow.new("L", (min(width, longest), height * len(lines)))
    pen = ImageDraw.Draw(canvas)
    for index, line in enumerate(lines):
        pen.text(((canvas.width - font.getlength(line)) / 2, index * height), line, fill=255, font=font)
    return np.asarray(canvas, np.float32) / np.float32(255)


def blended(pixels: NDArray[Any], mask: NDArray[np.float32], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """`pixels` with `colour` laid over them where the mask is 1."""
    mixed = pixels + (np.array(colour, np.float32) - pixels) * mask[..., None]
    return np.asarray(np.rint(mixed), np.uint8)


def _refuse_missing(text: str, font: ImageFont.FreeTypeFont) -> None:
    unknown = _shape(MISSING, font)
    for letter in sorted(set(text)):
        if not letter.isspace() and letter.isprintable() and _shape(letter, font) == unknown:
            message = f"the font {font.getname()[0]} has no {letter!r}; pass the path of a font that has it"
            raise InputError(message, field="font")


def _shape(letter: str, font: ImageFont.FreeTypeFont) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


def _balanced(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """As few lines as fit, and those as equal as they get."""
    lines = list(_wrapped(text, font, width))
    while len(narrower := list(_wrapped(text, font, width * 19 // 20))) == len(lines) and width > 20:
        lines, width = narrower, width * 19 // 20
    return lines


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """Lines no wider than `width`, broken between words; a word that is wider alone is broken within."""
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                yield line
            line = word
            while font.getlength(line) > width and len(line) > 1:
                size = next(
                    size for size in range(len(line), 0, -1) if size == 1 or font.getlength(line[:size]) <= width
                )
                yield line[:size]
                line = line[size:]
        yield line
