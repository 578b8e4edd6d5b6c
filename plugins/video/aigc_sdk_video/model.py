"""The generator of films: small models of this package, and whatever diffusers' pipelines make."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor

from aigc_sdk import artifacts, folder, runtime
from aigc_sdk.errors import CorruptFolder, OptionError
from aigc_sdk.labels import read_sizes
from aigc_sdk.protocols import Device, DType, Generator, Job, OptionsClass, Source, Step
from aigc_sdk.training.images import LUMA, to_images
from aigc_sdk.weights import fill, on_meta, write_module

from .architecture import DIRECTIONS, FREE, Asked, Network, Sizes, network_class
from .options import Filming
from .prompts import parse

DEFAULT = Path(__file__).parent / "default"
MODEL_TYPE = "aigc_video"
LORA = "pytorch_lora_weights.safetensors"  # as diffusers calls it


class Video(Generator[artifacts.Video]):
    """Films from a small model.

        model = aigc_sdk.load("video")               # the model that this package brings: moving digits
        model = aigc_sdk.load("video", "runs/mine")  # a folder
        [clip] = model.generate("a 3 moving left and a 7 moving up", seed=0)
        [longer] = model.generate(image="first.png", num_frames=40, seed=0)

    A prompt names things and their directions; what it leaves open, each clip draws for itself, and `info["objects"]`
    says what it was. A stream comes a window of frames at a time. A folder of a diffusers pipeline opens as an
    `aigc_sdk_video.pipelines.model.VideoPipeline`.
    network: what was built. labels: the names of what it shows.
    """

    Options: ClassVar[OptionsClass] = Filming
    prompt_types = (str, type(None))
    owns_randomness = True
    backend = "video"

    def __init__(self, network: Network, *, labels: Sequence[str] = (), device: str = "cpu", source: str = "") -> None:
        self.network = network.eval()
        self.sizes = network.sizes
        self.labels = tuple(labels)
        self.device = device
        self.dtype = "float32"
        self.source = source

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model: None or "default" for the one in this package, a folder, or a hub id.

        Raises FolderError, DeviceError or OptionError.
        """
        default = source is None or source == "default"
        place = runtime.device(device)
        opened = folder.read(DEFAULT if default or source is None else source, backend="video", revision=revision)
        if is_pipeline(opened):
            from .pipelines.model import open_pipeline  # it imports diffusers

            return cast(Self, open_pipeline(opened, device=device, dtype=dtype))
        runtime.dtype(dtype, ("float32",))
        sizes, labels = _described(opened)
        with on_meta():
            network = network_class(sizes.architecture)(sizes)
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model"):
            fill(network, opened.path, place, torch.float32)
        return cls(network, labels=labels, device=place, source="" if default else opened.source)

    def check(self, job: Job) -> None:
        """Refuse prompts that name what the model does not know, and first frames that are not of its size."""
        for prompt in job.prompts:
            if prompt is not None:
                parse(prompt, self.labels)
        options: Filming = job.options
        wanted = options.num_frames or self.sizes.frames
        first = self._first(options)
        if first is not None and len(first) >= wanted:
            name, given = ("image", "one frame") if options.image is not None else ("video", f"{len(first)} frames")
            raise OptionError(
                f"video option num_frames={wanted}: {name} gives {given} already; ask for more", field="num_frames"
            )

    def fingerprint(self) -> str:
        """A digest of the weights as they are now."""
        return runtime.fingerprint(self.network)

    def run(self, job: Job) -> Iterator[artifacts.Video]:
        """Make one clip after the other, each from its own stream: so a clip is the same alone and among others."""
        options: Filming = job.options
        first = self._first(options)
        done, total = itertools.count(1), 0

        def stepped() -> None:
            job.on_step(Step(next(done), total))

        for index, (prompt, seed) in enumerate(zip(job.items, job.seeds, strict=True)):
            rng = runtime.rng(seed)
            asked = self._asked(prompt, options, first, rng)
            total = self.network.count_steps(asked) * len(job)
            yield from self._filmed(asked, rng, stepped, index, options.fps)

    def save(self, folder_: str | Path) -> None:
        """Write a model folder."""
        with folder.writing(folder_, backend="video", role="generator", fingerprint=self.fingerprint()) as path:
            config = {"model_type": MODEL_TYPE, "sizes": self.sizes.model_dump(), "labels": self.labels}
            (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            write_module(self.network, path)

    def to(self, device: Device) -> Self:
        """Move the model to `device`."""
        self.device = runtime.device(device)
        self.network.to(self.device)
        return self

    def _filmed(
        self, asked: Asked, rng: torch.Generator, on_step: Callable[[], None], index: int, fps: float
    ) -> Iterator[artifacts.Video]:
        told = [
            {
                "label": None if label == FREE else self.labels[label],
                "direction": None if direction == FREE else DIRECTIONS[direction],
            }
            for label, direction in asked.objects
        ]
        for frames in self.network.eval().sample(asked, rng, on_step):
            yield artifacts.Video(np.stack(to_images(frames.cpu())), fps=fps, sample=index, info={"objects": told})

    def _asked(self, prompt: str | None, options: Filming, first: Tensor | None, rng: torch.Generator) -> Asked:
        """What a clip is to be. What nobody says is drawn, unless the first frames tell it."""
        things = ((FREE, FREE),) if prompt is None else parse(prompt, self.labels)
        if first is None:
            things = tuple(
                (self._drawn(label, len(self.labels), rng), self._drawn(turn, 8, rng)) for label, turn in things
            )
        return Asked(things, options.num_frames or self.sizes.frames, options.steps, options.guidance, first)

    def _drawn(self, value: int, count: int, rng: torch.Generator) -> int:
        return value if value != FREE or not count else int(torch.randint(count, (), generator=rng))

    def _first(self, options: Filming) -> Tensor | None:
        """The given first frames, k x c x h x w in [-1, 1]. Raises OptionError for frames of another size."""
        if options.image is None and options.video is None:
            return None
        name = "image" if options.video is None else "video"
        frames = cast(Any, options.image).pixels[None] if options.video is None else cast(Any, options.video).frames
        height, width = frames.shape[1:3]
        size = self.sizes.size
        if (height, width) != (size, size):
            raise OptionError(
                f"video option {name}: it is {width}x{height}, the model makes {size}x{size}; resize it first",
                field=name,
            )
        if self.sizes.channels == 1:
            frames = ((frames @ np.array(LUMA) + 2**15) >> 16)[..., None]
        pixels = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float()
        return (pixels / 127.5 - 1).to(self.device)


def is_pipeline(opened: folder.Folder) -> bool:
    """Whether a folder holds a pipeline of diffusers, or a LoRA of one."""
    return opened.has("model_index.json") or opened.has(LORA)


def new_model(sizes: Sizes, seed: int, device: str) -> Video:
    """A model whose weights are drawn from `seed`."""
    what = f"a new model of {sizes.size} pixels, {sizes.width} wide"
    with runtime.LentState(seed), runtime.memory_errors(what, "choose smaller sizes"):
        network = network_class(sizes.architecture)(sizes).to(device)
    return Video(network, labels=[str(index) for index in range(sizes.classes)], device=device)


def _described(opened: folder.Folder) -> tuple[Sizes, tuple[str, ...]]:
    """Sizes and labels: what config.json says."""
    if opened.config().get("model_type") != MODEL_TYPE:
        raise CorruptFolder(f"{opened.path}: config.json describes no film model")
    return read_sizes(opened, Sizes, "video", "no film model")
