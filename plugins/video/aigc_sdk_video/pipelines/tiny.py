"""A tiny pipeline of every class that can be opened, with random weights: to try a program with, offline, in a second.

pipe = tiny_pipeline("WanPipeline")  # diffusers' own object; 0.1 M weights
pipe.save_pretrained("tiny-wan")
model = aigc_sdk.load("video", "tiny-wan")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aigc_sdk import runtime
from aigc_sdk.errors import OptionError, suggestion

from . import tiny_films, tiny_hunyuan, tiny_unets
from .families import FAMILIES
from .loading import silent
from .tiny_parts import library

if TYPE_CHECKING:
    from collections.abc import Callable


def tiny_pipeline(name: str, seed: int = 0, **own: Any) -> Any:
    """A pipeline of the class `name` with weights drawn from `seed`; `own` sets parts, such as another scheduler.

    Raises OptionError for a class that cannot be opened.
    """
    if name not in FAMILIES:
        raise OptionError(f"name={name!r}: no such pipeline.{suggestion(name, FAMILIES)}", field="name")
    library("torch")  # a random state can be lent only where torch is loaded
    with runtime.LentState(seed), silent():
        parts = {**_maker(name)(), **own}
        made = getattr(library("diffusers"), name)(**parts)
    for part in made.components.values():
        if hasattr(part, "eval"):
            part.eval()  # text encoders that are built rather than loaded drop out
    made.set_progress_bar_config(disable=True)
    return made


def _maker(name: str) -> Callable[[], dict[str, Any]]:
    for start, maker in _MAKERS.items():
        if name.startswith(start):
            return lambda: maker(name)
    raise OptionError(f"name={name!r}: there is no tiny pipeline of this class", field="name")


_MAKERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "Wan": tiny_films.wan,
    "LTX2": tiny_films.ltx2,
    "LTX": tiny_films.ltx,
    "CogVideoX": tiny_films.cogvideox,
    "HunyuanVideo15": tiny_hunyuan.hunyuan15,
    "HunyuanVideo": tiny_hunyuan.hunyuan,
    "AnimateDiff": tiny_unets.animatediff,
    "StableVideo": tiny_unets.stable_video,
    "Mochi": tiny_films.mochi,
    "DD": tiny_unets.unconditional,
    "StableDiffusion": tiny_unets.stable,
}
