"""A tiny pipeline of every class that can be opened, with random weights: to try a program with, offline, in a second.

pipe = tiny_pipeline("WanPipeline")  # diffusers' own object; 0.1 M weights
pipe.save_pretrained("tiny-wan")
model = aigc_sdk.load("video", "tiny-wan")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aigc_sdk import runtime
from aigc_sdk.errors import OptionError, suggestion

from .families import FAMILIES
from .loading import silent

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT_WIDTH = 32
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>")


def tiny_pipeline(name: str, seed: int = 0, **own: Any) -> Any:
    """A pipeline of the class `name` with weights drawn from `seed`; `own` sets parts, such as another scheduler.

    Raises OptionError for a class that cannot be opened.
    """
    if name not in FAMILIES:
        raise OptionError(f"name={name!r}: no such pipeline.{suggestion(name, FAMILIES)}", field="name")
    with runtime.LentState(seed), silent():
        parts = {**_maker(name)(), **own}
        made = getattr(_library("diffusers"), name)(**parts)
    for part in made.components.values():
        if hasattr(part, "eval"):
            part.eval()  # text encoders that are built rather than loaded drop out
    made.set_progress_bar_config(disable=True)
    return made


def _library(name: str) -> Any:
    """A module whose classes have no types."""
    return import_module(name)


def _maker(name: str) -> Callable[[], dict[str, Any]]:
    for start, maker in _MAKERS.items():
        if name.startswith(start):
            return lambda: maker(name)
    raise OptionError(f"name={name!r}: there is no tiny pipeline of this class", field="name")


def _tokens(kind: type[Any] | None = None, begin: str | None = None) -> Any:
    """A tokenizer with a token for every character of Latin-1, and those that the pipelines' templates need."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "<s>", *(chr(each) for each in range(256))]
    found = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    found.post_processor = processors.TemplateProcessing(
        single=f"{begin or ''} $A </s>".strip(),
        special_tokens=[("</s>", 1), *([(begin, words.index(begin))] if begin else [])],
    )
    found.add_special_tokens(list(_HEADERS))
    return (kind or PreTrainedTokenizerFast)(
        tokenizer_object=found,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=77,
    )


def _sizes() -> dict[str, Any]:
    return {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 37, "num_hidden_layers": 2}


def _t5() -> dict[str, Any]:
    t = _library("transformers")

    config = t.T5Config(vocab_size=300, d_model=TEXT_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return {"tokenizer": _tokens(), "text_encoder": t.T5EncoderModel(config)}


def _umt5() -> dict[str, Any]:
    t = _library("transformers")

    config = t.UMT5Config(vocab_size=300, d_model=TEXT_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return {"tokenizer": _tokens(), "text_encoder": t.UMT5EncoderModel(config)}


def _clip_text() -> dict[str, Any]:
    t = _library("transformers")

    config = t.CLIPTextConfig(
        **{**_sizes(), "hidden_size": 8}, num_attention_heads=4, bos_token_id=3, eos_token_id=1, pad_token_id=0
    )
    return {"tokenizer": _tokens(begin="<s>"), "text_encoder": t.CLIPTextModel(config)}


def _clip_vision(width: int) -> Any:
    t = _library("transformers")

    return t.CLIPVisionModelWithProjection(
        t.CLIPVisionConfig(
            hidden_size=width,
            projection_dim=width,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=224,
            patch_size=56,
        )
    )


def _pixels(size: int = 224) -> Any:
    t = _library("transformers")

    return t.CLIPImageProcessorPil(
        crop_size={"height": size, "width": size}, size={"shortest_edge": size}, do_resize=True, do_center_crop=True
    )


def _flow(**own: Any) -> Any:
    d = _library("diffusers")

    return d.FlowMatchEulerDiscreteScheduler(**own)


def _wan(name: str) -> dict[str, Any]:
    d = _library("diffusers")

    from_image = "ImageToVideo" in name
    transformer = d.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36 if from_image else 16,
        out_channels=16,
        text_dim=TEXT_WIDTH,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
        image_dim=4 if from_image else None,
    )
    vae = d.AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    image = {"image_encoder": _clip_vision(4), "image_processor": _pixels()} if from_image else {}
    return {**_umt5(), "transformer": transformer, "vae": vae, "scheduler": _flow(shift=7.0), **image}


def _ltx(name: str) -> dict[str, Any]:
    d = _library("diffusers")

    vae = d.AutoencoderKLLTXVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    transformer = d.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=TEXT_WIDTH,
        num_layers=1,
        caption_channels=TEXT_WIDTH,
    )
    return {**_t5(), "transformer": transformer, "vae": vae, "scheduler": _flow()}


