"""Adversarial training, against the updates of its papers written out sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from aigc_sdk.errors import OptionError
from aigc_sdk_bert.adversarial import Ball, adversarial_gradients, lengths, projected, worst_shift
from aigc_sdk_bert.packed import Packed, Row

ROWS = [[1, 2, 3], [4, 5], [6, 7, 8, 9]]
LABELS = [0, 1, 1]
WIDTH = 4
BALL = Ball(epsilon=0.7, rate=0.4, steps=3, relative=False)  # as the papers take lengths


class Small(torch.nn.Module):
    """Word embeddings, a bend, the mean of each row, two labels."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words = torch.nn.Embedding(10, WIDTH)
        self.head = torch.nn.Linear(WIDTH, 2)
        self.dropout = torch.nn.Dropout(dropout)

    def loss(self, packed: Packed, shift: torch.Tensor) -> torch.Tensor:
        bent = torch.tanh(self.dropout(self.words(packed.ids) + shift))
        return F.cross_entropy(self.head(packed.means(bent)), torch.tensor(LABELS))

    def sample_loss(self, index: int, shift: torch.Tensor) -> torch.Tensor:
        """Of one sample alone, as its part of the batch's mean."""
        bent = torch.tanh(self.words(torch.tensor(ROWS[index])) + shift)
        return F.cross_entropy(self.head(bent.mean(0)), torch.tensor(LABELS[index])) / len(ROWS)

    def slope(self, index: int, shift: torch.Tensor) -> torch.Tensor:
        """The gradient of a sample's loss by its perturbation."""
        shift = shift.clone().requires_grad_()
        return torch.autograd.grad(self.sample_loss(index, shift), shift)[0]


def packed() -> Packed:
    return Packed.of([Row(each) for each in ROWS])


def learnt(network: Small) -> Iterator[tuple[str, torch.Tensor]]:
    for name, each in network.named_parameters():
        assert each.grad is not None
        yield name, each.grad


def ours(kind: str, ball: Ball = BALL) -> tuple[Small, float]:
    network, batch = Small(), packed()
    torch.manual_seed(3)
    loss = adversarial_gradients(
        kind,
        ball,
        lambda shift: network.loss(batch, shift),
        network.words(batch.ids),
        batch,
        lambda each: each.backward(),
    )
    return network, float(loss)


def starts(ball: Ball) -> list[torch.Tensor]:
    """1 / root(N) of a uniform draw from -epsilon to epsilon, N the number of a sample's features."""
    torch.manual_seed(3)
    drawn = ball.epsilon * torch.empty(sum(map(len, ROWS)), WIDTH).uniform_(-1, 1)
    return [each / (each.numel() ** 0.5) for each in drawn.split([len(row) for row in ROWS])]


def climbed(network: Small, index: int, shift: torch.Tensor, ball: Ball) -> torch.Tensor:
    """One step of the ascent: along the gradient at length `rate`, and back into the ball."""
    slope = network.slope(index, shift)
    shift = shift + ball.rate * slope / slope.norm()
    return shift * min(1.0, ball.epsilon / float(shift.norm()))


def fgm(network: Small) -> float:
    """Miyato et al. 2017, equation 5: r = epsilon g / |g|; the loss, and the loss at r."""
    total = 0.0
    for index, row in enumerate(ROWS):
        still = torch.zeros(len(row), WIDTH)
        slope = network.slope(index, still)
        loss = network.sample_loss(index, still) + network.sample_loss(index, BALL.epsilon * slope / slope.norm())
        loss.backward()
        total += loss.item()
    return total


def pgd(network: Small) -> float:
    """Madry et al. 2018, section 2.1: ascent steps projected onto the ball; the loss at the end of them."""
    total = 0.0
    for index, shift in enumerate(starts(BALL)):
        for _ in range(BALL.steps):
            shift = climbed(network, index, shift, BALL)
        loss = network.sample_loss(index, shift)
        loss.backward()
        total += loss.item()
    return total


def freelb(network: Small) -> float:
    """Zhu et al. 2020, algorithm 1: the mean gradient of the points on the way, the start included and the end not."""
    total = 0.0
    for index, shift in enumerate(starts(BALL)):
        for _ in range(BALL.steps):
            loss = network.sample_loss(index, shift) / BALL.steps
            loss.backward()
            total += loss.item()
            shift = climbed(network, index, shift, BALL)
    return total


