"""CVAT's XML for images 1.1: what is said of a picture is a tag, what is said of a part of it a box.

Who said it, when and how surely are attributes of the tag or box, which CVAT shows beside it; a model's have source="auto".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, indent, tostring
from xml.parsers import expat

from aigc_sdk.errors import DataError, OptionError, printable, shown

from .labels import Label

SIDES = ("xtl", "ytl", "xbr", "ybr")
ATTRIBUTES = ("by", "when", "confidence")
DEPTH_LIMIT = 32  # elements in one another; CVAT's own files have six
_UNWRITABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]"
)  # what XML cannot hold, or would give back changed


def written(labels: list[Label], sizes: Any = MappingProxyType({})) -> str:
    """The labels as one document.

    sizes: width and height of the pictures, in pixels, by their ids; what is not there is left out.
    Raises DataError for characters that XML cannot hold, OptionError for sizes that are none.
    """
    known = _checked(sizes)
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    names = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for value in dict.fromkeys(label.value for label in labels):
        _declare(SubElement(names, "label"), value)
    images: dict[str, Element] = {}
    for index, label in enumerate(labels):
        for name in ("item", "value", "by", "when"):
            if found := _UNWRITABLE.search(getattr(label, name)):
                message = f"labels[{index}]: its {name} holds {found[0]!r}, and XML cannot; take it out"
                raise DataError(message, field="labels")
        if label.item not in images:
            images[label.item] = SubElement(
                root, "image", {"id": str(len(images)), "name": label.item, **known.get(label.item, {})}
            )
        _add(images[label.item], label)
    indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, "unicode") + "\n"


def _checked(sizes: Any) -> dict[str, dict[str, str]]:
    """Width and height as attributes of images."""
    if not isinstance(sizes, Mapping):
        message = f"sizes is a {type(sizes).__name__}; give a dict such as {{'a.png': (640, 480)}}"
        raise OptionError(message, field="sizes")
    for item, size in sizes.items():
        sound = isinstance(size, list | tuple) and len(size) == 2
        if not sound or any(type(side) is not int or side < 1 for side in size):
            message = f"sizes[{shown(item)}]={shown(size)}: give width and height in pixels"
            raise OptionError(message, field="sizes")
    return {item: {"width": str(width), "height": str(height)} for item, (width, height) in sizes.items()}


def _declare(label: Element, value: str) -> None:
    """A label with its attributes, which CVAT takes in only where they are declared."""
    SubElement(label, "name").text = value
    attributes = SubElement(label, "attributes")
    for name in ATTRIBUTES:
        attribute = SubElement(attributes, "attribute")
        for key, text in (("name", name), ("mutable", "False"), ("input_type", "text"), ("default_value", "")):
            SubElement(attribute, key).text = text
        SubElement(attribute, "values")


def _add(image: Element, label: Label) -> None:
    about = {"label": label.value, "source": "auto" if label.made_by == "model" else "manual"}
    if label.box is None:
        mark = SubElement(image, "tag", about)
    else:
        sides = dict(zip(SIDES, map(repr, label.box), strict=True))
        mark = SubElement(image, "box", about | {"occluded": "0"} | sides | {"z_order": "0"})
    for name in ATTRIBUTES:
        value = getattr(label, name)
        if value not in ("", None):
            SubElement(mark, "attribute", name=name).text = str(value)


def read(content: str) -> Iterator[Label]:
    """The labels in a document; other attributes are passed over. Where none says who said it, it is the assignee, or "CVAT".

    Raises DataError for what is no such document, for a DTD, which can hide files and bombs, and for other shapes.
    """
    root = _parsed(content)
    if root.tag != "annotations":
        raise DataError(f"the document is <{printable(root.tag)}>; CVAT's is <annotations>")
    if root.find("track") is not None:
        raise DataError("it holds tracks, as CVAT for video; export it as 'CVAT for images 1.1'")
    people = {name.text for who in root.iter("assignee") for name in who.iter("username") if name.text}
    somebody = people.pop() if len(people) == 1 else "CVAT"
    for image in root.iter("image"):
        for mark in image:
            yield _label(_needed(image, "name"), mark, somebody)


def _label(item: str, mark: Element, somebody: str) -> Label:
    if mark.tag not in ("tag", "box") or float(mark.get("rotation", 0)):
        what = f"a <{printable(mark.tag)}>" if mark.tag != "box" else "a box that is rotated"
        raise DataError(f"{printable(item)} holds {what}; read are tags and upright boxes")
    said = {each.get("name"): each.text or "" for each in mark.iter("attribute")}
    sure = said.get("confidence")
    return Label(
        item,
        _needed(mark, "label"),
        said.get("by") or somebody,
        said.get("when") or "",
        float(sure) if sure else None,
        "model" if mark.get("source") == "auto" else "person",
        tuple(_side(mark, name) for name in SIDES) if mark.tag == "box" else None,  # type: ignore[arg-type]
    )


def _needed(element: Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise DataError(f"a <{element.tag}> has no {name!r}")
    return value


def _side(box: Element, name: str) -> float:
    value = _needed(box, name)
    try:
        return float(value)
    except ValueError as error:
        raise DataError(f"a box's {name} is {shown(value)}; it is to be a number") from error


def _parsed(content: str) -> Element:
    """The document's tree. Without a DTD there are no entities, so that nothing is fetched and nothing grows."""
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH_LIMIT:
            raise DataError(f"more than {DEPTH_LIMIT} elements lie in one another; CVAT's files have six")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*declaration: Any) -> None:
        raise DataError("it has a document type declaration, which CVAT does not write; remove <!DOCTYPE ...>")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(f"it is no XML: {error}") from error
    return builder.close()
