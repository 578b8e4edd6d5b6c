"""More out of what there is: pictures, sounds, films and texts changed at random.

Every change of every copy draws from a stream of its own, which the seed, the item's id, the copy's number and the change's
name decide: the same alone and in any order, and whatever other changes are switched on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageFilter
from pydantic import Field

from aigc_sdk.artifacts import Artifact, Audio, Image, Text, Video
from aigc_sdk.errors import DataError, InputError, OptionError, printable, shown
from aigc_sdk.protocols import Generator, Options

from .items import Item, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rng = Callable[[str], np.random.Generator]
"""The stream of a change, by its name."""


class PictureChanges(Options):
    """How far pictures are changed; 0 leaves a change out."""

    flip: bool = Field(False, description="mirror about every other one, left for right")
    crop: float = Field(
        0.0, ge=0, le=0.9, description="largest part of each side that is cut away; the rest is enlarged"
    )
    rotate: float = Field(
        0.0, ge=0, le=180, description="largest angle in degrees; what comes in is the picture mirrored"
    )
    elastic: float = Field(
        0.0, ge=0, le=100, description="how far in pixels places move, smoothly (Simard et al. 2003)"
    )
    colour: float = Field(
        0.0, ge=0, le=0.9, description="largest part by which brightness, contrast and saturation change"
    )
    blur: float = Field(0.0, ge=0, le=100, description="largest radius in pixels of a Gaussian blur")
    noise: float = Field(0.0, ge=0, le=255, description="largest standard deviation of noise, of 255")
    cutout: float = Field(0.0, ge=0, le=1, description="side of a grey square, as part of the shorter side")


class SoundChanges(Options):
    """How far sounds are changed; 0 and None leave a change out."""

    speed: float = Field(0.0, ge=0, le=0.5, description="largest part by which the tempo changes, at the same pitch")
    pitch: float = Field(0.0, ge=0, le=24, description="most semitones by which the pitch changes, at the same tempo")
    noise: float | None = Field(
        None, ge=-20, le=100, description="dB by which the sound is above white noise; None: no noise"
    )
    mask_time: float = Field(0.0, ge=0, le=0.9, description="longest part of the time that is silenced (SpecAugment)")
    mask_bands: float = Field(
        0.0, ge=0, le=0.9, description="widest part of the frequencies that is silenced (SpecAugment)"
    )


class FilmChanges(Options):
    """How far films are changed; 0 leaves a change out."""

    flip: bool = Field(False, description="mirror about every other one, left for right")
    crop: float = Field(0.0, ge=0, le=0.9, description="largest part of the time that is cut away")
    speed: float = Field(
        0.0, ge=0, le=0.5, description="largest part by which it becomes faster or slower, with its sound"
    )


def augment_pictures(
    items: Iterable[Item], *, seed: int = 0, copies: int = 1, originals: bool = True, **changes: Any
) -> Iterator[Item]:
    """Each picture, and `copies` of it that are changed; changes: those of PictureChanges, in their order there.

    A copy's id is the item's with ~1, ~2 and so on, and its fact "augmented_from" that id. originals: False leaves the
    items themselves out. Raises OptionError and DataError.
    """
    how = PictureChanges.parse("augment_pictures", changes)
    _refuse_nothing(how)
    return _copies(items, "image", seed, copies, originals, lambda image, rng: Image(_picture(image.pixels, how, rng)))


def augment_sounds(
    items: Iterable[Item],
    *,
    seed: int = 0,
    copies: int = 1,
    originals: bool = True,
    impulses: Sequence[Audio] = (),
    **changes: Any,
) -> Iterator[Item]:
    """Each sound, and `copies` of it that are changed; changes: those of SoundChanges.

    impulses: the answers of rooms to a click, of which one gives each copy its reverberation. The rest is as in
    `augment_pictures`.
    """
    how = SoundChanges.parse("augment_sounds", changes)
    rooms: tuple[Any, ...] = tuple(impulses) if isinstance(impulses, list | tuple) else (None,)
    if not all(isinstance(room, Audio) for room in rooms):
        raise OptionError(f"impulses={shown(impulses)}: give a list of Audio", field="impulses")
    if not all(room.samples.any() for room in rooms):
        raise OptionError("impulses: one of them is silent; leave it out", field="impulses")
    if not rooms:
        _refuse_nothing(how)
    return _copies(items, "audio", seed, copies, originals, lambda sound, rng: _sound(sound, how, rooms, rng))


def augment_films(
    items: Iterable[Item], *, seed: int = 0, copies: int = 1, originals: bool = True, **changes: Any
) -> Iterator[Item]:
    """Each film, and `copies` of it that are changed; changes: those of FilmChanges. The rest is as in `augment_pictures`."""
    how = FilmChanges.parse("augment_films", changes)
    _refuse_nothing(how)
    return _copies(items, "video", seed, copies, originals, lambda film, rng: _film(film, how, rng))


def augment_texts(
    items: Iterable[Item],
    model: Generator[Text],
    *,
    share: float = 0.15,
    seed: int = 0,
    copies: int = 1,
    originals: bool = True,
    **options: Any,
) -> Iterator[Item]:
    """Each text, and `copies` of it in which a model has replaced some words.

    model: a generator that fills masks and says what they look like in `model.mask`, such as `aigc_sdk.load("bert")`.
    share: of the words, at least one; options: the model's. Whether a copy still deserves its label is for a judge to say.
    The rest is as in `augment_pictures`.
    """
    mask = getattr(model, "mask", None)
    if not isinstance(model, Generator) or not isinstance(mask, str):
        message = f"model is a {type(model).__name__}; give a generator that fills masks, such as aigc_sdk.load('bert')"
        raise OptionError(message, field="model")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 0.9:
        raise OptionError(f"share={shown(share)}: give a part of the words above 0, at most 0.9", field="share")

    def changed(text: Text, rng: Rng) -> Text:
        words = list(re.finditer(r"[^\W_]+", text.text))
        if not words:
            return text
        chosen = rng("words").choice(len(words), max(1, round(share * len(words))), replace=False)
        prompt = text.text
        for index in sorted(chosen, reverse=True):
            prompt = prompt[: words[index].start()] + mask + prompt[words[index].end() :]
        [made] = model.generate(prompt, seed=int(rng("model").integers(2**31)), **options)
        return made

    return _copies(items, "text", seed, copies, originals, changed)


def mix_pictures(
    items: Iterable[Item], *, label: str = "label", alpha: float = 0.2, seed: int = 0, copies: int = 1
) -> Iterator[Item]:
    """Pictures laid over one another, two at a time, and their labels with the weight of each (mixup; Zhang et al. 2018).

    All items are in memory, of one size. alpha: weights are drawn from Beta(alpha, alpha). The fact `label` of a mixture is
    {label: weight, ...}; its others are left out. Raises DataError and OptionError.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 100:
        raise OptionError(f"alpha={shown(alpha)}: give a number above 0, at most 100", field="alpha")
    every = list(checked(items, "image"))
    number, count = _numbers(seed, copies)
    order = sorted(every, key=lambda item: item.id)  # so that partners do not depend on the order that items came in
    for item in every:
        if label not in item.facts:
            raise DataError(
                f"{printable(item.id)} has no fact {label!r}; name the fact that is its label", field="label"
            )
        if _pixels(item).shape != _pixels(every[0]).shape:
            message = (
                f"{printable(item.id)} is {_pixels(item).shape}, the first is {_pixels(every[0]).shape}; resize them"
            )
            raise DataError(message, field="items")

    def mixtures() -> Iterator[Item]:
        for item in every:
            for copy in range(1, count + 1):
                rng = _rng(number, item.id, copy)("mix")
                other, weight = order[rng.integers(len(order))], float(rng.beta(alpha, alpha))
                mixed = weight * _pixels(item) + (1 - weight) * _pixels(other).astype(np.float64)
                weights = {str(other.facts[label]): 1 - weight}
                weights[str(item.facts[label])] = weights.get(str(item.facts[label]), 0.0) + weight
                facts = {label: weights, "augmented_from": [item.id, other.id]}
                yield Item(f"{item.id}~{copy}", Image(np.rint(mixed).astype(np.uint8)), facts)

    return mixtures()


