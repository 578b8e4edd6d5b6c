"""Recordings that a voice is trained on: what is read of them, and what is refused."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk.errors import DataError
from aigc_sdk_tts.durations import align
from aigc_sdk_tts.features import Analysis, log_mel, pitch
from aigc_sdk_tts.prepare import read_clips
from aigc_sdk_tts.recordings import read_alignment
from aigc_sdk_tts.tokens import LEAD, TRAIL
from aigc_sdk_tts.train import TTSTrainer
from aigc_sdk_tts.wav import read_wav, write_wav

ANALYSIS = Analysis.parse("tts", {})


@pytest.fixture
def folder(recorded: Callable[..., Path], tmp_path: Path) -> Path:
    return recorded(tmp_path / "recordings")


def test_a_recording_is_cut_into_its_clauses(folder: Path) -> None:
    clips = read_clips(folder, "data", ANALYSIS, ("voice",), "refuse")
    assert len(clips) == 5  # "Hello there," "you." "No," "not you." "Well done."
    for clip in clips:
        assert (clip.durations[0], clip.durations[-1]) == (LEAD, TRAIL)
        assert len(clip.durations) == len(clip.tokens.symbols)
        assert int(clip.durations.sum()) == len(clip.mel) == len(clip.pitch)
        assert len(clip.samples) == len(clip.mel) * ANALYSIS.hop


def test_durations_that_are_not_given_are_found_out(recorded: Callable[..., Path], tmp_path: Path) -> None:
    texts = ["Hello there, you.", "No, not you.", "Well done.", "You there, hello!", "Not done, no.", "Hello, hello."]
    given = recorded(tmp_path / "given", texts)
    rows = [read_alignment(given / "alignments" / f"r{index}.tsv", 9.0) for index in range(len(texts))]
    found = align([(read_wav(given / "wavs" / f"r{index}.wav")[0], text) for index, text in enumerate(texts)], ANALYSIS)
    wrong = [
        abs(mine.end - its.end)
        for some, others in zip(found, rows, strict=True)
        for mine, its in zip(
            [row for row in some if row.phoneme != "pau"], [row for row in others if row.phoneme != "pau"], strict=True
        )
    ]
    assert np.median(wrong) < 0.03  # seconds


def test_a_transcript_that_is_not_the_recordings_own_is_refused() -> None:
    with pytest.raises(DataError, match="too short for its"):
        align(
            [(np.ones(4000, np.float32), "A long sentence with many words is no match for a quarter of a second")],
            ANALYSIS,
        )


def test_a_tone_has_its_pitch(tone: Callable[..., Any]) -> None:
    import torch

    found, voiced = pitch(torch.from_numpy(tone(1.0, 137.0)), ANALYSIS)
    assert voiced[4:-4].all()
    np.testing.assert_allclose(found[4:-4].numpy(), 137.0, rtol=0.01)


def test_frames_lie_on_their_samples() -> None:
    """A click is loudest in the frame of its own samples."""
    import torch

    sound = torch.zeros(20 * ANALYSIS.hop)
    sound[7 * ANALYSIS.hop + ANALYSIS.hop // 2] = 1.0
    mel = log_mel(sound, ANALYSIS)
    assert mel.shape == (ANALYSIS.mels, 20)
    assert int(mel.mean(0).argmax()) == 7


def _silent(path: Path) -> None:
    write_wav(path, np.zeros(16000, np.float32), 16000)


def _clipped(path: Path) -> None:
    write_wav(path, np.sign(np.sin(np.arange(16000) / 20)).astype(np.float32), 16000)


def _slow(path: Path) -> None:
    write_wav(path, np.sin(np.arange(8000) / 20).astype(np.float32) / 2, 8000)


def _short(path: Path) -> None:
    write_wav(path, np.full(500, 0.5, np.float32), 16000)


def _long(path: Path) -> None:
    write_wav(path, np.sin(np.arange(31 * 16000) / 20).astype(np.float32) / 2, 16000)


def _stereo(path: Path) -> None:
    _raw(path, channels=2, width=2)


def _bytes(path: Path) -> None:
    _raw(path, channels=1, width=1)


def _raw(path: Path, channels: int, width: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(16000)
        file.writeframes(b"\x55" * 32000)


def _garbage(path: Path) -> None:
    path.write_bytes(b"no sound at all")


BAD_SOUNDS = {
    _silent: "is silent",
    _clipped: "is clipped",
    _slow: "8,000 samples a second",
    _short: "lasts 0.03 s",
    _long: "lasts 31.00 s",
    _stereo: "has 2 channels",
    _bytes: "has 8 bits",
    _garbage: "no PCM WAV",
}


@pytest.mark.parametrize("spoil", BAD_SOUNDS, ids=lambda each: each.__name__)
def test_a_sound_that_cannot_be_used_is_refused_by_name(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder / "wavs" / "r1.wav")
    with pytest.raises(DataError, match=rf"r1\.wav.*{BAD_SOUNDS[spoil]}"):
        read_clips(folder, "data", ANALYSIS, ("voice",), "refuse")


def test_a_sound_that_cannot_be_used_can_be_skipped(folder: Path) -> None:
    _silent(folder / "wavs" / "r1.wav")
    assert len(read_clips(folder, "data", ANALYSIS, ("voice",), "skip")) == 3


BAD_LISTS = {
    "": "lists no recording",
    "r0\n": "line 1: give",
    "r0||\n": "line 1: give",
    "../r0|a|a\n": "no file's name",
    "r0|a|a\nr0|a|a\n": "twice",
    "r0|a|a\nr9|b|b\n": "has no r9.wav",
    "r0|a|a\n": "r1.wav has no line",
}


@pytest.mark.parametrize("content", BAD_LISTS)
def test_a_list_of_recordings_that_does_not_fit_is_refused(folder: Path, content: str) -> None:
    (folder / "metadata.csv").write_text(content)
    with pytest.raises(DataError, match=BAD_LISTS[content]):
        read_clips(folder, "data", ANALYSIS, ("voice",), "refuse")


BAD_ALIGNMENTS = {
    "": "holds no phoneme",
    "0.1\tpau\t\n": "holds no phoneme",
    "now\tHH\t0\n": "line 1: give",
    "0.1\tHH\n": "line 1: give",
    "0.1\tXX\t0\n": "'XX' is neither",
    "0.1\tHH\t0\n0.05\tOW1\t0\n": "line 2: 0.05 s is before",
    "99\tHH\t0\n": "after the recording",
    "0.1\tHH\t0\n0.2\tpau\t&\n": "cannot end with '&'",
}


@pytest.mark.parametrize("content", BAD_ALIGNMENTS)
def test_an_alignment_that_does_not_fit_is_refused(folder: Path, content: str) -> None:
    (folder / "alignments" / "r1.tsv").write_text(content)
    with pytest.raises(DataError, match=BAD_ALIGNMENTS[content]):
        read_clips(folder, "data", ANALYSIS, ("voice",), "refuse")


def test_a_missing_alignment_is_refused(folder: Path) -> None:
    (folder / "alignments" / "r1.tsv").unlink()
    with pytest.raises(DataError, match="align every recording or none"):
        read_clips(folder, "data", ANALYSIS, ("voice",), "refuse")


def test_a_list_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "metadata.csv").write_bytes(b"r0|\xff\xfe|x\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_clips(folder, "data", ANALYSIS, ("voice",), "refuse")


def test_recordings_of_several_voices_train_an_embedding_each(
    recorded: Callable[..., Path], tiny: Callable[..., TTSTrainer], tmp_path: Path
) -> None:
    folder = recorded(tmp_path / "two", voices=("ann", "bob"))
    trainer = tiny(voices=("ann", "bob"))
    before = trainer.model.acoustic.voice.weight.detach().clone()
    trainer.fit(str(folder), max_steps=2, batch_size=5)
    assert bool((trainer.model.acoustic.voice.weight != before).any(1).all())


def test_a_recording_of_an_unknown_voice_is_refused_by_name(
    recorded: Callable[..., Path], tiny: Callable[..., TTSTrainer], tmp_path: Path
) -> None:
    folder = recorded(tmp_path / "two", voices=("ann", "bob"))
    with pytest.raises(DataError, match="the voice 'ann', the model has voice"):
        tiny().fit(str(folder), max_steps=1)
