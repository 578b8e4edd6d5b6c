"""In which precision a network's linear layers are multiplied, over weights that are packed once for the processor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from aigc_sdk.adapters.layers import is_transposed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Product: TypeAlias = "Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]"
"""x (rows x in) and a bias, or None -> rows x out."""
Summed: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Rows of numbers from -127 to 127, which are rounded -> the integer sums, times the scales, in float32."""
Way: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], Summed]"
"""Integer weights (out x in, int8) and their scales (out,) -> how to sum by them."""

PACK_LIMIT = 1 << 30  # bytes of one network's weights up to which they are held twice for the sake of speed
FEW = 3  # rows from which a layout for many is faster; fewer may be read best plain, and in integers by FBGEMM
HINT = 32  # rows for which weights are laid out; others are multiplied as well
LARGE = 1 << 23  # numbers in a weight from which it does not matter what a call costs beside its sums
SLOW = 12  # times the quickest: what takes longer is reference code, which takes fifty; no other way takes four
TINY = 1e-30  # the scale of a row of zeros


class Packed:
    """The packed weights of one network; `Packed.of(network)` gives the one that it has.

    A weight is packed when it is first asked for, and again when it has changed: torch counts the in-place changes of
    every tensor. precision: "int8", or "" for that of the weights themselves.
    """

    def __init__(self, precision: str = "", small: bool = True) -> None:
        self.precision = precision
        self.small = small
        """Whether the network is small enough to be held twice."""
        self._kept: Any = WeakTensorKeyDictionary()
        self._native: tuple[Any, Any] = (None, None)

    @classmethod
    def of(cls, network: PreTrainedModel) -> Self:
        """The packed weights of `network`."""
        found: Any = network.__dict__.get("aigc_packed")
        if found is None:
            found = cls(small=sum(each.nbytes for each in network.parameters()) <= PACK_LIMIT)
            network.__dict__["aigc_packed"] = found
        return found  # type: ignore[no-any-return]

    @classmethod
    def choose(cls, network: PreTrainedModel, precision: str) -> None:
        """Multiply by the weights of `network` in this precision from now on."""
        packed = cls.of(network)
        if packed.precision != precision:
            network.__dict__["aigc_packed"] = cls(precision, packed.small)

    def native(self, network: PreTrainedModel, made: Callable[[PreTrainedModel, str], Any]) -> Any:
        """The weights in the form of compiled kernels, as `made` gives them for a network and a precision."""
        state = [_state(each) for each in network.parameters()]
        if self._native[0] != state:
            self._native = (None, None)  # freed before the next are made
            self._native = (state, made(network, self.precision or str(network.dtype).removeprefix("torch.")))
        return self._native[1]

    def product(self, weight: torch.Tensor, *, transposed: bool = False) -> Product | None:
        """How to multiply by a weight (out x in; transposed: in x out); None where torch's own way is as fast."""
        state = (_state(weight), transposed)
        known = self._kept.get(weight)
        if known is None or known[0] != state:
            with torch.no_grad():
                known = (state, self._packed(weight.detach().T if transposed else weight.detach()))
            self._kept[weight] = known
        return known[1]  # type: ignore[no-any-return]

    def _packed(self, weight: torch.Tensor) -> Product | None:
        if weight.device.type != "cpu":
            return None
        if self.precision == "int8":
            return eight_bit(weight)
        if not self.small or not _packs(weight.dtype):
            return None
        laid = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), HINT)
        return partial(_multiplied, laid, weight if weight.dtype == torch.float32 and not amd() else None)

    def cache_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """How keys and values of a network of `dtype` are kept: no wider than the products are exact."""
        fast = torch.cpu._is_amx_tile_supported()  # else attention gains nothing by it
        return torch.bfloat16 if self.precision == "int8" and fast else dtype

    def __deepcopy__(self, memo: Any) -> Packed:
        return Packed(self.precision, self.small)

    def __reduce__(self) -> Any:
        return Packed, (self.precision, self.small)


def _state(weight: torch.Tensor) -> tuple[Any, ...]:
    """What changes when a weight does."""
    version = 0 if weight.is_inference() else weight._version
    return weight.data_ptr(), version, weight.dtype, weight.device, tuple(weight.shape)


