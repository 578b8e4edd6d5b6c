"""Losses, regularisers and augmentation against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aigc_sdk_gan.diffaug import diff_augmented
from aigc_sdk_gan.losses import Loss, critic_loss, generator_loss
from aigc_sdk_gan.regularizers import LECAM_DECAY, LeCam, clip_weights, gradient_penalty, squared_gradient

LOSSES = get_args(Loss)
Points: TypeAlias = Callable[[np.random.Generator, int], NDArray[np.float64]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


REAL, FAKE = 0.3, -1.7
DEFINITIONS: dict[str, tuple[float, float]] = {
    "non_saturating": (-log_sigmoid(REAL) - log_sigmoid(-FAKE), -log_sigmoid(FAKE)),
    "least_squares": ((REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
    "hinge": (max(0, 1 - REAL) + max(0, 1 + FAKE), -FAKE),
    "wasserstein": (FAKE - REAL, -FAKE),
    "relativistic": (-log_sigmoid(REAL - FAKE), -log_sigmoid(FAKE - REAL)),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_its_definition(loss: Loss) -> None:
    real, fake = torch.tensor([REAL]), torch.tensor([FAKE])
    found = critic_loss(loss, real, fake).item(), generator_loss(loss, real, fake).item()
    assert found == pytest.approx(DEFINITIONS[loss], rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_players_pull_the_score_of_generated_pictures_apart(loss: Loss) -> None:
    real, fake = torch.tensor([0.2]), torch.tensor([0.1], requires_grad=True)
    [critic] = torch.autograd.grad(critic_loss(loss, real, fake).sum(), fake)
    [generator] = torch.autograd.grad(generator_loss(loss, real, fake).sum(), fake)
    assert critic > 0 > generator


def quadratic(matrix: Tensor) -> Callable[[Tensor, Tensor | None], Tensor]:
    """A critic whose gradient is known: x' A x / 2 has the gradient A x, for symmetric A."""
    return lambda images, labels: torch.einsum("ni,ij,nj->n", images.flatten(1), matrix, images.flatten(1)) / 2


def test_r1_is_the_squared_gradient_and_can_be_differentiated() -> None:
    matrix = torch.randn(4, 4)
    matrix = ((matrix + matrix.T) / 2).requires_grad_()
    images = torch.randn(3, 1, 2, 2)
    penalty = squared_gradient(quadratic(matrix), images, None)
    gradients = images.flatten(1) @ matrix.T
    assert torch.allclose(penalty, gradients.square().sum(1), atol=1e-5)
    [found] = torch.autograd.grad(penalty.sum(), matrix)
    # d/dA of |(A + A') x / 2|^2, since the critic sees the symmetric part alone
    g = gradients.detach().T @ images.flatten(1)
    assert torch.allclose(found, g + g.T, atol=1e-4)


def test_the_gradient_penalty_is_zero_for_slope_one_and_grows_with_the_distance_from_it() -> None:
    direction = torch.tensor([0.6, 0.8, 0.0, 0.0])
    real, fake = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2)
    for slope in (0.0, 1.0, 3.0):
        penalty = gradient_penalty(lambda x, _, s=slope: s * x.flatten(1) @ direction, real, fake, None)
        assert penalty.tolist() == pytest.approx([(slope - 1) ** 2] * 5, abs=1e-5)


def test_the_gradient_penalty_looks_between_the_pairs() -> None:
    seen: list[Tensor] = []

    def critic(images: Tensor, labels: Tensor | None) -> Tensor:
        seen.append(images.detach())
        return images.flatten(1).sum(1)

    gradient_penalty(critic, torch.zeros(50, 1, 2, 2), torch.ones(50, 1, 2, 2), None)
    places = seen[0].flatten(1)
    assert torch.equal(places, places[:, :1].expand_as(places))  # one place per pair
    assert places.min() >= 0
    assert places.max() <= 1
    assert places.std() > 0.2


def test_lecam_holds_scores_to_the_other_kinds_average() -> None:
    lecam = LeCam("cpu")
    batches = [(torch.randn(4) + 2, torch.randn(4) - 1) for _ in range(300)]
    real_mean, fake_mean = batches[0][0].mean(), batches[0][1].mean()
    for number, (real, fake) in enumerate(batches, 1):
        penalty = lecam(real, fake)
        expected = (real - fake_mean) ** 2 + (fake - real_mean) ** 2
        assert torch.allclose(penalty, expected, atol=1e-5)
        decay = min(LECAM_DECAY, 1 - 1 / number)
        real_mean = decay * real_mean + (1 - decay) * real.mean()
        fake_mean = decay * fake_mean + (1 - decay) * fake.mean()


