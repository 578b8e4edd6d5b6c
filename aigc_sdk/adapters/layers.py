"""What an adapter does at one linear layer: a change of its output, or of its input; and how that is merged into it.

Every layer here takes and gives (..., features), and starts as a change of nothing, or of next to nothing.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from .methods import IA3, AdaLoRA, Bottleneck, LoRA, Method

SMALL = 1e-3  # deviation of a bottleneck's first weights


class Change(nn.Module):
    """A change at one layer; `before` gets what the layer is given, and `after` that and what the layer gives."""

    decays = False
    """Whether weight decay leads to no change, rather than to nonsense."""

    def before(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's input, changed."""
        return x

    def after(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The layer's output, changed; x is the input as the layer was given it."""
        return output

    def merge(self, layer: nn.Module) -> None:
        """Change the layer's own weights instead."""
        raise NotImplementedError


class LowRank(Change):
    """x A^T B^T alpha / rank; A is random and B zero at first (Hu et al. 2021)."""

    decays = True

    def __init__(self, method: LoRA, rows: int, columns: int, rng: torch.Generator) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.empty(method.rank, columns))  # (rank, in)
        self.lora_B = nn.Parameter(torch.zeros(rows, method.rank))  # (out, rank)
        self.scaling = method.alpha / method.rank
        self.drop = nn.Dropout(method.dropout)
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5, generator=rng)

    def after(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        inner = F.linear(self.drop(x), self.lora_A) * self.scaling
        return output + F.linear(inner, self.lora_B)

    def merge(self, layer: nn.Module) -> None:
        _add(layer, self.lora_B @ self.lora_A * self.scaling)


class SingularValues(Change):
    """x Q^T diag(E) P^T alpha / initial_rank, P and Q orthonormal and E zero at first (Zhang et al. 2023).

    Named as in peft: A is Q (rank, in), B is P (out, rank). `kept` says which singular values are left. The buffers
    are what a run needs to go on exactly; see budget.py.
    """

    def __init__(self, method: AdaLoRA, rows: int, columns: int, rng: torch.Generator, rank: int | None = None) -> None:
        super().__init__()
        rank = method.initial_rank if rank is None else rank
        self.lora_A = nn.Parameter(torch.empty(rank, columns))
        self.lora_B = nn.Parameter(torch.empty(rows, rank))
        self.lora_E = nn.Parameter(torch.zeros(rank, 1))
        self.scaling = method.alpha / (method.initial_rank + 1e-5)  # peft's way not to divide by zero
        self.drop = nn.Dropout(method.dropout)
        for each in (self.lora_A, self.lora_B) if rank else ():
            nn.init.orthogonal_(each, generator=rng)
        self.kept: torch.Tensor
        self.register_buffer("kept", torch.ones(rank, dtype=torch.bool))
        for name, each in self.named_parameters():
            self.register_buffer(f"importance_{name}", torch.zeros_like(each))
            self.register_buffer(f"uncertainty_{name}", torch.zeros_like(each))

    def after(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        inner = F.linear(self.drop(x), self.lora_A * self.lora_E) * self.scaling
        return output + F.linear(inner, self.lora_B)

    def merge(self, layer: nn.Module) -> None:
        _add(layer, self.lora_B @ (self.lora_A * self.lora_E) * self.scaling)

    def averages(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The running importance of a parameter, and its uncertainty."""
        return getattr(self, f"importance_{name}"), getattr(self, f"uncertainty_{name}")


class Rescaling(Change):
    """Every feature times a learnt factor: of the output, or of a feed-forward layer's input (Liu et al. 2022)."""

    def __init__(self, rows: int, columns: int, feed_forward: bool) -> None:
        super().__init__()
        self.feed_forward = feed_forward
        self.ia3_l = nn.Parameter(torch.ones((1, columns) if feed_forward else (rows, 1)))

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.ia3_l.flatten() if self.feed_forward else x

    def after(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return output if self.feed_forward else output * self.ia3_l.flatten()

    def merge(self, layer: nn.Module) -> None:
        weight, factors = _matrix(layer), self.ia3_l
        weight.mul_(factors)
        if not self.feed_forward and layer.bias is not None:
            layer.bias.mul_(factors.flatten())  # type: ignore[operator]


class Narrowing(Change):
    """output + up(gelu(down(output))), with weights near zero at first (Houlsby et al. 2019)."""

    decays = True

    def __init__(self, method: Bottleneck, rows: int, rng: torch.Generator) -> None:
        super().__init__()
        self.down, self.up = unset(rows, method.width), unset(method.width, rows)
        for each in (self.down, self.up):
            nn.init.trunc_normal_(each.weight, std=SMALL, a=-2 * SMALL, b=2 * SMALL, generator=rng)
            nn.init.zeros_(each.bias)

    def after(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return output + self.up(F.gelu(self.down(output)))  # type: ignore[no-any-return]


class Replacement(Change):
    """A module of the network that is trained whole: a copy of its own answers in its place."""

    decays = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.copy = without_hooks(module).requires_grad_(True)  # those of other adapters are not its own

    def after(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return self.copy(x)  # type: ignore[no-any-return]

    def merge(self, layer: nn.Module) -> None:
        layer.load_state_dict(self.copy.state_dict())


def without_hooks(module: nn.Module) -> nn.Module:
    """A copy of a module that calls nobody: no hooks, and no manager of adapters."""
    left_out: dict[int, Any] = {id(module.__dict__.get("aigc_adapters")): None}
    for each in module.modules():
        left_out |= {id(hooks): OrderedDict() for hooks in (each._forward_hooks, each._forward_pre_hooks)}
        left_out[id(each.__dict__.get("aigc_prefixes"))] = None
    return copy.deepcopy(module, left_out)


def change_of(method: Method, layer: nn.Module, feed_forward: bool, rng: torch.Generator) -> Change:
    """The change that `method` makes at a linear layer; `feed_forward`: it takes the widened features."""
    rows, columns = sizes(layer)
    if isinstance(method, LoRA):
        return LowRank(method, rows, columns, rng)
    if isinstance(method, AdaLoRA):
        return SingularValues(method, rows, columns, rng)
    if isinstance(method, IA3):
        return Rescaling(rows, columns, feed_forward)
    assert isinstance(method, Bottleneck)
    return Narrowing(method, rows, rng)


def unset(columns: int, rows: int) -> nn.Linear:
    """A linear layer with weights yet to be set; its own first ones would be drawn from torch's global random state."""
    return skip_init(nn.Linear, columns, rows)  # type: ignore[no-any-return, no-untyped-call]


def is_linear(module: nn.Module) -> bool:
    """Whether `module` is a linear layer, torch's own or GPT-2's, which holds its matrix the other way round."""
    return type(module) is nn.Linear or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether a linear layer's weight is (in, out)."""
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.")


def sizes(layer: Any) -> tuple[int, int]:
    """The features that a linear layer gives, and those that it takes."""
    rows, columns = layer.weight.shape[::-1] if is_transposed(layer) else layer.weight.shape
    return int(rows), int(columns)


def _matrix(layer: Any) -> torch.Tensor:
    """The layer's weight as (out, in); changed in place, it changes the layer."""
    weight: torch.Tensor = layer.weight.T if is_transposed(layer) else layer.weight
    return weight


def _add(layer: nn.Module, change: torch.Tensor) -> None:
    _matrix(layer).add_(change)
