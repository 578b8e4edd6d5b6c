"""Adversarial training on word embeddings: FGM, PGD and FreeLB; and how a network does under such an attack.

A sample is perturbed as a whole: the norm of a perturbation is that of all of the sample's embeddings together, and
each sample has its own. Lengths are told as parts of the length of those embeddings themselves. So they mean the same for
any model and any text, and a model gains nothing by larger embeddings, for which reason Miyato et al. scale theirs to
unit variance; a pre-trained network would not be itself any more. `relative=False` takes them as the papers do.

    loss = adversarial_gradients("freelb", ball, loss_of, words, packed, loop.backward)

`loss_of(shift)` is the loss of the batch with `shift` added to its word embeddings, both (tokens, width).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from aigc_sdk.errors import OptionError

if TYPE_CHECKING:
    from .packed import Packed

Kind = Literal["fgm", "pgd", "freelb"]
LossOf: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
Backward: TypeAlias = Callable[[torch.Tensor], None]
NOTHING = 1e-20  # a norm that nothing can be divided by


@dataclass(frozen=True)
class Ball:
    """Perturbations up to `epsilon` long, looked for in `steps` steps of length `rate`."""

    epsilon: float = 0.1
    rate: float = 0.05
    steps: int = 3
    relative: bool = True
    """Whether lengths are parts of that of the sample's own embeddings."""

    def __post_init__(self) -> None:
        for name, value in (("epsilon", self.epsilon), ("rate", self.rate)):
            if not 0 < value < float("inf"):
                raise OptionError(f"{name}={value}: give a length above 0", field=name)
        if self.steps < 1:
            raise OptionError(f"steps={self.steps}: take at least one", field="steps")


def adversarial_gradients(
    kind: Kind, ball: Ball, loss_of: LossOf, words: torch.Tensor, packed: Packed, backward: Backward
) -> torch.Tensor:
    """Add up the gradients of one adversarial update by `backward`, and return the loss whose gradients they are.

    fgm (Miyato et al. 2017): the loss, and the loss with each sample moved by `epsilon` along its gradient; two passes.
    pgd (Madry et al. 2018): the loss at the end of `steps` steps uphill from a random start; steps + 1 passes.
    freelb (Zhu et al. 2020): the mean loss on the way, whose gradients are by-products of the steps; `steps` passes.

    words: the embeddings that are perturbed. All passes drop the same, as FreeLB asks for.
    """
    if kind not in ("fgm", "pgd", "freelb"):
        raise OptionError(f"adversarial={kind!r}: one of 'fgm', 'pgd', 'freelb'", field="adversarial")
    field = _Field.of(ball, words, packed)
    start = torch.zeros_like(field.words) if kind == "fgm" else field.start()
    update = {"fgm": _fgm, "pgd": _pgd, "freelb": _freelb}[kind]
    return update(field, _repeating(loss_of, words.device), start, backward)


def worst_shift(ball: Ball, loss_of: LossOf, words: torch.Tensor, packed: Packed) -> torch.Tensor:
    """The perturbation of every sample that PGD finds: the attack itself, which leaves no gradient behind."""
    field = _Field.of(ball, words, packed)
    return _climbed(field, loss_of, field.start())


def lengths(shift: torch.Tensor, packed: Packed) -> torch.Tensor:
    """How long each sample's perturbation is: (tokens, width) to (rows,)."""
    squares = shift.new_zeros(len(packed.lengths)).index_add_(0, packed.row, shift.square().sum(1))
    return squares.sqrt()


def projected(shift: torch.Tensor, packed: Packed, longest: torch.Tensor) -> torch.Tensor:
    """Perturbations that are longer than the `longest` of their row (rows,) brought back to that length."""
    too_long = (lengths(shift, packed) / longest).clamp(min=1)
    return shift / too_long[packed.row, None]


@dataclass(frozen=True)
class _Field:
    """Where the perturbations of one batch are looked for."""

    words: torch.Tensor  # (tokens, width)
    packed: Packed
    longest: torch.Tensor  # (rows,)
    step: torch.Tensor  # (rows,), its length
    steps: int

    @classmethod
    def of(cls, ball: Ball, words: torch.Tensor, packed: Packed) -> _Field:
        still = words.detach().float()
        unit = lengths(still, packed) if ball.relative else still.new_ones(len(packed.lengths))
        return cls(still, packed, ball.epsilon * unit, ball.rate * unit, ball.steps)

    def start(self) -> torch.Tensor:
        """Uniform in a cube as wide as the ball, over the root of the sample's size (FreeLB): never outside of the ball."""
        sizes = torch.tensor(self.packed.lengths, device=self.words.device, dtype=torch.float32) * self.words.shape[1]
        drawn = torch.empty_like(self.words).uniform_(-1, 1)
        return drawn * (self.longest / sizes.sqrt())[self.packed.row, None]

    def moved(self, shift: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """One step uphill, and back into the ball."""
        return projected(shift + self.along(gradient, self.step), self.packed, self.longest)

    def along(self, gradient: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Each sample's gradient at the `length` of its row; one that is 0 stays 0."""
        scale = length / lengths(gradient, self.packed).clamp(min=NOTHING)
        return gradient * scale[self.packed.row, None]


def _fgm(field: _Field, loss_of: LossOf, start: torch.Tensor, backward: Backward) -> torch.Tensor:
    shift = start.requires_grad_()
    clean = loss_of(shift)
    backward(clean)
    worst = loss_of(field.along(_gradient(shift), field.longest))
    backward(worst)
    return clean.detach() + worst.detach()


def _pgd(field: _Field, loss_of: LossOf, start: torch.Tensor, backward: Backward) -> torch.Tensor:
    loss = loss_of(_climbed(field, loss_of, start))
    backward(loss)
    return loss.detach()


def _freelb(field: _Field, loss_of: LossOf, start: torch.Tensor, backward: Backward) -> torch.Tensor:
    shift, total = start, torch.zeros((), device=start.device)
    for _ in range(field.steps):
        shift.requires_grad_()
        loss = loss_of(shift) / field.steps
        backward(loss)
        total += loss.detach()
        shift = field.moved(shift.detach(), _gradient(shift))
    return total


def _climbed(field: _Field, loss_of: LossOf, shift: torch.Tensor) -> torch.Tensor:
    for _ in range(field.steps):
        shift.requires_grad_()
        with torch.enable_grad():
            [gradient] = torch.autograd.grad(loss_of(shift), shift)
        shift = field.moved(shift.detach(), gradient)
    return shift


def _gradient(shift: torch.Tensor) -> torch.Tensor:
    if shift.grad is None:
        raise RuntimeError("the loss does not depend on its perturbation")
    return shift.grad


def _repeating(loss_of: LossOf, device: torch.device) -> LossOf:
    """`loss_of` from the same random state at each call, so that every pass has the same dropout masks."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def again(shift: torch.Tensor) -> torch.Tensor:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        return loss_of(shift)

    return again
