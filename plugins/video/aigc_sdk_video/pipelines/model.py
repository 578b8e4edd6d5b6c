"""The generators: films and pictures by diffusers' pipelines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch

from aigc_sdk import folder, runtime
from aigc_sdk.artifacts import Audio, Image, Video
from aigc_sdk.errors import NotAModel, NotOffered
from aigc_sdk.protocols import Device, DType, Generator, Job, OptionsClass, Source, Step, ignore

from . import calling, decoding, lora_files, memory
from .calling import Call
from .families import FAMILIES, Kind
from .loading import build, check_package, read_index, silent
from .memory import Memory
from .options import FilmSampling, StillSampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

A = TypeVar("A", Video, Image)
DTYPES = ("float32", "bfloat16", "float16")
REMEDY = "ask for fewer or smaller frames, or open the model with a Memory plan (offload, tiling, quantization)"


@dataclass(frozen=True)
class Denoised(Step):
    """A Step of a sampler, with a look at what has been made so far."""

    look: Callable[[], Video | Image] | None = field(default=None, kw_only=True, compare=False, repr=False)

    def preview(self) -> Video | Image:
        """The film or picture as it is now, still noisy; it is decoded when this is called, within `on_step`.

        Raises NotOffered where the pipeline does not hand out its latents.
        """
        if self.look is None:
            raise NotOffered(
                "this step has nothing to show: the pipeline keeps its latents to itself, or decodes them already"
            )
        return self.look()


def open_pipeline(
    opened: folder.Folder, *, device: Device = "auto", dtype: DType = "float32", memory: Memory | None = None
) -> VideoPipeline:
    """The film pipeline in a checked folder. Raises FolderError, DeviceError, OptionError, ResourceError or MissingDependency."""
    return VideoPipeline._opened(opened, device, dtype, memory)


class _Pipeline(Generator[A], Generic[A]):
    """What the generators of films and of pictures have in common."""

    prompt_types = (str, type(None))
    kind: ClassVar[Kind]

    def __init__(
        self,
        pipe: Any,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        source: str = "",
        memory: Memory | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """Wrap a pipeline object of diffusers, which is on `device` already, or offloaded as `memory` says.

        fingerprint: of the weights; None computes it, which cannot be done once they are offloaded layer by layer.
        """
        self.pipe = pipe
        self.name = type(pipe).__name__
        if self.name not in FAMILIES or FAMILIES[self.name].kind != self.kind:
            raise NotAModel(f"a {self.name} makes no {self.kind}s that are known here")
        self.family = FAMILIES[self.name]
        self.memory = memory or Memory()
        self.device = device
        self.dtype = dtype
        self.source = source
        self.lora: lora_files.Adapter | None = None
        """The LoRA in use."""
        self._modules = torch.nn.ModuleDict(
            {name: each for name, each in pipe.components.items() if isinstance(each, torch.nn.Module)}
        )
        self._fingerprint = fingerprint
        self._siblings: dict[str, Any] = {self.name: pipe}

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        memory: Memory | None = None,
    ) -> Self:
        """Load a pipeline from a folder or a hub id; `memory` says how it is kept in memory.

        The class that model_index.json names must be one of `FAMILIES`; weights are safetensors. A folder of a LoRA
        opens with the pipeline that it was trained for. Raises FolderError, DeviceError, OptionError, OutOfMemory or
        MissingDependency.
        """
        if source is None:
            raise NotAModel(f"{cls.backend} has no model of its own; give a folder of diffusers, or a hub id")
        return cls._opened(folder.read(source, backend=cls.backend, revision=revision), device, dtype, memory)

    @classmethod
    def _opened(cls, opened: folder.Folder, device: Device, dtype: DType, plan: Memory | None) -> Self:
        place, number, plan = runtime.device(device), runtime.dtype(dtype, DTYPES), plan or Memory()
        memory.check_plan(plan, place)
        if lora_files.is_adapter(opened):
            base = lora_files.base_of(opened)
            model = cls.open(base, device=device, dtype=dtype, memory=plan)
            model.use_lora(opened)
            return model
        index = read_index(opened, cls.kind)
        check_package(index.family)
        memory.check_fits(memory.measured(opened, index, plan, dtype, place), plan, place, opened.source)
        with runtime.memory_errors(f"the pipeline {opened.source}", REMEDY), silent():
            pipe = build(opened, index, number)
            made = cls(pipe, dtype=dtype, source=opened.source, memory=plan)
            if plan.offload != "none":
                made._fingerprint = runtime.fingerprint(made._modules)  # offloaded weights cannot be read
            memory.apply(pipe, plan, place, number)
        made.device = place
        return made

    def check(self, job: Job) -> None:
        """Refuse what the pipeline cannot do, naming the nearest that it can, and prompts that it would cut."""
        call = calling.planned(self.pipe, self.name, job.options)
        calling.check_weights(self.pipe, job.options)
        for index, prompt in enumerate(job.prompts):
            where = "prompt" if len(job.prompts) == 1 else f"prompt[{index}]"
            calling.check_prompt(self._running(call.name), call, prompt, where)
        if call.height is not None and call.width is not None:
            size, streams = (call.height, call.width), self._streams(call)
            memory.check_frames(self.pipe, call.frames, size, self.dtype, self.memory, self.device, streams)

    def run(self, job: Job) -> Iterator[A]:
        """Make one item after the other, each with a generator of its own seed."""
        call = calling.planned(self.pipe, self.name, job.options)
        for index, (prompt, seed) in enumerate(zip(job.items, job.seeds, strict=True)):
            runtime.set_global_seed(
                seed, self.device
            )  # of the state that is lent to this call: some schedulers draw there
            pieces = decoding.count(self.pipe, call.name, call.frames) if self._streams(call) else 0
            yield from self._made(call, prompt, seed, index, _Telling(job, index, call, self.dtype, pieces))

    def fingerprint(self) -> str:
        """A digest of the weights as they are now."""
        own = runtime.fingerprint(self._modules) if self._fingerprint is None else self._fingerprint
        return own if self.lora is None else self.lora.digest(own)

    def identity(self, job: Job) -> dict[str, Any]:
        """The model's source and fingerprint, and those of its LoRA."""
        found = super().identity(job)
        return found if self.lora is None else {**found, "lora": self.lora.identity()}

    def restore(self, identity: Mapping[str, Any]) -> None:
        """Load the LoRA that `identity` names. Raises MediaError for one that was never in a folder."""
        source = lora_files.named_in(identity)
        if source is not None and self.lora is None:
            self.use_lora(source)

    def use_lora(self, source: str | Path | folder.Folder) -> None:
        """Generate with a LoRA from now on: a folder that a trainer here wrote, or one of diffusers.

        Raises NotOffered where one is in use, or the pipeline takes none; FolderError for a folder that holds none for it.
        """
        if self.lora is not None:
            raise NotOffered(f"the LoRA {self.lora.source!r} is in use already; open the model anew for another")
        opened = source if isinstance(source, folder.Folder) else folder.read(source, backend=self.backend)
        self.lora = lora_files.load(self.pipe, self.name, opened)

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, which plain diffusers opens too; or, with a LoRA in use, the LoRA's."""
        if self.lora is not None:
            lora_files.save(self, folder_)
            return
        if self.memory.quantization != "none" or self.memory.offload != "none":
            raise NotOffered("a pipeline that is quantised or offloaded is not saved; open it without, and save that")
        digest = self.fingerprint()
        with folder.writing(folder_, backend=self.backend, role="generator", fingerprint=digest) as path, silent():
            self.pipe.save_pretrained(path)

    def to(self, device: Device) -> Self:
        """Move the model to `device`. Raises NotOffered for a pipeline that is offloaded."""
        if self.memory.offload != "none":
            raise NotOffered(f"the pipeline is offloaded ({self.memory.offload}) and stays on {self.device}")
        self.device = runtime.device(device)
        self.pipe.to(self.device)
        return self

    def _made(self, call: Call, prompt: str | None, seed: int, index: int, telling: _Telling) -> Iterator[A]:
        raise NotImplementedError

    def _running(self, name: str) -> Any:
        """The pipeline object that runs; those of other classes share its parts."""
        if name not in self._siblings:
            import diffusers

            kind = getattr(diffusers, name)
            known = inspect.signature(kind.__init__).parameters
            with silent():
                made = kind(**{part: each for part, each in self.pipe.components.items() if part in known})
            made.set_progress_bar_config(disable=True)
            self._siblings[name] = made
        return self._siblings[name]

    def _streams(self, call: Call) -> bool:
        """Whether frames are decoded piece by piece."""
        return call.family.decodes != "whole" and self.memory.offload == "none" and not decoding.is_tiled(self.pipe)

    def _called(self, call: Call, prompt: str | None, seed: int, telling: _Telling, output: str) -> Any:
        """What the pipeline returns for one item."""
        pipe = self._running(call.name)
        known = inspect.signature(type(pipe).__call__).parameters
        arguments = {name: each for name, each in call.arguments.items() if name in known}
        if call.family.prompts:
            arguments["prompt"] = prompt
        if call.family.calls_back:
            arguments["callback_on_step_end"] = telling.denoised
        what = f"a {call.name} of {call.frames} frames"
        told, guided = telling.watching(pipe, call.family.calls_back), _guided(pipe, call)
        with told, guided, self._released(), runtime.memory_errors(what, REMEDY), silent():
            return pipe(**arguments, generator=runtime.rng(seed), output_type=output)

    @contextmanager
    def _released(self) -> Iterator[None]:
        """Parts that were moved to the device go back to the CPU, also when a call was cancelled or ran as another class."""
        try:
            yield
        finally:
            self.pipe.maybe_free_model_hooks()


