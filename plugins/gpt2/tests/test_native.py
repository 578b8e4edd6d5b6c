"""GPT-2 on compiled kernels beside transformers and the engine in plain torch."""

import lzma
from importlib.resources import files

import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import aigc_sdk
from aigc_sdk.adapters import Adapters, LoRA
from aigc_sdk.errors import InputError, MissingDependency, NotOffered, OptionError
from aigc_sdk_gpt2.engines import native
from aigc_sdk_gpt2.engines.native import NativeGPT2, packed
from aigc_sdk_gpt2.engines.plain import PlainGPT2

needs_kernels = pytest.mark.skipif(not native.available(), reason="aigc-sdk-kernels is not installed or not compiled")
TINY = {"n_layer": 2, "n_head": 3, "n_embd": 36, "vocab_size": 101, "n_positions": 64}
MIDDLE = {"n_layer": 6, "n_head": 6, "n_embd": 384, "vocab_size": 5003, "n_positions": 256}


def made(sizes, *, tied=True, dtype=torch.float32, **more):
    """A GPT-2 of random weights, large enough for its logits to lie apart."""
    torch.manual_seed(3)
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, tie_word_embeddings=tied, **more)
    network = GPT2LMHeadModel(config).eval()
    for each in network.parameters():
        torch.nn.init.normal_(each, std=0.08) if each.dim() > 1 else each.data.add_(torch.randn_like(each) * 0.1)
    return network.to(dtype)


def prompts(vocabulary, *lengths, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randint(vocabulary, (length,), generator=rng).tolist() for length in lengths]


def greedy(engine, given, steps):
    logits = engine.join(given, [steps] * len(given))
    found = []
    for _ in range(steps):
        found.append(logits.argmax(-1))
        logits = engine.step(found[-1])
    return torch.stack(found, 1)


@needs_kernels
@pytest.mark.parametrize(
    ("sizes", "lengths", "steps", "tied"),
    [(TINY, (1, 5, 40), 24, True), (TINY, (1, 5, 40), 24, False), (MIDDLE, (3, 64, 100), 24, True)],
)
def test_float32_gives_the_greedy_tokens_of_transformers(sizes, lengths, steps, tied):
    network = made(sizes, tied=tied)
    given = prompts(sizes["vocab_size"], *lengths)
    found = greedy(NativeGPT2(network, packed(network, "float32")), given, steps)
    for prompt, tokens in zip(given, found, strict=True):
        whole = network.generate(
            torch.tensor([prompt]), max_new_tokens=steps, min_new_tokens=steps, do_sample=False, eos_token_id=None
        )
        assert tokens.tolist() == whole[0, len(prompt) :].tolist()


