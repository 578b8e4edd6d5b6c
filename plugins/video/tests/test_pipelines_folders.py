"""Folders of pipelines: what is read from them, what is refused, and what they will take in memory."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aigc_sdk import folder
from aigc_sdk.errors import (
    CorruptFolder,
    FolderError,
    MismatchedFolder,
    MissingDependency,
    NotAModel,
    NotOffered,
    OptionError,
    OutOfMemory,
    UnsafeFolder,
)
from aigc_sdk_video.pipelines import FAMILIES, ImagePipeline, Memory, VideoPipeline, estimate, memory, tiny_pipeline
from aigc_sdk_video.pipelines.loading import silent

pytest.importorskip("diffusers")

SMALL: dict[str, Any] = {"num_frames": 5, "height": 16, "width": 16, "steps": 2, "seed": 1}
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan as plain diffusers saves it."""
    place = tmp_path_factory.mktemp("wan") / "wan"
    with silent():
        tiny_pipeline("WanPipeline").save_pretrained(place)
    return place


@pytest.fixture
def wan(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "wan"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_table_is_plain_data_and_the_manifest_names_what_it_holds() -> None:
    import aigc_sdk_video
    from aigc_sdk_video.pipelines import named

    assert set(named("video")) | set(named("image")) == set(FAMILIES)
    assert set(aigc_sdk_video.still.opens) == set(named("image"))
    assert set(aigc_sdk_video.backend.opens) - {"aigc_video"} <= set(named("video"))


def _class(path: Path) -> None:
    change(path / "model_index.json", _class_name="LattePipeline")


def _no_class(path: Path) -> None:
    change(path / "model_index.json", _class_name=None)


def _library(path: Path) -> None:
    change(path / "model_index.json", transformer=["os", "WanTransformer3DModel"])


def _own_code(path: Path) -> None:
    (path / "transformer" / "mine.py").write_text("raise SystemExit")
    change(path / "model_index.json", transformer=["mine", "Mine"])


def _other_part(path: Path) -> None:
    change(path / "model_index.json", transformer=["diffusers", "FluxTransformer2DModel"])


def _added_part(path: Path) -> None:
    change(path / "model_index.json", helper=["diffusers", "AutoencoderKL"])


def _no_pair(path: Path) -> None:
    change(path / "model_index.json", vae="AutoencoderKLWan")


def _no_part(path: Path) -> None:
    shutil.rmtree(path / "vae")


def _no_json(path: Path) -> None:
    (path / "transformer" / "config.json").write_text("{")


def _huge(path: Path) -> None:
    change(path / "transformer" / "config.json", num_layers=100_000)


def _huge_table(path: Path) -> None:
    change(path / "transformer" / "config.json", rope_max_seq_len=1 << 30)


def _wider(path: Path) -> None:
    change(path / "transformer" / "config.json", ffn_dim=64)


def _fewer_layers(path: Path) -> None:
    change(path / "transformer" / "config.json", num_layers=1)


def _pickled(path: Path) -> None:
    (path / TRANSFORMER).unlink()
    (path / "transformer" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))


def _not_finite(path: Path) -> None:
    tensors = load_file(path / TRANSFORMER)
    tensors["proj_out.weight"].fill_(float("nan"))
    save_file(tensors, path / TRANSFORMER)


def _cut(path: Path) -> None:
    data = (path / TRANSFORMER).read_bytes()
    (path / TRANSFORMER).write_bytes(data[: len(data) // 2])


def _shard_outside(path: Path) -> None:
    (path / TRANSFORMER).unlink()
    index = path / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"proj_out.weight": "../../secret.safetensors"}}))


def _link(path: Path) -> None:
    (path / "vae" / "config.json").unlink()
    (path / "vae" / "config.json").symlink_to("/etc/hostname")


def _scheduler(path: Path) -> None:
    change(path / "model_index.json", scheduler=["diffusers", "ScoreSdeVeScheduler"])


def _tokenizer(path: Path) -> None:
    (path / "tokenizer" / "tokenizer.json").write_text("[]")


