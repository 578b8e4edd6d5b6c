"""Fine-tuning of transformers' speech models: the contract kit, and what the losses are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk.errors import DataError, MismatchedFolder, NotAModel, NotOffered, OptionError
from aigc_sdk.protocols import Fit
from aigc_sdk.testing import TrainerContract
from aigc_sdk_tts.hub_models import SpeechModel
from aigc_sdk_tts.hub_training import HubTrainer
from aigc_sdk_tts.lessons import FastSpeech2Lessons, log_mel

TEXTS = ("Hello there, you.", "No, not you.", "Well done.")
RATES = {"fastspeech2": 22_050, "speecht5": 16_000}


@pytest.fixture(params=sorted(RATES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trainer(kind: str, tiny: SimpleNamespace, tmp_path: Path) -> HubTrainer:
    return HubTrainer.open(getattr(tiny, kind)(tmp_path / "tiny", rate=16), device="cpu")


@pytest.fixture
def data(kind: str, recorded: Callable[..., Path], tmp_path: Path) -> str:
    return str(recorded(tmp_path / "recordings", TEXTS, rate=RATES[kind]))


class TestFastSpeech2Trainer(TrainerContract):
    kind = "fastspeech2"

    @pytest.fixture
    def make(self, tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], HubTrainer]:
        folder = getattr(tiny, self.kind)(tmp_path_factory.mktemp("model") / "tiny", rate=16)
        return lambda: HubTrainer.open(folder, device="cpu")

    @pytest.fixture
    def data(self, recorded: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
        return str(recorded(tmp_path_factory.mktemp("data") / "recordings", TEXTS[1:], rate=RATES[self.kind]))

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 2, "ema_decay": 0.9}

    @pytest.fixture
    def bad_data(self, tmp_path: Path) -> list[Any]:
        return [None, [], 7, "/no/such/folder", str(tmp_path)]


class TestSpeechT5Trainer(TestFastSpeech2Trainer):
    kind = "speecht5"


def test_the_loss_falls(trainer: HubTrainer, data: str) -> None:
    losses = [
        step.metrics["validation_loss"]
        for step in trainer.steps(
            data, max_steps=30, batch_size=3, learning_rate=1e-2, warmup_steps=5, validation=data, evaluate_every=15
        )
        if "validation_loss" in step.metrics
    ]
    assert losses[-1] < losses[0]


def test_the_result_opens_here_and_in_plain_transformers(
    kind: str, trainer: HubTrainer, data: str, tmp_path: Path
) -> None:
    from transformers import FastSpeech2ConformerWithHifiGan, SpeechT5ForTextToSpeech

    trainer.fit(data, max_steps=2, batch_size=2, save_to=tmp_path / "run", preview_every=2)
    assert list((tmp_path / "run" / "samples").iterdir())
    mine = aigc_sdk.load(tmp_path / "run")
    assert isinstance(mine, SpeechModel)
    assert mine.fingerprint() == trainer.model.fingerprint()
    plain: Any = {"fastspeech2": FastSpeech2ConformerWithHifiGan, "speecht5": SpeechT5ForTextToSpeech}[kind]
    opened, report = plain.from_pretrained(tmp_path / "run" / "model", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for (name, its), own in zip(opened.state_dict().items(), mine.family.network.state_dict().values(), strict=True):
        assert torch.equal(its, own), name


def test_the_backends_trainer_opens_such_a_folder(trainer: HubTrainer, tmp_path: Path) -> None:
    assert isinstance(aigc_sdk.trainer("tts", tmp_path / "tiny", device="cpu"), HubTrainer)


def test_recordings_at_another_rate_are_refused(
    kind: str, trainer: HubTrainer, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    other = recorded(tmp_path / "other", TEXTS, rate=24_000)
    with pytest.raises(DataError, match=rf"24,000 samples a second, the model {RATES[kind]:,}; resample it"):
        trainer.steps(str(other), max_steps=1)


def test_a_voice_that_the_model_lacks_is_refused(
    kind: str, trainer: HubTrainer, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    other = recorded(tmp_path / "other", TEXTS, rate=RATES[kind], voices=("zoe",))
    with pytest.raises(DataError, match="r0 is of the voice 'zoe', the model has"):
        trainer.steps(str(other), max_steps=1)


def test_a_voice_is_taught_with_its_own_embedding(
    tiny: SimpleNamespace, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    trainer = HubTrainer.open(tiny.speecht5(tmp_path / "tiny", rate=16), device="cpu")
    data = str(recorded(tmp_path / "recordings", TEXTS, voices=("ben", "ada")))
    trainer.steps(data, max_steps=1).close()  # type: ignore[attr-defined]
    lessons = trainer._read.first()
    voices = trainer.model.family.voices  # type: ignore[attr-defined]
    assert [torch.equal(each.voice, voices[name]) for each, name in zip(lessons, ("ben", "ada", "ben"), strict=True)]


def test_only_two_families_are_trained(tiny: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(NotOffered, match="VITS models are not trained here; FastSpeech2Conformer and SpeechT5 are"):
        HubTrainer.open(tiny.vits(tmp_path / "tiny"), device="cpu")
    with pytest.raises(NotAModel, match="a folder or a hub id"):
        HubTrainer.open(device="cpu")


def test_a_speecht5s_spectrograms_are_never_normalised(
    tiny: SimpleNamespace, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    trainer = HubTrainer.open(tiny.speecht5(tmp_path / "tiny", rate=16), device="cpu")
    with pytest.raises(OptionError, match="normalized=True"):
        trainer.steps(str(recorded(tmp_path / "recordings")), max_steps=1, normalized=True)


def test_every_frame_belongs_to_a_phoneme_or_a_mark(
    tiny: SimpleNamespace, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    family = SpeechModel.open(tiny.fastspeech2(tmp_path / "tiny", rate=16), device="cpu").family
    data = recorded(tmp_path / "recordings", TEXTS, rate=22_050)
    lessons = FastSpeech2Lessons(family, None).read(str(data), "data", "refuse")  # type: ignore[arg-type]
    for lesson, text in zip(lessons, TEXTS, strict=True):
        wanted, _ = family._tokens(text)  # type: ignore[attr-defined]
        assert lesson.ids.tolist() == wanted  # as when it speaks
        assert lesson.durations is not None
        assert int(lesson.durations.sum()) == len(lesson.frames)
    frames = torch.cat([each.frames for each in lessons])
    assert frames.mean(0).abs().max() < 1e-4
    assert (frames.std(0) - 1).abs().max() < 1e-3
    unscaled = FastSpeech2Lessons(family, False).read(str(data), "data", "refuse")  # type: ignore[arg-type]
    assert torch.cat([each.frames for each in unscaled]).mean() < -0.5


def test_the_pitch_of_each_phoneme_is_its_own(
    tiny: SimpleNamespace, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    family = SpeechModel.open(tiny.fastspeech2(tmp_path / "tiny", rate=16), device="cpu").family
    data = recorded(tmp_path / "recordings", ("Well done.",), rate=22_050)
    taught = FastSpeech2Lessons(family, None)  # type: ignore[arg-type]
    [lesson] = taught.read(str(data), "data", "refuse")
    assert taught.scales is not None
    assert lesson.tones is not None
    tones = (lesson.tones * taught.scales[3] + taught.scales[2])[:, 0].exp()
    names = {number: name for name, number in family.vocabulary.items()}  # type: ignore[attr-defined]
    for number, tone in zip(lesson.ids.tolist()[:6], tones.tolist(), strict=False):
        assert tone == pytest.approx(90.0 + 7 * (sum(map(ord, names[number])) % 20), rel=0.08)


def test_spectrograms_are_those_of_transformers_feature_extractor() -> None:
    from transformers import SpeechT5FeatureExtractor

    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    its = SpeechT5FeatureExtractor()(audio_target=sound, sampling_rate=16_000)["input_values"][0]
    assert np.allclose(log_mel(sound, 16_000, 256, 80), its, atol=1e-6)


def test_a_validation_says_the_same_each_time(trainer: HubTrainer, data: str) -> None:
    trainer.steps(data, max_steps=1).close()  # type: ignore[attr-defined]
    fit = Fit(1, 0, trainer.Options.parse("tts", {}))
    assert trainer.validate(data, fit) == trainer.validate(data, fit)


def test_arithmetic_in_bfloat16_leaves_weights_in_float32(trainer: HubTrainer, data: str) -> None:
    [step] = trainer.steps(data, max_steps=1, batch_size=2, precision="bfloat16")
    assert np.isfinite(step.metrics["loss"])
    assert {each.dtype for each in trainer.networks["network"].parameters()} == {torch.float32}
    with pytest.raises(OptionError, match="dtype='bfloat16'"):
        HubTrainer.open("nowhere", dtype="bfloat16")


def test_a_vocoder_that_reads_other_spectrograms_is_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from transformers import FastSpeech2ConformerHifiGan, FastSpeech2ConformerHifiGanConfig

    folder = tiny.fastspeech2(tmp_path / "tiny", inside=False)
    other = FastSpeech2ConformerHifiGanConfig(model_in_dim=24, upsample_initial_channel=16, upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8])  # fmt: skip
    FastSpeech2ConformerHifiGan(other).save_pretrained(folder / "vocoder")
    with pytest.raises(MismatchedFolder, match="model_in_dim is 24, the model's num_mel_bins 20"):
        aigc_sdk.trainer("tts", folder, device="cpu")
