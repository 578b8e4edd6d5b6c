"""Labels of models that make or judge pictures and films: as an option, in a model's folder, in data to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator

from .errors import CorruptFolder, DataError, OptionError, suggestion
from .protocols import Options

if TYPE_CHECKING:
    from .folder import Folder
    from .training.images import Pictures

SHOWN = 20  # labels that a message lists

Label = str | int | None
Sizes = TypeVar("Sizes", bound=Options)


def as_name(label: Any) -> Any:
    """A number as the name it is written with; anything else as it is."""
    return str(label) if isinstance(label, int) and not isinstance(label, bool) else label


LabelOption = Annotated[str | None, BeforeValidator(as_name)]
"""The type of an option that names a label; its number may be given as well."""


def label_index(label: Label, labels: Sequence[str], owner: str) -> int | None:
    """The number of a label that is given by name or, where none is called so, by number; None for None.

    owner: the backend whose option it is. Raises OptionError.
    """
    if label is None:
        return None
    name = str(label)
    if not labels:
        message = f"{owner} option label={label!r}: this model was trained without labels; leave it out"
        raise OptionError(message, field="label")
    if name in labels:
        return labels.index(name)
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    raise OptionError(
        f"{owner} option label={label!r}: the model has no such label.{suggestion(name, labels)} {known(labels)}",
        field="label",
    )


def known(labels: Sequence[str]) -> str:
    """A sentence that lists the first labels."""
    return f"Labels: {', '.join(labels[:SHOWN])}{', ...' if len(labels) > SHOWN else ''}."


def read_labels(opened: Folder) -> tuple[str, ...]:
    """The labels that a folder's config.json names. Raises CorruptFolder."""
    labels = opened.config().get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise CorruptFolder(f"{opened.path}: config.json has no list of labels")
    return tuple(labels)


def read_sizes(opened: Folder, sizes: type[Sizes], owner: str, what: str) -> tuple[Sizes, tuple[str, ...]]:
    """What a folder's config.json says of its network: `sizes`, which has `classes`, and as many labels.

    what: the network, for messages: "no network of a VAE". Raises CorruptFolder.
    """
    labels, given = read_labels(opened), opened.config().get("sizes")
    if not isinstance(given, dict):
        raise CorruptFolder(f"{opened.path}: config.json describes {what}")
    try:
        parsed = sizes.parse(owner, given)
    except OptionError as error:
        raise CorruptFolder(f"{opened.path}: config.json describes {what}: {error}") from error
    classes: int = parsed.classes  # type: ignore[attr-defined]
    if len(labels) != classes:
        raise CorruptFolder(f"{opened.path}: config.json names {len(labels)} labels for {classes} classes")
    return parsed, labels


def labelled(found: Pictures, labels: tuple[str, ...], *, named: bool, name: str = "data") -> Pictures:
    """Pictures with the labels that a model needs, numbered as it numbers them; without, where it needs none.

    labels: the model's. named: whether these are their names; a new model has as many, but takes the names of its data.
    Raises DataError.
    """
    if not labels:
        return replace(found, labels=None, names=())
    if found.labels is None:
        raise DataError(
            f"{name} has no labels, and the model was made for {len(labels)}; pass (pictures, labels) or a folder with a "
            "folder per label, or make a model with classes=0",
            field=name,
        )
    if not named:
        if len(found.names) != len(labels):
            shown = ", ".join(map(repr, found.names[:5])) + (", ..." if len(found.names) > 5 else "")
            count = "one label" if len(found.names) == 1 else f"{len(found.names)} labels"
            raise DataError(
                f"{name} has {count} ({shown}), the model was made for {len(labels)}; make one with "
                f"classes={len(found.names) if len(found.names) > 1 else 0}",
                field=name,
            )
        return found
    if found.names == labels:
        return found
    unknown = [each for each in found.names if each not in labels]
    if unknown:
        raise DataError(
            f"{name} has the label {unknown[0]!r}, which the model does not know; it knows {', '.join(labels[:SHOWN])}",
            field=name,
        )
    import numpy as np

    places = np.array([labels.index(each) for each in found.names])
    return replace(found, labels=places[found.labels], names=labels)
