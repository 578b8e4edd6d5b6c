"""Fine-tuning pipelines of diffusers by LoRA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk.artifacts import Image, Video
from aigc_sdk.errors import DataError, InputError, MismatchedFolder, NotAModel, NotOffered, OptionError
from aigc_sdk.testing import TrainerContract
from aigc_sdk_video.pipelines import FAMILIES, ImagePipeline, LoRATrainer, VideoPipeline, encoding, tiny_pipeline
from aigc_sdk_video.pipelines.loading import silent

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

SMALL: dict[str, Any] = {"num_frames": 5, "height": 16, "width": 16, "steps": 2}
TRAINED = [name for name, family in FAMILIES.items() if family.trains and family.needs == {"prompt"}]
LARGE = ("AnimateDiffPipeline", "HunyuanVideoPipeline", "MochiPipeline")  # of those, the ones that take long


def films(count: int = 2, shape: tuple[int, ...] = (5, 16, 16, 3)) -> list[Any]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, shape, dtype=np.uint8), f"film {index}") for index in range(count)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    place = tmp_path_factory.mktemp("models")

    def save(name: str) -> Path:
        if not (place / name).is_dir():
            made = tiny_pipeline(name)
            (VideoPipeline if FAMILIES[name].kind == "video" else ImagePipeline)(made).save(place / name)
        return place / name

    return save


class TestLoRATrainer(TrainerContract):
    @pytest.fixture
    def make(self, saved: Callable[[str], Path]) -> Callable[[], LoRATrainer]:
        place = saved("WanPipeline")
        return lambda **config: LoRATrainer.open(place, device="cpu", **{"rank": 2, **config})  # type: ignore[misc]

    @pytest.fixture
    def data(self) -> Any:
        return films(3)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch_size": 2, "learning_rate": 1e-2, "warmup_steps": 1, "schedule": "cosine"}

    @pytest.fixture
    def bad_data(self, tmp_path: Path) -> list[Any]:
        return [
            None,
            [],
            7,
            "/no/such/folder",
            str(tmp_path),
            [np.zeros((5, 16, 16, 3), np.uint8)],
            films(1, (4, 16, 16, 3)),
        ]


@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each in LARGE)) for each in TRAINED])
def test_it_lowers_the_loss_saves_its_own_file_and_opens_in_plain_diffusers(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    family, side = FAMILIES[name], 32 if name.startswith("LTX") else 16
    frames = {"MochiPipeline": 7, "CogVideoXPipeline": 9}.get(name, 5)
    shape = (frames, side, side, 3) if family.kind == "video" else (side, side, 3)
    trainer = LoRATrainer.open(saved(name), device="cpu", rank=4)
    losses: list[float] = []
    model = trainer.fit(
        films(2, shape),
        validation=films(2, shape),
        evaluate_every=1,
        max_steps=4 if name == "AnimateDiffPipeline" else 10,
        batch_size=2,
        learning_rate=2e-2,
        precision="float32",
        save_to=tmp_path / "run",
        on_step=lambda step: losses.append(step.metrics["validation_loss"]),
    )
    assert losses[-1] < losses[0]
    place = tmp_path / "run" / "model"
    assert sorted(each.name for each in place.iterdir()) == ["aigc.json", "pytorch_lora_weights.safetensors"]
    call: dict[str, Any] = {"height": side, "width": side}
    if family.kind == "video":
        call["num_frames"] = frames
    [made] = model.generate("film 0", seed=1, steps=2, **call)
    kind = VideoPipeline if family.kind == "video" else ImagePipeline
    assert kind.open(place, device="cpu").generate("film 0", seed=1, steps=2, **call) == [made]
    assert kind.open(saved(name), device="cpu").generate("film 0", seed=1, steps=2, **call) != [made]
    with silent():
        plain = getattr(diffusers, name).from_pretrained(saved(name))
        plain.load_lora_weights(str(place))
        rng = torch.Generator().manual_seed(1)
        found = plain("film 0", num_inference_steps=2, generator=rng, output_type="np", **call)
    theirs = found.frames[0] if family.kind == "video" else found.images[0]
    ours = made.frames if family.kind == "video" else made.pixels
    assert np.abs((theirs * 255).round() - ours.astype(float)).max() <= 1


def test_the_network_is_trained_under_the_call_that_it_gets_when_it_generates(saved: Callable[[str], Path]) -> None:
    trainer = LoRATrainer.open(saved("WanPipeline"), device="cpu", rank=2)
    [known] = trainer._known(trainer._samples(films(1), _fit(trainer), "data"))
    noise = torch.randn(known.latents.shape)
    noisy, target, time = encoding.task(trainer.model.pipe.scheduler, known.latents, noise, 1.0)
    assert torch.equal(noisy, noise), "all noise, as at the first step"
    assert time == float(known.told["timestep"][0])
    assert torch.equal(target, noise - known.latents)


def test_latents_of_training_decode_to_the_film(saved: Callable[[str], Path]) -> None:
    """Encoded, then decoded by the pipeline's own arithmetic: what its autoencoder makes of the film, and nothing else."""
    from aigc_sdk_video.pipelines import decoding

    for name in ("WanPipeline", "CogVideoXPipeline", "AnimateDiffPipeline", "LTXPipeline", "MochiPipeline"):
        model = VideoPipeline.open(saved(name), device="cpu")
        side, frames = (32 if name.startswith("LTX") else 16), (7 if name.startswith("Mochi") else 9)
        [(film, _)] = films(1, (frames, side, side, 3))
        vae = model.pipe.vae
        values = torch.from_numpy(film / 127.5 - 1).float().permute(3, 0, 1, 2)[None]
        with torch.no_grad():
            if name.startswith("AnimateDiff"):
                wanted = vae.decode(vae.encode(values[0].transpose(0, 1)).latent_dist.mode()).sample.transpose(0, 1)[
                    None
                ]
            else:
                wanted = vae.decode(vae.encode(values).latent_dist.mode(), return_dict=False)[0]
        shown = decoding.look(model.pipe, name, encoding.encoded(model.pipe, name, film), frames, side, side)
        wanted_frames = (wanted[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1).numpy()
        assert np.abs(shown - wanted_frames).max() < 1e-4, name


def test_noise_and_velocity_are_what_the_scheduler_says() -> None:
    latents, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    for kind in ("epsilon", "v_prediction", "sample"):
        scheduler = diffusers.DDIMScheduler(prediction_type=kind)
        noisy, target, time = encoding.task(scheduler, latents, noise, 0.5)
        kept = scheduler.alphas_cumprod[int(time)]
        wanted = {
            "epsilon": noise,
            "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * latents,
            "sample": latents,
        }
        assert torch.allclose(noisy, kept.sqrt() * latents + (1 - kept).sqrt() * noise, atol=1e-6)
        assert torch.allclose(target, wanted[kind], atol=1e-6)
    euler = diffusers.EulerDiscreteScheduler()
    assert encoding.training_scheduler(euler).__class__.__name__ == "DDPMScheduler", "samplers scale what they noise"
    mochi = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    noisy, target, time = encoding.task(mochi, latents, noise, 0.999)
    assert time < 2, "its time counts the part of the sample"
    assert torch.equal(target, latents - noise)


def test_data_may_be_artifacts_files_and_folders(saved: Callable[[str], Path], tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    for index in range(2):
        Image(np.full((16, 16, 3), 90 * index, np.uint8)).save(place / f"{index}.png")
        (place / f"{index}.txt").write_text(f"grey {index}\n")
    trainer = LoRATrainer.open(saved("StableDiffusionPipeline"), device="cpu", rank=2)
    assert isinstance(trainer.model, ImagePipeline)
    found = trainer._samples(place, _fit(trainer), "data")
    assert [each.caption for each in found] == ["grey 0", "grey 1"]
    assert trainer._samples([(str(place / "1.png"), "grey")], _fit(trainer), "data")[0].frames.shape == (1, 16, 16, 3)
    (place / "1.txt").unlink()
    with pytest.raises(DataError, match=r"1\.png has no text"):
        trainer._samples(place, _fit(trainer), "data")
    film = Video(films(1)[0][0], fps=8)
    wan = LoRATrainer.open(saved("WanPipeline"), device="cpu", rank=2)
    assert wan._samples([(film, "a film")], _fit(wan), "data")[0].frames.shape == (5, 16, 16, 3)


def test_samples_are_cut_and_cropped_where_that_is_asked(saved: Callable[[str], Path]) -> None:
    trainer = LoRATrainer.open(saved("WanPipeline"), device="cpu", rank=2)
    data = films(1, (11, 20, 30, 3))
    with pytest.raises(DataError, match="height=16, width=16"):
        trainer.fit(data, max_steps=1)
    with pytest.raises(DataError, match="num_frames=9"):
        trainer.fit(data, max_steps=1, height=16, width=16)
    with pytest.raises(OptionError, match="both, or neither"):
        trainer.fit(data, max_steps=1, height=16)
    with pytest.raises(DataError, match="fewer than num_frames"):
        trainer.fit(data, max_steps=1, num_frames=13)
    trainer.fit(data, max_steps=1, height=16, width=16, num_frames=5, gradient_checkpointing=True)


def test_pipelines_without_a_loader_and_wrong_layers_are_refused(saved: Callable[[str], Path]) -> None:
    with pytest.raises(NotOffered, match="takes no LoRA"):
        LoRATrainer.open(saved("StableVideoDiffusionPipeline"), device="cpu")
    with pytest.raises(NotOffered, match="takes no LoRA"):
        LoRATrainer.open(saved("DDPMPipeline"), device="cpu")
    with pytest.raises(OptionError, match="name layers"):
        LoRATrainer.open(saved("WanPipeline"), device="cpu", targets=("to_nothing",))
    with pytest.raises(NotAModel, match="give the folder"):
        LoRATrainer.open()
    with pytest.raises(InputError):
        LoRATrainer.open(saved("WanPipeline"), device="cpu", rank=0)


def test_a_lora_goes_on_being_trained_and_replays(saved: Callable[[str], Path], tmp_path: Path) -> None:
    import aigc_sdk

    trainer = LoRATrainer.open(saved("WanPipeline"), device="cpu", rank=2)
    trainer.fit(films(), max_steps=2, learning_rate=1e-2, save_to=tmp_path / "run")
    place = tmp_path / "run" / "model"
    again = LoRATrainer.open(place, device="cpu")
    before = again.model.fingerprint()
    again.fit(films(), max_steps=1, learning_rate=1e-2)
    assert again.model.fingerprint() != before
    with pytest.raises(OptionError, match="has its own"):
        LoRATrainer.open(place, device="cpu", rank=4)
    model = VideoPipeline.open(place, device="cpu")
    [film] = model.generate("film 0", seed=1, **SMALL)
    assert film.origin["model"]["lora"]["source"] == str(place)
    film.save(tmp_path / "film.mp4")
    assert aigc_sdk.replay(tmp_path / "film.mp4").same


def test_the_lora_of_another_pipeline_is_refused(saved: Callable[[str], Path], tmp_path: Path) -> None:
    trainer = LoRATrainer.open(saved("WanPipeline"), device="cpu", rank=2)
    trainer.model.save(tmp_path / "lora")
    with pytest.raises(MismatchedFolder):
        ImagePipeline.open(saved("StableDiffusionPipeline"), device="cpu").use_lora(tmp_path / "lora")
    other = VideoPipeline.open(saved("LTXPipeline"), device="cpu")
    with pytest.raises(MismatchedFolder):
        other.use_lora(tmp_path / "lora")
    with pytest.raises(NotOffered, match="in use already"):
        trainer.model.use_lora(tmp_path / "lora")


def _fit(trainer: LoRATrainer) -> Any:
    from aigc_sdk.protocols import Fit

    return Fit(1, 0, trainer.Options())
