"""Text that follows a regular expression or a JSON schema: always, whatever the model, the tokenizer and the other options."""

from __future__ import annotations

import datetime
import json
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import aigc_sdk
from aigc_sdk.errors import AigcError, MissingDependency, OptionError
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.vocabulary import vocabulary

CONTEXT = 512
tokenizer = train_tokenizer(
    ['{"name": "hello world", "age": 12, "list": [true, false, null, 1.5]} ünï 😀 '] * 4, 340, CONTEXT
)
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def tiny(of: PreTrainedTokenizerFast = tokenizer, end: int | None = 0) -> GPT2:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": CONTEXT, "vocab_size": len(of)}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=end, initializer_range=0.2)
    return GPT2(GPT2LMHeadModel(config).eval(), of)


@pytest.fixture(scope="module")
def model() -> GPT2:
    return tiny()


def schema_of(draw: random.Random, depth: int = 0) -> dict[str, Any]:
    """A random schema; the deeper, the plainer."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const"]
    if depth < 3:
        kinds += ["object", "object", "array", "array", "anyOf", "tuple", "map"]
    kind = draw.choice(kinds if depth else ["object", "array", "anyOf", *kinds])
    inner = lambda: schema_of(draw, depth + 1)  # noqa: E731
    if kind == "string":
        return {"type": "string", **draw.choice(STRINGS)}
    if kind in ("integer", "number"):
        low = draw.randint(-50, 50)
        bounds = [{}, {"minimum": low}, {"maximum": low}, {"minimum": low, "maximum": low + draw.randint(0, 300)}]
        strict = {"exclusiveMinimum": low, "exclusiveMaximum": low + 7}
        return {"type": kind, **draw.choice([*bounds, strict])}
    if kind == "enum":
        return {
            "enum": draw.sample(
                ["a", "é", 'quote"d', "back\\slash", 7, -1.5, None, True, "", [1, "x"]], draw.randint(1, 5)
            )
        }
    if kind == "const":
        return {"const": draw.choice(["fixed", 0, False, {"a": [None]}])}
    if kind == "object":
        names = draw.sample(["name", "a b", "ünï", "x-1", "list", "n", 'q"'], draw.randint(0, 4))
        required = [name for name in names if draw.random() < 0.6]
        extra = draw.choice([{}, {"additionalProperties": False}, {"additionalProperties": {"type": "integer"}}])
        return {"type": "object", "properties": {name: inner() for name in names}, "required": required, **extra}
    if kind == "map":
        return {"type": "object", "additionalProperties": inner()}
    if kind == "array":
        least = draw.randint(0, 3)
        sizes = draw.choice([{}, {"minItems": least}, {"minItems": least, "maxItems": least + draw.randint(0, 3)}])
        return {"type": "array", "items": inner(), **sizes}
    if kind == "tuple":
        return {
            "type": "array",
            "prefixItems": [inner(), inner()],
            "items": draw.choice([False, {"type": "null"}]),
            "minItems": 2,
        }
    return {"anyOf": [inner() for _ in range(draw.randint(1, 3))]}


STRINGS: list[dict[str, Any]] = [
    {},
    {"maxLength": 5},
    {"minLength": 3, "maxLength": 9},
    {"minLength": 12},
    {"pattern": "^[a-z]{2,5}$"},
    {"pattern": "^(yes|no|maybe)$"},
    {"pattern": "^[A-Z][a-z]+( [A-Z][a-z]+)*$", "maxLength": 20},
    {"pattern": "^\\d{3}-\\d{4}$"},
    {"format": "date"},
    {"format": "uuid"},
    {"format": "ipv4"},
]


def random_schema(number: int) -> dict[str, Any]:
    """Some have definitions that refer to themselves."""
    draw = random.Random(number)
    if number % 5:
        return schema_of(draw)
    node = {
        "type": "object",
        "properties": {"value": schema_of(draw, 3), "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["value", "next"],
        "additionalProperties": False,
    }
    return {"$defs": {"node": node}, "type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": draw.randint(0, 2)}


FORMATS = jsonschema.FormatChecker(formats=("uuid", "ipv4"))


@FORMATS.checks("date", raises=ValueError)
def is_a_date(value: Any) -> bool:
    """As RFC 3339 has it, year 0000 included; llguidance takes 29 February for a day of every year."""
    return not isinstance(value, str) or bool(datetime.date.fromisoformat("2000" + value[4:]))


def check_valid(text: Any, schema: dict[str, Any]) -> None:
    assert text.info["complete"], (schema, text.text)
    value = json.loads(text.text)
    checker = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    assert not list(checker.iter_errors(value)), (schema, value)


def check_schemas(model: GPT2, numbers: range, **options: Any) -> None:
    for number in numbers:
        schema = random_schema(number)
        for text in model.generate(None, n=2, seed=number, json_schema=schema, **options):
            check_valid(text, schema)


def test_texts_of_a_random_model_are_valid_for_random_schemas(model: GPT2) -> None:
    check_schemas(model, range(24), max_new_tokens=240, temperature=1.0, top_p=1.0)


def test_texts_of_the_default_model_are_valid_for_random_schemas() -> None:
    check_schemas(aigc_sdk.load("gpt2", device="cpu"), range(100, 104), max_new_tokens=160)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["random", "default"])
def test_texts_are_valid_for_500_random_schemas(which: str, model: GPT2) -> None:
    chosen = model if which == "random" else aigc_sdk.load("gpt2", device="cpu")
    check_schemas(chosen, range(1000, 1500), max_new_tokens=240, temperature=1.0, top_p=1.0)


@pytest.mark.parametrize("end", [None, 0, 2], ids=["no end", "an end", "pieces"])
def test_any_tokenizer_and_a_model_without_an_end_token_will_do(
    end: int | None, pieces: Callable[[], PreTrainedTokenizerFast]
) -> None:
    chosen = tiny(pieces() if end == 2 else tokenizer, end)
    for temperature in (0.0, 1.5):
        made = chosen.generate(
            [None, "the fox"], n=3, seed=0, temperature=temperature, max_new_tokens=80, json_schema=PERSON
        )
        for text in made:
            check_valid(text, PERSON)
            assert text.info["finish_reason"] == "end"


def test_a_llama_with_a_padded_vocabulary_follows_a_schema(pieces: Callable[[], PreTrainedTokenizerFast]) -> None:
    of = pieces()
    torch.manual_seed(0)
    wide = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(of) + 26, bos_token_id=1, eos_token_id=2, **wide)
    for text in GPT2(LlamaForCausalLM(config).eval(), of).generate(
        "x", n=4, seed=0, max_new_tokens=80, json_schema=PERSON
    ):
        check_valid(text, PERSON)


REGEXES = [
    r"\d{4}-\d{2}-\d{2}",
    r"(yes|no|maybe)",
    r"[a-z]+@[a-z]+\.(com|org)",
    r"(ab|cde)*f",
    r"a{30}",
    r"[^;]+;!",
    r"[A-Z][a-z]*( [a-z]+){2,4}\.",
    r"(?i)hello|ünï|漢字",
    r"\d?[a-zA-Z]+",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
]


@pytest.mark.parametrize("regex", REGEXES)
def test_a_text_matches_its_regular_expression_and_ends_in_time(model: GPT2, regex: str) -> None:
    for temperature in (0.0, 1.0):
        for text in model.generate(
            ["hello ", None], n=2, seed=1, regex=regex, max_new_tokens=40, temperature=temperature
        ):
            assert re.fullmatch(regex, text.text), text.text
            assert text.info["complete"]


def test_each_alternative_comes_as_often_as_its_first_token_is_likely(model: GPT2) -> None:
    """Nothing but what may not follow is taken from the distribution."""
    with torch.no_grad():
        logits = model.network(torch.tensor([tokenizer("hello").input_ids])).logits[0, -1]
    firsts = [tokenizer.backend_tokenizer.token_to_id(letter) for letter in "xyz"]
    exact = logits[firsts].double().softmax(-1)
    made = model.generate("hello", n=900, seed=0, regex="x|y|z", max_new_tokens=2, temperature=1.0, top_p=1.0)
    counts = torch.tensor([sum(text.text == letter for text in made) for letter in "xyz"], dtype=torch.float64)
    assert ((counts - 900 * exact) ** 2 / (900 * exact)).sum() < 18.4  # 99.99 % of draws are below


def test_a_text_too_short_for_any_match_says_that_it_is_not_complete(model: GPT2) -> None:
    [made] = model.generate("hello", seed=0, regex="a{30}", max_new_tokens=10)
    assert made.text == "a" * 10
    assert (made.info["finish_reason"], made.info["complete"]) == ("length", False)
    [cut] = model.generate("hello", seed=0, regex="[a-z]+", max_new_tokens=3, logit_bias={"z": 100.0})
    assert (cut.text, cut.info["finish_reason"], cut.info["complete"]) == ("zzz", "length", True)


def test_a_text_ends_in_time_at_every_length_from_the_shortest_on(model: GPT2) -> None:
    shortest = len(model.tokenizer('{"name": "", "age": 0}').input_ids)
    for most in range(shortest + 2, shortest + 30):
        for text in model.generate(None, n=2, seed=most, max_new_tokens=most, json_schema=PERSON, temperature=1.5):
            check_valid(text, PERSON)


def test_a_grammar_changes_nothing_between_batches_streams_and_speculation(model: GPT2) -> None:
    prompts = ["hello", "the name is", None]
    options: dict[str, Any] = {"json_schema": PERSON, "max_new_tokens": 60, "temperature": 1.0}
    batch = model.generate(prompts, n=2, seed=3, **options)
    assert batch == [model.generate(prompts[at // 2], seed=3 + at, **options)[0] for at in range(6)]
    assert batch == model.generate(prompts, n=2, seed=3, max_batch_size=2, **options)
    assert batch == model.generate(prompts, n=2, seed=3, speculate=4, **options)
    chunks = list(model.stream(prompts, n=2, seed=3, **options))
    assert [aigc_sdk.Text.join(each for each in chunks if each.sample == at) for at in range(6)] == batch


def test_a_grammar_and_other_rules_hold_together(model: GPT2) -> None:
    made = model.generate(
        None, n=8, seed=0, regex="[a-z ]{12}", max_new_tokens=20, bad_words=["e", "a"], temperature=1.5
    )
    assert all(re.fullmatch("[b-df-z ]{12}", text.text) for text in made)
    with pytest.raises(AigcError, match="no token is left"):
        model.generate(None, seed=0, regex="a+b", max_new_tokens=20, bad_words=["a"])


def test_what_follows_a_grammar_is_replayed_from_its_file(model: GPT2, tmp_path: Any) -> None:
    model.save(tmp_path / "model")
    opened = GPT2.open(tmp_path / "model", device="cpu")
    made = opened.generate("hello", n=2, seed=4, max_new_tokens=60, json_schema=PERSON)[-1]
    assert aigc_sdk.replay(made.save(tmp_path / "made.txt")).same


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"regex": r"(a)\1"}, "backreferences"),
        ({"regex": "a{3,1}"}, "repetition"),
        ({"json_schema": {"type": "text"}}, "text"),
        ({"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}}, "minimum"),
        ({"json_schema": {"$ref": "#/$defs/gone"}}, "gone"),
        ({"json_schema": {"$ref": "https://example.com/schema"}}, "example.com"),
        ({"json_schema": {"type": "array", "uniqueItems": True}}, "uniqueItems"),
        ({"json_schema": {"type": "string", "format": "poem"}}, "poem"),
        ({"json_schema": {"not": {"type": "string"}}}, "not"),
    ],
)
def test_a_grammar_that_cannot_be_followed_is_refused_at_the_call_with_the_reason(
    model: GPT2, given: dict[str, Any], said: str
) -> None:
    [field] = given
    with pytest.raises(OptionError, match=said) as caught:
        model.stream("hello", max_new_tokens=8, **given)
    assert caught.value.field == field


def test_without_the_library_the_pip_line_is_named(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingDependency, match=r"pip install 'aigc-sdk-gpt2\[constrain\]'"):
        model.stream("hello", max_new_tokens=8, regex="a")
    model.generate("hello", max_new_tokens=2)


def test_the_bytes_of_all_tokens_make_what_the_tokenizer_reads(pieces: Callable[[], PreTrainedTokenizerFast]) -> None:
    text = 'the quick {"name": 12} fox é 😀 \n end'
    for of in (tokenizer, pieces()):
        table = vocabulary(of).spelt
        assert table is not None
        assert b"".join(table[token] for token in of(text).input_ids).decode().removeprefix(" ") == text
