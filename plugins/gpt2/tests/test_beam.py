"""Beam search: the texts and scores of transformers' own, in any batch, and as the contract wants it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import aigc_sdk
from aigc_sdk.errors import AigcError, OptionError
from aigc_sdk.protocols import Step
from aigc_sdk.testing import contract
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 96
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; ünïcödé 😀 "] * 4, 320, CONTEXT)
PROMPTS = ["hello world", "the quick brown fox jumps over", "a"]
BEAMS: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 14}


def tiny(kind: str = "gpt2", ends: int | list[int] | None = 0) -> GPT2:
    torch.manual_seed(5)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": ends}
    network: Any
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, "initializer_range": 0.3}
        network = GPT2LMHeadModel(GPT2Config(**common, **sizes))
    else:
        wide = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.3}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
        network = LlamaForCausalLM(LlamaConfig(**common, **wide, **heads))
    if ends is not None:  # so that some texts end early, and others do not
        with torch.no_grad():
            for end in [ends] if isinstance(ends, int) else ends:
                network.lm_head.weight[end] *= 4
    return GPT2(network.eval(), tokenizer)


@pytest.fixture
def model() -> GPT2:
    return tiny()


def theirs(model: GPT2, prompts: list[str], n: int, **settings: Any) -> list[tuple[str, float, int]]:
    """Text, score and number of tokens of transformers' beam search, n for each prompt."""
    found = []
    ends = model.ends
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt).input_ids])
        made = model.network.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_return_sequences=n,
            return_dict_in_generate=True,
            output_scores=True,
            pad_token_id=319,
            eos_token_id=sorted(ends) or None,
            **settings,
        )
        for tokens, score in zip(
            made.sequences[:, ids.shape[1] :].tolist(), made.sequences_scores.tolist(), strict=True
        ):
            end = next((place for place, token in enumerate(tokens) if token in ends), None)
            kept = tokens if end is None else tokens[:end]
            count = len([token for token in tokens if token != 319]) if end is None else end + 1
            found.append((tokenizer.decode(kept, skip_special_tokens=True), score, count))
    return found


SETTINGS = [
    {"num_beams": 2},
    {"num_beams": 4, "length_penalty": 0.0},
    {"num_beams": 4, "length_penalty": 2.0},
    {"num_beams": 4, "length_penalty": -1.5},
    {"num_beams": 3, "early_stopping": True},
    {"num_beams": 5, "early_stopping": "never", "length_penalty": 1.5},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": -0.5},
    {"num_beams": 4, "repetition_penalty": 1.4},
    {"num_beams": 6, "no_repeat_ngram": 2, "min_new_tokens": 5},
]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: "-".join(map(str, itertools.chain(*each.items()))))
def test_texts_and_scores_are_those_of_transformers(kind: str, settings: dict[str, Any]) -> None:
    names = {"no_repeat_ngram": "no_repeat_ngram_size"}
    for ends in (0, None, [0, 7]) if kind == "gpt2" else (0,):
        model = tiny(kind, ends)
        n = settings["num_beams"]
        expected = theirs(
            model, PROMPTS, n, max_new_tokens=14, **{names.get(key, key): settings[key] for key in settings}
        )
        made = model.generate(PROMPTS, n=n, **BEAMS, **settings)
        for ours, (text, score, count) in zip(made, expected, strict=True):
            assert ours.text == text
            assert ours.info["score"] == pytest.approx(score, rel=1e-5, abs=1e-4)
            assert ours.info["tokens"] == count


def test_some_of_these_texts_end_early_and_others_do_not(model: GPT2) -> None:
    made = model.generate(PROMPTS, n=4, num_beams=4, **BEAMS)
    assert {text.info["finish_reason"] for text in made} == {"end", "length"}


def test_a_search_is_the_same_alone_in_a_batch_and_when_few_fit_at_a_time(model: GPT2) -> None:
    options: dict[str, Any] = {"num_beams": 3, **BEAMS}
    batch = model.generate(PROMPTS * 2, n=3, **options)
    assert batch == [text for prompt in PROMPTS * 2 for text in model.generate(prompt, n=3, **options)]
    assert batch == model.generate(PROMPTS * 2, n=3, max_batch_size=7, **options)
    assert model.generate(PROMPTS, num_beams=3, temperature=0.0, max_new_tokens=[3, 14, 9]) == [
        model.generate(prompt, num_beams=3, temperature=0.0, max_new_tokens=most)[0]
        for prompt, most in zip(PROMPTS, [3, 14, 9], strict=True)
    ]


def test_more_beams_find_a_text_at_least_as_likely_as_greedy_decoding_does(model: GPT2) -> None:
    def total(text: str) -> float:
        return float(model.score([text], ["hello world"])[0].logprob)

    ends: Any = None
    model = tiny(ends=ends)
    greedy = model.generate("hello world", temperature=0.0, max_new_tokens=8)[0]
    [beam] = model.generate("hello world", temperature=0.0, max_new_tokens=8, num_beams=16)
    assert beam.info["score"] * 8 >= total(greedy.text) - 1e-3


