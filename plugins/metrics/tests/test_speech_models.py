"""Recognisers and speaker encoders: tiny ones, made from configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Audio
from aigc_sdk.errors import DataError, MismatchedFolder, NotAModel, OptionError
from aigc_sdk_metrics.speech import SpeechMetrics
from aigc_sdk_metrics.speech_models import PocketSphinx, Whisper, XVectors

RATE = 16_000
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]


def noise(seconds: float = 1.0, rate: int = RATE, seed: int = 0) -> Audio:
    wave = 0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * rate))).clip(-5, 5)
    return Audio(wave.astype(np.float32), sample_rate=rate)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of two seconds, two languages and 40 words."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    names = [*(f"word{index}" for index in range(40)), *SPECIAL]
    number = {name: index for index, name in enumerate(names)}
    words = Tokenizer(models.WordLevel(number, unk_token="word0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens([AddedToken(each, special=True) for each in SPECIAL])
    end, begin = number[SPECIAL[0]], number[SPECIAL[1]]
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    wide = {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": len(names)}
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": begin}
    lengths = {"max_source_positions": 100, "max_target_positions": 32}
    torch.manual_seed(0)
    network = WhisperForConditionalGeneration(WhisperConfig(**sizes, **wide, **ends, **lengths))
    settings: Any = network.generation_config
    settings._from_model_config = False
    settings.max_length, settings.is_multilingual = 12, True
    settings.lang_to_id = {each: number[each] for each in ("<|en|>", "<|de|>")}
    settings.task_to_id = {"transcribe": number["<|transcribe|>"]}
    settings.no_timestamps_token_id = number["<|notimestamps|>"]
    folder = tmp_path_factory.mktemp("models") / "tiny-whisper"
    network.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIAL[0]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec 2.0 with an x-vector head."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForXVector

    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 5,
    }
    ears = {"conv_dim": (8, 8, 8), "conv_stride": (5, 4, 4), "conv_kernel": (10, 8, 4), "num_feat_extract_layers": 3}
    more = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "tdnn_dim": (8, 8, 8, 8, 16)}
    torch.manual_seed(0)
    network = Wav2Vec2ForXVector(Wav2Vec2Config(**sizes, **ears, **more, xvector_output_dim=12))
    folder = tmp_path_factory.mktemp("models") / "tiny-voices"
    network.save_pretrained(folder)
    return folder


class TestWhisper:
    def test_it_writes_down_the_same_words_each_time(self, whisper: Path) -> None:
        listener = Whisper.open(whisper, device="cpu", language="de")
        first = listener(noise())
        listener(noise(seed=1))
        assert first == listener(noise())
        assert first.startswith("word")
        assert "<|" not in first

    def test_it_hears_what_transformers_hears(self, whisper: Path) -> None:
        import torch
        from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

        network = WhisperForConditionalGeneration.from_pretrained(whisper)
        network.generation_config = GenerationConfig.from_pretrained(whisper)
        features = WhisperFeatureExtractor(chunk_length=2)(noise().samples[0], sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            [tokens] = network.generate(features.input_features, language="en", task="transcribe").tolist()
        own = Whisper.open(whisper, device="cpu", language="en")
        assert own(noise()) == own.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def test_by_path_it_gives_word_error_rates_that_name_it(self, whisper: Path) -> None:
        judge = SpeechMetrics.open(device="cpu")
        options: dict[str, Any] = {"metrics": ("wer", "cer"), "recogniser": str(whisper), "language": "en"}
        report = judge.evaluate([noise(), noise(seed=1)], ["one two", "three"], **options)
        assert "tiny-whisper (" in report["wer"].protocol
        assert "language en" in report["wer"].protocol
        assert str(whisper.parent) not in report["wer"].protocol
        assert report.rows[0]["transcript"].startswith("word")

    def test_more_sound_than_it_hears_is_refused(self, whisper: Path) -> None:
        with pytest.raises(DataError, match=r"2\.5 s, and Whisper hears 2 s"):
            Whisper.open(whisper, device="cpu")(noise(2.5))

    def test_another_sample_rate_is_refused(self, whisper: Path) -> None:
        with pytest.raises(DataError, match="sample_rate=16000"):
            Whisper.open(whisper, device="cpu")(noise(rate=24_000))

    def test_a_language_that_it_does_not_know_is_refused(self, whisper: Path) -> None:
        with pytest.raises(OptionError, match="told de, en"):
            Whisper.open(whisper, device="cpu", language="xx")

    def test_a_folder_of_another_model_is_refused(self, voices: Path, tmp_path: Path) -> None:
        with pytest.raises(MismatchedFolder, match="wav2vec2"):
            Whisper.open(voices, device="cpu")
        with pytest.raises(NotAModel):
            Whisper.open(tmp_path / "none", device="cpu")


class TestXVectors:
    def test_a_voice_is_like_itself(self, voices: Path) -> None:
        judge = SpeechMetrics.open(device="cpu")
        options: dict[str, Any] = {"metrics": ("speaker_similarity",), "speaker_encoder": str(voices)}
        report = judge.evaluate([noise(), noise(seed=1)], [noise(), noise(seed=2)], **options)
        assert report.rows[0]["speaker_similarity[tiny-voices]"] == pytest.approx(1)
        assert report.rows[1]["speaker_similarity[tiny-voices]"] < 1

    def test_it_makes_the_vectors_that_transformers_makes(self, voices: Path) -> None:
        import torch
        from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForXVector

        heard = Wav2Vec2FeatureExtractor()(noise().samples[0], sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            expected = Wav2Vec2ForXVector.from_pretrained(voices)(**heard).embeddings[0].numpy()
        assert XVectors.open(voices, device="cpu")(noise()) == pytest.approx(expected, abs=1e-5)

    def test_the_shortest_sound_makes_a_vector_and_a_shorter_one_is_refused(self, voices: Path) -> None:
        encoder = XVectors.open(voices, device="cpu")
        shortest = encoder.shortest / RATE
        assert np.isfinite(encoder(noise(shortest))).all()
        with pytest.raises(DataError, match="leave it out"):
            encoder(noise(shortest - 1 / RATE))


class TestPocketSphinx:
    def test_what_it_hears_does_not_depend_on_what_it_heard_before(self) -> None:
        pytest.importorskip("pocketsphinx")
        listener = PocketSphinx()
        time = np.arange(2 * RATE) / RATE
        swell = 0.5 * np.sin(2 * np.pi * 2 * time) ** 2
        vowels = [
            sum(np.sin(2 * np.pi * 120 * k * time) * np.exp(-(((120 * k - f) / 200) ** 2)) for k in range(1, 30))
            for f in (500, 1200)
        ]
        sounds = [Audio((swell * each / 4)[None].astype(np.float32), sample_rate=RATE) for each in vowels]
        there, back = [listener(each) for each in sounds], [listener(each) for each in sounds[::-1]]
        assert there == back[::-1]
        assert all(there)

    def test_silence_is_heard_as_nothing(self) -> None:
        pytest.importorskip("pocketsphinx")
        assert PocketSphinx()(Audio(np.zeros((1, RATE), np.float32), sample_rate=RATE)) == ""

    def test_by_name_it_gives_word_error_rates(self) -> None:
        pytest.importorskip("pocketsphinx")
        options: dict[str, Any] = {"metrics": ("wer",), "recogniser": "pocketsphinx", "sample_rate": RATE}
        report = SpeechMetrics.open().evaluate([noise(rate=22_050)], ["some words"], **options)
        assert report["wer"].value == 1
        assert "pocketsphinx 5" in report["wer"].protocol
