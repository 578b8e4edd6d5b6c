"""Model folders: written whole or not at all, verified when read, and never able to run code."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from aigc_sdk import folder, weights
from aigc_sdk.errors import (
    AigcError,
    CorruptFolder,
    DiskError,
    DownloadError,
    FolderError,
    MismatchedFolder,
    NotAModel,
    UnsafeFolder,
)

SHAPES = {"a": (8, 4), "b": (4,), "c": (2, 3, 4)}


def tensors() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=rng) for name, shape in SHAPES.items()}


def write(target: Path, scale: float = 1.0, **more: str) -> Path:
    with folder.writing(target, backend="tiny", role="generator", fingerprint="f") as path:
        (path / "config.json").write_text(json.dumps({"model_type": "tiny", "hidden_size": 4}))
        save_file({name: each * scale for name, each in tensors().items()}, path / "model.safetensors")
        for name, text in more.items():
            (path / name).write_text(text)
    return target


def load(path: Path) -> dict[str, torch.Tensor]:
    opened = folder.read(path, backend="tiny")
    opened.config()
    return opened.weights(SHAPES)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 as plain transformers saves it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=8, n_layer=2, n_head=2)).save_pretrained(path)
    return path


def open_gpt2(path: Path) -> Any:
    return weights.load_transformers(folder.read(path, backend="gpt2"), AutoModelForCausalLM)


def test_a_folder_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    assert same(load(path), tensors())
    manifest = folder.read(path, backend="tiny").manifest
    assert manifest is not None
    assert manifest["backend"] == "tiny"
    assert folder.backend_of(path) == "tiny"


def test_a_model_replaces_a_model_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    write(path, 2.0)
    assert same(load(path), {name: each * 2 for name, each in tensors().items()})
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(FolderError, match="other things"):
        write(tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderError, match="not a folder"):
        write(tmp_path / "file")


def test_an_error_while_writing_leaves_the_old_model_and_no_litter(tmp_path: Path) -> None:
    path = write(tmp_path / "model")

    def failing() -> None:
        with folder.writing(path, backend="tiny", role="generator") as temporary:
            (temporary / "config.json").write_text("{}")
            raise KeyError("stop")

    with pytest.raises(KeyError):
        failing()
    assert same(load(path), tensors())
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_files_have_the_mode_that_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = write(tmp_path / "model")
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in path.iterdir()} == {0o666 & ~umask}


def test_a_folder_of_another_backend_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MismatchedFolder, match="'tiny'"):
        folder.read(write(tmp_path / "model"), backend="gpt2")


@pytest.mark.parametrize(
    "make", [lambda p: p / "none", lambda p: p, lambda p: p / "file"], ids=["missing", "empty", "file"]
)
def test_what_is_no_folder_of_a_model_is_said_to_be_none(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAModel):
        folder.backend_of(make(tmp_path))


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Flipped bits, cuts, splices, zeroed stretches, wrong header lengths, added bytes."""
    rng = random.Random(seed)
    for index in range(count):
        kind, place, changed = index % 6, rng.randrange(len(data)), bytearray(data)
        if kind == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place:]
        elif kind == 2:
            stop = min(len(data), place + rng.randrange(1, 64))
            changed[place:stop] = data[:][rng.randrange(len(data)) :][: stop - place]
        elif kind == 3:
            changed[place : place + 16] = bytes(min(16, len(data) - place))
        elif kind == 4:
            changed[:8] = rng.randrange(2**64).to_bytes(8, "little")
        else:
            changed += rng.randbytes(rng.randrange(1, 32))
        yield bytes(changed)


