"""Device, dtype and randomness. torch is imported inside functions, and only where torch is what is asked for."""

from __future__ import annotations

import hashlib
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from .errors import DeviceError, MissingDependency, OptionError, OutOfMemory

if TYPE_CHECKING:
    import torch

_global_state = threading.RLock()  # torch's default random state belongs to the process, so one borrower at a time


def device(name: str) -> str:
    """The torch device that `name` means: "auto" is CUDA if present, else the CPU. Raises DeviceError."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(
            f"device {name!r} is not one that torch knows; use 'auto', 'cpu', 'cuda' or 'cuda:0'"
        ) from error
    if wanted.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            build = "" if torch.version.cuda else f" (torch {torch.__version__} is a build without CUDA)"
            raise DeviceError(f"device {name!r}: this machine has no usable CUDA device{build}; use device='cpu'")
        if wanted.index is not None and wanted.index >= count:
            raise DeviceError(f"device {name!r}: the machine has cuda:0 to cuda:{count - 1}")
    elif wanted.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device {name!r}: this machine has no usable Metal device; use device='cpu'")
    elif wanted.type not in ("cpu", "mps"):
        raise DeviceError(f"device {name!r} is not supported; use 'auto', 'cpu', 'cuda' or 'mps'")
    return str(wanted)


def dtype(name: str, allowed: tuple[str, ...] = ("float32", "bfloat16")) -> torch.dtype:
    """The torch dtype called `name`; `allowed` are those that the backend computes in."""
    import torch

    if name not in allowed:
        raise OptionError(f"dtype {name!r} is not offered here; use one of {', '.join(allowed)}", field="dtype")
    return cast("torch.dtype", getattr(torch, name))


def precision(name: str, device: str, allowed: tuple[str, ...] = ("float32", "bfloat16", "int8")) -> str:
    """The precision that `name` means on `device`: "auto" is the fastest of `allowed` that loses little there.

    That is bfloat16 where it is computed by instructions of its own, else int8 where a CPU has those of VNNI, else float32.
    int8 stands for weights of eight bits beside float32, on a CPU. Raises OptionError.
    """
    import torch

    if name == "auto":
        vnni = device == "cpu" and bool(torch.cpu._is_vnni_supported())
        able = {"bfloat16": fast_bfloat16(device), "int8": vnni}
        return next((each for each in able if able[each] and each in allowed), "float32")
    if name not in allowed:
        offered = ", ".join((*allowed, "auto"))
        raise OptionError(f"dtype {name!r} is not offered here; use one of {offered}", field="dtype")
    if name == "int8" and device != "cpu":
        raise OptionError(
            f"dtype 'int8' is computed on the CPU, not on {device!r}; use dtype='bfloat16' there, or device='cpu'",
            field="dtype",
        )
    return name


def fast_bfloat16(device: str) -> bool:
    """Whether `device` computes faster in bfloat16 than in float32; a CPU without instructions for it is far slower."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def threads() -> int | None:
    """How many threads torch computes with on a CPU: a sum may round otherwise with another number of them.

    None where torch is not in the process.
    """
    return int(sys.modules["torch"].get_num_threads()) if "torch" in sys.modules else None


def rng(seed: int, device: str = "cpu") -> torch.Generator:
    """A random stream of its own."""
    import torch

    return torch.Generator(device=device).manual_seed(seed)


class LentState:
    """A torch random state lent to code that draws from the global one, for as long as each `with` block lasts.

        lent = LentState(seed)
        with lent: ...        # global draws come from the lent state
        with lent: ...        # and go on where they stopped

    The caller's state is back in place after every block. Never hold a block open across a `yield`.
    Without torch in the process there is nothing to lend, and the block does nothing.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self.seed = seed
        self.device = device
        self._own: list[Any] | None = None
        self._callers: list[Any] | None = None

    def __enter__(self) -> LentState:
        _global_state.acquire()
        if "torch" in sys.modules:
            self._callers = self._read()
            if self._own is None:
                self._seed()
            else:
                self._write(self._own)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if self._callers is not None:
                self._own = self._read()
                self._write(self._callers)
                self._callers = None
        finally:
            _global_state.release()

    @contextmanager
    def returned(self) -> Iterator[None]:
        """Inside a block: give the caller's state back while the caller's own code runs."""
        if self._callers is None:
            yield
            return
        self._own = self._read()
        self._write(self._callers)
        try:
            yield
        finally:
            self._callers = self._read()
            self._write(self._own)

    def _read(self) -> list[Any]:
        import torch

        states = [torch.default_generator.get_state()]
        if self.device.startswith("cuda"):
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    def _write(self, states: list[Any]) -> None:
        import torch

        torch.default_generator.set_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], self.device)

    def _seed(self) -> None:
        set_global_seed(self.seed, self.device)


def set_global_seed(seed: int, device: str) -> None:
    """Seed torch's global random states of the CPU and of `device`.

    `torch.manual_seed` seeds those of every kind of device, and notes the stack for each that is not there: 0.3 ms.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        index = torch.device(device).index
        torch.cuda.default_generators[torch.cuda.current_device() if index is None else index].manual_seed(seed)
    elif device == "mps":
        torch.mps.manual_seed(seed)


_fingerprints: weakref.WeakKeyDictionary[Any, tuple[list[Any], Any, str]] = weakref.WeakKeyDictionary()


def fingerprint(module: torch.nn.Module) -> str:
    """A sha256 over names, dtypes, shapes and bytes of a module's weights as they are in memory.

    It is computed again only when a weight has changed: torch counts the in-place changes of every tensor. It does not
    count those of fused optimisers and through `.data`; `torch.autograd.graph.increment_version` then does.
    """
    tensors = dict(module.state_dict(keep_vars=True))
    # Tensors made in inference mode cannot be changed outside it, and count no versions.
    state = tuple((t.data_ptr(), t.dtype, 0 if t.is_inference() else t._version) for t in tensors.values())
    known = _fingerprints.get(module)
    # A new tensor can lie where an old one did, so the tensors themselves are compared as well.
    if known is None or known[1] != state or any(r() is not t for r, t in zip(known[0], tensors.values(), strict=True)):
        known = ([weakref.ref(t) for t in tensors.values()], state, tensor_digest(tensors))
        _fingerprints[module] = known
    return known[2]


def tensor_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """A sha256 over names, dtypes, shapes and bytes, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def memory_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into OutOfMemory, naming `what` needed it and the `remedy`."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(f"{what} does not fit in memory; {remedy}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        raise OutOfMemory(f"{what} does not fit in memory; {remedy}") from error


def require(module: str, pip: str, purpose: str) -> Any:
    """Import an optional module, or say with which pip line it is installed."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(f"{purpose} needs the package {module!r}: pip install {pip}", name=module) from error