SPOILT: dict[Callable[[Path], None], type[FolderError]] = {
    _class: NotAModel,
    _no_class: NotAModel,
    _library: UnsafeFolder,
    _own_code: UnsafeFolder,
    _other_part: UnsafeFolder,
    _added_part: UnsafeFolder,
    _no_pair: CorruptFolder,
    _no_part: CorruptFolder,
    _no_json: CorruptFolder,
    _huge: UnsafeFolder,
    _huge_table: UnsafeFolder,
    _wider: MismatchedFolder,
    _fewer_layers: MismatchedFolder,
    _pickled: UnsafeFolder,
    _not_finite: CorruptFolder,
    _cut: CorruptFolder,
    _shard_outside: UnsafeFolder,
    _link: UnsafeFolder,
    _scheduler: UnsafeFolder,
    _tokenizer: CorruptFolder,
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda each: each.__name__[1:])
def test_a_spoilt_folder_is_refused(spoil: Callable[[Path], None], wan: Path) -> None:
    spoil(wan)
    with pytest.raises(SPOILT[spoil]) as caught:
        VideoPipeline.open(wan, device="cpu")
    assert type(caught.value) is SPOILT[spoil]


def test_a_folder_of_nothing_and_one_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAModel):
        VideoPipeline.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(NotAModel, match=r"model_index\.json"):
        VideoPipeline.open(tmp_path)


def test_keys_that_would_choose_code_are_not_passed_on(wan: Path) -> None:
    change(wan / "transformer" / "config.json", auto_map={"AutoModel": "mine.Mine"}, custom_code="mine.py")
    assert VideoPipeline.open(wan, device="cpu").generate("a cat", **SMALL)