@pytest.mark.parametrize("paper", [fgm, pgd, freelb])
def test_an_update_is_that_of_the_paper(paper: Callable[[Small], float]) -> None:
    network, loss = ours(paper.__name__)
    expected = Small()
    assert loss == pytest.approx(paper(expected), abs=1e-6)
    for (name, found), (_, wanted) in zip(learnt(network), learnt(expected), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("kind", ["fgm", "pgd", "freelb"])
def test_an_adversarial_loss_is_higher_than_the_plain_one(kind: str) -> None:
    network = Small()
    plain = network.loss(packed(), torch.zeros(9, WIDTH)).item()
    loss = ours(kind)[1]
    assert (loss - plain if kind == "fgm" else loss) > plain


def test_no_perturbation_is_longer_than_epsilon() -> None:
    network, batch = Small(), packed()
    for rate in (0.1, 5.0):
        ball = Ball(epsilon=0.5, rate=rate, steps=4, relative=False)
        shift = worst_shift(ball, lambda each: network.loss(batch, each), network.words(batch.ids), batch)
        assert float(lengths(shift, batch).max()) <= 0.5 + 1e-6
    assert all(each.grad is None for each in network.parameters())


def test_lengths_are_parts_of_those_of_the_embeddings() -> None:
    network, batch = Small(), packed()
    words = network.words(batch.ids)
    own = lengths(words.detach(), batch)
    shift = worst_shift(Ball(0.3, 5.0, 2), lambda each: network.loss(batch, each), words, batch)
    assert (lengths(shift, batch) / own).tolist() == pytest.approx([0.3] * 3, abs=1e-5)
    with torch.no_grad():
        network.words.weight *= 10
    shift = worst_shift(Ball(0.3, 5.0, 2), lambda each: network.loss(batch, each), network.words(batch.ids), batch)
    assert (lengths(shift, batch) / own).tolist() == pytest.approx([3.0] * 3, abs=1e-4)


def test_only_what_is_too_long_is_brought_back() -> None:
    batch = packed()
    shift = torch.zeros(9, WIDTH)
    shift[0, 0], shift[3, 1] = 3.0, 0.1
    back = projected(shift, batch, torch.full((3,), 0.5))
    assert lengths(back, batch).tolist() == pytest.approx([0.5, 0.1, 0.0])
    assert back[3, 1] == shift[3, 1]


def test_a_sample_without_a_gradient_is_left_where_it_is() -> None:
    batch = packed()
    weight = torch.nn.Parameter(torch.ones(WIDTH))

    def first_row(shift: torch.Tensor) -> torch.Tensor:
        return (shift[:3] * weight).sum() + 0 * weight.sum()

    shift = worst_shift(Ball(1.0, 1.0, 1, relative=False), first_row, torch.zeros(9, WIDTH), batch)
    assert torch.isfinite(shift).all()
    assert float(lengths(shift, batch)[1]) < 1.0


def test_all_passes_of_an_update_drop_the_same() -> None:
    network, batch, masks = Small(dropout=0.5), packed(), []

    def loss_of(shift: torch.Tensor) -> torch.Tensor:
        masks.append(network.dropout(torch.ones(9, WIDTH)))
        return network.loss(batch, shift)

    for kind in ("fgm", "pgd", "freelb"):
        masks.clear()
        adversarial_gradients(kind, BALL, loss_of, network.words(batch.ids), batch, lambda each: each.backward())
        assert len(masks) > 1
        assert all(torch.equal(each, masks[0]) for each in masks)


@pytest.mark.parametrize("kind", ["fgm", "pgd", "freelb"])
def test_a_resumed_adversarial_run_is_the_same_run(small: Any, tmp_path: Path, kind: str) -> None:
    data, options = small.sentences(12), {**small.quick, "adversarial": kind}
    whole = small.new()
    steps = list(whole.steps(data, max_steps=4, **options))
    for step in small.new().steps(data, max_steps=4, save_to=tmp_path, **options):
        if step.index == 2:
            break
    again = small.new()
    rest = list(again.steps(data, max_steps=4, save_to=tmp_path, resume=True, **options))
    assert [step.metrics for step in rest] == [step.metrics for step in steps[2:]]
    assert again.model.fingerprint() == whole.model.fingerprint()
    plain = list(small.new().steps(data, max_steps=4, **small.quick))
    assert plain[0].metrics["loss"] != steps[0].metrics["loss"]


def test_every_task_trains_adversarially(small: Any) -> None:
    for task, data in (("tokens", small.spans(8)), ("questions", small.questions(8)), ("masked", small.texts(8))):
        [step] = small.new(task=task).steps(data, max_steps=1, adversarial="freelb", **small.quick)
        assert step.metrics["loss"] > 0


@pytest.mark.parametrize("option", [{"adversarial": "fgm"}, {"unlabelled": "pseudo"}])
def test_sharded_weights_are_refused(small: Any, monkeypatch: pytest.MonkeyPatch, option: dict[str, str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    with pytest.raises(OptionError, match="FSDP"):
        small.new().fit(small.sentences(6), max_steps=1, **option)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: Ball(epsilon=0), "epsilon"),
        (lambda: Ball(rate=float("nan")), "rate"),
        (lambda: Ball(steps=0), "steps"),
        (lambda: ours("fgsm"), "adversarial"),
    ],
)
def test_what_is_no_attack_is_refused(call: Callable[[], object], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        call()
    assert caught.value.field == field
