"""Attention in the rows of a packed batch, with dropout by bulk bits; and a last layer that computes what is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    ElectraConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from aigc_sdk.training.dropout import Bits
from aigc_sdk_bert import last_layer
from aigc_sdk_bert.attention import attend_dropping, attend_rows
from aigc_sdk_bert.heads import logits
from aigc_sdk_bert.packed import Packed, Row, hidden

HEADS, WIDTH = 3, 4
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "pad_token_id": 0,
}
CONFIGS: dict[str, Any] = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES, max_position_embeddings=64),
    "xlm-roberta": XLMRobertaConfig(**SIZES, max_position_embeddings=64),
    "camembert": CamembertConfig(**SIZES, max_position_embeddings=64),
    "electra": ElectraConfig(**SIZES, embedding_size=8),
}


def written_out(parts: Any, asking: list[int], lengths: list[int], keeps: list[torch.Tensor], window: Any) -> Any:
    query, key, value = parts
    found, first, start = [], 0, 0
    for asks, has, keep in zip(asking, lengths, keeps, strict=True):
        scores = query[:, first : first + asks] @ key[:, start : start + has].mT * 0.4
        if window is not None:
            places = torch.arange(has)
            scores = scores.masked_fill((places[:, None] - places).abs() >= window, -torch.inf)
        found.append((scores.softmax(-1) * keep / 0.75 @ value[:, start : start + has]).transpose(0, 1))
        first, start = first + asks, start + has
    return torch.cat(found)


@pytest.mark.parametrize(
    ("asking", "window"),
    [([5, 40, 7, 33], None), ([5, 40, 7, 33], 3), ([1, 1, 1, 1], None), ([2, 0, 3, 1], None), ([0, 0, 9, 0], None)],
)
def test_attention_is_that_which_is_written_out_with_the_probabilities_that_were_kept(
    asking: list[int], window: int | None
) -> None:
    torch.manual_seed(0)
    lengths = [5, 40, 7, 33]
    query, key, value = parts = [
        torch.randn(HEADS, sum(counts), WIDTH, dtype=torch.float64, requires_grad=True)
        for counts in (asking, lengths, lengths)
    ]

    def attended(values: torch.Tensor) -> torch.Tensor:
        return attend_dropping(query, key, values, asking, lengths, 0.4, 0.25, Bits(3), window)

    shown = attended(torch.eye(sum(lengths), dtype=torch.float64).expand(HEADS, -1, -1))  # the probabilities themselves
    keeps = [
        (some[..., start : start + has] != 0).transpose(0, 1)
        for some, start, has in zip(shown.split(asking), np.cumsum([0, *lengths]), lengths, strict=False)
    ]
    expected = written_out(parts, asking, lengths, keeps, window)
    found = attended(value)
    assert torch.allclose(found, expected)
    slope = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, parts, slope)
    for one, other in zip(torch.autograd.grad(found, parts, slope), wanted, strict=True):
        assert torch.allclose(one, other)
    seen = [1 if window is None else min(1.0, (2 * window - 1) / has) for has in lengths]
    most = HEADS * sum(asks * has * part for asks, has, part in zip(asking, lengths, seen, strict=True))
    kept = sum(int(keep.sum()) for keep in keeps)
    assert kept / most == pytest.approx(0.75, abs=4 * (0.25 * 0.75 / most) ** 0.5 + (0 if window is None else 0.1))


def test_rows_attend_without_dropout_as_with_a_dropout_that_drops_nothing() -> None:
    torch.manual_seed(0)
    asking, lengths = [2, 0, 3, 1], [5, 2, 7, 7]
    query, key, value = (torch.randn(HEADS, sum(counts), WIDTH) for counts in (asking, lengths, lengths))
    found = attend_rows(query, key, value, asking, lengths, 0.5)
    kept = attend_dropping(query, key, value, asking, lengths, 0.5, 0.0, Bits(0))
    assert torch.allclose(found, kept, atol=1e-6)


def rows() -> Packed:
    torch.manual_seed(1)
    return Packed.of([Row(torch.randint(3, 40, (length,)).tolist()) for length in (5, 5, 12, 3)])


def gradients(network: Any, found: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    found.square().sum().backward()
    return {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_last_layer_of_some_tokens_gives_what_the_whole_one_gives_for_them(kind: str) -> None:
    torch.manual_seed(0)
    network = AutoModelForMaskedLM.from_config(CONFIGS[kind]).eval()
    packed, only = rows(), torch.tensor([1, 4, 10, 11, 12, 24])  # of the second row none, of the third three
    assert last_layer.is_plain(network.base_model)
    whole, some = hidden(network, packed)[only], hidden(network, packed, only=only)
    assert torch.allclose(some, whole, atol=1e-6)
    wanted, found = gradients(network, whole), gradients(network, hidden(network, packed, only=only))
    assert wanted.keys() == found.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, wanted[name], atol=1e-5), name


def test_a_classifier_computes_one_token_of_a_text_in_the_last_layer() -> None:
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]).eval()
    seen: list[tuple[int, ...]] = []
    for layer in network.bert.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape)))
    logits(network, rows())
    assert seen == [(1, 25, 16), (4, 16)]


@pytest.mark.parametrize("place", ["encoder", "encoder.layer.1", "encoder.layer.1.attention.self"])
def test_whoever_hooks_the_last_layer_sees_all_of_it(place: str) -> None:
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]).eval()
    expected, seen = logits(network, rows()), []
    network.bert.get_submodule(place).register_forward_hook(lambda *given: seen.append(given))
    assert torch.allclose(logits(network, rows()), expected, atol=1e-6)
    assert len(seen) == 1


def test_dropout_falls_on_the_last_layer_of_some_tokens_too() -> None:
    torch.manual_seed(0)
    config = BertConfig(**{**SIZES, "num_hidden_layers": 1}, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    network = AutoModelForSequenceClassification.from_config(config).train()
    packed = rows()
    first, second = (hidden(network, packed, only=torch.tensor([0, 5])) for _ in range(2))
    assert not torch.equal(first, second)