def test_weights_in_shards_open(saved: Path, wan: Path) -> None:
    tensors = load_file(wan / TRANSFORMER)
    (wan / TRANSFORMER).unlink()
    names, place = sorted(tensors), wan / "transformer"
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, some in halves.items():
        save_file({name: tensors[name] for name in some}, place / file)
    index = {"weight_map": {name: file for file, some in halves.items() for name in some}}
    (place / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    whole = VideoPipeline.open(saved, device="cpu")
    assert VideoPipeline.open(wan, device="cpu").fingerprint() == whole.fingerprint()


def test_an_older_autoencoder_with_other_names_opens(tmp_path: Path) -> None:
    with silent():
        tiny_pipeline("StableDiffusionPipeline").save_pretrained(tmp_path / "now")
    shutil.copytree(tmp_path / "now", tmp_path / "then")
    file = tmp_path / "then" / "vae" / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for now, then in older.items():
        tensors = {name.replace(f".{now}.", f".{then}."): each for name, each in tensors.items()}
    assert any(".query." in name for name in tensors)
    save_file(tensors, file)
    models = [ImagePipeline.open(tmp_path / each, device="cpu") for each in ("now", "then")]
    assert models[0].fingerprint() == models[1].fingerprint()


def test_a_missing_package_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ftfy", None)
    with pytest.raises(MissingDependency, match="pip install ftfy"):
        VideoPipeline.open(saved, device="cpu")


def test_half_precision_keeps_what_must_stay_whole(saved: Path) -> None:
    model = VideoPipeline.open(saved, device="cpu", dtype="bfloat16")
    assert model.pipe.vae.dtype == torch.float32
    assert model.pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert model.pipe.transformer.scale_shift_table.dtype == torch.float32
    assert model.generate("a cat", **SMALL)[0].frames.shape == (5, 16, 16, 3)


@pytest.mark.parametrize("name", ["WanPipeline", "LTX2Pipeline", "StableVideoDiffusionPipeline", "AnimateDiffPipeline"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_estimate_of_the_weights_is_what_they_take(name: str, dtype: Any, tmp_path: Path) -> None:
    VideoPipeline(tiny_pipeline(name)).save(tmp_path / "model")
    found = estimate(tmp_path / "model", dtype=dtype, device="cpu")
    model = VideoPipeline.open(tmp_path / "model", device="cpu", dtype=dtype)
    for part, size in found.parts.items():
        kept = {each.data_ptr(): each for each in model.pipe.components[part].state_dict().values()}  # some are tied
        assert size == sum(each.numel() * each.element_size() for each in kept.values()), part
    assert found.weights == sum(found.parts.values())


def test_the_estimate_of_quantised_weights_is_what_they_take(saved: Path) -> None:
    plan = Memory(quantization="float8")
    found = estimate(saved, plan, device="cpu")
    network = VideoPipeline.open(saved, device="cpu", memory=plan).pipe.transformer
    assert found.parts["transformer"] == sum(each.numel() * each.element_size() for each in network.parameters())
    assert found.parts["transformer"] < estimate(saved, device="cpu").parts["transformer"]


def test_plans_that_keep_less_on_the_device_are_estimated_to_take_less(saved: Path) -> None:
    index = memory.read_index(folder.read(saved, backend="video"), "video")
    opened = folder.read(saved, backend="video")
    needed = [
        memory.measured(opened, index, Memory(offload=each), "float32", "cuda").device
        for each in ("none", "model", "group", "sequential")
    ]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > needed[-1]
    assert "transformer" in str(estimate(saved, device="cpu"))
    more = estimate(saved, device="cpu", num_frames=161)
    assert more.device > estimate(saved, device="cpu", num_frames=81).device


def test_a_pipeline_that_cannot_fit_is_refused_before_it_is_loaded(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 100_000)
    with pytest.raises(OutOfMemory, match=r"needs .* kB on cpu, where 100\.0 kB are free; try dtype='bfloat16'"):
        VideoPipeline.open(saved, device="cpu")


def test_what_is_free_is_known() -> None:
    free = memory.available("cpu")
    assert free is None or free > 1_000_000


@pytest.mark.parametrize("offload", ["model", "sequential", "group"])
def test_offloading_on_a_machine_without_accelerator_is_refused(offload: Any, saved: Path) -> None:
    with pytest.raises(OptionError, match="the device is the CPU"):
        VideoPipeline.open(saved, device="cpu", memory=Memory(offload=offload))


def test_tiles_and_slices_make_nearly_the_same(saved: Path) -> None:
    whole = VideoPipeline.open(saved, device="cpu").generate("a cat", **SMALL)[0]
    tiled = VideoPipeline.open(saved, device="cpu", memory=Memory(tiling=True, slicing=True))
    assert tiled.pipe.vae.use_tiling
    assert tiled.pipe.vae.use_slicing
    assert tiled.generate("a cat", **SMALL)[0] == whole, "one tile is the whole film"


def test_an_autoencoder_that_cannot_tile_says_so(tmp_path: Path) -> None:
    VideoPipeline(tiny_pipeline("StableVideoDiffusionPipeline")).save(tmp_path / "model")
    with pytest.raises(OptionError, match="AutoencoderKLTemporalDecoder cannot do it"):
        VideoPipeline.open(tmp_path / "model", device="cpu", memory=Memory(tiling=True))


def test_quantised_weights_make_a_film_and_are_not_saved(saved: Path, tmp_path: Path) -> None:
    model = VideoPipeline.open(saved, device="cpu", memory=Memory(quantization="float8"))
    assert model.pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn
    [film] = model.generate("a cat", **SMALL)
    assert film.frames.std() > 0
    assert film != VideoPipeline.open(saved, device="cpu").generate("a cat", **SMALL)[0]
    with pytest.raises(NotOffered, match="quantised"):
        model.save(tmp_path / "again")


@pytest.mark.parametrize("offload", ["model", "group"])
def test_weights_that_come_when_they_are_needed_make_the_same(offload: Any, saved: Path) -> None:
    """The hooks of each plan, with the CPU in the place of the accelerator."""
    [wanted] = VideoPipeline.open(saved, device="cpu").generate("a cat", **SMALL)
    plan, pipe = Memory(offload=offload), tiny_pipeline("WanPipeline")
    memory.apply(pipe, plan, "cpu", torch.float32)
    model = VideoPipeline(pipe, memory=plan)

    def stop(step: Any) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        assert model.generate("a cat", **SMALL) == [wanted]
        with pytest.raises(KeyboardInterrupt):
            model.generate("a cat", on_step=stop, **SMALL)
    with pytest.raises(NotOffered, match="offloaded"):
        model.to("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("offload", ["none", "model", "sequential", "group"])
def test_every_plan_makes_the_same_on_cuda(offload: Any, saved: Path) -> None:
    [wanted] = VideoPipeline.open(saved, device="cuda").generate("a cat", **SMALL)
    model = VideoPipeline.open(saved, device="cuda", memory=Memory(offload=offload))
    for _ in range(2):
        [film] = model.generate("a cat", **SMALL)
        assert abs(film.frames.astype(int) - wanted.frames.astype(int)).max() <= 1
