"""How a pipeline is kept in memory, and how much that takes: told from the headers of its files, before anything is loaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from aigc_sdk import folder, runtime
from aigc_sdk.errors import OptionError, OutOfMemory
from aigc_sdk.folder import Folder
from aigc_sdk.protocols import DType, Options

from .families import FAMILIES
from .loading import FLOAT32, INDEX, Index, float8_skips, kept_float32, network_files, read_index

if TYPE_CHECKING:
    import torch

DENOISERS = ("transformer", "transformer_2", "unet")
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_MEMINFO, _LIMIT, _USED = (
    Path("/proc/meminfo"),
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory.current"),
)


class Memory(Options):
    """How a pipeline is kept in memory."""

    offload: Literal["none", "model", "sequential", "group"] = Field(
        default="none",
        description="where weights are that are not at work: none: on the device; model: one part at a time is there; group: "
        "one block; sequential: one layer",
    )
    tiling: bool = Field(
        default=False, description="decode tile by tile: less memory; seams are blended, so frames differ a little"
    )
    slicing: bool = Field(default=False, description="encode and decode one film of a batch at a time")
    quantization: Literal["none", "float8"] = Field(
        default="none",
        description="how the denoiser's weights are stored: float8 takes a byte each, and computes in the dtype",
    )


@dataclass(frozen=True)
class Estimate:
    """Memory in bytes; `str` shows it. `device` is the most that is needed there at a time, `host` in the machine's memory."""

    parts: Mapping[str, int] = field(default_factory=dict)
    """The weights of each part, in the dtype that they are computed or, if quantised, stored in."""
    device: int = 0
    host: int = 0
    frames: int = 0
    """What the asked frames and the last layer of their decoder take at least; part of `device`."""

    @property
    def weights(self) -> int:
        """The weights of all parts."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        rows = [f"{name:<20} {shown(size):>10}" for name, size in self.parts.items()]
        rows += [
            f"{name:<20} {shown(size):>10}" for name, size in (("frames", self.frames), ("on the device", self.device))
        ]
        return "\n".join([*rows, f"{'in the machine':<20} {shown(self.host):>10}"])


def estimate(
    source: str | Path,
    memory: Memory | None = None,
    *,
    dtype: DType = "float32",
    device: str = "auto",
    num_frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Estimate:
    """What a pipeline's folder will take, from the headers of its safetensors files; sizes are the family's by default.

    Weights are exact. What the network works with on its way is not in it; take a fifth more. Raises FolderError.
    """
    opened = folder.read(source, backend=folder.backend_of(source) if os.path.isdir(source) else "video")
    name = str(opened.json(INDEX).get("_class_name"))
    kind = FAMILIES[name].kind if name in FAMILIES else "video"
    index = read_index(opened, kind)
    plan = memory or Memory()
    family = index.family
    size = family.size or (512, 512)
    frames = frame_bytes(
        _config(opened, "vae"),
        (num_frames or family.frames) if kind == "video" else 1,
        (height or size[0], width or size[1]),
        dtype,
        plan,
        streams=family.decodes != "whole" and plan.offload == "none",
    )
    return measured(opened, index, plan, dtype, runtime.device(device), frames)


def measured(opened: Folder, index: Index, memory: Memory, dtype: DType, device: str, frames: int = 0) -> Estimate:
    """The estimate for a checked folder."""
    parts, blocks, layers = {}, {}, {}
    for part, name in index.parts.items():
        tensors = _tensors(opened.path / part, part, name, memory, dtype)
        if tensors:
            parts[part] = sum(tensors.values())
            blocks[part], layers[part] = _largest(tensors, _block), _largest(tensors, _layer)
    everything, largest = sum(parts.values()), max(parts.values(), default=0)
    resident = {
        "none": everything,
        "model": largest,
        "group": max(blocks.values(), default=0),
        "sequential": max(layers.values(), default=0),
    }[memory.offload]
    return Estimate(parts, resident + frames, everything + (frames if device == "cpu" else 0), frames)


def check_fits(found: Estimate, memory: Memory, device: str, source: str) -> None:
    """Raises OutOfMemory, with a plan that takes less, when an estimate is more than what is free."""
    free = available(device)
    if free is None or found.device <= free:
        return
    remedy = {
        "none": "Memory(offload='model'), or dtype='bfloat16'",
        "model": "Memory(offload='group')",
        "group": "Memory(offload='sequential')",
        "sequential": "a smaller model",
    }[memory.offload]
    if device == "cpu":
        remedy = "dtype='bfloat16', Memory(quantization='float8'), or a smaller model"
    raise OutOfMemory(
        f"the pipeline {source} needs {shown(found.device)} on {device}, where {shown(free)} are free; try {remedy}"
    )


def check_frames(
    pipe: Any, frames: int, size: tuple[int, int], dtype: str, memory: Memory, device: str, streams: bool
) -> None:
    """Raises OutOfMemory when the frames of a call alone are more than what is free."""
    vae = getattr(pipe, "vae", None)
    needed = frame_bytes(dict(vae.config) if vae is not None else {}, frames, size, dtype, memory, streams=streams)
    free = available(device)
    if free is not None and needed > free:
        raise OutOfMemory(
            f"{frames} frames of {size[1]}x{size[0]} need at least {shown(needed)} on {device}, where {shown(free)} are free; "
            "ask for fewer or smaller ones" + ("" if memory.tiling else ", or open the model with Memory(tiling=True)")
        )


def frame_bytes(
    vae: Mapping[str, Any], frames: int, size: tuple[int, int], dtype: str, memory: Memory, *, streams: bool
) -> int:
    """What frames take at least: themselves in float32, and what the decoder's last layer reads and writes of them."""
    channels = vae.get("decoder_block_out_channels") or vae.get("block_out_channels") or [vae.get("base_dim") or 0]
    pixels = frames * size[0] * size[1]
    at_a_time = min(pixels, 512 * 512 * frames) if memory.tiling else pixels
    if streams:
        at_a_time = at_a_time // frames * min(frames, 8)
    return pixels * 3 * 4 + 2 * at_a_time * int(channels[0]) * _BYTES[dtype]


