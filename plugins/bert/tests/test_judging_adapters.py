"""An adapter for each text of one batch: every text is judged as its adapter judges it alone, head and temperature included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
)

from aigc_sdk.adapters import Adapters, Bottleneck, LoRA, method
from aigc_sdk.errors import ContextOverflow, DataError, OptionError
from aigc_sdk_bert.encode import Encoded
from aigc_sdk_bert.explain import explain
from aigc_sdk_bert.judge import Judge, run
from aigc_sdk_bert.packed import Row
from aigc_sdk_bert.train import BERTTrainer, beside_the_encoder

QUICK: dict[str, Any] = {"max_steps": 1, "batch_size": 8, "precision": "float32"}
METHODS: dict[str, Any] = {
    "lora": {"method": "lora", "rank": 2},
    "adalora": {"method": "adalora", "rank": 2, "initial_rank": 4},
    "ia3": "ia3",
    "bottleneck": {"method": "bottleneck", "width": 4},
    "prompt": {"method": "prompt", "tokens": 4},
    "prefix": {"method": "prefix", "tokens": 6},
}

SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS = {
    "bert": BertConfig(**SIZES, intermediate_size=32),
    "roberta": RobertaConfig(**SIZES, intermediate_size=32, max_position_embeddings=64),
    "distilbert": DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    "electra": ElectraConfig(**SIZES, intermediate_size=32, embedding_size=8),
    "modernbert": ModernBertConfig(**SIZES, intermediate_size=32, local_attention=4, pad_token_id=0),
}
HEADS = {
    "sequence": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "questions": AutoModelForQuestionAnswering,
}


def with_adapters(judge: Judge, *names: str) -> Judge:
    """One adapter of each method, with weights and a head far from the network's."""
    for seed, name in enumerate(names or METHODS):
        judge.adapters.add(name, method(METHODS[name]), seed=seed, also=beside_the_encoder(judge.network))
        with torch.no_grad():
            for each in judge.adapters.parameters(name):
                each.add_(0.5 * torch.randn(each.shape, generator=torch.Generator().manual_seed(seed)))
    return judge


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    return with_adapters(small.new().fit(small.sentences(12), **QUICK))


def one_each(count: int) -> list[str | None]:
    names = [None, *METHODS]
    return [names[index % len(names)] for index in range(count)]


def test_every_text_is_judged_as_by_its_adapter_alone(judge: Judge, small: Any) -> None:
    texts, names = small.texts(14), one_each(14)
    together = judge.predict(texts, adapter=names)
    alone = [judge.predict([text], adapter=[name])[0] for text, name in zip(texts, names, strict=True)]
    assert np.allclose(together, alone, atol=1e-5)
    for name in METHODS:
        judge.use_adapter(name)
        places = [place for place, each in enumerate(names) if each == name]
        assert np.allclose(together[places], judge.predict([texts[place] for place in places]), atol=1e-5)
        judge.use_adapter(None)
        assert not np.allclose(together[places], judge.predict([texts[place] for place in places]), atol=1e-3)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_head_of_every_architecture_answers_row_by_row(kind: str, head: str) -> None:
    torch.manual_seed(0)
    network = HEADS[head].from_config(CONFIGS[kind], attn_implementation="sdpa").eval()
    manager = Adapters.of(network)
    for seed, (name, given) in enumerate((("lora", LoRA(rank=2)), ("bottleneck", Bottleneck(width=4)))):
        manager.add(name, given, seed=seed, also=beside_the_encoder(network))
        with torch.no_grad():
            for each in manager.parameters(name):
                each.add_(0.3 * torch.randn(each.shape))
    lengths = [5, 12, 5, 3, 9]
    rows = [
        Encoded(Row(torch.randint(3, 40, (length,)).tolist()), index, ((0, 0),) * length, (0,) * length)
        for index, length in enumerate(lengths)
    ]
    names = ["lora", None, "bottleneck", "lora", "bottleneck"]
    together = run(network, rows, adapters=names)
    for row, name, found in zip(rows, names, together, strict=True):
        with manager.using(name):
            assert np.allclose(run(network, [row])[0], found, atol=1e-5)
    assert not np.allclose(run(network, rows[:1], adapters=["bottleneck"])[0], together[0], atol=1e-3)


