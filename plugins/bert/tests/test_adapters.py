"""Adapters beside an encoder: they alone are trained, saved and resumed, and open in plain peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk.adapters import Adapters
from aigc_sdk.errors import MediaError, MismatchedFolder, NotOffered, OptionError
from aigc_sdk.protocols import Step
from aigc_sdk_bert.judge import Judge, run
from aigc_sdk_bert.model import BERT
from aigc_sdk_bert.train import BERTTrainer

METHODS: dict[str, Any] = {
    "lora": {"method": "lora", "rank": 4},
    "adalora": {"method": "adalora", "rank": 2, "initial_rank": 4},
    "ia3": "ia3",
    "bottleneck": {"method": "bottleneck", "width": 8},
    "prompt": {"method": "prompt", "tokens": 8},
    "prefix": {"method": "prefix", "tokens": 8},
}
STEPS = dict.fromkeys(METHODS, 100) | {"prefix": 500}
LEARNS: dict[str, Any] = {"batch_size": 16, "learning_rate": 1e-2, "warmup_steps": 5, "precision": "float32"}


@pytest.fixture(scope="module")
def encoder(small: Any, tmp_path_factory: Any) -> Path:
    """A masked language model that has read which word is of which kind, in a folder."""
    trainer = small.new(task="masked", width=32, context=40, dropout=0.0)
    told = [f"{text} : {label}" for text, label in small.sentences(300)]
    trainer.fit(told, max_steps=300, **{**LEARNS, "learning_rate": 5e-3, "mask_probability": 0.3})
    folder = tmp_path_factory.mktemp("encoder") / "model"
    trainer.model.save(folder)
    return folder


def opened(encoder: Path, method: str, **config: Any) -> BERTTrainer:
    return BERTTrainer.open(encoder, device="cpu", adapter=METHODS[method], **config)


def weights(network: Any) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in network.state_dict().items()}


@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns_and_leaves_the_encoder_as_it_is(
    small: Any, encoder: Path, method: str, tmp_path: Path
) -> None:
    trainer = opened(encoder, method)
    before = BERT.open(encoder, device="cpu").network.base_model.state_dict()
    options = {**LEARNS, "max_steps": STEPS[method], "learning_rate": 2e-2}
    *_, step = trainer.steps(small.sentences(150), validation=small.sentences(60, 1), **options)
    assert step.metrics["validation_accuracy"] >= 0.95
    after = trainer.model.network.base_model.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items() if "pooler" not in name)
    trainer.model.save(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    again = aigc_sdk.evaluator("bert", tmp_path / "adapter", device="cpu")
    assert again.labels == trainer.model.labels
    assert again.temperature == trainer.model.temperature
    texts = small.texts(20, 3)
    assert np.allclose(again.predict(texts), trainer.model.predict(texts), atol=1e-5)
    assert np.allclose(again.predict(texts), np.concatenate([again.predict([text]) for text in texts]), atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "adalora", "prefix", "bottleneck"])
def test_a_killed_run_goes_on_exactly(small: Any, encoder: Path, method: str, tmp_path: Path) -> None:
    arguments = {**LEARNS, "max_steps": 8, "save_every": 3}
    whole = opened(encoder, method)
    expected = [step.metrics for step in whole.steps(small.sentences(48), save_to=tmp_path / "whole", **arguments)]

    class Killed(BaseException):
        pass

    def kill(step: Step) -> None:
        if step.index == 5:
            raise Killed

    with pytest.raises(Killed):
        opened(encoder, method).fit(small.sentences(48), save_to=tmp_path / "cut", on_step=kill, **arguments)
    resumed = opened(encoder, method)
    rest = [
        step.metrics for step in resumed.steps(small.sentences(48), save_to=tmp_path / "cut", resume=True, **arguments)
    ]
    assert rest == expected[3:]
    assert resumed.model.fingerprint() == whole.model.fingerprint()


def test_adaloras_mean_rank_falls_to_its_target(small: Any, encoder: Path) -> None:
    trainer = opened(encoder, "adalora")
    trace = [step.metrics["mean_rank"] for step in trainer.steps(small.sentences(60), max_steps=30, **LEARNS)]
    assert trace[0] == 4
    assert trace == sorted(trace, reverse=True)
    assert trace[-1] == 2
    assert len(set(trainer.model.adapters.ranks("trained").values())) > 1


@pytest.mark.parametrize("method", ["lora", "adalora", "ia3", "prompt"])  # peft has no prefix for encoders
def test_plain_peft_opens_what_was_trained(small: Any, encoder: Path, method: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    trainer = opened(encoder, method)
    trainer.fit(small.sentences(48), max_steps=5, **LEARNS).save(tmp_path / "adapter")
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3)
    peft = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    texts = small.texts(6)
    inputs = AutoTokenizer.from_pretrained(encoder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = peft(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    from aigc_sdk_bert.encode import encode

    rows = encode(trainer.model.tokenizer, texts, [None] * 6, trainer.model.context)
    assert np.allclose(np.stack(run(trainer.model.network, rows)), logits.numpy(), atol=1e-4)


def test_a_merged_adapter_judges_the_same_and_is_saved_as_a_model(small: Any, encoder: Path, tmp_path: Path) -> None:
    judge = opened(encoder, "lora").fit(small.sentences(48), max_steps=20, **LEARNS)
    before = judge.predict(small.texts(9))
    judge.merge_adapter()
    assert judge.adapter is None
    assert np.allclose(judge.predict(small.texts(9)), before, atol=1e-5)
    judge.save(tmp_path / "merged")
    assert np.allclose(Judge.open(tmp_path / "merged", device="cpu").predict(small.texts(9)), before, atol=1e-5)


def test_several_adapters_in_one_packed_batch_give_what_each_gives_alone(
    small: Any, encoder: Path, tmp_path: Path
) -> None:
    from aigc_sdk_bert.heads import logits
    from aigc_sdk_bert.packed import Packed, Row

    judge = opened(encoder, "lora", labels=("a", "b")).model
    adapters = judge.adapters
    for seed, name in enumerate(("one", "two")):
        adapters.add(name, adapters.method("trained"), seed=seed)
        with torch.no_grad():
            for each in adapters.parameters(name):
                each.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed))
    rows = [Row([2, 7 + size, *[9] * size, 3]) for size in (3, 5, 4)]
    names = ["one", None, "two"]
    with torch.no_grad(), adapters.using(names):
        together = logits(judge.network, Packed.of(rows))
    for row, name, found in zip(rows, names, together, strict=True):
        with torch.no_grad(), adapters.using(name):
            assert torch.allclose(logits(judge.network, Packed.of([row]))[0], found, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_adapters_are_switched_by_name(small: Any, encoder: Path, tmp_path: Path) -> None:
    folders = []
    for seed in (0, 1):
        trainer = opened(encoder, "lora", labels=("animal", "colour", "number"))
        trainer.fit(small.sentences(48, seed), max_steps=3, seed=seed, **LEARNS).save(tmp_path / str(seed))
        folders.append(tmp_path / str(seed))
    judge = Judge.open(folders[0], device="cpu")
    judge.add_adapter(folders[1], "other")
    first = judge.predict(["the red on a hill"])
    judge.use_adapter("other")
    second = judge.predict(["the red on a hill"])
    assert not np.allclose(first, second)
    assert np.allclose(second, Judge.open(folders[1], device="cpu").predict(["the red on a hill"]), atol=1e-6)


def test_masked_words_are_learnt_beside_an_encoder(small: Any, encoder: Path, tmp_path: Path) -> None:
    trainer = opened(encoder, "lora", task="masked")
    found = [
        step.metrics["loss"] for step in trainer.steps(["a king and a queen of spain"] * 20, max_steps=30, **LEARNS)
    ]
    assert found[-1] < found[0] - 1
    trainer.model.save(tmp_path / "adapter")
    again = aigc_sdk.load(tmp_path / "adapter", device="cpu")
    assert again.fingerprint() == trainer.model.fingerprint()
    [text] = trainer.model.generate("the [MASK] on a hill", seed=1)
    assert text.origin["model"]["adapter"] == "trained"


def test_an_answer_made_with_an_adapter_replays_once_it_is_in_a_folder(encoder: Path, tmp_path: Path) -> None:
    made = ["the red king", "a blue hill"] * 10
    model = opened(encoder, "lora", task="masked").fit(made, max_steps=20, **LEARNS)
    prompt = "the [MASK] on a [MASK]"
    model.generate(prompt, seed=1)[0].save(tmp_path / "lost.txt")
    with pytest.raises(MediaError, match="had not been saved"):
        aigc_sdk.replay(tmp_path / "lost.txt")
    model.save(tmp_path / "adapter")
    again = aigc_sdk.load(tmp_path / "adapter", device="cpu")
    [text] = again.generate(prompt, seed=1)
    text.save(tmp_path / "made.txt")
    replayed = aigc_sdk.replay(tmp_path / "made.txt")
    assert replayed.same
    assert replayed.differences == ()
    again.use_adapter(None)
    assert again.generate(prompt, seed=1)[0].origin["model"].keys() == {"source", "fingerprint"}


def test_what_does_not_fit_together_is_refused(small: Any, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="adapter is for a model that is there already"):
        BERTTrainer.open(device="cpu", adapter="lora")
    with pytest.raises(OptionError, match=r"'lara' is no method. Did you mean 'lora'"):
        BERTTrainer.open(encoder, device="cpu", adapter="lara")
    with pytest.raises(OptionError, match="rank=99"):
        BERTTrainer.open(encoder, device="cpu", adapter={"method": "lora", "rank": 99}, labels=("a", "b"))
    trainer = opened(encoder, "lora", labels=("a", "b"))
    with pytest.raises(OptionError, match=r"layer_decay=0.5"):
        trainer.steps([("x", "a"), ("y", "b")], max_steps=1, layer_decay=0.5)
    trainer.fit([("x", "a"), ("y", "b")], max_steps=1, **LEARNS).save(tmp_path / "two")
    other = opened(encoder, "lora", labels=("c", "d", "e")).model
    with pytest.raises(MismatchedFolder, match="tells a, b"):
        other.add_adapter(tmp_path / "two")
    with pytest.raises(OptionError, match="there is no adapter 'three'"):
        other.use_adapter("three")
    stranger = small.new(labels=("a", "b"), width=32, context=40, seed=9).model
    stranger.network.resize_token_embeddings(len(trainer.model.tokenizer))
    with pytest.raises(MismatchedFolder, match="with the weights"):
        stranger.add_adapter(tmp_path / "two")
    virtual = opened(encoder, "prefix", labels=("a", "b")).model
    with pytest.raises(NotOffered, match="cannot be merged"):
        virtual.merge_adapter()
    assert len(Adapters.of(virtual.network)) == 1
