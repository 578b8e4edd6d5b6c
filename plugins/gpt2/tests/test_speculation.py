"""Guessing ahead changes how many passes a text takes, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM

import aigc_sdk
from aigc_sdk.errors import AigcError, OptionError
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.decoding.speculation import PAUSE_LIMIT, Draft, LookUp, Pace
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 128
PROMPTS = ["hello world", "the quick brown fox jumps over the lazy dog, the quick", "a", "dog dog dog dog"]
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; "] * 4, 320, CONTEXT)


def tiny(kind: str = "gpt2", *, seed: int = 3, context: int = CONTEXT, repeating: bool = False) -> GPT2:
    """A random model; one that is `repeating` chooses by the last token alone, so that its greedy text is soon a circle."""
    torch.manual_seed(seed)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": None}
    network: Any
    if kind == "gpt2":
        network = GPT2LMHeadModel(
            GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=context, initializer_range=0.4, **common)
        )
    elif kind == "llama":
        sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        heads: dict[str, Any] = {"num_attention_heads": 4, "max_position_embeddings": context}
        network = LlamaForCausalLM(LlamaConfig(initializer_range=0.4, **common, **sizes, **heads))
    else:
        network = MambaForCausalLM(MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4, **common))
        network.config.max_position_embeddings = context
    if repeating:
        with torch.no_grad():
            network.transformer.wpe.weight.zero_()
            for layer in network.transformer.h:
                layer.attn.c_proj.weight.zero_()
                layer.attn.c_proj.bias.zero_()
    return GPT2(network.eval(), tokenizer)


def passes(model: GPT2, prompts: str | Sequence[str], **options: Any) -> int:
    """How many turns a call takes."""
    steps: list[Any] = []
    given = prompts if isinstance(prompts, str) else list(prompts)
    model.generate(given, seed=5, on_step=steps.append, **options)
    return len(steps)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A draft that is often, but not always right: the model itself with a little noise."""
    model = tiny()
    with torch.no_grad():
        for weight in model.network.parameters():
            weight += 0.02 * torch.randn_like(weight)
    model.save(tmp_path / "draft")
    return tmp_path / "draft"


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_look_up_leaves_greedy_and_sampled_texts_as_they_are(kind: str, temperature: float) -> None:
    model = tiny(kind)
    options: dict[str, Any] = {"seed": 5, "temperature": temperature, "top_k": 3, "max_new_tokens": 60}
    plain = [str(each) for each in model.generate(PROMPTS, n=2, **options)]
    for size in (1, 4, 32):
        assert [str(each) for each in model.generate(PROMPTS, n=2, speculate=size, **options)] == plain
    assert [str(each) for each in model.generate(PROMPTS, n=2, speculate=4, max_batch_size=3, **options)] == plain


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_a_draft_leaves_greedy_and_sampled_texts_as_they_are(temperature: float, folder: Path) -> None:
    model = tiny()
    options: dict[str, Any] = {"seed": 5, "temperature": temperature, "max_new_tokens": 40}
    plain = [str(each) for each in model.generate(PROMPTS, n=2, **options)]
    guessed = model.generate(PROMPTS, n=2, speculate=4, draft=str(folder), **options)
    assert [str(each) for each in guessed] == plain
    fewer = passes(model, PROMPTS, temperature=temperature, max_new_tokens=40, speculate=4, draft=str(folder))
    assert fewer < passes(model, PROMPTS, temperature=temperature, max_new_tokens=40)
    some = model.generate(PROMPTS, n=2, speculate=3, draft=str(folder), max_batch_size=3, **options)
    assert [str(each) for each in some] == plain


def test_penalties_and_stops_and_ends_act_on_guessed_tokens_too() -> None:
    model = tiny(repeating=True)
    options: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 50}
    [whole] = model.generate("hello", logprobs=0, **options)
    for more in ({"stop": whole.text[30:36]}, {"repetition_penalty": 1.2}, {"min_new_tokens": 30}):
        assert [str(each) for each in model.generate("hello", speculate=8, **options, **more)] == [
            str(each) for each in model.generate("hello", **options, **more)
        ]
    model.network.generation_config.eos_token_id = whole.info["logprobs"][20]["id"]
    plain, guessed = (model.generate("hello", speculate=size, **options)[0] for size in (0, 8))
    assert (plain.text, plain.info) == (guessed.text, guessed.info)
    assert plain.info["finish_reason"] == "end"


def test_a_text_that_repeats_itself_takes_a_fraction_of_the_passes() -> None:
    model = tiny(repeating=True)
    assert passes(model, "hello", temperature=0.0, max_new_tokens=100) == 100
    assert passes(model, "hello", temperature=0.0, max_new_tokens=100, speculate=16) < 50


