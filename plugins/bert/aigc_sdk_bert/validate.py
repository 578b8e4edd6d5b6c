"""What a trainer says of a model on held-out data: the loss, the task's figures, and the temperature that calibrates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from . import masking, scoring
from .heads import logits
from .judge import averaged, probabilities, run
from .packed import Packed, batches
from .spans import best_answer, spans_of
from .tasks import Batch, Task, summed_loss, total

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from .train import Ready

RISING = frozenset(
    {
        "accuracy",
        "macro_f1",
        "micro_f1",
        "pearson",
        "spearman",
        "entity_f1",
        "entity_precision",
        "entity_recall",
        "entity_macro_f1",
        "exact_match",
        "answer_f1",
    }
)


def metrics(
    model: Any, task: Task, ready: Ready, mask_probability: float, seed: int
) -> tuple[dict[str, float], float | None]:
    """Loss and figures by name, and the temperature where probabilities can be calibrated.

    model: a Judge or a BERT. The calibration error is that of the calibrated probabilities, on the very data that the
    temperature was fitted to.
    """
    network: PreTrainedModel = model.network
    if task.kind == "masked":
        return _masked(network, ready, mask_probability, seed), None
    said = run(network, ready.rows)
    found = {"loss": _loss(task, ready, said)}
    figures, temperature = _figures(task, ready, said)
    values = {name: figure.value for name, figure in figures.items() if "[" not in name and name != "log_loss"}
    return {**found, **{name: value for name, value in values.items() if np.isfinite(value)}}, temperature


def _figures(
    task: Task, ready: Ready, said: list[NDArray[np.float64]]
) -> tuple[dict[str, scoring.Figure], float | None]:
    wanted = [each.target for each in ready.found]
    if task.kind == "tokens":
        texts = [each.text for each in ready.found]
        spans = spans_of(task, texts, ready.rows, said, [1.0] * len(texts))
        return scoring.entities([[(x.label, x.start, x.end) for x in each] for each in spans], wanted), None
    if task.kind == "questions":
        contexts = [str(each.pair) for each in ready.found]
        given = [[str(each.pair)[start:stop] for start, stop in each.target] for each in ready.found]
        return scoring.answers([each.text for each in best_answer(contexts, ready.rows, said)], given), None
    joined = averaged(np.stack(said), ready.rows, len(ready.found))
    if task.kind == "regression":
        return scoring.regression(joined[:, 0], wanted), None
    if task.kind == "classification":
        truths: NDArray[Any] = np.array([task.labels.index(each) for each in wanted])
        score = scoring.classification
    else:
        truths = np.array([[label in each for label in task.labels] for each in wanted], np.int64)
        score = scoring.multi_label
    temperature = scoring.fit_temperature(joined, truths)
    return score(probabilities(task, joined / temperature), truths), temperature


def _loss(task: Task, ready: Ready, said: list[NDArray[np.float64]]) -> float:
    packed = Packed.of([row.row for row in ready.rows])
    joined = np.concatenate(said) if task.kind in ("tokens", "questions") else np.stack(said)
    values = np.concatenate(ready.values) if task.kind == "tokens" else np.array(ready.values)
    kind = torch.int64 if task.kind in ("classification", "tokens", "questions") else torch.float32
    whole = Batch(packed, torch.from_numpy(values).to(kind))
    return float(summed_loss(task, torch.from_numpy(joined), whole)) / max(1.0, total(task, ready.values, None))


@torch.no_grad()
def _masked(network: Any, ready: Ready, probability: float, seed: int) -> dict[str, float]:
    """Nats per masked token, and how many of them are told right; the same tokens are masked each time."""
    network.train(False)
    nats = right = count = 0.0
    for number, some in enumerate(batches([len(row) for row in ready.rows])):
        rows = [ready.rows[index] for index in some]
        hidden = masking.masked(ready.tokenizer, rows, probability, seed + number, network.device)
        found = logits(network, hidden.packed, chosen=hidden.chosen).float()
        nats += float(F.cross_entropy(found, hidden.targets, reduction="sum"))
        right += int((found.argmax(-1) == hidden.targets).sum())
        count += len(hidden.targets)
    return {"loss": nats / count, "accuracy": right / count}
