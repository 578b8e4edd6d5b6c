"""Adapters: what they compute, that peft computes the same from the same folder, and that the network stays as it is."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertModel,
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from aigc_sdk.adapters import (
    IA3,
    AdaLoRA,
    Adapters,
    Bottleneck,
    LoRA,
    Method,
    PrefixTuning,
    PromptTuning,
    Tuned,
    method,
)
from aigc_sdk.adapters.budget import _straighten
from aigc_sdk.errors import (
    AigcError,
    CorruptFolder,
    InputError,
    MismatchedFolder,
    NotAModel,
    NotOffered,
    OptionError,
)

METHODS: dict[str, Method] = {
    "lora": LoRA(rank=3, dropout=0.1),
    "adalora": AdaLoRA(rank=2, initial_rank=4),
    "ia3": IA3(),
    "bottleneck": Bottleneck(width=5),
    "prompt": PromptTuning(tokens=4),
    "prefix": PrefixTuning(tokens=3),
}
every_method = pytest.mark.parametrize("of", METHODS.values(), ids=METHODS.keys())
MERGEABLE = ("lora", "adalora", "ia3")


def gpt2(**changes: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 61, "n_positions": 40, "n_embd": 24, "n_layer": 2, "n_head": 3, **changes}
    return GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, initializer_range=0.2, **sizes)).eval()


def llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def bert() -> Any:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(**SIZES, num_labels=3)).eval()


def roberta() -> Any:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, num_labels=3, pad_token_id=1)).eval()


SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
}
NETWORKS: dict[str, Callable[[], Any]] = {"gpt2": gpt2, "llama": llama, "bert": bert, "roberta": roberta}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())


def batch(rows: int = 2, time: int = 9, padded: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(rows, time, dtype=torch.int64)
    if padded:
        mask[0, -3:] = 0
    return {"input_ids": torch.randint(2, 61, (rows, time)), "attention_mask": mask}


def shaken(adapters: Adapters, name: str) -> None:
    """Give an adapter weights that change something."""
    torch.manual_seed(len(name))
    with torch.no_grad():
        for each in adapters.parameters(name):
            each.add_(torch.randn_like(each) * 0.3)


def logits(network: Any, **inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(**inputs).logits  # type: ignore[no-any-return]


def in_peft(network: Any, folder: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(network, str(folder)).eval()


@pytest.mark.filterwarnings("ignore")
@every_network
@every_method
def test_peft_computes_the_same_from_our_folder(make: Any, of: Method, tmp_path: Path) -> None:
    encoder = make in (bert, roberta)
    if of.method == "bottleneck" or (of.method == "prefix" and encoder):
        pytest.skip("peft has no such method for it")
    network = make()
    plain = copy.deepcopy(network)
    adapters = Adapters.of(network)
    adapters.add("own", of, also=("classifier",) if encoder else ())
    shaken(adapters, "own")
    adapters.use("own")
    adapters.save("own", tmp_path / "own", backend="gpt2")
    inputs = batch(padded=False)
    found, expected = logits(network, **inputs), logits(in_peft(plain, tmp_path / "own"), **inputs)
    assert not torch.allclose(found, logits(make(), **inputs), atol=1e-2)
    if found.ndim == 3:
        expected = expected[:, -found.shape[1] :]
    assert torch.allclose(found, expected, atol=1e-5)


def peft_config(name: str, encoder: bool) -> Any:
    import peft

    task = {"task_type": "SEQ_CLS" if encoder else "CAUSAL_LM"}
    made: dict[str, Callable[[], Any]] = {
        "lora": lambda: peft.LoraConfig(r=3, lora_alpha=7, **task),
        "adalora": lambda: peft.AdaLoraConfig(init_r=5, target_r=2, total_step=9, **task),
        "ia3": lambda: peft.IA3Config(**task),
        "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=4, **task),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=4, prefix_projection=True, **task),
    }
    return made[name]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [gpt2, llama, bert])
@pytest.mark.parametrize("name", ["lora", "adalora", "ia3", "prompt", "prefix"])
def test_we_compute_the_same_from_a_folder_of_pefts(make: Any, name: str, tmp_path: Path) -> None:
    import peft

    if name == "prefix" and make is bert:
        pytest.skip("peft has no such method for it")
    network = make()
    theirs = peft.get_peft_model(copy.deepcopy(network), peft_config(name, make is bert)).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for each in theirs.parameters():
            if each.requires_grad:
                each.add_(torch.randn_like(each) * 0.3)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    inputs = batch(padded=False)
    expected = logits(theirs, **inputs)
    adapters = Adapters.of(network)
    assert adapters.load(tmp_path / "theirs") == "theirs"
    adapters.use("theirs")
    found = logits(network, **inputs)
    expected = expected[:, -found.shape[1] :] if found.ndim == 3 else expected
    assert torch.allclose(found, expected, atol=1e-5)


@every_network
@every_method
def test_a_batch_of_several_adapters_equals_each_alone(make: Any, of: Method) -> None:
    network = make()
    adapters = Adapters.of(network)
    adapters.add("first", of, seed=1)
    adapters.add("second", type(of)(), seed=2)
    adapters.add("third", LoRA(), seed=3)
    for name in adapters:
        shaken(adapters, name)
    names = ["second", None, "first", "third", "first"]
    inputs = batch(rows=5)
    with adapters.using(names):
        together = logits(network, **inputs)
    for row, name in enumerate(names):
        adapters.use(name)
        alone = logits(network, **{key: each[row : row + 1] for key, each in inputs.items()})
        real = inputs["attention_mask"][row].bool() if alone.ndim == 3 else slice(None)
        assert torch.allclose(together[row][real], alone[0][real], atol=1e-5), name


@every_network
@every_method
def test_the_network_itself_stays_as_it_is(make: Any, of: Method) -> None:
    network = make()
    inputs, before = batch(), {name: each.clone() for name, each in network.state_dict().items()}
    plain = logits(network, **inputs)
    adapters = Adapters.of(network)
    adapters.add("own", of)
    shaken(adapters, "own")
    assert torch.equal(logits(network, **inputs), plain)
    with adapters.using("own"):
        assert not torch.allclose(logits(network, **inputs), plain, atol=1e-2)
    assert torch.equal(logits(network, **inputs), plain)
    adapters.use("own")
    adapters.remove("own")
    assert torch.equal(logits(network, **inputs), plain)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())


@every_method
def test_an_adapter_starts_as_no_change_or_a_small_one(of: Method) -> None:
    network = gpt2()
    inputs = batch()
    plain = logits(network, **inputs)
    Adapters.of(network).add("own", of)
    Adapters.of(network).use("own")
    bound = 1e-3 if of.method == "bottleneck" else 1e-6
    if of.method not in ("prompt", "prefix"):
        assert float((logits(network, **inputs) - plain).abs().max()) < bound


@pytest.mark.parametrize("make", [gpt2, llama])
@every_method
def test_a_cache_computes_the_same_token_by_token(make: Any, of: Method) -> None:
    network = make()
    adapters = Adapters.of(network)
    adapters.add("own", of)
    adapters.add("other", PromptTuning(tokens=2))
    for name in adapters:
        shaken(adapters, name)
    ids = batch(rows=3, padded=False)["input_ids"]
    adapters.use(["own", None, "other"])
    whole, cache = logits(network, input_ids=ids), DynamicCache(config=network.config)
    name = (
        "cache" if "cache" in signature(network.forward).parameters else "past_key_values"
    )  # before transformers 5.24
    found = [logits(network, input_ids=part, use_cache=True, **{name: cache}) for part in ids.split([4, 1, 1, 3], 1)]
    assert torch.allclose(torch.cat(found, 1), whole, atol=1e-5)


@pytest.mark.parametrize("make", [gpt2, llama])
@every_method
def test_padding_on_the_left_changes_nothing(make: Any, of: Method) -> None:
    network = make()
    adapters = Adapters.of(network)
    adapters.add("own", of)
    shaken(adapters, "own")
    adapters.use("own")
    ids = batch(rows=1, padded=False)["input_ids"]
    mask = F.pad(torch.ones_like(ids), (3, 0))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    padded = logits(network, input_ids=F.pad(ids, (3, 0)), attention_mask=mask, position_ids=positions)
    assert torch.allclose(padded[:, 3:], logits(network, input_ids=ids), atol=1e-5)


@pytest.mark.parametrize("make", [gpt2, llama])
@every_method
def test_transformers_generates_with_an_adapter(make: Any, of: Method) -> None:
    network = make()
    adapters = Adapters.of(network)
    adapters.add("own", of)
    shaken(adapters, "own")
    adapters.use("own")
    ids = batch(rows=2, padded=False)["input_ids"]
    made = network.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    expected = ids
    for _ in range(4):
        expected = torch.cat([expected, logits(network, input_ids=expected)[:, -1:].argmax(-1)], 1)
    assert torch.equal(made, expected)


@pytest.mark.parametrize("make", [gpt2, llama])
@every_method
def test_gradient_checkpointing_gives_the_same_gradients(make: Any, of: Method) -> None:
    found = []
    for checkpointing in (False, True):
        network = make()
        adapters = Adapters.of(network)
        adapters.add("own", of)
        shaken(adapters, "own")
        tuned = Tuned(network, adapters, "own")
        if checkpointing:
            network.gradient_checkpointing_enable()
        tuned.train()
        for each in network.modules():
            if isinstance(each, torch.nn.Dropout):
                each.p = 0.0
        for each in tuned.modules():
            if isinstance(each, torch.nn.Dropout):
                each.p = 0.0
        inputs = batch()
        tuned(**inputs, labels=inputs["input_ids"]).loss.backward()
        assert all(each.grad is None for each in network.parameters())
        found.append([each.grad for each in adapters.parameters("own")])
    assert all(float(each.abs().sum()) > 0 for each in found[0] if each.numel())
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("name", MERGEABLE)
@every_network
def test_a_merged_network_computes_the_same(make: Any, name: str) -> None:
    network = make()
    adapters = Adapters.of(network)
    adapters.add("own", METHODS[name])
    shaken(adapters, "own")
    adapters.use("own")
    expected = logits(network, **batch())
    adapters.merge("own")
    assert "own" not in adapters
    assert torch.allclose(logits(network, **batch()), expected, atol=1e-5)


@every_network
@every_method
def test_a_folder_gives_the_same_adapter_again(make: Any, of: Method, tmp_path: Path) -> None:
    network, other = make(), make()
    adapters = Adapters.of(network)
    adapters.add("own", of, also=("classifier",) if network.config.model_type in ("bert", "roberta") else ())
    shaken(adapters, "own")
    adapters.save("own", tmp_path / "own", backend="gpt2", base="org/base")
    again = Adapters.of(other)
    assert again.load(tmp_path / "own", backend="gpt2") == "own"
    assert again.fingerprint("own") == adapters.fingerprint("own")
    assert again.method("own").model_dump(exclude={"targets"}) == of.model_dump(exclude={"targets"})
    adapters.use("own")
    again.use("own")
    assert torch.allclose(logits(other, **batch()), logits(network, **batch()), atol=1e-6)


def test_a_new_head_is_trained_and_saved_with_an_adapter(tmp_path: Path) -> None:
    network = bert()
    adapters = Adapters.of(network)
    adapters.add("own", LoRA(), also=("classifier",))
    tuned = Tuned(network, adapters, "own")
    loss = tuned(**batch(), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert all(each.grad is None for each in network.parameters())
    assert sum(each.shape == (3, 24) and float(each.grad.abs().sum()) > 0 for each in adapters.parameters("own")) == 1
    shaken(adapters, "own")
    adapters.save("own", tmp_path / "own", backend="bert")
    with torch.no_grad():
        other = bert()
        other.classifier.weight.zero_()  # a head that is replaced is no part of the base
    Adapters.of(other).load(tmp_path / "own", backend="bert")
    Adapters.of(other).use("own")
    assert torch.allclose(logits(other, **batch()), logits(network.eval(), **batch()), atol=1e-6)


def test_a_packed_batch_names_an_adapter_per_token() -> None:
    network = bert()
    adapters = Adapters.of(network)
    for name, of in {"a": LoRA(), "b": IA3(), "c": Bottleneck()}.items():
        adapters.add(name, of)
        shaken(adapters, name)
    layer = network.bert.encoder.layer[0].output.dense
    x = torch.randn(1, 7, 32)
    names = ["a", "a", None, "b", "c", "c", "b"]
    with adapters.using(names):
        packed = layer(x)
    for place, name in enumerate(names):
        with adapters.using(name):
            assert torch.allclose(packed[0, place], layer(x[:, place : place + 1])[0, 0], atol=1e-5)


def test_what_is_in_use_in_a_block_is_in_use_in_its_thread_alone() -> None:
    adapters = Adapters.of(gpt2())
    adapters.add("own", LoRA())
    seen: list[Any] = []
    with adapters.using("own"):
        thread = threading.Thread(target=lambda: seen.append(adapters.current))
        thread.start()
        thread.join()
        assert adapters.current == "own"
    assert seen == [None]
    assert adapters.current is None


def test_a_seed_decides_the_first_weights_and_nobodys_random_state_moves() -> None:
    before = torch.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        adapters = Adapters.of(gpt2())
        torch.set_rng_state(before)
        for name, of in METHODS.items():
            adapters.add(name, of, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append([adapters.fingerprint(name) for name in adapters if name != "ia3"])
    assert found[0] == found[1]
    assert not set(found[0]) & set(found[2])


def test_weight_decay_pulls_towards_no_change_alone() -> None:
    adapters = Adapters.of(gpt2())
    for name, of in METHODS.items():
        adapters.add(name, of)
        groups = adapters.groups(name, 0.1)
        assert sum(len(each["params"]) for each in groups) == len(adapters.parameters(name))
        decays = {each["weight_decay"] for each in groups}
        assert decays == ({0.1} if name == "lora" else {0.1, 0.0} if name == "bottleneck" else {0.0})


def test_the_share_of_what_is_trained_is_told() -> None:
    network = gpt2()
    adapters = Adapters.of(network)
    adapters.add("own", LoRA(rank=3))
    own = 2 * 3 * (24 + 72)
    assert adapters.share("own") == pytest.approx(own / (own + sum(each.numel() for each in network.parameters())))


def adalora(steps: int, done: int = 0, **options: Any) -> tuple[Adapters, Any, Callable[[int], None]]:
    """A run of AdaLoRA, and what makes one update of it."""
    network = gpt2()
    adapters = Adapters.of(network)
    adapters.add("own", AdaLoRA(rank=2, initial_rank=4, **options))
    tuned = Tuned(network, adapters, "own")
    optimizer = torch.optim.AdamW(adapters.groups("own", 0.1), lr=0.01)
    adapters.follow("own", optimizer, steps, done)

    def update(index: int) -> None:
        torch.manual_seed(index)
        ids = torch.randint(61, (2, 9))
        tuned(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return adapters, optimizer, update


def test_adaloras_ranks_fall_cubically_to_the_budget_and_then_stay() -> None:
    adapters, _, update = adalora(40, warmup=0.25, final=0.25)
    trace = []
    for index in range(1, 41):
        update(index)
        trace.append(sum(adapters.ranks("own").values()))
    layers = len(adapters.ranks("own"))
    expected = [layers * 2 + int(layers * 2 * (1 - (step - 10) / 20) ** 3) for step in range(11, 31)]
    assert trace == [layers * 4] * 10 + expected + [layers * 2] * 10
    ranks = list(adapters.ranks("own").values())
    assert sum(ranks) == layers * 2
    assert min(ranks) < 2 < max(ranks)
    assert adapters.metrics("own") == {"mean_rank": 2.0}


def test_adaloras_importance_is_the_papers() -> None:
    """Zhang et al. 2023, equations 7 to 10, written out for the first two updates."""
    adapters, optimizer, update = adalora(100, warmup=0.5, decay=0.8, orthogonality=0.0)
    change: Any = adapters["own"].at("transformer.h.0.attn.c_attn")
    seen: list[torch.Tensor] = []
    optimizer.register_step_pre_hook(lambda *given: seen.append((change.lora_B * change.lora_B.grad).abs().detach()))
    update(1)
    update(2)
    importance = 0.2 * seen[0]
    uncertainty = 0.2 * (seen[0] - importance).abs()
    importance = 0.8 * importance + 0.2 * seen[1]
    uncertainty = 0.8 * uncertainty + 0.2 * (seen[1] - importance).abs()
    assert torch.allclose(change.averages("lora_B")[0], importance, rtol=1e-4)
    assert torch.allclose(change.averages("lora_B")[1], uncertainty, rtol=1e-4)


def test_adaloras_penalty_is_the_gradient_of_its_distance_from_orthonormal() -> None:
    adapters, _, _ = adalora(10)
    change: Any = adapters["own"].at("transformer.h.0.mlp.c_fc")
    shaken(adapters, "own")
    left, right = change.lora_B, change.lora_A
    one = torch.eye(4)
    penalty = 0.3 * ((left.T @ left - one).pow(2).sum() + (right @ right.T - one).pow(2).sum())
    expected = torch.autograd.grad(penalty, (left, right))
    left.grad, right.grad = torch.zeros_like(left), torch.zeros_like(right)
    _straighten(change, 0.3)
    assert torch.allclose(left.grad, expected[0], rtol=1e-4, atol=1e-6)
    assert torch.allclose(right.grad, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_peft_opens_adalora_with_the_ranks_that_are_left(tmp_path: Path) -> None:
    adapters, _, update = adalora(12)
    for index in range(1, 13):
        update(index)
    network: Any = adapters.network.eval()
    adapters.save("own", tmp_path / "own", backend="gpt2")
    config = json.loads((tmp_path / "own/adapter_config.json").read_text())
    assert {name: sum(kept) for name, kept in config["rank_pattern"].items()} == {
        f"{name}.lora_E": rank for name, rank in adapters.ranks("own").items()
    }
    inputs = batch(padded=False)
    found = logits(network, **inputs)
    assert torch.allclose(logits(in_peft(gpt2(), tmp_path / "own"), **inputs), found, atol=1e-5)
    other = gpt2()
    Adapters.of(other).load(tmp_path / "own", backend="gpt2")
    assert Adapters.of(other).ranks("own") == adapters.ranks("own")
    Adapters.of(other).use("own")
    assert torch.allclose(logits(other, **inputs), found, atol=1e-5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An adapter's folder as peft leaves it, without aigc.json."""
    adapters = Adapters.of(gpt2())
    adapters.add("own", LoRA(rank=3))
    adapters.save("own", tmp_path / "saved", backend="gpt2")
    (tmp_path / "saved/aigc.json").unlink()
    return tmp_path / "saved"


