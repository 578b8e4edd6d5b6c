"""The heads of transformers' own classes, over what the packed encoder gives: so that their folders are plain folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from .packed import Packed, each_token, hidden, is_packed, padded, unpadded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Head = Literal["sequence", "tokens", "questions", "masked"]
CLASSES: dict[str, Head] = {
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "tokens",
    "ForQuestionAnswering": "questions",
    "ForMaskedLM": "masked",
}


def head_of(network: PreTrainedModel) -> Head | None:
    """What a network's head answers; None for an encoder without one, or with one that is unknown here."""
    return head_named(type(network).__name__)


def head_named(architecture: str) -> Head | None:
    """The head of a transformers class, by the end of its name."""
    return next((head for suffix, head in CLASSES.items() if architecture.endswith(suffix)), None)


def logits(
    network: PreTrainedModel, packed: Packed, words: torch.Tensor | None = None, chosen: torch.Tensor | None = None
) -> torch.Tensor:
    """What the network's head says of a packed batch.

    sequence: (rows, labels); tokens: (tokens, labels); questions: (tokens, 2), the answer's start and end; masked:
    (chosen, vocabulary), of the tokens at the places `chosen`, or of all.
    words: the word embeddings to start from in place of the tokens' own, see `packed.word_embeddings`.
    """
    head = head_of(network)
    if not is_packed(network):
        return _padded_logits(network, packed, words, chosen, head)
    if head == "sequence":
        return _sequence(network, packed, words)
    if head == "masked":
        return _masked(network, hidden(network, packed, words, chosen))
    states = hidden(network, packed, words)
    with each_token(network, packed):
        return _tokens(network, states, head)


def _sequence(network: Any, packed: Packed, words: torch.Tensor | None) -> torch.Tensor:
    kind = network.config.model_type
    if kind == "modernbert":
        mean = network.config.classifier_pooling == "mean"
        pooled = packed.means(hidden(network, packed, words)) if mean else hidden(network, packed, words, packed.starts)
        return network.classifier(network.drop(network.head(pooled)))  # type: ignore[no-any-return]
    first = hidden(network, packed, words, packed.starts)
    if kind == "bert":
        return network.classifier(network.dropout(network.bert.pooler(first[:, None])))  # type: ignore[no-any-return]
    if kind == "distilbert":
        return network.classifier(network.dropout(network.pre_classifier(first).relu()))  # type: ignore[no-any-return]
    return network.classifier(first[:, None])  # type: ignore[no-any-return]


def _tokens(network: Any, states: torch.Tensor, head: Head | None) -> torch.Tensor:
    kind = network.config.model_type
    if kind == "modernbert":
        return network.classifier(network.drop(network.head(states)))  # type: ignore[no-any-return]
    if head == "questions":
        return network.qa_outputs(network.dropout(states) if kind == "distilbert" else states)  # type: ignore[no-any-return]
    return network.classifier(network.dropout(states))  # type: ignore[no-any-return]


def _masked(network: Any, states: torch.Tensor) -> torch.Tensor:
    kind = network.config.model_type
    if kind == "bert":
        return network.cls(states)  # type: ignore[no-any-return]
    if kind == "distilbert":
        inner = network.vocab_layer_norm(network.activation(network.vocab_transform(states)))
        return network.vocab_projector(inner)  # type: ignore[no-any-return]
    if kind == "electra":
        return network.generator_lm_head(network.generator_predictions(states))  # type: ignore[no-any-return]
    if kind == "modernbert":
        return network.decoder(network.head(states))  # type: ignore[no-any-return]
    return network.lm_head(states)  # type: ignore[no-any-return]


def _padded_logits(
    network: Any, packed: Packed, words: torch.Tensor | None, chosen: torch.Tensor | None, head: Head | None
) -> torch.Tensor:
    found = network(**padded(network, packed, words))
    if head == "sequence":
        return found.logits  # type: ignore[no-any-return]
    whole = torch.stack([found.start_logits, found.end_logits], -1) if head == "questions" else found.logits
    tokens = unpadded(whole, packed)
    return tokens if chosen is None else tokens[chosen]
