"""The evaluator: a judge of texts. Its scores say how they were computed, or they would mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from aigc_sdk import Evaluator, Exam, Report, Score, Step, Text, folder
from aigc_sdk.errors import DataError, NotAModel
from aigc_sdk.protocols import Device, DType, Source

from .model import _check_device


class Overlap(Evaluator):
    """How many of a reference's words a text has."""

    device = "cpu"

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """There is nothing to load; a folder that `save` wrote is checked."""
        _check_device(device)
        if source is not None and source != "default":
            opened = folder.read(source, backend="echo", revision=revision)
            if opened.manifest is None:
                raise NotAModel(f"{opened.path} has no {folder.MANIFEST}; open a folder that an evaluator has saved")
        return cls()

    def run(self, exam: Exam) -> Report:
        """One row per sample, in order, and the score over all of them."""
        if exam.references is None:
            raise DataError("overlap compares with references; pass references=", field="references")
        rows = []
        for index, (sample, reference) in enumerate(zip(exam.samples, exam.references, strict=True)):
            if not isinstance(sample, Text):
                raise DataError(f"samples[{index}] is a {type(sample).__name__}; overlap judges Text", field="samples")
            wanted, there = set(str(reference).split()), set(sample.text.split())
            rows.append({"overlap": len(wanted & there) / max(1, len(wanted))})
            exam.on_step(Step(index + 1, len(exam.samples)))
        mean = sum(row["overlap"] for row in rows) / len(rows)
        protocol = "distinct words of the reference found in the sample; words split at white space; mean over samples"
        return Report({"overlap": Score(mean, len(rows), protocol, higher_is_better=True)}, rows)

    def save(self, folder_: str | Path) -> None:
        """Write a folder that `open` reads."""
        with folder.writing(folder_, backend="echo", role="evaluator"):
            pass  # the manifest alone: there is nothing else to keep

    def to(self, device: Device) -> Self:
        """There is nothing to move."""
        _check_device(device)
        return self
