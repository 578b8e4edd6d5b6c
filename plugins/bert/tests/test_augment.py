"""More training texts out of those that are there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from aigc_sdk.errors import DataError, NotOffered, OptionError
from aigc_sdk_bert.augment import back_translated, deleted, grown, preserved, substituted, swapped
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.model import BERT

TEXTS = ["The cow, in the house.", "a lion by the river of stone", "Red!"]


@pytest.fixture(scope="module")
def model(small: Any) -> BERT:
    """A masked language model that knows the words of the shared sentences."""
    found = small.new(task="masked").fit(small.texts(60), max_steps=3, **small.quick)
    assert isinstance(found, BERT)
    return found


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    found = small.new(width=32).fit(small.sentences(90), max_steps=90, **small.quick)
    assert isinstance(found, Judge)
    return found


@pytest.mark.parametrize("change", [deleted, swapped])
def test_a_text_is_changed_alone_as_in_a_batch_and_by_its_seed(change: Any) -> None:
    texts = ["one two three four five six seven eight nine ten"] * 4
    together = change(texts, share=0.3, seed=5)
    assert together == [change([text], share=0.3, seed=5 + index)[0] for index, text in enumerate(texts)]
    assert len(set(together)) > 1
    assert change(texts, share=0.3, seed=6) != together


def test_substitutions_of_a_text_depend_on_its_seed_alone(model: BERT) -> None:
    together = substituted(model, TEXTS, share=0.5, seed=3)
    assert together == [substituted(model, [text], share=0.5, seed=3 + index)[0] for index, text in enumerate(TEXTS)]
    assert substituted(model, TEXTS, share=0.5, seed=4) != together


def test_substitution_changes_words_and_leaves_spaces_marks_and_capitals(model: BERT) -> None:
    for seed in range(20):
        [text] = substituted(model, ["The cow,  in the House."], share=1.0, seed=seed)
        assert text[0].isupper()
        assert text.split("  ")[0].endswith(",")
        assert text.endswith(".")
        assert text.split()[-1][0].isupper()
        for old, new in zip(
            ["the", "cow", "in", "the", "house"], text.lower().replace(",", "").strip(".").split(), strict=True
        ):
            assert new != old
            assert new.isalpha()


def test_as_many_words_are_replaced_as_were_asked_for(model: BERT) -> None:
    text = "the lion in the old city of stone"
    [changed] = substituted(model, [text], share=0.25, seed=1)
    assert sum(old != new for old, new in zip(text.split(), changed.split(), strict=True)) == 2


def test_what_takes_a_words_place_is_likely_there(model: BERT) -> None:
    every = [found.text for found in model.suggest("the lion in the [MASK]", k=len(model.tokenizer))[0]]
    likely = [word for word in every if word.isalpha() and word != "house"][:2]
    for seed in range(30):
        [changed] = substituted(model, ["the lion in the house"], share=0.2, top_k=2, seed=seed)
        if changed.startswith("the lion in the "):
            assert changed.split()[-1] in likely


def test_a_text_without_whole_words_is_left_alone(model: BERT) -> None:
    assert substituted(model, ["12 34 ...", "x9"], share=1.0) == ["12 34 ...", "x9"]


def test_a_model_with_a_byte_level_tokenizer_substitutes_whole_words() -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    backend = ByteLevelBPETokenizer()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    backend.train_from_iterator(
        ["the cow in the house", "a cow by the river"] * 9, 400, 2, special_tokens=list(special.values())
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend._tokenizer, **special)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    roberta = BERT(RobertaForMaskedLM(config).eval(), tokenizer)
    for seed in range(8):
        [changed] = substituted(roberta, ["a cow by the river"], share=1.0, seed=seed, top_k=3)
        assert len(changed.split()) == 5
        assert all(word.isalpha() for word in changed.split())


def test_deletion_never_leaves_nothing() -> None:
    for seed in range(30):
        assert deleted(["one two"], share=1.0, seed=seed)[0] in ("one", "two")


def test_deletion_takes_about_its_share_of_the_words() -> None:
    [left] = deleted(["word " * 2000], share=0.2)
    assert 0.75 < len(left.split()) / 2000 < 0.85


def test_a_swap_keeps_all_words() -> None:
    [changed] = swapped(["one two three four"], share=0.1)
    assert sorted(changed.split()) == sorted("one two three four".split())  # noqa: SIM905
    assert changed != "one two three four"
    assert swapped(["alone"]) == ["alone"]


def test_a_text_goes_there_and_back() -> None:
    def there(texts: Any) -> list[str]:
        return [text.upper() for text in texts]

    def back(texts: Any) -> list[str]:
        return [f"back {text.lower()}" for text in texts]

    assert back_translated(["A cow", "b"], there, back) == ["back a cow", "back b"]


def test_the_share_of_preserved_labels_is_measured_by_the_judge(judge: Judge) -> None:
    found = preserved(judge, ["the cow on a hill", "the red on a hill"], ["the ox in the house", "the dog on a hill"])
    assert found.share == 0.5
    assert found.kept == (True, False)


def test_data_grows_by_what_the_judge_lets_through(judge: Judge) -> None:
    data = [("the cow on a hill", "animal"), ("the red on a hill", "colour")]

    def into_animals(texts: Any, seed: int) -> list[str]:
        return ["the lion in the house"] * len(texts)

    assert grown(data, into_animals, judge=judge) == [*data, ("the lion in the house", "animal")]
    assert len(grown(data, into_animals, n=3)) == 8


def test_data_grows_by_other_texts_each_time(small: Any) -> None:
    data = [("one two three four five six", "x")]
    more = grown(data, lambda texts, seed: swapped(texts, seed=seed), n=4)
    assert len({text for text, _ in more}) > 2
    assert grown(data, lambda texts, seed: list(texts)) == data


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda model, judge: substituted(model, ["a cow"], share=0), OptionError, "share"),
        (lambda model, judge: substituted(model, ["a cow"], top_k=0), OptionError, "top_k"),
        (lambda model, judge: substituted(model, "a cow"), DataError, "texts"),
        (lambda model, judge: substituted(model, []), DataError, "texts"),
        (lambda model, judge: deleted(["a", " "]), DataError, "texts"),
        (lambda model, judge: swapped(["a"], share=1.5), OptionError, "share"),
        (lambda model, judge: back_translated(["a"], lambda texts: [], lambda texts: texts), DataError, "there"),
        (lambda model, judge: back_translated(["a"], lambda texts: texts, lambda texts: "a"), DataError, "back"),
        (lambda model, judge: back_translated(["a"], lambda texts: texts, lambda texts: [""]), DataError, "back"),
        (lambda model, judge: preserved(judge, ["a"], ["a", "b"]), DataError, "changed"),
        (lambda model, judge: grown([("a", "x")], lambda texts, seed: [], n=1), DataError, "change"),
        (lambda model, judge: grown([("a", "x")], lambda texts, seed: texts, n=0), OptionError, "n"),
        (lambda model, judge: grown(["a"], lambda texts, seed: texts), DataError, "data"),
    ],
)
def test_what_cannot_be_changed_is_refused(
    model: BERT, judge: Judge, call: Any, error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        call(model, judge)
    assert caught.value.field == field


def test_a_model_without_a_mask_head_substitutes_nothing(judge: Judge) -> None:
    with pytest.raises(NotOffered, match="masked-language-model"):
        substituted(BERT(judge.network, judge.tokenizer), ["a cow"])
