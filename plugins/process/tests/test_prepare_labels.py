"""Labels: written, read again, made by models, and compared as the literature compares them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk import Text
from aigc_sdk.errors import AigcError, DataError, InputError, OptionError
from aigc_sdk_process import prepare

LABELS = [
    prepare.Label("a.png", "a cat, asleep", "ann", "2026-05-17T09:30:00+00:00", 0.9),
    prepare.Label("a.png", 'a "dog"\nor a cat', "ben"),
    prepare.Label("b.png", "eine Katze, 猫", "captioner-1", "2026-05-17T09:31:00+00:00", 0.25, "model"),
]


@pytest.mark.parametrize(
    ("name", "format"),
    [("x.csv", None), ("x.jsonl", None), ("x.json", "label-studio"), ("x.json", "coco"), ("x.xml", None)],
)
def test_what_was_written_is_read_again(name: str, format: Any, tmp_path: Path) -> None:
    path = prepare.write_labels(LABELS, tmp_path / name, format=format)
    assert sorted(prepare.read_labels(path), key=repr) == sorted(LABELS, key=repr)


BOXED = [
    *LABELS,
    prepare.Label("a.png", "cat", "ann", box=(1, 2.5, 30, 40.125)),
    prepare.Label("c & d/<e>.png", "cat", "detector", confidence=0.1, made_by="model", box=(0.1, 0, 0.3, 1e-7)),
]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.xml"])
def test_boxes_are_read_again_to_the_bit(name: str, tmp_path: Path) -> None:
    found = prepare.read_labels(prepare.write_labels(BOXED, tmp_path / name))
    assert sorted(found, key=repr) == sorted(BOXED, key=repr)


def test_cvat_gets_tags_and_boxes_of_declared_labels(tmp_path: Path) -> None:
    path = prepare.write_labels(BOXED, tmp_path / "x.xml", sizes={"a.png": (640, 480)})
    root = ElementTree.parse(path).getroot()
    assert root.findtext("version") == "1.1"
    assert {each.findtext("name") for each in root.iter("label")} == {label.value for label in BOXED}
    assert {each.findtext("name") for each in root.iterfind(".//attributes/attribute")} == {"by", "when", "confidence"}
    assert [(image.get("id"), image.get("name")) for image in root.iter("image")] == [
        ("0", "a.png"), ("1", "b.png"), ("2", "c & d/<e>.png"),
    ]  # fmt: skip
    assert [(image.get("width"), image.get("height")) for image in root.iter("image")][:2] == [
        ("640", "480"),
        (None, None),
    ]
    box = root.find("image/box")
    assert box is not None
    assert [box.get(side) for side in ("xtl", "ytl", "xbr", "ybr")] == ["1.0", "2.5", "30.0", "40.125"]
    assert [tag.get("source") for tag in root.iter("tag")] == ["manual", "manual", "auto"]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <meta><task><name>t</name><labels><label><name>car</name></label></labels>
    <owner><username>eve</username></owner><assignee><username>ann</username><email></email></assignee></task></meta>
  <image id="0" name="a.jpg" width="640" height="480">
    <tag label="day" source="manual"></tag>
    <box label="car" source="auto" occluded="0" xtl="10.50" ytl="20.00" xbr="30.00" ybr="40.25" z_order="0">
      <attribute name="colour">red</attribute>
    </box>
  </image>
  <image id="1" name="b.jpg" width="640" height="480"></image>
</annotations>
"""


def test_cvat_s_own_exports_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(CVAT)
    assert prepare.read_labels(tmp_path / "x.xml") == [
        prepare.Label("a.jpg", "day", "ann"),
        prepare.Label("a.jpg", "car", "ann", made_by="model", box=(10.5, 20.0, 30.0, 40.25)),
    ]


