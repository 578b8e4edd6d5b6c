"""Precisions: what is computed, what it costs in quality, what is packed, saved and refused."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import aigc_sdk
from aigc_sdk import runtime
from aigc_sdk.adapters.layers import without_hooks
from aigc_sdk.errors import ContextOverflow, DeviceError, OptionError, PromptError
from aigc_sdk.training.corpus import sample_text, split
from aigc_sdk_gpt2.engines import precision
from aigc_sdk_gpt2.engines.plain import PlainGPT2
from aigc_sdk_gpt2.engines.precision import WAYS, Packed, Sums, eight_bit, products, sums
from aigc_sdk_gpt2.model import GPT2

TINY = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 211}


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(**TINY, bos_token_id=0, eos_token_id=0, initializer_range=0.3)).eval()


def emulated(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The same quantisation in float64, whose sums of such integers are exact."""
    most = sums(torch.backends.quantized.engine).largest
    scale = weight.abs().amax(1) / most
    largest = x.abs().amax(1, keepdim=True)
    whole = (127 * x / largest).round().double() @ (weight / scale[:, None]).round().double().T
    return whole * scale.double() * largest.double() / 127


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
@pytest.mark.parametrize(("out", "into"), [(64, 32), (211, 77), (96, 768)])
def test_int8_products_are_those_of_the_same_quantisation_in_float64(rows: int, out: int, into: int) -> None:
    rng = torch.Generator().manual_seed(rows)
    weight, x = torch.randn(out, into, generator=rng), 5 * torch.randn(rows, into, generator=rng)
    bias = torch.randn(out, generator=rng)
    expected = emulated(weight, x)
    for given, added in ((None, 0.0), (bias, bias.double())):
        made = eight_bit(weight)(x, given).double()
        assert torch.allclose(made, expected + added, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_int8_rows_do_not_depend_on_each_other_and_rows_of_zeros_stay() -> None:
    rng = torch.Generator().manual_seed(0)
    product, x = eight_bit(torch.randn(50, 40, generator=rng)), torch.randn(9, 40, generator=rng)
    x[3] = 0
    x[4] *= 1e4  # one scale for all rows would drown the others
    made = product(x, None)
    assert torch.equal(made[3], torch.zeros(50))
    for row in range(9):
        assert torch.equal(product(x[row : row + 1], None)[0], made[row])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("out", "into"), [(176, 704), (600, 768)])
def test_int8_rows_are_the_same_to_the_bit_one_by_one_two_by_two_and_together(
    way: precision.Way, out: int, into: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows and many have each the way that is fastest here; all that are exact here make the same."""
    largest = sums(torch.backends.quantized.engine).largest
    if precision.seconds(way, largest) == math.inf:
        pytest.skip("not exact on this processor")
    rng = torch.Generator().manual_seed(into)
    weight, x = torch.randn(out, into, generator=rng), torch.randn(40, into, generator=rng)
    bias = torch.randn(out, generator=rng)
    usual = eight_bit(weight)
    monkeypatch.setattr(precision, "sums", lambda engine: Sums(largest, way, way))
    product = eight_bit(weight)
    for added in (None, bias):
        together = product(x, added)
        assert torch.equal(usual(x, added), together)
        assert torch.equal(torch.cat([usual(row[None], added) for row in x]), together)
        assert torch.equal(torch.cat([product(row[None], added) for row in x]), together)
        assert torch.equal(torch.cat([product(pair, added) for pair in x.view(20, 2, into)]), together)
    assert product(x[:0], bias).shape == (0, out)


def test_a_way_that_torch_does_not_have_or_that_is_slow_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.quantized.engine
    others = [each for each in torch.backends.quantized.supported_engines if each not in ("none", "fbgemm", "x86")]
    assert others
    try:
        for each in others:
            torch.backends.quantized.engine = each
            assert precision._fbgemm not in sums(each)
            assert torch.allclose(eight_bit(torch.eye(8))(torch.ones(1, 8), None), torch.ones(1, 8))
    finally:
        torch.backends.quantized.engine = before

    def reference(whole: torch.Tensor, scale: torch.Tensor) -> precision.Summed:
        def summed(levels: torch.Tensor) -> torch.Tensor:
            time.sleep(0.01)
            return levels @ whole.float().T * scale

        return summed

    monkeypatch.setattr(precision, "WAYS", (reference, precision._int_mm))
    assert sums.__wrapped__(before).many is precision._int_mm


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_int8_hides_no_value_that_is_not_finite(rows: int, value: float) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 64, generator=rng)
    x[0, 3] = value
    made = eight_bit(torch.randn(48, 64, generator=rng))(x, None)
    assert not made[0].isfinite().any()
    assert made[1:].isfinite().all()


EXTREME = """
import torch
from aigc_sdk_gpt2.engines.precision import eight_bit
torch.manual_seed(0)
for rows in (1, 40):
    weight = torch.where(torch.rand(64, 768) < 0.9, 1.0, -1.0)
    x = torch.where(torch.rand(rows, 768) < 0.9, 1.0, -1.0)
    assert torch.allclose(eight_bit(weight)(x, None), x @ weight.T, rtol=1e-5, atol=1e-3)
print("exact")
"""


def test_int8_sums_are_exact_without_vnni_too() -> None:
    """There, pairs of products are added in 16 bits, which the largest values would overflow."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", EXTREME], env=environment, capture_output=True, text=True)
    assert done.stdout == "exact\n", done.stderr


