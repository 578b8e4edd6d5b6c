"""The loss of a language model's last layer, without ever holding all of its logits."""

from __future__ import annotations

from typing import Any

import torch

IGNORED = -100  # torch's own index for a target that no loss is taken of
CHUNK = {"cpu": 1 << 21, "cuda": 1 << 26}  # logits at a time: 8 MB suit a CPU's caches, 256 MB keep a GPU busy


def summed_cross_entropy(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum of -log softmax(hidden @ weight.T)[target] over all targets, in nats; a float32 scalar.

    hidden: rows x width; weight: vocabulary x width; targets: int64, rows, -100 where no loss is taken.

    Logits are made for some rows at a time, and turned into gradients at once (as Liger-Kernel does, Hsu et al. 2024).
    """
    total: torch.Tensor = _SummedCrossEntropy.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return total


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        matrix = weight.to(dtype)
        hidden_learns, weight_learns, _ = ctx.needs_input_grad
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_grad = torch.empty_like(hidden) if hidden_learns else None
        weight_grad = torch.zeros_like(weight) if weight_learns else None  # a weight beside an adapter does not learn
        size = max(1, CHUNK.get(device, CHUNK["cuda"]) // len(weight))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), size):
                part = slice(start, start + size)
                rows, answers = hidden[part].to(dtype), targets[part]
                unused = (answers == IGNORED)[:, None]
                answers = answers.masked_fill(unused[:, 0], 0)[:, None]
                scores = (rows @ matrix.T).float().log_softmax(-1)
                total -= scores.gather(1, answers).masked_fill_(unused, 0).sum()
                if not (hidden_learns or weight_learns):
                    continue
                slope = scores.exp_()  # d loss / d logits = softmax - one-hot
                slope.scatter_add_(1, answers, torch.full_like(answers, -1, dtype=slope.dtype))
                slope = slope.masked_fill_(unused, 0).to(dtype)
                if hidden_grad is not None:
                    hidden_grad[part] = slope @ matrix
                if weight_grad is not None:
                    _add_product(weight_grad, slope.T, rows)
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found = (None if each is None else each * grads[0] for each in ctx.saved_tensors)
        return (*found, None)


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """total += left @ right, without a temporary where the types allow it."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
