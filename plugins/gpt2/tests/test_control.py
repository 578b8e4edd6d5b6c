"""What may be set about the choice of tokens: each rule and filter against transformers' own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from aigc_sdk_gpt2.control.filters import drawn, kept
from aigc_sdk_gpt2.control.sampling import Sampler
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.options import Decoding
from aigc_sdk_gpt2.vocabulary import vocabulary

CONTEXT = 96
TEXT = "hello world, the quick brown fox jumps over the lazy dog; ünïcödé 😀 漢字 "
tokenizer = train_tokenizer([TEXT] * 4, 340, CONTEXT)
SIZE = len(tokenizer)
FREE: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


def options(**given: Any) -> Decoding:
    return Decoding.parse("gpt2", {**FREE, **given})


def histories(count: int, new: int) -> list[tuple[list[int], list[int]]]:
    """Prompts and what was made of each, over few tokens, so that runs come again."""
    draw = random.Random(1)
    return [(draw.choices(range(2, 9), k=draw.randint(1, 12)), draw.choices(range(2, 9), k=new)) for _ in range(count)]


def advanced(chosen: Decoding, rows: Sequence[tuple[list[int], list[int]]]) -> Sampler:
    """A sampler whose rows have made these tokens, the second half of them after they were reordered."""
    sampler = Sampler(chosen, frozenset({0}), tokenizer)
    order = list(range(len(rows)))[::-1]
    sampler.join([rows[row][0] for row in order], order, [64] * len(rows))
    made = len(rows[0][1])
    for place in range(made):
        if place == made // 2:
            sampler.select(order)
            order = order[::-1]
        sampler.take([rows[row][1][place] for row in order], range(len(rows)))
    if order != list(range(len(rows))):
        sampler.select(order)
    return sampler


def processors(prompt: int) -> dict[str, tuple[dict[str, Any], Any]]:
    """Options, and what transformers has for them."""
    return {
        "repetition": ({"repetition_penalty": 1.7}, RepetitionPenaltyLogitsProcessor(1.7)),
        "rewarded": ({"repetition_penalty": 0.6}, RepetitionPenaltyLogitsProcessor(0.6)),
        "single": ({"no_repeat_ngram": 1}, NoRepeatNGramLogitsProcessor(1)),
        "pairs": ({"no_repeat_ngram": 2}, NoRepeatNGramLogitsProcessor(2)),
        "threes": ({"no_repeat_ngram": 3}, NoRepeatNGramLogitsProcessor(3)),
        "late": ({"min_new_tokens": 9}, MinNewTokensLengthLogitsProcessor(prompt, 9, 0)),
        "due": ({"min_new_tokens": 8}, MinNewTokensLengthLogitsProcessor(prompt, 8, 0)),
        "bias": (
            {"logit_bias": {5: 2.5, tokenizer.decode([7]): -100.0, 11: 0.25}},
            SequenceBiasLogitsProcessor([[[5], 2.5], [[7], -100.0], [[11], 0.25]]),
        ),
    }


@pytest.mark.parametrize("name", [*processors(1), "all"])
def test_a_rule_changes_logits_as_that_of_transformers_does(name: str) -> None:
    rows = histories(6, 8)
    logits = torch.randn(len(rows), SIZE, generator=torch.Generator().manual_seed(0)) * 4
    together = ("bias", "repetition", "threes", "late")  # the order in which transformers applies them
    ours = {
        key: value for each in (together if name == "all" else (name,)) for key, value in processors(1)[each][0].items()
    }
    found = advanced(options(**ours), rows).changed(logits, range(len(rows)))
    for row, (prompt, made) in enumerate(rows):
        theirs = processors(len(prompt))
        wanted = LogitsProcessorList([theirs[each][1] for each in (together if name == "all" else (name,))])
        expected = wanted(torch.tensor([prompt + made]), logits[row : row + 1].clone())
        assert torch.equal(found[row], expected[0])


def test_presence_and_frequency_penalties_are_those_of_their_definition() -> None:
    rows = histories(5, 8)
    logits = torch.randn(len(rows), SIZE, generator=torch.Generator().manual_seed(0))
    found = advanced(options(presence_penalty=0.7, frequency_penalty=-0.3), rows).changed(logits, range(len(rows)))
    for row, (_, made) in enumerate(rows):
        counts = Counter(made)
        for token in range(SIZE):
            taken = 0.7 * (counts[token] > 0) - 0.3 * counts[token]
            assert float(found[row, token]) == pytest.approx(float(logits[row, token]) - taken, abs=1e-5)


def test_the_rows_of_a_subset_change_as_they_do_among_all() -> None:
    rows = histories(6, 8)
    logits = torch.randn(len(rows), SIZE, generator=torch.Generator().manual_seed(0))
    every: dict[str, Any] = {
        "repetition_penalty": 1.5,
        "presence_penalty": 1.0,
        "no_repeat_ngram": 2,
        "min_new_tokens": 9,
        "bad_words": ["fox", "e"],
        "logit_bias": {3: 1.0},
    }
    sampler = advanced(options(**every), rows)
    everyone = sampler.changed(logits, range(len(rows)))
    assert torch.equal(sampler.changed(logits[[4, 1]], [4, 1]), everyone[[4, 1]])
    sampler.select([4, 4, 1])
    assert torch.equal(sampler.changed(logits[[4, 4, 1]], range(3)), everyone[[4, 4, 1]])
    sampler.take([5, 6], [0, 2])
    assert torch.equal(sampler.changed(logits[[4]], [1]), everyone[[4]])


WARPERS: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "top-k": ({"top_k": 12}, lambda: TopKLogitsWarper(12)),
    "top-p": ({"top_p": 0.8}, lambda: TopPLogitsWarper(0.8)),
    "min-p": ({"min_p": 0.05}, lambda: MinPLogitsWarper(0.05)),
    "typical": ({"typical_p": 0.7}, lambda: TypicalLogitsWarper(0.7)),
    "little typical": ({"typical_p": 0.05}, lambda: TypicalLogitsWarper(0.05)),
    "all": (
        {"top_k": 100, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.8},
        lambda: LogitsProcessorList(
            [TopKLogitsWarper(100), TopPLogitsWarper(0.9), MinPLogitsWarper(0.01), TypicalLogitsWarper(0.8)]
        ),
    ),
}


@pytest.mark.parametrize("name", WARPERS)
@pytest.mark.parametrize("size", [SIZE, 5000])
def test_a_filter_keeps_the_tokens_that_transformers_keeps(name: str, size: int) -> None:
    ours, theirs = WARPERS[name]
    logits = torch.randn(8, size, generator=torch.Generator().manual_seed(4)) * 2
    warm = TemperatureLogitsWarper(0.7)(torch.tensor([[0]]), logits)
    expected = torch.isfinite(theirs()(torch.tensor([[0]]), warm))
    found = kept(((logits - logits.max(-1, keepdim=True).values) / 0.7).exp(), options(**ours)) > 0
    assert torch.equal(found, expected)


@pytest.mark.parametrize("size", [SIZE, 20_000])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"top_k": 50},
        {"top_k": 3, "top_p": 0.5},
        {"min_p": 0.05},
        {"top_p": 0.3, "min_p": 0.3},
        {"top_p": 0.9999},
        {"top_p": 1e-6},
        {"top_k": 200, "min_p": 0.01},
        {"top_p": 1.0, "top_k": 7},
        {"typical_p": 0.5},
    ],
)
def test_a_draw_is_the_look_up_in_the_summed_weights_whatever_is_skipped(given: dict[str, Any], size: int) -> None:
    settings, rng = Decoding.parse("gpt2", given), torch.Generator().manual_seed(1)
    for scale in (0.5, 3.0, 8.0):
        weights = (torch.randn(12, size, generator=rng) * scale).softmax(-1)
        weights[:, :40] = weights[:, :1]  # some weigh the same
        weights /= weights.max(-1, keepdim=True).values
        uniforms = torch.rand(12, generator=rng, dtype=torch.float64)
        summed = kept(weights, settings).cumsum(-1, dtype=torch.float64)
        expected = torch.searchsorted(summed, uniforms[:, None] * summed[:, -1:], right=True)[:, 0]
        assert torch.equal(drawn(weights, settings, uniforms.tolist()), expected)


@pytest.mark.parametrize("typical", [0.95, 1.0])
def test_sampled_tokens_come_as_often_as_the_exact_distribution_says(typical: float) -> None:
    """20,000 draws with every filter at once: chi-squared over the tokens that are left, at the 99.99 % point."""
    given: dict[str, Any] = {"temperature": 1.3, "top_k": 40, "top_p": 0.95, "min_p": 0.02, "typical_p": typical}
    logits = torch.randn(1, SIZE, generator=torch.Generator().manual_seed(2)) * 2
    warpers = [TemperatureLogitsWarper(1.3), TopKLogitsWarper(40), TopPLogitsWarper(0.95), MinPLogitsWarper(0.02)]
    warm = LogitsProcessorList([*warpers, *([TypicalLogitsWarper(typical)] if typical < 1 else [])])(
        torch.tensor([[0]]), logits.clone()
    )
    exact = warm.softmax(-1)[0].double()
    draws = 20_000
    sampler = Sampler(options(**given), frozenset(), tokenizer)
    sampler.join([[0]] * 2000, range(2000), [draws] * 2000)
    counts = torch.zeros(SIZE, dtype=torch.float64)
    for _ in range(draws // 2000):
        counts += torch.bincount(sampler.choose(logits.expand(2000, -1)).tokens, minlength=SIZE)
    possible = exact > 0
    assert counts[~possible].sum() == 0
    freedom = int(possible.sum()) - 1
    chi = float(((counts - draws * exact)[possible] ** 2 / (draws * exact[possible])).sum())
    assert freedom > 5
    assert chi < freedom + 3.72 * (2 * freedom) ** 0.5 + 14  # above the 99.99 % point for 5 to 100 degrees of freedom


def spelt(tokens: Sequence[int]) -> bytes:
    table = vocabulary(tokenizer).spelt
    assert table is not None
    return b"".join(table[token] for token in tokens)


def test_bad_words_ban_just_the_tokens_that_would_complete_one() -> None:
    words = ["fox", "o w", "é", "漢字", "ll", "a"]
    rows = histories(1, 0) + [
        (tokenizer(text).input_ids, []) for text in ("the fo", "hello", "ünïcöd", "\u6f22", "f", "h")
    ]
    sampler = Sampler(options(bad_words=words), frozenset({0}), tokenizer)
    sampler.join([prompt for prompt, _ in rows], range(len(rows)), [9] * len(rows))
    found = sampler.changed(torch.zeros(len(rows), SIZE), range(len(rows)))
    for row, (prompt, _) in enumerate(rows):
        before = spelt(prompt)
        for token in range(SIZE):
            after = before + spelt([token])
            completes = any(after.count(word.encode()) > before.count(word.encode()) for word in words)
            assert bool(found[row, token] == -torch.inf) == completes, (before, spelt([token]))


def test_bad_words_ban_all_that_transformers_bans_for_the_same_words() -> None:
    words = ["fox", "lazy dog", "world"]
    theirs = NoBadWordsLogitsProcessor([tokenizer(word).input_ids for word in words], eos_token_id=0)
    for prompt in ("the fo", "the lazy do", "hello worl", "hello"):
        ids = tokenizer(prompt).input_ids
        sampler = Sampler(options(bad_words=words), frozenset({0}), tokenizer)
        sampler.join([ids], [0], [9])
        banned = sampler.changed(torch.zeros(1, SIZE), [0]) == -torch.inf
        expected = theirs(torch.tensor([ids]), torch.zeros(1, SIZE)) == -torch.inf
        assert bool((banned | ~expected).all())
