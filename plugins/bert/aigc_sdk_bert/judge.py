"""The evaluator: a fine-tuned encoder that judges, labels and answers, with probabilities that mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field

from aigc_sdk import folder, runtime
from aigc_sdk.adapters import Adapters
from aigc_sdk.adapters.layers import without_hooks
from aigc_sdk.adapters.manager import Names
from aigc_sdk.artifacts import Text
from aigc_sdk.errors import DataError, MismatchedFolder, OptionError, printable
from aigc_sdk.protocols import (
    Device,
    DType,
    Evaluator,
    Exam,
    Options,
    OptionsClass,
    Report,
    Score,
    Source,
    Step,
    ignore,
)

from . import scoring
from .adapted import Adapted, for_each, told
from .data import Example, checked_text, examples
from .encode import Encoded, TooLong, context_of, encode
from .folders import JUDGE, TEMPERATURE, temperature_of
from .heads import head_of, logits
from .packed import BUDGET, Packed, batches, hidden
from .spans import best_answer, spans_of
from .tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel


class Judging(Options):
    """How texts are judged."""

    pairs: tuple[str, ...] | None = Field(
        None, strict=False, description="the second text of each sample: the other of a pair, the context of a question"
    )
    too_long: TooLong = Field(
        "refuse",
        description="of a text that the model cannot read at once: refuse it, truncate it, or split it into windows",
    )
    int8: bool = Field(False, description="compute linear layers in 8-bit integers, on a CPU")
    adapter: str | Annotated[tuple[str | None, ...], Field(strict=False)] | None = Field(
        None,
        description="the adapter to judge with, or one per sample (None: the model alone); None: the one in use",
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which one of several labels is given")
    bootstrap: int = Field(1000, ge=0, le=100_000, description="resamplings of the samples for the intervals; 0: none")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the resamplings")


class Judge(Adapted, Evaluator):
    """A fine-tuned encoder of any task.

        judge = aigc_sdk.evaluator("bert", "runs/mine")
        judge.predict(["a text", "another"])                       # (2, labels) probabilities
        judge.evaluate(["a text", "another"], ["law", "poetry"])   # a Report: accuracy, F1, calibration, intervals

    labels: what is told apart. Probabilities are calibrated by a temperature where training had a validation set.
    References are what training data calls the target: a label, a list of labels, a number, spans, or answers.
    """

    Options: ClassVar[OptionsClass] = Judging
    role = "evaluator"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.task = Task.of_network(self.network)
        if self.task.kind == "masked":
            message = "a masked language model judges nothing yet; teach it to: aigc_sdk.trainer('bert', source)"
            raise MismatchedFolder(message)
        self._int8: tuple[str, PreTrainedModel] | None = None
        self._temperatures: dict[str, float] = {}  # of adapters, each of which has a head of its own

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a judge: None or "default" for the one in this package, a folder, or a hub id.

        dtype: "float32" or "bfloat16", to compute in. Raises FolderError, DeviceError or OptionError.
        """
        return cls._open(source, JUDGE, device, dtype, revision)

    @property
    def labels(self) -> tuple[str, ...]:
        """What is told apart; empty for numbers and answers."""
        return self.task.names

    @property
    def temperature(self) -> float:
        """What logits are divided by, so that probabilities mean what they say (Guo et al. 2017); 1 where none was fitted.

        An adapter has its own; this is that of the adapter in use.
        """
        return self._temperature(self.adapter)

    @temperature.setter
    def temperature(self, value: float) -> None:
        if self.adapter is None:
            setattr(self.network.config, TEMPERATURE, value)
        else:
            self._temperatures[self.adapter] = value

    def add_adapter(self, source: str | Path | folder.Folder, name: str | None = None) -> str:
        opened = source if isinstance(source, folder.Folder) else folder.read(source, backend=self.backend)
        name = super().add_adapter(opened, name)
        if opened.has("config.json"):
            self._temperatures[name] = temperature_of(opened.config())
        return name

    def remove_adapter(self, name: str) -> None:
        super().remove_adapter(name)
        self._temperatures.pop(name, None)

    def merge_adapter(self, name: str | None = None) -> None:
        name = self.adapter if name is None else name
        super().merge_adapter(name)
        if name in self._temperatures:
            setattr(self.network.config, TEMPERATURE, self._temperatures.pop(name))
        self.own_head = True

    def predict(
        self,
        texts: Iterable[str],
        pairs: Iterable[str | None] | None = None,
        *,
        too_long: TooLong = "refuse",
        int8: bool = False,
        adapter: Names = None,
    ) -> Any:
        """What the judge says of each text; the same alone and in any batch.

        adapter: the one to judge with, or a list of one for each text, None in it being the model alone; None: the one in
        use. Each answers with the head that it was trained with, and by its own temperature.

        classification and multi-label: probabilities, float64, (texts, labels). regression: numbers, float64, (texts,).
        tokens: a list of spans for each text. questions: an Answer for each question, out of its context in `pairs`.
        """
        given, seconds = self._checked(texts, pairs)
        return self._predict(given, seconds, self.adapters_for(adapter, len(given)), too_long, int8)

    def embed(self, texts: Iterable[str], *, too_long: TooLong = "refuse") -> NDArray[np.float32]:
        """The mean of each text's last hidden states, of length 1: float32, (texts, width)."""
        given, seconds = self._checked(texts, [None] * len(texts) if isinstance(texts, Sequence) else None)
        rows = encode(self.tokenizer, given, seconds, self.context, too_long)
        return embedded(self.network, rows, len(given))

    def run(self, exam: Exam) -> Report:
        options: Judging = exam.options
        texts = [_text(sample, index) for index, sample in enumerate(exam.samples)]
        given, seconds = self._checked(texts, options.pairs, "samples")
        adapters = self.adapters_for(options.adapter, len(given))
        truths = None if exam.references is None else self._truths(given, seconds, exam.references)
        found = self._predict(given, seconds, adapters, options.too_long, options.int8, exam.on_step)
        rows = [self._row(each, options) for each in found]
        protocol = self._protocol(options, adapters)
        if isinstance(options.adapter, tuple):
            rows = [{**row, "adapter": name} for row, name in zip(rows, adapters, strict=True)]
        if truths is None:
            return Report(self._confidence(rows, protocol), rows)
        for row, truth in zip(rows, truths, strict=True):
            row["expected"] = _plain(truth.target, truth)
        figures = self._figures(found, truths, options)
        scores, parts = scoring.scored(figures, protocol, times=options.bootstrap, seed=options.seed)
        finite = {name: score for name, score in scores.items() if math.isfinite(score.value)}
        return Report(finite, rows, {name: each for name, each in parts.items() if name in finite})

    def confusion(self, report: Report) -> NDArray[np.int64]:
        """How often each label (row) was taken for each (column), of a report with references; in the order of `labels`."""
        if self.task.kind != "classification" or any("expected" not in row for row in report.rows):
            message = "a confusion matrix is of a classification that was evaluated with references"
            raise DataError(message, field="report")
        places = {label: index for index, label in enumerate(self.labels)}
        right, taken = ([places[row[key]] for row in report.rows] for key in ("expected", "label"))
        return scoring.confusion(np.array(right), np.array(taken), len(places))

    def _checked(
        self, texts: Iterable[str], pairs: Iterable[str | None] | None, name: str = "texts"
    ) -> tuple[list[str], list[str | None]]:
        if isinstance(texts, str):
            raise DataError(f"{name} is one text; pass a list of them", field=name)
        given = [checked_text(text, f"{name}[{index}]", name) for index, text in enumerate(texts)]
        seconds: list[str | None] = [None] * len(given) if pairs is None else list(pairs)
        if len(seconds) != len(given):
            raise DataError(f"{len(seconds)} pairs for {len(given)} {name}; pass one each", field="pairs")
        for index, pair in enumerate(seconds):
            if pair is not None:
                checked_text(pair, f"pairs[{index}]", "pairs")
            elif self.task.kind == "questions":
                raise DataError(f"{name}[{index}] is a question without its context; pass pairs=", field="pairs")
        return given, seconds

    def _predict(
        self,
        texts: list[str],
        pairs: list[str | None],
        adapters: Sequence[str | None],
        too_long: TooLong,
        int8: bool,
        on_step: Callable[[Step], None] = ignore,
    ) -> Any:
        network = self._network(int8, adapters)
        contexts = [context_of(self.network) - self.adapters.tokens(each) for each in adapters]
        rows = encode(self.tokenizer, texts, pairs, contexts, too_long)
        found = run(network, rows, on_step, adapters=[adapters[row.example] for row in rows])
        kind, temperatures = self.task.kind, [self._temperature(each) for each in adapters]
        if kind == "tokens":
            return spans_of(self.task, texts, rows, found, temperatures)
        if kind == "questions":
            return best_answer([str(pair) for pair in pairs], rows, found)
        joined = averaged(np.stack(found), rows, len(texts)) if found else np.zeros((0, max(1, len(self.labels))))
        if kind == "regression":
            return joined[:, 0]
        return probabilities(self.task, joined / np.array(temperatures)[:, None])

    def adapters_for(self, given: Names, count: int) -> tuple[str | None, ...]:
        """The adapter of each of `count` texts. Raises OptionError."""
        listed = given if isinstance(given, list | tuple) else (given,)
        if not all(each is None or isinstance(each, str) for each in listed):
            raise OptionError(f"adapter={given!r}: give a name, None, or a list of them, one per text", field="adapter")
        names = for_each(self.adapters.current if given is None else given, count)
        if len(names) != count:
            message = f"adapter: {len(names)} names for {count} texts; give one for all, or one each"
            raise OptionError(message, field="adapter")
        for index, name in enumerate(names):
            if name is not None:
                self.adapters[name]
            elif not self.own_head:
                known = ", ".join(map(printable, self.adapters))
                message = (
                    f"adapter is None for text {index}, and the model alone has not learnt {self.task.kind} with these "
                    f"labels: only its adapters have; name one. Adapters: {known}"
                )
                raise OptionError(message, field="adapter")
        return names

    def _temperature(self, adapter: str | None) -> float:
        own = temperature_of(vars(self.network.config))
        return own if adapter is None else self._temperatures.get(adapter, own)

    def _write_beside(self, path: Path) -> None:
        with told(self.network.config, **{TEMPERATURE: self.temperature}):
            super()._write_beside(path)

    def _network(self, int8: bool, adapters: Sequence[str | None]) -> PreTrainedModel:
        if not int8:
            return self.network
        if not self.device.startswith("cpu") or self.dtype != "float32":
            message = f"int8=True computes on a CPU from float32 weights; this judge is {self.dtype} on {self.device}"
            raise OptionError(message, field="int8")
        if any(each is not None for each in adapters):
            raise OptionError(
                "int8=True is without adapters; call merge_adapter() first, or use_adapter(None)", field="int8"
            )
        mark = runtime.fingerprint(self.network)
        if self._int8 is None or self._int8[0] != mark:
            self._int8 = (mark, quantised(self.network))
        return self._int8[1]

    def _truths(self, texts: list[str], pairs: list[str | None], references: Sequence[Any]) -> list[Example]:
        """References as training data gives its targets. Raises DataError."""
        kind = self.task.kind
        if kind == "questions":
            items: list[Any] = [
                {"question": text, "context": pair, "answers": answers}
                for text, pair, answers in zip(texts, pairs, references, strict=True)
            ]
        else:
            items = list(zip(texts, references, strict=True))
        found = examples(items, kind, "references")
        for index, each in enumerate(found):
            for label in _labels(each, kind):
                if label not in self.labels:
                    self.task.index(f"B-{label}" if kind == "tokens" else label, f"references[{index}]", "references")
        return found

    def _figures(self, found: Any, truths: list[Example], options: Judging) -> dict[str, scoring.Figure]:
        kind, wanted = self.task.kind, [each.target for each in truths]
        if kind == "regression":
            return scoring.regression(found, wanted)
        if kind == "questions":
            given = [[str(each.pair)[start:stop] for start, stop in each.target] for each in truths]
            return scoring.answers([each.text for each in found], given)
        if kind == "tokens":
            return scoring.entities([[(x.label, x.start, x.end) for x in each] for each in found], wanted)
        if kind == "classification":
            return scoring.classification(found, np.array([self.labels.index(x) for x in wanted]), self.labels)
        there = np.array([[label in each for label in self.labels] for each in wanted], np.int64)
        return scoring.multi_label(found, there, self.labels, threshold=options.threshold)

    def _row(self, found: Any, options: Judging) -> dict[str, Any]:
        """One result as plain JSON."""
        kind = self.task.kind
        if kind == "regression":
            return {"value": float(found)}
        if kind == "questions":
            return found._asdict()  # type: ignore[no-any-return]
        if kind == "tokens":
            return {"spans": [each._asdict() for each in found]}
        chances = dict(zip(self.labels, found.tolist(), strict=True))
        if kind == "multi-label":
            given = [label for label, chance in chances.items() if chance >= options.threshold]
            return {"labels": given, "probabilities": chances}
        best = int(found.argmax())
        return {"label": self.labels[best], "confidence": float(found[best]), "probabilities": chances}

    def _confidence(self, rows: Sequence[Mapping[str, Any]], protocol: str) -> dict[str, Score]:
        """Without references: how sure the judge is, or what it says on average."""
        protocol = f"mean over samples, of no references; {protocol}"
        if self.task.kind == "regression":
            values, name = [row["value"] for row in rows], "value"
        else:
            values, name = [_sureness(row) for row in rows], "confidence"
        return {name: Score(float(np.mean(values)), len(values), protocol, higher_is_better=True)}

    def _protocol(self, options: Judging, adapters: Sequence[str | None]) -> str:
        name = self.source or "the default judge"
        parts = [f"{self.task.kind} by {name} ({runtime.fingerprint(self.network)[:12]})", self.dtype]
        parts += ["int8"] * options.int8 + self._described(list(dict.fromkeys(adapters)))
        return ", ".join([*filter(None, parts), f"texts too long: {options.too_long}"])

    def _described(self, adapters: Sequence[str | None]) -> list[str]:
        """Adapters with their temperatures, as a protocol names them."""
        heats = [self._temperature(each) for each in adapters]
        told = [f"temperature {heat:.4g}" if heat != 1 else "" for heat in heats]
        if set(adapters) == {None}:
            return told
        marks = ["" if each is None else self.adapters.fingerprint(each)[:12] for each in adapters]
        names = ["no adapter" if each is None else f"adapter {printable(each)}" for each in adapters]
        details = [", ".join(filter(None, pair)) for pair in zip(marks, told, strict=True)]
        return [f"{name} ({more})" if more else name for name, more in zip(names, details, strict=True)]


