"""The acoustic model, the vocoder and its critics."""

from __future__ import annotations

import torch

from aigc_sdk_tts.acoustic import GAP, Acoustic, AcousticSizes, frame_places, from_units, to_units
from aigc_sdk_tts.discriminators import Critics, critics_loss, deceiving_loss, likeness_loss
from aigc_sdk_tts.features import Analysis, log_mel
from aigc_sdk_tts.network import new_acoustic
from aigc_sdk_tts.objective import spectral_loss
from aigc_sdk_tts.tokens import ENDINGS, Tokens, packed, packed_durations, tokens
from aigc_sdk_tts.vocoder import Vocoder, VocoderSizes

ANALYSIS = Analysis.parse("tts", {})
CLAUSES = [
    tokens([("HH", "AH0", "L", "OW1")], ","),
    tokens([("W", "ER1", "L", "D"), ("AH0",)], "?", voice=1),
    tokens([("N", "OW1")], "."),
]


def acoustic() -> Acoustic:
    torch.manual_seed(0)
    sizes = AcousticSizes.parse("tts", {"width": 16, "encoder_layers": 2, "decoder_layers": 2})
    return new_acoustic(sizes, ANALYSIS, 2).eval()


def vocoder() -> Vocoder:
    torch.manual_seed(0)
    return Vocoder(VocoderSizes.parse("tts", {"width": 8, "layers": 1}), ANALYSIS).eval()


def durations(clause: Tokens) -> torch.Tensor:
    return torch.arange(len(clause.symbols)) % 5 + 1


def test_a_clause_in_a_packed_batch_is_as_if_it_were_alone() -> None:
    model = acoustic()
    with torch.no_grad():
        lengths, frames = model(packed(CLAUSES), packed_durations([durations(each) for each in CLAUSES]))
        phoneme, frame = 0, 0
        for clause in CLAUSES:
            its_lengths, its_frames = model(packed([clause]), durations(clause))
            size, time = len(its_lengths), len(its_frames)
            torch.testing.assert_close(lengths[phoneme : phoneme + size], its_lengths, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(frames[frame : frame + time], its_frames, atol=1e-5, rtol=1e-5)
            phoneme, frame = phoneme + size + GAP, frame + time + GAP


def test_a_frame_depends_on_no_more_frames_than_it_says() -> None:
    model = acoustic()
    owners, places = frame_places(torch.full((9,), 8))
    features = torch.randn(9, 16)
    other = features.clone()
    other[0] += 1.0  # the phoneme of the first 8 frames
    with torch.no_grad():
        changed = (model.decode(features, owners, places) != model.decode(other, owners, places)).any(1)
    assert changed[: 8 + model.reach].any()
    assert not changed[8 + model.reach :].any()


def test_frames_know_where_they_lie_in_their_phoneme() -> None:
    owners, places = frame_places(torch.tensor([2, 1]))
    assert owners.tolist() == [0, 0, 1]
    torch.testing.assert_close(places[:, 0], torch.tensor([0.25, 0.75, 0.5]))


def test_units_go_there_and_back() -> None:
    mel, pitch, voiced = torch.randn(5, 80) * 3 - 5, torch.rand(5) * 200 + 60, torch.tensor([0.0, 1, 1, 0, 1])
    units = to_units(mel, pitch, voiced)
    units[:, -1] -= 0.5  # a logit
    for made, wanted in zip(from_units(units), (mel, pitch, voiced), strict=True):
        torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-5)


def test_a_words_ends_and_a_clauses_ending_are_tokens() -> None:
    clause = CLAUSES[1]
    assert clause.boundaries == (0, 1, 0, 0, 2, 3, 0)
    assert ENDINGS[clause.ending] == "?"


def test_pulses_go_on_where_they_were() -> None:
    model = vocoder()
    pitch = torch.linspace(90, 130, 12)[None]
    start = torch.zeros(1, dtype=torch.float64)
    whole, phase = model.pulses(pitch, start)
    first, between = model.pulses(pitch[:, :7], start)
    second, last = model.pulses(pitch[:, 5:], between)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=2e-3, rtol=0)
    torch.testing.assert_close(last, phase, atol=1e-6, rtol=0)


def test_pulses_come_as_often_as_the_pitch_says() -> None:
    made, _ = vocoder().pulses(torch.full((1, 82), 100.0), torch.zeros(1, dtype=torch.float64))
    peaks = (made[0, 1:-1] > made[0, :-2]) & (made[0, 1:-1] > made[0, 2:]) & (made[0, 1:-1] > 0.7 * made.max())
    assert 99 <= peaks.sum() <= 101  # in one second of 100 Hz


def test_sources_pass_unchanged_where_all_gains_are_one() -> None:
    model = vocoder()
    noise = torch.randn(1, 18 * ANALYSIS.hop)
    one, none = torch.ones(1, ANALYSIS.bins, 14), torch.zeros(1, ANALYSIS.bins, 14)
    made = model.filtered(noise, noise, one, none)
    torch.testing.assert_close(made, noise[:, 4 * ANALYSIS.hop : -4 * ANALYSIS.hop], atol=1e-5, rtol=0)


def test_the_spectral_loss_is_none_for_the_same_sound_and_more_for_another() -> None:
    torch.manual_seed(0)
    sound = torch.randn(2, 8000) * 0.1
    assert spectral_loss(sound, sound, ANALYSIS).max() < 1e-2
    assert spectral_loss(sound, sound * 0.5, ANALYSIS).min() > 0.5


def test_the_spectral_loss_has_a_gradient_also_in_silence() -> None:
    made = torch.zeros(1, 8000, requires_grad=True)
    spectral_loss(made, torch.zeros(1, 8000), ANALYSIS).sum().backward()  # type: ignore[no-untyped-call]
    assert made.grad is not None
    assert made.grad.isfinite().all()


def test_critics_learn_to_tell_sounds_apart_and_a_copy_is_like_its_original() -> None:
    torch.manual_seed(0)
    critics, noise = Critics(2), torch.randn(2, 4000) * 0.1
    hum = torch.sin(torch.arange(4000) / 9)[None].repeat(2, 1) * 0.3
    assert likeness_loss(critics(hum), critics(hum)).max() == 0
    adam = torch.optim.Adam(critics.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = critics_loss(critics(hum), critics(noise)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert deceiving_loss(critics(hum)).mean() < deceiving_loss(critics(noise)).mean()


def test_as_many_frames_as_hops() -> None:
    assert log_mel(torch.randn(3, 7 * ANALYSIS.hop), ANALYSIS).shape == (3, ANALYSIS.mels, 7)
