"""The mode of torch in which modules get no first weights; see `weights.on_meta`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWS = {torch.Tensor.normal_, torch.Tensor.uniform_}


class Undrawn(TorchFunctionMode):
    """Leaves tensors on "meta" as they are where torch.nn.init, or a module by itself, would fill them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in DRAWS or getattr(func, "__module__", "") == "torch.nn.init":
            tensor = args[0] if args else given.get("tensor")
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **given)
