"""What several tiny pipelines have: tokenizers, text encoders, encoders of pictures, a schedule."""

from __future__ import annotations

from importlib import import_module
from typing import Any

TEXT_WIDTH = 32
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>")


def library(name: str) -> Any:
    """A module whose classes have no types."""
    return import_module(name)


def tokens(kind: type[Any] | None = None, begin: str | None = None) -> Any:
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
    found.add_special_tokens(list(HEADERS))
    return (kind or PreTrainedTokenizerFast)(
        tokenizer_object=found,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=77,
    )


def sizes() -> dict[str, Any]:
    """Of a text encoder of transformers."""
    return {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 37, "num_hidden_layers": 2}


def t5(kind: str = "T5") -> dict[str, Any]:
    """A T5 encoder, or a UMT5, and its tokenizer."""
    t = library("transformers")

    sizes = {"vocab_size": 300, "d_model": TEXT_WIDTH, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
    return {
        "tokenizer": tokens(),
        "text_encoder": getattr(t, f"{kind}EncoderModel")(getattr(t, f"{kind}Config")(**sizes)),
    }


def clip_text() -> dict[str, Any]:
    """A CLIP text encoder and its tokenizer."""
    t = library("transformers")

    config = t.CLIPTextConfig(
        **{**sizes(), "hidden_size": 8}, num_attention_heads=4, bos_token_id=3, eos_token_id=1, pad_token_id=0
    )
    return {"tokenizer": tokens(begin="<s>"), "text_encoder": t.CLIPTextModel(config)}


def clip_vision(width: int) -> Any:
    """A CLIP encoder of pictures."""
    t = library("transformers")

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


def pixels(size: int = 224) -> Any:
    """What brings a picture to the size that a CLIP encoder takes."""
    t = library("transformers")

    return t.CLIPImageProcessorPil(
        crop_size={"height": size, "width": size}, size={"shortest_edge": size}, do_resize=True, do_center_crop=True
    )


def flow(**own: Any) -> Any:
    """A schedule of flow matching."""
    d = library("diffusers")

    return d.FlowMatchEulerDiscreteScheduler(**own)
