"""Tiny models of transformers with random weights, as folders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

SHOWN = ("TestVits", "TestSpeechT5")
LETTERS = "abcdefghijklmnopqrstuvwxyz' "
HIFIGAN: dict[str, Any] = {
    "upsample_initial_channel": 16,
    "upsample_rates": [4, 4],
    "upsample_kernel_sizes": [8, 8],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
}


def hifigan(rate: int) -> dict[str, Any]:
    """Sizes of a vocoder with `rate` squared samples per frame."""
    return {**HIFIGAN, "upsample_rates": [rate, rate], "upsample_kernel_sizes": [2 * rate, 2 * rate]}


@pytest.fixture
def tiny() -> SimpleNamespace:
    """One function for each family; it fills a folder and returns it."""
    return SimpleNamespace(
        vits=vits,
        fastspeech2=fastspeech2,
        speecht5=speecht5,
        bark=bark,
        csm=csm,
        dia=dia,
        vibevoice=vibevoice,
        pocket_tts=pocket_tts,
        higgs_audio=higgs_audio,
    )


def seeded(make: Any, seed: int = 0) -> Any:
    """What `make` returns, its weights drawn from `seed`; the global random state stays as it is."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    made = make()
    for name, each in made.named_buffers():  # codebooks are zeros at first
        if name.rpartition(".")[2] in ("embed", "embed_sum"):
            each.normal_()
    torch.set_rng_state(state)
    return made.eval()


def vits(folder: Path, *, speakers: int = 1, stochastic: bool = True, **settings: Any) -> Path:
    from transformers import VitsConfig, VitsModel

    config = VitsConfig(
        vocab_size=len(LETTERS) + 1,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=17,
        posterior_encoder_num_wavenet_layers=1,
        prior_encoder_num_wavenet_layers=1,
        prior_encoder_num_flows=2,
        duration_predictor_num_flows=2,
        duration_predictor_flow_bins=4,
        depth_separable_num_layers=1,
        wavenet_dilation_rate=1,
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        use_stochastic_duration_prediction=stochastic,
        speaking_rate=0.2,
        **HIFIGAN,
    )
    seeded(lambda: VitsModel(config)).save_pretrained(folder)
    vocabulary = {"<pad>": 0, **{letter: index + 1 for index, letter in enumerate(LETTERS)}}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = {"add_blank": True, "normalize": True, "phonemize": False, "is_uroman": False, "language": "eng"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, **settings}))
    return folder


def fastspeech2(folder: Path, *, inside: bool = True, rate: int = 4, **settings: Any) -> Path:
    from transformers import (
        FastSpeech2ConformerConfig,
        FastSpeech2ConformerHifiGan,
        FastSpeech2ConformerHifiGanConfig,
        FastSpeech2ConformerModel,
        FastSpeech2ConformerWithHifiGan,
        FastSpeech2ConformerWithHifiGanConfig,
    )

    from aigc_sdk_tts.front import SYMBOLS

    tokens = ["<blank>", "<unk>", *SYMBOLS, ",", ".", "?", "!", "<sos/eos>"]
    narrow = {f"{part}_predictor_channels": 16 for part in ("duration", "energy", "pitch")}
    config = FastSpeech2ConformerConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_mel_bins=20,
        encoder_layers=1,
        decoder_layers=1,
        encoder_linear_units=32,
        decoder_linear_units=32,
        speech_decoder_postnet_units=16,
        speech_decoder_postnet_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        **narrow,
        **settings,
    )
    vocoder = FastSpeech2ConformerHifiGanConfig(model_in_dim=20, **hifigan(rate))
    if inside:
        both = FastSpeech2ConformerWithHifiGanConfig(model_config=config.to_dict(), vocoder_config=vocoder.to_dict())
        made = seeded(lambda: FastSpeech2ConformerWithHifiGan(both))
        _longer(made.model)
    else:
        made = seeded(lambda: FastSpeech2ConformerModel(config))
        _longer(made)
        seeded(lambda: FastSpeech2ConformerHifiGan(vocoder), 1).save_pretrained(folder / "vocoder")
    made.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"should_strip_spaces": True, "eos_token": "<sos/eos>"}))
    return folder


def _longer(network: Any) -> None:
    """Phonemes of some frames; those of random weights have none."""
    with torch.no_grad():
        network.duration_predictor.linear.bias.fill_(2.0)