def _gemma() -> dict[str, Any]:
    t = _library("transformers")

    text = t.Gemma3TextConfig(
        **{**_sizes(), "hidden_size": TEXT_WIDTH},
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
        bos_token_id=3,
    )
    vision = t.SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    config = t.Gemma3Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), mm_tokens_per_image=4, image_token_id=263
    )
    return {"tokenizer": _tokens(), "text_encoder": t.Gemma3ForConditionalGeneration(config)}


def _ltx2(name: str) -> dict[str, Any]:
    d = _library("diffusers")
    ltx2 = _library("diffusers.pipelines.ltx2")

    text = _gemma()
    width = text["text_encoder"].config.text_config.hidden_size
    layers = text["text_encoder"].config.text_config.num_hidden_layers
    transformer = d.LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        qk_norm="rms_norm_across_heads",
        caption_channels=width,
        rope_double_precision=False,
        rope_type="split",
    )
    connectors = ltx2.LTX2TextConnectors(
        caption_channels=width,
        text_proj_in_factor=layers + 1,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_theta=10000.0,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
    )
    vae = d.AutoencoderKLLTX2Video(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatial",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    audio = d.AutoencoderKLLTX2Audio(
        base_channels=4,
        output_channels=2,
        ch_mult=(1,),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        dropout=0.0,
        mid_block_add_attention=False,
        sample_rate=16000,
        mel_hop_length=160,
        is_causal=True,
        mel_bins=8,
    )
    vocoder = ltx2.LTX2Vocoder(
        in_channels=audio.config.output_channels * audio.config.mel_bins,
        hidden_channels=32,
        out_channels=2,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        leaky_relu_negative_slope=0.1,
        output_sampling_rate=16000,
    )
    return {
        **text,
        "transformer": transformer,
        "connectors": connectors,
        "vae": vae,
        "audio_vae": audio,
        "vocoder": vocoder,
        "scheduler": _flow(),
    }


def _cogvideox(name: str) -> dict[str, Any]:
    d = _library("diffusers")

    from_image = "ImageToVideo" in name
    transformer = d.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,  # rotary positions divide it by 8, and each part by 2
        in_channels=8 if from_image else 4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=TEXT_WIDTH,
        num_layers=1,
        sample_width=2,
        sample_height=2,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=226,
        use_rotary_positional_embeddings=from_image,
        use_learned_positional_embeddings=from_image,
    )
    vae = d.AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return {**_t5(), "transformer": transformer, "vae": vae, "scheduler": d.CogVideoXDDIMScheduler()}


def _hunyuan_text(from_image: bool) -> Any:
    t = _library("transformers")

    text = t.LlamaConfig(**_sizes(), num_attention_heads=4, bos_token_id=3, eos_token_id=1, pad_token_id=0)
    if not from_image:
        return t.LlamaModel(text)
    vision = t.CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        projection_dim=32,
        num_attention_heads=2,
        num_hidden_layers=2,
        image_size=336,
        patch_size=14,
    )
    image = _tokens().convert_tokens_to_ids("<image>")
    return t.LlavaForConditionalGeneration(
        t.LlavaConfig(vision_config=vision, text_config=text, pad_token_id=0, image_token_index=image)
    )


def _hunyuan(name: str) -> dict[str, Any]:
    d = _library("diffusers")

    from_image = "ImageToVideo" in name
    transformer = d.HunyuanVideoTransformer3DModel(
        in_channels=9 if from_image else 4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=not from_image,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        image_condition_type="latent_concat" if from_image else None,
    )
    vae = d.AutoencoderKLHunyuanVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        act_fn="silu",
        norm_num_groups=4,
        scaling_factor=0.476986,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
        mid_block_add_attention=True,
    )
    clip = _clip_text()
    return {
        "tokenizer": _tokens(begin="<s>"),
        "text_encoder": _hunyuan_text(from_image),
        "tokenizer_2": clip["tokenizer"],
        "text_encoder_2": clip["text_encoder"],
        "transformer": transformer,
        "vae": vae,
        "scheduler": _flow(shift=7.0),
        **({"image_processor": _pixels(336)} if from_image else {}),
    }


