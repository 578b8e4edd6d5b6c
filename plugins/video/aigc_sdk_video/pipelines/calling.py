"""From the options of a call to the arguments of a pipeline, with everything refused that it could not do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aigc_sdk.errors import ContextOverflow, InputError, OptionError, PromptError

from .families import FAMILIES, Family
from .sizes import default_frames, default_size, dropped_frames, frame_period, most_frames, side_multiple

if TYPE_CHECKING:
    import PIL.Image

    from aigc_sdk.artifacts import Image, Video

    from .options import Sampling

PROPORTION = 0.02  # a picture that is off by less is resized without asking: no multiple of a side may be nearer
_ALWAYS = frozenset({"steps", "fit"})
_DIRECT = ("negative_prompt", "strength")
_NAMES = {
    "guidance": "guidance_scale",
    "guidance_2": "guidance_scale_2",
    "true_guidance": "true_cfg_scale",
    "motion": "motion_bucket_id",
    "noise": "noise_aug_strength",
}
_BESIDE = {"mask": ("image",), "last_image": ("image",), "true_guidance": ("negative_prompt",)}


@dataclass(frozen=True)
class Call:
    """One call of a pipeline, alike for all prompts and seeds."""

    name: str
    """The class that runs: the folder's, or the one that its weights run as with what was given."""
    arguments: Mapping[str, Any]
    height: int | None
    """None where the pipeline itself decides, by the picture."""
    width: int | None
    frames: int
    fps: float
    steps: int

    @property
    def family(self) -> Family:
        """What the class that runs can do."""
        return FAMILIES[self.name]


def planned(pipe: Any, name: str, options: Sampling) -> Call:
    """The call that `options` mean for `pipe`, of the class `name`. Raises OptionError."""
    running = _running(name, options)
    family = FAMILIES[running]
    _refuse_untaken(name, options)
    _refuse_missing(running, options)
    height, width = _sides(pipe, running, options)
    frames = _frames(pipe, running, options)
    fps = float(getattr(options, "fps", None) or _film_fps(options) or family.fps)
    steps = options.steps or family.steps
    arguments: dict[str, Any] = {"num_inference_steps": steps}
    if height is not None and "height" in family.takes:
        arguments.update(height=height, width=width)
    if family.kind == "video" and "video" not in family.needs:
        arguments["num_frames"] = frames + dropped_frames(pipe, running)
    if "fps" in family.arguments:
        arguments[family.arguments["fps"]] = _whole_fps(fps) if running.startswith("StableVideo") else fps
    arguments |= {each: getattr(options, each) for each in _DIRECT if getattr(options, each) is not None}
    arguments |= {
        family.arguments.get(each, argument): getattr(options, each)
        for each, argument in _NAMES.items()
        if getattr(options, each, None) is not None
    }
    arguments |= _pictures(running, options, height, width)
    if "strength" in arguments and int(steps * arguments["strength"]) < 1:
        raise OptionError(
            f"strength={options.strength:g} of steps={steps} is no step at all; give more of either", field="strength"
        )
    return Call(running, arguments, height, width, frames, fps, steps)


def check_prompt(pipe: Any, call: Call, prompt: str | None, where: str = "prompt") -> None:
    """Refuse a missing prompt, one where none is read, and one that is longer than what the pipeline reads of it."""
    if not call.family.prompts:
        if prompt is not None:
            raise PromptError(f"{where}: a {call.name} reads no text; pass None", field="prompt")
        return
    if prompt is None:
        raise PromptError(f"{where} is missing; a {call.name} makes what a text says", field="prompt")
    limit = prompt_limit(pipe)
    size = len(pipe.tokenizer(prompt, truncation=False, verbose=False).input_ids)
    if size > limit:
        raise ContextOverflow(
            f"{where} has {size} tokens, {size - limit} more than the {limit} that a {call.name} reads; shorten it",
            excess=size - limit,
        )


