"""Adapters of GPT-2: trained, saved, switched, several in one batch, and replayed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import aigc_sdk
from aigc_sdk.adapters import (
    IA3,
    AdaLoRA,
    Adapters,
    Bottleneck,
    LoRA,
    Method,
    PrefixTuning,
    PromptTuning,
)
from aigc_sdk.errors import (
    ContextOverflow,
    CorruptFolder,
    MediaError,
    MismatchedFolder,
    NotAModel,
    NotOffered,
    OptionError,
)
from aigc_sdk.protocols import Trainer
from aigc_sdk.testing import TrainerContract
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.engines.engine import engine_for
from aigc_sdk_gpt2.engines.hugging import HuggingFace
from aigc_sdk_gpt2.engines.plain import PlainGPT2
from aigc_sdk_gpt2.evaluate import Perplexity
from aigc_sdk_gpt2.model import GPT2
from aigc_sdk_gpt2.network import TrainingNetwork, is_plain_gpt2
from aigc_sdk_gpt2.train import GPT2Trainer

METHODS: dict[str, Method] = {
    "lora": LoRA(rank=2, dropout=0.1),
    "adalora": AdaLoRA(rank=1, initial_rank=2),
    "ia3": IA3(),
    "bottleneck": Bottleneck(width=3),
    "prompt": PromptTuning(tokens=3),
    "prefix": PrefixTuning(tokens=3, hidden=5),
}
every_method = pytest.mark.parametrize("of", METHODS.values(), ids=METHODS.keys())
TEXT = "In the beginning God created the heaven and the earth. And God said, Let there be light. " * 4
tokenizer = train_tokenizer([TEXT], 300, 48)


def network(kind: str = "gpt2") -> Any:
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": None}
    if kind == "gpt2":
        sizes = {"vocab_size": len(tokenizer), "n_positions": 48, "n_embd": 16, "n_layer": 2, "n_head": 2}
        return GPT2LMHeadModel(GPT2Config(initializer_range=0.3, **sizes, **ends)).eval()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=48,
        initializer_range=0.3,
        **ends,
    )
    return LlamaForCausalLM(config).eval()


def make(kind: str = "gpt2") -> GPT2:
    return GPT2(network(kind), tokenizer)


def shaken(adapters: Adapters, *names: str) -> None:
    for name in names:
        torch.manual_seed(len(name))
        with torch.no_grad():
            for each in adapters.parameters(name):
                each.add_(torch.randn_like(each) * 0.3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to put adapters beside."""
    folder = tmp_path_factory.mktemp("models") / "base"
    make().save(folder)
    return folder


def trainer(base: Path, of: Method | str = "lora") -> GPT2Trainer:
    return GPT2Trainer.open(base, device="cpu", adapter=of)


QUICK: dict[str, Any] = {"batch_size": 2, "precision": "float32", "warmup_steps": 0, "learning_rate": 0.01}


class TestTrainerOfAnAdapter(TrainerContract):
    """With the method that has most to remember."""

    @pytest.fixture
    def make(self, base: Path) -> Callable[[], Trainer[Any]]:
        return lambda: trainer(base, METHODS["adalora"])

    @pytest.fixture
    def data(self) -> Any:
        return [TEXT]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return QUICK


@every_method
def test_a_run_that_is_killed_goes_on_exactly_and_holds_the_adapter_alone(
    of: Method, base: Path, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(step: Any) -> None:
        if step.index == 4:
            raise Killed

    arguments = {"max_steps": 6, "save_every": 2, **QUICK}
    whole, cut, resumed = (trainer(base, of) for _ in range(3))
    before = aigc_sdk.runtime.fingerprint(whole.model.network)
    whole.fit([TEXT], save_to=tmp_path / "whole", **arguments)
    with pytest.raises(Killed):
        cut.fit([TEXT], save_to=tmp_path / "run", on_step=kill, **arguments)
    resumed.fit([TEXT], save_to=tmp_path / "run", resume=True, **arguments)
    one, two = whole.networks["network"].state_dict(), resumed.networks["network"].state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(each, two[name]) for name, each in one.items())
    assert (tmp_path / "run/log.jsonl").read_bytes() == (tmp_path / "whole/log.jsonl").read_bytes()
    assert aigc_sdk.runtime.fingerprint(whole.model.network) == before
    opened = GPT2.open(tmp_path / "run", device="cpu")
    assert opened.fingerprint() == whole.model.fingerprint()
    assert {each.name for each in (tmp_path / "run/model").iterdir()} == {
        "aigc.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert opened.generate("In the", seed=1, max_new_tokens=5) == whole.model.generate(
        "In the", seed=1, max_new_tokens=5
    )