def apply(pipe: Any, memory: Memory, device: str, dtype: torch.dtype) -> None:
    """Bring a loaded pipeline, which is on the CPU, to `device` as planned. Raises OptionError for what it cannot do."""
    import torch

    vae = getattr(pipe, "vae", None)
    for name, on in (("tiling", memory.tiling), ("slicing", memory.slicing)):
        if not on:
            continue
        try:
            getattr(vae, f"enable_{name}")()
        except (AttributeError, NotImplementedError) as error:
            raise OptionError(f"memory: {name}: a {type(vae).__name__} cannot do it", field=name) from error
    if memory.quantization == "float8":
        for name in DENOISERS:
            network = getattr(pipe, name, None)
            if network is not None:
                network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    if memory.offload == "none":
        pipe.to(device)
    elif memory.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif memory.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.enable_group_offload(
            onload_device=torch.device(device), offload_type="block_level", num_blocks_per_group=1, use_stream=False
        )


def check_plan(memory: Memory, device: str) -> None:
    """Refuse a plan that this device has no use for."""
    if memory.offload != "none" and device == "cpu":
        raise OptionError(
            f"memory: offload={memory.offload!r} keeps weights away from an accelerator, and the device is the CPU; "
            "leave it out",
            field="offload",
        )


def available(device: str) -> int | None:
    """Free bytes on a device; None where nobody can tell."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device != "cpu":
        return None
    free = [each for each in (_meminfo(), _cgroup()) if each is not None]
    return min(free) if free else None


def shown(size: int) -> str:
    """Bytes for people."""
    power = min(3, int(math.log10(max(size, 1)) // 3))
    return f"{size / 1000**power:.{min(power, 1)}f} {('B', 'kB', 'MB', 'GB')[power]}"


def _config(opened: Folder, part: str) -> Mapping[str, Any]:
    return opened.config(f"{part}/config.json") if opened.has(f"{part}/config.json") else {}


def _tensors(place: Path, part: str, name: str, memory: Memory, dtype: DType) -> dict[str, int]:
    """The bytes that every weight of a part will take; nothing for parts without weights."""
    from aigc_sdk.weights import file_shapes

    if not (place / "config.json").is_file():
        return {}
    kept = kept_float32(name)
    skipped = float8_skips(name) if memory.quantization == "float8" and part in DENOISERS else None
    found = {}
    for file in network_files(place):
        for weight, shape in file_shapes(file).items():
            whole = name in FLOAT32 or any(each in weight.split(".") for each in kept)
            size = 4 if whole else _BYTES[dtype]
            if skipped is not None and _is_stored_small(weight, skipped):
                size = 1
            found[weight] = math.prod(shape) * size
    return found


def _is_stored_small(weight: str, skipped: tuple[str, ...]) -> bool:
    """Whether layerwise casting stores a weight in float8: those of layers, but of norms, embeddings and the like."""
    words = weight.split(".")
    modules = [".".join(words[:count]) for count in range(1, len(words))]
    return words[-1] in ("weight", "bias") and not any(re.search(each, name) for each in skipped for name in modules)


def _largest(tensors: Mapping[str, int], group: Any) -> int:
    sums: dict[str, int] = {}
    for name, size in tensors.items():
        sums[group(name)] = sums.get(group(name), 0) + size
    return max(sums.values())


def _block(name: str) -> str:
    """The numbered block that a weight belongs to, or its layer where there is none."""
    words = name.split(".")
    numbered = next((index for index, word in enumerate(words) if word.isdigit()), None)
    return _layer(name) if numbered is None else ".".join(words[: numbered + 1])


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _meminfo() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if found is None else int(found) * 1024


def _cgroup() -> int | None:
    try:
        limit, used = _LIMIT.read_text().strip(), _USED.read_text().strip()
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdigit() else None
