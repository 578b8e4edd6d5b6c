"""The diffusion pipelines that can be opened, by the class that model_index.json names, and what each can do.

Nothing else is opened: a folder's class, and the classes of its parts, are looked up here and never imported from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

Kind = Literal["video", "image"]


@dataclass(frozen=True)
class Family:
    """What pipelines of one class take, make and need. Numbers are the pipeline's own defaults unless a config has them."""

    kind: Kind
    takes: frozenset[str]
    """Names of the options that have a meaning here, beside `steps`."""
    parts: Mapping[str, tuple[str, ...]]
    """The classes that each part may have."""
    needs: frozenset[str] = frozenset()
    """Inputs without which it cannot run: "prompt", "image", "video"."""
    variants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The class that the same weights run as when an input is given: {"video": "WanVideoToVideoPipeline"}."""
    arguments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The pipeline's own names of options where they are not those of most: {"guidance": "max_guidance_scale"}."""
    frames: int = 1
    """The number of frames by default."""
    frame_period: int = 1
    """The number of frames is a multiple of this, plus one; 1: any number."""
    fps: float = 8.0
    side: int = 8
    """Height and width are multiples of this, and of what its autoencoder and network divide by."""
    size: tuple[int, int] | None = None
    """Height and width by default; None: what the configuration says."""
    steps: int = 50
    guidance: float | None = None
    calls_back: bool = True
    """Whether the pipeline tells of its steps with their latents; the others tell of steps alone."""
    decodes: Literal["whole", "causal", "cached", "frames"] = "whole"
    """How its frames can be decoded piece by piece; "whole": only all at once."""
    package: str | None = None
    """A package that it needs beside diffusers."""
    trains: Literal["transformer", "unet"] | None = None
    """The network that LoRA adapts; None where diffusers has no loader for it."""

    @property
    def prompts(self) -> bool:
        """Whether it reads a text."""
        return "prompt" in self.needs


_T5 = ("T5EncoderModel",)
_UMT5 = ("UMT5EncoderModel",)
_CLIP_TEXT = ("CLIPTextModel",)
_CLIP_VISION = ("CLIPVisionModel", "CLIPVisionModelWithProjection")
_CLIP_PIXELS = ("CLIPImageProcessor", "CLIPImageProcessorPil", "CLIPImageProcessorFast", "CLIPFeatureExtractor")
_FLOW = ("FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler", "FlowMatchHeunDiscreteScheduler")
_NOISE = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
)
_TOKENS = ("PreTrainedTokenizerFast", "TokenizersBackend")
_T5_TOKENS = ("T5Tokenizer", "T5TokenizerFast", *_TOKENS)
_CLIP_TOKENS = ("CLIPTokenizer", "CLIPTokenizerFast", *_TOKENS)
_LLAMA_TOKENS = ("LlamaTokenizer", "LlamaTokenizerFast", *_TOKENS)

_FILM = frozenset({"negative_prompt", "num_frames", "fps", "height", "width", "guidance"})
_FROM_IMAGE = _FILM | {"image", "fit"}
_FROM_VIDEO = frozenset({"video", "strength", "fit"})
_PROMPT = frozenset({"prompt"})

