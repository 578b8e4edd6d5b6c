"""What one call of a pipeline may set. A pipeline that has no use for an option refuses it by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aigc_sdk.protocols import Options
from aigc_sdk_video.options import Film, Picture


class Sampling(Options):
    """What pipelines of films and of pictures have in common; None: the pipeline's own default."""

    steps: int | None = Field(None, ge=1, le=10_000, description="steps of the sampler")
    guidance: float | None = Field(None, ge=0, le=100, description="how strongly the prompt is followed; 1: as learned")
    negative_prompt: str | None = Field(None, max_length=100_000, description="what is not to be seen")
    height: int | None = Field(None, ge=8, le=8192, description="rows of pixels; None: the picture's, or the default")
    width: int | None = Field(None, ge=8, le=8192, description="columns of pixels")
    image: Picture = Field(None, description="the picture to start from, or its path")
    strength: float | None = Field(None, gt=0, le=1, description="how much of what was given is made anew; 1: all")
    fit: Literal["refuse", "crop", "stretch"] = Field(
        "refuse", description="how a picture of other proportions than height and width is brought to them"
    )


class FilmSampling(Sampling):
    """How a film is made."""

    num_frames: int | None = Field(None, ge=1, le=10_000, description="frames of the film")
    fps: float | None = Field(None, gt=0, le=1000, description="frames per second, to show at and, if it can, to make")
    last_image: Picture = Field(None, description="the picture to end with, or its path")
    video: Film = Field(None, description="the film to start from, or its path")
    guidance_2: float | None = Field(None, ge=0, le=100, description="guidance of the second expert (Wan 2.2)")
    true_guidance: float | None = Field(
        None, ge=1, le=100, description="guidance against negative_prompt, in two passes (HunyuanVideo)"
    )
    motion: int | None = Field(None, ge=1, le=1023, description="how much moves; 127 is usual (Stable Video Diffusion)")
    noise: float | None = Field(None, ge=0, le=1, description="noise on the first picture (Stable Video Diffusion)")


class StillSampling(Sampling):
    """How a picture is made."""

    mask: Picture = Field(None, description="white where the picture is to be made anew, or its path")
