"""Devices, dtypes, randomness that is lent and given back, fingerprints of weights, and what is said when memory ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aigc_sdk import Fit, Step, runtime
from aigc_sdk.errors import DeviceError, MissingDependency, OptionError, OutOfMemory
from aigc_sdk.testing import contract
from aigc_sdk.training import Loop, TorchTrainer

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])]

# Devices and dtypes


def test_auto_is_cuda_where_there_is_one_and_the_cpu_elsewhere() -> None:
    assert runtime.device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert runtime.device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:9"])
def test_cuda_that_is_not_there_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(
        DeviceError, match=rf"device '{name}': this machine has no usable CUDA device.*use device='cpu'"
    ):
        runtime.device(name)


@needs_cuda
@pytest.mark.gpu
def test_a_cuda_device_too_many_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(DeviceError, match="the machine has cuda:0 to cuda:"):
        runtime.device("cuda:99")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is a Metal device")
def test_metal_that_is_not_there_is_refused_with_what_to_do() -> None:
    with pytest.raises(DeviceError, match="no usable Metal device; use device='cpu'"):
        runtime.device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cuda:x", "cuda:-1", "meta", "vulkan", "\0", None])
def test_any_other_device_is_refused_with_those_there_are(name: Any) -> None:
    with pytest.raises(DeviceError, match=r"device .*use 'auto', 'cpu', 'cuda' or"):
        runtime.device(name)


def test_a_dtype_is_one_of_those_that_are_offered() -> None:
    assert runtime.dtype("float32") is torch.float32
    assert runtime.dtype("float16", ("float16",)) is torch.float16
    for name in ("float16", "float64", "Float32", "", None, torch.float32):
        with pytest.raises(OptionError, match=r"dtype .* is not offered here; use one of float32, bfloat16") as caught:
            runtime.dtype(name)  # type: ignore[arg-type]
        assert caught.value.field == "dtype"


# Randomness


def numbers(device: str = "cpu", count: int = 2) -> list[float]:
    """Draws from the global state."""
    return torch.rand(count, device=device).tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_a_lent_state_goes_on_where_it_stopped_and_the_callers_own_returns(device: str) -> None:
    numbers(device)  # so that CUDA has a state
    lent = runtime.LentState(7, device)
    with contract.untouched() as check:
        with lent:
            first = numbers(device, 6)
        check()
        with lent:
            second = numbers(device, 6)
    with contract.untouched(), runtime.LentState(7, device):
        assert numbers(device, 6) + numbers(device, 6) == first + second
    assert first != second


@pytest.mark.parametrize("device", DEVICES)
def test_within_a_lent_state_the_callers_can_be_had_back_for_a_while(device: str) -> None:
    torch.manual_seed(5)
    undisturbed = [numbers(device), numbers(device)]
    torch.manual_seed(5)
    with runtime.LentState(7, device) as lent:
        before = numbers(device)
        with lent.returned():
            own = numbers(device)
        after = numbers(device)
    assert [own, numbers(device)] == undisturbed
    with runtime.LentState(7, device):
        assert (numbers(device), numbers(device)) == (before, after)


def test_an_exception_in_either_puts_every_state_back() -> None:
    lent, first = runtime.LentState(7), []

    def draw_and_fail() -> None:
        with lent:
            first.extend(numbers())
            raise ZeroDivisionError

    with contract.untouched(), pytest.raises(ZeroDivisionError):
        draw_and_fail()
    with contract.untouched(), lent:
        with pytest.raises(ZeroDivisionError), lent.returned():
            raise ZeroDivisionError
        second = numbers()
    with runtime.LentState(7):
        assert numbers() + numbers() == first + second


def test_states_lent_within_each_other_are_apart() -> None:
    def alone(seed: int) -> list[float]:
        with runtime.LentState(seed):
            return numbers() + numbers()

    with contract.untouched(), runtime.LentState(1):
        outer = numbers()
        with runtime.LentState(2):
            inner = numbers()
            assert alone(3) == alone(3)
            inner += numbers()
        outer += numbers()
    assert (outer, inner) == (alone(1), alone(2))


def test_a_state_is_lent_to_one_thread_at_a_time() -> None:
    found: dict[int, list[float]] = {}
    started = threading.Event()

    def work() -> None:
        started.set()
        with runtime.LentState(2):
            found[2] = numbers()

    other = threading.Thread(target=work)
    with contract.untouched():
        with runtime.LentState(1):
            found[1] = numbers()
            other.start()
            assert started.wait(timeout=60)
            other.join(timeout=0.05)
            assert 2 not in found
            found[1] += numbers()
        other.join(timeout=60)
    with runtime.LentState(1):
        assert numbers() + numbers() == found[1]
    with runtime.LentState(2):
        assert numbers() == found[2]


def test_without_torch_there_is_nothing_to_lend_and_torch_is_not_imported() -> None:
    script = (
        "import sys\n"
        "from aigc_sdk.runtime import LentState\n"
        "with LentState(1) as lent:\n"
        "    with lent.returned(): pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("device", DEVICES)
def test_a_stream_of_its_own_moves_no_other(device: str) -> None:
    with contract.untouched():
        first, again = (torch.rand(3, device=device, generator=runtime.rng(4, device)) for _ in range(2))
    assert torch.equal(first, again)


# Fingerprints


def network() -> nn.Module:
    """A network with a buffer, a parameter without dimensions, and a tied weight."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    made.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    made[2].weight = made[0].weight
    return made


@torch.no_grad()
def in_place(module: nn.Module) -> None:
    module[0].weight[1, 2] += 1e-6  # type: ignore[index]


@torch.inference_mode()
def in_place_in_inference_mode(module: nn.Module) -> None:
    module[0].weight[1, 2] += 1e-6  # type: ignore[index]


