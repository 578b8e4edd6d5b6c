"""Fully sharded training (FSDP): each process holds a part of every weight, gradient, average and optimiser state.

The network inside a `Sharded` has no hooks of its own. It computes only while it holds plain, whole weights: inside
`Sharded.forward`, in a `whole()` block, and after `gather()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from torch import nn

from aigc_sdk.errors import NotOffered


class Sharded(nn.Module):
    """A network whose weights are gathered for each pass; `optimizers` then update the parts instead of the whole.

    The network is one group, since its forward pass may read any weight of any of its modules.
    """

    def __init__(self, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        super().__init__()
        if any(isinstance(each, torch.optim.Muon) for each in optimizers):
            raise NotOffered("Muon needs whole matrices; choose another optimiser, or launch without --use_fsdp")
        self.network = network.to(device)
        self.gathered = False
        for each in [*network.parameters(), *network.buffers()]:  # all begin with the weights of the first process
            torch.distributed.broadcast(each.detach(), 0)
        places = [
            (module, name, plain)
            for module in network.modules()
            for name, plain in module._parameters.items()
            if plain is not None
        ]
        fully_shard(
            self,
            mesh=init_device_mesh(device.type, (torch.distributed.get_world_size(),)),
            reshard_after_forward=True,  # so that between passes the modules hold their parts
        )
        self._places = [(module, name, plain, module._parameters[name]) for module, name, plain in places]
        self._parts = {plain: part for _, _, plain, part in self._places}
        for group in (group for each in optimizers for group in each.param_groups):
            group["params"] = [self._parts.get(each, each) for each in group["params"]]
        self._release()

    def forward(self, *arguments: Any, **named: Any) -> Any:
        if self.training:
            for each in self.network.buffers():  # statistics are those of the first process, as DDP has it
                torch.distributed.broadcast(each, 0)
        return self.network(*arguments, **named)

    def exchange(self, now: bool) -> None:
        """Whether the next backward pass adds gradients up over processes, or keeps them for a later one."""
        self.set_requires_gradient_sync(now)  # type: ignore[operator]  # of FSDPModule, which this has become

    @contextmanager
    def whole(self) -> Iterator[None]:
        """For as long as the block lasts, every process' network has whole weights; all processes must enter."""
        self.gather()
        try:
            yield
        finally:
            self._release()

    def gather(self) -> None:
        """Give every process' network whole weights, in the tensors that it had at first; all processes must call."""
        for plain, part in self._parts.items():
            plain.data = gathered(part)
        torch.autograd.graph.increment_version(list(self._parts))
        for module, name, plain, _ in self._places:
            module._parameters[name] = plain
        self.gathered = True

    def _release(self) -> None:
        for module, name, plain, part in self._places:
            module._parameters[name] = part
            plain.data = plain.new_empty(0)
        self.gathered = False


def gathered(value: Any) -> Any:
    """A state with every sharded tensor in it whole; all processes must call, in the same order."""
    if isinstance(value, Mapping):
        return {key: gathered(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(gathered(each) for each in value)
    return value.detach().full_tensor() if hasattr(value, "full_tensor") else value


def like(value: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """The whole tensor `value`, sharded as `part` is, if it is."""
    if not hasattr(part, "full_tensor") or value.shape != part.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, part.device_mesh, part.placements, src_data_rank=None)  # type: ignore[attr-defined]


def optimizer_state(optimizer: torch.optim.Optimizer, whole: Mapping[str, Any]) -> dict[str, Any]:
    """What `optimizer` can load: the state `whole`, each tensor sharded as the parameter that it belongs to."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state = {
        index: {name: like(each, parameters[index]) if torch.is_tensor(each) else each for name, each in one.items()}
        for index, one in whole["state"].items()
    }
    return {**whole, "state": state}
