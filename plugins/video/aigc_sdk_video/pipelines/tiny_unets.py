"""The parts of tiny pipelines whose network is a U-Net: Stable Diffusion and DDPM, and the films that grew from them.

A function for each family gives them by the names that a pipeline of the class `name` has for them.
"""

from __future__ import annotations

from typing import Any

from .tiny_parts import TEXT_WIDTH, clip_text, clip_vision, library, pixels


def animatediff(name: str) -> dict[str, Any]:
    d = library("diffusers")

    adapter = d.MotionAdapter(
        block_out_channels=(8, 8),
        motion_layers_per_block=2,
        motion_norm_num_groups=2,
        motion_num_attention_heads=4,
    )
    return {
        **clip_text(),
        "unet": _image_unet(),
        "vae": _image_vae(),
        "motion_adapter": adapter,
        "scheduler": _ddim(),
        "feature_extractor": None,
        "image_encoder": None,
    }


def stable_video(name: str) -> dict[str, Any]:
    d = library("diffusers")

    unet = d.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=2,
        sample_size=32,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=TEXT_WIDTH,
        num_attention_heads=8,
        projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32,
        num_frames=4,
    )
    scheduler = d.EulerDiscreteScheduler(
        prediction_type="v_prediction",
        sigma_max=700.0,
        sigma_min=0.002,
        timestep_type="continuous",
        use_karras_sigmas=True,
    )
    vae = d.AutoencoderKLTemporalDecoder(
        block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2, latent_channels=4
    )
    return {
        "unet": unet,
        "vae": vae,
        "scheduler": scheduler,
        "image_encoder": clip_vision(TEXT_WIDTH),
        "feature_extractor": pixels(),
    }


def unconditional(name: str) -> dict[str, Any]:
    d = library("diffusers")

    unet = d.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    )
    return {"unet": unet, "scheduler": d.DDPMScheduler() if name == "DDPMPipeline" else d.DDIMScheduler()}


def stable(name: str) -> dict[str, Any]:
    return {
        **clip_text(),
        "unet": _image_unet(),
        "vae": _image_vae(),
        "scheduler": _ddim(),
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    }


def _image_vae() -> Any:
    d = library("diffusers")

    return d.AutoencoderKL(
        block_out_channels=(8, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
    )


def _image_unet() -> Any:
    d = library("diffusers")

    return d.UNet2DConditionModel(
        block_out_channels=(8, 8),
        layers_per_block=2,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        norm_num_groups=2,
    )


def _ddim() -> Any:
    d = library("diffusers")

    return d.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
