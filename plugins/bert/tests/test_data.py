"""Reading data: what is taken, and what is refused with its place, its value and a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from aigc_sdk.errors import ContextOverflow, DataError, InputError, MismatchedFolder, OptionError, PromptError
from aigc_sdk_bert.data import Example, examples, labels_of
from aigc_sdk_bert.judge import Judge
from aigc_sdk_bert.model import BERT
from aigc_sdk_bert.tasks import Task, targets
from aigc_sdk_bert.train import BERTTrainer

TWO = [("good words", "yes"), ("bad words", "no")]


def test_tuples_dicts_files_and_datasets_give_the_same_examples(tmp_path: Path) -> None:
    expected = [Example("good words", None, "yes"), Example("bad words", None, "no")]
    dicts = [{"text": text, "label": label} for text, label in TWO]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, dicts)))
    (tmp_path / "data.csv").write_text('text,label\n"good words",yes\nbad words,no\n')
    named = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    numbered = datasets.Dataset.from_list([{"text": t, "label": int(x == "yes")} for t, x in TWO], features=named)
    for data in (
        TWO,
        dicts,
        tmp_path / "data.jsonl",
        str(tmp_path / "data.csv"),
        datasets.Dataset.from_list(dicts),
        numbered,
    ):
        assert examples(data, "classification") == expected


def test_pairs_have_a_second_text() -> None:
    expected = [Example("one", "two", "yes")]
    assert examples([(("one", "two"), "yes")], "classification") == expected
    assert examples([{"text": "one", "pair": "two", "label": "yes"}], "classification") == expected


def test_tagged_words_are_spans_of_their_text() -> None:
    [found] = examples([{"words": ["Ann", "saw", "New", "York"], "tags": ["B-PER", "O", "B-LOC", "I-LOC"]}], "tokens")
    assert found.text == "Ann saw New York"
    assert found.target == (("PER", 0, 3), ("LOC", 8, 16))


def test_answers_stand_in_their_context_in_any_layout() -> None:
    context = "a cow in a house, and another cow"
    layouts: list[Any] = [
        ["cow"],
        "cow",
        [{"text": "cow", "start": 2}],
        {"text": ["cow"], "answer_start": [2]},
    ]
    for answers in layouts:
        [found] = examples([{"question": "who?", "context": context, "answers": answers}], "questions")
        assert found.target == ((2, 5),)
    [none] = examples([{"question": "who?", "context": context}], "questions")
    assert none.target == ()


def test_numbers_are_labels_in_their_own_order() -> None:
    found = examples([(f"text {n}", n) for n in (10, 2, 1)], "classification")
    assert labels_of(found, "classification") == ("1", "2", "10")


def test_tokens_take_the_tag_of_their_first_character(small: Any) -> None:
    from aigc_sdk_bert.encode import encode

    trainer = small.new(task="tokens")
    trainer.fit(small.spans(20), max_steps=1, **small.quick)
    found = examples([{"text": "the lion and the red", "spans": [{"start": 4, "end": 8, "label": "animal"}]}], "tokens")
    rows = encode(trainer.model.tokenizer, [found[0].text], [None], 32)
    task = Task.of("tokens", ["animal"])
    [tags] = targets(task, found, rows, "data")
    inside = [tag for tag, offset in zip(tags, rows[0].offsets, strict=True) if 4 <= offset[0] < 8]
    assert inside == [1] + [2] * (len(inside) - 1)
    assert tags[0] == tags[-1] == -100
    assert set(tags.tolist()) - {-100, 1, 2} == {0}


def test_what_is_too_long_is_refused_cut_or_read_in_windows(small: Any) -> None:
    trainer = small.new(task="tokens", width=32, dropout=0.0)
    options = {**small.quick, "batch_size": 16, "learning_rate": 5e-3, "too_long": "split"}
    trainer.fit([joined(small.spans(6, seed)) for seed in range(40)], max_steps=120, **options)
    judge = trainer.model
    long = joined(small.spans(8, 99))
    with pytest.raises(ContextOverflow, match=r"texts\[1\] has \d+ tokens, \d+ more than the 32"):
        judge.predict(["the red", long["text"]])
    [cut] = judge.predict([long["text"]], too_long="truncate")
    assert len(cut) < 10
    [found] = judge.predict([long["text"]], too_long="split")
    assert [(each.label, each.start, each.end) for each in found] == [
        (span["label"], span["start"], span["end"]) for span in long["spans"]
    ]


def joined(some: list[dict[str, Any]]) -> dict[str, Any]:
    """Texts as one, and their spans in it."""
    text, spans = "", []
    for each in some:
        shift = len(text) + 1 if text else 0
        text = f"{text} {each['text']}".strip()
        spans += [{**span, "start": span["start"] + shift, "end": span["end"] + shift} for span in each["spans"]]
    return {"text": text, "spans": spans}


def bad_calls() -> list[tuple[str, dict[str, Any], Any, type[InputError], str]]:
    """(task, what `open` takes, data, error, what it says)."""
    long = "word " * 600
    question = {"question": "who?", "context": "a cow"}
    return [
        ("classification", {}, [], DataError, "holds no examples"),
        ("classification", {}, 7, DataError, "is a int; pass a list"),
        ("classification", {}, {"train": TWO}, DataError, "of a DatasetDict, one split"),
        ("classification", {}, "no.jsonl", DataError, "cannot be read"),
        ("classification", {}, [("a", "x"), ("b", "x")], DataError, "one label, 'x'"),
        ("classification", {}, [("", "x"), ("b", "y")], DataError, r"data\[0\] is an empty text"),
        ("classification", {}, [("a", None), ("b", "y")], DataError, "the label is None"),
        ("classification", {}, [("a", 1.5), ("b", "y")], DataError, r"the label is 1\.5"),
        ("classification", {}, [(7, "x"), ("b", "y")], DataError, "is 7; pass a string"),
        ("classification", {}, ["a", "b"], DataError, r"is a str; give \(text, label\)"),
        ("classification", {}, [{"text": "a"}], DataError, "has no 'label'"),
        ("classification", {}, [{"words": "a"}], DataError, r"a dict of \['words'\]"),
        ("classification", {}, [("\ud800", "x"), ("b", "y")], DataError, "lone surrogate"),
        ("classification", {"labels": ("yes", "no")}, [("a", "yess"), ("b", "no")], DataError, "Did you mean 'yes'"),
        ("classification", {}, [("a", "x"), (long, "y")], ContextOverflow, r"data\[1\] has 602 tokens"),
        ("classification", {}, [(("a", ""), "x"), (("b", "c"), "y")], DataError, "pair is an empty text"),
        ("multi-label", {}, [("a", "x")], DataError, "labels is 'x'; pass a list"),
        ("multi-label", {}, [("a", [])], DataError, "no label in 1 examples"),
        ("regression", {}, [("a", "much")], DataError, "the value is 'much'"),
        ("regression", {}, [("a", float("nan"))], DataError, "pass a finite number"),
        ("tokens", {}, [("a cow", [(2, 5, "x")])], DataError, "a span is"),
        (
            "tokens",
            {},
            [("a cow", [{"start": 2, "end": 9, "label": "x"}])],
            DataError,
            "does not lie in its 5 characters",
        ),
        ("tokens", {}, [("a cow", [("x", 0, 4), ("y", 2, 5)])], DataError, "overlap"),
        ("tokens", {}, [{"words": ["a", "b"], "tags": ["O"]}], DataError, "1 tags for 2 words"),
        ("questions", {}, [("who?", "a cow")], DataError, 'give {"question", "context", "answers"}'),
        (
            "questions",
            {},
            [{**question, "answers": ["ox"]}],
            DataError,
            "the answer 'ox' does not stand in the context",
        ),
        ("questions", {}, [{**question, "answers": [{"text": "cow", "start": 0}]}], DataError, "at 0"),
        ("masked", {}, [""], DataError, "is an empty text"),
        ("masked", {}, [{"words": 1}], DataError, "is None; pass a string"),
        ("masked", {}, [b"bytes"], DataError, "pass a string"),
    ]


@pytest.mark.parametrize(("task", "config", "data", "error", "said"), bad_calls())
def test_bad_data_is_refused_at_the_call(
    small: Any, task: str, config: dict[str, Any], data: Any, error: type[InputError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        small.new(task=task, **config).steps(data, max_steps=1)
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"task": "classify"}, "task='classify'"),
        ({"labels": ("a", "a")}, "names one twice"),
        ({"labels": ("a",)}, "nothing to tell apart"),
        ({"width": 30, "heads": 4}, "no multiple of heads=4"),
        ({"hidden": 5}, "no option 'hidden'"),
    ],
)
def test_bad_configurations_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        BERTTrainer.open(device="cpu", **config)


@pytest.fixture(scope="module")
def judge(small: Any) -> Judge:
    return small.new(labels=("animal", "colour", "number")).fit(small.sentences(24), max_steps=1, **small.quick)  # type: ignore[no-any-return]


def test_bad_calls_of_a_judge_are_refused(judge: Judge, small: Any) -> None:
    bad: list[tuple[Any, type[Exception], str]] = [
        (lambda: judge.predict("one text"), DataError, "pass a list"),
        (lambda: judge.predict([""]), DataError, r"texts\[0\] is an empty text"),
        (lambda: judge.predict(["a"], ["b", "c"]), DataError, "2 pairs for 1 texts"),
        (lambda: judge.predict(["a"], [""]), DataError, r"pairs\[0\] is an empty text"),
        (lambda: judge.predict(["cow " * 40]), ContextOverflow, "more than the 32"),
        (lambda: judge.evaluate(["a"], ["ox"]), DataError, "there is no label 'ox'"),
        (lambda: judge.evaluate(["a"], ["colours"]), DataError, "Did you mean 'colour'"),
        (lambda: judge.evaluate(["a", "b"], ["colour"]), DataError, "1 references for 2 samples"),
        (lambda: judge.evaluate(["a"], threshold=2.0), OptionError, "threshold=2.0"),
        (lambda: judge.confusion(judge.evaluate(["a"])), DataError, "with references"),
    ]
    for call, error, said in bad:
        with pytest.raises(error, match=said):
            call()


def test_bad_calls_of_a_masked_language_model_are_refused(small: Any, judge: Judge, tmp_path: Path) -> None:
    model = small.new(task="masked").fit(small.texts(24), max_steps=1, **small.quick)
    bad: list[tuple[Any, type[Exception], str]] = [
        (lambda: model.generate("no mask"), PromptError, r"holds no \[MASK\]"),
        (lambda: model.generate("[MASK] " * 40), ContextOverflow, "more than the 32"),
        (lambda: model.suggest("[MASK]", 0), InputError, "k=0"),
        (lambda: model.embed("one text"), InputError, "pass a list"),
        (lambda: model.generate("[MASK]", top_p=0.0), OptionError, "top_p"),
    ]
    for call, error, said in bad:
        with pytest.raises(error, match=said):
            call()
    model.save(tmp_path / "masked")
    with pytest.raises(MismatchedFolder, match="judges"):
        Judge.open(tmp_path / "masked", device="cpu")
    judge.save(tmp_path / "judge")
    assert np.isfinite(BERT.open(tmp_path / "judge", device="cpu").embed(["a cow"])).all()