def test_adaloras_ranks_fall_to_the_budget_differ_and_are_traced(base: Path) -> None:
    run = trainer(base, AdaLoRA(rank=2, initial_rank=5, warmup=0.2, final=0.2))
    trace = [step.metrics["mean_rank"] for step in run.steps([TEXT], max_steps=20, **QUICK)]
    assert trace[:4] == [5.0] * 4
    assert trace[-5:] == [2.0] * 5
    assert trace == sorted(trace, reverse=True)
    ranks = run.model.adapters.ranks("adalora")
    assert sum(ranks.values()) == 2 * len(ranks) == 16
    assert len(set(ranks.values())) > 1


@every_method
def test_the_fast_loss_is_that_of_transformers_with_an_adapter(of: Method) -> None:
    model = make()
    model.adapters.add("own", of)
    shaken(model.adapters, "own")
    model.use_adapter("own")
    inputs, targets = torch.randint(60, (2, 2, 12)).unbind()
    assert is_plain_gpt2(model.network) == (of.method not in ("prompt", "prefix"))
    logits = model.network(inputs).logits.flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum")
    assert TrainingNetwork(model.network)(inputs, targets).item() == pytest.approx(expected.item(), rel=1e-5)


PROMPTS = ["In the", "And God said, Let there be light", "heaven", None]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@every_method
def test_several_adapters_in_one_batch_write_what_each_writes_alone(kind: str, of: Method) -> None:
    model = make(kind)
    for name, method in {"user-1": of, "user-2": type(of)(), "user-3": LoRA()}.items():
        model.adapters.add(name, method)
    shaken(model.adapters, "user-1", "user-2", "user-3")
    names = ("user-2", None, "user-1", "user-3")
    together = model.generate(PROMPTS, n=2, temperature=0.0, max_new_tokens=6, adapter=names)
    alone = [
        model.generate(prompt, temperature=0.0, max_new_tokens=6, adapter=name)[0].text
        if name
        else model.generate(prompt, temperature=0.0, max_new_tokens=6)[0].text
        for prompt, name in zip(PROMPTS, names, strict=True)
    ]
    assert [each.text for each in together] == [each for each in alone for _ in range(2)]
    assert len(set(alone)) > 1
    assert model.adapter is None


@pytest.mark.parametrize("names", ["a", ["a", None, "b"]], ids=["one", "several"])
@pytest.mark.parametrize("of", [LoRA(), AdaLoRA(), IA3(), Bottleneck()], ids=lambda of: of.method)
def test_the_fast_engine_computes_what_the_librarys_does_with_adapters(of: Method, names: Any) -> None:
    model = make()
    model.adapters.add("a", of, seed=1)
    model.adapters.add("b", IA3(), seed=2)
    shaken(model.adapters, "a", "b")
    prompts = [[5, 9, 7, 3], [2, 4], [8, 6, 1]]
    plain, library = engine_for(model.network, names), HuggingFace(model.network)
    assert isinstance(plain, PlainGPT2)
    made, expected = [engine.join(prompts, [4] * 3, names) for engine in (plain, library)]
    assert torch.allclose(made, expected, atol=1e-5)
    for rows, tokens in (([2, 0, 1, 1], [5, 9, 7, 7]), ([0, 2], [4, 4])):
        plain.select(rows)
        library.select(rows)
        assert torch.allclose(plain.step(torch.tensor(tokens)), library.step(torch.tensor(tokens)), atol=1e-5)


