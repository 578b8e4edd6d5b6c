"""Decoding: the same tokens as transformers, in any batch; options; streaming; scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import aigc_sdk
from aigc_sdk.errors import AigcError, ContextOverflow, InputError, OptionError, PromptError
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.engines.engine import engine_for
from aigc_sdk_gpt2.engines.hugging import HuggingFace
from aigc_sdk_gpt2.engines.plain import PlainGPT2
from aigc_sdk_gpt2.model import GPT2

CONTEXT = 64
PROMPTS = ["hello world", "the quick brown fox jumps over the lazy dog, twice", "a", "ünïcödé 😀 and more of it"]
KINDS = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gpt_neox"]
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; ünïcödé 😀 "] * 4, 320, CONTEXT)


def network(kind: str) -> Any:
    """A tiny random model; large initial weights keep its greedy choices far from ties."""
    torch.manual_seed(3)
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "bos_token_id": 0,
        "eos_token_id": None,
        "initializer_range": 0.4,
    }
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    wide = common | sizes | {"max_position_embeddings": CONTEXT}
    grouped = wide | {"num_key_value_heads": 2}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=CONTEXT, **common)).eval()
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**grouped)).eval()
    if kind == "mistral":
        return MistralForCausalLM(MistralConfig(**grouped, sliding_window=8)).eval()
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**grouped)).eval()
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**grouped, head_dim=8)).eval()
    return GPTNeoXForCausalLM(GPTNeoXConfig(**wide)).eval()


@pytest.fixture
def model() -> GPT2:
    return GPT2(network("gpt2"), tokenizer)


def greedy_of_transformers(net: Any, prompt: str, new: int) -> list[int]:
    ids = torch.tensor([tokenizer(prompt).input_ids])
    made = net.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, pad_token_id=0)
    tokens: list[int] = made[0, ids.shape[1] :].tolist()
    return tokens


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_are_those_of_transformers_alone_and_in_a_batch(kind: str) -> None:
    net = network(kind)
    model = GPT2(net, tokenizer)
    expected = [
        tokenizer.decode(greedy_of_transformers(net, prompt, 24), skip_special_tokens=True) for prompt in PROMPTS
    ]
    alone = [model.generate(prompt, temperature=0.0, max_new_tokens=24)[0].text for prompt in PROMPTS]
    batch = [made.text for made in model.generate(PROMPTS, temperature=0.0, max_new_tokens=24)]
    assert alone == expected
    assert batch == expected


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_logit_beyond_rounding(kind: str) -> None:
    net = network(kind)
    prompts = [tokenizer(each).input_ids for each in PROMPTS]
    engine = engine_for(net)
    batch = engine.join(prompts, [4] * len(prompts))
    for row, prompt in enumerate(prompts):
        alone = engine_for(net).join([prompt], [4])
        assert torch.allclose(batch[row], alone[0], atol=1e-4)


def test_both_engines_compute_the_same_gpt2() -> None:
    net = network("gpt2")
    prompts = [tokenizer(each).input_ids for each in PROMPTS]
    plain, library = PlainGPT2(net), HuggingFace(net)
    made, expected = [engine.join(prompts, [3] * len(prompts)) for engine in (plain, library)]
    assert torch.allclose(made, expected, atol=1e-4)
    plain.select([3, 1, 3])
    library.select([3, 1, 3])
    tokens = torch.tensor([5, 9, 7])
    for _ in range(3):
        assert torch.allclose(plain.step(tokens), library.step(tokens), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_plain_transformers_opens_here_and_ours_opens_there(kind: str, tmp_path: Path) -> None:
    net = network(kind)
    net.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    opened = aigc_sdk.load(tmp_path / "theirs")
    assert isinstance(opened, GPT2)
    opened.save(tmp_path / "ours")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    ids = AutoTokenizer.from_pretrained(tmp_path / "ours")("hello world", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(again(ids).logits, net(ids).logits)


def test_sampled_items_are_the_same_alone_and_in_a_batch(model: GPT2) -> None:
    options: dict[str, Any] = {"max_new_tokens": 16, "temperature": 1.0, "top_k": 50, "top_p": 0.9, "min_p": 0.01}
    batch = model.generate(PROMPTS, n=2, seed=5, **options)
    alone = [model.generate(PROMPTS[index // 2], seed=5 + index, **options)[0] for index in range(len(batch))]
    assert batch == alone


def test_the_distribution_is_that_of_the_logits(model: GPT2) -> None:
    """600 first tokens against the model's own probabilities: a chi-squared test over the likeliest tokens."""
    ids = torch.tensor([tokenizer("hello").input_ids])
    with torch.no_grad():
        probabilities = (model.network(ids).logits[0, -1] / 4).softmax(-1).double()
    made = model.generate("hello", n=600, seed=0, max_new_tokens=1, temperature=4.0, top_p=1.0)
    counts = torch.zeros(len(tokenizer), dtype=torch.float64)
    texts = {tokenizer.decode([token]): token for token in range(len(tokenizer))}
    for each in made:
        if each.text in texts:
            counts[texts[each.text]] += 1
    likely = probabilities.topk(8).indices
    expected = probabilities[likely] * 600
    assert ((counts[likely] - expected) ** 2 / expected).sum() < 40  # 99.999 % of draws are below