def _copies(
    items: Iterable[Item], kind: str, seed: Any, copies: Any, originals: bool, change: Callable[[Any, Rng], Artifact]
) -> Iterator[Item]:
    source = checked(items, kind)
    number, count = _numbers(seed, copies)

    def each() -> Iterator[Item]:
        for item in source:
            if originals:
                yield item
            for copy in range(1, count + 1):
                try:
                    made = change(item.artifact, _rng(number, item.id, copy))
                except InputError as error:
                    raise DataError(f"{printable(item.id)} cannot be augmented: {error}", field="items") from error
                facts = {**item.facts, "augmented_from": item.id}
                yield Item(f"{item.id}~{copy}", replace(made, origin={}), facts)

    return each()


def _numbers(seed: Any, copies: Any) -> tuple[int, int]:
    for name, value, most in (("seed", seed, 2**63 - 1), ("copies", copies, 10_000)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise OptionError(f"{name}={shown(value)}: give a whole number from 0 to {most:,}", field=name)
    return seed, copies


def _refuse_nothing(how: Options) -> None:
    if how == type(how)():
        names = ", ".join(type(how).model_fields)
        raise OptionError(
            f"no change is switched on; give one at least of {names}", field=next(iter(type(how).model_fields))
        )


def _rng(seed: int, id: str, copy: int) -> Rng:
    def stream(change: str) -> np.random.Generator:
        name = f"{seed} {copy} {change} {id}".encode("utf-8", "surrogatepass")
        key = np.frombuffer(hashlib.blake2b(name, digest_size=16).digest(), np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    return stream


def _pixels(item: Item) -> NDArray[np.uint8]:
    assert isinstance(item.artifact, Image)
    return item.artifact.pixels


def _picture(pixels: NDArray[np.uint8], how: PictureChanges, rng: Rng) -> NDArray[np.uint8]:
    """The changes of PictureChanges, in their order."""
    if not pixels.size:
        raise InputError("it has no pixels")
    if how.flip and rng("flip").random() < 0.5:
        pixels = pixels[:, ::-1]
    if how.crop:
        pixels = _cropped(pixels, how.crop, rng("crop"))
    if how.rotate:
        pixels = _rotated(pixels, rng("rotate").uniform(-how.rotate, how.rotate))
    if how.elastic:
        pixels = _bent(pixels, how.elastic, rng("elastic"))
    if how.colour:
        pixels = _coloured(pixels, rng("colour").uniform(1 - how.colour, 1 + how.colour, 3))
    if how.blur:
        blur = PIL.ImageFilter.GaussianBlur(rng("blur").uniform(0, how.blur))
        pixels = np.asarray(PIL.Image.fromarray(np.ascontiguousarray(pixels)).filter(blur))
    if how.noise:
        stream = rng("noise")
        deviation = stream.uniform(0, how.noise)
        pixels = _bytes(pixels + stream.normal(0, deviation, pixels.shape))
    if how.cutout:
        pixels = _cut_out(pixels, how.cutout, rng("cutout"))
    return np.ascontiguousarray(pixels)


def _cropped(pixels: NDArray[np.uint8], part: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width, _ = pixels.shape
    kept = 1 - rng.uniform(0, part)
    left, top = rng.uniform(0, width * (1 - kept)), rng.uniform(0, height * (1 - kept))
    box = (left, top, left + width * kept, top + height * kept)
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((width, height), PIL.Image.Resampling.BICUBIC, box=box), np.uint8)


def _rotated(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    angle, (height, width, _) = np.deg2rad(degrees), pixels.shape
    down, across = np.mgrid[:height, :width].astype(np.float64)
    down, across = down - (height - 1) / 2, across - (width - 1) / 2
    rows = down * np.cos(angle) - across * np.sin(angle) + (height - 1) / 2
    columns = down * np.sin(angle) + across * np.cos(angle) + (width - 1) / 2
    return _taken(pixels, rows, columns)


def _bent(pixels: NDArray[np.uint8], far: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    from scipy.ndimage import gaussian_filter

    height, width, _ = pixels.shape
    moves = gaussian_filter(rng.uniform(-1, 1, (2, height, width)), (0, 4, 4), mode="reflect")
    moves *= far / max(float(np.abs(moves).max()), 1e-9)
    down, across = np.mgrid[:height, :width]
    return _taken(pixels, down + moves[0], across + moves[1])


def _taken(pixels: NDArray[np.uint8], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture as it is at those places, linear between pixels and mirrored beyond its edges."""
    from scipy.ndimage import map_coordinates

    planes = [
        map_coordinates(pixels[..., plane].astype(np.float32), (rows, columns), order=1, mode="mirror")
        for plane in range(3)
    ]
    return _bytes(np.stack(planes, 2))


def _coloured(pixels: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    enhancers = (PIL.ImageEnhance.Brightness, PIL.ImageEnhance.Contrast, PIL.ImageEnhance.Color)
    for enhancer, factor in zip(enhancers, factors, strict=True):
        picture = enhancer(picture).enhance(float(factor))
    return np.asarray(picture)


def _cut_out(pixels: NDArray[np.uint8], part: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width, _ = pixels.shape
    side = max(1, round(part * min(height, width)))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    made = pixels.copy()
    made[top : top + side, left : left + side] = 128
    return made


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(values).clip(0, 255), np.uint8)


def _sound(sound: Audio, how: SoundChanges, rooms: tuple[Audio, ...], rng: Rng) -> Audio:
    from aigc_sdk_process.finish.audio import stretch

    if not sound.samples.size:
        raise InputError("it has no samples")
    if how.speed:
        sound = stretch(sound, 1 / rng("speed").uniform(1 - how.speed, 1 + how.speed))
    if how.pitch:
        sound = _pitched(sound, rng("pitch").uniform(-how.pitch, how.pitch))
    samples: NDArray[Any] = sound.samples
    if rooms:
        samples = _in_room(samples, sound.sample_rate, rooms[rng("impulses").integers(len(rooms))])
    if how.mask_time or how.mask_bands:
        samples = _masked(samples, how, rng)
    if how.noise is not None:
        samples = _noisy(samples, how.noise, rng("noise"))
    loudest = max(1.0, float(np.abs(samples).max()))  # softer, rather than clipped
    return Audio((samples / loudest).astype(np.float32), sample_rate=sound.sample_rate)


def _pitched(sound: Audio, semitones: float) -> Audio:
    """Stretched at the same pitch, then played faster or slower, so that it lasts as long as before."""
    from scipy.signal import resample

    from aigc_sdk_process.finish.audio import stretch

    longer = stretch(sound, 2 ** (semitones / 12))
    made = resample(longer.samples.astype(np.float64), sound.samples.shape[1], axis=1)
    return Audio(made.clip(-1, 1).astype(np.float32), sample_rate=sound.sample_rate)


def _in_room(samples: NDArray[Any], sample_rate: int, room: Audio) -> NDArray[Any]:
    """Convolved with the answer of a room in mono, from its loudest moment on, at the power that it had."""
    from scipy.signal import fftconvolve

    from .reading import resampled

    answer = resampled(room, sample_rate).samples.mean(0) if room.sample_rate != sample_rate else room.samples.mean(0)
    answer = answer[int(np.abs(answer).argmax()) :]
    made = fftconvolve(samples, answer[None], axes=1)[:, : samples.shape[1]]
    before, after = np.square(samples).mean(), np.square(made).mean()
    return np.asarray(made * np.sqrt(before / after) if after else made)


def _masked(samples: NDArray[Any], how: SoundChanges, rng: Rng) -> NDArray[Any]:
    """One stretch of time and one band of frequencies silenced in the spectrogram (Park et al. 2019)."""
    from scipy.signal import istft, stft

    size = min(1024, samples.shape[1])
    _, _, waves = stft(samples, nperseg=size)  # (channels, frequencies, times)
    for axis, part, name in ((2, how.mask_time, "mask_time"), (1, how.mask_bands, "mask_bands")):
        stream, length = rng(name), waves.shape[axis]
        wide = round(stream.uniform(0, part) * length)
        start = int(stream.integers(length - wide + 1))
        np.moveaxis(waves, axis, 0)[start : start + wide] = 0
    made = istft(waves, nperseg=size)[1][:, : samples.shape[1]]
    return np.pad(made, ((0, 0), (0, samples.shape[1] - made.shape[1])))


def _noisy(samples: NDArray[Any], decibels: float, rng: np.random.Generator) -> NDArray[Any]:
    noise = rng.normal(size=samples.shape)
    wanted = np.square(samples, dtype=np.float64).mean() / 10 ** (decibels / 10)
    return np.asarray(samples + noise * np.sqrt(wanted / np.square(noise).mean()))


def _film(film: Video, how: FilmChanges, rng: Rng) -> Video:
    frames, sound = film.frames, film.sound
    if not frames.size:
        raise InputError("it has no frames")
    if how.flip and rng("flip").random() < 0.5:
        frames = frames[:, :, ::-1]
    if how.crop:
        stream = rng("crop")
        count = max(1, round(len(frames) * (1 - stream.uniform(0, how.crop))))
        start = int(stream.integers(len(frames) - count + 1))
        frames = frames[start : start + count]
        sound = _heard(sound, start / film.fps, (start + count) / film.fps)
    if how.speed:
        factor = rng("speed").uniform(1 - how.speed, 1 + how.speed)
        places = ((np.arange(max(1, round(len(frames) / factor))) + 0.5) * factor).astype(np.int64)
        frames = frames[places.clip(0, len(frames) - 1)]
        sound = _faster(sound, factor)
    return Video(np.ascontiguousarray(frames), fps=film.fps, sound=sound)


def _heard(sound: Audio | None, start: float, stop: float) -> Audio | None:
    if sound is None:
        return None
    first, last = round(start * sound.sample_rate), round(stop * sound.sample_rate)
    return Audio(sound.samples[:, first:last], sample_rate=sound.sample_rate)


def _faster(sound: Audio | None, factor: float) -> Audio | None:
    if sound is None or not sound.samples.size:
        return sound
    from aigc_sdk_process.finish.audio import stretch

    return replace(stretch(sound, 1 / factor), origin={})
