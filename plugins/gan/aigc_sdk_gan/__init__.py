"""Pictures from generative adversarial networks, for aigc_sdk: generate, edit, train, evaluate."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Pictures from generative adversarial networks: generate, edit, train, evaluate",
    artifact="image",
    generator="aigc_sdk_gan.model:GAN",
    trainer="aigc_sdk_gan.train:GANTrainer",
    evaluator="aigc_sdk_gan.judge:Judge",
    opens=("aigc_gan",),
)