def test_one_name_is_for_all_texts_and_leaves_the_one_in_use(judge: Judge, small: Any) -> None:
    judge.use_adapter("ia3")
    own = judge.predict(small.texts(3))
    assert np.allclose(
        judge.predict(small.texts(3), adapter="lora"), judge.predict(small.texts(3), adapter=["lora"] * 3)
    )
    assert judge.adapter == "ia3"
    with judge.adapters.using(["lora", "prompt", None]):
        block = judge.predict(small.texts(3))
    assert np.allclose(block, judge.predict(small.texts(3), adapter=["lora", "prompt", None]))
    assert np.array_equal(judge.predict(small.texts(3)), own)
    judge.use_adapter(None)


def test_numbers_several_labels_spans_and_answers_take_an_adapter_each_too(small: Any) -> None:
    texts = small.texts(8)
    names = one_each(8)
    numbers = small.new(task="regression").fit([(text, float(len(text))) for text in texts], **QUICK)
    labels = small.new(task="multi-label").fit([(text, [label]) for text, label in small.sentences(12)], **QUICK)
    for judge in map(with_adapters, (numbers, labels)):
        alone = [judge.predict([text], adapter=[name])[0] for text, name in zip(texts, names, strict=True)]
        assert np.allclose(judge.predict(texts, adapter=names), alone, atol=1e-5)
    spans = with_adapters(small.new(task="tokens").fit(small.spans(12), **QUICK))
    answers = with_adapters(small.new(task="questions").fit(small.questions(8), **QUICK))
    asked = small.questions(8, 1)
    pairs = [each["context"] for each in asked]
    questions = [each["question"] for each in asked]
    for judge, first, second in ((spans, texts, None), (answers, questions, pairs)):
        together = judge.predict(first, second, adapter=names)
        for place, name in enumerate(names):
            [alone] = judge.predict([first[place]], second and [second[place]], adapter=name or [None])
            rows = zip(together[place], alone, strict=True) if judge is spans else [(together[place], alone)]
            for found, wanted in rows:
                assert found[:-1] == wanted[:-1]
                assert found.confidence == pytest.approx(wanted.confidence, abs=1e-5)


def test_each_text_has_the_room_that_its_adapter_leaves(judge: Judge) -> None:
    full = " ".join(["hill"] * (judge.context - 2))
    found = judge.predict([full, "hill", full], adapter=["lora", "prompt", None])
    assert np.allclose(found[0], judge.predict([full], adapter="lora")[0], atol=1e-5)
    with pytest.raises(ContextOverflow, match=r"texts\[1\] has 32 tokens, 4 more than the 28"):
        judge.predict(["hill", full], adapter=[None, "prompt"])
    windows = judge.predict([full, full], adapter=["prompt", "lora"], too_long="split")
    assert np.allclose(windows[0], judge.predict([full], adapter="prompt", too_long="split")[0], atol=1e-5)


def test_each_adapter_is_calibrated_by_itself(small: Any, tmp_path: Path) -> None:
    base = small.new().fit(small.sentences(12), **QUICK)
    base.temperature = 2.0
    base.save(tmp_path / "base")
    for name, heat in (("warm", 3.0), ("cold", 0.5)):
        tuned = BERTTrainer.open(tmp_path / "base", device="cpu", adapter="lora").model
        tuned.temperature = heat
        tuned.save(tmp_path / name)
    judge = Judge.open(tmp_path / "warm", device="cpu")
    judge.add_adapter(tmp_path / "cold", "cold")
    assert judge.temperature == 3.0
    report = judge.evaluate(["the red hill"] * 3, adapter=["trained", "cold", None])
    for row, folder in zip(report.rows, ("warm", "cold", "base"), strict=True):
        alone = Judge.open(tmp_path / folder, device="cpu").predict(["the red hill"])[0]
        assert np.allclose(list(row["probabilities"].values()), alone, atol=1e-5)
    judge.merge_adapter("cold")
    judge.use_adapter(None)
    assert judge.temperature == 0.5