@pytest.mark.parametrize("name", ["lora", "adalora", "ia3"])
def test_a_merged_adapter_writes_the_same_and_is_saved_as_a_plain_model(name: str, tmp_path: Path) -> None:
    model = make()
    model.adapters.add("own", METHODS[name])
    shaken(model.adapters, "own")
    model.use_adapter("own")
    expected = model.generate("In the", temperature=0.0, max_new_tokens=12)[0].text
    scores = model.score(["And the earth"])[0].logprobs
    model.merge_adapter()
    assert model.adapter is None
    assert model.generate("In the", temperature=0.0, max_new_tokens=12)[0].text == expected
    assert model.score(["And the earth"])[0].logprobs == pytest.approx(scores, abs=1e-5)
    model.save(tmp_path / "merged")
    assert (tmp_path / "merged/model.safetensors").exists()
    again = GPT2LMHeadModel.from_pretrained(tmp_path / "merged")
    assert all(torch.equal(each, again.state_dict()[key]) for key, each in model.network.state_dict().items())


def test_a_users_texts_make_an_adapter_that_knows_the_user_and_is_switched_per_request(tmp_path: Path) -> None:
    texts = {
        "ann": "my red cat sleeps on the warm mat, and my old dog snores by the cold door. ",
        "bob": "boat 17 left the blue harbour at 9, and boat 23 came back at 11 with the fish. ",
    }
    held_out = {"ann": "my old dog sleeps on the warm mat", "bob": "boat 23 left the blue harbour at 11"}
    model = GPT2.open(device="cpu")
    plain = {user: model.score([text])[0].logprob for user, text in held_out.items()}
    for user, text in texts.items():
        run = GPT2Trainer.open("default", device="cpu", adapter=LoRA(rank=4))
        run.fit([text * 8], max_steps=30, learning_rate=0.01, **SMALL)
        run.model.save(tmp_path / user)
        assert model.add_adapter(tmp_path / user, name=user) == user
        assert model.adapters.share(user) < 0.02
    for user, other in (("ann", "bob"), ("bob", "ann")):
        model.use_adapter(user)
        assert model.score([held_out[user]])[0].logprob > plain[user] * 0.6
        assert model.score([held_out[user]])[0].logprob > model.score([held_out[other]])[0].logprob
    model.use_adapter(None)
    assert {user: model.score([text])[0].logprob for user, text in held_out.items()} == plain
    ann, bob = model.generate(["the", "the"], temperature=0.0, max_new_tokens=12, adapter=("ann", "bob"))
    assert ann.text != bob.text


SMALL: dict[str, Any] = {"batch_size": 4, "precision": "float32", "warmup_steps": 5, "block": 24}
LEARNS = {
    "lora": (LoRA(rank=4), 0.01),
    "adalora": (AdaLoRA(rank=2, initial_rank=4), 0.01),
    "ia3": (IA3(), 0.05),
    "bottleneck": (Bottleneck(width=8), 0.005),
    "prompt": (PromptTuning(tokens=8), 0.1),
    "prefix": (PrefixTuning(tokens=8), 0.1),
}


@pytest.mark.parametrize(("of", "rate"), LEARNS.values(), ids=LEARNS.keys())
def test_every_method_learns(of: Method, rate: float) -> None:
    run = GPT2Trainer.open("default", device="cpu", adapter=of)
    data = ["my red cat sleeps on the warm mat, and my old dog snores by the cold door. " * 8]
    losses = [step.metrics["loss"] for step in run.steps(data, max_steps=40, learning_rate=rate, **SMALL)]
    print(of.method, losses[0], losses[-1], run.model.adapters.share(of.method))
    assert losses[-1] < 0.6 * losses[0]


