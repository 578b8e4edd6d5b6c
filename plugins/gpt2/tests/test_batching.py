"""Many items in one call: who is decoded with whom changes no text, memory is bounded, and what is shared is read once."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from aigc_sdk.errors import AigcError, ContextOverflow, OptionError
from aigc_sdk.protocols import Step
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.decoding import batch as batch_module
from aigc_sdk_gpt2.decoding.prefixes import SHARED_LEAST, WORTH, Known, plan, shared
from aigc_sdk_gpt2.engines.engine import Engine, engine_for
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 160
WORDS = ["hello", "world", "the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; "] * 4, 320, CONTEXT)


def tiny(kind: str = "gpt2", end: int | None = None) -> GPT2:
    """A random model; large initial weights keep its greedy choices far from ties."""
    torch.manual_seed(3)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": end}
    network: Any
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT, "initializer_range": 0.4}
        network = GPT2LMHeadModel(GPT2Config(**common, **sizes))
    elif kind == "llama":
        grouped = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
        wide = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.4}
        network = LlamaForCausalLM(LlamaConfig(**common, **grouped, **wide))
    else:
        network = MambaForCausalLM(MambaConfig(**common, hidden_size=32, num_hidden_layers=2, state_size=4))
        network.config.max_position_embeddings = CONTEXT
    return GPT2(network.eval(), tokenizer)


def prompts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(count)]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The engines that calls make from now on, which note what they read in `read` and how large they grew in `held`."""
    made: list[Any] = []

    def watched(*arguments: Any) -> Engine:
        engine: Any = engine_for(*arguments)
        engine.read, engine.held, engine.passes, places = [], [], 0, []
        join, step, extend, select = engine.join, engine.step, engine.extend, engine.select

        def joining(given: Sequence[Sequence[int]], room: Sequence[int], names: Any = None) -> torch.Tensor:
            engine.read.append(sum(map(len, given)))
            places.extend(len(each) + more for each, more in zip(given, room, strict=True))
            engine.held.append(len(places) * max(places))
            engine.passes += 1
            return join(given, room, names)  # type: ignore[no-any-return]

        def stepping(tokens: torch.Tensor) -> torch.Tensor:
            engine.passes += 1
            return step(tokens)  # type: ignore[no-any-return]

        def extending(tokens: Sequence[Sequence[int]], last: bool = False) -> torch.Tensor:
            if last:
                engine.read.append(sum(map(len, tokens)))
            engine.passes += 1
            return extend(tokens, last)  # type: ignore[no-any-return]

        def selecting(rows: Sequence[int]) -> None:
            places[:] = [places[row] for row in rows]
            select(rows)

        engine.join, engine.step, engine.extend, engine.select = joining, stepping, extending, selecting
        made.append(engine)
        return engine

    monkeypatch.setattr(batch_module, "engine_for", watched)
    return made


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mamba"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_items_that_come_and_go_get_the_texts_that_they_get_alone(kind: str, temperature: float) -> None:
    model, draw = tiny(kind, end=7), random.Random(1)
    given = prompts(10)
    given += [" ".join(WORDS * 2) + f" {word}" for word in WORDS[:4]]  # they share a long beginning
    wants = [draw.randint(1, 24) for _ in given]
    alone = [
        model.generate(prompt, seed=5 + index, temperature=temperature, max_new_tokens=want)[0]
        for index, (prompt, want) in enumerate(zip(given, wants, strict=True))
    ]
    for most in (1, 3, 256):
        made = model.generate(given, seed=5, temperature=temperature, max_new_tokens=wants, max_batch_size=most)
        assert made == alone


def test_the_place_of_a_finished_item_is_taken_at_once(engines: list[Any]) -> None:
    made = tiny().generate(prompts(9), seed=1, max_new_tokens=[24, *[3] * 8], max_batch_size=2)
    assert [each.info["tokens"] for each in made] == [24, *[3] * 8]
    assert engines[0].passes <= 24 + 8  # a pass for every token of the first item, and one whenever another joins


