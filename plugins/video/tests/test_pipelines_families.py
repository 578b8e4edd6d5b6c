"""Every family: what it makes is what diffusers makes; its folders open here, and ours open there."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk import runtime
from aigc_sdk.artifacts import Audio
from aigc_sdk.errors import OptionError
from aigc_sdk_video.pipelines import FAMILIES, ImagePipeline, VideoPipeline, calling, tiny_pipeline
from aigc_sdk_video.pipelines.loading import silent

diffusers = pytest.importorskip("diffusers")

STEPS = 2


def options(name: str) -> dict[str, Any]:
    """A call that is as small as the family can do."""
    family = FAMILIES[name]
    side, frames = (32 if "LTX" in name else 16), (7 if "Mochi" in name else 9)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
    found: dict[str, Any] = {"steps": STEPS}
    if "height" in family.takes:
        found |= {"height": side, "width": side}
    if "num_frames" in family.takes:
        found["num_frames"] = 3 if "StableVideo" in name else frames
    found |= {"video": pixels} if "video" in family.needs else {}
    found |= {each: pixels[0] for each in ("image", "mask") if each in family.needs}
    return found


def prompt(name: str) -> str | None:
    return "a cat runs" if FAMILIES[name].prompts else None


def wrapped(name: str, pipe: Any) -> Any:
    return (VideoPipeline if FAMILIES[name].kind == "video" else ImagePipeline)(pipe)


def opened(name: str, folder: Path) -> Any:
    return (VideoPipeline if FAMILIES[name].kind == "video" else ImagePipeline).open(folder, device="cpu")


def direct(name: str, pipe: Any, seed: int) -> Any:
    """What a call of diffusers itself gives, t x h x w x 3 (or h x w x 3) in [0, 1]."""
    chosen = options(name)
    call = calling.planned(pipe, name, wrapped(name, pipe).Options(**chosen))
    known = inspect.signature(type(pipe).__call__).parameters
    arguments = {each: value for each, value in call.arguments.items() if each in known}
    if FAMILIES[name].prompts:
        arguments["prompt"] = prompt(name)
    with silent():
        made = pipe(**arguments, generator=torch.Generator().manual_seed(seed), output_type="np")
    return made.frames[0] if hasattr(made, "frames") else made.images[0]


def pixels(artifact: Any) -> Any:
    return artifact.frames if artifact.kind == "video" else artifact.pixels


def as_bytes(values: Any) -> Any:
    return (np.asarray(values) * 255).round().astype(np.uint8)


@pytest.mark.slow
def test_the_first_tiny_pipeline_of_a_process_has_the_weights_of_its_seed() -> None:
    script = """
from aigc_sdk_video.pipelines import tiny_pipeline
pipe = tiny_pipeline("DDPMPipeline")
from aigc_sdk import runtime
print(runtime.fingerprint(pipe.unet))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == runtime.fingerprint(tiny_pipeline("DDPMPipeline").unet)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_folder_makes_here_what_it_makes_in_plain_diffusers(name: str, tmp_path: Path) -> None:
    pipe = tiny_pipeline(name)
    wrapped(name, pipe).save(tmp_path / "ours")
    with silent():
        theirs = getattr(diffusers, name).from_pretrained(tmp_path / "ours")
        theirs.set_progress_bar_config(disable=True)
    model = opened(name, tmp_path / "ours")
    made = direct(name, model.pipe, 6)
    assert np.abs(made - direct(name, pipe, 6)).max() < 1e-4, "reloaded here"
    assert np.abs(made - direct(name, theirs, 6)).max() < 1e-4, "reloaded there"
    first, second = model.generate(prompt(name), n=2, seed=5, **options(name))
    assert np.array_equal(pixels(second), as_bytes(made)), "the generator of its own seed, whatever came before"
    assert not np.array_equal(pixels(first), pixels(second))
    assert not [each for each in (tmp_path / "ours").rglob("*") if each.suffix in (".bin", ".pt", ".pkl", ".py")]


@pytest.mark.parametrize(
    "name", ["WanPipeline", "LTXPipeline", "StableVideoDiffusionPipeline", "StableDiffusionPipeline"]
)
def test_a_folder_that_diffusers_saved_opens_here(name: str, tmp_path: Path) -> None:
    pipe = tiny_pipeline(name)
    with silent():
        pipe.save_pretrained(tmp_path / "theirs")
    model = opened(name, tmp_path / "theirs")
    assert model.fingerprint() == wrapped(name, pipe).fingerprint()
    assert model.generate(prompt(name), seed=2, **options(name)) == wrapped(name, pipe).generate(
        prompt(name), seed=2, **options(name)
    )


@pytest.mark.parametrize("name", ["WanPipeline", "CogVideoXPipeline", "AnimateDiffPipeline"])
def test_frames_come_as_they_are_decoded(name: str) -> None:
    model = VideoPipeline(tiny_pipeline(name))
    frames = {"CogVideoXPipeline": 17, "AnimateDiffPipeline": 20}.get(name, 9)
    chosen = {**options(name), "num_frames": frames}
    [whole] = model.generate("a cat", seed=3, **chosen)
    chunks = list(model.stream("a cat", seed=3, **chosen))
    assert len(chunks) >= 2
    assert type(whole).join(chunks) == whole
    assert len(whole.frames) == frames


def test_two_films_can_be_decoded_in_turn() -> None:
    model = VideoPipeline(tiny_pipeline("WanPipeline"))
    chosen = options("WanPipeline")
    alone = [model.generate("a cat", seed=seed, **chosen)[0] for seed in (1, 2)]
    streams = [model.stream("a cat", seed=seed, **chosen) for seed in (1, 2)]
    chunks: list[list[Any]] = [[], []]
    for pair in zip(*streams, strict=True):
        for index, each in enumerate(pair):
            chunks[index].append(each)
    assert [type(alone[0]).join(each) for each in chunks] == alone