class VideoPipeline(_Pipeline[Video]):
    """Films by a pipeline of diffusers: Wan, LTX, CogVideoX, HunyuanVideo, AnimateDiff, Stable Video Diffusion, Mochi.

        model = aigc_sdk.load("video", "models/wan")
        [film] = model.generate("a cat runs over a meadow", num_frames=33, height=480, width=832, seed=1)
        [film] = model.generate("it jumps", image="cat.png", seed=1)      # a model that starts from pictures

    Each item's noise comes from a `torch.Generator` on the CPU with the item's own seed, as diffusers draws with it.
    `on_step` gets a `Denoised` step, whose `preview()` shows the film so far. Frames come as they are decoded where the
    autoencoder works through time: Wan, CogVideoX, AnimateDiff. The film of an LTX-2 has its sound.
    """

    Options: ClassVar[OptionsClass] = FilmSampling
    backend = "video"
    kind = "video"

    def _made(self, call: Call, prompt: str | None, seed: int, index: int, telling: _Telling) -> Iterator[Video]:
        pipe, info = self._running(call.name), _info(call)
        if not self._streams(call):
            made = self._called(call, prompt, seed, telling, "np")
            frames = _bytes(made.frames[0], self.dtype)
            yield Video(frames, fps=call.fps, sample=index, info=info, sound=_sound(pipe, made))
            return
        latents = self._called(call, prompt, seed, telling, "latent").frames
        with runtime.memory_errors(f"decoding {call.frames} frames", REMEDY):
            for piece in decoding.pieces(pipe, call.name, latents):
                telling.decoded()
                yield Video(_bytes(piece, self.dtype), fps=call.fps, sample=index, info=info)


