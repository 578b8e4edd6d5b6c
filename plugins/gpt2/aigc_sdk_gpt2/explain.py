"""Which tokens of a prompt made a continuation likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from aigc_sdk.attribution import LIMIT, TOLERANCE, Attribution, Method, Piece, attribute, evaluating
from aigc_sdk.calls import check_prompt
from aigc_sdk.errors import ContextOverflow
from aigc_sdk.weights import token_ids

if TYPE_CHECKING:
    from .model import GPT2


def explain(
    model: GPT2,
    prompt: str,
    continuation: str | None = None,
    *,
    method: Method = "gradients",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
) -> Attribution:
    """What each token of `prompt` adds to log p(`continuation` | `prompt`), in nats; None: to that of the likeliest token.

        explain(model, "And God said, Let there be", " light").show()

    method: "gradients" integrates them from a prompt of mean embeddings, which takes 16 to `limit` passes forward and
    backward, as many as bring the sum within `tolerance`; "occlusion" replaces one token at a time by the mean embedding.
    Raises PromptError, ContextOverflow and OptionError.
    """
    check_prompt(prompt, (str,), "explain", "prompt")
    if continuation is not None:
        check_prompt(continuation, (str,), "explain", "continuation")
    head = token_ids(model.tokenizer, [prompt], special=True)[0]  # also switches truncation off
    tail = [] if continuation is None else token_ids(model.tokenizer, [continuation])[0]
    excess = len(head) + max(1, len(tail)) - model.context
    if excess > 0:
        message = (
            f"prompt and continuation are {excess} tokens longer than the context of {model.context}; shorten them"
        )
        raise ContextOverflow(message, excess=excess)
    with evaluating(model.network):
        tail = tail or [_likeliest(model, head)]
        embeddings: Any = model.network.get_input_embeddings()
        table = embeddings.weight.detach()
        # A token that is none in particular: decoders have no word for "nothing here".
        baseline = table.float().mean(0).to(table.dtype).expand(len(head), -1)
        return attribute(
            lambda rows: _logprob(model, rows, table, tail),
            table[torch.tensor(head, device=table.device)],
            baseline,
            prompt,
            _pieces(model, prompt),
            f"log p({model.tokenizer.backend_tokenizer.decode(tail)!r})",
            method=method,
            tolerance=tolerance,
            limit=limit,
        )


def _pieces(model: GPT2, prompt: str) -> list[Piece]:
    backend = model.tokenizer.backend_tokenizer
    encoded = backend.encode(prompt)
    return [
        Piece(place, backend.decode([encoded.ids[place]]), encoded.offsets[place])
        for place, special in enumerate(encoded.special_tokens_mask)
        if not special
    ]


def _likeliest(model: GPT2, head: Sequence[int]) -> int:
    network: Any = model.network
    with torch.no_grad():
        logits = network(
            input_ids=torch.tensor([head], device=network.device), use_cache=False, logits_to_keep=1
        ).logits
    return int(logits[0, -1].argmax())


def _logprob(model: GPT2, rows: torch.Tensor, table: torch.Tensor, tail: Sequence[int]) -> torch.Tensor:
    """log p of the `tail` after each row of embeddings: (k, tokens, width) to (k,)."""
    network: Any = model.network
    answers = torch.tensor(tail, device=rows.device)
    shown = table[answers[:-1]].expand(len(rows), -1, -1)
    inputs = torch.cat([rows, shown.to(rows.dtype)], 1)
    logits = network(inputs_embeds=inputs, use_cache=False, logits_to_keep=len(tail)).logits
    found = logits.float().log_softmax(-1).gather(2, answers.expand(len(rows), -1)[..., None])
    return found.sum((1, 2))  # type: ignore[no-any-return]
