"""What may be set about the choice of tokens: the texts that come of it, alone, in batches and in a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

import aigc_sdk
from aigc_sdk.errors import AigcError, OptionError
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.vocabulary import vocabulary

CONTEXT = 96
TEXT = "hello world, the quick brown fox jumps over the lazy dog; ünïcödé 😀 漢字 "
tokenizer = train_tokenizer([TEXT] * 4, 340, CONTEXT)
SIZE = len(tokenizer)
FREE: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


@pytest.fixture(scope="module")
def model() -> GPT2:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, "vocab_size": SIZE}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, initializer_range=0.4)
    return GPT2(GPT2LMHeadModel(config).eval(), tokenizer)


def spelt(tokens: Sequence[int]) -> bytes:
    table = vocabulary(tokenizer).spelt
    assert table is not None
    return b"".join(table[token] for token in tokens)


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_bad_words_are_in_no_text_however_they_are_cut(model: GPT2, temperature: float) -> None:
    words = ["e", "fox", "😀", "o w", "th"]
    made = model.generate("hello", n=24, seed=0, max_new_tokens=40, temperature=temperature, top_p=1.0, bad_words=words)
    assert not [text for text in made if any(word in text.text for word in words)]
    plain = model.generate("hello", n=24, seed=0, max_new_tokens=40, temperature=3.0, top_p=1.0)
    assert any(word in text.text for text in plain for word in words)


def test_bad_words_work_on_pieces_and_on_bytes(pieces: Callable[[], PreTrainedTokenizerFast]) -> None:
    made = small(pieces()).generate(
        "the fox", n=16, seed=0, max_new_tokens=30, temperature=2.0, top_p=1.0, bad_words=["o", " t", '"', "é"]
    )
    assert not [text.text for text in made if any(word in text.text for word in ("o", " t", '"', "é"))]


def small(of: PreTrainedTokenizerFast) -> GPT2:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": CONTEXT, "vocab_size": len(of)}
    return GPT2(GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)).eval(), of)


def test_no_run_of_tokens_comes_twice(model: GPT2) -> None:
    [made] = model.generate("hello hello hello", temperature=0.0, max_new_tokens=60, no_repeat_ngram=2, logprobs=0)
    tokens = [*tokenizer("hello hello hello").input_ids, *(each["id"] for each in made.info["logprobs"])]
    pairs = list(pairwise(tokens))
    start = len(tokens) - len(made.info["logprobs"])
    assert not [pair for place, pair in enumerate(pairs) if place >= start - 1 and pair in pairs[:place]]


def test_a_bias_of_100_makes_a_token_certain_and_minus_100_impossible(model: GPT2) -> None:
    [sure] = model.generate("hello", seed=0, max_new_tokens=5, logit_bias={" fox": 100.0})
    assert sure.text == " fox" * 5
    assert sure.origin["options"]["logit_bias"] == [[" fox", 100.0]]
    made = model.generate("hello", n=20, seed=0, max_new_tokens=20, **FREE, logit_bias=[["e", -100.0], [5, -100.0]])
    table = {int(tokenizer.convert_tokens_to_ids("e")), 5}
    again = model.generate(
        "hello", n=20, seed=0, max_new_tokens=20, **FREE, logit_bias=[["e", -100.0], [5, -100.0]], logprobs=0
    )
    assert [each.text for each in made] == [each.text for each in again]
    assert not table & {each["id"] for text in again for each in text.info["logprobs"]}


@pytest.mark.parametrize(
    "given",
    [
        {"presence_penalty": 1.5, "frequency_penalty": 0.5},
        {"no_repeat_ngram": 2, "bad_words": ["fox"], "logit_bias": {"e": 3.0}},
        {"typical_p": 0.6, "repetition_penalty": 1.2, "min_new_tokens": 12},
        {"logits": lambda logits, prompt, made: logits - len(made) * torch.arange(len(logits)) / 99, "logprobs": 1},
    ],
    ids=["penalties", "bans", "typical", "function"],
)
def test_controlled_items_are_the_same_alone_in_a_batch_and_in_small_batches(
    model: GPT2, given: dict[str, Any]
) -> None:
    prompts = ["hello world", "the quick brown fox jumps", "a"]
    settings: dict[str, Any] = {**FREE, "max_new_tokens": 24, **given}
    batch = model.generate(prompts, n=3, seed=5, **settings)
    assert batch == model.generate(prompts, n=3, seed=5, max_batch_size=2, **settings)
    assert batch == [model.generate(prompts[index // 3], seed=5 + index, **settings)[0] for index in range(9)]
    assert batch == model.generate(prompts, n=3, seed=5, speculate=4, **settings)


def test_a_function_of_the_caller_sees_the_logits_the_prompt_and_what_was_made(model: GPT2) -> None:
    seen: list[tuple[int, int, int]] = []

    def only(logits: torch.Tensor, prompt: Sequence[int], made: Sequence[int]) -> torch.Tensor:
        seen.append((len(logits), len(prompt), len(made)))
        return torch.full_like(logits, -torch.inf).index_fill_(0, torch.tensor(40 + len(made)), 0.0)

    [made] = model.generate("hello world", seed=0, max_new_tokens=6, logits=only)
    prompt = len(tokenizer("hello world").input_ids)
    assert made.text.encode() == spelt(range(40, 46))
    assert seen == [(SIZE, prompt, place) for place in range(6)]


def test_what_a_function_made_says_so_and_is_not_replayed_without_it(model: GPT2, tmp_path: Any) -> None:
    model.save(tmp_path / "model")
    opened = GPT2.open(tmp_path / "model", device="cpu")
    [made] = opened.generate("hello", seed=0, max_new_tokens=4, logits=doubled)
    assert made.origin["options"]["logits"] == {"unrecorded": f"{__name__}.doubled"}
    with pytest.raises(OptionError, match=r"doubled.*pass the function") as caught:
        aigc_sdk.replay(made.save(tmp_path / "made.txt"))
    assert caught.value.field == "logits"
    recorded = {**made.origin["options"], "logits": doubled}
    assert opened.generate("hello", seed=made.origin["seed"], **recorded) == [made]


def doubled(logits: torch.Tensor, prompt: Sequence[int], made: Sequence[int]) -> torch.Tensor:
    return logits * 2


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda logits, prompt, made: logits / 0 * 0, "NaN"),
        (lambda logits, prompt, made: logits + torch.inf, "infinity"),
        (lambda logits, prompt, made: logits[:5], "one float per token"),
        (lambda logits, prompt, made: logits.long(), "int64"),
        (lambda logits, prompt, made: None, "NoneType"),
        (lambda logits: logits, "TypeError"),
        (lambda logits, prompt, made: {}[len(made)], "KeyError: 0"),
        (lambda logits, prompt, made: torch.full_like(logits, -torch.inf), "no token is left"),
    ],
)
def test_a_function_that_fails_is_an_error_that_names_the_sample(model: GPT2, function: Any, said: str) -> None:
    only_second = lambda logits, prompt, made: function(logits, prompt, made) if len(prompt) == 1 else logits  # noqa: E731
    broken = function if said == "TypeError" else only_second
    with pytest.raises(AigcError, match=r"sample [01]: .*" + said) as caught:
        model.generate(["hello world", "h"], seed=0, max_new_tokens=4, logits=broken)
    assert said == "TypeError" or "sample 1" in str(caught.value)


def test_options_that_leave_no_token_are_an_error_and_not_nan(model: GPT2) -> None:
    letters = [chr(code) for code in range(0x250)]
    banned = [*letters, "漢", "字", "😀"]
    with pytest.raises(AigcError, match="no token is left"):
        model.generate("hello", seed=0, min_new_tokens=30, max_new_tokens=30, bad_words=banned, logits=bytes_out)


def bytes_out(logits: torch.Tensor, prompt: Sequence[int], made: Sequence[int]) -> torch.Tensor:
    """Bans what is a part of a character."""
    parts = [token for token in range(SIZE) if "\ufffd" in tokenizer.decode([token])]
    return logits.index_fill(0, torch.tensor(parts), -torch.inf)


def test_log_probabilities_are_the_models_own_whatever_the_options(model: GPT2) -> None:
    settings: dict[str, Any] = {"temperature": 2.0, "top_k": 30, "repetition_penalty": 1.5, "logit_bias": {"e": 5.0}}
    made = model.generate(["hello world", "a"], seed=3, max_new_tokens=12, logprobs=4, **settings)
    json.dumps([each.info for each in made])
    for text, prompt in zip(made, ("hello world", "a"), strict=True):
        rows = text.info["logprobs"]
        ids = tokenizer(prompt).input_ids
        whole = [*ids, *(row["id"] for row in rows)]
        with torch.no_grad():
            exact = model.network(torch.tensor([whole])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        assert len(rows) == text.info["tokens"]
        for row, expected in zip(rows, exact, strict=True):
            assert row["logprob"] == pytest.approx(float(expected[row["id"]]), abs=1e-4)
            best = expected.topk(4)
            assert [each["logprob"] for each in row["top"]] == pytest.approx(best.values.tolist(), abs=1e-4)
            assert [each["id"] for each in row["top"]] == best.indices.tolist()
            assert row["token"] == tokenizer.decode([row["id"]])


def test_a_stream_carries_the_log_probabilities_of_each_chunk_and_all_at_the_end(model: GPT2) -> None:
    settings: dict[str, Any] = {"seed": 1, "max_new_tokens": 16, "logprobs": 1, **FREE}
    [whole] = model.generate("hello", **settings)
    *parts, last = model.stream("hello", **settings)
    early = [row for part in parts for row in part.info["logprobs"]]
    assert parts
    assert early == whole.info["logprobs"][: len(early)]
    assert last.info["logprobs"] == whole.info["logprobs"]
    assert aigc_sdk.Text.join([*parts, last]).info == whole.info


@pytest.mark.parametrize(
    "stop",
    [
        ["d"],
        ["lo wor"],
        ["\ufb01n", "é 😀"],
        ["é 😀 漢"],
        ["字", "nothing"],
        ["hello world", "o"],
        ["ö", "öd"],
        ["😀 漢字 h"],
        [" "],
    ],
)
@pytest.mark.parametrize("cuts", [1, 3, 50])
def test_a_stop_string_ends_a_text_wherever_its_tokens_are_cut(model: GPT2, stop: list[str], cuts: int) -> None:
    """The text is forced, cut into single bytes or longer tokens, and compared with the plain search for the first stop."""
    whole = "hello ünïcödé 😀 漢字 hello"
    ids = cut(whole.encode(), cuts)
    forced = lambda logits, prompt, made: torch.full_like(logits, -torch.inf).index_fill_(  # noqa: E731
        0, torch.tensor(ids[len(made)]), 0.0
    )
    given: dict[str, Any] = {"seed": 0, "max_new_tokens": len(ids), "stop": stop, "logits": forced}
    [made] = model.generate("x", **given)
    places = [whole.index(each) for each in stop if each in whole]
    assert made.text == (whole[: min(places)] if places else whole)
    assert made.info["finish_reason"] == ("stop" if places else "length")
    assert "".join(chunk.text for chunk in model.stream("x", **given)) == made.text


def cut(text: bytes, longest: int) -> list[int]:
    """Tokens of `text`, each of which has at most `longest` bytes."""
    table = vocabulary(tokenizer).spelt or {}
    numbers = {spelt: token for token, spelt in table.items()}
    found, start = [], 0
    while start < len(text):
        size = next(size for size in range(longest, 0, -1) if text[start : start + size] in numbers and size)
        size = min(size, len(text) - start)
        found.append(numbers[text[start : start + size]])
        start += size
    return found