def _multiplied(
    laid: torch.Tensor, plain: torch.Tensor | None, x: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    if plain is not None and x.shape[0] < FEW:
        return F.linear(x, plain, bias)
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), laid, bias, "none", [], "")  # type: ignore[no-any-return]


@lru_cache
def _packs(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies faster by packed weights: measured for those of Intel's kind."""
    intel = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    if not intel or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@lru_cache
def amd() -> bool:
    """Whether this is AMD's processor: Intel's library, by which torch multiplies, is slow there over single rows."""
    known: Any = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not tell
    return "AMD" in known.get("cpu_name", "")


def turns(dtype: torch.dtype) -> bool:
    """Whether one query per row attends sooner by products of keys with it, in this order, than by torch's attention."""
    return amd() and (dtype == torch.float32 or (dtype == torch.bfloat16 and torch.cpu._is_avx512_bf16_supported()))


def eight_bit(weight: torch.Tensor) -> Product:
    """Multiply in integers: weights of 8 bits with a scale for each output, activations with one for each row.

    The sums are exact, so that no row depends on another (the vector-wise quantisation of Dettmers et al. 2022, without
    their outliers). weight: out x in, floating point; it is not kept.
    """
    best = sums(torch.backends.quantized.engine)
    scale = weight.float().abs().amax(1).clamp_min(TINY) / best.largest
    whole = (weight.float() / scale[:, None]).round_().to(torch.int8)
    scale /= 127  # that of the activations, less the largest of each row
    many = best.many(whole, scale)
    few = many if best.few is best.many or whole.numel() >= LARGE else best.few(whole, scale)
    return partial(_by_eight_bit, few, many, torch.zeros(whole.shape[1]))


def _by_eight_bit(
    few: Summed, many: Summed, zeros: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """For one row, an operation costs far more than its arithmetic: hence one that divides and multiplies."""
    if x.dtype != torch.float32:
        return _by_eight_bit(few, many, zeros, x.float(), bias).to(x.dtype)
    largest = x.abs().amax(1, keepdim=True)  # rows x 1; NaN stays
    levels = torch.addcdiv(zeros, x, largest, value=127)  # of a row of zeros NaN, which becomes some integer, times 0
    summed = (few if x.shape[0] < FEW else many)(levels)
    return summed.mul_(largest) if bias is None else torch.addcmul(bias, summed, largest)


def _onednn(whole: torch.Tensor, scale: torch.Tensor, zero: int) -> Summed:
    """By oneDNN: the fastest for many rows where there is AMX. whole: out x in; zero: of the activations."""
    whole = whole.contiguous()  # packing takes no account of strides
    laid = torch.ops.onednn.qlinear_prepack(whole, [HINT, whole.shape[1]])
    return partial(_by_onednn, laid, scale, torch.zeros(len(scale), dtype=torch.int64), zero)


def _by_onednn(
    laid: torch.Tensor, scale: torch.Tensor, zeros: torch.Tensor, zero: int, levels: torch.Tensor
) -> torch.Tensor:
    count, levels = levels.shape[0], levels.round_()
    if count < FEW:  # which it may leave to its reference code, hundreds of times slower
        levels = F.pad(levels, (0, 0, 0, FEW - count))
    rows = levels.add_(zero).to(torch.uint8) if zero else levels.to(torch.int8)
    made = torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, zero, laid, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return made[:count]  # type: ignore[no-any-return]


def _fbgemm(whole: torch.Tensor, scale: torch.Tensor) -> Summed:
    """By FBGEMM: the fastest for a row or two, since it does least beside the sums, and without AMX for all. whole: out x in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to drop the kind of tensor in which it takes the weights
        zeros = torch.zeros(len(scale), dtype=torch.int64)
        kept = torch._make_per_channel_quantized_tensor(whole, scale.double(), zeros, 0)
        laid = torch.ops.quantized.linear_prepack(kept, None)
    multiplied = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default._op  # without torch's checks
    return lambda levels: multiplied(levels, 1.0, 128, laid)


def _int_mm(whole: torch.Tensor, scale: torch.Tensor) -> Summed:
    """By torch's own product of integers: there wherever torch is. whole: out x in."""
    return partial(_by_int_mm, whole.T.contiguous(), scale)


def _by_int_mm(whole: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(levels.round_().to(torch.int8), whole) * scale


WAYS: tuple[Way, ...] = (partial(_onednn, zero=0), partial(_onednn, zero=128), _fbgemm, _int_mm)


class Sums(NamedTuple):
    """How this processor sums integers exactly and soonest."""

    largest: int
    """Of the weights: 127; 63 where pairs of products are added in 16 bits, which larger ones would overflow."""
    few: Way
    """For fewer rows than FEW."""
    many: Way


@lru_cache
def sums(engine: str) -> Sums:
    """The ways to take where torch's quantised products are by `engine`. Tried, not looked up.

    Each is exact on one processor and not on another, and a library may fall to its reference code, hundreds of times
    slower: oneDNN for signed activations on VNNI without AMX. All that are exact make the same bits.
    """
    tried = [(largest, way, seconds(way, largest)) for largest in (127, 63) for way in WAYS]
    limit = SLOW * min(took for *_, took in tried)
    quick = [(largest, way) for largest, way, took in tried if took <= limit]
    largest = quick[0][0]
    ways = [way for most, way in quick if most == largest]
    many = min(ways, key=lambda way: seconds(way, largest, rows=(4, 8, 16, 32, 64), out=1536))
    return Sums(largest, _fbgemm if _fbgemm in ways else many, many)


def seconds(way: Way, largest: int, rows: Sequence[int] = (1, 2, 40), out: int = 8) -> float:
    """What the largest products take, the best of some times; infinity where they are not summed without loss."""
    try:
        summed = way(torch.full((out, 768), largest, dtype=torch.int8), torch.ones(out))
        levels = [sign * torch.full((count, 768), 127.0) for count in rows for sign in (1, -1)]
        made = torch.cat([summed(each.clone()) for each in levels])  # and what is compiled is so now
        if not bool((made.abs() == largest * 127 * 768).all()):
            return math.inf
        return min(_timed(lambda: [summed(each.clone()) for each in levels]) for _ in range(3))
    except (RuntimeError, AttributeError, NotImplementedError):  # a build or a processor without them
        return math.inf


def _timed(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


class Products(TorchFunctionMode):
    """Within it, whoever multiplies by a weight of the network does so by its packed one: for any architecture.

    Not for what needs gradients. Hooks act as ever, since no module is replaced.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self._packed = Packed.of(network)
        linear = [each for each in network.modules() if is_transposed(each) or isinstance(each, torch.nn.Linear)]
        weights: list[tuple[Any, bool]] = [(each.weight, is_transposed(each)) for each in linear]
        self._weights = {weight.data_ptr(): (weight, transposed) for weight, transposed in weights}
        for weight, transposed in weights:
            self._packed.product(weight, transposed=transposed)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch for every function within the block."""
        if function is F.linear and not kwargs:
            x, weight, bias = (*args, None) if len(args) == 2 else args
        elif function is torch.addmm and not kwargs:
            bias, x, weight = args
        elif function in _MATMUL and not kwargs and isinstance(args[1], torch.Tensor):
            (x, weight), bias = args, None
        else:
            return function(*args, **(kwargs or {}))
        known, transposed = self._weights.get(weight.data_ptr(), (None, False))
        if known is not None and not transposed and function is not F.linear:  # Falcon's layers: x @ weight.T
            known = known if weight.shape == known.T.shape and weight.stride() == known.T.stride() else None
        product = None if known is None else self._packed.product(known, transposed=transposed)
        if product is None:
            return function(*args)
        return product(x.flatten(0, -2), bias).unflatten(0, x.shape[:-1])  # type: ignore[no-untyped-call]


_MATMUL = (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)


def products(network: PreTrainedModel) -> AbstractContextManager[Any]:
    """Products by the packed weights of `network` for as long as the block lasts, in this thread, where there are any."""
    packed = Packed.of(network)
    if network.device.type == "cpu" and (packed.precision or (packed.small and _packs(network.dtype))):
        return Products(network)
    return nullcontext()
