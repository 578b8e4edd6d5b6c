"""The sizes that a pipeline can make, from its family and from the configuration of its parts."""

from __future__ import annotations

import math
from typing import Any

from .families import Family


def side_multiple(pipe: Any, family: Family) -> int:
    """What height and width are multiples of."""
    factor = next(
        (
            int(getattr(pipe, each))
            for each in ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor")
            if hasattr(pipe, each)
        ),
        int(getattr(pipe, "vae_scale_factor", 1)),
    )
    transformer, unet = getattr(pipe, "transformer", None), getattr(pipe, "unet", None)
    patch = 1
    if transformer is not None:
        found = transformer.config.patch_size
        patch = int(found if isinstance(found, int) else found[-1])
    elif unet is not None and type(unet).__name__ == "UNetSpatioTemporalConditionModel":
        patch = 2 ** (len(unet.config.block_out_channels) - 1)  # it halves so often, and cannot pad
    return math.lcm(family.side, factor * patch)


def frame_period(pipe: Any, family: Family) -> int:
    """The number of frames is a multiple of this, plus one; 1: any number."""
    if family.frame_period == 1:
        return 1
    for each in ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor"):
        if hasattr(pipe, each):
            factor = int(getattr(pipe, each))
            return 2 * factor if family.decodes == "cached" else factor  # CogVideoX decodes two at a time
    return family.frame_period


def default_size(pipe: Any, family: Family) -> tuple[int, int] | None:
    """Height and width by default; None where the pipeline decides by the picture."""
    if family.size is not None:
        return family.size
    if hasattr(pipe, "target_size"):  # HunyuanVideo 1.5
        found = pipe.video_processor.calculate_default_height_width(
            *reversed(pipe.default_aspect_ratio), pipe.target_size
        )
        return int(found[0]), int(found[1])
    factor = _side_factor(pipe)
    config = (pipe.transformer if getattr(pipe, "transformer", None) is not None else pipe.unet).config
    if hasattr(config, "sample_height"):
        return config.sample_height * factor, config.sample_width * factor
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return height * factor, width * factor


def default_frames(pipe: Any, family: Family) -> int:
    """The number of frames by default: what the configuration says, or else what the family has."""
    for network, key in (("unet", "num_frames"), ("transformer", "sample_frames")):
        found = getattr(getattr(getattr(pipe, network, None), "config", None), key, None)
        if found is not None:
            return int(found)
    return family.frames


def most_frames(pipe: Any) -> int | None:
    """The places that a motion adapter has."""
    config = getattr(getattr(pipe, "unet", None), "config", None)
    found = getattr(config, "motion_max_seq_length", None)
    return None if found is None else int(found)


def dropped_frames(pipe: Any, running: str) -> int:
    """Frames that the pipeline makes and throws away: those of the picture it starts from."""
    if running != "HunyuanVideoImageToVideoPipeline":
        return 0
    return 4 if pipe.transformer.config.image_condition_type == "latent_concat" else 0


def _side_factor(pipe: Any) -> int:
    """Pixels per latent along a side."""
    if getattr(pipe, "vae", None) is None:
        return 1
    return int(getattr(pipe, "vae_scale_factor_spatial", getattr(pipe, "vae_scale_factor", 8)))
