"""Text from GPT-2 and other decoder-only models, for aigc_sdk: generate, stream, score, train, evaluate."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Text from GPT-2 and other decoder-only models: generate, stream, score, train, evaluate",
    artifact="text",
    generator="aigc_sdk_gpt2.model:GPT2",
    trainer="aigc_sdk_gpt2.train:GPT2Trainer",
    evaluator="aigc_sdk_gpt2.evaluate:Perplexity",
    opens=(
        "gpt2",
        "gpt_neo",
        "gpt_neox",
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "phi",
        "phi3",
        "olmo",
        "olmo2",
        "falcon",
        "mamba",
        "mamba2",
        "falcon_mamba",
    ),
)
