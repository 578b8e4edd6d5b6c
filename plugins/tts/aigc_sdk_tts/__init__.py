"""Speech from text, for aigc_sdk: generate, stream, train, evaluate."""

from aigc_sdk import Backend

__version__ = "0.1.0"

backend = Backend(
    summary="Speech from text: generate, stream, train, evaluate; with a voice of its own, or any of transformers'",
    artifact="audio",
    generator="aigc_sdk_tts.model:TTS",
    trainer="aigc_sdk_tts.train:TTSTrainer",
    evaluator="aigc_sdk_tts.evaluate:SpeechJudge",
    opens=(
        "aigc_tts",
        "vits",
        "speecht5",
        "fastspeech2_conformer",
        "fastspeech2_conformer_with_hifigan",
        "bark",
        "csm",
        "dia",
        "vibevoice",
        "pocket_tts",
        "higgs_audio_v2",
    ),
)