def changed_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def changed_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


KEY = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
DAMAGE: dict[str, tuple[Callable[[Path], Any], type[AigcError], str]] = {
    "nothing": (lambda f: [each.unlink() for each in f.iterdir()], NotAModel, "holds no adapter"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), NotAModel, "has no adapter_model"),
    "no JSON": (lambda f: (f / "adapter_config.json").write_text("{"), CorruptFolder, "is not JSON"),
    "another method": (lambda f: changed_config(f, peft_type="VERA"), NotOffered, "'VERA'"),
    "code": (lambda f: changed_config(f, auto_map={"x": "y"}, peft_type="../x"), NotOffered, "of the method"),
    "a variant": (lambda f: changed_config(f, use_dora=True), NotOffered, "use_dora"),
    "biases": (lambda f: changed_config(f, bias="all"), NotOffered, "bias"),
    "a bad alpha": (lambda f: changed_config(f, lora_alpha=-1), CorruptFolder, "alpha"),
    "a bad rank": (lambda f: changed_config(f, r="8"), CorruptFolder, "rank"),
    "cut weights": (
        lambda f: (f / "adapter_model.safetensors").write_bytes((f / "adapter_model.safetensors").read_bytes()[:200]),
        CorruptFolder,
        "no sound safetensors",
    ),
    "a missing weight": (lambda f: changed_tensors(f, lambda t: t.pop(KEY)), MismatchedFolder, "misses"),
    "a foreign weight": (
        lambda f: changed_tensors(f, lambda t: t.update({"base_model.model.x.y": torch.ones(1)})),
        MismatchedFolder,
        "none of the method",
    ),
    "another layer": (
        lambda f: changed_tensors(f, lambda t: t.update({KEY.replace("h.0", "h.7"): t.pop(KEY)})),
        MismatchedFolder,
        "no such layer",
    ),
    "another size": (
        lambda f: changed_tensors(f, lambda t: t.update({KEY: torch.ones(3, 8)})),
        MismatchedFolder,
        "shape",
    ),
    "a huge rank": (
        lambda f: changed_tensors(f, lambda t: t.update({KEY: torch.ones(90, 24)})),
        MismatchedFolder,
        "rank 90",
    ),
    "NaN": (lambda f: changed_tensors(f, lambda t: t[KEY].fill_(float("nan"))), CorruptFolder, "NaN"),
}


