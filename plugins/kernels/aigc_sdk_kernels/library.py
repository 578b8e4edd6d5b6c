"""The compiled library: whether it is there, and its functions."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_int64, c_size_t, c_ssize_t, c_void_p
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from aigc_sdk.errors import MissingDependency, OptionError, suggestion

PRECISIONS = ("float32", "bfloat16", "int8")
FUNCTIONS = {
    "kernels_paths": (c_int, ()),
    "kernels_path_name": (c_char_p, (c_int,)),
    "kernels_network": (c_void_p, (c_int,) * 8),
    "kernels_free_network": (None, (c_void_p,)),
    "kernels_network_bytes": (c_size_t, (c_void_p,)),
    "kernels_pack": (None, (c_void_p, c_int, c_int, c_void_p, c_int, c_ssize_t, c_ssize_t, c_void_p, c_int)),
    "kernels_norm": (None, (c_void_p, c_int, c_int, c_void_p, c_void_p, c_float)),
    "kernels_scaling": (None, (c_void_p, c_int, c_float)),
    "kernels_tables": (None, (c_void_p, c_void_p, c_int, c_void_p, c_int)),
    "kernels_row": (c_void_p, (c_void_p, c_int)),
    "kernels_row_bytes": (c_size_t, (c_void_p, c_int)),
    "kernels_free_row": (None, (c_void_p,)),
    "kernels_fork": (None, (c_void_p, c_void_p, c_void_p)),
    "kernels_shorten": (None, (c_void_p, c_int)),
    "kernels_forward": (
        c_int,
        (c_void_p, c_int, POINTER(c_void_p), POINTER(c_int), POINTER(c_int64), c_int, POINTER(c_float), c_int),
    ),
    "kernels_linear": (c_void_p, (c_int, c_int, c_int, c_void_p, c_int, c_ssize_t, c_ssize_t, c_void_p, c_int)),
    "kernels_free_linear": (None, (c_void_p,)),
    "kernels_product": (c_int, (c_int, c_int, c_void_p, c_void_p, c_int, c_void_p, c_int)),
}


@dataclass(frozen=True)
class Availability:
    """Whether the compiled library can be used; as a truth value, `ready`."""

    ready: bool
    reason: str
    """Why it cannot be used; empty where it can."""

    def __bool__(self) -> bool:
        return self.ready


def available() -> Availability:
    """Whether the compiled library is there and loads, and if not, why."""
    found = _loaded()
    return Availability(False, found) if isinstance(found, str) else Availability(True, "")


def library() -> ctypes.CDLL:
    """The compiled library. Raises MissingDependency, with the reason, where it cannot be used."""
    found = _loaded()
    if isinstance(found, str):
        raise MissingDependency(f"aigc-sdk-kernels cannot compute here: {found}")
    return found


def paths() -> tuple[str, ...]:
    """The kinds of instructions that this processor has kernels for, the plainest first; the last one is the default."""
    found = library()
    return tuple(found.kernels_path_name(number).decode() for number in range(found.kernels_paths()))


def path_number(path: str) -> int:
    """The place of a path among `paths()`; "auto" is the best. Raises OptionError for one that this processor has not."""
    known = paths()
    if path == "auto":
        return len(known) - 1
    if path not in known:
        raise OptionError(
            f"aigc-sdk-kernels: path={path!r} is not one of this processor's: {', '.join(known)}.{suggestion(str(path), known)}",
            field="path",
        )
    return known.index(path)


def precision_number(precision: str) -> int:
    """The place of a precision among PRECISIONS. Raises OptionError for any other."""
    if precision not in PRECISIONS:
        raise OptionError(
            f"aigc-sdk-kernels: precision={precision!r}; choose from {', '.join(PRECISIONS)}."
            f"{suggestion(str(precision), PRECISIONS)}",
            field="precision",
        )
    return PRECISIONS.index(precision)


def check_threads(threads: int) -> int:
    """A number of threads, as it is. Raises OptionError where there is none."""
    if type(threads) is not int or threads < 1:
        raise OptionError(f"aigc-sdk-kernels: threads={threads!r}; a call needs at least 1", field="threads")
    return threads


@cache
def _loaded() -> ctypes.CDLL | str:
    spec = find_spec("aigc_sdk_kernels.compiled")
    if spec is None or spec.origin is None:
        return (
            "it was installed without its compiled half, for want of a C compiler that knows it (gcc or clang); "
            "install one, then: pip install --force-reinstall --no-deps --no-cache-dir aigc-sdk-kernels"
        )
    try:
        found = ctypes.CDLL(spec.origin)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, list(arguments)
    except (OSError, AttributeError) as error:
        return f"its compiled half {spec.origin} does not load ({error}); reinstall aigc-sdk-kernels"
    return found
