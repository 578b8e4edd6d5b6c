"""The statistics of batch norm, measured anew.

What training leaves are those of its last batches with the weights as they were then, not those of the average of the
weights, with which the generator is judged and saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Batches = Callable[[], Iterator[tuple[Tensor, Tensor | None]]]
"""Gives batches of latents and labels, the same ones whenever it is called."""


@contextmanager
def measured(network: nn.Module, batches: Batches) -> Iterator[None]:
    """For as long as the block lasts, batch norm has the statistics of `batches` with the weights as they are now."""
    kept = [(buffer, buffer.clone()) for norm in _norms(network) for buffer in norm.buffers()]
    measure(network, batches)
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


@torch.no_grad()
def measure(network: nn.Module, batches: Batches) -> None:
    """Give batch norm the mean statistics of `batches`, for good."""
    norms = _norms(network)
    if not norms:
        return
    was_training, momenta = network.training, [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    network.train()
    for latents, labels in batches():
        network(latents, labels)
    network.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    found = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    return [each for each in found if each.track_running_stats]
