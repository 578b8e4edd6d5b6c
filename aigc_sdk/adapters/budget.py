"""AdaLoRA's budget: which singular values are kept, over all layers together (Zhang et al. 2023, section 3).

It works around the optimiser's own step: before it the gradient tells how important each weight is, and after it the
singular values that the budget has no room for are set to zero. Everything that it remembers lies in buffers of the
layers, so that a resumed run goes on exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .layers import SingularValues
from .methods import AdaLoRA


@dataclass(frozen=True)
class Schedule:
    """Updates 1 to `steps`; ranks fall after `warmup` of them, and stay for the last `final`."""

    steps: int
    warmup: int
    final: int
    every: int
    first: int
    """Singular values of all layers in the beginning."""
    last: int
    """And in the end."""

    @classmethod
    def of(cls, method: AdaLoRA, steps: int, layers: Sequence[SingularValues]) -> Schedule:
        """The schedule of a run of `steps` updates over `layers`."""
        first = sum(len(each.kept) for each in layers)
        last = min(first, method.rank * len(layers))
        warmup, final = int(method.warmup * steps), int(method.final * steps)
        return cls(steps, warmup, final, method.every, first, last)

    def budget(self, step: int) -> int:
        """How many singular values are kept after update `step`: the cubic fall of the paper's equation 12."""
        done = (step - self.warmup) / max(1, self.steps - self.final - self.warmup)
        left = 1 - min(1.0, max(0.0, done))
        return self.last + int((self.first - self.last) * left**3)

    def chooses(self, step: int) -> bool:
        """Whether ranks are chosen anew after update `step`."""
        settled = self.steps - self.final
        return self.warmup < step <= settled and (step % self.every == 0 or step == settled)

    def settled(self, step: int) -> bool:
        """Whether ranks have been chosen for good before update `step`."""
        return step > self.steps - self.final


class Budget:
    """Follows one run, from update `done + 1` on."""

    def __init__(self, method: AdaLoRA, layers: Sequence[SingularValues], steps: int, done: int) -> None:
        self.method = method
        self.layers = layers
        self.schedule = Schedule.of(method, steps, layers)
        self.step = done
        if done == 0:
            _forget(layers)

    def before(self, *ignored: Any) -> None:
        """With the gradient of the next update: importance, and the gradient of the penalty."""
        self.step += 1
        if not self.schedule.settled(self.step):
            for each in self.layers:
                _watch(each, self.method.decay)
        if self.method.orthogonality:
            for each in self.layers:
                _straighten(each, self.method.orthogonality)

    @torch.no_grad()
    def after(self, *ignored: Any) -> None:
        """Drop what the budget has no room for."""
        if self.schedule.chooses(self.step):
            _choose(self.layers, self.schedule.budget(self.step))
        if self.schedule.chooses(self.step) or self.schedule.settled(self.step):
            for each in self.layers:
                each.lora_E.mul_(each.kept[:, None])


@torch.no_grad()
def _forget(layers: Sequence[SingularValues]) -> None:
    for each in layers:
        each.kept.fill_(True)
        for name, _ in each.named_parameters():
            for average in each.averages(name):
                average.zero_()


@torch.no_grad()
def _watch(layer: SingularValues, decay: float) -> None:
    """Sensitivity |weight x gradient|, smoothed, and how much it varies (the paper's equations 8 to 10)."""
    for name, parameter in layer.named_parameters():
        importance, uncertainty = layer.averages(name)
        if parameter.grad is None:
            continue
        sensitivity = (parameter * parameter.grad).abs()
        importance.lerp_(sensitivity, 1 - decay)
        uncertainty.lerp_((sensitivity - importance).abs(), 1 - decay)


@torch.no_grad()
def _straighten(layer: SingularValues, weight: float) -> None:
    """Add the gradient of weight x (||P^T P - 1||^2 + ||Q Q^T - 1||^2), which is 4 weight P (P^T P - 1) for P."""
    for parameter, rows in ((layer.lora_A, layer.lora_A), (layer.lora_B, layer.lora_B.T)):
        if parameter.grad is None or not len(rows):
            continue
        error = rows @ rows.T
        error.diagonal().sub_(1)
        slope = 4 * weight * (error @ rows)  # (rank, features)
        parameter.grad.add_(slope if rows is parameter else slope.T)


def _choose(layers: Sequence[SingularValues], budget: int) -> None:
    """Keep the `budget` most important singular values, each judged with its vectors (the paper's equation 7)."""
    scores = torch.cat([_score(each) for each in layers])
    kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    kept[scores.argsort(descending=True, stable=True)[:budget]] = True
    for each, its in zip(layers, torch.split(kept, [len(each.kept) for each in layers]), strict=True):
        each.kept.copy_(its)


def _score(layer: SingularValues) -> torch.Tensor:
    """The importance of each singular value: its own, and the means over its two vectors."""
    values, left, right = (
        importance * uncertainty for importance, uncertainty in map(layer.averages, ("lora_E", "lora_B", "lora_A"))
    )
    return values[:, 0] + left.mean(0) + right.mean(1)  # (rank,)
