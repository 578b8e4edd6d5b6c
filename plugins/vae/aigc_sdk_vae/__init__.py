"""Pictures from variational autoencoders, for aigc_sdk: generate, encode, compress, train, evaluate."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Pictures from variational autoencoders: generate, encode, compress, train, evaluate",
    artifact="image",
    generator="aigc_sdk_vae.model:VAE",
    trainer="aigc_sdk_vae.train:VAETrainer",
    evaluator="aigc_sdk_vae.evaluate:Likelihood",
    opens=("aigc_vae",),
)
