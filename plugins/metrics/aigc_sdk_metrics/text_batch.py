"""Texts and their references as the metrics see them, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aigc_sdk.artifacts import Text
from aigc_sdk.calls import check_text
from aigc_sdk.errors import DataError, shown

from .accumulate import Batch

REFERENCES_LIMIT = 1000  # of one sample


class TextBatch(Batch):
    """Texts as strings, and for each a tuple of references."""

    samples: tuple[str, ...]
    references: tuple[tuple[str, ...], ...] | None

    def __init__(self, samples: Sequence[Any], references: Sequence[Any] | None = None) -> None:
        for name, given in (("samples", samples), ("references", references)):
            if isinstance(given, str | Text):
                raise DataError(f"{name} is one text; pass a list of them", field=name)
        super().__init__(
            [_text(each, f"samples[{index}]", "samples") for index, each in enumerate(samples)],
            None if references is None else [_references(each, index) for index, each in enumerate(references)],
        )

    def pairs(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Each text with its references."""
        return list(zip(self.samples, self.references or (), strict=True))


def _references(given: Any, index: int) -> tuple[str, ...]:
    name = f"references[{index}]"
    if isinstance(given, str | Text):
        return (_text(given, name, "references"),)
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise DataError(f"{name} is {shown(given)}; pass a text, or a list of texts", field="references")
    if not 1 <= len(given) <= REFERENCES_LIMIT:
        message = f"{name} holds {len(given):,} references; pass one or more, at most {REFERENCES_LIMIT:,}"
        raise DataError(message, field="references")
    return tuple(_text(each, f"{name}[{place}]", "references") for place, each in enumerate(given))


def _text(given: Any, name: str, field: str) -> str:
    text = given.text if isinstance(given, Text) else given
    if not isinstance(text, str):
        raise DataError(f"{name} is a {type(given).__name__}; text metrics judge Text or strings", field=field)
    check_text(text, name, field)
    return text
