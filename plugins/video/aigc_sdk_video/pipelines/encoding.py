"""What training needs of a pipeline: frames to latents, and latents with noise to the task that its scheduler defines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encoded(pipe: Any, name: str, frames: NDArray[np.uint8]) -> Tensor:
    """The latents of one film or picture, t x h x w x 3, with the scale and layout that the network reads."""
    vae = pipe.vae
    pixels = torch.from_numpy(frames.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)  # (t, 3, h, w)
    pixels = pixels.to(vae.device, vae.dtype)
    with torch.no_grad():
        if name.startswith(("AnimateDiff", "StableDiffusion")):
            latents = torch.cat([vae.encode(each[None]).latent_dist.mode() for each in pixels])
            latents = latents * vae.config.scaling_factor
            scaled: Tensor = latents if name.startswith("StableDiffusion") else latents.transpose(0, 1)[None]
            return scaled
        latents = vae.encode(pixels.transpose(0, 1)[None]).latent_dist.mode()  # (1, c, t, h, w)
        return _scaled(pipe, name, latents)


def _scaled(pipe: Any, name: str, latents: Tensor) -> Tensor:
    config = pipe.vae.config
    if name.startswith("CogVideoX"):
        turned: Tensor = (latents * config.scaling_factor).permute(0, 2, 1, 3, 4)  # (1, t, c, h, w)
        return turned
    if name.startswith("LTX"):
        mean, deviation = (
            each.view(1, -1, 1, 1, 1).to(latents) for each in (pipe.vae.latents_mean, pipe.vae.latents_std)
        )
        packed: Tensor = pipe._pack_latents(
            (latents - mean) * config.scaling_factor / deviation,
            pipe.transformer_spatial_patch_size,
            pipe.transformer_temporal_patch_size,
        )
        return packed
    scale = getattr(config, "scaling_factor", 1.0)
    if getattr(config, "latents_mean", None) is None:
        return latents * scale
    mean, deviation = (
        torch.tensor(config[each]).view(1, -1, 1, 1, 1).to(latents) for each in ("latents_mean", "latents_std")
    )
    return (latents - mean) * scale / deviation


def flows(scheduler: Any) -> bool:
    """Whether a scheduler's networks say how samples flow from noise, rather than what noise is in them."""
    config = scheduler.config
    return type(scheduler).__name__.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction"


def task(scheduler: Any, latents: Tensor, noise: Tensor, level: float) -> tuple[Tensor, Tensor, float]:
    """Noisy latents, what the network has to say of them, and the time that it is told; `level` is in (0, 1)."""
    return _flow(scheduler, latents, noise, level) if flows(scheduler) else _noise(scheduler, latents, noise, level)


def _flow(scheduler: Any, latents: Tensor, noise: Tensor, level: float) -> tuple[Tensor, Tensor, float]:
    """Flow matching (Lipman et al. 2022): a straight line from sample to noise, its slope, and the part of noise."""
    config = scheduler.config
    shift = 1.0 if config.get("use_dynamic_shifting") else float(config.get("shift") or config.get("flow_shift") or 1.0)
    sigma = shift * level / (1 + (shift - 1) * level)
    noisy = (1 - sigma) * latents + sigma * noise
    if config.get("invert_sigmas"):  # Mochi counts the part of the sample, and flows towards it
        return noisy, latents - noise, (1 - sigma) * config.num_train_timesteps
    return noisy, noise - latents, sigma * config.num_train_timesteps


def _noise(scheduler: Any, latents: Tensor, noise: Tensor, level: float) -> tuple[Tensor, Tensor, float]:
    """Denoising (Ho et al. 2020; velocity: Salimans and Ho 2022), with the noise of the scheduler's own betas."""
    keeps = training_scheduler(scheduler)
    time = torch.tensor([min(int(level * keeps.config.num_train_timesteps), keeps.config.num_train_timesteps - 1)])
    noisy = keeps.add_noise(latents, noise, time.to(latents.device))
    kind = keeps.config.prediction_type
    if kind == "v_prediction":
        target = keeps.get_velocity(latents, noise, time.to(latents.device))
    else:
        target = noise if kind == "epsilon" else latents
    return noisy, target, float(time)


def training_scheduler(scheduler: Any) -> Any:
    """The scheduler that adds noise: its own where it can, else DDPM's with the same betas; samplers scale otherwise."""
    import diffusers

    if type(scheduler).__name__ in (
        "CogVideoXDDIMScheduler",
        "CogVideoXDPMScheduler",
        "DDIMScheduler",
        "DDPMScheduler",
    ):
        return scheduler
    made: Any = diffusers.DDPMScheduler
    return made.from_config(scheduler.config)
