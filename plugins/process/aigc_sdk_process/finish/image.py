"""Pictures: noise, sharpness, blur, contrast, colour temperature, size, tiles, watermark; enlarged or cut out by a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as pillow
from scipy import ndimage

from aigc_sdk.artifacts import Image
from aigc_sdk.errors import InputError, shown
from aigc_sdk.protocols import Generator
from aigc_sdk_process.compose.record import recorded

from ._checks import colour as checked_colour
from ._checks import made, number, one_of, whole
from .lettering import blended, drawn, font_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
FITTINGS = ("contain", "cover")
CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right", "centre")
DAYLIGHT = 6504.0  # kelvin of the white of sRGB
LARGEST = 16_384  # pixels a side
Model = Callable[[Image], Image] | Generator[Image]


@recorded
def denoise(image: Image, *, method: str = "median", radius: int = 1, strength: float = 20.0) -> Image:
    """Less noise. "median": of the square around each pixel, which takes specks away; "bilateral": the mean of neighbours
    that look alike, which keeps edges (Tomasi & Manduchi 1998).

    radius: pixels to each side. strength: of "bilateral", the difference in levels at which a neighbour counts little.
    """
    made(image, Image, "image")
    one_of(method, "method", ("median", "bilateral"))
    whole(radius, "radius", 1, 25, "pixels to each side")
    number(strength, "strength", 0.1, 255, "levels")
    if method == "bilateral":
        return _like(image, _bilateral(image.pixels.astype(np.float32), radius, strength))
    return _like(image, ndimage.median_filter(image.pixels, size=(2 * radius + 1, 2 * radius + 1, 1), mode="nearest"))


@recorded
def blur(image: Image, radius: float) -> Image:
    """Gaussian blur with a standard deviation of `radius` pixels; edges are continued."""
    made(image, Image, "image")
    number(radius, "radius", 0, 500, "a standard deviation in pixels")
    return _like(image, _blurred(image.pixels, radius))


@recorded
def sharpen(image: Image, amount: float = 1.0, *, radius: float = 1.0, threshold: int = 0) -> Image:
    """Unsharp mask: `amount` times the difference from the blurred picture is added where it is above `threshold` levels."""
    made(image, Image, "image")
    number(amount, "amount", 0, 10, "a factor")
    number(radius, "radius", 0.1, 500, "a standard deviation in pixels")
    whole(threshold, "threshold", 0, 255, "levels")
    detail = image.pixels - _blurred(image.pixels, radius)
    return _like(image, image.pixels + amount * detail * (np.abs(detail) > threshold))


@recorded
def contrast(image: Image, factor: float) -> Image:
    """Differences from the picture's mean grey times `factor`: 1 changes nothing, 0 makes it grey. As Pillow's Contrast."""
    made(image, Image, "image")
    number(factor, "factor", 0, 10, "a factor")
    mean = int(np.asarray(image.to_pil().convert("L")).mean() + 0.5)
    return _like(image, mean + factor * (image.pixels.astype(np.float32) - mean))


@recorded
def colour_temperature(image: Image, kelvin: float) -> Image:
    """As if the light had been that of a black body of `kelvin`: below 6,504 warmer, above colder.

    Linear light is scaled per channel by the ratio of the two whites and the luminance of white is kept. White points:
    the cubic splines of Kim et al. (2002), good from 1,667 to 25,000 K.
    """
    made(image, Image, "image")
    number(kelvin, "kelvin", 1667, 25_000, "a colour temperature in kelvin")
    gains = _white(kelvin) / _white(DAYLIGHT)
    gains /= gains @ np.array([0.2126, 0.7152, 0.0722])
    return _like(image, 255 * _encoded(np.minimum(1.0, _linear(image.pixels / 255.0) * gains)))


@recorded
def resize(image: Image, width: int, height: int, *, filter: str = "lanczos") -> Image:
    """Exactly that size, through a filter of Pillow: nearest, box, bilinear, hamming, bicubic or lanczos."""
    made(image, Image, "image")
    return _like(image, resized(image.pixels, width, height, filter))


@recorded
def framed(
    image: Image,
    width: int,
    height: int,
    *,
    fitting: str = "contain",
    background: tuple[int, int, int] = (0, 0, 0),
    filter: str = "lanczos",
) -> Image:
    """At that size without being distorted: "contain" shows all of it, in the middle of the background, "cover" fills the
    frame and cuts off what is too much."""
    made(image, Image, "image")
    return _like(image, framer(width, height, fitting, background, filter)(image.pixels))


@recorded
def tile(image: Image, columns: int, rows: int, *, mirrored: bool = False) -> Image:
    """The image beside and below itself; `mirrored` turns every other one over, so that no seam is seen."""
    made(image, Image, "image")
    whole(columns, "columns", 1, 1000, "images in a row")
    whole(rows, "rows", 1, 1000, "images in a column")
    height, width = image.pixels.shape[:2]
    if max(height * rows, width * columns) > LARGEST:
        message = (
            f"columns={columns}, rows={rows}: {width * columns}x{height * rows} pixels; the limit is {LARGEST} a side"
        )
        raise InputError(message, field="columns")
    pixels = image.pixels
    if mirrored:
        pixels = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
        pixels = np.concatenate([pixels, pixels[::-1]], axis=0)
        across, down = math.ceil(columns / 2), math.ceil(rows / 2)
    else:
        across, down = columns, rows
    return _like(image, np.tile(pixels, (down, across, 1))[: height * rows, : width * columns])


@recorded
def watermark(
    image: Image,
    text: str,
    *,
    corner: str = "bottom-right",
    opacity: float = 0.5,
    size: int | None = None,
    font: str | None = None,
    colour: tuple[int, int, int] = (255, 255, 255),
) -> Image:
    """The image with a text over it, to be seen; for marks that cannot be seen a hook is the place.

    size: height of the letters in pixels; None takes a twentieth of the image's. font: a font file; None is Pillow's own,
    which has Latin letters. Raises InputError for letters that the font lacks, and a text that does not fit.
    """
    made(image, Image, "image")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"text={shown(text)}: give the words of the watermark", field="text")
    one_of(corner, "corner", CORNERS)
    number(opacity, "opacity", 0, 1, "how much covers")
    height, width = image.pixels.shape[:2]
    letters = max(8, round(height / 20)) if size is None else whole(size, "size", 4, 2000, "pixels")
    ink = checked_colour(colour, "colour")
    margin = letters // 2
    face = font_of(letters, font)
    mask = drawn(text, face, max(1, width - 2 * margin)) * opacity
    if mask.shape[0] + 2 * margin > height or mask.shape[1] + 2 * margin > width:
        message = f"size={letters}: the text takes {mask.shape[1]}x{mask.shape[0]} of {width}x{height} pixels; use smaller letters"
        raise InputError(message, field="size")
    top, left = _corner(corner, (height, width), mask.shape, margin)
    pixels = image.to_numpy()
    under = pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
    under[:] = blended(under, mask, ink)
    return _like(image, pixels)


@recorded
def upscale(image: Image, model: Model, options: Mapping[str, Any] | None = None) -> Image:
    """The image as a model enlarges it: a function from Image to Image, or a Generator that takes an Image as its prompt.

    options: of the generator's call, `seed` among them. Raises InputError where what comes back is not larger, or of
    another aspect by more than a pixel.
    """
    made(image, Image, "image")
    larger = _asked(image, model, options)
    (height, width), (tall, wide) = image.pixels.shape[:2], larger.pixels.shape[:2]
    if wide <= width or abs(tall - wide * height / width) > max(1.0, wide / width):
        message = f"model made {wide}x{tall} of {width}x{height} pixels; an upscaler makes more of the same aspect"
        raise InputError(message, field="model")
    return _like(image, larger.pixels)


@recorded
def remove_background(
    image: Image,
    model: Model,
    *,
    background: tuple[int, int, int] | Image = (255, 255, 255),
    feather: float = 0.0,
    options: Mapping[str, Any] | None = None,
) -> Image:
    """What a model takes for the foreground, on another background: a colour, or an image of the same size.

    model: a function from Image to Image, or a Generator that takes an Image as its prompt, whose result is as large and
    bright where the foreground is. feather: pixels over which its edge is softened. Raises InputError for another size.
    """
    made(image, Image, "image")
    number(feather, "feather", 0, 100, "pixels")
    mask = _asked(image, model, options)
    if mask.pixels.shape != image.pixels.shape:
        raise InputError(f"model made {mask!r} of {image!r}; a mask is as large as the image", field="model")
    share = _blurred(mask.pixels, feather).mean(axis=2, keepdims=True) / 255
    if isinstance(background, Image):
        if background.pixels.shape != image.pixels.shape:
            raise InputError(f"background is {background!r}, the image {image!r}; resize it first", field="background")
        ground: Any = background.pixels
    else:
        ground = np.array(checked_colour(background, "background"))
    return _like(image, image.pixels * share + ground * (1 - share))


def resized(pixels: NDArray[np.uint8], width: int, height: int, filter: str) -> NDArray[np.uint8]:
    """The pixels at another size."""
    whole(width, "width", 1, LARGEST, "pixels")
    whole(height, "height", 1, LARGEST, "pixels")
    one_of(filter, "filter", FILTERS)
    return np.asarray(pillow.fromarray(pixels).resize((width, height), pillow.Resampling[filter.upper()]))


def placed(
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
    fitting: str,
    ground: tuple[int, int, int],
    filter: str,
    zoom: float = 1.0,
) -> NDArray[np.uint8]:
    """The pixels in the middle of a frame of `size`, width and height, `zoom` times as large as they would fit."""
    (width, height), (tall, wide) = size, pixels.shape[:2]
    scale = (min if fitting == "contain" else max)(width / wide, height / tall) * zoom
    across, down = max(1, min(width, round(wide * scale))), max(1, min(height, round(tall * scale)))
    left, top = max(0.0, (wide - across / scale) / 2), max(0.0, (tall - down / scale) / 2)
    shape = pillow.Resampling[filter.upper()]
    resized_ = pillow.fromarray(pixels).resize((across, down), shape, box=(left, top, wide - left, tall - top))
    frame = np.full((height, width, 3), ground, np.uint8)
    frame[(height - down) // 2 :, (width - across) // 2 :][:down, :across] = np.asarray(resized_)
    return frame


def framer(width: int, height: int, fitting: str, background: Any, filter: str) -> Callable[[NDArray[np.uint8]], Any]:
    """What brings pixels into such a frame; its arguments are checked here."""
    whole(width, "width", 1, LARGEST, "pixels")
    whole(height, "height", 1, LARGEST, "pixels")
    one_of(fitting, "fitting", FITTINGS)
    one_of(filter, "filter", FILTERS)
    ground = checked_colour(background, "background")
    return lambda pixels: placed(pixels, (width, height), fitting, ground, filter)


def _like(image: Image, pixels: NDArray[Any]) -> Image:
    whole_numbers = pixels if pixels.dtype == np.uint8 else np.rint(pixels).clip(0, 255).astype(np.uint8)
    return Image(np.ascontiguousarray(whole_numbers), sample=image.sample, info=image.info)


def _blurred(pixels: NDArray[Any], radius: float) -> NDArray[np.float32]:
    sizes = (radius, radius, 0)
    return np.asarray(ndimage.gaussian_filter(pixels.astype(np.float32), sizes, mode="nearest"), np.float32)


def _bilateral(pixels: NDArray[np.float32], radius: int, strength: float) -> NDArray[np.float32]:
    padded = np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    total, weights = np.zeros_like(pixels), np.zeros((height, width, 1), np.float32)
    for down in range(2 * radius + 1):
        for across in range(2 * radius + 1):
            other = padded[down : down + height, across : across + width]
            unlike = ((other - pixels) ** 2).mean(axis=2, keepdims=True) / strength**2
            far = ((down - radius) ** 2 + (across - radius) ** 2) / radius**2
            weight = np.exp(-(unlike + far) / 2)
            total += weight * other
            weights += weight
    return total / weights


def _linear(encoded: NDArray[Any]) -> NDArray[Any]:
    """sRGB's transfer function (IEC 61966-2-1), undone."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(linear: NDArray[Any]) -> NDArray[Any]:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def _white(kelvin: float) -> NDArray[np.float64]:
    """The colour of a black body in linear sRGB; negative where it lies outside, which is cut off."""
    k = 1000 / kelvin
    if kelvin <= 4000:
        x = -0.2661239 * k**3 - 0.2343589 * k**2 + 0.8776956 * k + 0.179910
    else:
        x = -3.0258469 * k**3 + 2.1070379 * k**2 + 0.2226347 * k + 0.240390
    if kelvin <= 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin <= 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    to_rgb = np.array(
        [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    )
    return np.asarray(np.maximum(to_rgb @ xyz, 0.0))


def _corner(corner: str, size: tuple[int, ...], mask: tuple[int, ...], margin: int) -> tuple[int, int]:
    free = size[0] - mask[0], size[1] - mask[1]
    if corner == "centre":
        return free[0] // 2, free[1] // 2
    return (margin if "top" in corner else free[0] - margin, margin if "left" in corner else free[1] - margin)


def _asked(image: Image, model: Any, options: Mapping[str, Any] | None) -> Image:
    if isinstance(model, Generator):
        if Image not in model.prompt_types:
            message = (
                f"model is {model.backend}, which takes no Image as its prompt; give a model that does, or a function"
            )
            raise InputError(message, field="model")
        [result] = model.generate(image, **(options or {}))
    elif callable(model):
        result = model(image, **(options or {}))
    else:
        raise InputError(f"model is a {type(model).__name__}; give a Generator or a function", field="model")
    return made(result, Image, "what the model returned")
