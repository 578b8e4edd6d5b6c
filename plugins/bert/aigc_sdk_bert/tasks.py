"""What a judge is asked: the labels, how they stand in a folder, and the loss of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from aigc_sdk.errors import DataError, MismatchedFolder, suggestion

from .data import Example, Kind
from .encode import Encoded
from .heads import Head, head_of
from .packed import Packed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IGNORED = -100  # a target that no loss is taken of; torch's cross-entropy skips this index
PROBLEMS: dict[str, Kind] = {
    "single_label_classification": "classification",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}
MODELS: dict[Kind, str] = {
    "classification": "AutoModelForSequenceClassification",
    "multi-label": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "questions": "AutoModelForQuestionAnswering",
    "masked": "AutoModelForMaskedLM",
}


@dataclass(frozen=True)
class Task:
    """A kind of question, and the labels that answer it.

    labels: of classes; of tokens the tags, "O" first, then "B-" and "I-" of every label; otherwise none.
    """

    kind: Kind
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: Kind, labels: Sequence[str]) -> Self:
        """The task of telling `labels` apart."""
        if kind != "tokens":
            return cls(kind, tuple(labels))
        return cls(kind, ("O", *(f"{place}-{label}" for label in labels for place in "BI")))

    @classmethod
    def of_network(cls, network: PreTrainedModel) -> Self:
        """What a network in the Hugging Face layout answers. Raises MismatchedFolder where it has no head for that."""
        config: Any = network.config
        head = head_of(network)
        if head is None:
            message = f"a {type(network).__name__} has no head that judges; train one: aigc_sdk.trainer('bert', source)"
            raise MismatchedFolder(message)
        names = dict(config.id2label or {})
        return cls.of_head(head, [str(names[index]) for index in sorted(names)], config.problem_type)

    @classmethod
    def of_head(cls, head: Head, labels: Sequence[str], problem: str | None) -> Self:
        """What a head answers, by what config.json says: `id2label` in its order, and `problem_type`."""
        if head in ("questions", "masked"):
            return cls(head)
        if head == "tokens":
            return cls("tokens", tuple(labels))
        kind = PROBLEMS.get(problem or "", "classification" if len(labels) > 1 else "regression")
        return cls(kind, () if kind == "regression" else tuple(labels))

    @property
    def model_class(self) -> Any:
        """The transformers class that the task is for."""
        import transformers

        return getattr(transformers, MODELS[self.kind])

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as a user gives them: without B- and I-."""
        if self.kind != "tokens":
            return self.labels
        return tuple(dict.fromkeys(label[2:] for label in self.labels if label[:2] in ("B-", "I-")))

    def configuration(self) -> dict[str, Any]:
        """How the task stands in config.json."""
        if self.kind in ("questions", "masked"):
            return {}
        labels = self.labels or ("value",)
        found: dict[str, Any] = {"id2label": dict(enumerate(labels)), "label2id": {x: i for i, x in enumerate(labels)}}
        problem = next((name for name, kind in PROBLEMS.items() if kind == self.kind), None)
        return found if problem is None else {**found, "problem_type": problem}

    def index(self, label: str, where: str, name: str) -> int:
        """The number of a label. Raises DataError, which names the nearest known one."""
        known = self.labels
        if label in known:
            return known.index(label)
        shown = self.names
        listed = ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
        plain = label[2:] if self.kind == "tokens" else label
        message = f"{where}: there is no label {plain!r}.{suggestion(plain, shown)} The model knows: {listed}"
        raise DataError(message, field=name)


def targets(task: Task, found: Sequence[Example], rows: Sequence[Encoded], name: str) -> list[Any]:
    """The target of every row, as `batch` takes them. Raises DataError for a label that the task does not know."""
    if task.kind == "masked":
        return [None] * len(rows)
    of = {"tokens": _tags, "questions": _answer}.get(task.kind)
    if of is not None:
        return [of(task, found[row.example], row, f"{name}[{row.example}]", name) for row in rows]
    used = dict.fromkeys(row.example for row in rows)
    values = {index: _value(task, found[index], f"{name}[{index}]", name) for index in used}
    return [values[row.example] for row in rows]


def _value(task: Task, example: Example, where: str, name: str) -> Any:
    if task.kind == "classification":
        return task.index(example.target, where, name)
    if task.kind == "regression":
        return example.target
    value = np.zeros(len(task.labels), np.float32)
    value[[task.index(label, where, name) for label in example.target]] = 1
    return value


