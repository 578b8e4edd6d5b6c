"""Which tokens may be drawn at all, by top-k, top-p, min-p and typical-p; and drawing one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aigc_sdk_gpt2.options import Decoding

NUCLEUS = 256  # tokens among which the nucleus is looked for first: sorting a whole vocabulary takes milliseconds

NEAR = 2.0**-14  # in units of the likeliest probability: less likely tokens are seldom in a nucleus


def drawn(weights: torch.Tensor, options: Decoding, uniforms: list[float]) -> torch.Tensor:
    """A token of each row, by one number in [0, 1) each: int64, rows.

    weights: as in `kept`. The number is looked up in the summed weights in the vocabulary's order. Where a nucleus is asked
    for, a row is first tried by its likely tokens alone; the token is the same.
    """
    tokens = torch.full((len(weights),), -1, dtype=torch.int64)
    if options.top_p < 1 and options.typical_p == 1 and weights.device.type == "cpu":
        found = [_near(row, options, point) for row, point in zip(weights.numpy(), uniforms, strict=True)]
        tokens = torch.tensor(found)
    left = (tokens < 0).nonzero()[:, 0]
    if len(left):
        some = weights if len(left) == len(weights) else weights[left]
        tokens[left] = _looked_up(kept(some, options), torch.tensor(uniforms, dtype=torch.float64)[left]).cpu()
    return tokens


def _looked_up(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    summed = weights.cumsum(-1, dtype=torch.float64)
    points = uniforms.to(summed.device)[:, None] * summed[:, -1:]
    tokens = torch.searchsorted(summed, points, right=True)[:, 0]
    return torch.where(tokens < weights.shape[1], tokens, weights.argmax(-1))  # a point may round up to the sum itself


def _near(weights: NDArray[np.float32], options: Decoding, uniform: float) -> int:
    """The token that `kept` and `_looked_up` give, for one row under top-k, top-p and min-p; -1 where its tokens of at least
    NEAR do not decide it."""
    places = np.flatnonzero(weights >= max(NEAR, options.min_p))
    values = weights[places]
    order = np.sort(values)[::-1]
    least = options.min_p
    if 0 < options.top_k < len(weights):
        if len(order) < options.top_k:
            return -1
        least = max(least, order[options.top_k - 1])
        order = order[order >= order[options.top_k - 1]]
        total = order.sum(dtype=np.float64)
    else:
        total = weights.sum(dtype=np.float64)
    reached = np.searchsorted(order.cumsum(dtype=np.float64), options.top_p * total)
    if reached < len(order):
        least = max(least, order[reached])
    elif options.min_p < NEAR:
        return -1
    remain = values >= least
    summed = values[remain].cumsum(dtype=np.float64)
    place = np.searchsorted(summed, uniform * summed[-1], side="right")
    return int(places[remain][place] if place < len(summed) else weights.argmax())


def kept(weights: torch.Tensor, options: Decoding) -> torch.Tensor:
    """`weights` with 0 for the tokens that are filtered out; tokens that weigh the same stay or go together.

    weights: rows x vocabulary, probabilities in units of the likeliest token's, which therefore has 1.
    top-k: Fan et al. 2018; top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2025; typical-p: Meister et al. 2023.
    """
    if 0 < options.top_k < weights.shape[1]:
        weights = _from(weights, weights.topk(options.top_k).values[:, -1:])
    if options.top_p < 1:
        weights = _from(weights, _nucleus(weights, options.top_p))
    if options.min_p:
        weights = _from(weights, options.min_p)
    return _typical(weights, options.typical_p) if options.typical_p < 1 else weights


def _from(weights: torch.Tensor, least: torch.Tensor | float) -> torch.Tensor:
    return torch.where(weights >= least, weights, 0)


def _nucleus(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """The weight of the last of those likeliest tokens that together reach `top_p`: rows x 1."""
    goal = top_p * weights.sum(-1, keepdim=True, dtype=torch.float64)
    size = NUCLEUS
    while True:
        size = min(size, weights.shape[1])
        values = weights.topk(size).values
        short = values.cumsum(-1, dtype=torch.float64) < goal
        if size == weights.shape[1] or not bool(short[:, -1].any()):
            return values.gather(1, short.sum(-1, keepdim=True).clamp(max=size - 1))
        size *= 16


def _typical(weights: torch.Tensor, mass: float) -> torch.Tensor:
    """Those tokens whose surprise, -log p, is nearest to the expected one, and that together reach `mass`."""
    probabilities = weights / weights.sum(-1, keepdim=True)
    expected = torch.special.entr(probabilities).sum(-1, keepdim=True)
    distances = (-probabilities.log() - expected).abs()  # infinite where a token is out already
    nearest, order = distances.sort(-1)
    short = probabilities.gather(1, order).cumsum(-1, dtype=torch.float64) < mass
    farthest = nearest.gather(1, short.sum(-1, keepdim=True).clamp(max=weights.shape[1] - 1))
    return torch.where(distances <= farthest, weights, 0)
