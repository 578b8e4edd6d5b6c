"""Sounds as pictures, and back; and a VAE that learns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aigc_sdk import Audio, Image
from aigc_sdk.errors import AigcError, DataError, OptionError
from aigc_sdk_vae.sound import Spectrogram
from aigc_sdk_vae.train import VAETrainer

SMALL = Spectrogram(size=32, sample_rate=8000, hop=128, window=512)
PITCHES = (400.0, 1000.0, 2200.0)


def tone(pitch: float, spectrogram: Spectrogram = SMALL, loudness: float = 0.5, phase: float = 0.0) -> Audio:
    """A sine that dies away a little."""
    time = np.arange(spectrogram.length) / spectrogram.sample_rate
    wave = loudness * np.sin(2 * np.pi * pitch * time + phase) * np.exp(-2 * time)
    return Audio(wave[None].astype(np.float32), sample_rate=spectrogram.sample_rate)


def pitch_of(sound: Audio) -> float:
    """Where the spectrum is strongest, in Hz."""
    strength = np.abs(np.fft.rfft(sound.samples[0]))
    return float(np.argmax(strength) * sound.sample_rate / sound.samples.shape[1])


@pytest.mark.parametrize("spectrogram", [SMALL, Spectrogram()])
@pytest.mark.parametrize("pitch", PITCHES)
def test_a_tone_comes_back_from_its_picture(spectrogram: Spectrogram, pitch: float) -> None:
    picture = spectrogram.picture(tone(pitch, spectrogram))
    back = spectrogram.sound(picture)
    assert back.duration == spectrogram.length / spectrogram.sample_rate
    assert pitch_of(back) == pytest.approx(pitch, rel=0.06)
    again = spectrogram.picture(back).pixels.astype(float)
    loud = picture.pixels > 128
    assert np.abs(again - picture.pixels)[loud].mean() < 20


def test_a_picture_shows_pitch_upwards_time_rightwards_and_loudness_as_brightness() -> None:
    rows = [int(np.argmax(SMALL.picture(tone(each)).pixels[..., 0].sum(1))) for each in PITCHES]
    assert rows == sorted(rows, reverse=True)
    half = Audio(tone(1000.0).samples[:, : SMALL.length // 2], sample_rate=8000)
    bright = SMALL.picture(half).pixels[..., 0].astype(float).sum(0)
    assert bright[:12].min() > 4 * bright[20:].max()
    loud, soft = (SMALL.picture(tone(1000.0, loudness=each)).pixels.max() for each in (0.5, 0.05))
    assert int(loud) - int(soft) == pytest.approx(20 / SMALL.depth * 255, abs=2), "20 dB"


def test_silence_is_black_and_silent() -> None:
    picture = SMALL.picture(Audio(np.zeros((2, 100), np.float32), sample_rate=8000))
    assert not picture.pixels.any()
    assert np.abs(SMALL.sound(picture).samples).max() < 1e-6


def test_a_vae_learns_tones_and_draws_new_ones_of_the_pitch_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    made = [
        (SMALL.picture(tone(pitch * rng.uniform(0.97, 1.03), loudness=rng.uniform(0.2, 0.9))), f"{pitch:.0f} Hz")
        for pitch in PITCHES
        for _ in range(20)
    ]
    sizes: dict[str, Any] = {"size": 32, "classes": 3, "latent": 4, "width": 8, "device": "cpu"}
    model = VAETrainer.open(**sizes).fit(made, max_steps=60, batch_size=20, precision="float32", learning_rate=5e-3)
    for pitch in PITCHES:
        [image] = model.generate(label=f"{pitch:.0f} Hz", seed=0)
        assert pitch_of(SMALL.sound(image)) == pytest.approx(pitch, rel=0.12)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Spectrogram(size=4), OptionError, "size=4"),
        (lambda: Spectrogram(window=300), OptionError, "window=300.*two hops"),
        (lambda: SMALL.picture(tone(400.0, Spectrogram())), DataError, "16000.*resample"),
        (lambda: SMALL.picture("sound.wav"), DataError, "str; pass an Audio"),  # type: ignore[arg-type]
        (lambda: SMALL.sound(Image(np.zeros((8, 8, 3), np.uint8))), DataError, "8x8.*32x32"),
    ],
)
def test_what_is_no_such_sound_or_picture_is_refused(call: Any, kind: type[AigcError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