def _tags(task: Task, example: Example, row: Encoded, where: str, name: str) -> Any:
    """One tag per token: a token belongs to the span that holds its first character that is no space."""
    tags = np.full(len(row), IGNORED, np.int64)
    outside = task.labels.index("O") if "O" in task.labels else 0
    for place, ((start, stop), part) in enumerate(zip(row.offsets, row.parts, strict=True)):
        if part is None or stop == start:
            continue
        while start < stop - 1 and example.text[start].isspace():  # byte-level tokens begin with the space before them
            start += 1
        span = next((each for each in example.target if each[1] <= start < each[2]), None)
        if span is None:
            tags[place] = outside
        else:
            goes_on = place > 0 and row.parts[place - 1] is not None and row.offsets[place - 1][1] > span[1]
            tags[place] = task.index(f"{'I' if goes_on else 'B'}-{span[0]}", where, name)
    return tags


def _answer(task: Task, example: Example, row: Encoded, where: str, name: str) -> Any:
    """The first and last token of the first answer that the row holds; 0, the first special token, where there is none."""
    for start, stop in example.target:
        inside = [
            place
            for place, ((left, right), part) in enumerate(zip(row.offsets, row.parts, strict=True))
            if part == 1 and left < stop and right > start
        ]
        if inside and row.offsets[inside[0]][0] <= start and row.offsets[inside[-1]][1] >= stop:
            return np.array([inside[0], inside[-1]])
    return np.zeros(2, np.int64)


@dataclass(frozen=True)
class Batch:
    """Rows and their targets, as the network is trained on them."""

    packed: Packed
    targets: torch.Tensor
    chosen: torch.Tensor | None = None
    """Which tokens are predicted, where that is not all of them: the masked ones."""


def batch(task: Task, rows: Sequence[Encoded], values: Sequence[Any], device: str) -> Batch:
    """Rows and targets of every task but "masked"; see `masking.masked`."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))  # rows of one length attend together
    packed = Packed.of([rows[index].row for index in order], device)
    some = [values[index] for index in order]
    joined = np.concatenate(some) if task.kind == "tokens" else np.array(some)
    kind = torch.int64 if task.kind in ("classification", "tokens", "questions") else torch.float32
    return Batch(packed, torch.from_numpy(joined).to(device, kind))


def total(task: Task, values: Sequence[Any], weights: torch.Tensor | None) -> float:
    """What the summed loss of rows with these targets is divided by: rows, tokens or weights, as torch's mean does."""
    if task.kind == "questions":
        return 2.0 * len(values)
    if task.kind == "multi-label":
        return float(len(values) * len(task.labels))
    if task.kind not in ("classification", "tokens"):
        return float(len(values))
    flat = np.concatenate(values) if task.kind == "tokens" else np.array(values)
    flat = flat[flat != IGNORED]
    return float(len(flat)) if weights is None else float(weights.cpu().numpy()[flat].sum())


def summed_loss(
    task: Task, found: torch.Tensor, batch: Batch, weights: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """The loss of a batch, summed over what `total` counts.

    found: what the head says, see `heads.logits`. weights: of the labels. smoothing: of the targets, towards all labels
    alike (Szegedy et al. 2016).
    """
    found, wanted = found.float(), batch.targets
    if task.kind == "masked":
        return F.cross_entropy(found, wanted, reduction="sum")
    if task.kind == "regression":
        return F.mse_loss(found[:, 0], wanted, reduction="sum")
    if task.kind == "multi-label":
        smooth = wanted * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(found, smooth, weights, reduction="sum")
    if task.kind == "questions":
        per_row = pad_sequence(
            list(torch.split(found, list(batch.packed.lengths))), batch_first=True, padding_value=-torch.inf
        )
        return F.cross_entropy(per_row, wanted, reduction="sum")  # (rows, tokens, 2) against (rows, 2)
    return F.cross_entropy(found, wanted, weights, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)


def class_weights(task: Task, values: Sequence[Any], given: Any, name: str = "class_weights") -> torch.Tensor | None:
    """The weight of each label: "balanced" ones are inverse to how often it occurs; a dict gives some, the rest are 1."""
    if given is None or task.kind in ("regression", "questions", "masked"):
        return None
    if isinstance(given, Mapping):
        found = torch.ones(len(task.labels))
        for label, weight in given.items():
            for each in (label,) if task.kind != "tokens" or label == "O" else (f"B-{label}", f"I-{label}"):
                found[task.index(each, name, name)] = weight
        return found
    if task.kind == "multi-label":
        counts = np.stack(values).sum(0)
    else:
        flat = np.concatenate(values) if task.kind == "tokens" else np.array(values)
        counts = np.bincount(flat[flat != IGNORED], minlength=len(task.labels))
    there = np.maximum(counts, 1)
    return torch.tensor(counts.sum() / (len(task.labels) * there), dtype=torch.float32)
