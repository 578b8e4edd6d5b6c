"""Every family of decoders: the tokens of transformers, in batches whose rows join, leave, fork and forget."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import aigc_sdk
from aigc_sdk.errors import InputError, NotOffered, OptionError
from aigc_sdk_gpt2 import backend
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.engines.engine import Engine, engine_for
from aigc_sdk_gpt2.engines.hugging import HuggingFace
from aigc_sdk_gpt2.engines.plain import PlainGPT2
from aigc_sdk_gpt2.engines.precision import Packed
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.score import hidden, logprobs

CONTEXT = 96
tokenizer = train_tokenizer(["hello world, the quick brown fox jumps over the lazy dog; ünïcödé 😀 "] * 4, 320, CONTEXT)
COMMON: dict[str, Any] = {
    "vocab_size": len(tokenizer),
    "bos_token_id": 0,
    "eos_token_id": None,
    "pad_token_id": None,
    "initializer_range": 0.3,  # keeps greedy choices far from ties
}
LAYERS: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES: dict[str, Any] = {**LAYERS, "intermediate_size": 64, "max_position_embeddings": CONTEXT}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2}
STATE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
FALCON: dict[str, Any] = {**LAYERS, "max_position_embeddings": CONTEXT}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}),
    "gpt2 untied": (
        "GPT2",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, "tie_word_embeddings": False},
    ),
    "gpt_neo": (
        "GPTNeo",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
            "num_heads": 4,
            "window_size": 6,
            "max_position_embeddings": CONTEXT,
        },
    ),
    "gpt_neox": ("GPTNeoX", SIZES),
    "llama": ("Llama", GROUPED),
    "llama tied": ("Llama", {**GROUPED, "tie_word_embeddings": True}),
    "mistral, short window": ("Mistral", {**GROUPED, "sliding_window": 6}),
    "qwen2, some layers with windows": (
        "Qwen2",
        {**GROUPED, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 8}),
    "gemma": ("Gemma", {**SIZES, "num_key_value_heads": 1, "head_dim": 16}),
    "gemma2, short window": (
        "Gemma2",
        {**GROUPED, "head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 16},
    ),
    "phi": ("Phi", SIZES),
    "phi3, short window": ("Phi3", {**GROUPED, "sliding_window": 6}),
    "olmo": ("Olmo", SIZES),
    "olmo2": ("Olmo2", SIZES),
    "falcon, one head of keys": ("Falcon", {**FALCON, "multi_query": True}),
    "falcon, alibi": ("Falcon", {**FALCON, "multi_query": False, "alibi": True}),
    "mamba": ("Mamba", STATE),
    "mamba2": ("Mamba2", {**STATE, "num_heads": 4, "head_dim": 16, "n_groups": 1}),
    "falcon_mamba": ("FalconMamba", STATE),
}
STATES = ("mamba", "mamba2", "falcon_mamba")
PROMPTS = ["hello world", "the quick brown fox jumps over the lazy dog, twice", "a", "ünïcödé 😀 and more of it"]


@cache
def network(kind: str) -> Any:
    name, sizes = KINDS[kind]
    torch.manual_seed(3)
    config = getattr(transformers, f"{name}Config")(**COMMON, **sizes)
    head = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
    return getattr(transformers, head)(config).eval()


@torch.no_grad()
def after(net: Any, row: list[int]) -> torch.Tensor:
    """transformers' own logits after every token of one sequence, read at once."""
    logits: torch.Tensor = net(input_ids=torch.tensor([row]), use_cache=False).logits[0].float()
    return logits


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_are_those_of_transformers_alone_and_in_a_batch(kind: str) -> None:
    net = network(kind)
    model, expected = GPT2(net, tokenizer), []
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer(prompt).input_ids])
        made = net.generate(ids, max_new_tokens=16, do_sample=False, pad_token_id=0, eos_token_id=None)
        expected.append(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))
    options: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 16}
    assert [model.generate(prompt, **options)[0].text for prompt in PROMPTS[1:3]] == expected[1:3]
    assert [each.text for each in model.generate(PROMPTS, **options)] == expected
    assert [each.text for each in model.generate(PROMPTS, max_batch_size=2, **options)] == expected


