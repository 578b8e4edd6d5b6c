"""Latents to frames: piece by piece where the autoencoder works through time, and for a look while a film is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from .families import FAMILIES
from .sizes import frame_period

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES_AT_A_TIME = 16  # AnimateDiff's own; other numbers round otherwise


def pieces(pipe: Any, name: str, latents: torch.Tensor) -> Iterator[NDArray[np.float32]]:
    """The frames of one film, t x h x w x 3 in [0, 1], in order: what the pipeline itself makes of `latents`, joined.

    The autoencoder's memory of what came before is kept here, so that several films can be decoded in turn.
    """
    decodes = FAMILIES[name].decodes
    if decodes == "causal":
        found = _causal(pipe.vae, _wan_latents(pipe, latents))
    elif decodes == "cached":
        found = _cached(pipe.vae, _cogvideox_latents(pipe, latents))
    else:
        found = _frames(pipe, latents)
    while True:
        with torch.no_grad():
            piece = next(found, None)
            if piece is None:
                return
            shown = pipe.video_processor.postprocess_video(piece, output_type="np")[0]
        yield shown


def count(pipe: Any, name: str, frames: int) -> int:
    """How many `pieces` a film of so many frames has."""
    family = FAMILIES[name]
    if family.decodes == "frames":
        return math.ceil(frames / FRAMES_AT_A_TIME)
    done = (frames - 1) // frame_period(pipe, family)
    return max(done, 1) if family.decodes == "cached" else done + 1


def is_tiled(pipe: Any) -> bool:
    """Whether the autoencoder works through space instead."""
    return bool(getattr(pipe.vae, "use_tiling", False))


def _wan_latents(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    """Wan's latents as its autoencoder has them: with the mean and deviation of each channel."""
    config = pipe.vae.config
    latents = latents.to(pipe.vae.dtype)
    mean = torch.tensor(config.latents_mean).view(1, -1, 1, 1, 1).to(latents)
    scale = 1.0 / torch.tensor(config.latents_std).view(1, -1, 1, 1, 1).to(latents)  # rounds as the pipeline does
    return latents / scale + mean


def _causal(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """One latent frame after the other; each convolution remembers the frames before (Wan)."""
    from diffusers.models.autoencoders import autoencoder_kl_wan

    unpatchify: Any = autoencoder_kl_wan.unpatchify
    vae.clear_cache()
    memory = vae._feat_map
    hidden = vae.post_quant_conv(latents)
    for index in range(hidden.shape[2]):
        first = {"first_chunk": True} if index == 0 else {}
        piece = vae.decoder(hidden[:, :, index : index + 1], feat_cache=memory, feat_idx=[0], **first)
        if vae.config.patch_size is not None:
            piece = unpatchify(piece, patch_size=vae.config.patch_size)
        yield piece.clamp(-1, 1)


def _cogvideox_latents(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    """CogVideoX's latents as its autoencoder has them; a film's are odd in number, and one may fill up a patch in time."""
    added = 1 - latents.shape[1] % 2
    turned = latents[:, added:].permute(0, 2, 1, 3, 4)
    return turned * (1 / float(pipe.vae_scaling_factor_image))


def _cached(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Some latent frames after the others; the first time those that are left over as well (CogVideoX)."""
    size, total = vae.num_latent_frames_batch_size, latents.shape[2]
    rest, memory = total % size, None
    for index in range(max(total // size, 1)):
        start = size * index + (0 if index == 0 else rest)
        piece = latents[:, :, start : size * (index + 1) + rest]
        if vae.post_quant_conv is not None:
            piece = vae.post_quant_conv(piece)
        piece, memory = vae.decoder(piece, conv_cache=memory)
        yield piece


def _frames(pipe: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Frames that know nothing of each other (AnimateDiff)."""
    for start in range(0, latents.shape[2], FRAMES_AT_A_TIME):
        yield pipe.decode_latents(latents[:, :, start : start + FRAMES_AT_A_TIME], FRAMES_AT_A_TIME)


def look(pipe: Any, name: str, latents: torch.Tensor, frames: int, height: int, width: int) -> NDArray[np.float32]:
    """What `latents`, taken between two steps, look like: t x h x w x 3 in [0, 1]. The noise in them is still seen."""
    import numpy as np

    latents = latents.detach()
    if FAMILIES[name].kind == "image":
        with torch.no_grad():
            decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
            shown: NDArray[np.float32] = pipe.image_processor.postprocess(decoded, output_type="np")
            return shown
    if FAMILIES[name].decodes != "whole":
        return np.concatenate(list(pieces(pipe, name, latents)))
    with torch.no_grad():
        decoded = _decoded(pipe, name, latents, frames, height, width)
        film: NDArray[np.float32] = pipe.video_processor.postprocess_video(decoded, output_type="np")[0]
    return film


def _decoded(pipe: Any, name: str, latents: torch.Tensor, frames: int, height: int, width: int) -> torch.Tensor:
    """All frames at once, by the arithmetic that the pipeline ends with."""
    vae = pipe.vae
    if name.startswith("StableVideo"):
        found: torch.Tensor = pipe.decode_latents(latents, frames, frames)
        return found
    if name.startswith("LTX"):
        latents = pipe._unpack_latents(
            latents,
            (frames - 1) // pipe.vae_temporal_compression_ratio + 1,
            height // pipe.vae_spatial_compression_ratio,
            width // pipe.vae_spatial_compression_ratio,
            pipe.transformer_spatial_patch_size,
            pipe.transformer_temporal_patch_size,
        )
        latents = pipe._denormalize_latents(latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
        time = torch.zeros(1).to(latents) if vae.config.timestep_conditioning else None
        ltx: torch.Tensor = vae.decode(latents.to(vae.dtype), time, return_dict=False)[0]
        return ltx
    mean, deviation = (getattr(vae.config, each, None) for each in ("latents_mean", "latents_std"))
    latents = latents.to(vae.dtype)
    if mean is not None and deviation is not None:  # Mochi
        of = [torch.tensor(each).view(1, -1, 1, 1, 1).to(latents) for each in (mean, deviation)]
        latents = latents * of[1] / vae.config.scaling_factor + of[0]
    else:
        latents = latents / vae.config.scaling_factor
    whole: torch.Tensor = vae.decode(latents, return_dict=False)[0]
    return whole