def test_int8_keeps_the_quality_of_the_default_model() -> None:
    """On text that it has not been trained on: perplexity within 1 %, and the likeliest token the same for 97 %."""
    held_out = split(sample_text())[1]
    texts = [held_out[start : start + 600] for start in range(0, 24_000, 600)]
    whole, narrow = aigc_sdk.load("gpt2", device="cpu"), aigc_sdk.load("gpt2", device="cpu", dtype="int8")
    assert isinstance(whole, GPT2)
    assert isinstance(narrow, GPT2)
    nats = [[value for each in model.score(texts) for value in each.logprobs] for model in (whole, narrow)]
    assert abs(np.exp(np.mean(nats[0]) - np.mean(nats[1])) - 1) < 0.01
    rows = list(whole.tokenizer(texts).input_ids)
    tops = []
    for model in (whole, narrow):
        engine = PlainGPT2(model.network)
        tops.append(engine.logits(engine.hidden(rows)).argmax(-1))
    assert len(tops[0]) > 5_000
    assert (tops[0] == tops[1]).float().mean() >= 0.97


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "auto"])
def test_an_origin_says_in_what_it_was_computed_and_replays(dtype: Any, tmp_path: Path) -> None:
    model = aigc_sdk.load("gpt2", device="cpu", dtype=dtype)
    [made] = model.generate("In the beginning", seed=1, max_new_tokens=6)
    assert made.origin["dtype"] == (runtime.precision("auto", "cpu") if dtype == "auto" else dtype)
    assert made.origin["model"]["engine"]
    made.save(tmp_path / "made.txt")
    again = aigc_sdk.replay(tmp_path / "made.txt")
    assert again.same, again.differences


def test_auto_takes_what_the_processor_computes_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for bfloat16, vnni, expected in ((True, True, "bfloat16"), (False, True, "int8"), (False, False, "float32")):
        monkeypatch.setattr(runtime, "fast_bfloat16", lambda device, fast=bfloat16: fast)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda there=vnni: there)
        assert runtime.precision("auto", "cpu") == expected
        assert runtime.precision("auto", "cuda") == ("bfloat16" if bfloat16 else "float32")


@pytest.mark.parametrize("dtype", ["int4", "float16", "", "INT8"])
def test_other_precisions_are_refused_with_those_that_there_are(dtype: Any) -> None:
    with pytest.raises(OptionError, match="use one of float32, bfloat16, int8, auto"):
        aigc_sdk.load("gpt2", dtype=dtype)


