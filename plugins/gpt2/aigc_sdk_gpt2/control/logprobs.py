"""What the model made of each token that was chosen, and of those that it found likeliest in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    TokenLogprobs = dict[str, Any]


def of_rows(
    logits: torch.Tensor, tokens: torch.Tensor, count: int, tokenizer: PreTrainedTokenizerFast
) -> list[TokenLogprobs]:
    """For each row {"token", "id", "logprob", "top": [{"token", "id", "logprob"}, ...]}, with the `count` likeliest tokens.

    They are the model's own: natural logarithms of its distribution at temperature 1, before any penalty, filter or grammar.
    A token's text by itself can be U+FFFD, a part of a character; "id" tells such tokens apart.
    """
    found = logits.float().log_softmax(-1)
    own = found.gather(1, tokens.to(found.device)[:, None])[:, 0].tolist()
    values, places = found.topk(min(count, found.shape[1]))
    return [
        {
            **_named(token, value, tokenizer),
            "top": [_named(*each, tokenizer) for each in zip(ids, likeliest, strict=True)],
        }
        for token, value, ids, likeliest in zip(tokens.tolist(), own, places.tolist(), values.tolist(), strict=True)
    ]


def _named(token: int, logprob: float, tokenizer: PreTrainedTokenizerFast) -> TokenLogprobs:
    text = tokenizer.backend_tokenizer.decode([token], skip_special_tokens=False)
    return {"token": text, "id": token, "logprob": logprob}
