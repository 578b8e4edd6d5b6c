"""Learning from texts without labels: pseudo-labels, and the same answer for a text and a changed one (UDA).

    judge = trainer.fit([("a text", "label"), ("another", None), ...], max_steps=500, unlabelled="consistency")

Either way the network says what it thinks of an unlabelled text, and where it is sure enough learns to say so of a changed
one. `pseudo` learns the likeliest label as if it were the label (Lee 2013 with change="none"; Sohn et al. 2020, FixMatch,
with changed texts); `consistency` learns sharpened probabilities (Xie et al. 2020, Unsupervised data augmentation). Which
texts come, and how they are changed, are functions of the run's seed and the step, so that a resumed run is the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from aigc_sdk.attribution import evaluating
from aigc_sdk.calls import item_seed
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.training import order, processes

from .augment import deleted, swapped
from .data import Example
from .encode import Encoded, encode
from .heads import logits
from .packed import Packed
from .tasks import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from aigc_sdk.training import Loop

    from .judge import Judge

Way = Literal["pseudo", "consistency"]
Changed = Literal["delete", "swap", "none"]
CHANGES: dict[str, Callable[..., list[str]]] = {"delete": deleted, "swap": swapped}
ORDER, CHANGE = 1, 2  # which of a step's random streams is for what; 0 is torch's own


@dataclass(frozen=True)
class Semi:
    """How a run learns from unlabelled texts."""

    way: Way
    batch_size: int
    weight: float
    after: int
    confidence: float
    sharpening: float
    change: Changed
    share: float


@dataclass(frozen=True)
class Unlabelled:
    """Unlabelled texts as they are learnt from."""

    examples: Sequence[Example]
    rows: Sequence[Encoded]
    """One of each text without a label; `example` says which."""
    tokenizer: PreTrainedTokenizerFast
    context: int

    def drawn(self, seed: int, step: int, n: int) -> NDArray[np.int64]:
        """Which texts step 1, 2, ... learns from: all of them in turn, in an order of their own in each epoch."""
        return order.rows(order.step_seed(seed, ORDER, ORDER), len(self.rows), (step - 1) * n, n)

    def changed(self, drawn: Sequence[int], change: Changed, share: float, seeds: Sequence[int]) -> list[Encoded]:
        """Changed texts: one of those that an example brings, such as a translation there and back, or words changed here."""
        chosen = [self.examples[self.rows[index].example] for index in drawn]
        texts = []
        for example, seed in zip(chosen, seeds, strict=True):
            if example.changed:
                texts.append(example.changed[np.random.default_rng(seed).integers(len(example.changed))])
            elif change == "none":
                texts.append(example.text)
            else:
                texts += CHANGES[change]([example.text], share=share, seed=seed)
        return encode(self.tokenizer, texts, [each.pair for each in chosen], self.context, "truncate", "data")


def gradients(
    loop: Loop,
    network: torch.nn.Module,
    model: PreTrainedModel,
    some: Unlabelled,
    semi: Semi,
    seed: int,
    step: int,
    micro_batch_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add up the gradients of one step's unlabelled texts: their part of the loss, and the share that was sure enough.

    What a text is taken for is said without dropout.

    network: what is trained, from a Batch to its summed loss; model: the Hugging Face module within it.
    """
    n = semi.batch_size
    drawn, first = some.drawn(seed, step, n), order.step_seed(seed, step, CHANGE)
    loss, sure = torch.zeros((), device=model.device), torch.zeros((), device=model.device)
    if step <= semi.after:
        return loss, sure
    for part in loop.parts(np.arange(n), micro_batch_size):
        rows = [some.rows[index] for index in drawn[part]]
        with loop.autocast(), evaluating(network):
            wanted, sure_enough = targets(model, rows, semi)
        seeds = [item_seed(first, int(each)) for each in part]
        rows = some.changed(drawn[part].tolist(), semi.change, semi.share, seeds)
        with loop.autocast():
            part_loss = semi.weight * network(_batch(rows, wanted, model.device)) / n
        loop.backward(part_loss)
        loss += part_loss.detach()
        sure += sure_enough.sum() / n
    return loss, sure


def targets(model: PreTrainedModel, rows: Sequence[Encoded], semi: Semi) -> tuple[torch.Tensor, torch.Tensor]:
    """What each row is taken for (rows, labels), 0 throughout where the network is not sure enough; and where it is.

    Sharpened, probabilities are those of logits divided by the temperature `sharpening`; whether the network is sure is
    decided before, as in the paper.
    """
    with torch.no_grad():
        said = logits(model, Packed.of([row.row for row in rows], model.device)).float()
    sure = said.softmax(-1).amax(-1) >= semi.confidence
    if semi.way == "pseudo":
        wanted = torch.nn.functional.one_hot(said.argmax(-1), said.shape[1]).float()
    else:
        wanted = (said / semi.sharpening).softmax(-1)
    return wanted * sure[:, None], sure


def pseudo_labelled(judge: Judge, texts: Sequence[str], confidence: float = 0.95) -> list[tuple[str, str]]:
    """The texts of whose label the judge is sure, with that label: training data for a next round (Lee 2013).

    Raises OptionError, and DataError for a judge of anything but classification.
    """
    if not 0 <= confidence < 1:
        raise OptionError(f"confidence={confidence}: give a probability from 0 to below 1", field="confidence")
    if judge.task.kind != "classification":
        raise DataError(f"a judge of {judge.task.kind!r} gives no labels; pass one of classification", field="judge")
    chances = judge.predict(texts)
    best = chances.argmax(1)
    return [
        (text, judge.labels[index])
        for text, index, chance in zip(texts, best, chances.max(1), strict=True)
        if chance >= confidence
    ]


def check(semi: Semi, kind: str) -> None:
    """Refuse a task that has no labels to guess, and a batch that processes cannot share. Raises OptionError."""
    if kind != "classification":
        raise OptionError(
            f"unlabelled={semi.way!r} is for classification, and the task is {kind!r}", field="unlabelled"
        )
    if semi.batch_size % processes.world():
        message = f"unlabelled_batch_size={semi.batch_size} is no multiple of the {processes.world()} processes"
        raise OptionError(message, field="unlabelled_batch_size")


def parted(
    rows: Sequence[Encoded], found: Sequence[Example], tokenizer: PreTrainedTokenizerFast, context: int, name: str
) -> tuple[list[Encoded], Unlabelled]:
    """Rows with a label, and the texts without one, of which a long one has its first window alone.

    Raises DataError where either are missing.
    """
    labelled = [row for row in rows if found[row.example].target is not None]
    rest = {row.example: row for row in reversed(rows) if found[row.example].target is None}
    if not labelled or not rest:
        what = "every example has a label; add texts with the label None" if labelled else "no example has a label"
        raise DataError(f"{name}: unlabelled= learns from both kinds, and {what}", field=name)
    return labelled, Unlabelled(found, [rest[index] for index in sorted(rest)], tokenizer, context)


def _batch(rows: Sequence[Encoded], wanted: torch.Tensor, device: Any) -> Batch:
    """Rows of one length attend together, so they are sorted by it."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    return Batch(Packed.of([rows[index].row for index in by_length], device), wanted[by_length])
