"""The parts of tiny pipelines of HunyuanVideo and HunyuanVideo 1.5, as those of the other families in tiny_films.py."""

from __future__ import annotations

from typing import Any

from .tiny_parts import TEXT_WIDTH, clip_text, flow, library, pixels, sizes, tokens


def _hunyuan_text(from_image: bool) -> Any:
    t = library("transformers")

    text = t.LlamaConfig(**sizes(), num_attention_heads=4, bos_token_id=3, eos_token_id=1, pad_token_id=0)
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
    image = tokens().convert_tokens_to_ids("<image>")
    return t.LlavaForConditionalGeneration(
        t.LlavaConfig(vision_config=vision, text_config=text, pad_token_id=0, image_token_index=image)
    )


def hunyuan(name: str) -> dict[str, Any]:
    d = library("diffusers")

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
    clip = clip_text()
    return {
        "tokenizer": tokens(begin="<s>"),
        "text_encoder": _hunyuan_text(from_image),
        "tokenizer_2": clip["tokenizer"],
        "text_encoder_2": clip["text_encoder"],
        "transformer": transformer,
        "vae": vae,
        "scheduler": flow(shift=7.0),
        **({"image_processor": pixels(336)} if from_image else {}),
    }


def hunyuan15(name: str) -> dict[str, Any]:
    d = library("diffusers")
    guiders = library("diffusers.guiders")
    t = library("transformers")

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
        **sizes(),
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        rope_scaling={"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
    )
    tokenizer = tokens(begin="<s>")
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
        "scheduler": flow(shift=7.0),
        "guider": guiders.ClassifierFreeGuidance(guidance_scale=6.0),
        **(image if from_image else {}),
    }


def _byt5() -> Any:
    t = library("transformers")

    return t.T5EncoderModel(
        t.T5Config(vocab_size=384, d_model=TEXT_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=0)
    )