def test_what_is_said_of_boxes_is_counted_but_not_compared() -> None:
    boxes = [prepare.Label("a", "cat", "ann", box=(0, 0, left, 9)) for left in (1, 2)]
    assert prepare.Protocol("What is where?").faults(boxes) == []
    for call in (lambda: prepare.agreement(boxes), lambda: list(prepare.with_labels([], boxes))):
        with pytest.raises(DataError, match="a label of a is said of a box alone; leave out the labels with a box"):
            call()


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'
IMAGE = '<annotations><image name="a.png">{}</image></annotations>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB + IMAGE.format('<tag label="&c;"/>'), "document type declaration"),
        (OUTSIDE + IMAGE.format('<tag label="&b;"/>'), "document type declaration"),
        ("<!DOCTYPE annotations SYSTEM 'http://127.0.0.1/x.dtd'><annotations/>", "document type declaration"),
        (IMAGE.format('<tag label="&b;"/>'), "it is no XML: undefined entity"),
        ("<a>" * 100_000, "more than 32 elements"),
        ("<annotations>", "it is no XML: no element found"),
        ("", "it is no XML"),
        ("<labels/>", "the document is <labels>"),
        ("<annotations><track/></annotations>", "CVAT for video"),
        ('<annotations><image><tag label="x"/></image></annotations>', "<image> has no 'name'"),
        (IMAGE.format("<tag/>"), "<tag> has no 'label'"),
        (IMAGE.format('<tag label=""/>'), "value is ''"),
        (IMAGE.format('<polygon label="x"/>'), "a.png holds a <polygon>"),
        (IMAGE.format('<box label="x" rotation="9.0"/>'), "a box that is rotated"),
        (IMAGE.format('<box label="x" xtl="1" ytl="1" xbr="3"/>'), "<box> has no 'ybr'"),
        (IMAGE.format('<box label="x" xtl="1" ytl="much" xbr="3" ybr="4"/>'), "ytl is 'much'"),
        (IMAGE.format('<box label="x" xtl="5" ytl="1" xbr="3" ybr="4"/>'), "box is .5.0, 1.0, 3.0, 4.0."),
        (IMAGE.format('<box label="x" xtl="1" ytl="1" xbr="inf" ybr="4"/>'), "box is"),
        (IMAGE.format('<tag label="x"><attribute name="confidence">7</attribute></tag>'), "confidence is 7.0"),
        (IMAGE.format('<tag label="x"><attribute name="confidence">high</attribute></tag>'), "no cvat of labels"),
    ],
)  # fmt: skip
def test_xml_that_is_none_of_cvat_s_is_refused_with_its_reason(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(content)
    with pytest.raises(DataError, match=reason) as caught:
        prepare.read_labels(tmp_path / "x.xml")
    assert "x.xml" in str(caught.value)


def test_three_hundred_mutated_documents_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        content = bytearray(CVAT.encode())
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        del content[len(content) - rng.integers(0, 2) * rng.integers(0, 900) :]
        (tmp_path / "x.xml").write_bytes(content)
        try:
            prepare.read_labels(tmp_path / "x.xml")
        except DataError:
            refused += 1
    assert 100 < refused < 300


def test_coco_captions_have_the_layout_that_its_readers_expect(tmp_path: Path) -> None:
    found = json.loads(prepare.write_labels(LABELS, tmp_path / "x.json", format="coco").read_text())
    assert found["images"] == [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    assert [(each["id"], each["image_id"], each["caption"]) for each in found["annotations"]] == [
        (index, 1 + index // 3, label.value) for index, label in enumerate(LABELS, 1)
    ]


WHEN = "2024-05-17T09:30:00.123456Z"


def test_label_studio_s_own_exports_are_read(tmp_path: Path) -> None:
    result = {"id": "x", "from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": ["good"]}}
    task = {
        "id": 7,
        "data": {"text": "Fine."},
        "annotations": [{"id": 1, "completed_by": {"id": 3, "email": "ann@example.org"}, "created_at": WHEN,
                         "result": [result]}],
        "predictions": [{"model_version": "v1", "score": 0.7, "result": [result]}],
    }  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps([task]))
    assert prepare.read_labels(tmp_path / "x.json") == [
        prepare.Label("7", "good", "ann@example.org", WHEN),
        prepare.Label("7", "good", "v1", "", 0.7, "model"),
    ]


def test_label_studio_gets_choices_and_the_data_of_the_tasks(tmp_path: Path) -> None:
    protocol = prepare.Protocol("Is it good?", ("good", "bad"), name="sentiment")
    labels = [prepare.Label("7", "good", "ann"), prepare.Label("7", "bad", "v1", confidence=0.6, made_by="model")]
    path = prepare.write_labels(
        labels, tmp_path / "x.json", format="label-studio", protocol=protocol, data={"7": {"text": "Fine."}}
    )
    [task] = json.loads(path.read_text())
    assert task["data"] == {"text": "Fine.", "id": "7"}
    assert task["annotations"][0]["result"][0]["value"] == {"choices": ["good"]}
    assert task["predictions"][0]["score"] == 0.6
    assert prepare.read_labels(path) == labels


def test_cohen_s_kappa_is_scikit_learn_s() -> None:
    theirs = pytest.importorskip("sklearn.metrics").cohen_kappa_score
    rng = np.random.default_rng(0)
    for size in (2, 5):
        one = rng.integers(0, size, 60).tolist()
        other = [value if rng.random() < 0.6 else int(rng.integers(size)) for value in one]
        for weights in (None, "linear", "quadratic"):
            assert prepare.cohen_kappa(one, other, weights=weights) == pytest.approx(
                theirs(one, other, weights=weights), abs=1e-9
            )  # type: ignore[arg-type]
    assert prepare.cohen_kappa(["a", "b"], ["a", "b"]) == 1
    assert math.isnan(prepare.cohen_kappa(["a"], ["a"]))


def test_fleiss_kappa_is_that_of_the_known_example() -> None:
    """Fourteen raters, ten items, five categories: 0.210 (worked through in many textbooks)."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert prepare.fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)
    assert math.isnan(prepare.fleiss_kappa([[3, 0], [3, 0]]))


def test_agreement_is_over_what_several_labelled() -> None:
    said = {"ann": "xxyyx", "ben": "xxyxx", "cem": "xyyy"}
    labels = [
        prepare.Label(f"i{index}", value, who) for who, values in said.items() for index, value in enumerate(values)
    ]
    found = prepare.agreement(labels)
    assert found.shared == {("ann", "ben"): 5, ("ann", "cem"): 4, ("ben", "cem"): 4}
    assert found.pairs["ann", "ben"] == prepare.cohen_kappa(list("xxyyx"), list("xxyxx"))
    assert found.items == 4
    assert found.disputed == ("i1", "i3")
    assert found.fleiss == prepare.fleiss_kappa([[3, 0], [2, 1], [0, 3], [1, 2]])
    assert prepare.agreement(labels[:5]).fleiss is None


def test_a_protocol_finds_what_is_not_as_it_says() -> None:
    protocol = prepare.Protocol("Good?", ("good", "bad"), labels_per_item=2)
    labels = [
        prepare.Label("1", "god", "ann"),
        prepare.Label("1", "bad", "ann"),
        prepare.Label("2", "good", "ann"),
        prepare.Label("2", "bad", "ben"),
    ]
    assert protocol.faults(labels) == [
        "1: ann said 'god', which is no choice. Did you mean 'good'?",
        "1: ann labelled it 2 times",
        "1: labelled by 1, 2 are wanted",
    ]


def test_models_label_items_and_items_get_what_most_said() -> None:
    pytest.importorskip("aigc_sdk_bert")
    items = [
        prepare.Item("v1", Text("And God said, Let there be light.")),
        prepare.Item("v2", Text("Thou shalt not kill.")),
    ]
    made = list(prepare.label_items(items, aigc_sdk.evaluator("bert"), by="bert"))
    assert [(label.item, label.by, label.made_by) for label in made] == [
        ("v1", "bert", "model"),
        ("v2", "bert", "model"),
    ]
    assert all(label.confidence is not None and label.when for label in made)
    people = [prepare.Label("v1", "poetry", "ann"), prepare.Label("v1", "poetry", "ben")]
    found = {item.id: item.facts["label"] for item in prepare.with_labels(items, [*made, *people])}
    assert found == {"v1": "poetry", "v2": made[1].value}


def test_generators_caption_items() -> None:
    pytest.importorskip("aigc_sdk_echo")
    model = aigc_sdk.load("echo")
    items = [prepare.Item("a", Text("x"), {"topic": "rain"})]
    [label] = prepare.label_items(items, model, by="echo", prompt=lambda item: f"About {item.facts['topic']}")
    assert (label.item, label.by, label.made_by) == ("a", "echo", "model")
    assert label.value


@pytest.mark.parametrize(
    "call",
    [
        lambda: prepare.Label("", "x", "ann"),
        lambda: prepare.Label("a", "x", "ann", confidence=1.5),
        lambda: prepare.Label("a", "x", "ann", "yesterday"),
        lambda: prepare.Label("a", "x", "ann", made_by="robot"),  # type: ignore[arg-type]
        lambda: prepare.Label("a", "x", "ann", box=(1, 2, 3)),  # type: ignore[arg-type]
        lambda: prepare.Label("a", "x", "ann", box=(3, 2, 1, 4)),
        lambda: prepare.Label("a", "x", "ann", box=(0, 0, math.nan, 4)),
        lambda: prepare.write_labels(BOXED, "x.json", format="coco"),
        lambda: prepare.write_labels(BOXED, "x.json", format="label-studio"),
        lambda: prepare.write_labels(BOXED, "x.xml", sizes=[(640, 480)]),
        lambda: prepare.write_labels(BOXED, "x.xml", sizes={"a.png": (640, 0)}),
        lambda: prepare.write_labels(BOXED, "x.xml", data={}),
        lambda: prepare.write_labels([prepare.Label("a", "\0", "ann")], "x.xml"),
        lambda: prepare.write_labels([prepare.Label("a", "b", "\ud800")], "x.xml"),
        lambda: prepare.Protocol("Good?", ("good",)),
        lambda: prepare.Protocol("Good?", "good"),  # type: ignore[arg-type]
        lambda: prepare.cohen_kappa([], []),
        lambda: prepare.cohen_kappa(["a"], ["a", "b"]),
        lambda: prepare.cohen_kappa(["a"], ["b"], weights="cubic"),  # type: ignore[arg-type]
        lambda: prepare.cohen_kappa(["a"], ["b"], order=["a"]),
        lambda: prepare.fleiss_kappa([[1, 2], [1, 1]]),
        lambda: prepare.fleiss_kappa([[1, 0]]),
        lambda: prepare.fleiss_kappa("table"),
        lambda: prepare.agreement([]),
        lambda: prepare.label_items([], "bert", by="x"),  # type: ignore[arg-type]
        lambda: prepare.label_items([], aigc_sdk.load("echo"), by="x"),
        lambda: prepare.write_labels(LABELS, "x.docx"),
        lambda: prepare.write_labels(LABELS, "x.csv", protocol=1),
        lambda: prepare.read_labels("nowhere.csv"),
    ],
)
def test_bad_calls_are_refused(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"item,value\na,b\n"),
        ("a.csv", b"item,value,by,confidence\na,b,ann,much\n"),
        ("a.csv", b"\xff\xfe"),
        ("a.jsonl", b'{"item": "a"}\n'),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl", b"3\n"),
        ("a.json", b'{"images": 3, "annotations": []}'),
        ("a.json", b'{"images": [], "annotations": [{"image_id": 1, "caption": "x"}]}'),
        ("a.json", b'[{"data": {"id": "a"}, "annotations": [{"result": [{"type": "polygon"}]}]}]'),
        ("a.json", b"[3]"),
        ("a.txt", b"x"),
    ],
)
def test_files_that_hold_no_labels_are_refused_with_their_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, OptionError)):
        prepare.read_labels(tmp_path / name)


def test_rows_without_the_column_are_named() -> None:
    pytest.importorskip("aigc_sdk_bert")
    with pytest.raises(AigcError, match=r"no 'lable'\. Did you mean 'label'"):
        list(prepare.label_items([prepare.Item("a", Text("x"))], aigc_sdk.evaluator("bert"), by="b", column="lable"))
