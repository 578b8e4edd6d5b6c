"""The network as it is trained computes what Hugging Face's does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from aigc_sdk.training.dropout import Bits, drop
from aigc_sdk_gpt2.attention import causal_attention
from aigc_sdk_gpt2.data import IGNORED
from aigc_sdk_gpt2.loss import summed_cross_entropy
from aigc_sdk_gpt2.network import SHORT, TrainingNetwork, dropping, is_plain_gpt2


def gpt2(**changes: Any) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 61, "n_positions": 80, "n_embd": 24, "n_layer": 2, "n_head": 3, **changes}
    drops = {name: sizes.pop("dropout", 0.0) for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop")}
    return GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, initializer_range=0.2, **{**drops, **sizes}))


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=80,
        attention_dropout=0.2,
    )
    return LlamaForCausalLM(config)


def batch(rows: int = 3, time: int = 70) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    targets = torch.randint(61, (rows, time))
    targets[0, :9] = IGNORED
    return torch.randint(61, (rows, time)), targets


def reference(model: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = model(inputs).logits.float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: each.grad.clone() for name, each in model.named_parameters()}


@pytest.mark.parametrize(
    "model",
    [
        gpt2(),
        gpt2(activation_function="gelu_pytorch_tanh", n_inner=40),
        gpt2(activation_function="relu", scale_attn_weights=False),
        gpt2(scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False),
        llama().eval(),
    ],
    ids=["plain", "wide", "unscaled", "inverse", "llama"],
)
def test_loss_and_gradients_are_those_of_hugging_face(model: Any) -> None:
    inputs, targets = batch()
    expected = reference(model, inputs, targets)
    wanted = gradients(model, expected)
    loss = TrainingNetwork(model)(inputs, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, found in gradients(model, loss).items():
        assert torch.allclose(found, wanted[name], rtol=1e-3, atol=1e-3), name


def test_in_bfloat16_the_loss_stays_close() -> None:
    model, (inputs, targets) = gpt2(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = TrainingNetwork(model)(inputs, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference(model, inputs, targets).item(), rel=5e-3)


def test_sequences_too_long_for_our_attention_take_torchs() -> None:
    model, (inputs, targets) = gpt2(n_positions=SHORT + 9), batch(1, SHORT + 9)
    loss = TrainingNetwork(model)(inputs, targets)
    assert loss.item() == pytest.approx(reference(model, inputs, targets).item(), rel=1e-5)


def test_a_layer_that_somebody_replaced_is_not_passed_by() -> None:
    model, (inputs, targets) = gpt2(), batch()
    assert is_plain_gpt2(model)
    model.transformer.h[1].mlp.c_fc = torch.nn.Linear(24, 96)
    assert not is_plain_gpt2(model)
    assert TrainingNetwork(model)(inputs, targets).item() == pytest.approx(reference(model, inputs, targets).item())


@pytest.mark.parametrize("rows", [1, 7, 3000])
def test_the_summed_cross_entropy_needs_no_logits_of_all_rows(rows: int) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(rows, 8, requires_grad=True), torch.randn(900, 8, requires_grad=True)
    targets = torch.randint(900, (rows,))
    targets[::3] = IGNORED
    expected = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    wanted = torch.autograd.grad(expected * 0.5, (hidden, weight))
    found = torch.autograd.grad(summed_cross_entropy(hidden, weight, targets) * 0.5, (hidden, weight))
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("time", [1, 63, 64, 65, 130])
def test_attention_with_dropout_drops_just_the_probabilities_that_its_bits_say(time: int) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, time, 3 * 12, dtype=torch.float64, requires_grad=True)
    query, key, value = qkv.view(2, time, 3, 2, 6).permute(2, 0, 3, 1, 4)
    future = torch.ones(time, time, dtype=torch.bool).triu(1)
    weights = (query @ key.mT * 0.4).masked_fill(future, -torch.inf).softmax(-1)
    bits, keep = Bits(5), torch.zeros(4, time, time, dtype=torch.float64)
    for start in range(0, time, 64):
        stop = min(start + 64, time)
        keep[:, start:stop, :stop] = bits.keep((4, stop - start, stop), 0.25) / 0.75
    expected = ((weights * keep.view(2, 2, time, time)) @ value).transpose(1, 2).flatten(2)
    found = causal_attention(qkv, 2, 0.4, 0.25, Bits(5))
    assert torch.allclose(found, expected)
    slope = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, qkv, slope)
    assert torch.allclose(torch.autograd.grad(found, qkv, slope)[0], wanted)


def test_dropout_drops_its_part_keeps_the_mean_and_is_seeded() -> None:
    ones = torch.ones(1000, 1000, requires_grad=True)
    dropped = drop(ones, 0.1, Bits(3))
    share = float((dropped == 0).double().mean())
    assert share == pytest.approx(0.1, abs=5 * math.sqrt(0.09 / 1e6))
    assert float(dropped.detach().double().mean()) == pytest.approx(1, abs=2e-3)
    assert torch.equal(torch.autograd.grad(dropped.sum(), ones)[0], dropped)
    assert torch.equal(drop(ones, 0.1, Bits(3)), dropped)
    assert not torch.equal(drop(ones, 0.1, Bits(4)), dropped)
    assert drop(ones, 0.0, Bits(3)) is ones


def test_no_two_dropped_elements_of_a_mask_hang_together() -> None:
    keep = Bits(11).keep((1000, 1000), 0.5).double() - 0.5
    for shift in (1, 2, 3, 4, 8, 1000):
        together = float((keep.flatten()[shift:] * keep.flatten()[:-shift]).mean() * 4)
        assert abs(together) < 5e-3


def test_a_network_with_dropout_loses_on_average_what_hugging_faces_does() -> None:
    model, (inputs, targets) = gpt2(dropout=0.2).train(), batch()
    network = TrainingNetwork(model).train()
    with torch.no_grad():
        ours = torch.stack([network(inputs, targets) for _ in range(300)])
        theirs = torch.stack([reference(model, inputs, targets) for _ in range(300)])
    error = float((ours.var() / 300 + theirs.var() / 300).sqrt())
    assert abs(float(ours.mean() - theirs.mean())) < 4 * error
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.2)


def test_masks_are_a_function_of_torchs_random_state_and_off_in_evaluation() -> None:
    network, (inputs, targets) = TrainingNetwork(gpt2(dropout=0.2)).train(), batch()
    torch.manual_seed(7)
    first = network(inputs, targets)
    other = network(inputs, targets)
    torch.manual_seed(7)
    assert torch.equal(network(inputs, targets), first)
    assert not torch.equal(other, first)
    network.eval()
    assert torch.equal(network(inputs, targets), network(inputs, targets))


@pytest.mark.parametrize("model", [gpt2(dropout=0.1), llama()], ids=["gpt2", "llama"])
def test_a_run_may_drop_with_another_probability_and_the_model_keeps_its_own(model: Any) -> None:
    network, (inputs, targets) = TrainingNetwork(model).train(), batch()
    with dropping(model, 0.0):
        assert torch.equal(network(inputs, targets), network(inputs, targets))
    assert not torch.equal(network(inputs, targets), network(inputs, targets))
