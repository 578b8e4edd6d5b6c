"""The masked language model: masks are filled, words suggested, texts embedded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aigc_sdk_bert.model import BERT

LEARNS: dict[str, Any] = {"batch_size": 16, "learning_rate": 5e-3, "warmup_steps": 10, "precision": "float32"}


@pytest.fixture(scope="module")
def model(small: Any) -> BERT:
    trainer = small.new(task="masked", width=32, dropout=0.0)
    return trainer.fit(small.texts(200), max_steps=250, mask_probability=0.3, **LEARNS)  # type: ignore[no-any-return]


def test_masks_are_filled_and_the_rest_stays_as_it_was_written(model: BERT) -> None:
    [text] = model.generate("The RED in the old [MASK] of [MASK]", seed=1, greedy=True)
    assert str(text) == "The RED in the old city of stone"


def test_a_prompt_is_filled_the_same_alone_and_in_any_batch(model: BERT) -> None:
    prompts = ["the [MASK] on a hill", "one [MASK] by the [MASK]", "the [MASK] in the house"]
    together = model.generate(prompts, seed=3)
    assert [str(text) for text in together] == [
        str(model.generate(prompt, seed=3 + index)[0]) for index, prompt in enumerate(prompts)
    ]


def test_a_low_temperature_top_k_and_top_p_leave_the_likeliest(model: BERT) -> None:
    prompt = "the [MASK] on a hill"
    [greedy] = model.generate(prompt, greedy=True)
    for options in ({"temperature": 0.001}, {"top_k": 1}, {"top_p": 1e-6}):
        assert {str(text) for text in model.generate(prompt, n=8, seed=0, **options)} == {str(greedy)}
    assert len({str(text) for text in model.generate(prompt, n=16, seed=0)}) > 3


def test_suggestions_are_the_likeliest_tokens_of_each_mask(model: BERT) -> None:
    first, second = model.suggest("the [MASK] on a [MASK]", k=4)
    assert second[0].text == "hill"
    assert len(first) == 4
    chances = [each.probability for each in first]
    assert chances == sorted(chances, reverse=True)
    assert all(isinstance(each, float) and 0 <= each <= 1 for each in chances)


def test_like_texts_have_like_embeddings(model: BERT) -> None:
    texts = ["the red on a hill", "the blue on a hill", "the ox in the old city of stone"]
    found = model.embed(texts)
    assert found.dtype == np.float32
    near, far = model.similarity(texts[:1], texts[1:])[0]
    assert near > far
    assert np.allclose(found, np.concatenate([model.embed([text]) for text in texts]), atol=1e-5)
    plain = model.embed(texts, normalise=False)
    assert np.allclose(plain / np.linalg.norm(plain, axis=1, keepdims=True), found, atol=1e-5)
