"""The network as it is trained: a batch in, summed loss out; and how fast each of its weights learns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aigc_sdk.training.dropout import bulk

from .heads import logits
from .packed import word_embeddings
from .tasks import Batch, Task, summed_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


class TrainingNetwork(nn.Module):
    """An encoder with a head under training; `model` is the Hugging Face module whose parameters it trains."""

    def __init__(self, model: PreTrainedModel, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(
        self,
        batch: Batch,
        weights: torch.Tensor | None = None,
        smoothing: float = 0.0,
        shift: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss summed over the batch, see `tasks.summed_loss`; divide it by `tasks.total`.

        shift: (tokens, embedding width), what is added to the word embeddings, see `adversarial`.
        """
        words = None if shift is None else word_embeddings(self.model, batch.packed) + shift
        with bulk(self.model, batch.packed.ids.device):
            found = logits(self.model, batch.packed, words, batch.chosen)
        return summed_loss(self.task, found, batch, weights, smoothing)


def groups(
    models: Sequence[PreTrainedModel], rate: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """AdamW's parameter groups: vectors do not decay, and each layer learns `layer_decay` times as fast as the next one.

    The head learns at `rate`, the embeddings slowest (Howard and Ruder 2018, Sun et al. 2019). models: heads on one
    encoder, whose weights are taken once.
    """
    places: dict[tuple[int, bool], list[nn.Parameter]] = {}
    top = int(models[0].config.num_hidden_layers) + 1
    seen: set[int] = set()
    for model in models:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                place = depth(name, model.base_model_prefix, top), parameter.ndim >= 2
                places.setdefault(place, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * layer_decay ** (top - level),
            "weight_decay": weight_decay if matrix else 0.0,
        }
        for (level, matrix), parameters in sorted(places.items(), key=lambda item: item[0])
    ]


def depth(name: str, prefix: str, top: int) -> int:
    """0 for embeddings, 1 for the first layer, ..., `top` for the head and whatever else follows the layers."""
    layer = _LAYER.search(name)
    if layer is not None:
        return int(layer.group(1)) + 1
    return 0 if name.startswith(prefix) and "embeddings" in name else top