def speecht5(folder: Path, *, rate: int = 4) -> Path:
    from safetensors.torch import save_file
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5HifiGanConfig

    tokenizer = characters(LETTERS + ".,?!")
    config = SpeechT5Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=20,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16,
        speech_decoder_postnet_layers=2,
        speech_decoder_prenet_layers=2,
        speaker_embedding_dim=16,
        max_text_positions=400,
    )
    vocoder = SpeechT5HifiGanConfig(model_in_dim=20, **hifigan(rate))
    made = seeded(lambda: SpeechT5ForTextToSpeech(config))
    with torch.no_grad():  # loud enough that what is dropped out can be heard
        for each in made.speecht5.decoder.prenet.parameters():
            each.mul_(20).add_(0.1)
        made.speech_decoder_postnet.prob_out.bias.fill_(-5.0)  # and it goes on until it is stopped
    made.save_pretrained(folder)
    seeded(lambda: SpeechT5HifiGan(vocoder), 1).save_pretrained(folder / "vocoder")
    rng = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(16, generator=rng) for name in ("ada", "ben")}, folder / "voices.safetensors")
    tokenizer.save_pretrained(folder)
    return folder


def characters(letters: str, special: tuple[str, ...] = ()) -> Any:
    """A tokenizer of characters."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    first = ["<pad>", "<unk>", "<s>", "</s>", *special]
    vocabulary = {token: index for index, token in enumerate([*first, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", vocabulary["</s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(special),
    )


def bark(folder: Path) -> Path:
    from safetensors.torch import save_file
    from transformers import (
        BarkCoarseConfig,
        BarkConfig,
        BarkFineConfig,
        BarkModel,
        BarkSemanticConfig,
        EncodecConfig,
        GenerationConfig,
    )

    sizes: dict[str, Any] = {"block_size": 128, "num_layers": 1, "num_heads": 2, "hidden_size": 16}
    codec = EncodecConfig(
        num_filters=4,
        upsampling_ratios=[4, 2],
        codebook_size=16,
        hidden_size=16,
        num_residual_layers=1,
        target_bandwidths=[96.0],
        kernel_size=5,
    )
    config = BarkConfig(
        semantic_config=BarkSemanticConfig(input_vocab_size=200, output_vocab_size=42, **sizes).to_dict(),
        coarse_acoustics_config=BarkCoarseConfig(input_vocab_size=100, output_vocab_size=100, **sizes).to_dict(),
        fine_acoustics_config=BarkFineConfig(
            input_vocab_size=17, output_vocab_size=17, n_codes_given=1, **sizes
        ).to_dict(),
        codec_config=codec.to_dict(),
    )
    made = seeded(lambda: BarkModel(config))
    made.generation_config = GenerationConfig(
        semantic_config={
            "text_encoding_offset": 60, "text_pad_token": 190, "semantic_infer_token": 191, "semantic_vocab_size": 40,
            "semantic_pad_token": 40, "eos_token_id": 40, "max_input_semantic_length": 64, "max_new_tokens": 32, "do_sample": True,
        },
        coarse_acoustics_config={
            "coarse_semantic_pad_token": 80, "coarse_infer_token": 81, "max_coarse_history": 20,
            "max_coarse_input_length": 32, "sliding_window_len": 10, "do_sample": True,
        },
        fine_acoustics_config={"max_fine_history_length": 32, "max_fine_input_length": 64, "temperature": 0.5},
        codebook_size=16,
        sample_rate=24_000,
    )  # fmt: skip
    made.save_pretrained(folder)
    characters(LETTERS + ".,?!").save_pretrained(folder)
    rng = torch.Generator().manual_seed(0)
    prompts = {"semantic_prompt": (20,), "coarse_prompt": (2, 30), "fine_prompt": (8, 30)}
    voices = {f"ada.{part}": torch.randint(0, 16, shape, generator=rng) for part, shape in prompts.items()}
    save_file(voices, folder / "voices.safetensors")
    return folder


def mimi(codebooks: int) -> Any:
    from transformers import MimiConfig

    return MimiConfig(
        sampling_rate=16_000,
        frame_rate=None,
        num_filters=4,
        hidden_size=16,
        num_residual_layers=1,
        upsampling_ratios=[8, 8],
        codebook_size=16,
        codebook_dim=8,
        vector_quantization_hidden_dimension=8,
        num_quantizers=codebooks,
        num_semantic_quantizers=1,
        upsample_groups=1,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=16,
        sliding_window=20,
    )


def csm(folder: Path) -> Path:
    from transformers import CsmConfig, CsmDepthDecoderConfig, CsmForConditionalGeneration, GenerationConfig

    tokenizer = characters(LETTERS + ".,?![]0123456789")
    sizes: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 20, "num_codebooks": 4,
    }  # fmt: skip
    depth = CsmDepthDecoderConfig(backbone_hidden_size=32, max_position_embeddings=5, **sizes)
    config = CsmConfig(
        text_vocab_size=len(tokenizer) + 2, max_position_embeddings=600, pad_token_id=0, bos_token_id=2,
        codebook_pad_token_id=18, codebook_eos_token_id=17, audio_token_id=len(tokenizer),
        audio_eos_token_id=len(tokenizer) + 1, depth_decoder_config=depth.to_dict(), codec_config=mimi(4).to_dict(), **sizes,
    )  # fmt: skip
    made = seeded(lambda: CsmForConditionalGeneration(config))
    made.generation_config = GenerationConfig(do_sample=True, bos_token_id=2, pad_token_id=18)
    made.depth_decoder.generation_config = GenerationConfig(do_sample=True, min_new_tokens=3, max_new_tokens=3)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def dia(folder: Path) -> Path:
    from transformers import (
        DacConfig,
        DacModel,
        DiaConfig,
        DiaDecoderConfig,
        DiaEncoderConfig,
        DiaForConditionalGeneration,
        GenerationConfig,
    )

    sizes: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16,
    }  # fmt: skip
    cross = {
        "cross_num_attention_heads": 2,
        "cross_num_key_value_heads": 2,
        "cross_head_dim": 16,
        "cross_hidden_size": 32,
    }
    special = {"pad_token_id": 17, "eos_token_id": 16, "bos_token_id": 18}
    decoder = DiaDecoderConfig(num_channels=3, vocab_size=20, max_position_embeddings=600, **sizes, **cross, **special)
    config = DiaConfig(
        encoder_config=DiaEncoderConfig(max_position_embeddings=200, **sizes).to_dict(), decoder_config=decoder.to_dict(),
        delay_pattern=[0, 2, 3], **special,
    )  # fmt: skip
    made = seeded(lambda: DiaForConditionalGeneration(config))
    made.generation_config = GenerationConfig(do_sample=True, guidance_scale=3.0, temperature=1.2, top_k=8, **special)
    made.save_pretrained(folder)
    codec = DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[4, 4], decoder_hidden_size=16, upsampling_ratios=[4, 4],
        n_codebooks=3, codebook_size=16, codebook_dim=4, hidden_size=16, sampling_rate=16_000,
    )  # fmt: skip
    seeded(lambda: DacModel(codec)).save_pretrained(folder / "audio_tokenizer")
    return folder


QWEN: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


def vibevoice(folder: Path) -> Path:
    from transformers import (
        AutoConfig,
        GenerationConfig,
        VibeVoiceAcousticTokenizerFeatureExtractor,
        VibeVoiceConfig,
        VibeVoiceForConditionalGeneration,
    )

    marks = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|endoftext|>")
    tokenizer = characters(LETTERS + ".,:0123456789\n", marks)
    begin, end, pad, stop = tokenizer.convert_tokens_to_ids(list(marks))
    codec = {"num_filters": 4, "downsampling_ratios": [8, 8], "depths": [1, 1, 1], "ffn_expansion": 1}
    config = VibeVoiceConfig(
        text_config=AutoConfig.for_model("qwen2", vocab_size=len(tokenizer), max_position_embeddings=900, **QWEN).to_dict(),
        audio_config={"model_type": "vibevoice_acoustic_tokenizer", "hidden_size": 8, **codec},
        semantic_model_config={"model_type": "vibevoice_acoustic_tokenizer_encoder", "hidden_size": 8, **codec},
        diffusion_head_config={"num_hidden_layers": 1, "intermediate_size": 32, "frequency_embedding_size": 16},
        audio_bos_token_id=begin, audio_eos_token_id=end, audio_token_id=pad, eos_token_id=stop, pad_token_id=stop,
    )  # fmt: skip
    made = seeded(lambda: VibeVoiceForConditionalGeneration(config))
    with torch.no_grad():  # it goes on until it is stopped: one number is large wherever it is, and asks for more
        made.model.language_model.embed_tokens.weight[:, 0] = 20.0
        for each in (made.model.multi_modal_projector, made.model.semantic_connector):
            list(each.parameters())[-1][0] = 20.0
        made.lm_head.weight[pad, 0] = 20.0
        made.model.audio_tower.decoder.head.conv.weight.mul_(30)  # loud enough to be heard
    made.generation_config = GenerationConfig(
        eos_token_id=stop, pad_token_id=stop, guidance_scale=1.3, num_diffusion_steps=2,
        noise_scheduler_class="DPMSolverMultistepScheduler",
        noise_scheduler_config={"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
    )  # fmt: skip
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    VibeVoiceAcousticTokenizerFeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


def pocket_tts(folder: Path, *, voices: bool = True) -> Path:
    from safetensors.torch import save_file
    from transformers import (
        GenerationConfig,
        PocketTTSAudioTokenizerConfig,
        PocketTTSAudioTokenizerModel,
        PocketTTSConfig,
        PocketTTSForConditionalGeneration,
    )

    marks = ("<voice>", "<latent>", "<voice_start>", "<audio_start>")
    tokenizer = characters(LETTERS + ".,?!", marks)
    voice, latent, before, begin = tokenizer.convert_tokens_to_ids(list(marks))
    config = PocketTTSConfig(
        flow_head_config={
            "hidden_size": 16, "num_hidden_layers": 1, "latent_dim": 8, "condition_dim": 32, "frequency_embedding_size": 16,
        },
        vocab_size=len(tokenizer), latent_dim=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=900, audio_prompt_token_id=voice, audio_latent_token_id=latent,
        audio_prompt_bos_token_id=before, audio_bos_token_id=begin, pad_token_id=0,
    )  # fmt: skip
    made = seeded(lambda: PocketTTSForConditionalGeneration(config))
    with torch.no_grad():
        made.eos_head.bias.fill_(-20.0)  # it goes on until it is stopped
        for each in made.flow_head.parameters():
            each.add_(0.02)
    made.generation_config = GenerationConfig(do_sample=True, temperature=0.7, num_flow_steps=1, eos_threshold=-4.0)
    made.save_pretrained(folder)
    codec = PocketTTSAudioTokenizerConfig(
        sampling_rate=16_000, hidden_size=16, num_filters=4, upsampling_ratios=[4, 4], upsample_groups=1, num_hidden_layers=1,
        intermediate_size=16, num_attention_heads=2, num_key_value_heads=2, latent_stride=4, latent_dim=8, sliding_window=20,
    )  # fmt: skip
    quiet = seeded(lambda: PocketTTSAudioTokenizerModel(codec))
    quiet.latent_proj.weight.data.mul_(0.05)
    quiet.save_pretrained(folder / "audio_tokenizer")
    tokenizer.save_pretrained(folder)
    if voices:
        rng = torch.Generator().manual_seed(0)
        save_file({name: torch.randn(6, 8, generator=rng) for name in ("ada", "ben")}, folder / "voices.safetensors")
    return folder


def higgs_audio(folder: Path) -> Path:
    from transformers import (
        GenerationConfig,
        HiggsAudioV2Config,
        HiggsAudioV2ForConditionalGeneration,
        HiggsAudioV2TokenizerConfig,
    )

    from aigc_sdk_tts.families.higgs_audio import MARKS
    from aigc_sdk_tts.families.higgs_codec import HiggsCodec

    marks = (
        *MARKS, "<|scene_desc_start|>", "<|scene_desc_end|>", "<|AUDIO_OUT|>", "<|audio_out_bos|>", "<|delay|>",
    )  # fmt: skip
    tokenizer = characters(LETTERS + ".,?!\n", marks)
    token, begin, late = tokenizer.convert_tokens_to_ids(list(marks[-3:]))
    config = HiggsAudioV2Config(
        vocab_size=len(tokenizer), max_position_embeddings=900, num_codebooks=3, codebook_size=18, audio_token_id=token,
        audio_bos_token_id=begin, audio_delay_token_id=late, audio_stream_bos_id=16, audio_stream_eos_id=17, pad_token_id=0,
        bos_token_id=2, eos_token_id=tokenizer.convert_tokens_to_ids("<|eot_id|>"),
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        **QWEN,
    )  # fmt: skip
    made = seeded(lambda: HiggsAudioV2ForConditionalGeneration(config))
    made.generation_config = GenerationConfig(do_sample=True, eos_token_id=config.eos_token_id, pad_token_id=0)
    made.save_pretrained(folder)
    hubert: dict[str, Any] = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8, 8],
        "conv_kernel": [20, 8], "conv_stride": [16, 4], "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    dac = {
        "encoder_hidden_size": 4, "downsampling_ratios": [8, 8], "decoder_hidden_size": 16, "upsampling_ratios": [8, 8],
        "hidden_size": 16, "n_codebooks": 3, "codebook_size": 16, "codebook_dim": 4, "sampling_rate": 16_000,
    }  # fmt: skip
    codec = HiggsAudioV2TokenizerConfig(
        target_bandwidths=[3.0], sample_rate=16_000, codebook_size=16, codebook_dim=8, acoustic_model_config=dac,
        semantic_model_config=hubert, semantic_sample_rate=16_000, downsample_factor=64,
    )  # fmt: skip
    encoder = {"fc.weight": torch.ones(2, 2)}  # of which nothing is read
    seeded(lambda: HiggsCodec(codec, encoder), 1).save(folder / "audio_tokenizer")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.hookimpl(tryfirst=True)  # before pytest leaves the slow ones out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All families open through one door, so two show each time that another process can, and `make gauntlet` all."""
    for item in items:
        path, *names = item.nodeid.split("::")
        contract = path.endswith("hub/test_hub_contract.py")
        if contract and names[-1] == "test_a_saved_model_opens_in_another_process" and names[0] not in SHOWN:
            item.add_marker(pytest.mark.slow)