def test_a_report_names_the_adapters_and_their_digests(judge: Judge, small: Any) -> None:
    texts, labels = zip(*small.sentences(6), strict=True)
    report = judge.evaluate(texts, labels, adapter=["lora", "prompt", None] * 2, bootstrap=0)
    told = report["accuracy"].protocol
    for name in ("lora", "prompt"):
        assert f"adapter {name} ({judge.adapters.fingerprint(name)[:12]})" in told
    assert "no adapter" in told
    assert [row["adapter"] for row in report.rows] == ["lora", "prompt", None] * 2
    assert "adapter ia3 (" in judge.evaluate(texts, adapter="ia3")["confidence"].protocol
    judge.use_adapter("ia3")
    assert "adapter ia3 (" in judge.evaluate(texts)["confidence"].protocol
    judge.use_adapter(None)
    assert "adapter" not in judge.evaluate(texts)["confidence"].protocol


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adapter": "lara"}, "there is no adapter 'lara'. Did you mean 'lora'"),
        ({"adapter": ["lora", "lara"]}, "there is no adapter 'lara'"),
        ({"adapter": ["lora"]}, "1 names for 2 texts; give one for all, or one each"),
        ({"adapter": ["lora", None, None]}, "3 names for 2 texts"),
        ({"adapter": ["lora", None], "int8": True}, "without adapters"),
    ],
)
def test_adapters_that_cannot_be_used_are_refused_by_name(judge: Judge, options: dict[str, Any], words: str) -> None:
    for call in (judge.predict, judge.evaluate):
        with pytest.raises(OptionError, match=words) as caught:
            call(["the red hill", "a cow"], **options)
        assert caught.value.field in ("adapter", "int8")


@pytest.mark.parametrize("given", [3, {"lora": 1}, [["lora"], None]])
def test_what_is_no_name_is_refused(judge: Judge, given: Any) -> None:
    for call in (judge.predict, judge.evaluate):
        with pytest.raises(OptionError) as caught:
            call(["the red hill", "a cow"], adapter=given)
        assert caught.value.field == "adapter"


def test_a_head_that_nobody_taught_judges_nothing(small: Any, tmp_path: Path) -> None:
    small.new(task="masked").fit(small.texts(12), **QUICK).save(tmp_path / "encoder")
    trainer = BERTTrainer.open(tmp_path / "encoder", device="cpu", adapter="lora")
    tuned = trainer.fit(small.sentences(12), **QUICK)
    tuned.save(tmp_path / "tuned")
    for judge in (tuned, Judge.open(tmp_path / "tuned", device="cpu")):
        assert judge.predict(["a cow"]).shape == (1, 3)
        with pytest.raises(OptionError, match="None for text 1, and the model alone has not learnt classification"):
            judge.predict(["a cow", "a cow"], adapter=["trained", None])
        judge.use_adapter(None)
        with pytest.raises(OptionError, match=r"name one\. Adapters: trained"):
            judge.predict(["a cow"])
        with pytest.raises(OptionError, match="the model alone has not learnt"):
            explain(judge, "a cow")
        judge.merge_adapter("trained")
        assert judge.predict(["a cow"], adapter=[None]).shape == (1, 3)


def test_no_texts_take_no_adapters(judge: Judge) -> None:
    assert judge.predict([], adapter=[]).shape == (0, 3)
    with pytest.raises(DataError):
        judge.evaluate([], adapter=[])
