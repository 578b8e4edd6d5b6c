"""One run's optimisation: which rows come next, gradients over micro-batches and processes, updates, averages.

    loop = Loop(self, fit, rows=len(data), precision=options.precision)
    network = loop.trains("network", optimizer, clip_norm=1.0, schedule=schedule("cosine", fit.max_steps))
    for _ in loop:
        rows = loop.draw(options.batch_size)
        total = torch.zeros(())
        for part in loop.parts(rows, options.micro_batch_size):
            with loop.autocast():
                loss = network(data[part]) / len(rows)  # a sum over the part, divided by the whole batch
            loop.backward(loss)
            total += loss.detach()
        loop.update("network")
        yield loop.step(loss=total)

With several networks each is updated by name, as often as its recipe says; see the tests for a GAN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from aigc_sdk.errors import MismatchedFolder, OptionError, TrainingDiverged
from aigc_sdk.protocols import Fit, Step
from aigc_sdk.runtime import fast_bfloat16, set_global_seed

from . import order, processes
from ._memory import kept_memory
from .average import Average
from .sharding import Sharded, gathered, optimizer_state

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .torch_trainer import TorchTrainer

Precision = Literal["auto", "float32", "bfloat16"]
"""What a Loop computes in: `auto` is bfloat16 where the machine is fast at it. The weights are float32 in any case."""


@dataclass
class _Trained:
    """One network, and what updates it."""

    network: torch.nn.Module
    wrapped: torch.nn.Module
    optimizers: list[torch.optim.Optimizer]
    rates: list[list[float]]  # the highest rate of each parameter group
    clip_norm: float | None
    schedule: Callable[[int], float] | None
    average: Average | None
    updates: int = 0

    def __post_init__(self) -> None:
        self._modules = list(self.wrapped.modules())
        self._listed = None if isinstance(self.wrapped, Sharded) else self._list()

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return self._list() if self._listed is None else self._listed

    def train(self) -> None:
        """Into training mode; a small network's `train()` would cost as much as a tenth of its update."""
        if not all(each.training for each in self._modules):
            self.wrapped.train()

    def _list(self) -> list[torch.nn.Parameter]:
        return [each for each in self.wrapped.parameters() if each.requires_grad]