def test_all_texts_of_a_small_space_are_found_in_their_order() -> None:
    """With as many beams as there are texts of two tokens over a few, the search is exhaustive."""
    model = tiny(ends=None)
    allowed = [40, 41, 42]
    given: dict[str, Any] = {"num_beams": 9, "temperature": 0.0, "max_new_tokens": 2, "length_penalty": 0.0}

    def few(logits: torch.Tensor, prompt: Any, made: Any) -> torch.Tensor:
        return torch.full_like(logits, -torch.inf).index_copy_(0, torch.tensor(allowed), logits[allowed])

    made = model.generate("hello", n=9, logits=few, **given)
    ids = tokenizer("hello").input_ids
    scored = []
    for pair in itertools.product(allowed, repeat=2):
        with torch.no_grad():
            logprobs = model.network(torch.tensor([[*ids, *pair]])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        scored.append((float(logprobs[[0, 1], list(pair)].sum()), tokenizer.decode(list(pair))))
    scored.sort(reverse=True)
    assert [text.text for text in made] == [text for _, text in scored]
    assert [text.info["score"] for text in made] == pytest.approx([score for score, _ in scored], abs=1e-4)


def test_a_stream_gives_each_text_in_one_piece_when_its_search_has_ended(model: GPT2) -> None:
    whole = model.generate(PROMPTS, n=2, num_beams=3, **BEAMS)
    chunks = list(model.stream(PROMPTS, n=2, num_beams=3, **BEAMS))
    assert sorted(chunk.sample for chunk in chunks) == list(range(6))
    assert sorted(chunks, key=lambda chunk: chunk.sample) == whole


def test_steps_count_up_to_the_tokens_that_are_wanted(model: GPT2) -> None:
    steps: list[Step] = []
    model.generate(PROMPTS, n=2, num_beams=3, max_batch_size=5, on_step=steps.append, **BEAMS)
    counts = [step.index for step in steps]
    assert counts == sorted(counts)
    assert counts[-1] == steps[-1].total == 3 * 2 * 14


def test_a_stop_string_ends_a_beam_as_the_end_token_does(model: GPT2) -> None:
    [plain] = tiny(ends=None).generate("hello world", num_beams=4, **BEAMS)
    stop = plain.text[3:5]
    made = tiny(ends=None).generate("hello world", n=4, num_beams=4, stop=[stop], **BEAMS)
    assert all(stop not in text.text for text in made)
    assert any(text.info["finish_reason"] == "stop" for text in made)


@pytest.mark.parametrize("end", [0, None])
def test_beams_follow_a_grammar(end: int | None) -> None:
    made = tiny(ends=end).generate("hello", n=3, num_beams=3, regex="(yes|no|maybe)!", **BEAMS)
    assert sorted(text.text for text in made) == ["maybe!", "no!", "yes!"]
    assert all(text.info["complete"] and text.info["finish_reason"] == "end" for text in made)
    assert [text.info["score"] for text in made] == sorted((text.info["score"] for text in made), reverse=True)
    open_ended = tiny(ends=end).generate("hello", n=2, num_beams=4, regex="a{30}", **BEAMS)
    assert [(text.text, text.info["complete"]) for text in open_ended] == [("a" * 14, False)] * 2


def test_where_fewer_texts_exist_than_are_wanted_the_last_comes_again(model: GPT2) -> None:
    made = model.generate("hello", n=4, num_beams=4, regex="yes|no", **BEAMS)
    assert len({text.text for text in made[:2]}) == 2
    assert made[1] == made[2] == made[3]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"n": 5, "num_beams": 4, "temperature": 0.0}, "n"),
        ({"num_beams": 4}, "num_beams"),
        ({"num_beams": 4, "temperature": 0.0, "max_batch_size": 3}, "num_beams"),
        ({"num_beams": 300, "temperature": 0.0}, "num_beams"),
        ({"num_beams": 4, "temperature": 0.0, "speculate": 4}, "speculate"),
        ({"num_beams": 4, "temperature": 0.0, "logprobs": 0}, "logprobs"),
        ({"length_penalty": 101.0}, "length_penalty"),
        ({"early_stopping": "always"}, "early_stopping"),
    ],
)
def test_what_a_search_cannot_do_is_refused(model: GPT2, given: dict[str, Any], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        model.stream("hello", max_new_tokens=8, **given)
    assert caught.value.field == field


def test_weights_that_compute_nan_and_options_that_leave_nothing_are_errors(model: GPT2) -> None:
    with pytest.raises(AigcError, match=r"sample 0: no token is left"):
        model.generate("hello", num_beams=2, regex="a+b", bad_words=["a"], **BEAMS)
    with torch.no_grad():
        model.network.lm_head.weight[:] = torch.nan
    with pytest.raises(AigcError, match=r"sample 2: .*NaN"):
        model.generate(["x", "y"], n=2, num_beams=2, logits=only_for_the_second, **BEAMS)


def only_for_the_second(logits: torch.Tensor, prompt: Any, made: Any) -> torch.Tensor:
    return torch.zeros_like(logits) if tokenizer.decode(list(prompt)) == "x" else logits


def test_a_search_leaves_the_callers_state(model: GPT2) -> None:
    with contract.untouched() as check:
        for _ in model.stream(PROMPTS, n=2, num_beams=3, **BEAMS):
            check()


def test_a_beam_is_replayed_from_its_file(model: GPT2, tmp_path: Any) -> None:
    model.save(tmp_path / "model")
    opened = GPT2.open(tmp_path / "model", device="cpu")
    made = opened.generate(PROMPTS, n=3, num_beams=3, **BEAMS)[4]
    assert aigc_sdk.replay(made.save(tmp_path / "made.txt")).same
