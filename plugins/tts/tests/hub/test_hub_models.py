"""What transformers' speech models do here beside the contract: agreement with transformers, refusals, cloning."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import (
    ContextOverflow,
    CorruptFolder,
    InputError,
    MismatchedFolder,
    NotAModel,
    OptionError,
    PromptError,
)
from aigc_sdk_tts.families import FAMILIES
from aigc_sdk_tts.families.hifigan import Vocoder
from aigc_sdk_tts.hub_models import SpeechModel, sentences
from aigc_sdk_tts.model import TTS

SHORT: dict[str, dict[str, Any]] = {
    "vits": {},
    "fastspeech2": {},
    "speecht5": {"max_seconds": 0.1},
    "bark": {"max_seconds": 0.2},
    "csm": {"max_seconds": 0.05},
    "dia": {"max_seconds": 0.03},
    "vibevoice": {"max_seconds": 0.02},
    "pocket_tts": {"max_seconds": 0.05},
    "higgs_audio": {"max_seconds": 0.05},
}
CONSENT = "Ada herself, in writing on 3 May"


def opened(tiny: SimpleNamespace, tmp_path: Path, family: str, **settings: Any) -> SpeechModel:
    return SpeechModel.open(getattr(tiny, family)(tmp_path / family, **settings), device="cpu")


@pytest.fixture
def recording(tmp_path: Path) -> str:
    times = np.arange(16_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)
    return str(Audio(tone[None], sample_rate=16_000).save(tmp_path / "ada.wav"))


@pytest.mark.parametrize("family", SHORT)
def test_the_default_generator_opens_a_folder_of_each_family(
    tiny: SimpleNamespace, tmp_path: Path, family: str
) -> None:
    model: Any = TTS.open(getattr(tiny, family)(tmp_path / family), device="cpu")
    assert isinstance(model, SpeechModel)
    [speech] = model.generate("hello there", seed=1, **SHORT[family])
    assert speech.duration > 0


def test_vits_says_what_transformers_says_from_the_same_seed(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import VitsModel

    for stochastic in (True, False):
        folder = tiny.vits(tmp_path / str(stochastic), stochastic=stochastic)
        model: Any = SpeechModel.open(folder, device="cpu")
        theirs = VitsModel.from_pretrained(folder).eval()
        inputs = model.family.tokenizer("hello there world", return_tensors="pt")
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(3)
            wanted = theirs(**inputs).waveform.numpy()
        [speech] = model.generate("hello there world", seed=3)
        np.testing.assert_allclose(speech.samples, wanted, atol=1e-4)


def test_fastspeech2_says_what_transformers_says(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import FastSpeech2ConformerWithHifiGan

    model: Any = opened(tiny, tmp_path, "fastspeech2")
    theirs = FastSpeech2ConformerWithHifiGan.from_pretrained(tmp_path / "fastspeech2").eval()
    ids, _ = model.family._tokens("Hello there world.")
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).waveform.numpy()
    [speech] = model.generate("Hello there world.", seed=0)
    np.testing.assert_allclose(speech.samples, wanted, atol=1e-4)


def test_speecht5_says_what_transformers_says_from_the_same_seed(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import SpeechT5ForTextToSpeech

    model: Any = opened(tiny, tmp_path, "speecht5")
    theirs = SpeechT5ForTextToSpeech.from_pretrained(tmp_path / "speecht5").eval()
    ids = torch.tensor([model.family._ids("hello there")])
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        wanted = theirs.generate_speech(ids, model.family.voices["ada"][None], vocoder=model.family.hifigan).numpy()
    [speech] = model.generate("hello there", seed=3, max_seconds=0.1)
    assert speech.info["finish_reason"] == "length"
    [samples] = speech.samples[:, :1200]  # the last ones hear that it was stopped
    np.testing.assert_allclose(samples, wanted[:1200], atol=1e-4)


def test_pockettts_says_what_transformers_says_from_the_same_seed(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import PocketTTSAudioTokenizerModel, PocketTTSForConditionalGeneration

    model: Any = opened(tiny, tmp_path, "pocket_tts")
    theirs: Any = PocketTTSForConditionalGeneration.from_pretrained(tmp_path / "pocket_tts").eval()
    codec: Any = PocketTTSAudioTokenizerModel.from_pretrained(tmp_path / "pocket_tts" / "audio_tokenizer").eval()
    config, voice = theirs.config, model.family.voices["ben"]
    text = model.family.tokenizer("Hello there world and all.", add_special_tokens=False)["input_ids"]
    ids = [
        config.audio_prompt_bos_token_id,
        *[config.audio_prompt_token_id] * len(voice),
        *text,
        config.audio_bos_token_id,
    ]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        made = theirs.generate(
            torch.tensor([ids]), audio_prompt_latents=voice[None], frames_after_eos=2, max_new_tokens=12,
            return_dict_in_generate=True,
        )  # fmt: skip
        wanted = codec.decode(made.audio_latents).audio_values[0].numpy()
    [speech] = model.generate("hello there world and all", seed=3, voice="ben", max_seconds=0.05)
    np.testing.assert_allclose(speech.samples[:, 80:], wanted[:, 80:].clip(-1, 1), atol=1e-4)  # after 5 ms of fading in


def test_vibevoice_says_what_transformers_says_from_the_same_seed(
    tiny: SimpleNamespace, tmp_path: Path, recording: str
) -> None:
    from transformers import VibeVoiceForConditionalGeneration

    model: Any = opened(tiny, tmp_path, "vibevoice")
    theirs: Any = VibeVoiceForConditionalGeneration.from_pretrained(tmp_path / "vibevoice").eval()
    cloned = {"reference": recording, "consent": CONSENT, "max_seconds": 0.02}
    inputs = model.family._inputs("hello there", model.Options(**cloned))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        [wanted] = theirs.generate(**inputs, max_new_tokens=5)
    [speech] = model.generate("hello there", seed=3, **cloned)
    np.testing.assert_allclose(speech.samples, wanted.reshape(1, -1).numpy(), atol=1e-5)


def test_higgs_audio_undoes_the_delays_of_its_books(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import HiggsAudioV2ForConditionalGeneration

    model: Any = opened(tiny, tmp_path, "higgs_audio")
    theirs: Any = HiggsAudioV2ForConditionalGeneration.from_pretrained(tmp_path / "higgs_audio").eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        [rows] = theirs.generate(torch.tensor([model.family._ids("hello there")]), max_new_tokens=15)
    assert (rows[0] == 16).all()  # where the stream begins
    ended = (rows == 17).all(1).nonzero().flatten().tolist()
    rows = rows[1 : ended[0] if ended else len(rows)]
    codes = torch.stack([rows[:, 0], rows[:, 1].roll(-1), rows[:, 2].roll(-2)])[:, : len(rows) - 2]
    wanted = model.family.codec.decode(codes.clamp(0, 15)).numpy()
    [speech] = model.generate("hello there", seed=3, max_seconds=0.05)
    np.testing.assert_allclose(speech.samples[0], wanted, atol=1e-5)


def test_a_text_cannot_hold_the_marks_of_a_model(tiny: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"holds '<\|eot_id\|>', which is a mark of the model's own"):
        opened(tiny, tmp_path, "higgs_audio").stream("hello <|eot_id|> there")


def test_pockettts_needs_a_voice(tiny: SimpleNamespace, tmp_path: Path, recording: str) -> None:
    model = opened(tiny, tmp_path, "pocket_tts", voices=False)
    with pytest.raises(OptionError, match=r"no voices\.safetensors; pass a reference"):
        model.stream("hello")
    cloned = {"reference": recording, "consent": CONSENT}
    assert model.generate("hello", seed=1, max_seconds=0.05, **cloned)[0].duration > 0
    with pytest.raises(OptionError, match="a reference is a voice already"):
        model.stream("hello", voice="ada", **cloned)


def test_a_codec_of_another_size_is_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    for family, key, reason in (
        ("higgs_audio", "target_bandwidths", "3 codebooks, its audio_tokenizer has 2"),
        ("pocket_tts", "latent_dim", "audio_tokenizer"),
    ):
        folder = getattr(tiny, family)(tmp_path / family)
        file = folder / "audio_tokenizer" / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), key: [2.0] if key == "target_bandwidths" else 4}))
        with pytest.raises((MismatchedFolder, CorruptFolder), match=reason):
            SpeechModel.open(folder, device="cpu")


def test_vits_in_bfloat16_stays_near_float32(tiny: SimpleNamespace, tmp_path: Path) -> None:
    folder = tiny.vits(tmp_path / "tiny")
    exact, near = (
        SpeechModel.open(folder, device="cpu", dtype=dtype).generate("hello there world", seed=3)[0].samples
        for dtype in ("float32", "bfloat16")
    )
    assert exact.shape == near.shape
    assert 10 * np.log10(exact.var() / (exact - near).var()) > 15  # dB; a decoder of random weights is rough


def test_vits_gives_sound_before_the_sentence_is_decoded(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model = opened(tiny, tmp_path, "vits")
    text = "hello there world and all that is in it, how are you"
    chunks = list(model.stream(text, seed=3))
    assert len(chunks) > 2
    assert chunks[0].duration < sum(each.duration for each in chunks) / 2
    [whole] = model.generate(text, seed=3)
    assert Audio.join(chunks) == whole


def test_windows_of_a_vocoder_join_to_what_the_whole_gives() -> None:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = SpeechT5HifiGan(
            SpeechT5HifiGanConfig(model_in_dim=8, upsample_initial_channel=16, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4])
        ).eval()  # fmt: skip
        frames = torch.randn(1, 8, 300)
    theirs.apply_weight_norm()
    ours = Vocoder(theirs, torch.float32)
    with torch.no_grad():
        wanted = theirs(frames.transpose(1, 2))[0].numpy()
    np.testing.assert_allclose(np.concatenate(list(ours.windows(frames))), wanted, atol=1e-5)


def test_words_have_their_times_where_durations_are_known(tiny: SimpleNamespace, tmp_path: Path) -> None:
    for family in ("vits", "fastspeech2"):
        [speech] = opened(tiny, tmp_path, family).generate("Hello there. How are you?", seed=1)
        words = speech.info["words"]
        assert [each["text"].lower() for each in words] == ["hello", "there", "how", "are", "you"]
        assert all(0 <= each["start"] <= each["end"] <= speech.duration + 1e-3 for each in words)
        assert words[1]["end"] <= words[2]["start"]


@pytest.mark.parametrize("family", ["vits", "fastspeech2"])
def test_twice_the_speed_takes_about_half_the_time(tiny: SimpleNamespace, tmp_path: Path, family: str) -> None:
    model = opened(tiny, tmp_path, family)
    usual, fast, slow = (
        model.generate("hello there world", seed=1, speed=speed)[0].duration for speed in (1.0, 2.0, 0.5)
    )
    assert fast < 0.75 * usual < 0.6 * slow


def test_speakers_differ_and_unknown_ones_are_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model = opened(tiny, tmp_path, "vits", speakers=3)
    first, third = (model.generate("hello there", seed=1, voice=voice)[0] for voice in ("0", "2"))
    assert first != third
    assert first == model.generate("hello there", seed=1)[0]
    for voice in ("3", "ada", "-1", "٢"):
        with pytest.raises(OptionError, match="'0' to '2'"):
            model.generate("hello there", voice=voice)
    speecht5 = opened(tiny, tmp_path, "speecht5")
    with pytest.raises(OptionError, match=r"Did you mean 'ada'.*ada, ben"):
        speecht5.generate("hello", voice="adda")
    voices = [speecht5.generate("hello", seed=1, voice=each, max_seconds=0.1)[0] for each in ("ada", "ben")]
    assert voices[0] != voices[1]
    bark = opened(tiny, tmp_path, "bark")
    assert bark.generate("hello", seed=1, voice="ada", **SHORT["bark"])[0].duration > 0
    with pytest.raises(OptionError, match="no such voice"):
        bark.generate("hello", voice="ben")


@pytest.mark.parametrize(
    ("family", "options", "reason"),
    [
        ("vits", {"reference": "ada.wav", "consent": CONSENT}, "VITS model cannot speak with the voice of a recording"),
        ("vits", {"guidance": 3.0}, "VITS model knows no guidance"),
        ("vits", {"language": "1"}, "VITS model has one language"),
        ("fastspeech2", {"temperature": 0.5}, "draws nothing"),
        ("speecht5", {"speed": 2.0}, "SpeechT5 model has no control of its speed"),
        ("bark", {"speed": 2.0}, "Bark model has no control of its speed"),
        ("bark", {"pause": 1.0}, "reads its text in one piece"),
        ("dia", {"voice": "1"}, "Dia model has one voice"),
        ("dia", {"temperature": 0.5}, "Dia draws at 1 or more"),
        ("vibevoice", {"temperature": 0.5}, "VibeVoice model draws nothing, or not in a way that can be set"),
        ("pocket_tts", {"guidance": 2.0}, "PocketTTS model knows no guidance"),
        ("pocket_tts", {"voice": "adda"}, "Did you mean 'ada'"),
        (
            "higgs_audio",
            {"reference": "ada.wav", "consent": CONSENT},
            "Higgs Audio model cannot speak with the voice of a",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(
    tiny: SimpleNamespace, tmp_path: Path, family: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=reason) as caught:
        opened(tiny, tmp_path, family).stream("hello", **options)
    assert caught.value.field in options


@pytest.mark.parametrize("family", ["csm", "dia", "vibevoice", "pocket_tts"])
def test_a_cloned_voice_needs_consent_which_its_origin_keeps(
    tiny: SimpleNamespace, tmp_path: Path, family: str, recording: str
) -> None:
    model, short = opened(tiny, tmp_path, family), SHORT[family]
    cloned: dict[str, Any] = {"reference": recording}
    if "reference_text" in model.family.takes:
        cloned["reference_text"] = "one two"
    for consent in (None, "", "yes", " " * 40):
        with pytest.raises(OptionError, match="who agreed to it and how") as caught:
            model.stream("hello", consent=consent, **cloned, **short)
        assert caught.value.field == "consent"
    [speech] = model.generate("hello", seed=1, consent=CONSENT, **cloned, **short)
    assert speech.origin["options"]["consent"] == CONSENT
    assert len(speech.origin["model"]["reference"]) == 64
    assert speech != model.generate("hello", seed=1, **short)[0]
    assert speech == model.generate("hello", seed=1, consent=CONSENT, **cloned, **short)[0]


def test_bad_references_are_refused(tiny: SimpleNamespace, tmp_path: Path, recording: str) -> None:
    model = opened(tiny, tmp_path, "csm")
    silent = Audio(np.zeros((1, 16_000), np.float32), sample_rate=16_000).save(tmp_path / "silent.wav")
    brief = Audio(np.full((1, 800), 0.5, np.float32), sample_rate=16_000).save(tmp_path / "brief.wav")
    bad: list[tuple[dict[str, Any], str]] = [
        ({"reference": str(tmp_path / "none.wav"), "reference_text": "one"}, "no such file"),
        ({"reference": str(silent), "reference_text": "one"}, "silent"),
        ({"reference": str(brief), "reference_text": "one"}, "0.05 s"),
        ({"reference": recording}, "say what is said in the reference"),
    ]
    for options, reason in bad:
        with pytest.raises(OptionError, match=reason):
            model.stream("hello", consent=CONSENT, **options)
    for lone in ({"consent": CONSENT}, {"reference_text": "one"}):
        with pytest.raises(OptionError, match="goes with reference"):
            model.stream("hello", **lone)


def test_what_a_voice_has_no_sound_for_is_refused_rather_than_left_out(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model = opened(tiny, tmp_path, "vits")
    with pytest.raises(PromptError, match=r"no sound for 4 5.*normalize=True"):
        model.stream("give me 45 of them")
    with pytest.raises(PromptError, match="no sound for"):
        model.stream("привет")
    for empty in ("...", " \n ", "?!"):
        with pytest.raises(PromptError, match="nothing that can be spoken"):
            model.stream(empty)
    with pytest.raises(PromptError, match="lacks a character"):
        opened(tiny, tmp_path, "speecht5").stream("naïve")


def test_texts_and_lengths_that_do_not_fit_are_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    long = {key: {"max_seconds": 600.0} for key in ("csm", "dia", "vibevoice", "pocket_tts", "higgs_audio")}
    for family, options in ({"bark": {}} | long).items():
        with pytest.raises(ContextOverflow):
            opened(tiny, tmp_path, family).stream("hello " * 40, **options)


def test_a_stopped_model_says_so(tiny: SimpleNamespace, tmp_path: Path) -> None:
    for family in set(SHORT) - {"vits", "fastspeech2"}:
        [speech] = opened(tiny, tmp_path, family).generate("hello", seed=1, **SHORT[family])
        assert speech.info["finish_reason"] in ("length", "end")
        assert speech.duration <= SHORT[family]["max_seconds"] + 0.02
    [speech] = opened(tiny, tmp_path / "again", "csm").generate("hello", seed=1, **SHORT["csm"])
    assert speech.info["finish_reason"] == "length"


def test_a_bark_that_would_end_at_once_says_a_little(tiny: SimpleNamespace, tmp_path: Path) -> None:
    bark: Any = opened(tiny, tmp_path, "bark")
    ends = bark.family.semantic.eos_token_id

    def ending(module: Any, args: Any, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill(-1, torch.tensor([ends]), 1e4)

    bark.family.network.semantic.lm_head.register_forward_hook(ending)
    [speech] = bark.generate("hello", seed=1, **SHORT["bark"])
    assert 0 < speech.duration < SHORT["bark"]["max_seconds"] / 2
    assert speech.info["finish_reason"] == "end"


def test_another_sample_rate_keeps_the_length(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model = opened(tiny, tmp_path, "vits")
    [own], [other] = (model.generate("hello there", seed=1, sample_rate=rate) for rate in (None, 24_000))
    assert (own.sample_rate, other.sample_rate) == (16_000, 24_000)
    assert abs(own.duration - other.duration) < 1e-3


def test_sentences_lose_nothing_and_none_is_too_long() -> None:
    text = "First one. Second, with a comma! " + "word " * 200 + "\n\nNew paragraph? 'Yes.' " + "x" * 700
    found = sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert max(map(len, found)) <= 300
    assert found[:2] == ["First one.", "Second, with a comma!"]


def test_folders_that_lack_a_part_say_which(tiny: SimpleNamespace, tmp_path: Path) -> None:
    import shutil

    for family, part, reason in (
        ("speecht5", "vocoder", "SpeechT5HifiGan"),
        ("speecht5", "voices.safetensors", "speakers' embeddings"),
        ("dia", "audio_tokenizer", "DacModel"),
        ("pocket_tts", "audio_tokenizer", "PocketTTSAudioTokenizerModel"),
        ("higgs_audio", "audio_tokenizer", "HiggsAudioV2TokenizerModel"),
    ):
        folder = getattr(tiny, family)(tmp_path / f"{family}-{part}")
        (shutil.rmtree if (folder / part).is_dir() else Path.unlink)(folder / part)
        with pytest.raises(MismatchedFolder, match=reason):
            SpeechModel.open(folder, device="cpu")
    folder = tiny.fastspeech2(tmp_path / "alone", inside=False)
    assert SpeechModel.open(folder, device="cpu").generate("hello", seed=1)[0].duration > 0
    shutil.rmtree(folder / "vocoder")
    with pytest.raises(MismatchedFolder, match="FastSpeech2ConformerHifiGan"):
        SpeechModel.open(folder, device="cpu")
    vits = tiny.vits(tmp_path / "vits")
    (vits / "vocab.json").write_text(json.dumps({"a": "one"}))
    with pytest.raises(MismatchedFolder, match=r"vocab\.json"):
        SpeechModel.open(vits, device="cpu")


def test_a_model_type_without_an_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "musicgen"}))
    with pytest.raises(NotAModel, match=r"'musicgen' model; speech models here are bark, csm"):
        SpeechModel.open(tmp_path)


def test_the_manifest_opens_what_there_is_an_adapter_for() -> None:
    import aigc_sdk_tts

    assert set(FAMILIES) == set(aigc_sdk_tts.backend.opens) - {"aigc_tts"}


def test_weights_that_make_no_number_are_reported(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model: Any = opened(tiny, tmp_path, "vits")
    with torch.no_grad():
        model.family._vocoder.after.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        model.generate("hello", seed=1)


def test_what_is_saved_opens_in_plain_transformers(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import VitsModel, VitsTokenizer

    model = opened(tiny, tmp_path, "vits")
    model.save(tmp_path / "saved")
    VitsModel.from_pretrained(tmp_path / "saved")
    assert VitsTokenizer.from_pretrained(tmp_path / "saved")("hello")["input_ids"]
    assert aigc_sdk.folder.read(tmp_path / "saved", backend="tts").manifest is not None