class ImagePipeline(_Pipeline[Image]):
    """Pictures by a pipeline of diffusers: DDPM, DDIM, and folders of Stable Diffusion's layout.

    model = aigc_sdk.load("diffusion", "models/stable-diffusion")
    [picture] = model.generate("a cat", seed=1)
    [picture] = model.generate("a dog", image=picture, strength=0.6)               # image to image
    [picture] = model.generate("a hat", image=picture, mask="mask.png")            # inpainting: white is made anew
    """

    Options: ClassVar[OptionsClass] = StillSampling
    backend = "diffusion"
    kind = "image"

    def _made(self, call: Call, prompt: str | None, seed: int, index: int, telling: _Telling) -> Iterator[Image]:
        made = self._called(call, prompt, seed, telling, "np")
        flagged = getattr(made, "nsfw_content_detected", None) or [False]
        info = {**_info(call), **({"flagged": True} if flagged[0] else {})}
        yield Image(_bytes(made.images[0], self.dtype), sample=index, info=info)


@dataclass
class _Telling:
    """Progress of one item: the pipeline's steps, and then its pieces as they are decoded, become the job's steps."""

    job: Job
    index: int
    call: Call
    dtype: str
    pieces: int

    def __post_init__(self) -> None:
        self.grad = torch.is_grad_enabled()
        self.done = self.total = 0

    def denoised(self, pipe: Any, step: int, time: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """diffusers' callback."""
        look = functools.partial(self._look, pipe, tensors["latents"])
        self._tell(step + 1, int(pipe.num_timesteps), look)
        return {}

    def decoded(self) -> None:
        """One more piece is decoded."""
        self._tell(self.done + 1, self.total)

    @contextmanager
    def watching(self, pipe: Any, calls_back: bool) -> Iterator[None]:
        """Where a pipeline has no callback, its progress bar tells of its steps."""
        if calls_back or self.job.on_step is ignore:
            yield
            return
        pipe.progress_bar = self._bar
        try:
            yield
        finally:
            del pipe.progress_bar

    def _bar(self, iterable: Any = None, total: int | None = None) -> _Bar:
        return _Bar(iterable, len(iterable) if total is None else total, self._tell)

    def _tell(self, done: int, total: int, look: Callable[[], Video | Image] | None = None) -> None:
        self.done, self.total = done, total
        if self.job.on_step is ignore:
            return
        each = total + self.pieces
        with torch.set_grad_enabled(self.grad):  # pipelines switch gradients off, and this is the caller's own code
            self.job.on_step(Denoised(self.index * each + done, len(self.job) * each, look=look))

    def _look(self, pipe: Any, latents: torch.Tensor) -> Video | Image:
        call = self.call
        if call.height is None or call.width is None:
            raise NotOffered(f"a {call.name} does not show what it makes before it is done")
        frames = call.arguments.get("num_frames", call.frames)
        shown = _bytes(decoding.look(pipe, call.name, latents, frames, call.height, call.width), self.dtype)
        return Image(shown[0]) if call.family.kind == "image" else Video(shown[-call.frames :], fps=call.fps)


class _Bar:
    """What a pipeline takes for its progress bar."""

    def __init__(self, iterable: Any, total: int, tell: Callable[[int, int], None]) -> None:
        self.iterable, self.total, self.tell, self.done = iterable, total, tell, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for each in self.iterable:
            yield each
            self.update()

    def update(self, n: int = 1) -> None:
        """`n` more steps are done."""
        self.done += n
        self.tell(self.done, self.total)


@contextmanager
def _guided(pipe: Any, call: Call) -> Iterator[None]:
    """Guidance for the pipelines that have a part for it (HunyuanVideo 1.5)."""
    guidance, guider = call.arguments.get("guidance_scale"), getattr(pipe, "guider", None)
    if guider is None or guidance is None:
        yield
        return
    pipe.guider = guider.new(guidance_scale=guidance)
    try:
        yield
    finally:
        pipe.guider = guider


def _info(call: Call) -> dict[str, Any]:
    """The values that were used."""
    return {"pipeline": call.name, "steps": call.steps}


def _bytes(frames: Any, dtype: str) -> NDArray[np.uint8]:
    """Frames in [0, 1] as bytes, rounded as diffusers does."""
    calling.check_finite(frames, dtype)
    return (np.asarray(frames, np.float32) * 255).round().astype(np.uint8)


def _sound(pipe: Any, made: Any) -> Audio | None:
    """What the pipeline returns beside its frames (LTX-2)."""
    samples = getattr(made, "audio", None)
    if samples is None:
        return None
    found = np.ascontiguousarray(samples[0].float().cpu().numpy().clip(-1, 1))
    return Audio(found, sample_rate=int(pipe.vocoder.config.output_sampling_rate))
