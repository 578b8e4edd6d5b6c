"""Learning from texts without labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aigc_sdk.errors import ContextOverflow, DataError, OptionError
from aigc_sdk_bert.augment import deleted
from aigc_sdk_bert.consistency import Semi, Unlabelled, gradients, pseudo_labelled, targets
from aigc_sdk_bert.data import Example
from aigc_sdk_bert.encode import encode
from aigc_sdk_bert.heads import logits
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.network import TrainingNetwork
from aigc_sdk_bert.packed import Packed

TEXTS = ["the cow on a hill by the river", "the red by the river of stone", "the two in the house", "a river of stone"]


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    found = small.new(dropout=0.0).fit(small.sentences(30), max_steps=4, **small.quick)
    assert isinstance(found, Judge)
    return found


class Steps:
    """A loop of one process that adds up plain gradients."""

    def parts(self, rows: np.ndarray, size: int | None = None) -> Any:
        size = size or len(rows)
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def autocast(self) -> Any:
        return torch.autocast("cpu", enabled=False)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


def semi(way: Any, **changes: Any) -> Semi:
    found = {
        "batch_size": 4,
        "weight": 0.5,
        "after": 0,
        "confidence": 0.0,
        "sharpening": 0.4,
        "change": "delete",
        "share": 0.5,
    }
    return Semi(way, **{**found, **changes})


def unlabelled(judge: Judge, texts: list[str] = TEXTS, **changes: Any) -> Unlabelled:
    examples = [Example(text, **changes) for text in texts]
    rows = encode(judge.tokenizer, texts, [None] * len(texts), judge.context)
    return Unlabelled(examples, rows, judge.tokenizer, judge.context)


def middle(judge: Judge) -> float:
    """A probability that two of the four texts reach."""
    return float(np.sort(judge.predict(TEXTS).max(1))[1:3].mean())


def said(judge: Judge, text: str) -> torch.Tensor:
    [row] = encode(judge.tokenizer, [text], [None], judge.context)
    return logits(judge.network, Packed.of([row.row]))[0]


def collected(judge: Judge, some: Unlabelled, how: Semi, **changes: Any) -> tuple[list[torch.Tensor], float, float]:
    network = TrainingNetwork(judge.network, judge.task)
    network.zero_grad()
    loss, sure = gradients(Steps(), network, judge.network, some, how, seed=7, step=3, **changes)  # type: ignore[arg-type]
    found = [torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in network.parameters()]
    network.zero_grad()
    return found, float(loss), float(sure)


def test_what_a_network_is_unsure_of_is_no_target(judge: Judge) -> None:
    some = unlabelled(judge)
    chances = torch.stack([said(judge, text).softmax(-1) for text in TEXTS])
    wanted, sure = targets(judge.network, some.rows, semi("pseudo", confidence=middle(judge)))
    assert sure.tolist() == (chances.amax(-1) >= middle(judge)).tolist()
    assert sure.sum() == 2
    assert wanted[~sure].abs().sum() == 0
    assert wanted[sure].argmax(-1).tolist() == chances[sure].argmax(-1).tolist()
    assert set(wanted[sure].flatten().tolist()) == {0.0, 1.0}


def test_targets_of_consistency_are_sharpened_probabilities(judge: Judge) -> None:
    wanted, _ = targets(judge.network, unlabelled(judge).rows, semi("consistency", confidence=0))
    chances = torch.stack([said(judge, text).softmax(-1) for text in TEXTS])
    sharp = chances ** (1 / 0.4)
    torch.testing.assert_close(wanted, sharp / sharp.sum(1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_text_is_taken_for_what_is_said_without_dropout(judge: Judge) -> None:
    modes: list[bool] = []
    hook = judge.network.bert.register_forward_pre_hook(lambda body, inputs: modes.append(body.training))
    judge.network.train()
    collected(judge, unlabelled(judge), semi("consistency"))
    hook.remove()
    assert modes == [False, True]
    assert judge.network.training
    judge.network.eval()


def test_an_update_of_consistency_is_that_of_the_paper(judge: Judge) -> None:
    """Xie et al. 2020, section 2.2: the divergence of what is said of the changed text from what was said of the text."""
    how, others = semi("consistency", confidence=middle(judge)), ("the cow", "the red one")
    some = unlabelled(judge, changed=others)
    found, _, sure = collected(judge, some, how)
    drawn = some.drawn(7, 3, 4)
    assert sorted(drawn.tolist()) == [0, 1, 2, 3]
    changed = some.changed(drawn.tolist(), "delete", 0.5, _change_seeds())
    judge.network.zero_grad()
    total, counted = torch.zeros(()), 0
    for index, row in zip(drawn, changed, strict=True):
        with torch.no_grad():
            before = said(judge, TEXTS[index])
        if before.softmax(-1).max() >= how.confidence:
            after = logits(judge.network, Packed.of([row.row]))[0].log_softmax(-1)
            total = total + F.kl_div(after, (before / how.sharpening).softmax(-1), reduction="sum")
            counted += 1
    (how.weight * total / how.batch_size).backward()
    assert counted
    assert sure == counted / 4
    for gradient, parameter in zip(found, judge.network.parameters(), strict=True):
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)
    judge.network.zero_grad()


def test_an_update_of_pseudo_labels_learns_the_likeliest_label(judge: Judge) -> None:
    how = semi("pseudo", confidence=middle(judge), change="none")
    found, loss, _ = collected(judge, unlabelled(judge), how)
    total = torch.zeros(())
    for text in TEXTS:
        scores = said(judge, text)
        if scores.softmax(-1).max() >= how.confidence:
            total = total + F.cross_entropy(scores[None], scores.argmax()[None])
    expected = how.weight * total / 4
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-6)
    for gradient, parameter in zip(found, judge.network.parameters(), strict=True):
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)
    judge.network.zero_grad()


@pytest.mark.parametrize("way", ["pseudo", "consistency"])
def test_micro_batches_change_nothing(judge: Judge, way: Any) -> None:
    whole, parts = (collected(judge, unlabelled(judge), semi(way), micro_batch_size=size) for size in (None, 1))
    assert whole[1:] == pytest.approx(parts[1:], abs=1e-6)
    for one, other in zip(whole[0], parts[0], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_every_text_comes_once_in_an_epoch(judge: Judge) -> None:
    some = unlabelled(judge)
    drawn = [index for step in (1, 2, 3, 4) for index in some.drawn(5, step, 2)]
    assert sorted(drawn[:4]) == sorted(drawn[4:]) == [0, 1, 2, 3]


def test_texts_that_bring_changed_ones_are_changed_into_those(judge: Judge) -> None:
    some = unlabelled(judge, changed=("the cow", "the red"))
    rows = some.changed([0, 1, 2], "delete", 0.5, [1, 2, 3])
    known = [list(row.row.ids) for row in encode(judge.tokenizer, ["the cow", "the red"], [None, None], judge.context)]
    assert all(list(row.row.ids) in known for row in rows)
    own = unlabelled(judge).changed([0], "delete", 0.5, [1])
    assert [list(row.row.ids) for row in own] == [
        list(row.row.ids)
        for row in encode(judge.tokenizer, deleted(TEXTS[:1], share=0.5, seed=1), [None], judge.context)
    ]


@pytest.mark.parametrize("way", ["pseudo", "consistency"])
def test_a_resumed_run_is_the_same_run(small: Any, tmp_path: Any, way: str) -> None:
    data = [*small.sentences(12), *((text, None) for text in small.texts(40, seed=1))]
    options = {**small.quick, "unlabelled": way, "confidence": 0.3, "unlabelled_batch_size": 6, "unlabelled_after": 2}
    whole = small.new()
    steps = list(whole.steps(data, max_steps=8, **options))
    assert {"unlabelled_loss", "confident"} <= set(steps[-1].metrics)
    assert [step.metrics["confident"] for step in steps] == pytest.approx([0, 0, 1, 1, 1, 1, 1, 1])
    for step in small.new().steps(data, max_steps=8, save_to=tmp_path, **options):
        if step.index == 4:
            break
    again = small.new()
    rest = list(again.steps(data, max_steps=8, save_to=tmp_path, resume=True, **options))
    assert [step.metrics for step in rest] == [step.metrics for step in steps[4:]]
    assert again.model.fingerprint() == whole.model.fingerprint()


def test_unlabelled_texts_may_stand_anywhere_and_their_number_is_right_in_errors(small: Any) -> None:
    trainer = small.new(labels=["animal", "colour"])
    data = [("the cow", None), ("the ox", "animal"), ("the river", None), ("the red", "colors")]
    with pytest.raises(DataError, match=r"data\[3\].*Did you mean 'colour'"):
        trainer.fit(data, max_steps=1, unlabelled="pseudo")
    data[3] = ("the red", "colour")
    with pytest.raises(ContextOverflow, match=r"data\[2\]"):
        trainer.fit([*data[:2], ("the " * 99, None), data[3]], max_steps=1, unlabelled="pseudo")
    trainer.fit(data, max_steps=1, unlabelled="pseudo", **{**small.quick, "batch_size": 2})


@pytest.mark.parametrize(
    ("data", "start", "options", "error", "field"),
    [
        ([("a", "x"), ("b", "y")], {}, {"unlabelled": "pseudo"}, DataError, "data"),
        ([("a", None), ("b", None)], {}, {"unlabelled": "pseudo"}, DataError, "data"),
        ([("a", "x"), ("b", "y"), ("c", None)], {}, {}, DataError, "data"),
        ([("a", "x"), ("b", "y"), ("", None)], {}, {"unlabelled": "pseudo"}, DataError, "data"),
        ([("a", 1.0), ("b", None)], {"task": "regression"}, {"unlabelled": "pseudo"}, OptionError, "unlabelled"),
        (
            [("a", "x"), ("b", "y"), {"text": "c", "label": None, "changed": "d"}],
            {},
            {"unlabelled": "pseudo"},
            DataError,
            "data",
        ),
        ([("a", "x"), ("b", None)], {}, {"unlabelled": "uda"}, OptionError, "unlabelled"),
        ([("a", "x"), ("b", None)], {}, {"unlabelled": "pseudo", "confidence": 1.0}, OptionError, "confidence"),
        ([("a", "x"), ("b", None)], {}, {"unlabelled": "pseudo", "change": "rot13"}, OptionError, "change"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    small: Any, data: Any, start: Any, options: Any, error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        small.new(**start).fit(data, max_steps=1, **options)
    assert caught.value.field == field


def test_texts_that_a_judge_is_sure_of_become_training_data(small: Any, judge: Judge) -> None:
    texts = small.texts(30, seed=2)
    chances = judge.predict(texts)
    level = float(np.sort(chances.max(1))[10])
    found = pseudo_labelled(judge, texts, level)
    assert found == [
        (text, judge.labels[row.argmax()]) for text, row in zip(texts, chances, strict=True) if row.max() >= level
    ]
    assert 0 < len(found) < 30
    with pytest.raises(OptionError, match="confidence"):
        pseudo_labelled(judge, texts, 1.0)


def _change_seeds() -> list[int]:
    from aigc_sdk.calls import item_seed
    from aigc_sdk.training.order import step_seed
    from aigc_sdk_bert.consistency import CHANGE

    first = step_seed(7, 3, CHANGE)
    return [item_seed(first, index) for index in range(4)]