@needs_kernels
@pytest.mark.parametrize(
    "changed", [{"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True}, {"n_inner": 50}]
)
def test_every_setting_of_a_plain_gpt2_is_followed(changed):
    network = made(TINY, **changed)
    [prompt] = prompts(101, 30)
    with torch.no_grad():
        expected = network(torch.tensor([prompt])).logits[0]
    engine = NativeGPT2(network, packed(network, "float32"))
    engine.join([prompt[:1]], [40])
    torch.testing.assert_close(engine.extend([prompt[1:]]), expected[1:], rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize(("precision", "agree"), [("bfloat16", 0.95), ("int8", 0.85)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_precisions_stay_near_float32(precision, agree, dtype):
    network = made(MIDDLE, dtype=dtype)
    given = prompts(5003, 200, 256, 100)
    exact = network.float()
    with torch.no_grad():
        expected = torch.cat([exact(torch.tensor([each])).logits[0] for each in given])
    network = network.to(dtype)
    engine = NativeGPT2(network, packed(network, precision))
    first = engine.join([each[:1] for each in given], [255] * 3)
    rest = engine.extend([each[1:] for each in given])
    parts = rest.split([len(each) - 1 for each in given])
    found = torch.cat([part for pair in zip(first.split(1), parts, strict=True) for part in pair])
    assert (found.argmax(-1) == expected.argmax(-1)).float().mean() > agree
    assert (found - expected).abs().mean() < 0.05 * expected.std()


@needs_kernels
@pytest.mark.parametrize(("precision", "agree", "worse"), [("bfloat16", 0.99, 0.002), ("int8", 0.97, 0.01)])
def test_narrow_precisions_keep_the_choices_and_the_perplexity_of_a_trained_model(precision, agree, worse):
    model = aigc_sdk.load("gpt2")
    text = lzma.decompress(files("aigc_sdk.training").joinpath("text/kjv.txt.xz").read_bytes()).decode()
    tokens = torch.tensor(model.tokenizer(text[:40_000])["input_ids"][: 24 * 256]).view(24, 256)
    found = {}
    for each in ("float32", precision):
        engine = NativeGPT2(model.network, packed(model.network, each))
        engine.join([row[:1].tolist() for row in tokens], [255] * len(tokens))
        found[each] = engine.extend([row[1:].tolist() for row in tokens]).view(24, 255, -1)
    loss = {
        each: F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 2:].flatten()) for each, logits in found.items()
    }
    assert (found[precision].argmax(-1) == found["float32"].argmax(-1)).float().mean() >= agree
    assert abs((loss[precision] - loss["float32"]).exp() - 1) <= worse


@needs_kernels
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_calls_gives_what_the_engine_in_torch_gives(seed):
    network = made(TINY)
    ours, theirs = NativeGPT2(network, packed(network, "float32")), PlainGPT2(network)
    rng = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    for turn in range(60):
        count, kind = len(ours.lengths), draw(0, 5) if ours.lengths else 0
        if kind == 0 and count < 6:
            new = prompts(101, *[draw(1, 20) for _ in range(draw(1, 3))], seed=100 * seed + turn)
            room = [draw(0, 20) for _ in new]
            results = [each.join(new, room) for each in (ours, theirs)]
        elif kind == 1 and max(ours.lengths) < 64:
            tokens = torch.randint(101, (count,), generator=rng)
            results = [each.step(tokens) for each in (ours, theirs)]
        elif kind == 2:
            counts = [draw(0, length) for length in ours.lengths]
            results = [each.rewind(counts) for each in (ours, theirs)]
        elif kind == 3:
            rows = [draw(0, count) for _ in range(draw(1, 5))]
            results = [each.select(rows) for each in (ours, theirs)]
        else:
            more = prompts(101, *[min(draw(0, 6), 64 - length) for length in ours.lengths], seed=turn)
            results = [each.extend(more, turn % 2 == 0) for each in (ours, theirs)]
        assert ours.lengths == theirs.lengths
        if results[0] is not None:
            torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_no_bit_depends_on_the_batch_or_on_the_number_of_threads(precision):
    network = made(MIDDLE)
    weights = packed(network, precision)
    given = prompts(5003, 9, 40, 2, 17, 33)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = greedy_logits(NativeGPT2(network, weights), given)
        torch.set_num_threads(1)
        for row, each in enumerate(given):
            assert torch.equal(greedy_logits(NativeGPT2(network, weights), [each])[:, 0], together[:, row])
    finally:
        torch.set_num_threads(before)


def greedy_logits(engine, given):
    made = [engine.join(given, [8] * len(given))]
    for _ in range(6):
        made.append(engine.step(made[-1].argmax(-1)))
    return torch.stack(made)


@needs_kernels
def test_only_an_unchanged_gpt2_without_adapters_is_run():
    network = made(TINY)
    assert native.runs(network)
    hook = network.transformer.h[0].register_forward_hook(lambda *_: None)
    assert not native.runs(network)
    hook.remove()
    Adapters.of(network).add("mine", LoRA(rank=2))
    assert native.runs(network)
    assert native.runs(network, [None, None])
    assert not native.runs(network, "mine")
    assert not native.runs(network, [None, "mine"])
    assert not native.runs(made(TINY, activation_function="relu"))
    llama = LlamaConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)
    assert not native.runs(LlamaForCausalLM(llama))
    with pytest.raises(NotOffered, match="another engine"):
        packed(LlamaForCausalLM(llama), "int8")


@needs_kernels
def test_an_adapter_cannot_join():
    network = made(TINY)
    engine = NativeGPT2(network, packed(network, "float32"))
    with pytest.raises(NotOffered, match="adapter"):
        engine.join([[1]], [4], "mine")
    assert engine.lengths == []


@needs_kernels
def test_a_join_that_fails_leaves_the_rows_as_they_were():
    network = made(TINY)
    engine = NativeGPT2(network, packed(network, "float32"))
    engine.join([[1, 2]], [4])
    for wrong in ([[3], []], [[3], [101]], [[3] * 65]):
        with pytest.raises(InputError):
            engine.join(wrong, [4] * len(wrong))
        assert engine.lengths == [2]
    with torch.no_grad():
        expected = network(torch.tensor([[1, 2, 3]])).logits[:, -1]
    torch.testing.assert_close(engine.step(torch.tensor([3])), expected, rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize(("field", "given"), [("precision", "int4"), ("path", "fast")])
def test_a_precision_or_path_that_is_not_there_is_refused_by_name(field, given):
    with pytest.raises(OptionError) as caught:
        packed(made(TINY), **{"precision": "int8", field: given})
    assert caught.value.field == field


@needs_kernels
def test_the_version_names_distribution_and_instructions():
    assert native.version().split()[0] == "aigc-sdk-kernels"
    assert native.version().split()[2] in native.kernels().paths()


class Broken:
    """An entry point whose package cannot be imported."""

    name, value, dist = "cpu", "gone:kernels", None

    def load(self):
        raise SyntaxError("half written")


@pytest.mark.parametrize(
    ("entries", "says"), [([], "pip install aigc-sdk-kernels"), ([Broken()], "SyntaxError: half written")]
)
def test_without_kernels_it_says_why_and_runs_nothing(entries, says, monkeypatch):
    monkeypatch.setattr(native, "entry_points", lambda group: entries)
    native._found.cache_clear()
    native._entry.cache_clear()
    try:
        assert not native.available()
        assert not native.runs(made(TINY))
        with pytest.raises(MissingDependency, match=says):
            packed(made(TINY), "int8")
    finally:
        monkeypatch.undo()
        native._found.cache_clear()
        native._entry.cache_clear()