def test_5000_damaged_weight_files_are_all_found(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    file, sound = path / "model.safetensors", (path / "model.safetensors").read_bytes()
    found = 0
    for damaged in mutants(sound, 5000, 1):
        file.write_bytes(damaged)
        try:
            assert same(load(path), tensors())
            assert damaged == sound
        except FolderError:
            found += 1
    assert found > 4500


def test_1000_single_bit_flips_of_weights_are_all_found(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    file, sound = path / "model.safetensors", (path / "model.safetensors").read_bytes()
    rng = random.Random(2)
    for _ in range(1000):
        changed = bytearray(sound)
        changed[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
        with pytest.raises(CorruptFolder, match=r"model\.safetensors"):
            load(path)


@pytest.mark.parametrize("name", ["config.json", "aigc.json"])
def test_1500_damaged_json_files_are_all_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "model")
    sound = (path / name).read_bytes()
    for damaged in mutants(sound, 1500, 3):
        (path / name).write_bytes(damaged)
        try:
            assert same(load(path), tensors())
            assert json.loads(damaged) == json.loads(sound)
        except FolderError:
            pass


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_a_number_that_is_not_finite_is_found_anywhere_and_large_ones_are_none(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    file, most = tmp_path / "a.safetensors", torch.finfo(dtype).max
    save_file(
        {"large": torch.full((2, 70), most, dtype=torch.float64).to(dtype), "none": torch.empty(0, dtype=dtype)}, file
    )
    weights.check_file(file)
    for value in (torch.inf, -torch.inf, torch.nan):
        row = torch.zeros(300, dtype=torch.float64)
        row[123], row[7] = value, most
        save_file({"sound": torch.ones(3), "odd": row.to(dtype)}, file)
        with pytest.raises(CorruptFolder, match="the weight odd holds NaN or infinite values"):
            weights.check_file(file)
    save_file({"odd": torch.tensor([torch.inf, -torch.inf]).to(dtype)}, file)
    with pytest.raises(CorruptFolder):
        weights.check_file(file)


def test_1500_damaged_files_of_other_libraries_give_typed_errors_or_sound_models(gpt2: Path, tmp_path: Path) -> None:
    """Without a manifest of ours a changed weight cannot be told from a trained one, but nothing else gets through."""
    path = tmp_path / "model"
    shutil.copytree(gpt2, path)
    for name, count in (("config.json", 300), ("model.safetensors", 1200)):
        sound = (path / name).read_bytes()
        for damaged in mutants(sound, count, 4):
            (path / name).write_bytes(damaged)
            try:
                model = open_gpt2(path)
                assert all(bool(torch.isfinite(each).all()) for each in model.parameters())
            except FolderError:
                pass
        (path / name).write_bytes(sound)


def header(**entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


HEADERS: dict[str, bytes] = {
    "empty file": b"",
    "no header": struct.pack("<Q", 0),
    "length 2**63": struct.pack("<Q", 2**63) + b"{}",
    "length 2**64-1": struct.pack("<Q", 2**64 - 1) + b"{}",
    "length 100,000,001": struct.pack("<Q", 100_000_001) + b"{}",
    "length beyond the file": struct.pack("<Q", 500) + b"{}",
    "seven bytes": b"1234567",
    "no JSON": struct.pack("<Q", 4) + b"{{{{",
    "a list": struct.pack("<Q", 2) + b"[]",
    "no UTF-8": struct.pack("<Q", 4) + b"\xff\xfe{}",
    "unknown dtype": header(a={"dtype": "F1", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
    "negative shape": header(a={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}) + bytes(4),
    "shape overflow": header(a={"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}) + bytes(4),
    "a float for a shape": header(a={"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}) + bytes(4),
    "offsets backwards": header(a={"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}) + bytes(4),
    "offsets beyond": header(a={"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}) + bytes(4),
    "offsets of text": header(a={"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}) + bytes(4),
    "one offset": header(a={"dtype": "F32", "shape": [1], "data_offsets": [0]}) + bytes(4),
    "hole": header(a={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}) + bytes(8),
    "overlap": header(
        a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        b={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
    )
    + bytes(8),
    "bytes left over": header(a={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}) + bytes(8),
    "shape and bytes differ": header(a={"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}) + bytes(4),
    "duplicate names": struct.pack("<Q", 112)
    + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(
        112
    )
    + bytes(4),
    "100,000 tensors": header(
        **{f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_handmade_header_gives_a_typed_error_quickly(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "tiny"}')
    (tmp_path / "model.safetensors").write_bytes(HEADERS[name])
    started = time.process_time()
    with pytest.raises(FolderError):
        folder.read(tmp_path, backend="tiny").weights(SHAPES)
    assert time.process_time() - started < 2


BOMBS = [
    *(
        {key: value}
        for key in ("n_embd", "n_inner", "n_positions", "vocab_size")
        for value in (10**9, 2**40, -1, -(10**9), 10**400)
    ),
    *({"n_layer": value} for value in (10**6, 10**9, -1, 2**70)),
    *({"n_head": value} for value in (10**6, -2, 0)),
    {"n_embd": "8"},
    {"n_embd": 7},
    {"n_embd": None},
    {"n_layer": 1.5},
    {"n_layer": [2]},
    {"n_layer": {}},
    {"vocab_size": True},
    {"vocab_size": float("nan")},
    {"activation_function": "no such function"},
    {"activation_function": 3},
    {"model_type": "no such model"},
    {"model_type": 7},
    {"n_layer": 3},
    {"vocab_size": 65},
]


@pytest.mark.parametrize("change", BOMBS, ids=[str(each)[:40] for each in BOMBS])
def test_a_configuration_that_is_not_of_the_weights_is_refused_before_allocating(
    gpt2: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    shutil.copytree(gpt2, tmp_path / "model")
    config = tmp_path / "model/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    started = time.process_time()
    with pytest.raises(FolderError):
        open_gpt2(tmp_path / "model")
    assert time.process_time() - started < 10  # of the processor, for nothing of such sizes was drawn


def test_the_deepest_and_the_largest_json_are_refused(tmp_path: Path) -> None:
    for text in ("[" * 100_000, '{"a":' * 200 + "1" + "}" * 200, '{"a": "' + "x" * 70_000_000 + '"}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(FolderError):
            folder.read_json(tmp_path / "config.json")


def hostile(path: Path, kind: str, canary: Path) -> None:
    """Change a sound folder so that a careless loader runs code, reads outside, or takes the wrong weights."""
    code = f"open({str(canary)!r}, 'w').write('ran')\n"
    config = json.loads((path / "config.json").read_text())
    kernel = "attacker/kernel"
    if kind == "remote code":
        config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
        config["model_type"] = "evil"
        (path / "evil.py").write_text(code)
    elif kind == "kernel":
        config["_attn_implementation"] = kernel
    elif kind == "internal kernel":
        config["_attn_implementation_internal"] = config["attn_implementation"] = kernel
    elif kind == "experts kernel":
        config["_experts_implementation"] = kernel
    elif kind == "trust":
        config["trust_remote_code"] = True
    elif kind == "custom generate":
        config["custom_generate"] = "attacker/generate"
        (path / "custom_generate").mkdir()
        (path / "custom_generate" / "generate.py").write_text(code)
    elif kind == "quantization":
        config["quantization_config"] = {"quant_method": "evil"}
    elif kind == "pickle":
        (path / "model.safetensors").unlink()
        (path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.")
    elif kind == "link":
        (path / "model.safetensors").rename(path.parent / "outside.safetensors")
        (path / "model.safetensors").symlink_to(path.parent / "outside.safetensors")
    elif kind == "shard outside":
        outside = path.parent / "outside"
        outside.mkdir()
        (path / "model.safetensors").rename(outside / "x.safetensors")
        names = weights_of(outside / "x.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../outside/x.safetensors")}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    elif kind == "absolute shard":
        names = weights_of(path / "model.safetensors")
        (path / "model.safetensors").rename(path.parent / "x.safetensors")
        index = {"weight_map": dict.fromkeys(names, str(path.parent / "x.safetensors"))}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    elif kind == "nan":
        resave(path, lambda name, each: torch.full_like(each, torch.nan))
    elif kind == "inf":
        resave(path, lambda name, each: torch.full_like(each, torch.inf) if name.endswith("bias") else each)
    elif kind == "other names":
        resave(path, lambda name, each: each, "x.")
    elif kind == "missing weight":
        drop(path, "transformer.h.1.mlp.c_fc.weight")
    elif kind == "fifo":
        (path / "model.safetensors").unlink()
        os.mkfifo(path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))


def weights_of(path: Path) -> list[str]:
    from safetensors.torch import load_file

    return list(load_file(path))


def resave(path: Path, change: Callable[[str, torch.Tensor], torch.Tensor], prefix: str = "") -> None:
    from safetensors.torch import load_file

    file = path / "model.safetensors"
    save_file({prefix + name: change(name, each) for name, each in load_file(file).items()}, file, {"format": "pt"})


def drop(path: Path, gone: str) -> None:
    from safetensors.torch import load_file

    file = path / "model.safetensors"
    save_file({name: each for name, each in load_file(file).items() if name != gone}, file, {"format": "pt"})


HARMLESS = ("kernel", "internal kernel", "experts kernel", "trust", "custom generate", "quantization")
KINDS = [
    *HARMLESS,
    "remote code",
    "pickle",
    "link",
    "fifo",
    "shard outside",
    "absolute shard",
    "nan",
    "inf",
    "other names",
    "missing weight",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_folder_runs_nothing_and_asks_nothing(
    gpt2: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(gpt2, tmp_path / "model")
    canary = tmp_path / "canary"
    hostile(tmp_path / "model", kind, canary)
    monkeypatch.setattr("builtins.input", lambda *asked: pytest.fail(f"asked {asked}"))
    monkeypatch.setattr("sys.stdin", None)
    if kind in HARMLESS:  # the key is left out, and the model is a sound one
        assert open_gpt2(tmp_path / "model").config._attn_implementation == "sdpa"
    else:
        with pytest.raises(FolderError):
            open_gpt2(tmp_path / "model")
    assert not canary.exists()


def test_a_file_that_was_not_saved_with_the_model_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(CorruptFolder, match="adapter_config"):
        load(path)


def test_a_manifest_cannot_point_outside(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    manifest = json.loads((path / "aigc.json").read_text())
    manifest["files"]["../x.json"] = {"size": 1, "sha256": ""}
    manifest["sha256"] = folder.digest(manifest)
    (path / "aigc.json").write_text(json.dumps(manifest))
    with pytest.raises(UnsafeFolder):
        load(path)


def test_an_old_gpt2_checkpoint_with_buffers_and_without_prefix_opens(gpt2: Path, tmp_path: Path) -> None:
    """The layout in which the original GPT-2 was published."""
    from safetensors.torch import load_file

    shutil.copytree(gpt2, tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    old = {name.removeprefix("transformer."): each for name, each in load_file(file).items()}
    for layer in range(2):
        old[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
    save_file(old, file)
    model, plain = open_gpt2(tmp_path / "model"), AutoModelForCausalLM.from_pretrained(gpt2)
    assert same(dict(model.state_dict()), dict(plain.state_dict()))


def test_shards_are_read_as_one_model(gpt2: Path, tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(gpt2)
    plain.save_pretrained(tmp_path / "model", max_shard_size="4KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    assert same(dict(open_gpt2(tmp_path / "model").state_dict()), dict(plain.state_dict()))


def test_a_hub_name_without_a_network_is_a_typed_error_in_moments(tmp_path: Path) -> None:
    code = (
        "import time, aigc_sdk.folder as f; from aigc_sdk.errors import DownloadError\n"
        "try: f.read('nobody/nothing', backend='tiny')\n"
        "except DownloadError as e: print(e)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)
    assert "nobody/nothing" in done.stdout


def test_a_missing_local_path_is_never_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "download", lambda *asked: pytest.fail("the hub was asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for source in ("runs/mine", "./x/y", str(tmp_path / "x"), "plain", "a/b/c", "../x/y"):
        with pytest.raises(NotAModel):
            folder.read(source, backend="tiny")


def test_a_read_only_or_full_disk_is_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    path = write(tmp_path / "model")
    for number in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO):
        for name in ("fsync", "open", "mkdir"):
            real = getattr(os, name)

            def failing(*args: Any, real: Any = real, number: int = number, **more: Any) -> Any:
                if real.__name__ == "open" and not args[1] & os.O_CREAT:
                    return real(*args, **more)
                raise OSError(number, os.strerror(number))

            with monkeypatch.context() as patch:
                patch.setattr(os, name, failing)
                with pytest.raises(DiskError, match="model") as caught:
                    write(path, 3.0)
            assert caught.value.errno == number
            assert same(load(path), tensors())
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_every_error_of_a_folder_is_of_the_tree() -> None:
    for each in (NotAModel, CorruptFolder, UnsafeFolder, MismatchedFolder, DownloadError):
        assert issubclass(each, FolderError)
        assert issubclass(each, AigcError)


def test_modules_on_meta_draw_nothing_and_need_no_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from torch import nn\n"
        "from aigc_sdk.weights import on_meta\n"
        "before = torch.get_rng_state()\n"
        "with on_meta():\n"
        "    made = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))\n"
        "    nn.init.trunc_normal_(made[1].weight)\n"
        "    nn.init.orthogonal_(made[2].weight)\n"
        "assert all(each.is_meta for each in made.state_dict().values())\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "assert 'torch._dynamo' not in sys.modules, 'the compiler'\n"
        "drawn = nn.Embedding(3, 4).weight\n"
        "assert not drawn.is_meta and bool(drawn.any())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_gets_back_what_was_written_of_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    weights.write_module(module.half(), tmp_path / "new")
    with weights.on_meta():
        again = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    weights.fill(again, tmp_path / "new", "cpu", torch.float32)
    for name, each in module.float().state_dict().items():
        assert torch.equal(again.state_dict()[name], each)
    other = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with pytest.raises(MismatchedFolder, match="unexpected"):
        weights.fill(other, tmp_path / "new", "cpu", torch.float32)


def test_the_number_of_a_layer_is_no_size_and_may_count_from_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    opened = folder.read(path, backend="tiny")
    (path / "config.json").write_text(json.dumps({"vision_feature_layer": -2, "hidden_size": 4}))
    assert opened.config()["vision_feature_layer"] == -2
    (path / "config.json").write_text(json.dumps({"vision_feature_layer": -(10**6)}))
    with pytest.raises(UnsafeFolder, match="vision_feature_layer"):
        opened.config()


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model"])
def test_a_vocabulary_of_sentencepiece_belongs_to_a_model(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model", **{name: "words"})
    (path / name).write_text("other words")
    with pytest.raises(CorruptFolder, match=name):
        folder.read(path, backend="tiny")