@pytest.mark.parametrize(
    ("options", "allowed"),
    [({"top_k": 1}, 1), ({"top_p": 1e-6}, 1), ({"min_p": 1.0}, 1), ({"top_k": 3}, 3)],
)
def test_filters_leave_only_the_likeliest(model: GPT2, options: dict[str, Any], allowed: int) -> None:
    ids = torch.tensor([tokenizer("hello").input_ids])
    with torch.no_grad():
        best = {tokenizer.decode([token]) for token in model.network(ids).logits[0, -1].topk(allowed).indices.tolist()}
    made = model.generate("hello", n=40, seed=0, max_new_tokens=1, **({"temperature": 2.0, "top_p": 1.0} | options))
    assert {each.text for each in made} <= best


def test_a_repetition_penalty_is_that_of_transformers(model: GPT2) -> None:
    ids = torch.tensor([tokenizer("hello world").input_ids])
    made = model.network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=20,
        do_sample=False,
        repetition_penalty=1.3,
        pad_token_id=0,
    )
    expected = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    [ours] = model.generate("hello world", temperature=0.0, max_new_tokens=20, repetition_penalty=1.3)
    assert ours.text == expected


def test_the_end_of_text_ends_a_text_but_not_before_the_minimum(model: GPT2) -> None:
    [whole] = model.generate("hello", temperature=0.0, max_new_tokens=12)
    ids = greedy_of_transformers(model.network, "hello", 12)
    model.network.generation_config.eos_token_id = ids[4]
    first = ids.index(ids[4])
    [ended] = model.generate("hello", temperature=0.0, max_new_tokens=12)
    assert ended.info["finish_reason"] == "end"
    assert whole.text.startswith(ended.text)
    assert ended.info["tokens"] == first + 1
    [longer] = model.generate("hello", temperature=0.0, max_new_tokens=12, min_new_tokens=9)
    assert longer.info["tokens"] >= 9


def test_a_stop_string_ends_the_text_and_is_no_part_of_it(model: GPT2) -> None:
    [whole] = model.generate("hello", seed=4, max_new_tokens=24)
    stop = whole.text[5:9]
    [stopped] = model.generate("hello", seed=4, max_new_tokens=24, stop=stop)
    assert stopped.text == whole.text[: whole.text.index(stop)]
    assert stopped.info["finish_reason"] == "stop"
    assert [stopped] == model.generate("hello", seed=4, max_new_tokens=24, stop=["never this", stop])


def test_no_chunk_of_a_stream_shows_a_part_of_a_stop_string(model: GPT2) -> None:
    [whole] = model.generate("hello", seed=4, max_new_tokens=24)
    stop = whole.text[6:12]
    chunks = [each.text for each in model.stream("hello", seed=4, max_new_tokens=24, stop=[stop])]
    assert "".join(chunks) == whole.text[: whole.text.index(stop)]


def test_a_stream_never_emits_half_a_character() -> None:
    """A model whose tokens are single bytes of long characters."""
    bytes_only = train_tokenizer([], 257, CONTEXT)
    torch.manual_seed(1)
    config = GPT2Config(
        n_embd=16, n_layer=1, n_head=2, n_positions=CONTEXT, vocab_size=len(bytes_only), eos_token_id=None
    )
    model = GPT2(GPT2LMHeadModel(config).eval(), bytes_only)
    wanted = "aé😀漢 b😀"
    ids = bytes_only(wanted).input_ids
    plan = iter([*ids, *ids[:3]])  # the last character is cut in the middle

    class Planned(HuggingFace):
        def __init__(self, network: Any, *rest: Any) -> None:
            super().__init__(network)

        def join(self, prompts: Any, room: Any, names: Any = None) -> torch.Tensor:
            return self.step(torch.zeros(1))

        def step(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.tensor([next(plan)]), len(bytes_only)).float()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aigc_sdk_gpt2.decoding.batch.engine_for", Planned)
        chunks = [each.text for each in model.stream("x", temperature=0.0, max_new_tokens=len(ids) + 3)]
    assert "".join(chunks) == wanted + "aé"
    assert all("�" not in each for each in chunks[:-1])


