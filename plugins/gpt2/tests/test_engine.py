"""Which engine runs, what it is called, and that all of them compute the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import aigc_sdk
from aigc_sdk.adapters import Adapters, LoRA, PromptTuning
from aigc_sdk.errors import MissingDependency, NotOffered, OptionError
from aigc_sdk_gpt2.engines import native, plain
from aigc_sdk_gpt2.engines.compiled import CompiledGPT2
from aigc_sdk_gpt2.engines.engine import Engine, cache_bytes, engine_for
from aigc_sdk_gpt2.engines.hugging import HuggingFace
from aigc_sdk_gpt2.engines.plain import PlainGPT2
from aigc_sdk_gpt2.engines.precision import Packed

TINY = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 211}
needs_kernels = pytest.mark.skipif(not native.available(), reason="aigc-sdk-kernels is not installed or not compiled")


def network() -> Any:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**TINY, bos_token_id=0, eos_token_id=0, initializer_range=0.3)).eval()


def llama() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=99, num_key_value_heads=1, **sizes)).eval()


def walk(engine: Engine) -> list[torch.Tensor]:
    """The logits of a batch that grows, shrinks, forks and forgets."""
    made = [engine.join([[1, 2, 3], [4] * 9, [7, 8]], [9, 9, 9])]
    made.append(engine.step(torch.tensor([5, 6, 7])))
    engine.select([2, 0])
    made.append(engine.step(torch.tensor([5, 6])))
    made.append(engine.join([[9, 9, 1]], [60]))
    made.append(engine.step(torch.tensor([5, 6, 2])))
    engine.select([0, 0, 1, 2])
    made.append(engine.extend([[1, 2], [], [3], [4, 5, 6]]))
    engine.rewind([1, 0, 0, 2])
    made.append(engine.step(torch.tensor([5, 6, 2, 3])))
    return made


def same(one: Engine, other: Engine) -> None:
    for made, expected in zip(walk(one), walk(other), strict=True):
        assert torch.allclose(made, expected, atol=1e-4)


@needs_kernels
def test_the_kernels_run_where_they_are_and_plain_torch_when_it_is_asked_for() -> None:
    net = network()
    assert isinstance(engine_for(net), native.NativeGPT2)
    assert isinstance(engine_for(net, None, "kernels"), native.NativeGPT2)
    assert isinstance(engine_for(net, None, "torch"), PlainGPT2)
    same(engine_for(net), engine_for(net, None, "torch"))


@needs_kernels
def test_the_kernels_weights_are_packed_once_and_again_when_they_change() -> None:
    net = network()
    first: Any = engine_for(net)
    assert engine_for(net).weights is first.weights  # type: ignore[attr-defined]
    with torch.no_grad():
        net.transformer.h[0].mlp.c_fc.weight.add_(0.5)
    same(engine_for(net), engine_for(net, None, "torch"))


def test_without_kernels_plain_torch_runs_and_kernels_that_are_asked_for_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "_found", lambda: (None, "no package that offers them is installed"))
    assert type(engine_for(network())) is PlainGPT2
    with pytest.raises(MissingDependency, match="no package that offers them"):
        aigc_sdk.load("gpt2").generate("a", engine="kernels")


def test_an_engine_that_cannot_run_a_model_is_refused_at_the_call() -> None:
    for net, names in ((llama(), None), (network(), "own")):
        if names:
            Adapters.of(net).add(names, LoRA(rank=2))
        with pytest.raises(OptionError, match="engine='compiled'"):
            engine_for(net, names, "compiled")
    with pytest.raises(OptionError, match="engine='compiled'"):
        aigc_sdk.load("gpt2", device="cpu", dtype="int8").generate("a", engine="compiled")
    with pytest.raises(OptionError, match="engine"):
        aigc_sdk.load("gpt2").generate("a", engine="fastest")


def test_an_origin_names_the_engine_and_both_write_the_same_text() -> None:
    model = aigc_sdk.load("gpt2", device="cpu")
    options: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 24}
    [plain] = model.generate("In the beginning", engine="torch", **options)
    [fastest] = model.generate("In the beginning", **options)
    assert plain.origin["model"]["engine"] == "torch"
    assert fastest.origin["model"]["engine"].startswith("kernels " if native.available() else "torch")
    assert plain.text == fastest.text


def test_an_adapter_runs_in_plain_torch_and_virtual_tokens_in_the_library() -> None:
    net = network()
    Adapters.of(net).add("low", LoRA(rank=2))
    Adapters.of(net).add("virtual", PromptTuning(tokens=2))
    assert type(engine_for(net, ["low", None])) is PlainGPT2
    assert type(engine_for(net, ["low", "virtual"])) is HuggingFace
    with pytest.raises(NotOffered, match="virtual tokens"):
        engine_for(net, ["low"], "torch").join([[1, 2]], [1], "virtual")


def test_rows_with_different_virtual_tokens_join_leave_and_forget() -> None:
    """Each has the logits that it has alone."""
    net = network()
    for name, tokens in (("two", 2), ("five", 5)):
        Adapters.of(net).add(name, PromptTuning(tokens=tokens), seed=tokens)
    names: list[str | None] = ["two", None, "five"]
    engine = engine_for(net, names)
    engine.join([[1, 2, 3], [4, 5]], [9, 9], names[:2])
    engine.join([[6]], [9], "five")
    engine.extend([[7], [], [8, 9]])
    engine.rewind([1, 0, 0])
    for keep in ([2, 0, 1], [1, 2], [0]):
        engine.select(keep)
        logits = engine.step(torch.tensor([11] * len(keep)))
        for row, name in enumerate(engine.names):
            alone = engine_for(net, name or None)
            grown = {"two": [1, 2, 3], None: [4, 5], "five": [6, 8, 9]}[name]
            steps = engine.lengths[row] - len(grown)
            found = alone.join([grown + [11] * steps], [1], name)
            assert torch.allclose(logits[row], found[0], atol=1e-4)


def test_the_bytes_of_a_token_count_shared_heads_and_a_state_has_none() -> None:
    assert cache_bytes(network()) == 2 * 2 * 32 * 4
    assert cache_bytes(llama()) == 2 * 1 * 8 * 4
    assert cache_bytes(llama().bfloat16()) == 2 * 1 * 8 * 2


def test_int8_keeps_keys_and_values_no_wider_than_its_products_are_exact() -> None:
    kept = Packed("int8").cache_dtype(torch.float32)
    assert kept == (torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32)
    assert Packed().cache_dtype(torch.float32) == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alike", [True, False])
def test_attention_by_keys_times_query_is_torchs_own(
    alike: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, kept = torch.randn(3, 2, 1, 16, generator=generator), torch.randn(2, 3, 2, 40, 16, generator=generator)
    keys, values = kept.to(dtype)[:, :, :, :30]
    seen = None if alike else (torch.arange(30) < torch.tensor([[1], [17], [30]]))[:, None, None]
    made = []
    for turned in (False, True):
        monkeypatch.setattr(plain, "turns", lambda _, turned=turned: turned)
        made.append(plain.attend_once(query.to(dtype), keys, values, seen, 0.25).float())
    assert made[0].shape == (3, 32)
    assert (made[1] - made[0]).abs().max() < (1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.slow
def test_a_compiled_step_computes_the_same_and_a_second_call_compiles_nothing() -> None:
    net = network()
    same(CompiledGPT2(net), PlainGPT2(net))
    frames = torch._dynamo.utils.counters["frames"]["total"]
    same(CompiledGPT2(net), PlainGPT2(net))
    assert torch._dynamo.utils.counters["frames"]["total"] == frames


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("choice", ["torch", "compiled"])
def test_engines_on_cuda_compute_what_the_cpu_does(choice: Any) -> None:
    expected = walk(PlainGPT2(network()))
    engine = engine_for(network().to("cuda"), None, choice)
    for made, wanted in zip(walk(engine), expected, strict=True):
        assert torch.allclose(made.cpu(), wanted, atol=1e-3)
