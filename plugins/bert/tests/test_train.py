"""The trainer: every task learns, labels come from where they should, and what is trained opens everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

import aigc_sdk
from aigc_sdk.errors import MismatchedFolder, OptionError
from aigc_sdk.protocols import Fit, Step
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.model import BERT
from aigc_sdk_bert.network import groups
from aigc_sdk_bert.train import BERTTrainer

LEARNS: dict[str, Any] = {"batch_size": 16, "learning_rate": 5e-3, "warmup_steps": 10, "precision": "float32"}


def multi(pairs: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    return [(text, [label] + ["hill"] * ("hill" in text)) for text, label in pairs]


def tiny(tokenizer: Any) -> dict[str, int]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return {"vocab_size": len(tokenizer), **sizes}


def fit(max_steps: int, **options: Any) -> Fit:
    return Fit(max_steps, 0, BERTTrainer.Options.parse("bert", options))


def last(steps: Any) -> dict[str, float]:
    *_, step = steps
    return dict(step.metrics)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in model.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def encoder(small: Any, tmp_path_factory: Any) -> Path:
    """A masked language model of the sentences, in a folder."""
    trainer = small.new(task="masked", width=32, dropout=0.0)
    trainer.fit(small.texts(120) + [each["context"] for each in small.questions(60)], max_steps=40, **LEARNS)
    folder = tmp_path_factory.mktemp("encoder") / "model"
    trainer.model.save(folder)
    return folder


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    """One that tells the sentences' labels."""
    trainer = small.new(width=32, dropout=0.0)
    model = trainer.fit(small.sentences(150), max_steps=80, validation=small.sentences(60, 1), **LEARNS)
    assert isinstance(model, Judge)
    return model


def test_a_new_model_learns_tokenizer_and_labels_from_the_data_and_then_to_tell_them(small: Any, judge: Judge) -> None:
    assert judge.labels == ("animal", "colour", "number")
    held_out = small.sentences(90, 2)
    found = judge.predict([text for text, _ in held_out])
    right = [judge.labels[row.argmax()] == label for row, (_, label) in zip(found, held_out, strict=True)]
    assert np.mean(right) >= 0.95
    assert np.allclose(found.sum(1), 1)


def test_several_labels_at_once_are_told(small: Any) -> None:
    trainer = small.new(task="multi-label", width=32, dropout=0.0)
    data, held_out = multi(small.sentences(150)), multi(small.sentences(60, 1))
    found = last(trainer.steps(data, max_steps=100, validation=held_out, **LEARNS))
    assert found["validation_micro_f1"] >= 0.95
    assert trainer.model.labels == ("animal", "colour", "hill", "number")


def test_numbers_are_told(small: Any) -> None:
    numbers = [[(text, len(text) / 10) for text in small.texts(count, seed)] for count, seed in ((150, 0), (60, 1))]
    trainer = small.new(task="regression", width=32, dropout=0.0)
    found = last(trainer.steps(numbers[0], max_steps=150, validation=numbers[1], **LEARNS))
    assert found["validation_pearson"] >= 0.9
    assert trainer.model.labels == ()
    assert trainer.model.predict(["the red on a hill"]).shape == (1,)


def test_pairs_are_told_apart_by_their_second_text(small: Any) -> None:
    pairs = [
        ((one, other), label)
        for (one, _), (other, label) in zip(small.sentences(150, 3), small.sentences(150), strict=True)
    ]
    trainer = small.new(width=32, dropout=0.0)
    trainer.fit(pairs, max_steps=120, **LEARNS)
    texts, seconds = ["the six on a hill"] * 3, ["the ox on a hill", "the red on a hill", "the two on a hill"]
    found = trainer.model.predict(texts, seconds)
    assert [trainer.model.labels[index] for index in found.argmax(1)] == ["animal", "colour", "number"]


def test_spans_are_found_with_their_characters(small: Any) -> None:
    trainer = small.new(task="tokens", width=32, dropout=0.0)
    found = last(trainer.steps(small.spans(120), max_steps=100, validation=small.spans(40, 1), **LEARNS))
    assert found["validation_entity_f1"] >= 0.95
    [spans] = trainer.model.predict(["the red and the cow by the river"])
    assert [(each.label, each.start, each.end, each.text) for each in spans] == [
        ("colour", 4, 7, "red"),
        ("animal", 16, 19, "cow"),
    ]


def test_questions_are_answered_out_of_their_contexts(small: Any) -> None:
    trainer = small.new(task="questions", width=32, dropout=0.0, context=48)
    found = last(trainer.steps(small.questions(300), max_steps=150, validation=small.questions(40, 1), **LEARNS))
    assert found["validation_exact_match"] >= 0.9
    [answer] = trainer.model.predict(["where is the dog"], ["the dog is on a hill and the ox is in the house"])
    assert answer.text == "on a hill"
    assert (answer.start, answer.end) == (11, 20)