def test_streamed_chunks_come_one_by_one(model: GPT2) -> None:
    steps: list[int] = []
    stream = model.stream("hello", seed=1, max_new_tokens=20, on_step=lambda step: steps.append(step.index))
    next(stream)
    assert len(steps) < 10


def test_an_overflow_says_by_how_much_and_left_truncation_is_asked_for(model: GPT2) -> None:
    long = "hello world " * 40
    count = len(tokenizer(long).input_ids)
    with pytest.raises(ContextOverflow, match="truncate='left'") as caught:
        model.stream(long, max_new_tokens=10)
    assert caught.value.excess == count + 10 - CONTEXT
    [made] = model.generate(long, temperature=0.0, max_new_tokens=10, truncate="left")
    short = tokenizer.decode(tokenizer(long).input_ids[-(CONTEXT - 10) :])
    assert model.generate(short, temperature=0.0, max_new_tokens=10) == [made]
    with pytest.raises(OptionError, match="max_new_tokens"):
        model.stream("hello", max_new_tokens=CONTEXT)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_tokens": 3}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"truncate": "right"}, "truncate"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, "min_new_tokens"),
    ],
)
def test_bad_options_are_refused_and_named(model: GPT2, options: dict[str, Any], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        model.stream("hello", **options)
    assert caught.value.field == field


def test_weights_that_compute_nan_are_an_error_and_no_text(model: GPT2) -> None:
    with torch.no_grad():
        model.network.lm_head.weight[:] = torch.nan
    with pytest.raises(AigcError, match="NaN"):
        model.generate("hello", max_new_tokens=4)


def test_no_prompt_starts_from_the_begin_token(model: GPT2) -> None:
    [made] = model.generate(seed=1, max_new_tokens=5)
    assert made.origin["prompt"] is None
    assert [made] == model.generate(None, seed=1, max_new_tokens=5)


def test_bfloat16_is_computed_when_asked_for(model: GPT2, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    half = GPT2.open(tmp_path / "model", device="cpu", dtype="bfloat16")
    assert half.network.dtype == torch.bfloat16
    assert half.generate("hello", seed=1, max_new_tokens=5)[0].origin["dtype"] == "bfloat16"
    with pytest.raises(OptionError, match="dtype"):
        GPT2.open(tmp_path / "model", device="cpu", dtype="float64")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_a_float64_reference(kind: str) -> None:
    net = network(kind)
    texts, prefixes = ["the quick brown fox", "ünï", "a"], ["hello ", "the lazy dog; ", "world"]
    exact = network(kind).double()
    for given in (None, prefixes):
        scores = GPT2(net, tokenizer).score(texts, given)
        for index, (text, score) in enumerate(zip(texts, scores, strict=True)):
            head = [0] if given is None else tokenizer(given[index]).input_ids
            tail = tokenizer(text).input_ids
            with torch.no_grad():
                logits = exact(torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(tail)[:, None])[:, 0]
            assert score.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
            assert score.logprob == pytest.approx(float(expected.sum()), abs=1e-3)
            assert "".join(score.tokens) == text or "�" in "".join(score.tokens)


def test_texts_that_cannot_be_scored_are_refused(model: GPT2) -> None:
    with pytest.raises(PromptError):
        model.score([""])
    with pytest.raises(ContextOverflow):
        model.score(["hello world " * 60])
    with pytest.raises(InputError, match="prefixes"):
        model.score(["a", "b"], ["c"])


def test_greedy_choices_do_not_depend_on_the_threads_of_the_caller(model: GPT2) -> None:
    with torch.no_grad():
        made = model.generate("hello", temperature=0.0, max_new_tokens=4)
    with torch.enable_grad():
        assert model.generate("hello", temperature=0.0, max_new_tokens=4) == made


def test_what_a_tokenizer_was_last_used_for_changes_nothing(model: GPT2) -> None:
    expected = model.generate(PROMPTS, temperature=0.0, max_new_tokens=8), model.score(PROMPTS)
    model.tokenizer.backend_tokenizer.enable_padding()
    model.tokenizer.backend_tokenizer.enable_truncation(3)
    assert (model.generate(PROMPTS, temperature=0.0, max_new_tokens=8), model.score(PROMPTS)) == expected


def test_samples_of_one_prompt_read_it_once(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Watched(PlainGPT2):
        def __init__(self, network: Any, *rest: Any) -> None:
            super().__init__(network)

        def join(self, prompts: Any, room: Any, names: Any = None) -> torch.Tensor:
            read.append(len(prompts))
            return super().join(prompts, room, names)

    expected = [model.generate("hello", seed=5 + index, max_new_tokens=8)[0] for index in range(4)]
    monkeypatch.setattr("aigc_sdk_gpt2.decoding.batch.engine_for", Watched)
    assert model.generate("hello", n=4, seed=5, max_new_tokens=8) == expected
    assert read == [1]