@torch.inference_mode()
def run(
    network: PreTrainedModel,
    rows: Sequence[Encoded],
    on_step: Callable[[Step], None] = ignore,
    budget: int = BUDGET,
    adapters: Sequence[str | None] | None = None,
) -> list[NDArray[np.float64]]:
    """What the head says of each row, without dropout: float64, of one row each; see `heads.logits`.

    adapters: of each row; None: those in use.
    """
    network.train(False)
    manager = Adapters.of(network)
    names = for_each(manager.current if adapters is None else adapters, len(rows))
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(rows)
    device, done = network.device, 0
    for some in _together(rows, [manager.tokens(each) for each in names], budget):
        packed = Packed.of([rows[index].row for index in some], device)
        used = dict.fromkeys(names[index] for index in some)
        with manager.using(next(iter(used)) if len(used) == 1 else [names[index] for index in some]):
            said = logits(network, packed).double().cpu()
        per_row = said if head_of(network) == "sequence" else torch.split(said, list(packed.lengths))
        for index, each in zip(some, per_row, strict=True):
            found[index] = each.numpy()
        done += len(some)
        on_step(Step(done, len(rows)))
    return found


def _together(rows: Sequence[Encoded], virtual: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Which rows to run together: those before which as many virtual tokens come, which no other row then has room for."""
    for count in dict.fromkeys(virtual):
        alike = [index for index, each in enumerate(virtual) if each == count]
        for some in batches([len(rows[index]) for index in alike], budget):
            yield [alike[place] for place in some]


@torch.inference_mode()
def embedded(
    network: PreTrainedModel, rows: Sequence[Encoded], texts: int, *, normalise: bool = True
) -> NDArray[np.float32]:
    """The mean of each text's last hidden states, over its windows where it has several: float32, (texts, width)."""
    network.train(False)
    sums = np.zeros((texts, network.config.hidden_size))
    counts = np.zeros((texts, 1))
    for some in batches([len(row) for row in rows]):
        packed = Packed.of([rows[index].row for index in some], network.device)
        means = packed.means(hidden(network, packed)).double().cpu().numpy()
        for index, mean in zip(some, means, strict=True):
            sums[rows[index].example] += mean * len(rows[index])
            counts[rows[index].example] += len(rows[index])
    means = sums / counts
    if normalise:
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means.astype(np.float32)


def quantised(network: PreTrainedModel) -> PreTrainedModel:
    """A copy whose linear layers hold int8 weights, and whose inputs are rounded to int8 as they come."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this moves to another package
        return torch.ao.quantization.quantize_dynamic(  # type: ignore[no-any-return, no-untyped-call]
            without_hooks(network).train(False), {torch.nn.Linear}, dtype=torch.qint8
        )


def probabilities(task: Task, said: NDArray[np.float64]) -> NDArray[np.float64]:
    """From logits: a softmax over the labels, or a sigmoid of each where there can be several."""
    if task.kind == "multi-label":
        return 1 / (1 + np.exp(-said))
    powers = np.exp(said - said.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)  # type: ignore[no-any-return]


def averaged(said: NDArray[np.float64], rows: Sequence[Encoded], texts: int) -> NDArray[np.float64]:
    """The mean over the windows of each text."""
    sums, counts = np.zeros((texts, said.shape[1])), np.zeros((texts, 1))
    for each, row in zip(said, rows, strict=True):
        sums[row.example] += each
        counts[row.example] += 1
    return sums / counts


def _text(sample: Any, index: int) -> str:
    if not isinstance(sample, Text):
        raise DataError(f"samples[{index}] is a {type(sample).__name__}; this judge is of Text", field="samples")
    return sample.text


def _labels(example: Example, kind: str) -> list[str]:
    if kind == "classification":
        return [example.target]
    if kind == "multi-label":
        return list(example.target)
    return [span[0] for span in example.target] if kind == "tokens" else []


def _sureness(row: Mapping[str, Any]) -> float:
    if "probabilities" in row and "labels" in row:
        return float(np.mean([max(p, 1 - p) for p in row["probabilities"].values()]))
    if "spans" in row:
        return float(np.mean([span["confidence"] for span in row["spans"]])) if row["spans"] else 1.0
    return float(row["confidence"])


def _plain(target: Any, example: Example) -> Any:
    """A target as plain JSON."""
    if example.pair is not None and isinstance(target, tuple) and target and isinstance(target[0], tuple):
        return [example.pair[start:stop] for start, stop in target]
    if isinstance(target, tuple) and target and isinstance(target[0], tuple):
        return [{"label": label, "start": start, "end": stop} for label, start, stop in target]
    return list(target) if isinstance(target, tuple) else target