def test_masked_words_are_learnt_from_plain_text(small: Any) -> None:
    trainer = small.new(task="masked", width=32, dropout=0.0)
    found = [
        step.metrics for step in trainer.steps(small.texts(150), max_steps=150, validation=small.texts(40, 1), **LEARNS)
    ]
    assert found[-1]["validation_loss"] < 1 < 3 < found[0]["loss"]
    assert isinstance(trainer.model, BERT)
    [[best]] = trainer.model.suggest("the red on a [MASK]", 1)
    assert best.text == "hill"


def test_an_encoder_learns_labels_after_plain_text_and_keeps_its_tokenizer(small: Any, encoder: Path) -> None:
    trainer = aigc_sdk.trainer("bert", encoder, device="cpu")
    before = trainer.model.tokenizer.get_vocab()
    found = last(trainer.steps(small.sentences(60), max_steps=80, validation=small.sentences(60, 1), **LEARNS))
    assert found["validation_accuracy"] >= 0.95
    assert trainer.model.tokenizer.get_vocab() == before


def test_an_encoder_whose_folder_holds_float16_is_trained_in_float32(small: Any, encoder: Path, tmp_path: Path) -> None:
    model = BERT.open(encoder, device="cpu")
    model.network.half()
    model.save(tmp_path / "half")
    for config in ({}, {"labels": ("animal", "colour", "number")}):
        trainer = BERTTrainer.open(tmp_path / "half", device="cpu", **config)
        trainer.fit(small.sentences(12), max_steps=1, **LEARNS)
        assert {each.dtype for each in trainer.model.network.parameters()} == {torch.float32}


def test_the_loss_is_the_mean_over_the_batch_also_in_micro_batches(small: Any) -> None:
    data = {"classification": small.sentences(24), "tokens": small.spans(24), "masked": small.texts(24)}
    for task, some in data.items():
        runs = []
        for size in (None, 3):
            options = {**LEARNS, "micro_batch_size": size, "class_weights": "balanced", "label_smoothing": 0.1}
            steps = small.new(task=task, dropout=0.0).steps(some, max_steps=1, **options)
            runs.append([step.metrics["gradient_norm"] for step in steps])
        if task != "masked":  # which masks other tokens
            assert runs[1] == pytest.approx(runs[0], rel=1e-4)


def test_class_weights_and_smoothing_are_torchs(small: Any) -> None:
    data = small.sentences(12)
    trainer = small.new(dropout=0.0)
    options = {"batch_size": 12, "label_smoothing": 0.1, "class_weights": {"animal": 3.0}, "precision": "float32"}
    [step] = trainer.run(data, fit(1, **options))
    again = small.new(dropout=0.0)
    ready = again._install(data, fit(1).options)
    judged = Judge(again.model.network, ready.tokenizer)
    from aigc_sdk_bert.judge import run

    logits = torch.tensor(np.stack(run(judged.network, ready.rows)))
    criterion = torch.nn.CrossEntropyLoss(torch.tensor([3.0, 1, 1], dtype=torch.float64), label_smoothing=0.1)
    assert step.metrics["loss"] == pytest.approx(float(criterion(logits, torch.tensor(ready.values))), rel=1e-5)


def test_layers_learn_the_slower_the_deeper_they_are(small: Any) -> None:
    network = small.new().model.network
    found = {id(each): group for group in groups([network], 1.0, 0.01, 0.5) for each in group["params"]}
    rates = {name: found[id(each)]["lr"] for name, each in network.named_parameters()}
    assert rates["classifier.weight"] == rates["bert.pooler.dense.weight"] == 1
    assert rates["bert.encoder.layer.1.output.dense.weight"] == 0.5
    assert rates["bert.encoder.layer.0.output.dense.weight"] == 0.25
    assert rates["bert.embeddings.word_embeddings.weight"] == 0.125
    for each in network.parameters():
        assert found[id(each)]["weight_decay"] == (0.01 if each.ndim >= 2 else 0)


def test_a_run_ends_when_the_watched_metric_has_not_improved_for_long_enough(small: Any, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        **LEARNS,
        "learning_rate": 1e-9,
        "max_steps": 40,
        "validation": small.sentences(12, 1),
        "evaluate_every": 2,
        "patience": 2,
        "watch": "accuracy",
        "save_every": 2,
    }
    whole = small.new(dropout=0.0)
    steps = list(whole.steps(small.sentences(24), save_to=tmp_path / "whole", **arguments))
    assert len(steps) == 6  # the first validation is the best, and two more are no better
    assert aigc_sdk.evaluator("bert", tmp_path / "whole", device="cpu").labels == whole.model.labels

    class Killed(BaseException):
        pass

    def kill(step: Step) -> None:
        if step.index == 5:
            raise Killed

    with pytest.raises(Killed):
        small.new(dropout=0.0).fit(small.sentences(24), save_to=tmp_path / "cut", on_step=kill, **arguments)
    resumed = small.new(dropout=0.0)
    rest = list(resumed.steps(small.sentences(24), save_to=tmp_path / "cut", resume=True, **arguments))
    assert [step.index for step in rest] == [5, 6]
    assert same(weights(resumed.model), weights(whole.model))