@every_method
def test_a_prompt_and_its_samples_fit_the_context_with_virtual_tokens(of: Method) -> None:
    model = make()
    model.adapters.add("own", of)
    model.use_adapter("own")
    taken = model.adapters.tokens("own")
    assert model.context == 48 - taken
    long = "In the beginning God created the heaven and the earth."
    ids = len(tokenizer(long).input_ids)
    made = model.generate(long, seed=1, max_new_tokens=48 - taken - ids, min_new_tokens=48 - taken - ids)
    assert made[0].info["tokens"] == 48 - taken - ids
    with pytest.raises(ContextOverflow):
        model.generate(long, max_new_tokens=49 - taken - ids)
    report = Perplexity(model).evaluate([TEXT])
    assert report["perplexity"].value > 0


def test_the_origin_names_the_adapter_and_a_replay_writes_the_same(base: Path, tmp_path: Path) -> None:
    model = GPT2.open(base, device="cpu")
    plain = model.generate("In the", seed=3, max_new_tokens=6)[0]
    assert "adapters" not in plain.origin["model"]
    model.adapters.add("ann", LoRA())
    shaken(model.adapters, "ann")
    model.generate("In the", seed=3, adapter="ann", max_new_tokens=6)[0].save(tmp_path / "lost.txt")
    with pytest.raises(MediaError, match="had not been saved"):
        aigc_sdk.replay(tmp_path / "lost.txt")
    model.use_adapter("ann")
    model.save(tmp_path / "ann")
    opened = GPT2.open(tmp_path / "ann", device="cpu")
    assert opened.adapter == "ann"
    [made] = opened.generate("In the", seed=3, max_new_tokens=6)
    assert made.text != plain.text
    assert made.origin["model"]["adapter"] == "ann"
    assert made.origin["model"]["fingerprint"] == opened.fingerprint() != plain.origin["model"]["fingerprint"]
    made.save(tmp_path / "made.txt")
    assert aigc_sdk.replay(tmp_path / "made.txt").same
    opened.use_adapter(None)
    opened.add_adapter(tmp_path / "ann", name="bob")
    several = opened.generate(["In the", "heaven"], seed=3, max_new_tokens=6, adapter=("bob", None))
    several[0].save(tmp_path / "several.txt")
    replayed = aigc_sdk.replay(tmp_path / "several.txt")
    assert replayed.same
    assert replayed.differences == ()


def test_an_adapters_folder_opens_by_itself_and_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    run = trainer(base)
    run.fit([TEXT], max_steps=1, save_to=tmp_path / "run", **QUICK)
    model = aigc_sdk.load(str(tmp_path / "run"), device="cpu")
    assert isinstance(model, GPT2)
    assert model.adapter == "lora"
    other = make()
    with torch.no_grad():
        next(iter(other.network.parameters())).add_(1)
    with pytest.raises(MismatchedFolder, match=r"is an adapter of .*base with the weights"):
        other.add_adapter(tmp_path / "run")
    assert len(other.adapters) == 0
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "run/model", moved)
    shutil.copytree(base, tmp_path / "gone")
    gone = GPT2.open(tmp_path / "gone", device="cpu")
    gone.add_adapter(moved)
    gone.use_adapter("lora")
    gone.save(tmp_path / "lonely")
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(NotAModel, match="use its add_adapter"):
        GPT2.open(tmp_path / "lonely", device="cpu")