def by_an_optimizer(module: nn.Module) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    module(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()


def a_buffer(module: nn.Module) -> None:
    module(torch.ones(2, 4))  # BatchNorm counts


def by_loading(module: nn.Module) -> None:
    module.load_state_dict({name: value + 1 for name, value in module.state_dict().items()})


def by_assigning(module: nn.Module) -> None:
    module.load_state_dict({name: value + 1 for name, value in module.state_dict().items()}, assign=True)


def another_parameter(module: nn.Module) -> None:
    module[0].bias = nn.Parameter(torch.ones(4))  # type: ignore[index]


def other_data(module: nn.Module) -> None:
    module[0].bias.data = torch.ones(4)  # type: ignore[index]


def another_dtype(module: nn.Module) -> None:
    module.to(torch.bfloat16)


CHANGES = [
    *(in_place, in_place_in_inference_mode, by_an_optimizer, a_buffer, by_loading, by_assigning),
    *(another_parameter, other_data, another_dtype),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_changes_with_the_weights(change: Callable[[nn.Module], None]) -> None:
    module = network()
    before = runtime.fingerprint(module)
    assert before == runtime.fingerprint(network())
    change(module)
    after = runtime.fingerprint(module)
    assert after != before
    assert after == runtime.tensor_digest(module.state_dict())


def test_a_fingerprint_changes_when_new_weights_lie_where_the_old_ones_did() -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(64, 64))
    seen = {runtime.fingerprint(module)}
    for value in range(1, 20):
        del module.weight  # the allocator gives its place to the next of that size
        module.weight = nn.Parameter(torch.full((64, 64), float(value)))
        seen.add(runtime.fingerprint(module))
    assert len(seen) == 20


def test_a_fingerprint_is_computed_once_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    digest = runtime.tensor_digest

    def counted(tensors: Any) -> str:
        computed.append(len(tensors))
        return digest(tensors)

    monkeypatch.setattr(runtime, "tensor_digest", counted)
    module = network().eval()
    first = runtime.fingerprint(module)
    with torch.inference_mode():
        module(torch.ones(2, 4))
    assert runtime.fingerprint(module) == runtime.fingerprint(module) == first
    assert len(computed) == 1
    in_place(module)
    assert runtime.fingerprint(module) != first
    assert len(computed) == 2


def test_a_fingerprint_keeps_no_network_alive() -> None:
    module = network()
    runtime.fingerprint(module)
    gone = weakref.ref(module), weakref.ref(module[0].weight)  # type: ignore[index]
    del module
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_a_digest_is_of_names_types_shapes_and_bytes_and_not_of_order_or_layout() -> None:
    values = torch.arange(6.0).reshape(2, 3)
    digest = runtime.tensor_digest({"a": values, "b": torch.zeros(2)})
    turned = values.T.contiguous().T
    assert runtime.tensor_digest({"b": torch.zeros(2), "a": turned}) == digest
    others: list[dict[str, torch.Tensor]] = [
        {"a": values, "c": torch.zeros(2)},
        {"a": values.reshape(3, 2), "b": torch.zeros(2)},
        {"a": values, "b": torch.zeros(2, dtype=torch.int32)},
        {"a": values, "b": torch.tensor([0.0, -0.0])},
        {"a": values, "b": torch.zeros(2), "empty": torch.zeros(0)},
    ]
    assert len({digest, *map(runtime.tensor_digest, others)}) == 1 + len(others)


class FusedTrainer(TorchTrainer[nn.Module]):
    """Trains with an optimiser whose changes torch does not count."""

    device = "cpu"

    def __init__(self) -> None:
        self.model = nn.Linear(4, 1)
        self.networks = {"network": self.model}

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> FusedTrainer:
        return cls()

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        loop = Loop(self, fit, rows=len(data))
        trained = loop.trains("network", torch.optim.AdamW(self.model.parameters(), fused=True))
        for _ in loop:
            loss = trained(data[loop.draw(2)]).square().mean()
            loop.backward(loss)
            loop.update("network")
            yield loop.step(loss=loss)


def test_a_fingerprint_changes_with_every_step_of_a_fused_optimizer() -> None:
    trainer = FusedTrainer()
    seen = {runtime.fingerprint(trainer.model)}
    for _ in trainer.steps(torch.ones(8, 4), max_steps=3):
        seen.add(runtime.fingerprint(trainer.model))
    assert len(seen) == 4


# Memory and packages


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**46), lambda: np.empty(2**46), lambda: bytearray(2**50)],
    ids=["torch", "numpy", "Python"],
)
def test_memory_that_is_not_there_is_a_typed_error_with_its_cause(allocate: Callable[[], Any]) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"a batch of 9 does not fit in memory; make it smaller") as caught,
        runtime.memory_errors("a batch of 9", "make it smaller"),
    ):
        allocate()
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value.__cause__, RuntimeError | MemoryError)


@needs_cuda
@pytest.mark.gpu
def test_memory_of_a_gpu_that_is_not_there_is_a_typed_error() -> None:
    with pytest.raises(OutOfMemory), runtime.memory_errors("a batch", "make it smaller"):
        torch.empty(2**46, device="cuda")


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("no"), KeyboardInterrupt()])
def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, runtime.memory_errors("a batch", "make it smaller"):
        raise error
    assert caught.value is error


def test_a_package_that_is_missing_is_named_with_its_pip_line() -> None:
    assert runtime.require("json", "nothing", "a test") is sys.modules["json"]
    with pytest.raises(
        MissingDependency, match=r"a tracker needs the package 'no_such': pip install no-such"
    ) as caught:
        runtime.require("no_such", "no-such", "a tracker")
    assert caught.value.name == "no_such"
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
