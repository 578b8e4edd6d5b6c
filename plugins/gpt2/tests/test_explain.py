"""Which prompt tokens made a token likely."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk.errors import ContextOverflow, OptionError, PromptError
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.explain import explain
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 24
TOKENIZER = train_tokenizer([], 257, CONTEXT)


@pytest.fixture(scope="module")
def model() -> GPT2:
    torch.manual_seed(0)
    end = TOKENIZER.eos_token_id
    config = GPT2Config(
        vocab_size=257,
        n_positions=CONTEXT,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.3,
    )
    return GPT2(GPT2LMHeadModel(config).eval(), TOKENIZER)


def test_the_score_is_what_the_model_says(model: GPT2) -> None:
    expected = model.score(["xy"], ["and it"])[0].logprob
    for method in ("gradients", "occlusion"):
        found = explain(model, "and it", "xy", method=method)
        assert found.score == pytest.approx(expected, abs=1e-4)
        assert found.tokens == tuple("and it")


def test_gradients_add_up_to_what_the_prompt_changed(model: GPT2) -> None:
    found = explain(model, "and it was", "x", tolerance=1e-3)
    assert found.complete
    assert sum(found.values) == pytest.approx(found.score - found.baseline_score, abs=1e-3)


def test_occlusion_is_what_is_lost_without_a_token(model: GPT2) -> None:
    found = explain(model, "abc", "x", method="occlusion")
    table = model.network.transformer.wte.weight
    for place in range(3):
        rows = table[torch.tensor(TOKENIZER("abc")["input_ids"])].clone()
        rows[place] = table.mean(0)
        with torch.no_grad():
            logits = model.network(inputs_embeds=rows[None]).logits[0, -1]
        value = float(logits.log_softmax(-1)[TOKENIZER("x")["input_ids"][0]])
        assert found.values[place] == pytest.approx(found.score - value, abs=1e-4)


def test_without_a_continuation_the_likeliest_token_is_explained(model: GPT2) -> None:
    with torch.no_grad():
        logits = model.network(torch.tensor([TOKENIZER("abc")["input_ids"]])).logits[0, -1]
    assert explain(model, "abc").score == pytest.approx(float(logits.log_softmax(-1).max()), abs=1e-4)


def test_the_tokens_of_a_character_of_several_bytes_stand_at_that_character(model: GPT2) -> None:
    found = explain(model, "aé", "x")
    assert found.offsets == ((0, 1), (1, 2), (1, 2))
    assert "é" in found._repr_html_()


def test_a_model_in_training_is_explained_without_dropout_and_goes_on_training(model: GPT2) -> None:
    expected = explain(model, "abc", "x")
    model.network.train()
    assert explain(model, "abc", "x") == expected
    assert model.network.training
    model.network.eval()


def test_what_cannot_be_explained_is_refused(model: GPT2) -> None:
    with pytest.raises(PromptError):
        explain(model, "")
    with pytest.raises(PromptError):
        explain(model, "a", "")
    with pytest.raises(ContextOverflow) as caught:
        explain(model, "a" * CONTEXT, "xy")
    assert caught.value.excess == 2
    with pytest.raises(OptionError, match="method"):
        explain(model, "a", "b", method="shap")
