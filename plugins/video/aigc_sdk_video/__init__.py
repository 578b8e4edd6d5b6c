"""Films for aigc_sdk: small models that train on a CPU, and diffusers' pipelines for films and pictures."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Films: small models that train and generate on a CPU, and diffusers' pipelines; generate, train, evaluate",
    artifact="video",
    generator="aigc_sdk_video.model:Video",
    trainer="aigc_sdk_video.train:VideoTrainer",
    evaluator="aigc_sdk_video.evaluate:VideoJudge",
    opens=(
        "aigc_video",
        "WanPipeline",
        "WanImageToVideoPipeline",
        "WanVideoToVideoPipeline",
        "LTXPipeline",
        "LTXImageToVideoPipeline",
        "LTX2Pipeline",
        "LTX2ImageToVideoPipeline",
        "CogVideoXPipeline",
        "CogVideoXImageToVideoPipeline",
        "CogVideoXVideoToVideoPipeline",
        "HunyuanVideoPipeline",
        "HunyuanVideoImageToVideoPipeline",
        "HunyuanVideo15Pipeline",
        "HunyuanVideo15ImageToVideoPipeline",
        "AnimateDiffPipeline",
        "AnimateDiffVideoToVideoPipeline",
        "StableVideoDiffusionPipeline",
        "MochiPipeline",
    ),
)

still = Backend(
    summary="Pictures from diffusers' pipelines: text to image, image to image, inpainting",
    artifact="image",
    generator="aigc_sdk_video.pipelines.model:ImagePipeline",
    trainer="aigc_sdk_video.pipelines.lora:LoRATrainer",
    opens=(
        "DDPMPipeline",
        "DDIMPipeline",
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
    ),
)