def prompt_limit(pipe: Any) -> int:
    """The most tokens of a prompt that the pipeline reads."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    if "max_sequence_length" in parameters:
        return int(parameters["max_sequence_length"].default)
    return int(getattr(pipe, "tokenizer_max_length", pipe.tokenizer.model_max_length))


def check_weights(pipe: Any, options: Sampling) -> None:
    """Refuse what other models of the family can do: guidance of a second expert, and a last picture."""
    config: Any = getattr(getattr(pipe, "transformer", None), "config", None)
    sees = getattr(config, "image_dim", None) is not None
    if getattr(options, "last_image", None) is not None and sees and config.pos_embed_seq_len is None:
        raise OptionError(
            "last_image: this model looks at one picture alone, and does not end with another",
            field="last_image",
        )
    value = getattr(options, "guidance_2", None)
    if value is not None and getattr(pipe.config, "boundary_ratio", None) is None:
        raise OptionError(f"guidance_2={value:g}: this model has one expert", field="guidance_2")


def check_finite(frames: Any, dtype: str) -> None:
    """Refuse frames that are no numbers, which a pipeline would show as black."""
    import numpy as np

    if not np.isfinite(frames).all():
        raise InputError(
            f"the pipeline's frames are not finite: its weights do not suit dtype={dtype!r}, or are broken",
            field="dtype",
        )


def _running(name: str, options: Sampling) -> str:
    """The class that the weights run as, with what was given."""
    variants = FAMILIES[name].variants
    for given in ("mask", "video", "image"):
        if given in variants and getattr(options, given, None) is not None:
            return variants[given]
    return name


def _refuse_untaken(name: str, options: Sampling) -> None:
    family = FAMILIES[name]
    takes = {*family.takes, *_ALWAYS}
    for each in sorted(options.model_fields_set):
        if getattr(options, each) is not None and each not in takes:
            raise OptionError(
                f"option {each}: a {name} has no use for it. Its options: {', '.join(sorted(takes))}", field=each
            )
    for each, needed in _BESIDE.items():
        for other in needed:
            if getattr(options, each, None) is not None and getattr(options, other) is None:
                raise OptionError(f"option {each} means nothing without {other}; give that as well", field=other)
    alone = options.negative_prompt is not None and getattr(options, "true_guidance", None) is None
    if alone and "true_guidance" in takes:
        raise OptionError(
            "option negative_prompt means nothing without true_guidance; give that too", field="true_guidance"
        )
    if getattr(options, "video", None) is not None and options.image is not None:
        raise OptionError("image and video both say what to start from; give one", field="video")
    if options.strength is not None and all(getattr(options, each, None) is None for each in ("image", "video")):
        raise OptionError(
            f"strength={options.strength:g}: there is nothing to start from; give image or video", field="strength"
        )


def _refuse_missing(running: str, options: Sampling) -> None:
    for each in sorted(FAMILIES[running].needs - {"prompt"}):
        if getattr(options, each) is None:
            raise OptionError(f"option {each} is missing; a {running} starts from it", field=each)


def _sides(pipe: Any, running: str, options: Sampling) -> tuple[int | None, int | None]:
    family = FAMILIES[running]
    if running == "HunyuanVideo15ImageToVideoPipeline":
        return None, None
    given = _given_size(options)
    height, width = options.height, options.width
    if (height is None) != (width is None):
        raise OptionError("height and width: give both, or neither", field="width" if width is None else "height")
    if height is None or width is None:
        found = given or default_size(pipe, family)
        assert found is not None
        height, width = found
    multiple = side_multiple(pipe, family)
    for name, side in (("height", height), ("width", width)):
        if side % multiple:
            low = max(multiple, side // multiple * multiple)
            raise OptionError(
                f"{name}={side}: a {running} makes multiples of {multiple}; the nearest are {low} and {low + multiple}"
                + ("" if options.height is not None else f". The given picture has it: pass {name}, and fit='crop'"),
                field=name,
            )
    return height, width


def _given_size(options: Sampling) -> tuple[int, int] | None:
    """Height and width of what was given to start from."""
    film = getattr(options, "video", None)
    if film is not None:
        return int(film.frames.shape[1]), int(film.frames.shape[2])
    picture: Any = options.image
    if picture is not None:
        return int(picture.pixels.shape[0]), int(picture.pixels.shape[1])
    return None


def _frames(pipe: Any, running: str, options: Sampling) -> int:
    family = FAMILIES[running]
    if family.kind == "image":
        return 1
    film: Video | None = getattr(options, "video", None)
    wanted = getattr(options, "num_frames", None)
    if film is not None:
        if wanted not in (None, len(film.frames)):
            raise OptionError(
                f"num_frames={wanted}: the given video has {len(film.frames)} frames, and as many are made",
                field="num_frames",
            )
        field, frames = "video", len(film.frames)
    else:
        field, frames = "num_frames", int(wanted or default_frames(pipe, family))
    period = frame_period(pipe, family)
    if (frames - 1) % period:
        low = (frames - 1) // period * period + 1
        raise OptionError(
            f"{field}: {frames} frames: a {running} makes {period} k + 1; the nearest are {low} and {low + period}",
            field=field,
        )
    most = most_frames(pipe)
    if most is not None and frames > most:
        raise OptionError(f"{field}: {frames} frames: this model makes {most} at most", field=field)
    return frames


def _film_fps(options: Sampling) -> float | None:
    """The rate of what was given to start from; an array has none, and is read as one frame a second."""
    film = getattr(options, "video", None)
    return None if film is None or film.fps == 1 else float(film.fps)


def _whole_fps(fps: float) -> int:
    if fps != int(fps):
        raise OptionError(f"fps={fps:g}: this model is told a whole number", field="fps")
    return int(fps)


def _pictures(running: str, options: Sampling, height: int | None, width: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, argument in (("image", "image"), ("last_image", "last_image"), ("mask", "mask_image")):
        picture: Image | None = getattr(options, name, None)
        if picture is not None:
            fitted = _fitted(picture.to_pil(), name, options.fit, height, width)
            found[argument] = fitted.convert("L") if name == "mask" else fitted
    film: Video | None = getattr(options, "video", None)
    if film is not None:
        found["video"] = [_fitted(each, "video", options.fit, height, width) for each in film.to_pil()]
    return found


def _fitted(picture: PIL.Image.Image, name: str, fit: str, height: int | None, width: int | None) -> PIL.Image.Image:
    """The picture at the size of the film; as it is where it has that already."""
    import PIL.Image
    import PIL.ImageOps

    if height is None or width is None or picture.size == (width, height):
        return picture
    wanted, own = width / height, picture.width / picture.height
    if fit == "refuse" and abs(own / wanted - 1) > PROPORTION:
        raise OptionError(
            f"option {name} is {picture.width}x{picture.height}, which is no enlargement or reduction of "
            f"{width}x{height}; pass fit='crop' or fit='stretch', or another height and width",
            field=name,
        )
    if fit == "crop":
        return PIL.ImageOps.fit(picture, (width, height), PIL.Image.Resampling.LANCZOS)
    return picture.resize((width, height), PIL.Image.Resampling.LANCZOS)