class Walk:
    """An engine, and the sequences that its rows hold, through random operations."""

    def __init__(self, engine: Engine, net: Any, seed: int) -> None:
        self.engine, self.net, self.rng = engine, net, random.Random(seed)
        self.rows: list[list[int]] = []

    def some(self, least: int, most: int) -> list[int]:
        return [self.rng.randrange(len(tokenizer)) for _ in range(self.rng.randint(least, most))]

    def join(self) -> None:
        new = [self.some(1, 20) for _ in range(self.rng.randint(1, 3))]
        made = self.engine.join(new, [self.rng.randint(1, 9) for _ in new])
        self.rows += new
        self.same(made, [after(self.net, row)[-1:] for row in new])

    def step(self) -> None:
        tokens = [self.some(1, 1)[0] for _ in self.rows]
        self.rows = [[*row, token] for row, token in zip(self.rows, tokens, strict=True)]
        self.same(self.engine.step(torch.tensor(tokens)), [after(self.net, row)[-1:] for row in self.rows])

    def extend(self) -> None:
        more, last = [self.some(0, 4) for _ in self.rows], self.rng.random() < 0.5
        more[0] = more[0] or [1]
        made = self.engine.extend(more, last=last)
        self.rows = [row + new for row, new in zip(self.rows, more, strict=True)]
        asked = [min(1, len(new)) if last else len(new) for new in more]
        whole = [after(self.net, row) for row in self.rows]
        self.same(made, [logits[len(logits) - count :] for logits, count in zip(whole, asked, strict=True)])

    def rewind(self) -> None:
        counts = [self.rng.randint(0, min(3, len(row) - 1)) for row in self.rows]
        if self.engine.rewinds:
            self.engine.rewind(counts)
            self.rows = [row[: len(row) - count] for row, count in zip(self.rows, counts, strict=True)]

    def select(self) -> None:
        kept = [self.rng.randrange(len(self.rows)) for _ in range(self.rng.randint(1, 5))]
        self.engine.select(kept)
        self.rows = [list(self.rows[row]) for row in kept]

    def same(self, made: torch.Tensor, expected: list[torch.Tensor]) -> None:
        assert torch.allclose(made, torch.cat(expected), atol=1e-3)
        assert self.engine.lengths == list(map(len, self.rows))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_join_leave_fork_and_forget_have_the_logits_of_each_alone(kind: str) -> None:
    net = network(kind)
    walk = Walk(engine_for(net, None, "torch"), net, seed=1)
    walk.join()
    for _ in range(16):
        getattr(walk, walk.rng.choice(["join", "step", "extend", "rewind", "select"]))()
        if max(map(len, walk.rows)) > 60:
            walk.engine.select([0])
            walk.rows = walk.rows[:1]
            break
    walk.step()


def test_gpt2_through_the_librarys_own_pass_walks_the_same_way() -> None:
    walk = Walk(HuggingFace(network("gpt2")), network("gpt2"), seed=2)
    for operation in ("join", "extend", "rewind", "join", "select", "extend", "step", "rewind", "step"):
        getattr(walk, operation)()


@pytest.mark.parametrize("kind", STATES)
def test_a_state_cannot_forget_and_guesses_are_refused_by_name(kind: str) -> None:
    engine = engine_for(network(kind))
    engine.join([[1, 2, 3]], [2])
    engine.rewind([0])
    with pytest.raises(NotOffered, match="cannot forget"):
        engine.rewind([1])
    with pytest.raises(OptionError, match="speculate"):
        GPT2(network(kind), tokenizer).generate("hello", speculate=4)


def test_a_row_cannot_forget_all_of_itself_or_more() -> None:
    engine = engine_for(network("llama"))
    engine.join([[1, 2, 3]], [2])
    for counts in ([3], [4], [-1], [1, 1]):
        with pytest.raises(InputError):
            engine.rewind(counts)


def test_a_prompt_without_tokens_is_refused() -> None:
    for kind in ("gpt2", "llama", "mamba"):
        with pytest.raises(InputError, match="without tokens"):
            engine_for(network(kind), None, "torch").join([[1], []], [2, 2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_narrow_precisions_stay_near_and_their_rows_apart(kind: str, precision: str) -> None:
    whole = network(kind)
    net = type(whole)(whole.config).eval()
    net.load_state_dict(whole.state_dict())
    net.to(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    Packed.choose(net, "int8" if precision == "int8" else "")
    rows = [tokenizer(each).input_ids for each in PROMPTS]
    expected = torch.stack([after(whole, row)[-1] for row in rows])
    engine = engine_for(net, None, "torch")
    made = engine.join(rows, [4] * len(rows)).float()
    assert torch.nn.functional.cosine_similarity(made, expected).min() > 0.98
    assert not torch.equal(made, expected)
    alone = engine_for(net, None, "torch").join(rows[1:2], [4]).float()
    assert torch.nn.functional.cosine_similarity(made[1:2], alone) > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_vectors_are_those_of_transformers_without_filling(kind: str) -> None:
    net = network(kind)
    rows = [tokenizer(each).input_ids for each in PROMPTS if len(tokenizer(each).input_ids) > 2]
    for row, made in zip(rows, logprobs(net, [(row, 2) for row in rows]), strict=True):
        expected = after(net, row).log_softmax(-1)[1:-1].gather(1, torch.tensor(row[2:])[:, None])[:, 0]
        assert torch.allclose(made, expected, atol=1e-4)
    for row, vectors in zip(rows, hidden(net, rows), strict=True):
        with torch.no_grad():
            expected = net.base_model(input_ids=torch.tensor([row]), use_cache=False)[0][0]
        assert torch.allclose(vectors, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["falcon, one head of keys", "mamba", "olmo2"])
def test_a_folder_of_transformers_opens(kind: str, tmp_path: Path) -> None:
    network(kind).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = aigc_sdk.load(tmp_path)
    assert isinstance(model, GPT2)
    assert network(kind).config.model_type in backend.opens
    assert model.generate("hello", temperature=0.0, max_new_tokens=3) == GPT2(network(kind), tokenizer).generate(
        "hello", temperature=0.0, max_new_tokens=3
    )


def test_a_model_that_mixes_states_with_keys_is_refused_by_name() -> None:
    config = transformers.BambaConfig(
        **{**COMMON, **GROUPED, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "attn_layer_indices": [1]}
    )
    with pytest.raises(NotOffered, match="bamba"):
        engine_for(transformers.BambaForCausalLM(config).eval())


def test_only_gpt2_runs_without_the_librarys_pass() -> None:
    assert isinstance(engine_for(network("gpt2"), None, "torch"), PlainGPT2)
    assert isinstance(engine_for(network("llama"), None, "torch"), HuggingFace)
