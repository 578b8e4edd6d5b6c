"""ROUGE is rouge_score's, to 1e-9, on 2,000 pairs, with several references, with the stemmer and with other tokenisers."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from aigc_sdk_metrics.text_rouge import NAMES, Rouge, common_length
from aigc_sdk_metrics.text_words import characters

Pairs = list[tuple[str, str]]
Several = list[tuple[str, tuple[str, ...]]]
EXACT = {"rel": 1e-9, "abs": 1e-9}


@pytest.mark.parametrize("stemmer", [False, True])
def test_precision_recall_and_f1_of_each_pair_are_rouge_scores(pairs: Pairs, stemmer: bool) -> None:
    metric, theirs = Rouge(stemmer=stemmer), RougeScorer(NAMES, use_stemmer=stemmer)
    for text, reference in pairs if not stemmer else pairs[:500]:
        expected = theirs.score(reference, text)
        for name, found in zip(NAMES, metric.pair(text, reference), strict=True):
            assert tuple(found) == pytest.approx(tuple(expected[name]), **EXACT), (name, text, reference)


def test_the_score_is_the_mean_over_texts(pairs: Pairs) -> None:
    texts, references = zip(*pairs[:400], strict=True)
    metric, theirs = Rouge(), RougeScorer(NAMES)
    rows = metric.gather(metric.batch(texts, references))
    expected = [theirs.score(reference, text) for text, reference in pairs[:400]]
    for name in NAMES:
        values = [each[name].fmeasure for each in expected]
        assert [row[name] for row in rows] == pytest.approx(values, **EXACT)
        assert metric.compute(0)[name].value == pytest.approx(sum(values) / len(values), **EXACT)


def test_of_several_references_the_best_counts_as_in_rouge_score(several: Several) -> None:
    metric, theirs = Rouge(), RougeScorer(NAMES)
    for text, references in several:
        expected = theirs.score_multi(references, text)
        for name, found in zip(NAMES, metric.best(text, references), strict=True):
            assert tuple(found) == pytest.approx(tuple(expected[name]), **EXACT), (name, text, references)


class Characters:
    """A tokeniser as rouge_score takes them."""

    def tokenize(self, text: str) -> list[str]:
        return characters(text)


def test_characters_give_what_rouge_score_gives_with_such_a_tokenizer(pairs: Pairs) -> None:
    metric, theirs = Rouge("characters"), RougeScorer(NAMES, tokenizer=Characters())
    for text, reference in pairs[:250]:
        expected = theirs.score(reference, text)
        for name, found in zip(NAMES, metric.pair(text, reference), strict=True):
            assert tuple(found) == pytest.approx(tuple(expected[name]), **EXACT), (name, text, reference)


def test_other_scripts_have_words_too() -> None:
    assert Rouge().pair("天地玄黄", "天地玄黄")[0].f1 == 0  # rouge_score knows a-z and 0-9 alone
    unigrams, *_ = Rouge("words").pair("天地玄黄 naïve", "天地宇宙 naïve")
    assert unigrams.f1 == pytest.approx(3 / 5)


def test_long_texts_are_matched_as_the_definition_says() -> None:
    mine, its = list("abcbdab" * 40), list("bdcaba" * 40)
    table = [[0] * (len(its) + 1) for _ in range(len(mine) + 1)]
    for i, a in enumerate(mine):
        for j, b in enumerate(its):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    assert common_length(mine, its) == table[-1][-1]