def test_int8_is_refused_elsewhere_than_on_a_cpu() -> None:
    with pytest.raises(OptionError, match="int8"):
        runtime.precision("int8", "cuda")
    with pytest.raises(DeviceError):
        aigc_sdk.load("gpt2", device="cpu", dtype="int8").to("cuda:99")


def test_an_int8_model_saves_its_whole_weights(tmp_path: Path) -> None:
    narrow = aigc_sdk.load("gpt2", device="cpu", dtype="int8")
    narrow.save(tmp_path / "saved")
    assert narrow.fingerprint() == aigc_sdk.load(tmp_path / "saved").fingerprint()
    assert narrow.fingerprint() == aigc_sdk.load("gpt2").fingerprint()


@pytest.mark.parametrize("precision", ["", "int8"])
def test_weights_are_packed_once_and_again_when_they_change(precision: str) -> None:
    net = network()
    Packed.choose(net, precision)
    first = Packed.of(net).product(net.lm_head.weight)
    assert Packed.of(net).product(net.lm_head.weight) is first
    before = PlainGPT2(net).join([[1, 2, 3]], [1])
    with torch.no_grad():
        for each in net.parameters():
            each.mul_(1.5)
    changed = PlainGPT2(net).join([[1, 2, 3]], [1])
    fresh = network()
    fresh.load_state_dict(net.state_dict())
    Packed.choose(fresh, precision)
    assert torch.equal(changed, PlainGPT2(fresh).join([[1, 2, 3]], [1]))
    assert not torch.allclose(changed, before)


def test_a_copy_of_a_network_packs_for_itself() -> None:
    net = network()
    Packed.choose(net, "int8")
    PlainGPT2(net)
    other: Any = without_hooks(net)
    assert Packed.of(other) is not Packed.of(net)
    assert Packed.of(other).precision == "int8"
    assert torch.equal(PlainGPT2(other).join([[1, 2]], [1]), PlainGPT2(net).join([[1, 2]], [1]))


def test_the_librarys_own_pass_multiplies_by_packed_weights_within_the_block_alone() -> None:
    net, ids = network(), torch.tensor([[1, 2, 3]])
    Packed.choose(net, "int8")
    with torch.no_grad():
        before = net(ids).logits
        with products(net):
            within = net(ids).logits
        after = net(ids).logits
    assert torch.equal(before, after)
    assert not torch.equal(before, within)
    assert torch.nn.functional.cosine_similarity(before, within, dim=-1).min() > 0.99


def test_vectors_are_float32_of_the_models_width_for_each_text() -> None:
    model = aigc_sdk.load("gpt2", device="cpu")
    assert isinstance(model, GPT2)
    texts = ["And God said, Let there be light", "And God said, Let there be lights", "x"]
    mean, last = model.embed(texts), model.embed(texts, pooling="last")
    assert mean.shape == last.shape == (3, model.network.config.n_embd)
    assert mean.dtype == np.float32
    assert np.allclose(mean[2], last[2], atol=1e-6)  # one token
    assert np.allclose(model.embed(texts[1])[0], mean[1], atol=1e-5)
    assert model.embed([]).shape == (0, model.network.config.n_embd)
    lengths = np.linalg.norm(mean, axis=1)
    near, far = mean[0] @ mean[1] / lengths[0] / lengths[1], mean[0] @ mean[2] / lengths[0] / lengths[2]
    assert near > far


def test_vectors_of_no_text_of_too_long_ones_and_of_other_pooling_are_refused() -> None:
    model: Any = aigc_sdk.load("gpt2", device="cpu")
    with pytest.raises(PromptError, match=r"texts\[1\] is empty"):
        model.embed(["a", ""])
    with pytest.raises(PromptError, match="int"):
        model.embed([3])
    with pytest.raises(ContextOverflow, match=r"texts\[0\]"):
        model.embed(["word " * 2_000])
    with pytest.raises(OptionError, match="pooling"):
        model.embed(["a"], pooling="max")
