"""What a user hears and reads of the default kind of voice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk.errors import MismatchedFolder, OptionError, PromptError
from aigc_sdk.runtime import rng
from aigc_sdk_tts import network
from aigc_sdk_tts.captions import srt, vtt
from aigc_sdk_tts.model import TTS
from aigc_sdk_tts.speech import pieces, timed
from aigc_sdk_tts.tokens import tokens
from aigc_sdk_tts.train import TTSTrainer

TEXT = "Hello world, it is 9:30. Yes?"


@pytest.fixture
def model(tiny: Callable[..., TTSTrainer]) -> TTS:
    made = tiny(voices=("ann", "bob"), decoder_layers=3, vocoder_layers=2).model
    with torch.no_grad():
        made.acoustic.duration.bias.fill_(1.8)  # as long as phonemes of a trained voice
    return made


def test_words_and_phonemes_have_their_times_in_order(model: TTS) -> None:
    [speech] = model.generate(TEXT, seed=0)
    words, phonemes = speech.info["words"], speech.info["phonemes"]
    assert [each["text"] for each in words] == ["Hello", "world", "it", "is", "9:30", "Yes"]
    for some in (words, phonemes):
        times = [time for each in some for time in (each["start"], each["end"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= speech.duration
    assert [TEXT[each["from"] : each["to"]] for each in words] == [each["text"] for each in words]


def test_the_normalized_text_is_what_is_spoken(model: TTS) -> None:
    [speech] = model.generate("It costs $5.", seed=0)
    assert speech.info["normalized"] == "it costs five dollars."


def test_a_streams_chunks_tell_of_their_own_clause_and_the_last_of_all(model: TTS) -> None:
    chunks = list(model.stream(TEXT, seed=0))
    [whole] = model.generate(TEXT, seed=0)
    assert [each["text"] for each in chunks[0].info["words"]] == ["Hello", "world"]
    assert chunks[-1].info == whole.info


def test_pieces_of_a_clause_join_to_what_the_whole_gives(model: TTS) -> None:
    words = [
        word.phonemes for word in next(model.clauses("the quick brown fox jumps over lazy dogs", model.Options())).words
    ]
    clause = timed(model.acoustic, tokens(words, "."), 0.5, "cpu")
    made = [
        torch.cat([piece for piece, _ in pieces(model.acoustic, model.vocoder, clause, rng(3), whole=whole)])
        for whole in (False, True)
    ]
    assert made[0].shape == made[1].shape
    # the phase adds up the rounding of a random pitch; the default voice differs by less than 1e-3
    assert float((made[0] - made[1]).abs().max()) < 1e-2 * float(made[1].abs().max())


def test_the_vocoder_in_training_makes_what_it_makes_in_pieces(model: TTS) -> None:
    """`forward` pads whole clips; pieces cut what they need out of a longer clause."""
    from aigc_sdk_tts.acoustic import frame_places, from_units

    words = [word.phonemes for word in next(model.clauses("hello there", model.Options())).words]
    clause = timed(model.acoustic, tokens(words, "."), 1.0, "cpu")
    with torch.no_grad():
        mel, pitch, voiced = from_units(model.acoustic.decode(clause.features, *frame_places(clause.durations)))
        noise = torch.randn(1, len(mel) * model.analysis.hop, generator=rng(3))
        whole = model.vocoder(mel[None], pitch[None].clamp(20, 1000), voiced[None], noise)[0]
    made = torch.cat([each for each, _ in pieces(model.acoustic, model.vocoder, clause, rng(3))])
    assert float((made - whole).abs().max()) < 1e-3 * float(whole.abs().max())


def test_twice_the_speed_takes_about_half_the_time(model: TTS) -> None:
    slow, fast = (model.generate("Hello world", seed=0, speed=speed)[0].duration for speed in (1.0, 2.0))
    assert 0.4 < fast / slow < 0.65


def test_pauses_lengthen_what_is_between_clauses(model: TTS) -> None:
    short, long = (model.generate("One, two", seed=0, pauses=pauses)[0] for pauses in (1.0, 3.0))
    assert long.duration - short.duration == pytest.approx(2 * 0.22, abs=0.01)


def test_a_pause_mark_is_as_long_as_it_says(model: TTS) -> None:
    plain, paused = (model.generate(text, seed=0)[0] for text in ("One two", "One [pause 1.5] two"))
    assert paused.duration - plain.duration > 1.3


def test_a_pause_at_the_end_is_kept(model: TTS) -> None:
    plain, paused = (model.generate(text, seed=0)[0] for text in ("One", "One [pause 1.5]"))
    assert paused.duration - plain.duration == pytest.approx(1.5, abs=0.15)


def test_energy_is_a_factor_of_the_samples(model: TTS) -> None:
    loud, soft = (model.generate("One", seed=0, energy=energy)[0].samples for energy in (0.02, 0.01))
    np.testing.assert_allclose(soft * 2, loud, atol=1e-6)


def test_voices_differ_and_an_unknown_one_is_refused_by_name(model: TTS) -> None:
    assert model.generate("One", seed=0, voice="ann") != model.generate("One", seed=0, voice="bob")
    with pytest.raises(OptionError, match=r"'bop'.*Did you mean 'bob'.*ann, bob"):
        model.generate("One", voice="bop")


@pytest.mark.parametrize("rate", [8000, 22050, 24000, 44100, 48000])
def test_another_sample_rate_lasts_as_long(model: TTS, rate: int) -> None:
    own, other = model.generate("One, two", seed=0)[0], model.generate("One, two", seed=0, sample_rate=rate)[0]
    assert other.sample_rate == rate
    assert other.duration == pytest.approx(own.duration, abs=1e-3)


def test_phonemes_can_be_given_and_are_spoken_as_they_are(model: TTS) -> None:
    [speech] = model.generate("HH AH0 L OW1 | W ER1 L D .", seed=0, markup="phonemes")
    assert [each["phoneme"] for each in speech.info["phonemes"]] == ["HH", "AH0", "L", "OW1", "W", "ER1", "L", "D"]
    assert len(speech.info["words"]) == 2


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("", {}),
        ("...", {}),
        ("?!", {}),
        ("  \n ", {}),
        ("HH AH9", {"markup": "phonemes"}),
        (". , |", {"markup": "phonemes"}),
        ("<speak><audio src='x'/></speak>", {"markup": "ssml"}),
        ("<speak>never closed", {"markup": "ssml"}),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><speak>&a;</speak>", {"markup": "ssml"}),
        ("x" * 10_000_000, {}),
    ],
)
def test_a_prompt_with_nothing_to_say_or_bad_markup_is_refused(model: TTS, prompt: str, options: Any) -> None:
    with pytest.raises(PromptError):
        model.generate(prompt, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 0},
        {"speed": 5.0},
        {"pitch": 3.0},
        {"energy": -1.0},
        {"pauses": 11.0},
        {"sample_rate": 7999},
        {"sample_rate": 48001},
        {"markup": "html"},
        {"normalize": "yes"},
        {"speed": float("nan")},
        {"voise": "ann"},
    ],
)
def test_options_out_of_range_are_refused(model: TTS, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        model.generate("One", **options)


def test_a_vocoder_of_another_analysis_is_refused_naming_both_settings(model: TTS, tmp_path: Path) -> None:
    network.write(model.networks, tmp_path)
    config = tmp_path / network.VOCODER / "config.json"
    config.write_text(config.read_text().replace('"highest": 7900.0', '"highest": 7600.0'))
    with pytest.raises(MismatchedFolder, match=r"highest=7900.0.*highest=7600.0"):
        TTS.open(tmp_path, device="cpu")


def test_a_long_text_is_spoken_as_it_is_read_clause_by_clause(model: TTS) -> None:
    """10,000 words begin at once: nothing waits for the whole text."""
    stream = model.stream("One two three. " * 3333, seed=0)
    first = next(stream)
    assert [each["text"] for each in first.info["words"]] == ["One", "two", "three"]
    stream.close()  # type: ignore[attr-defined]


def test_subtitles_hold_every_word_in_order(model: TTS) -> None:
    [speech] = model.generate("This is a sentence that is too long for a single line of subtitles.", seed=0)
    lines = srt(speech).split("\n")
    assert lines[0] == "1"
    assert lines[1].startswith("00:00:00,0")
    spoken = " ".join(line for line in lines if line and "-->" not in line and not line.isdigit())
    assert spoken == "This is a sentence that is too long for a single line of subtitles"
    assert vtt(speech).startswith("WEBVTT\n\n00:00:00.0")