def test_a_judges_folder_opens_in_plain_transformers_with_its_labels(judge: Judge, small: Any, tmp_path: Path) -> None:
    judge.save(tmp_path / "judge")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge")
    assert network.config.id2label == {0: "animal", 1: "colour", 2: "number"}
    assert network.config.problem_type == "single_label_classification"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "judge")
    texts = small.texts(5)
    with torch.no_grad():
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        logits = network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    chances = (logits / judge.temperature).softmax(-1).numpy()
    assert np.allclose(judge.predict(texts), chances, atol=1e-5)
    again = Judge.open(tmp_path / "judge", device="cpu")
    assert np.array_equal(again.predict(texts), judge.predict(texts))
    assert again.temperature == judge.temperature != 1


def test_a_judge_of_plain_transformers_opens_here_and_is_trained_further(
    small: Any, tmp_path: Path, judge: Judge
) -> None:
    judge.save(tmp_path / "ours")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    network.save_pretrained(tmp_path / "plain")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "plain")
    assert np.array_equal(Judge.open(tmp_path / "plain", device="cpu").predict(["an ox"]), judge.predict(["an ox"]))
    trainer = BERTTrainer.open(tmp_path / "plain", device="cpu")
    assert trainer.task.labels == judge.labels
    before = weights(trainer.model)
    found = last(trainer.steps(small.sentences(30), max_steps=1, **LEARNS))
    assert found["loss"] < 0.5  # it goes on with the head that it had
    assert not same(weights(trainer.model), before)


def test_a_bert_with_all_that_its_pre_training_left_takes_a_new_head(small: Any, encoder: Path, tmp_path: Path) -> None:
    """Published BERTs hold a pooler and a next-sentence head beside the masked language model."""
    from safetensors.torch import load_file, save_file

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(0)
    config = BertConfig(**tiny(tokenizer), max_position_embeddings=32)
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    file = tmp_path / "bert" / "model.safetensors"
    more = {"cls.seq_relationship.weight": torch.zeros(2, 16), "bert.pooler.dense.bias": torch.zeros(16)}
    save_file({**load_file(file), **more}, file, metadata={"format": "pt"})
    assert BERT.open(tmp_path / "bert", device="cpu").suggest("a [MASK]", 1)
    one, other = (BERTTrainer.open(tmp_path / "bert", device="cpu", labels=("a", "b"), seed=5) for _ in range(2))
    assert same(weights(one.model), weights(other.model))
    embedded = AutoModelForMaskedLM.from_pretrained(tmp_path / "bert").get_input_embeddings().weight
    assert torch.equal(one.model.network.get_input_embeddings().weight, embedded)


def test_an_encoder_without_a_head_and_another_architecture_take_one(small: Any, encoder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(0)
    networks = {
        "bert": BertModel(BertConfig(**tiny(tokenizer), max_position_embeddings=32)),
        "roberta": RobertaForMaskedLM(RobertaConfig(**tiny(tokenizer), max_position_embeddings=40, pad_token_id=0)),
    }
    for name, network in networks.items():
        network.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        trainer = BERTTrainer.open(tmp_path / name, device="cpu")
        before = trainer.model.network.base_model.get_input_embeddings().weight.clone()
        assert torch.equal(before, network.get_input_embeddings().weight)
        trainer.fit(small.sentences(30), max_steps=2, **LEARNS)
        trainer.model.save(tmp_path / f"{name}-judge")
        assert Judge.open(tmp_path / f"{name}-judge", device="cpu").labels == ("animal", "colour", "number")
    assert BERT.open(tmp_path / "bert", device="cpu").embed(["a cow"]).shape == (1, 16)


def test_another_tokenizer_or_other_labels_are_no_state_to_go_on_from(small: Any) -> None:
    trainer = small.new()
    trainer.fit(small.sentences(24), max_steps=1, **LEARNS)
    state = trainer.state_dict()
    other = small.new()
    other.fit([("quite other words", "a"), ("and more of them", "b")], max_steps=1, **LEARNS)
    with pytest.raises(MismatchedFolder, match="another tokenizer"):
        other.load_state_dict(state)
    with pytest.raises(MismatchedFolder, match="the labels animal, colour, number"):
        small.new(labels=("a", "b")).load_state_dict(state)


def test_opening_and_training_leave_the_callers_random_state_alone(small: Any, encoder: Path) -> None:
    before = torch.get_rng_state()
    trainer = BERTTrainer.open(encoder, device="cpu")
    trainer.fit(small.sentences(12), max_steps=2, validation=small.sentences(6), **LEARNS)
    assert torch.equal(torch.get_rng_state(), before)


def test_between_updates_the_judge_can_be_used(small: Any) -> None:
    trainer = small.new(dropout=0.5)
    for _ in trainer.steps(small.sentences(12), max_steps=2, **LEARNS):
        first = trainer.model.predict(["the red on a hill"])
        assert np.array_equal(trainer.model.predict(["the red on a hill"]), first)


def test_unwatched_patience_is_refused(small: Any) -> None:
    with pytest.raises(OptionError, match="patience needs validation data"):
        small.new().steps(small.sentences(12), max_steps=2, patience=1, **LEARNS)