_WAN_PARTS: dict[str, tuple[str, ...]] = {
    "tokenizer": _T5_TOKENS,
    "text_encoder": _UMT5,
    "vae": ("AutoencoderKLWan",),
    "scheduler": (*_FLOW, "DPMSolverMultistepScheduler"),
    "transformer": ("WanTransformer3DModel",),
    "transformer_2": ("WanTransformer3DModel",),
}
_WAN = Family(
    kind="video",
    takes=_FILM | {"guidance_2"} | _FROM_VIDEO,
    needs=_PROMPT,
    parts=_WAN_PARTS,
    variants={"video": "WanVideoToVideoPipeline"},
    frames=81,
    frame_period=4,
    fps=16,
    side=16,
    size=(480, 832),
    guidance=5.0,
    decodes="causal",
    package="ftfy",
    trains="transformer",
)
_WAN_IMAGE = Family(
    kind="video",
    takes=_FROM_IMAGE | {"guidance_2", "last_image"},
    needs=_PROMPT | {"image"},
    parts={**_WAN_PARTS, "image_encoder": _CLIP_VISION, "image_processor": _CLIP_PIXELS},
    frames=81,
    frame_period=4,
    fps=16,
    side=16,
    size=(480, 832),
    guidance=5.0,
    decodes="causal",
    package="ftfy",
)
_WAN_VIDEO = Family(
    kind="video",
    takes=(_FILM - {"num_frames"}) | _FROM_VIDEO,
    needs=_PROMPT | {"video"},
    parts={name: classes for name, classes in _WAN_PARTS.items() if name != "transformer_2"},
    frame_period=4,
    fps=16,
    side=16,
    size=(480, 832),
    guidance=5.0,
    decodes="causal",
    package="ftfy",
    trains="transformer",
)
_LTX = Family(
    kind="video",
    takes=_FROM_IMAGE,
    needs=_PROMPT,
    parts={
        "tokenizer": _T5_TOKENS,
        "text_encoder": _T5,
        "vae": ("AutoencoderKLLTXVideo",),
        "scheduler": _FLOW,
        "transformer": ("LTXVideoTransformer3DModel",),
    },
    variants={"image": "LTXImageToVideoPipeline"},
    arguments={"fps": "frame_rate"},
    frames=161,
    frame_period=8,
    fps=25,
    side=32,
    size=(512, 704),
    guidance=3.0,
    trains="transformer",
)
_LTX2 = Family(
    kind="video",
    takes=_FROM_IMAGE,
    needs=_PROMPT,
    parts={
        "tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast", *_TOKENS),
        "text_encoder": ("Gemma3ForConditionalGeneration",),
        "vae": ("AutoencoderKLLTX2Video",),
        "audio_vae": ("AutoencoderKLLTX2Audio",),
        "connectors": ("LTX2TextConnectors",),
        "vocoder": ("LTX2Vocoder", "LTX2VocoderWithBWE"),
        "scheduler": _FLOW,
        "transformer": ("LTX2VideoTransformer3DModel",),
        "processor": (),
        "prompt_enhancer": (),
        "duration_head": (),
    },
    variants={"image": "LTX2ImageToVideoPipeline"},
    arguments={"fps": "frame_rate"},
    frames=121,
    frame_period=8,
    fps=24,
    side=32,
    size=(512, 768),
    steps=30,
    guidance=3.0,
)
_COG = Family(
    kind="video",
    takes=_FILM | _FROM_VIDEO,
    needs=_PROMPT,
    parts={
        "tokenizer": _T5_TOKENS,
        "text_encoder": _T5,
        "vae": ("AutoencoderKLCogVideoX",),
        "scheduler": ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler", "DDIMScheduler"),
        "transformer": ("CogVideoXTransformer3DModel",),
    },
    variants={"video": "CogVideoXVideoToVideoPipeline"},
    frames=49,
    frame_period=8,
    guidance=6.0,
    decodes="cached",
    trains="transformer",
)
_HUNYUAN_PARTS: dict[str, tuple[str, ...]] = {
    "tokenizer": _LLAMA_TOKENS,
    "text_encoder": ("LlamaModel",),
    "tokenizer_2": _CLIP_TOKENS,
    "text_encoder_2": _CLIP_TEXT,
    "vae": ("AutoencoderKLHunyuanVideo",),
    "scheduler": _FLOW,
    "transformer": ("HunyuanVideoTransformer3DModel",),
}
_HUNYUAN = Family(
    kind="video",
    takes=_FILM | {"true_guidance"},
    needs=_PROMPT,
    parts=_HUNYUAN_PARTS,
    frames=129,
    frame_period=4,
    fps=24,
    side=16,
    size=(720, 1280),
    guidance=6.0,
    trains="transformer",
)
_HUNYUAN15_PARTS: dict[str, tuple[str, ...]] = {
    "tokenizer": ("Qwen2Tokenizer", "Qwen2TokenizerFast", *_TOKENS),
    "text_encoder": ("Qwen2_5_VLTextModel",),
    "tokenizer_2": ("ByT5Tokenizer",),
    "text_encoder_2": _T5,
    "vae": ("AutoencoderKLHunyuanVideo15",),
    "scheduler": _FLOW,
    "transformer": ("HunyuanVideo15Transformer3DModel",),
    "guider": ("ClassifierFreeGuidance",),
}
_HUNYUAN15 = Family(
    kind="video",
    takes=_FILM,
    needs=_PROMPT,
    parts=_HUNYUAN15_PARTS,
    frames=121,
    frame_period=4,
    fps=24,
    calls_back=False,
)
_ANIMATEDIFF = Family(
    kind="video",
    takes=_FILM | _FROM_VIDEO,
    needs=_PROMPT,
    parts={
        "tokenizer": _CLIP_TOKENS,
        "text_encoder": _CLIP_TEXT,
        "vae": ("AutoencoderKL",),
        "unet": ("UNet2DConditionModel", "UNetMotionModel"),
        "motion_adapter": ("MotionAdapter",),
        "scheduler": _NOISE,
        "feature_extractor": _CLIP_PIXELS,
        "image_encoder": _CLIP_VISION,
    },
    variants={"video": "AnimateDiffVideoToVideoPipeline"},
    frames=16,
    guidance=7.5,
    decodes="frames",
    trains="unet",
)
_STABLE_VIDEO = Family(
    kind="video",
    takes=(_FROM_IMAGE - {"negative_prompt"}) | {"motion", "noise"},
    needs=frozenset({"image"}),
    parts={
        "vae": ("AutoencoderKLTemporalDecoder",),
        "image_encoder": _CLIP_VISION,
        "unet": ("UNetSpatioTemporalConditionModel",),
        "scheduler": ("EulerDiscreteScheduler",),
        "feature_extractor": _CLIP_PIXELS,
    },
    arguments={"guidance": "max_guidance_scale", "fps": "fps"},
    frames=14,
    fps=7,
    size=(576, 1024),
    steps=25,
    guidance=3.0,
)
_MOCHI = Family(
    kind="video",
    takes=_FILM,
    needs=_PROMPT,
    parts={
        "tokenizer": _T5_TOKENS,
        "text_encoder": _T5,
        "vae": ("AutoencoderKLMochi",),
        "scheduler": _FLOW,
        "transformer": ("MochiTransformer3DModel",),
    },
    frames=19,
    frame_period=6,
    fps=30,
    size=(480, 848),
    steps=64,
    guidance=4.5,
    trains="transformer",
)