def test_short_items_are_finished_while_a_long_one_goes_on() -> None:
    chunks = list(tiny().stream(prompts(9), seed=1, max_new_tokens=[40, *[3] * 8], max_batch_size=2))
    last = [each.sample for each in chunks if "finish_reason" in each.info]
    assert sorted(last) == list(range(9))
    assert last[-1] == 0


def test_a_stream_of_many_items_joins_to_what_generate_returns() -> None:
    model = tiny()
    options: dict[str, Any] = {"seed": 2, "max_new_tokens": 12, "max_batch_size": 3}
    texts = [""] * 8
    for chunk in model.stream(prompts(4), n=2, **options):
        texts[chunk.sample] += chunk.text
    assert texts == [each.text for each in model.generate(prompts(4), n=2, **options)]


def test_the_cache_stays_within_its_limit_and_is_used(engines: list[Any]) -> None:
    model = tiny()
    given = prompts(60)
    model.generate(given, seed=1, max_new_tokens=60, cache_mb=1)
    bytes_per_place = 3 * 2 * 32 * 4
    assert max(engines[0].held) * bytes_per_place <= 1 << 20
    assert max(engines[0].held) * bytes_per_place > (1 << 20) * 0.9


def test_the_cache_stays_within_its_limit_when_lengths_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch engine keeps one tensor, whose size is looked at after every pass."""
    made: list[Any] = []
    monkeypatch.setattr(batch_module, "engine_for", lambda *arguments: made.append(engine_for(*arguments)) or made[-1])
    model, sizes = tiny(), list[int]()
    given, wants = prompts(120), [10] * 60 + [120] * 12 + [10] * 48
    alone = [model.generate(given[at], seed=1 + at, max_new_tokens=wants[at], engine="torch")[0] for at in (0, 65, 119)]
    made.clear()
    texts = model.generate(
        given,
        seed=1,
        max_new_tokens=wants,
        cache_mb=1,
        engine="torch",
        on_step=lambda step: sizes.append(made[-1]._cache.nbytes),
    )
    assert max(sizes) <= 1 << 20
    assert [texts[at] for at in (0, 65, 119)] == alone


def test_an_item_that_the_cache_cannot_hold_is_refused_with_what_it_needs() -> None:
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=4096, n_embd=32, n_layer=3, n_head=4)
    model = GPT2(GPT2LMHeadModel(config).eval(), tokenizer)
    with pytest.raises(OptionError, match="take 3 MiB") as caught:
        model.stream("hello", max_new_tokens=3000, cache_mb=1)
    assert caught.value.field == "cache_mb"


def test_progress_counts_tokens_up_to_all_that_were_asked_for() -> None:
    model = tiny()
    model.network.generation_config.eos_token_id = list(range(20))
    steps: list[Step] = []
    made = model.generate(
        prompts(7),
        seed=3,
        temperature=1.0,
        max_new_tokens=[5, 9, 30, 2, 8, 30, 30],
        max_batch_size=3,
        on_step=steps.append,
    )
    assert {each.info["finish_reason"] for each in made} == {"end", "length"}
    assert {step.total for step in steps} == {114}
    assert [step.index for step in steps] == sorted({step.index for step in steps})
    assert steps[-1].index == 114


@pytest.mark.parametrize("how", ["closing", "raising"])
def test_cancelling_frees_the_rows_and_their_memory(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[Callable[[], object]] = []

    def noted(*arguments: Any) -> Engine:
        engine = engine_for(*arguments)
        alive.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr(batch_module, "engine_for", noted)
    model = tiny()
    kept: BaseException | None = None
    if how == "closing":
        stream: Any = model.stream(prompts(5), seed=1, max_new_tokens=40, max_batch_size=2)
        next(stream)
        stream.close()
    else:

        def fail(step: Step) -> None:
            if step.index > 20:
                raise KeyboardInterrupt

        try:
            model.generate(prompts(5), seed=1, max_new_tokens=40, max_batch_size=2, on_step=fail)
        except KeyboardInterrupt as error:
            kept = error  # its traceback holds the frames of the call
    gc.collect()
    assert [each() for each in alive] == [None]
    assert (kept is not None) == (how == "raising")
    assert len(model.generate("hello", seed=1, max_new_tokens=3)) == 1


def test_a_row_that_computes_nan_names_its_sample() -> None:
    model = tiny()
    with torch.no_grad():
        model.network.transformer.wpe.weight[40] = torch.nan
    with pytest.raises(AigcError, match=r"sample 3: .*NaN"):
        model.generate(["hello", "a", "fox", "the quick brown fox " * 12], seed=1, max_new_tokens=6, max_batch_size=2)


def test_each_prompt_may_want_a_length_of_its_own() -> None:
    model = tiny()
    made = model.generate(["hello", "world"], n=2, seed=1, max_new_tokens=[3, 5])
    assert [each.info["tokens"] for each in made] == [3, 3, 5, 5]
    with pytest.raises(OptionError, match="3 numbers for 2 prompts") as caught:
        model.stream(["hello", "world"], max_new_tokens=[1, 2, 3])
    assert caught.value.field == "max_new_tokens"
    with pytest.raises(OptionError, match="max_new_tokens=160"):
        model.stream(["hello", "world"], max_new_tokens=[3, CONTEXT])
    with pytest.raises(ContextOverflow, match=r"prompt\[1\].*max_new_tokens=150"):
        model.stream(["hello", "hello world " * 10], max_new_tokens=[3, 150])


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": []}, "max_new_tokens"),
        ({"max_new_tokens": [3, 0]}, "max_new_tokens"),
        ({"max_new_tokens": [3, True]}, "max_new_tokens"),
        ({"max_new_tokens": 2.0}, "max_new_tokens"),
        ({"max_new_tokens": (5, 9), "min_new_tokens": 6}, "min_new_tokens"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_batch_size": 1 << 20}, "max_batch_size"),
        ({"cache_mb": 0}, "cache_mb"),
        ({"cache_mb": 1.5}, "cache_mb"),
    ],
)
def test_bad_values_are_refused_and_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        tiny().stream(["hello", "world"], **options)
    assert caught.value.field == field


def test_samples_of_one_prompt_read_it_once(engines: list[Any]) -> None:
    model, prompt = tiny(), "the quick brown fox jumps over"
    tokens = len(tokenizer(prompt).input_ids)
    model.generate(prompt, n=6, seed=5, max_new_tokens=8)
    assert engines[0].read == [tokens]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_beginning_that_prompts_share_is_read_once(kind: str, engines: list[Any]) -> None:
    model, beginning = tiny(kind), " ".join(WORDS * 3)
    given = [f"{beginning} {word}" for word in WORDS]
    sizes = [len(tokenizer(each).input_ids) for each in given]
    alone = [model.generate(each, temperature=0.0, max_new_tokens=6)[0] for each in given]
    engines.clear()
    assert model.generate(given, temperature=0.0, max_new_tokens=6) == alone
    assert sum(engines[0].read) < sizes[0] + 8 * len(given) < sum(sizes) / 2


def test_later_samples_go_on_from_those_that_are_there(engines: list[Any]) -> None:
    model, prompt = tiny(), " ".join(WORDS * 8)
    tokens = len(tokenizer(prompt).input_ids)
    alone = [model.generate(prompt, seed=5 + index, max_new_tokens=4)[0] for index in range(6)]
    engines.clear()
    assert model.generate(prompt, n=6, seed=5, max_new_tokens=4, max_batch_size=2) == alone
    assert engines[0].read == [tokens, 2, 2]  # the last token of the prompt once more for each: its logits are gone


def test_a_model_that_cannot_forget_reads_what_it_must(engines: list[Any]) -> None:
    model, prompt = tiny("mamba"), " ".join(WORDS * 4)
    tokens = len(tokenizer(prompt).input_ids)
    model.generate(prompt, n=4, seed=5, max_new_tokens=4, max_batch_size=2)
    assert engines[0].read == [tokens, tokens]


def test_plans_share_only_what_is_the_same() -> None:
    """Random rows: every fork begins as its source does, has places enough, and every new row is read just once."""
    draw = random.Random(2)
    heads = [[draw.randint(0, 1) for _ in range(80)] for _ in range(3)]

    def some() -> Known:
        tokens = draw.choice(heads)[: draw.randint(1, 80)] + [draw.randint(0, 1) for _ in range(draw.randint(0, 6))]
        return Known(tokens, len(tokens) + draw.randint(1, 40), draw.choice([None, "a"]))

    forks = 0
    for _ in range(300):
        rows, new = [some() for _ in range(draw.randint(0, 5))], [some() for _ in range(draw.randint(1, 6))]
        found = plan(new, rows, rewinds=True)
        forks += len(found.from_rows) + len(found.from_roots)
        numbers = [*found.roots, *(each.row for each in (*found.from_rows, *found.from_roots))]
        assert sorted(numbers) == list(range(len(new)))
        for fork in found.from_rows:
            source = rows[fork.source]
            assert SHARED_LEAST <= fork.common < len(source.tokens)
            assert source.places >= new[fork.row].places
        for fork in found.from_roots:
            assert fork.source in found.roots
        for fork, source in [
            *((each, rows[each.source]) for each in found.from_rows),
            *((each, new[each.source]) for each in found.from_roots),
        ]:
            assert list(source.tokens[: fork.common]) == list(new[fork.row].tokens[: fork.common])
            assert source.adapter == new[fork.row].adapter
        partial = [each for each in (*found.from_rows, *found.from_roots) if each.common < len(new[each.row].tokens)]
        assert not partial or sum(each.common for each in partial) >= WORTH
    assert forks > 100


def test_the_length_of_a_common_beginning_is_counted() -> None:
    draw = random.Random(4)
    for _ in range(300):
        one, other = ([draw.randint(0, 1) for _ in range(draw.randint(0, 9))] for _ in range(2))
        expected = next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        for least in range(4):
            assert shared(one, other, least) == (expected if expected > least else 0)


def test_twenty_thousand_draws_have_the_frequencies_of_the_exact_distribution() -> None:
    """Pearson's chi-squared test of first tokens against probabilities in float64, through the public call."""
    model, draws = tiny(), 20_000
    ids = torch.tensor([tokenizer("hello").input_ids])
    with torch.no_grad():
        logits = model.network.double()(ids).logits[0, -1]
    model.network.float()
    exact = (logits / 6).softmax(-1)
    made = model.generate("hello", n=draws, seed=11, max_new_tokens=1, temperature=6.0, top_p=1.0, max_batch_size=4096)
    tokens_of: dict[str, list[int]] = {}
    for token in range(len(tokenizer)):
        tokens_of.setdefault(tokenizer.decode([token], skip_special_tokens=True), []).append(token)
    expected = {text: float(exact[tokens].sum()) * draws for text, tokens in tokens_of.items()}
    counts = dict.fromkeys(expected, 0)
    for each in made:
        counts[each.text] += 1
    seen = [text for text in expected if expected[text] >= 5]
    rest = [text for text in expected if expected[text] < 5]
    pairs = [(counts[text], expected[text]) for text in seen]
    pairs.append((sum(counts[text] for text in rest), sum(expected[text] for text in rest)))
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in pairs if wanted)
    freedom = len(pairs) - 1
    assert freedom > 50
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5  # mean and four standard deviations of the law


def test_an_item_of_a_call_too_large_for_its_origin_records_what_was_asked_of_it_alone() -> None:
    wanted = [1 + index % 5 for index in range(1200)]
    made = tiny().generate(prompts(1200), seed=1, max_new_tokens=wanted)
    assert made[3].origin["call"]["prompts"] is None
    assert [each.origin["options"]["max_new_tokens"] for each in made[:7]] == wanted[:7]
