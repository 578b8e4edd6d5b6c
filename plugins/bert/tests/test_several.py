"""Several tasks on one encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import aigc_sdk
from aigc_sdk.errors import DataError, MismatchedFolder, OptionError
from aigc_sdk.protocols import Step
from aigc_sdk_bert.several import Judges, SeveralTrainer, drawn

LEARNS: dict[str, Any] = {"batch_size": 16, "learning_rate": 5e-3, "warmup_steps": 10, "precision": "float32"}
TASKS: dict[str, Any] = {"kind": {}, "place": {"task": "tokens"}, "length": {"task": "regression"}}


@pytest.fixture(scope="module")
def encoder(small: Any, tmp_path_factory: Any) -> Path:
    trainer = small.new(task="masked", width=32, dropout=0.0)
    texts = small.texts(60) + [each["text"] for each in small.spans(60)]
    folder = tmp_path_factory.mktemp("encoder") / "model"
    trainer.fit(texts, max_steps=20, **LEARNS).save(folder)
    return folder


def data(small: Any, count: int, seed: int = 0) -> dict[str, Any]:
    numbers = [(text, len(text) / 10) for text in small.texts(count, seed)]
    return {"kind": small.sentences(count, seed), "place": small.spans(count, seed), "length": numbers}


def test_one_encoder_learns_several_tasks_whose_folders_open_on_their_own(
    small: Any, encoder: Path, tmp_path: Path
) -> None:
    trainer = aigc_sdk.trainer("bert", encoder, device="cpu", tasks=TASKS)
    *_, step = trainer.steps(
        data(small, 120), max_steps=200, validation=data(small, 40, 1), save_to=tmp_path / "run", **LEARNS
    )
    assert step.metrics["validation_kind_accuracy"] >= 0.95
    assert step.metrics["validation_place_entity_f1"] >= 0.9
    assert step.metrics["validation_length_pearson"] >= 0.9
    networks = [judge.network for judge in trainer.model.values()]
    assert all(each.base_model is networks[0].base_model for each in networks)
    judges = Judges.open(tmp_path / "run", device="cpu")
    texts = small.texts(9, 2)
    assert np.allclose(judges["kind"].predict(texts), trainer.model["kind"].predict(texts), atol=1e-6)
    alone = aigc_sdk.evaluator("bert", tmp_path / "run" / "model" / "length", device="cpu")
    assert np.allclose(alone.predict(texts), trainer.model["length"].predict(texts), atol=1e-6)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model" / "kind")
    assert plain.config.id2label == {0: "animal", 1: "colour", 2: "number"}


def test_a_killed_run_goes_on_exactly(small: Any, encoder: Path, tmp_path: Path) -> None:
    def made() -> SeveralTrainer:
        return SeveralTrainer.open(encoder, device="cpu", tasks=TASKS)

    class Killed(BaseException):
        pass

    def kill(step: Step) -> None:
        if step.index == 5:
            raise Killed

    arguments = {**LEARNS, "max_steps": 9, "save_every": 3, "micro_batch_size": 6}
    some, whole, resumed = data(small, 24), made(), made()
    expected = [step.metrics for step in whole.steps(some, save_to=tmp_path / "whole", **arguments)]
    with pytest.raises(Killed):
        made().fit(some, save_to=tmp_path / "cut", on_step=kill, **arguments)
    rest = [step.metrics for step in resumed.steps(some, save_to=tmp_path / "cut", resume=True, **arguments)]
    assert rest == expected[3:]
    assert len({step["task"] for step in expected}) > 1
    for name, judge in whole.model.items():
        other = resumed.model[name].network.state_dict()
        assert all(torch.equal(each, other[key]) for key, each in judge.network.state_dict().items())


def test_tasks_are_drawn_by_their_sizes_and_alike_at_a_high_temperature() -> None:
    sizes = [900, 100]
    counts = [np.bincount(drawn(sizes, temperature, 4000, 0)) / 4000 for temperature in (1.0, 2.0, 1e6)]
    assert counts[0] == pytest.approx([0.9, 0.1], abs=0.02)
    assert counts[1] == pytest.approx([0.75, 0.25], abs=0.03)
    assert counts[2] == pytest.approx([0.5, 0.5], abs=0.03)
    assert np.array_equal(drawn(sizes, 2.0, 50, 3), drawn(sizes, 2.0, 50, 3))


def test_what_does_not_fit_together_is_refused(small: Any, encoder: Path, tmp_path: Path) -> None:
    bad: list[tuple[Any, type[Exception], str]] = [
        (lambda: SeveralTrainer.open(encoder, tasks={"one": {}}), OptionError, "at least two"),
        (lambda: SeveralTrainer.open(encoder, tasks={"a": {}, "b/c": {}}), OptionError, "by names of letters"),
        (lambda: SeveralTrainer.open(None, tasks=TASKS), OptionError, "begin with an encoder"),
        (lambda: SeveralTrainer.open(encoder, tasks=TASKS, width=3), OptionError, "width"),
        (
            lambda: SeveralTrainer.open(encoder, tasks={"a": {}, "b": {"task": "masked"}}),
            OptionError,
            "'b' is not for a judge",
        ),
        (lambda: Judges.open(encoder), MismatchedFolder, "no judges of several tasks"),
    ]
    for call, error, said in bad:
        with pytest.raises(error, match=said):
            call()
    trainer = SeveralTrainer.open(encoder, device="cpu", tasks=TASKS)
    some = data(small, 12)
    for wrong, said in ((small.sentences(12), "is a list"), ({"kind": some["kind"]}, "the data of each task")):
        with pytest.raises(DataError, match=said):
            trainer.steps(wrong, max_steps=1)
    with pytest.raises(OptionError, match="unlabelled is for a run of one task"):
        trainer.steps(some, max_steps=1, unlabelled="pseudo")
