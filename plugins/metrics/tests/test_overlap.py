"""BLEU, chrF and TER are sacrebleu's, to 1e-9, on 2,000 pairs and with several references."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sacrebleu import metrics as sacre

from aigc_sdk.errors import InputError
from aigc_sdk_metrics.text_overlap import BLEU, TER, ChrF

Pairs = list[tuple[str, str]]
Several = list[tuple[str, tuple[str, ...]]]
EXACT = {"rel": 1e-9, "abs": 1e-9}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)


@pytest.mark.parametrize("tokenizer", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu_of_the_corpus_is_sacrebleus(pairs: Pairs, tokenizer: str, lowercase: bool) -> None:
    texts, references = zip(*pairs[:600] if tokenizer != "13a" else pairs, strict=True)
    metric = BLEU(tokenizer, lowercase=lowercase)
    metric.update(texts, references)
    theirs = sacre.BLEU(tokenize=tokenizer, lowercase=lowercase)
    expected = theirs.corpus_score(list(texts), [list(references)]).score
    score = metric.compute(0)["bleu"]
    assert score.value == pytest.approx(expected, **EXACT)
    assert score.protocol == f"sacrebleu signature {theirs.get_signature().format()}"


def test_bleu_of_each_sentence_is_sacrebleus(pairs: Pairs) -> None:
    texts, references = zip(*pairs, strict=True)
    metric = BLEU()
    rows = metric.gather(metric.batch(texts, references))
    theirs = sacre.BLEU(effective_order=True)
    for row, (text, reference) in zip(rows, pairs, strict=True):
        assert row["bleu"] == pytest.approx(theirs.sentence_score(text, [reference]).score, **EXACT), (text, reference)


def test_chrf_of_corpus_and_sentences_is_sacrebleus(pairs: Pairs) -> None:
    texts, references = zip(*pairs, strict=True)
    metric, theirs = ChrF(), sacre.CHRF()
    rows = metric.gather(metric.batch(texts, references))
    expected = theirs.corpus_score(list(texts), [list(references)])
    assert metric.compute(0)["chrf"].value == pytest.approx(expected.score, **EXACT)
    assert theirs.get_signature().format() in metric.compute(0)["chrf"].protocol
    for row, (text, reference) in list(zip(rows, pairs, strict=True))[:800]:
        assert row["chrf"] == pytest.approx(theirs.sentence_score(text, [reference]).score, **EXACT), (text, reference)


def test_ter_of_corpus_and_sentences_is_sacrebleus(pairs: Pairs) -> None:
    some = pairs[:300]
    texts, references = zip(*some, strict=True)
    metric, theirs = TER(), sacre.TER()
    rows = metric.gather(metric.batch(texts, references))
    expected = theirs.corpus_score(list(texts), [list(references)])
    assert metric.compute(0)["ter"].value == pytest.approx(expected.score, **EXACT)
    assert theirs.get_signature().format() in metric.compute(0)["ter"].protocol
    for row, (text, reference) in zip(rows, some, strict=True):
        assert row["ter"] == pytest.approx(theirs.sentence_score(text, [reference]).score, **EXACT), (text, reference)


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [(BLEU(), sacre.BLEU()), (ChrF(), sacre.CHRF()), (TER(), sacre.TER())],
    ids=lambda each: type(each).__name__,
)
def test_several_references_count_as_in_sacrebleu(several: Several, metric: Any, theirs: Any) -> None:
    some = several[:200]
    texts, references = zip(*some, strict=True)
    metric.update(texts, references)
    most = max(map(len, references))
    columns = [[its[index] if index < len(its) else None for its in references] for index in range(most)]
    expected = theirs.corpus_score(list(texts), columns)
    score = metric.compute(0)[metric.name]
    assert score.value == pytest.approx(expected.score, **EXACT)
    assert "nrefs:var" in score.protocol
    assert theirs.get_signature().format() in score.protocol


def test_the_interval_is_about_sacrebleus(pairs: Pairs) -> None:
    texts, references = zip(*pairs[:300], strict=True)
    metric = BLEU()
    metric.update(texts, references)
    low, high = metric.compute(1000)["bleu"].interval or (0, 0)
    theirs = sacre.BLEU().corpus_score(list(texts), [list(references)], n_bootstrap=1000)
    assert (high - low) / 2 == pytest.approx(theirs._ci, rel=0.15)


def test_metrics_of_other_settings_are_not_merged() -> None:
    one, other = BLEU("13a"), BLEU("char")
    one.update(["a b"], ["a b"])
    other.update(["a b"], [["a b", "a c"]])
    with pytest.raises(InputError, match="cannot be merged"):
        one.merge(other)
    assert one.reference_counts == {1}
    with pytest.raises(InputError, match="cannot be merged"):
        one.merge(ChrF())  # type: ignore[arg-type]
