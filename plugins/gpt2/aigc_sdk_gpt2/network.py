"""The network as it is trained: inputs and targets in, summed loss out.

A GPT-2 runs through a forward pass of its own over the very parameters of the Hugging Face module, which computes the
same function faster: the loss never holds all logits at once, and on a CPU dropout takes its masks from bulk random
bits. Every other architecture runs through its Hugging Face forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from aigc_sdk.adapters import Adapters
from aigc_sdk.training.dropout import Bits, drop

from .attention import causal_attention
from .data import IGNORED
from .loss import summed_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LINEAR = ("c_attn", "c_fc", "c_proj")  # the layers of a block that are called as they are
SHORT = 512  # tokens up to which our attention is faster than torch's; it keeps the probabilities, torch's does not


class TrainingNetwork(nn.Module):
    """A causal language model under training; `model` is the Hugging Face module whose parameters it trains."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The cross-entropy summed over all targets, in nats.

        inputs, targets: int64, batch x time; targets are the tokens that follow, -100 where no loss is taken.
        """
        if is_plain_gpt2(self.model):
            hidden = gpt2_hidden(self.model, inputs)
            return summed_cross_entropy(hidden.flatten(0, 1), self.model.lm_head.weight, targets.flatten())
        logits = self.model(input_ids=inputs, use_cache=False).logits
        flat = logits.float().flatten(0, 1)
        return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED, reduction="sum")


def is_plain_gpt2(model: PreTrainedModel) -> bool:
    """Whether `gpt2_hidden` computes what `model` does: a GPT-2 whose layers nobody has replaced, or given virtual tokens.

    It calls the layers, so that adapters and hooks on them act as ever.
    """
    from transformers import GPT2LMHeadModel
    from transformers.pytorch_utils import Conv1D

    if type(model) is not GPT2LMHeadModel or model.config.add_cross_attention:
        return False
    adapters = Adapters.of(model)
    if not adapters.through_layers or not all(each.endswith(LINEAR) for each in adapters.changed):
        return False
    linear = [each for name, each in model.named_modules() if name.endswith(LINEAR)]
    return all(type(each) is Conv1D for each in linear)


def gpt2_hidden(model: PreTrainedModel, inputs: torch.Tensor) -> torch.Tensor:
    """What GPT-2's last layer norm gives: batch x time x width."""
    body: Any = model.transformer
    positions = torch.arange(inputs.shape[1], device=inputs.device)
    bits = _bits(inputs.device) if model.training else None
    x = _dropped(body.drop, body.wte(inputs) + body.wpe(positions), bits)
    for layer in body.h:
        x = x + _dropped(layer.attn.resid_dropout, _attention(layer.attn, layer.ln_1(x), bits), bits)
        x = x + _dropped(layer.mlp.dropout, _feed_forward(layer.mlp, layer.ln_2(x)), bits)
    hidden: torch.Tensor = body.ln_f(x)
    return hidden


def _bits(device: torch.device) -> Bits | None:
    """On a CPU, a source of masks that torch's global random state decides; elsewhere torch draws them fast itself."""
    return Bits(int(torch.randint(2**62, ()))) if device.type == "cpu" else None


def _dropped(module: nn.Dropout, x: torch.Tensor, bits: Bits | None) -> torch.Tensor:
    return drop(x, module.p, bits) if module.training else x


def _attention(attn: Any, x: torch.Tensor, bits: Bits | None) -> torch.Tensor:
    qkv = attn.c_attn(x)
    probability = attn.attn_dropout.p if attn.training else 0.0
    if qkv.device.type == "cpu" and (probability or qkv.shape[1] <= SHORT):
        return attn.c_proj(causal_attention(qkv, attn.num_heads, attn.scaling, probability, bits))  # type: ignore[no-any-return]
    batch, time, _ = qkv.shape
    query, key, value = qkv.view(batch, time, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=probability, is_causal=True, scale=attn.scaling)
    return attn.c_proj(mixed.transpose(1, 2).reshape(batch, time, -1))  # type: ignore[no-any-return]


def _feed_forward(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    inner = mlp.c_fc(x)
    inner = F.gelu(inner, approximate="tanh") if is_tanh_gelu(mlp.act) else mlp.act(inner)
    return mlp.c_proj(inner)  # type: ignore[no-any-return]


def is_tanh_gelu(act: Any) -> bool:
    """Whether it is the GELU in its tanh form, which the library has under two names and torch in one pass."""
    from transformers.activations import GELUTanh, NewGELUActivation

    return isinstance(act, GELUTanh | NewGELUActivation)


@contextmanager
def dropping(model: PreTrainedModel, probability: float | None) -> Iterator[None]:
    """Let `model` drop with `probability` wherever it can drop, for as long as the block lasts; None changes nothing."""
    places = [] if probability is None else list(_dropouts(model))
    before = [getattr(module, name) for module, name in places]
    for module, name in places:
        setattr(module, name, probability)
    try:
        yield
    finally:
        for (module, name), own in zip(places, before, strict=True):
            setattr(module, name, own)


def _dropouts(model: PreTrainedModel) -> Iterator[tuple[nn.Module, str]]:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            yield module, "p"
        elif isinstance(getattr(module, "attention_dropout", None), float):  # Llama's relatives hold a bare number
            yield module, "attention_dropout"
