"""Items as the data that trainers take, with their fingerprint for the record of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aigc_sdk.artifacts import Text
from aigc_sdk.errors import OptionError, shown

from .cards import Fingerprinting
from .items import Item, checked


class Prepared(list[Any]):
    """A list for a trainer; the record of every run that trains on it names the items' fingerprint.

    items: all are in memory. form: from an item to what the trainer takes, such as
    `lambda item: (item.artifact, item.facts["label"])`; None: a text as a string, anything else as its artifact.
    Raises DataError and OptionError.
    """

    def __init__(self, items: Iterable[Item], form: Callable[[Item], Any] | None = None) -> None:
        if form is not None and not callable(form):
            raise OptionError(f"form={shown(form)}: give a function of an item, or None", field="form")
        found = Fingerprinting()
        for item in checked(items):
            found.add(item)
            self.append(_plain(item) if form is None else form(item))
        self._was = tuple(self)
        self._fingerprint_of_items = str(found)

    @property
    def fingerprint(self) -> str | None:
        """That of the items, as `prepare.fingerprint` gives it; None once the list has been changed."""
        same = len(self) == len(self._was) and all(one is other for one, other in zip(self, self._was, strict=True))
        return self._fingerprint_of_items if same else None


def _plain(item: Item) -> Any:
    return item.artifact.text if isinstance(item.artifact, Text) else item.artifact