@pytest.mark.parametrize(("damage", "error", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_folders_that_are_no_sound_adapter_of_this_network_are_refused(
    damage: Callable[[Path], Any], error: type[AigcError], said: str, saved: Path
) -> None:
    Adapters.of(gpt2()).load(saved, backend="gpt2")
    damage(saved)
    adapters = Adapters.of(gpt2())
    with pytest.raises(error, match=said):
        adapters.load(saved, backend="gpt2")
    assert len(adapters) == 0


def test_an_adapter_of_other_weights_or_of_another_architecture_is_refused(tmp_path: Path) -> None:
    adapters = Adapters.of(gpt2())
    adapters.add("own", LoRA())
    adapters.save("own", tmp_path / "own", backend="gpt2", base="org/base")
    other = gpt2()
    with torch.no_grad():
        other.transformer.wte.weight.add_(1)
    with pytest.raises(MismatchedFolder, match="an adapter of org/base with the weights"):
        Adapters.of(other).load(tmp_path / "own", backend="gpt2")
    with pytest.raises(MismatchedFolder, match="no such layer"):
        Adapters.of(llama()).load(tmp_path / "own", backend="gpt2")
    with pytest.raises(MismatchedFolder, match="backend 'gpt2', not 'bert'"):
        Adapters.of(bert()).load(tmp_path / "own", backend="bert")


BAD: dict[str, tuple[Callable[[Adapters], Any], type[AigcError], str]] = {
    "an unknown method": (lambda a: method("lorra"), OptionError, "Did you mean 'lora'"),
    "no method": (lambda a: method({"rank": 3}), OptionError, "is no method"),
    "an unknown option": (lambda a: method({"method": "lora", "rnk": 3}), OptionError, "Did you mean 'rank'"),
    "a rank of zero": (lambda a: method({"method": "lora", "rank": 0}), OptionError, "rank=0"),
    "ranks that rise": (lambda a: method({"method": "adalora", "rank": 9}), OptionError, "ranks only fall"),
    "no time to fall": (lambda a: method({"method": "adalora", "final": 0.95}), OptionError, "no time"),
    "a rank above the layer's": (lambda a: a.add("b", LoRA(rank=25)), OptionError, "rank=25 is above"),
    "an unknown target": (lambda a: a.add("b", LoRA(targets=("c_atn",))), OptionError, "Did you mean"),
    "a tied target": (lambda a: a.add("b", LoRA(targets=("lm_head",))), OptionError, "is tied to the embeddings"),
    "a duplicate name": (lambda a: a.add("a", LoRA()), OptionError, "already"),
    "an empty name": (lambda a: a.add(" ", LoRA()), OptionError, "printable"),
    "a name with a bell": (lambda a: a.add("\a", LoRA()), OptionError, "printable"),
    "an unknown name": (lambda a: a.use("b"), OptionError, "there is no adapter 'b'"),
    "an unknown name in a list": (lambda a: a.use([None, "b"]), OptionError, "there is no adapter 'b'"),
    "a number": (lambda a: a.use(7), OptionError, "give a name"),  # type: ignore[arg-type]
    "an unknown name to remove": (lambda a: a.remove("b"), OptionError, "there is no adapter"),
    "an unknown name to save": (lambda a: a.save("b", "x", backend="gpt2"), OptionError, "there is no adapter"),
    "an unknown module": (lambda a: a.add("b", LoRA(), also=("clasifier",)), OptionError, "no module"),
    "too many virtual tokens": (lambda a: a.add("b", PromptTuning(tokens=40)), OptionError, "context holds 40"),
    "no ranks": (lambda a: (a.add("b", IA3()), a.ranks("b")), NotOffered, "has no ranks"),
    "no merge": (lambda a: (a.add("b", Bottleneck()), a.merge("b")), NotOffered, "cannot be merged"),
    "no network": (lambda a: Adapters.of(torch.nn.Linear(2, 2)), InputError, "no model of transformers"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("call", "error", "said"), BAD.values(), ids=BAD.keys())
def test_bad_calls_are_refused_and_named(call: Callable[[Adapters], Any], error: type[AigcError], said: str) -> None:
    adapters = Adapters.of(gpt2())
    adapters.add("a", LoRA())
    with pytest.raises(error, match=said):
        call(adapters)


def test_another_number_of_rows_than_names_is_refused() -> None:
    network = gpt2()
    adapters = Adapters.of(network)
    for name, of in METHODS.items():
        adapters.add(name, of)
        with adapters.using([name, None, name]), pytest.raises(InputError, match="3 adapters are in use"):
            network(**batch(rows=2))


def test_an_architecture_that_nobody_described_takes_targets_and_no_prefix() -> None:
    network = DistilBertModel(DistilBertConfig(vocab_size=61, dim=16, n_layers=1, n_heads=2, hidden_dim=20))
    network.config.model_type = "unheard-of"
    adapters = Adapters.of(network)
    with pytest.raises(OptionError, match=r"nobody has said .*attention.q_lin"):
        adapters.add("own", LoRA())
    adapters.add("own", LoRA(targets=("q_lin",)))
    assert list(adapters.ranks("own")) == ["transformer.layer.0.attention.q_lin"]


def test_importing_adapters_imports_no_torch() -> None:
    code = "import sys, aigc_sdk.adapters as a; a.LoRA(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