def test_lecam_goes_on_from_its_state() -> None:
    first, second = LeCam("cpu"), LeCam("cpu")
    real, fake = torch.randn(4), torch.randn(4)
    first(real, fake)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(fake, real), second(fake, real))
    assert torch.equal(first.averages, second.averages)


def test_clipping_leaves_no_weight_outside() -> None:
    critic = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    inside = critic[0].weight.detach().clone().clamp(-0.1, 0.1)
    clip_weights(critic, 0.1)
    assert torch.equal(critic[0].weight, inside)
    assert all((each.abs() <= 0.1).all() for each in critic.parameters())


POLICIES = [{"translation": 0.2}, {"translation": 0.01}, {"cutout": 0.5}, {"color": 1.0}]


@pytest.mark.parametrize("policy", POLICIES)
def test_augmentation_passes_gradients_to_the_pixels(policy: dict[str, float]) -> None:
    images = torch.rand(8, 3, 16, 16, requires_grad=True)
    changed = diff_augmented(images, **policy)
    assert changed.shape == images.shape
    [gradient] = torch.autograd.grad(changed.square().sum(), images)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.3


@pytest.mark.parametrize("policy", POLICIES)
def test_every_picture_has_a_draw_of_its_own_and_every_call_another(policy: dict[str, float]) -> None:
    images = torch.rand(1, 3, 16, 16).repeat(6, 1, 1, 1)
    first, second = diff_augmented(images, **policy), diff_augmented(images, **policy)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_without_a_policy_nothing_changes() -> None:
    images = torch.rand(2, 1, 8, 8)
    assert diff_augmented(images) is images


def test_a_wide_shift_moves_whole_pixels_and_black_comes_in() -> None:
    images = torch.rand(40, 1, 8, 8)
    shifted = diff_augmented(images, translation=0.25)  # up to two pixels
    for before, after in zip(images[:, 0], shifted[:, 0], strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2), value=-1.0)
        windows = [padded[y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
        assert min(float((after - each).abs().max()) for each in windows) < 1e-4


def test_cutout_makes_one_square_grey() -> None:
    cut = diff_augmented(torch.ones(60, 1, 8, 8), cutout=0.5)[:, 0] == 0
    assert cut.flatten(1).sum(1).min() >= 1
    assert cut.flatten(1).sum(1).max() == 16
    for each in cut:
        rows, columns = each.any(1), each.any(0)
        assert torch.equal(each, rows[:, None] & columns)


def test_color_changes_pictures_as_wholes_and_keeps_grey_grey() -> None:
    grey = torch.rand(4, 1, 8, 8).repeat(1, 3, 1, 1) * 0.5
    changed = diff_augmented(grey, color=1.0)
    assert torch.allclose(changed[:, 0], changed[:, 2], atol=1e-5)
    for before, after in zip(grey[:, 0], changed[:, 0], strict=True):
        factor, shift = np.polyfit(before.flatten().numpy(), after.flatten().numpy(), 1)
        assert torch.allclose(after, before * factor + shift, atol=1e-4)


def two_hills(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.where(rng.random(n) < 0.5, rng.normal(-0.33, 0.1, n), rng.normal(0.33, 0.17, n))


@pytest.mark.parametrize(
    ("real_points", "fake_points"),
    [
        (two_hills, lambda rng, n: rng.normal(1, 0.33, n)),
        (lambda rng, n: rng.uniform(-1, 0, n), lambda rng, n: rng.normal(0.8, 0.2, n)),
    ],
)
def test_the_critic_with_gradient_penalty_estimates_the_wasserstein_distance(
    real_points: Points, fake_points: Points
) -> None:
    """In one dimension the distance is known: the mean gap between the sorted numbers."""
    rng, n = np.random.default_rng(0), 4096
    real, fake = (torch.from_numpy(each(rng, n)[:, None]).float() for each in (real_points, fake_points))
    exact = (real.sort(0).values - fake.sort(0).values).abs().mean().item()
    layers = nn.Sequential(nn.Linear(1, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def critic(points: Tensor, labels: Tensor | None) -> Tensor:
        return layers(points)[:, 0]

    adam = torch.optim.Adam(layers.parameters(), 2e-3, (0.0, 0.9))
    for _ in range(600):
        some, others = (each[torch.randint(n, (256,))] for each in (real, fake))
        losses = critic_loss("wasserstein", critic(some, None), critic(others, None))
        adam.zero_grad()
        (losses + 10 * gradient_penalty(critic, some, others, None)).mean().backward()
        adam.step()
    with torch.no_grad():
        estimate = -critic_loss("wasserstein", critic(real, None), critic(fake, None)).mean().item()
    assert estimate == pytest.approx(exact, rel=0.15)
