"""Speech models of transformers, one small adapter for each family; `hub_models` finds the one for a folder."""

FAMILIES = {
    "vits": "vits:Vits",
    "speecht5": "speecht5:SpeechT5",
    "fastspeech2_conformer": "fastspeech2:FastSpeech2",
    "fastspeech2_conformer_with_hifigan": "fastspeech2:FastSpeech2",
    "bark": "bark:Bark",
    "csm": "csm:Csm",
    "dia": "dia:Dia",
    "vibevoice": "vibevoice:VibeVoice",
    "pocket_tts": "pocket_tts:PocketTTS",
    "higgs_audio_v2": "higgs_audio:HiggsAudio",
}
"""`model_type` of config.json -> module and class here; a module is imported when its model is opened."""
