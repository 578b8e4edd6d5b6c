"""Packed rows give what the Hugging Face forward pass gives for padded ones, and nothing depends on the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
)

from aigc_sdk_bert.heads import head_of, logits
from aigc_sdk_bert.packed import Packed, Row, batches, hidden, is_packed, padded, word_embeddings

SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS = {
    "bert": BertConfig(**SIZES, intermediate_size=32),
    "roberta": RobertaConfig(**SIZES, intermediate_size=32, max_position_embeddings=64),
    "distilbert": DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    "electra": ElectraConfig(**SIZES, intermediate_size=32, embedding_size=8),
    "modernbert": ModernBertConfig(
        **SIZES, intermediate_size=32, local_attention=4, global_attn_every_n_layers=2, pad_token_id=0
    ),
    "albert": AlbertConfig(**SIZES, intermediate_size=32, embedding_size=8),
}
HEADS = {
    "sequence": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "questions": AutoModelForQuestionAnswering,
    "masked": AutoModelForMaskedLM,
}


def network_of(kind: str, head: str) -> Any:
    torch.manual_seed(0)
    return HEADS[head].from_config(CONFIGS[kind], attn_implementation="sdpa").eval()


def some_rows() -> list[Row]:
    torch.manual_seed(1)
    lengths = [5, 5, 12, 3, 9, 5]
    rows = [Row(torch.randint(3, 40, (length,)).tolist()) for length in lengths]
    rows[2] = Row(rows[2].ids, [0] * 5 + [1] * 7)
    return rows


def own_forward(network: Any, packed: Packed, head: str) -> torch.Tensor:
    found = network(**padded(network, packed))
    if head == "sequence":
        return found.logits
    whole = torch.stack([found.start_logits, found.end_logits], -1) if head == "questions" else found.logits
    return torch.cat([row[:length] for row, length in zip(whole, packed.lengths, strict=True)])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_head_of_every_architecture_says_the_same_packed_as_padded(kind: str, head: str) -> None:
    network, packed = network_of(kind, head), Packed.of(some_rows())
    assert head_of(network) == head
    assert is_packed(network) == (kind != "albert")
    with torch.no_grad():
        expected = own_forward(network, packed, head)
        assert torch.allclose(logits(network, packed), expected, atol=1e-5)
        assert torch.allclose(own_forward(network, packed, head), expected, atol=1e-6)  # also once it has been packed


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_row_is_the_same_alone_and_in_a_batch(kind: str) -> None:
    network, rows = network_of(kind, "sequence"), some_rows()
    with torch.no_grad():
        together = logits(network, Packed.of(rows))
        alone = torch.cat([logits(network, Packed.of([row])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_tokens_own_word_embeddings_change_nothing_and_others_do(kind: str) -> None:
    network, packed = network_of(kind, "tokens"), Packed.of(some_rows())
    words = word_embeddings(network, packed).detach().requires_grad_()
    found = logits(network, packed, words)
    assert torch.allclose(found, logits(network, packed), atol=1e-5)
    found.sum().backward()
    assert words.grad is not None
    assert words.grad.abs().sum(-1).gt(0).all()
    assert not torch.allclose(logits(network, packed, words.flip(0)), found, atol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_gradients_are_those_of_the_padded_pass(kind: str) -> None:
    network, packed = network_of(kind, "sequence"), Packed.of(some_rows())
    found = []
    for forward in (lambda: logits(network, packed), lambda: own_forward(network, packed, "sequence")):
        network.zero_grad()
        forward().square().sum().backward()
        found.append({name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-4), name


def test_dropout_is_on_in_training_on_hidden_states_and_on_attention() -> None:
    for off in ({"attention_probs_dropout_prob": 0.0}, {"hidden_dropout_prob": 0.0}):
        torch.manual_seed(0)
        config = BertConfig(**SIZES, intermediate_size=32, **off)
        network = AutoModelForSequenceClassification.from_config(config).train()
        packed = Packed.of(some_rows())
        assert not torch.equal(hidden(network, packed), hidden(network, packed))


def test_only_the_chosen_tokens_get_a_distribution_over_the_vocabulary() -> None:
    network, packed = network_of("bert", "masked"), Packed.of(some_rows())
    chosen = torch.tensor([1, 7, 20])
    with torch.no_grad():
        assert torch.allclose(logits(network, packed, chosen=chosen), logits(network, packed)[chosen], atol=1e-6)


def test_means_positions_and_starts_are_of_each_row() -> None:
    packed = Packed.of([Row([4, 5]), Row([6, 7, 8])])
    assert packed.starts.tolist() == [0, 2]
    assert packed.positions.tolist() == [0, 1, 0, 1, 2]
    assert packed.row.tolist() == [0, 0, 1, 1, 1]
    assert packed.means(torch.arange(5.0)[:, None]).tolist() == [[0.5], [3.0]]


def test_batches_hold_every_row_once_and_no_more_tokens_than_the_budget() -> None:
    lengths = [3, 50, 7, 7, 20, 1]
    found = [each.tolist() for each in batches(lengths, 28)]
    assert found == [[1], [4, 2], [3, 0, 5]]
    assert list(batches([], 28)) == []