def _hunyuan15(name: str) -> dict[str, Any]:
    d = _library("diffusers")
    guiders = _library("diffusers.guiders")
    t = _library("transformers")

    from_image = "ImageToVideo" in name
    transformer = d.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=1,
        patch_size_t=1,
        text_embed_dim=16,
        text_embed_2_dim=TEXT_WIDTH,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=16,
        task_type="i2v" if from_image else "t2v",
    )
    vae = d.AutoencoderKLHunyuanVideo15(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 16),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=2,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    text = t.Qwen2_5_VLTextConfig(
        **_sizes(),
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        rope_scaling={"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
    )
    tokenizer = _tokens(begin="<s>")
    tokenizer.chat_template = "{% for each in messages %}{{ each['content'] }}{% endfor %}"
    vision = t.SiglipVisionConfig(
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=378,
        patch_size=14,
    )
    image = {
        "image_encoder": t.SiglipVisionModel(vision),
        "feature_extractor": t.SiglipImageProcessorPil(size={"height": 378, "width": 378}),
    }
    return {
        "tokenizer": tokenizer,
        "text_encoder": t.Qwen2_5_VLTextModel(text),
        "tokenizer_2": t.ByT5Tokenizer(),
        "text_encoder_2": _byt5(),
        "transformer": transformer,
        "vae": vae,
        "scheduler": _flow(shift=7.0),
        "guider": guiders.ClassifierFreeGuidance(guidance_scale=6.0),
        **(image if from_image else {}),
    }


def _byt5() -> Any:
    t = _library("transformers")

    return t.T5EncoderModel(
        t.T5Config(vocab_size=384, d_model=TEXT_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=0)
    )


def _image_vae() -> Any:
    d = _library("diffusers")

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
    d = _library("diffusers")

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
    d = _library("diffusers")

    return d.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )


def _animatediff(name: str) -> dict[str, Any]:
    d = _library("diffusers")

    adapter = d.MotionAdapter(
        block_out_channels=(8, 8),
        motion_layers_per_block=2,
        motion_norm_num_groups=2,
        motion_num_attention_heads=4,
    )
    return {
        **_clip_text(),
        "unet": _image_unet(),
        "vae": _image_vae(),
        "motion_adapter": adapter,
        "scheduler": _ddim(),
        "feature_extractor": None,
        "image_encoder": None,
    }


def _stable_video(name: str) -> dict[str, Any]:
    d = _library("diffusers")

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
        "image_encoder": _clip_vision(TEXT_WIDTH),
        "feature_extractor": _pixels(),
    }


def _mochi(name: str) -> dict[str, Any]:
    d = _library("diffusers")

    transformer = d.MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        out_channels=None,
        qk_norm="rms_norm",
        text_embed_dim=TEXT_WIDTH,
        time_embed_dim=4,
        activation_fn="swiglu",
        max_sequence_length=16,
    )
    transformer.pos_frequencies.data.normal_(std=0.1)  # it is made without values
    vae = d.AutoencoderKLMochi(
        latent_channels=12,
        out_channels=3,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return {**_t5(), "transformer": transformer, "vae": vae, "scheduler": _flow()}


def _unconditional(name: str) -> dict[str, Any]:
    d = _library("diffusers")

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


def _stable(name: str) -> dict[str, Any]:
    return {
        **_clip_text(),
        "unet": _image_unet(),
        "vae": _image_vae(),
        "scheduler": _ddim(),
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    }


_MAKERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "Wan": _wan,
    "LTX2": _ltx2,
    "LTX": _ltx,
    "CogVideoX": _cogvideox,
    "HunyuanVideo15": _hunyuan15,
    "HunyuanVideo": _hunyuan,
    "AnimateDiff": _animatediff,
    "StableVideo": _stable_video,
    "Mochi": _mochi,
    "DD": _unconditional,
    "StableDiffusion": _stable,
}