def test_rows_of_one_batch_are_guessed_each_at_its_own_pace() -> None:
    model = tiny(repeating=True)
    wild = {"temperature": 0.0, "max_new_tokens": 100}
    together = passes(model, ["hello", "world"], speculate=16, **wild)
    apart = [passes(model, each, speculate=16, **wild) for each in ("hello", "world")]
    assert max(apart) <= together <= max(apart) + 2


def test_a_draft_that_is_always_right_is_asked_for_ever_more(tmp_path: Path) -> None:
    model = tiny()
    model.save(tmp_path / "same")
    taken = passes(model, "hello", temperature=0.0, max_new_tokens=90, speculate=8, draft=str(tmp_path / "same"))
    assert taken <= 1 + 3 + 90 // 9 + 1


def test_ordinary_text_is_seldom_guessed_at() -> None:
    pace, tried = Pace(8), 0
    for _ in range(400):
        if size := pace.size():
            tried += 1
            pace.learn(size, 0)
    assert tried <= 6 + 400 // PAUSE_LIMIT
    pace = Pace(8)
    for _ in range(4):
        pace.learn(pace.size(), pace.size())
    assert pace.size() == 8


def test_look_up_finds_what_followed_the_longest_run() -> None:
    guesser = LookUp()
    guesser.join([[]] * 3, [99] * 3)
    texts = [[1, 2, 3, 9, 2, 3, 7, 1, 2, 3], [1, 2, 3, 4], [5, 6, 5, 6, 5, 6]]
    assert guesser.guess(texts, [3, 3, 5]) == [[9, 2, 3], [], [5, 6, 5, 6, 5]]
    guesser.select([2])
    assert guesser.guess([[5, 6, 5, 6, 5, 6, 8, 5, 6]], [2]) == [[8, 5]]


def test_a_draft_reads_on_after_wrong_guesses() -> None:
    """Its guesses after any history are those of one that reads all anew."""
    model, generator = tiny(), torch.Generator().manual_seed(1)
    going = Draft(model)
    texts = [torch.randint(1, 250, (size,), generator=generator).tolist() for size in (5, 9, 2)]
    going.join([list(each) for each in texts], [80] * 3)
    for turn in range(12):
        for place, text in enumerate(texts):
            text.append((7 * turn + place) % 250 + 1)
        most = [(turn + place) % 4 for place in range(3)]
        anew = Draft(model)
        anew.join([each[:-1] for each in texts], [80] * 3)
        guessed = going.guess(texts, most)
        assert guessed == anew.guess(texts, most)
        assert [len(each) for each in guessed] == most
        for text, guess in zip(texts, guessed, strict=True):
            text += guess[: turn % 3]


def test_a_draft_is_opened_again_by_a_replay(folder: Path, tmp_path: Path) -> None:
    tiny().save(tmp_path / "model")
    model = aigc_sdk.load(tmp_path / "model")
    [made] = model.generate("hello", seed=1, max_new_tokens=12, speculate=3, draft=str(folder))
    made.save(tmp_path / "text.txt")
    assert made.origin["options"]["draft"] == str(folder)
    assert aigc_sdk.replay(tmp_path / "text.txt").same


def test_what_cannot_guess_is_refused(tmp_path: Path) -> None:
    model = tiny()
    other = train_tokenizer(["something else entirely, and more of it"] * 4, 300, CONTEXT)
    GPT2(tiny().network, other).save(tmp_path / "other")
    tiny(context=32).save(tmp_path / "short")
    short, foreign = str(tmp_path / "short"), str(tmp_path / "other")
    for options, field, words in (
        ({"speculate": 4, "draft": foreign}, "draft", "other tokens"),
        ({"speculate": 4, "draft": short, "max_new_tokens": 40}, "draft", "holds 32 tokens"),
        ({"draft": short}, "draft", "speculate=0"),
        ({"speculate": 4, "draft": ""}, "draft", "at least 1"),
        ({"speculate": -1}, "speculate", "greater"),
        ({"speculate": 33}, "speculate", "less"),
        ({"speculate": True}, "speculate", "integer"),
    ):
        with pytest.raises(OptionError, match=words) as caught:
            model.stream("hello", **({"max_new_tokens": 9} | options))  # type: ignore[arg-type]
        assert caught.value.field == field
    with pytest.raises(AigcError, match="nothing-here"):
        model.stream("hello", max_new_tokens=9, speculate=4, draft=str(tmp_path / "nothing-here"))
    with pytest.raises(OptionError, match="cannot forget") as caught:
        tiny("mamba").stream("hello", max_new_tokens=9, speculate=4)
    assert caught.value.field == "speculate"