_UNCONDITIONAL = Family(
    kind="image", takes=frozenset(), parts={"unet": ("UNet2DModel",), "scheduler": _NOISE}, side=1, calls_back=False
)
_STABLE = Family(
    kind="image",
    takes=frozenset({"negative_prompt", "height", "width", "guidance", "image", "mask", "strength", "fit"}),
    needs=_PROMPT,
    parts={
        "tokenizer": _CLIP_TOKENS,
        "text_encoder": _CLIP_TEXT,
        "vae": ("AutoencoderKL",),
        "unet": ("UNet2DConditionModel",),
        "scheduler": _NOISE,
        "safety_checker": ("StableDiffusionSafetyChecker",),
        "feature_extractor": _CLIP_PIXELS,
        "image_encoder": _CLIP_VISION,
    },
    variants={"image": "StableDiffusionImg2ImgPipeline", "mask": "StableDiffusionInpaintPipeline"},
    guidance=7.5,
    trains="unet",
)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "WanPipeline": _WAN,
        "WanImageToVideoPipeline": _WAN_IMAGE,
        "WanVideoToVideoPipeline": _WAN_VIDEO,
        "LTXPipeline": _LTX,
        "LTXImageToVideoPipeline": replace(_LTX, needs=_PROMPT | {"image"}, variants={}),
        "LTX2Pipeline": _LTX2,
        "LTX2ImageToVideoPipeline": replace(_LTX2, needs=_PROMPT | {"image"}, variants={}),
        "CogVideoXPipeline": _COG,
        "CogVideoXImageToVideoPipeline": replace(
            _COG, takes=_FROM_IMAGE, needs=_PROMPT | {"image"}, variants={}, trains=None
        ),
        "CogVideoXVideoToVideoPipeline": replace(
            _COG, takes=(_FILM - {"num_frames"}) | _FROM_VIDEO, needs=_PROMPT | {"video"}, variants={}
        ),
        "HunyuanVideoPipeline": _HUNYUAN,
        "HunyuanVideoImageToVideoPipeline": replace(
            _HUNYUAN,
            takes=_FROM_IMAGE | {"true_guidance"},
            needs=_PROMPT | {"image"},
            parts={
                **_HUNYUAN_PARTS,
                "text_encoder": ("LlavaForConditionalGeneration",),
                "image_processor": _CLIP_PIXELS,
            },
            guidance=1.0,
            trains=None,
        ),
        "HunyuanVideo15Pipeline": _HUNYUAN15,
        "HunyuanVideo15ImageToVideoPipeline": replace(
            _HUNYUAN15,
            takes=_FROM_IMAGE - {"height", "width"},
            needs=_PROMPT | {"image"},
            parts={
                **_HUNYUAN15_PARTS,
                "image_encoder": ("SiglipVisionModel",),
                "feature_extractor": ("SiglipImageProcessor", "SiglipImageProcessorPil", "SiglipImageProcessorFast"),
            },
        ),
        "AnimateDiffPipeline": _ANIMATEDIFF,
        "AnimateDiffVideoToVideoPipeline": replace(
            _ANIMATEDIFF, takes=(_FILM - {"num_frames"}) | _FROM_VIDEO, needs=_PROMPT | {"video"}, variants={}
        ),
        "StableVideoDiffusionPipeline": _STABLE_VIDEO,
        "MochiPipeline": _MOCHI,
        "DDPMPipeline": replace(_UNCONDITIONAL, steps=1000),
        "DDIMPipeline": _UNCONDITIONAL,
        "StableDiffusionPipeline": _STABLE,
        "StableDiffusionImg2ImgPipeline": replace(
            _STABLE, takes=_STABLE.takes - {"mask"}, needs=_PROMPT | {"image"}, variants={}
        ),
        "StableDiffusionInpaintPipeline": replace(_STABLE, needs=_PROMPT | {"image", "mask"}, variants={}),
    }
)
"""Every class that can be opened."""

LIBRARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "LTX2TextConnectors": ("ltx2",),
        "LTX2Vocoder": ("ltx2",),
        "LTX2VocoderWithBWE": ("ltx2",),
        "StableDiffusionSafetyChecker": ("stable_diffusion",),
    }
)
"""What model_index.json calls the library of parts that are neither diffusers' nor transformers' own."""


def named(kind: Kind) -> tuple[str, ...]:
    """The classes that make videos, or images."""
    return tuple(name for name, family in FAMILIES.items() if family.kind == kind)
