"""The figures of a judge: labels, probabilities, numbers, spans and answers against what a person said; numpy alone.

    figures = classification(probabilities, truths, names)
    figures["macro_f1"].value, confusion(truths, probabilities.argmax(1), len(names))
    scores, parts = scored(figures, "texts of the held-out books", times=1000)

Every figure is a function of sums over samples where it can be, so that intervals and comparisons need no model.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_sdk.errors import DataError
from aigc_sdk.protocols import Score
from aigc_sdk.statistics import Additive, bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
WIDEST = 20.0  # a temperature, and one over the lowest
HALVINGS = 50
SURE = 1e-12  # the least probability that a truth is given credit for, so that a log stays finite
Span = tuple[Any, ...]
"""A labelled stretch: (label, start, stop), of tags or of characters; any tuple that is right as a whole or not at all."""


@dataclass(frozen=True)
class Figure:
    """A figure over samples, and how it was computed."""

    of: Additive | Callable[[NDArray[np.int64]], float]
    """Sums over samples, or a function of the samples taken where the figure is none of sums."""
    n: int
    protocol: str
    higher_is_better: bool = True

    @property
    def value(self) -> float:
        return self.of.total if isinstance(self.of, Additive) else self.of(np.arange(self.n))

    def interval(self, times: int, seed: int = 0) -> tuple[float, float] | None:
        """The 95 % bootstrap interval; None where there is nothing to resample."""
        if isinstance(self.of, Additive):
            return self.of.interval(times, seed)
        return bootstrap(self.of, self.n, times, seed)


def scored(
    figures: Mapping[str, Figure], protocol: str, *, times: int = 1000, seed: int = 0
) -> tuple[dict[str, Score], dict[str, Additive]]:
    """The `scores` and `parts` of a Report. `protocol` says what all of the figures share; times=0 leaves intervals out."""
    scores = {}
    for name, figure in figures.items():
        interval = figure.interval(times, seed)
        about = f"; 95 % interval of {times:,} bootstrap resamplings of the samples" if interval else ""
        scores[name] = Score(
            value=figure.value,
            n=figure.n,
            protocol=f"{figure.protocol}; {protocol}{about}",
            higher_is_better=figure.higher_is_better,
            interval=interval,
        )
    return scores, {name: each.of for name, each in figures.items() if isinstance(each.of, Additive)}


def classification(probabilities: Any, truths: Any, names: Sequence[str] | None = None) -> dict[str, Figure]:
    """Accuracy, F1, log loss and calibration of one label per sample.

    probabilities: samples x labels, each row of which adds up to 1; truths: the index of the right label, samples.
    names: of the labels; with them every label has its own F1 as `f1[name]`. Raises DataError.
    """
    chances, right = _chances(probabilities), _truths(truths)
    n, labels = chances.shape
    _same_number(n, len(right))
    if right.min() < 0 or right.max() >= labels:
        message = f"truths go from {right.min()} to {right.max()}, and there are {labels} labels, from 0 on"
        raise DataError(message, field="truths")
    if not np.allclose(chances.sum(1), 1, atol=1e-3):
        row = int(np.abs(chances.sum(1) - 1).argmax())
        message = f"probabilities[{row}] adds up to {chances[row].sum():.4g}, not to 1; pass a softmax over the labels"
        raise DataError(message, field="probabilities")
    guesses = chances.argmax(1)
    sure = chances[np.arange(n), right].clip(SURE)
    one_hot = np.eye(labels, dtype=bool)
    return {
        "accuracy": Figure(mean(guesses == right), n, "part of the samples whose likeliest label is right"),
        **_f1(one_hot[right], one_hot[guesses], names),
        "log_loss": Figure(mean(-np.log(sure)), n, "mean nats of the right label", higher_is_better=False),
        "calibration_error": calibration_error(chances.max(1), guesses == right),
    }


def multi_label(
    probabilities: Any, truths: Any, names: Sequence[str] | None = None, *, threshold: float = 0.5
) -> dict[str, Figure]:
    """The same where each sample has any number of labels: a label is guessed from `threshold` on.

    probabilities: samples x labels, each from 0 to 1; truths: 0 or 1, samples x labels. Raises DataError.
    """
    chances, right = _chances(probabilities), np.asarray(truths)
    if right.shape != chances.shape or not np.isin(right, (0, 1)).all():
        message = f"truths has the shape {right.shape}; pass 0 or 1 for each of {chances.shape[0]} x {chances.shape[1]}"
        raise DataError(message, field="truths")
    if not 0 < threshold < 1:
        raise DataError(f"threshold={threshold}: give a number between 0 and 1", field="threshold")
    right, guesses = right.astype(bool), chances >= threshold
    n = len(chances)
    sure = np.where(right, chances, 1 - chances).clip(SURE)
    at = f"guessed from {threshold:g} on"
    chosen = np.where(guesses, chances, 1 - chances)
    return {
        "accuracy": Figure(mean((guesses == right).all(1)), n, f"part of the samples with all labels right, {at}"),
        **{name: Figure(each.of, n, f"{each.protocol}, {at}") for name, each in _f1(right, guesses, names).items()},
        "log_loss": Figure(mean(-np.log(sure).mean(1)), n, "mean nats per label", higher_is_better=False),
        "calibration_error": calibration_error(chosen, guesses == right),
    }


def regression(values: Any, truths: Any) -> dict[str, Figure]:
    """Pearson's and Spearman's correlation and the root mean square error of numbers: samples, samples."""
    guesses, right = (_numbers(each, name) for each, name in ((values, "values"), (truths, "truths")))
    n = len(guesses)
    _same_number(n, len(right))
    # Centred by constants, which no correlation depends on: sums of squares of large numbers would lose its digits.
    x, y = guesses - guesses.mean(), right - right.mean()
    sums = np.stack([np.ones(n), x, y, x * x, y * y, x * y], 1)

    def spearman(taken: NDArray[np.int64]) -> float:
        x, y = (_ranks(each[taken]) for each in (guesses, right))
        return float(_correlation(np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])))

    error = Additive(
        np.stack([(guesses - right) ** 2, np.ones(n)], 1), lambda sums: np.sqrt(sums[..., 0] / sums[..., 1])
    )
    return {
        "pearson": Figure(Additive(sums, _correlation), n, "Pearson's correlation"),
        "spearman": Figure(spearman, n, "Spearman's correlation of ranks, ties sharing their mean rank"),
        "rmse": Figure(error, n, "root mean square error", higher_is_better=False),
    }


def entities(found: Sequence[Iterable[Span]], expected: Sequence[Iterable[Span]]) -> dict[str, Figure]:
    """Precision, recall and F1 of labelled spans over all samples (seqeval's micro average, CoNLL 2000), and macro F1.

    found, expected: the (label, start, stop) of each sample; one is right when all three are. Repeats count once.
    """
    _same_number(len(found), len(expected))
    pairs = [(set(some), set(true)) for some, true in zip(found, expected, strict=True)]
    names = sorted({span[0] for some, true in pairs for span in some | true})
    counted = np.zeros((len(pairs), max(1, len(names)), 3))  # samples x labels x (right, found, expected)
    place = {name: index for index, name in enumerate(names)}
    for row, (some, true) in zip(counted, pairs, strict=True):
        for column, spans in enumerate((some & true, some, true)):
            for span in spans:
                row[place[span[0]], column] += 1
    n, total = len(pairs), counted.sum(1)
    how = "a span is right with its label, start and end"
    return {
        "entity_precision": Figure(Additive(total, lambda s: _part(s[..., 0], s[..., 1])), n, how),
        "entity_recall": Figure(Additive(total, lambda s: _part(s[..., 0], s[..., 2])), n, how),
        "entity_f1": Figure(Additive(total, _f1_of), n, how),
        "entity_macro_f1": Figure(Additive(counted.reshape(n, -1), _macro), n, f"mean over labels; {how}"),
    }


def answers(found: Sequence[str], accepted: Sequence[Sequence[str]]) -> dict[str, Figure]:
    """Exact match and word F1 of answers, each against the accepted one that fits it best (SQuAD, Rajpurkar et al. 2016).

    Lower case, without punctuation and the articles a, an, the. No accepted answer, or an empty one: none is right.
    """
    _same_number(len(found), len(accepted))
    exact, overlap = np.empty(len(found)), np.empty(len(found))
    for index, (answer, right) in enumerate(zip(found, accepted, strict=True)):
        if isinstance(right, str):
            raise DataError(f"accepted[{index}] is a string; pass the list of answers that are right", field="accepted")
        choices = list(right) or [""]
        exact[index] = max(normalised(answer) == normalised(each) for each in choices)
        overlap[index] = max(answer_f1(answer, each) for each in choices)
    how = "SQuAD's normalisation, best of the accepted answers"
    return {
        "exact_match": Figure(mean(exact), len(found), how),
        "answer_f1": Figure(mean(overlap), len(found), f"words in common; {how}"),
    }


def normalised(answer: str) -> str:
    """An answer as SQuAD compares it."""
    kept = "".join(each for each in answer.lower() if each not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def answer_f1(answer: str, right: str) -> float:
    """The F1 of an answer's words, repeats counted."""
    given, wanted = normalised(answer).split(), normalised(right).split()
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def confusion(truths: Any, guesses: Any, labels: int) -> NDArray[np.int64]:
    """How often a sample of one label was taken for another: labels (the truth) x labels (the guess)."""
    right, taken = _truths(truths), _truths(guesses)
    _same_number(len(taken), len(right))
    if min(right.min(), taken.min()) < 0 or max(right.max(), taken.max()) >= labels:
        raise DataError(f"a label is not among the {labels} labels, which count from 0", field="truths")
    return np.bincount(right * labels + taken, minlength=labels * labels).reshape(labels, labels)


def by_label(matrix: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of samples of every label of a confusion matrix; 0 where nothing can be divided."""
    right, taken, there = np.diag(matrix), matrix.sum(0), matrix.sum(1)
    rows = zip(names, _part(right, taken), _part(right, there), _part(2 * right, taken + there), there, strict=True)
    return [
        {"label": name, "precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(count)}
        for name, precision, recall, f1, count in rows
    ]


def calibration_error(confidences: Any, right: Any, bins: int = BINS) -> Figure:
    """The expected calibration error (Guo et al. 2017): how far confidence is from accuracy, in equal bins of confidence.

    confidences: the probability of what was guessed; right: whether it was. Samples, or samples x labels, where every
    label counts as a guess of its own.
    """
    sure = np.asarray(confidences, np.float64).reshape(len(confidences), -1)
    hit = np.asarray(right, np.float64).reshape(sure.shape)
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)  # a bin holds its upper end
    gaps = np.zeros((len(sure), bins + 1))
    for column in range(sure.shape[1]):
        gaps[np.arange(len(sure)), place[:, column]] += sure[:, column] - hit[:, column]
    gaps[:, bins] = sure.shape[1]
    return Figure(
        Additive(gaps, lambda sums: np.abs(sums[..., :-1]).sum(-1) / sums[..., -1]),
        len(sure),
        f"expected calibration error in {bins} equal bins",
        higher_is_better=False,
    )


def fit_temperature(logits: Any, truths: Any) -> float:
    """The temperature by which logits are divided so that the truths are likeliest (Guo et al. 2017).

    logits: samples x labels; truths: the index of the right label for each sample (softmax), or 0 or 1 for samples x
    labels (sigmoid). The log loss is convex in 1 / temperature, so its slope is halved in until it is 0. Between 1/20 and
    20: where every sample is right the best temperature would be 0. Raises DataError.
    """
    scores, right = np.asarray(logits, np.float64), np.asarray(truths)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        message = f"logits has the shape {scores.shape}; pass finite ones, samples x labels"
        raise DataError(message, field="logits")
    if right.ndim == 1:
        _same_number(len(scores), len(right))
        right = np.eye(scores.shape[1])[_truths(right)]
        scores = scores - scores.max(1, keepdims=True)
    elif right.shape != scores.shape:
        raise DataError(f"truths has the shape {right.shape}, and logits {scores.shape}", field="truths")
    squash = _softmax if np.asarray(truths).ndim == 1 else _sigmoid
    low, high = -math.log(WIDEST), math.log(WIDEST)  # of log(1 / temperature)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = ((squash(scores * math.exp(middle)) - right) * scores).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def mean(values: Any) -> Additive:
    """The mean over samples."""
    column = np.asarray(values, np.float64)
    return Additive(np.stack([column, np.ones(len(column))], 1), lambda sums: sums[..., 0] / sums[..., 1])


def bio(spans: Iterable[Span], length: int) -> list[str]:
    """Tags of `length` places from (label, start, stop): B- begins a span, I- goes on, O is outside. Raises DataError."""
    tags = ["O"] * length
    for label, start, stop in spans:
        if not 0 <= start < stop <= length or any(tag != "O" for tag in tags[start:stop]):
            message = f"the span ({label}, {start}, {stop}) is empty, leaves the {length} places, or overlaps another"
            raise DataError(message, field="spans")
        tags[start:stop] = [f"B-{label}"] + [f"I-{label}"] * (stop - start - 1)
    return tags


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The (label, start, stop) in BIO tags; an I- that follows another label or none begins a span, as in seqeval."""
    found: list[tuple[str, int, int]] = []
    before = ""
    for index, tag in enumerate(tags):
        kind, _, label = tag.partition("-")
        if tag != "O" and (kind not in ("B", "I") or not label):
            raise DataError(f"tags[{index}] is {tag!r}; tags are O, B-label and I-label", field="tags")
        if kind == "B" or (kind == "I" and label != before):
            found.append((label, index, index + 1))
        elif kind == "I":
            found[-1] = (label, found[-1][1], index + 1)
        before = label if kind != "O" else ""
    return found


def _f1(right: NDArray[np.bool_], guesses: NDArray[np.bool_], names: Sequence[str] | None) -> dict[str, Figure]:
    """F1 over labels; right, guesses: samples x labels."""
    n, labels = right.shape
    if names is not None and len(names) != labels:
        raise DataError(f"{len(names)} names for {labels} labels; name each", field="names")
    counts = np.stack([right & guesses, guesses, right], 2).astype(np.float64)  # samples x labels x 3
    found = {
        "macro_f1": Figure(
            Additive(counts.reshape(n, -1), _macro), n, "mean F1 of the labels that are there or guessed"
        ),
        "micro_f1": Figure(Additive(counts.sum(1), _f1_of), n, "F1 over all labels together"),
    }
    for index, name in enumerate(names or ()):
        found[f"f1[{name}]"] = Figure(Additive(counts[:, index], _f1_of), n, f"F1 of the label {name}")
    return found


def _f1_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 from (right, guessed, there) along the last axis."""
    return _part(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _macro(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean F1 of the labels that occur, from (labels x 3) flattened along the last axis."""
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    there = counts[..., 1] + counts[..., 2] > 0
    return _part((_f1_of(counts) * there).sum(-1), there.sum(-1))


def _part(above: Any, below: Any) -> NDArray[np.float64]:
    """above / below, 0 where there is nothing below."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    parts = np.zeros(np.broadcast_shapes(above.shape, below.shape))
    np.divide(above, below, out=parts, where=below > 0)
    return parts


def _correlation(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's from (n, x, y, xx, yy, xy); NaN where a side does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x * x) * (n * yy - y * y)
    top = np.asarray(n * xy - x * y)
    varies = spread > 1e-20 * np.abs(n * n * xx * yy)  # rounding leaves constants a little spread
    return np.where(varies, top / np.sqrt(np.where(varies, spread, 1)), np.nan)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of scores whose highest in each row is 0."""
    raised = np.exp(scores)
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((1 + np.tanh(scores / 2)) / 2)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each value from the middle of all; equal ones share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts + 1) / 2 - (len(values) - 1) / 2)[places]


def _chances(probabilities: Any) -> NDArray[np.float64]:
    found = np.asarray(probabilities, np.float64)
    if found.ndim != 2 or not found.size:
        raise DataError(f"probabilities has the shape {found.shape}; pass samples x labels", field="probabilities")
    if not np.isfinite(found).all() or found.min() < -1e-6 or found.max() > 1 + 1e-6:
        raise DataError("probabilities go from 0 to 1, and some here do not; pass no logits", field="probabilities")
    return found


def _truths(values: Any) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1 or not found.size or not np.issubdtype(found.dtype, np.integer):
        message = f"truths has the shape {found.shape} of {found.dtype}; pass the index of a label for each sample"
        raise DataError(message, field="truths")
    return found.astype(np.int64)


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise DataError(f"{name} has the shape {found.shape}; pass one finite number for each sample", field=name)
    return found


def _same_number(samples: int, truths: int) -> None:
    if samples != truths or not samples:
        raise DataError(f"{truths} truths for {samples} samples; pass one each, of at least one", field="truths")
