"""diffusers' pipelines for films and pictures behind the contract of aigc_sdk.

from aigc_sdk_video.pipelines import Memory, VideoPipeline, estimate

print(estimate("models/wan", Memory(offload="group"), dtype="bfloat16"))
model = VideoPipeline.open("models/wan", dtype="bfloat16", memory=Memory(offload="group", tiling=True))
[film] = model.generate("a cat runs over a meadow", num_frames=33, seed=1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .families import FAMILIES, Family, named

if TYPE_CHECKING:
    from .lora import LoRATrainer
    from .memory import Estimate, Memory, estimate
    from .model import ImagePipeline, VideoPipeline, open_pipeline
    from .tiny import tiny_pipeline

__all__ = [
    "Estimate",
    "FAMILIES",
    "Family",
    "ImagePipeline",
    "LoRATrainer",
    "Memory",
    "VideoPipeline",
    "estimate",
    "named",
    "open_pipeline",
    "tiny_pipeline",
]

_WHERE = {
    "Estimate": "memory",
    "Memory": "memory",
    "estimate": "memory",
    "ImagePipeline": "model",
    "VideoPipeline": "model",
    "open_pipeline": "model",
    "LoRATrainer": "lora",
    "tiny_pipeline": "tiny",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: the table of families is plain data, the rest needs torch."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __package__), name)