def test_an_adapter_that_is_opened_goes_on_being_trained(base: Path, tmp_path: Path) -> None:
    trainer(base).fit([TEXT], max_steps=2, save_to=tmp_path / "run", **QUICK)
    again = GPT2Trainer.open(tmp_path / "run", device="cpu")
    before = again.model.fingerprint()
    weights = aigc_sdk.runtime.fingerprint(again.model.network)
    again.fit([TEXT], max_steps=2, **QUICK)
    assert again.model.fingerprint() != before
    assert aigc_sdk.runtime.fingerprint(again.model.network) == weights
    with pytest.raises(OptionError, match="holds an adapter already"):
        GPT2Trainer.open(tmp_path / "run", device="cpu", adapter="ia3")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"adapter": "lorra"}, "adapter"),
        ({"adapter": {"method": "lora", "rank": 0}}, "rank"),
        ({"adapter": {"method": "lora", "rang": 4}}, "rang"),
        ({"adapter": {"rank": 4}}, "adapter"),
        ({"adapter": LoRA(rank=17)}, "rank"),
        ({"adapter": LoRA(targets=("c_atn",))}, "targets"),
        ({"adapter": PromptTuning(tokens=48)}, "tokens"),
        ({"adapter": 7}, "adapter"),
        ({"adapter": "lora", "layers": 3}, "layers"),
        ({"seed": 3}, "seed"),
    ],
    ids=str,
)
def test_adapters_that_make_no_training_are_refused(config: dict[str, Any], field: str, base: Path) -> None:
    with pytest.raises(OptionError) as caught:
        GPT2Trainer.open(base, device="cpu", **config)
    assert caught.value.field == field


def test_other_bad_calls_are_refused_and_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="beside a model that can write already"):
        GPT2Trainer.open(device="cpu", adapter="lora")
    with pytest.raises(OptionError, match="muon"):
        trainer(base).fit([TEXT], max_steps=1, optimizer="muon", **QUICK)
    with pytest.raises(OptionError, match="AdaLoRA's ranks"):
        trainer(base, "adalora").fit([TEXT], max_steps=1, ema_decay=0.9, **QUICK)
    first, second = trainer(base, LoRA(rank=2)), trainer(base, LoRA(rank=3))
    first.fit([TEXT], max_steps=1, save_to=tmp_path / "run", **QUICK)
    with pytest.raises(MismatchedFolder, match="'rank': 2"):
        second.load_state_dict(first.state_dict())
    with pytest.raises(MismatchedFolder, match="a whole model"):
        GPT2Trainer.open(base, device="cpu").load_state_dict(first.state_dict())
    model = make()
    model.adapters.add("user-42", PromptTuning(tokens=2))
    with pytest.raises(OptionError, match=r"Did you mean 'user-42'\?"):
        model.generate("In", adapter="user-43")
    with pytest.raises(OptionError, match="2 names for 1 prompts"):
        model.generate("In", adapter=("user-42", None))
    with pytest.raises(OptionError, match="there is no adapter 'nobody'"):
        model.use_adapter("nobody")
    with pytest.raises(OptionError, match="no adapter is in use"):
        model.merge_adapter()
    with pytest.raises(NotOffered, match="cannot be merged"):
        model.merge_adapter("user-42")
    llama = make("llama")
    with pytest.raises(MismatchedFolder, match="no such layer"):
        llama.add_adapter(tmp_path / "run")
    weights = tmp_path / "run/model/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptFolder, match="damaged"):
        make().add_adapter(tmp_path / "run")


def test_an_adapter_in_json_survives_the_command_line(base: Path) -> None:
    given = json.loads(json.dumps({"method": "lora", "rank": 2, "targets": ["c_attn"]}))
    run = GPT2Trainer.open(base, device="cpu", adapter=given)
    assert run.model.adapters.method("lora") == LoRA(rank=2, targets=("c_attn",))


def test_a_folder_of_pefts_opens_beside_the_model_that_it_names_and_one_that_names_none_is_refused(
    base: Path, tmp_path: Path
) -> None:
    run = trainer(base)
    shaken(run.model.adapters, "lora")
    run.model.save(tmp_path / "theirs")
    (tmp_path / "theirs/aigc.json").unlink()
    model = aigc_sdk.load("gpt2", tmp_path / "theirs", device="cpu")
    assert isinstance(model, GPT2)
    assert model.adapter == "theirs"
    assert model.fingerprint() == run.model.fingerprint()
    path = tmp_path / "theirs/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": None}))
    with pytest.raises(NotAModel, match="does not say which model"):
        aigc_sdk.load("gpt2", tmp_path / "theirs", device="cpu")