def test_the_same_weights_run_from_text_from_pictures_and_from_films() -> None:
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    wan = VideoPipeline(tiny_pipeline("WanPipeline"))
    [again] = wan.generate("a cat", video=film, strength=0.5, steps=4, seed=1)
    assert (again.info["pipeline"], again.frames.shape) == ("WanVideoToVideoPipeline", film.shape)
    ltx = VideoPipeline(tiny_pipeline("LTXPipeline"))
    [moving] = ltx.generate("a cat", image=np.zeros((32, 32, 3), np.uint8), num_frames=9, steps=2, seed=1)
    assert (moving.info["pipeline"], moving.frames.shape) == ("LTXImageToVideoPipeline", (9, 32, 32, 3))
    stable = ImagePipeline(tiny_pipeline("StableDiffusionPipeline"))
    picture = {"image": film[0], "steps": 4, "seed": 1}
    [other] = stable.generate("a cat", strength=0.5, **picture)
    assert other.info["pipeline"] == "StableDiffusionImg2ImgPipeline"
    [filled] = stable.generate("a cat", mask=film[1], **picture)
    assert filled.info["pipeline"] == "StableDiffusionInpaintPipeline"


def test_a_wan_goes_from_a_first_picture_to_a_last_one() -> None:
    seeing = tiny_pipeline("WanImageToVideoPipeline")
    blind = seeing.transformer.from_config({**seeing.transformer.config, "image_dim": None, "added_kv_proj_dim": None})
    parts = {"transformer": blind.eval(), "image_encoder": None, "image_processor": None}
    model = VideoPipeline(tiny_pipeline("WanImageToVideoPipeline", **parts))
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    chosen = {"num_frames": 5, "steps": 2, "seed": 1}
    with pytest.raises(OptionError, match="one picture alone"):
        VideoPipeline(seeing).generate("a cat", image=black, last_image=white, **chosen)
    [open_ended] = model.generate("a cat", image=black, **chosen)
    [ending] = model.generate("a cat", image=black, last_image=white, **chosen)
    assert ending.frames.shape == open_ended.frames.shape
    assert ending != open_ended


def test_a_wan_of_two_experts_opens_and_takes_a_guidance_for_each(tmp_path: Path) -> None:
    second = tiny_pipeline("WanPipeline", seed=1).transformer
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    VideoPipeline(tiny_pipeline("WanPipeline", transformer_2=second, boundary_ratio=0.875, scheduler=scheduler)).save(
        tmp_path / "wan"
    )
    model = VideoPipeline.open(tmp_path / "wan", device="cpu")
    chosen = {"num_frames": 5, "height": 16, "width": 16, "steps": 4, "seed": 1, "guidance": 5.0}
    [film] = model.generate("a cat", **chosen)
    [other] = model.generate("a cat", guidance_2=1.0, **chosen)
    assert film != other


def test_a_wan_whose_autoencoder_works_in_patches_streams_what_diffusers_makes() -> None:
    """The layout of Wan 2.2's 5 B: 48 channels of latents, patches of pixels, a time for every token."""
    vae = diffusers.AutoencoderKLWan(
        base_dim=3,
        z_dim=48,
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        temperal_downsample=[False, True, True],
    )
    plain = tiny_pipeline("WanPipeline").transformer
    network = plain.from_config({**plain.config, "in_channels": 48, "out_channels": 48})
    pipe = tiny_pipeline("WanPipeline", vae=vae.eval(), transformer=network.eval(), expand_timesteps=True)
    chosen = {"num_frames": 9, "height": 32, "width": 32, "steps": 2}
    [film] = VideoPipeline(pipe).generate("a cat", seed=1, **chosen)
    call = {"num_frames": 9, "height": 32, "width": 32, "num_inference_steps": 2}
    rng = torch.Generator().manual_seed(1)
    assert np.array_equal(film.frames, as_bytes(pipe("a cat", generator=rng, output_type="np", **call).frames[0]))
    with pytest.raises(OptionError, match="multiples of 32"):
        VideoPipeline(pipe).generate("a cat", num_frames=9, height=48, width=48)


def test_a_film_of_ltx_2_has_its_sound(tmp_path: Path) -> None:
    model = VideoPipeline(tiny_pipeline("LTX2Pipeline"))
    [film] = model.generate("a cat", seed=1, **options("LTX2Pipeline"))
    assert isinstance(film.sound, Audio)
    assert film.sound.samples.shape[0] == 2
    film.save(tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").stat().st_size > 0


def test_guidance_negative_prompts_and_frame_rates_reach_the_pipeline() -> None:
    model = VideoPipeline(tiny_pipeline("LTXPipeline"))
    chosen = options("LTXPipeline")
    [plain] = model.generate("a cat", seed=1, **chosen)
    for changed in ({"guidance": 9.0}, {"negative_prompt": "blurred"}, {"fps": 50.0}):
        [other] = model.generate("a cat", seed=1, **{**chosen, **changed})
        assert not np.array_equal(other.frames, plain.frames), changed
    assert other.fps == 50
    hunyuan = VideoPipeline(tiny_pipeline("HunyuanVideo15Pipeline"))
    chosen = options("HunyuanVideo15Pipeline")
    assert hunyuan.generate("a cat", seed=1, guidance=1.0, **chosen) != hunyuan.generate("a cat", seed=1, **chosen)
    assert hunyuan.pipe.guider.guidance_scale == 6.0, "the pipeline is as it was after the call"
