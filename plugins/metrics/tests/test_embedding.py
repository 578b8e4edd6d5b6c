"""BERTScore against its definition, on a tiny encoder; the vectors do not depend on the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast

from aigc_sdk.errors import AigcError, DataError, OptionError
from aigc_sdk_metrics.text import TextMetrics
from aigc_sdk_metrics.text_embedding import BERTScore, Mauve
from aigc_sdk_metrics.text_encoder import Encoder

TALE = "the cat sat on a mat and dog ran far away from it"
WORDS = TALE.split()
TEXTS = ["the cat sat on the mat", "a dog ran", "the", "it ran far away from the dog and the cat"]
REFERENCES = ["a cat sat on a mat", "the dog ran away", "a", "the cat ran far"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers with random weights."""
    path = tmp_path_factory.mktemp("encoder")
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(0)
    network = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            initializer_range=0.5,
        )
    )
    network.save_pretrained(path)
    fast.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder.open(folder, device="cpu")


def states(folder: Path, text: str, layer: int) -> np.ndarray:
    """[CLS], the words, [SEP]: by plain transformers."""
    tokenizer, network = PreTrainedTokenizerFast.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][0]
    found = hidden.double().numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("layer", [0, 1, None])
def test_bertscore_is_greedy_matching_by_cosine(folder: Path, layer: int | None) -> None:
    report = TextMetrics().evaluate(TEXTS, REFERENCES, metrics=("bertscore",), encoder=str(folder), layer=layer)
    for row, text, reference in zip(report.rows, TEXTS, REFERENCES, strict=True):
        likeness = (
            states(folder, text, 2 if layer is None else layer)
            @ states(folder, reference, 2 if layer is None else layer).T
        )
        precision, recall = likeness.max(1)[1:-1].mean(), likeness.max(0)[1:-1].mean()
        assert row["bertscore_precision"] == pytest.approx(precision, abs=1e-5)
        assert row["bertscore_recall"] == pytest.approx(recall, abs=1e-5)
        assert row["bertscore_f1"] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-5)
    score = report["bertscore_f1"]
    assert score.value == pytest.approx(np.mean([row["bertscore_f1"] for row in report.rows]))
    assert f"layer {2 if layer is None else layer} of 2, no idf, not rescaled" in score.protocol


def test_the_same_text_scores_one_and_an_empty_one_nothing(encoder: Encoder) -> None:
    report = TextMetrics(encoder=encoder).evaluate(["the cat", "", "a"], ["the cat", "a", ""], metrics=("bertscore",))
    assert [row["bertscore_f1"] for row in report.rows] == [pytest.approx(1), 0.0, 0.0]


def test_of_several_references_the_nearest_counts(encoder: Encoder) -> None:
    judge = TextMetrics(encoder=encoder)
    alone = [judge.evaluate([TEXTS[0]], [each], metrics=("bertscore",)).rows[0]["bertscore_f1"] for each in REFERENCES]
    together = judge.evaluate([TEXTS[0]], [REFERENCES], metrics=("bertscore",))
    assert together["bertscore_f1"].value == pytest.approx(max(alone), abs=1e-5)


def test_vectors_do_not_depend_on_what_else_is_in_the_batch(encoder: Encoder) -> None:
    together = encoder.encode([*TEXTS, TEXTS[0]])
    for text, found in zip([*TEXTS, TEXTS[0]], together, strict=True):
        [alone] = encoder.encode([text])
        assert found.states == pytest.approx(alone.states, abs=1e-5)
        assert found.special.tolist() == [True, *[False] * (len(found.special) - 2), True]


def test_texts_are_encoded_once_for_all_metrics(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    encode = Encoder.encode
    monkeypatch.setattr(
        Encoder, "encode", lambda self, texts, *rest: calls.append(len(texts)) or encode(self, texts, *rest)
    )
    TextMetrics(encoder=encoder).evaluate(TEXTS, REFERENCES, metrics=("bertscore", "mauve"))
    assert calls == [4, 4]


def test_mauve_tells_a_set_from_itself_and_from_another(encoder: Encoder) -> None:
    judge = TextMetrics(encoder=encoder)
    cats, dogs = [f"the cat {word}" for word in WORDS] * 4, [f"dog ran {word}" for word in WORDS] * 4
    same = judge.evaluate(cats, cats[::-1], metrics=("mauve",))
    apart = judge.evaluate(cats, dogs, metrics=("mauve",))
    assert same["mauve"].value == pytest.approx(1)
    assert apart["mauve"].value < 0.2
    assert "52 samples and 52 references" in same["mauve"].protocol


def test_mauve_of_merged_states_is_that_of_all(encoder: Encoder) -> None:
    one, other, whole = (Mauve(encoder) for _ in range(3))
    texts, references = TEXTS * 5, REFERENCES * 5
    one.update(texts[:7], references[:7])
    other.update(texts[7:], references[7:])
    whole.update(texts, references)
    one.merge(other)
    assert one.compute()["mauve"].value == pytest.approx(whole.compute()["mauve"].value)


def test_a_text_that_is_too_long_is_refused_and_not_cut(encoder: Encoder) -> None:
    with pytest.raises(DataError, match="17 tokens, and the encoder reads at most 16; shorten it") as caught:
        TextMetrics(encoder=encoder).evaluate(["the " * 15], ["the"], metrics=("bertscore",))
    assert caught.value.field == "samples"
    with pytest.raises(DataError, match="references: "):
        BERTScore(encoder).update(["the"], ["the " * 15])


def test_what_is_no_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    for options, error in (
        ({"encoder": str(folder), "layer": 3}, OptionError),
        ({"encoder": str(tmp_path)}, AigcError),
        ({}, OptionError),
    ):
        given: dict[str, Any] = dict(options)
        with pytest.raises(error):
            TextMetrics().evaluate(["the"], ["a"], metrics=("bertscore",), **given)
    with pytest.raises(DataError, match="mauve keeps the vectors of at most 3 samples"):
        Mauve(Encoder.open(folder), most=3).update(TEXTS, REFERENCES)