class Loop:
    """The optimisation of one run; iterate over it for the updates that are still to be done.

    rows: how many rows the training data has. precision: of the arithmetic; "auto" is bfloat16 where the device is
    fast at it. shuffle: go through the rows in another order in each epoch.
    """

    def __init__(
        self, trainer: TorchTrainer[Any], fit: Fit, *, rows: int, precision: Precision = "float32", shuffle: bool = True
    ) -> None:
        self.fit = fit
        self.rows = rows
        self.done = 0
        self.position = 0
        self._shuffle = shuffle
        self._device = trainer.device
        self._bfloat16 = precision == "bfloat16" or (precision == "auto" and fast_bfloat16(trainer.device))
        self._accelerator = processes.accelerator(trainer.device)
        self._trained: dict[str, _Trained] = {}
        self._networks = trainer.networks
        self._resumed = trainer.begin(self)
        if self._resumed is not None:
            self.done = self._resumed["step"]
            self.position = self._resumed["position"]

    def trains(
        self,
        name: str,
        optimizers: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        *,
        clip_norm: float | None = None,
        schedule: Callable[[int], float] | None = None,
        ema: float | None = None,
    ) -> torch.nn.Module:
        """Train `trainer.networks[name]`; returns the network to call, wrapped where several processes train it.

        clip_norm: the longest gradient. schedule: from this network's update (1, 2, ...) to a part of the rates that
        the optimisers were made with. ema: the decay of an average of the weights, with which the model is validated
        and saved.
        """
        network = self._networks[name]
        own = [optimizers] if isinstance(optimizers, torch.optim.Optimizer) else list(optimizers)
        rates = [[float(group["lr"]) for group in each.param_groups] for each in own]
        wrapped = self._wrapped(network, own)
        average = None if ema is None else Average(network, ema)
        trained = _Trained(network, wrapped, own, rates, clip_norm, schedule, average)
        if self._resumed is not None:
            _restore(trained, self._resumed["networks"].get(name), name)
        self._trained[name] = trained
        return wrapped

    def __iter__(self) -> Iterator[int]:
        """The updates that are still to be done; before each, torch's random state is set from (seed, step, process)."""
        with kept_memory():
            for index in range(self.done + 1, self.fit.max_steps + 1):
                set_global_seed(order.step_seed(self.fit.seed, index, processes.rank()), self._device)
                for each in self._trained.values():
                    each.train()
                yield index

    def draw(self, n: int) -> NDArray[np.int64]:
        """The next `n` rows of the batch that all processes work on together."""
        if n % processes.world():
            message = f"batch_size={n} is no multiple of the {processes.world()} processes that share a batch"
            raise OptionError(message, field="batch_size")
        drawn = order.rows(self.fit.seed, self.rows, self.position, n, shuffle=self._shuffle)
        self.position += n
        return drawn

    def parts(self, rows: NDArray[np.int64], size: int | None = None) -> Iterator[NDArray[np.int64]]:
        """This process' share of `rows`, in micro-batches of `size`; gradients are exchanged after the last."""
        share = len(rows) // processes.world()
        own = rows[processes.rank() * share :][:share]
        size = size or share
        for start in range(0, share, size):
            self._exchange(start + size >= share)
            yield own[start : start + size]

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the run's arithmetic."""
        kind = torch.device(self._device).type
        return torch.autocast(kind, torch.bfloat16) if self._bfloat16 else nullcontext()

    def backward(self, loss: torch.Tensor, *names: str) -> None:
        """Add the gradient of `loss` to that of the networks `names`, or of all.

        A loss that is normalised over the whole batch gives the same gradient on one process as on many.
        """
        kept = [self._trained[name].parameters for name in names]
        if self._accelerator is None:
            loss.backward(inputs=[each for some in kept for each in some] if names else None)  # type: ignore[no-untyped-call]
            return
        (loss * processes.world()).backward()  # type: ignore[no-untyped-call]
        for name, other in self._trained.items():  # gradients that nobody asked for
            if names and name not in names:
                _forget(other)

    def update(self, name: str) -> float:
        """One update of a network from its gradient, whose norm is returned.

        Raises TrainingDiverged, and changes nothing, when the gradient is NaN or infinite.
        """
        trained = self._trained[name]
        gradients = [each.grad for each in trained.parameters if each.grad is not None]
        norm = float(gathered(torch.nn.utils.get_total_norm(gradients)))
        if not math.isfinite(norm):
            raise TrainingDiverged(
                f"the gradient of {name!r} became {norm} at step {self.done + 1}; "
                "try a lower learning rate, a smaller clip_norm or precision='float32'"
            )
        if trained.clip_norm is not None and norm > trained.clip_norm:
            torch._foreach_mul_(gradients, trained.clip_norm / (norm + 1e-6))
        trained.updates += 1
        part = 1.0 if trained.schedule is None else trained.schedule(trained.updates)
        for optimizer, rates in zip(trained.optimizers, trained.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * part
            optimizer.step()
        torch.autograd.graph.increment_version(trained.parameters)  # fused optimisers do not count their changes
        _forget(trained)
        if trained.average is not None:
            trained.average.update()
        return norm

    def step(self, **metrics: float | torch.Tensor) -> Step:
        """The Step of the update that was just made.

        A tensor is this process' part of a value and is added up over all processes; a float is the value.
        Raises TrainingDiverged when one is NaN or infinite.
        """
        self.done += 1
        values = self._summed(metrics)
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name} became {value} at step {self.done}; try a lower learning rate or precision='float32'"
                )
        return Step(self.done, self.fit.max_steps, values)

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, and the state of optimisers and averages."""
        return {
            "step": self.done,
            "position": self.position,
            "networks": {
                name: {
                    "updates": each.updates,
                    "optimizers": [gathered(one.state_dict()) for one in each.optimizers],
                    "average": gathered(each.average.state_dict()) if each.average else None,
                }
                for name, each in self._trained.items()
            },
        }

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """For as long as the block lasts, networks that keep an average have it for their weights, and all are whole."""
        with ExitStack() as stack:
            for each in self._trained.values():
                sharded = each.wrapped if isinstance(each.wrapped, Sharded) else None
                if sharded is not None and sharded.gathered:  # the run is over, and its average the network's for good
                    continue
                if each.average is not None:
                    stack.enter_context(each.average.applied())
                if sharded is not None:
                    stack.enter_context(sharded.whole())
            yield

    def settle(self) -> None:
        """Give every network its average for good, and whole."""
        for each in self._trained.values():
            if isinstance(each.wrapped, Sharded) and each.wrapped.gathered:
                continue
            if each.average is not None:
                each.average.settle()
            if isinstance(each.wrapped, Sharded):
                each.wrapped.gather()

    def _wrapped(self, network: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> torch.nn.Module:
        if self._accelerator is None:
            return network
        if processes.sharded():
            return Sharded(network, optimizers, self._accelerator.device)
        return self._accelerator.prepare_model(network)  # type: ignore[no-any-return]

    def _exchange(self, now: bool) -> None:
        for each in self._trained.values():
            if isinstance(each.wrapped, torch.nn.parallel.DistributedDataParallel):
                each.wrapped.require_backward_grad_sync = now  # what its no_sync() sets
            if isinstance(each.wrapped, Sharded):
                each.wrapped.exchange(now)

    def _summed(self, metrics: Mapping[str, float | torch.Tensor]) -> dict[str, float]:
        parts = {name: value.detach().float() for name, value in metrics.items() if isinstance(value, torch.Tensor)}
        summed: dict[str, float] = {}
        if parts:
            stacked = torch.stack([each.reshape(()) for each in parts.values()])
            if self._accelerator is not None:
                stacked = self._accelerator.reduce(stacked, "sum")
            summed = dict(zip(parts, stacked.tolist(), strict=True))
        return {name: summed[name] if name in summed else float(value) for name, value in metrics.items()}


def _forget(trained: _Trained) -> None:
    for each in trained.parameters:
        each.grad = None


def _restore(trained: _Trained, state: Mapping[str, Any] | None, name: str) -> None:
    if state is None or len(state["optimizers"]) != len(trained.optimizers):
        raise MismatchedFolder(
            f"the checkpoint has other optimisers for {name!r} than this run; resume with its options"
        )
    trained.updates = state["updates"]
    for optimizer, saved in zip(trained.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(optimizer_state(optimizer, saved))
    if trained.average is not None and state["average"] is not None:
        trained.average.load_state_dict(state["average"])
