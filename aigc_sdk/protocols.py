"""The three contracts: Generator, Trainer, Evaluator; and the plain data that passes through them.

A backend writes one method per role, `run`. Everything around it is done here, once and for all backends:
validation, seeds, progress, cancelling, hooks, origins. Nothing in this module needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, cast

from . import calls
from .artifacts import Artifact, Text
from .errors import DataError, NotOffered
from .options import Options, OptionsClass
from .scores import Report, Score

__all__ = [
    "DType",
    "Device",
    "Evaluator",
    "Exam",
    "Fit",
    "Generator",
    "Job",
    "Options",
    "OptionsClass",
    "Report",
    "Score",
    "Source",
    "Step",
    "Trainer",
    "ignore",
]

A = TypeVar("A", bound=Artifact)
M = TypeVar("M")

Device = str  # "auto", "cpu", "cuda", "cuda:1"; strings keep the core free of torch
DType = Literal["float32", "bfloat16", "float16", "int8", "auto"]  # the backend says which of them it computes in
Source = str | Path | None


@dataclass(frozen=True)
class Step:
    """One unit of progress: `index` of `total` are done (`total` is None when nobody can know it)."""

    index: int
    total: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def ignore(step: Step) -> None:
    """The default `on_step`: nobody watches."""


@dataclass(frozen=True)
class Job:
    """One generate or stream call, as `run` sees it.

    `prompts` holds at least one prompt (None where there is none); `n` samples are wanted of each. Results are flat and
    prompt-major: item `i` answers `prompts[i // n]` and draws its randomness from `seeds[i]` alone, so that it is the
    same in any batch. `on_step` takes a Step whenever something is done.
    """

    prompts: tuple[Any, ...]
    n: int
    seed: int
    options: Any
    on_step: Callable[[Step], None] = ignore

    def __len__(self) -> int:
        return len(self.prompts) * self.n

    @property
    def items(self) -> list[Any]:
        """The prompt of every item, `len(self)` of them."""
        return [prompt for prompt in self.prompts for _ in range(self.n)]

    @property
    def seeds(self) -> list[int]:
        """The seed of every item."""
        return [calls.item_seed(self.seed, index) for index in range(len(self))]


class Generator(ABC, Generic[A]):
    """Makes artifacts. A backend writes `open`, `run`, `save` and `to`; users call `generate` and `stream`."""

    Options: ClassVar[OptionsClass] = Options
    prompt_types: ClassVar[tuple[type, ...]] = (str, type(None))
    """The types a prompt may have; `type(None)` among them means that a prompt can be left out."""
    owns_randomness: ClassVar[bool] = False
    """True when `run` draws only from generators made of `job.seeds`. False: the core lends `run` a global torch
    random state of its own, which costs a lock and a swap per chunk."""
    backend: ClassVar[str] = ""
    """The name under which the distribution registers this backend; it goes into every `origin`."""
    device: str
    dtype: str
    source: str = ""
    """Where the model came from: "" for the backend's own default, a folder, or `org/name@commit`."""

    @classmethod
    @abstractmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load a model: None for the backend's default, a folder, or a hub id (`revision` is then resolved once)."""

    @abstractmethod
    def run(self, job: Job) -> Iterator[A]:
        """Yield chunks; `chunk.sample` says which item each belongs to, and an item's chunks come in order.

        Call `job.on_step` when something is done. Never hold a `torch.inference_mode()` block open across a `yield`:
        the mode would leak to the caller.
        """

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write a model folder that `open` reads."""

    @abstractmethod
    def to(self, device: Device) -> Self:
        """Move the model to `device` and return it."""

    def check(self, job: Job) -> None:
        """Refuse a job that cannot run, before anything runs. Prompt types, lengths and options are checked already."""

    def fingerprint(self) -> str:
        """A digest of the weights as they are now; "" where there are none."""
        return ""

    def identity(self, job: Job) -> dict[str, Any]:
        """What `origin["model"]` says of the model that does `job`: JSON values, `source` and `fingerprint` among them."""
        return {"source": str(self.source), "fingerprint": self.fingerprint()}

    def restore(self, identity: Mapping[str, Any]) -> None:
        """Give a model that was opened from `identity["source"]` what else `identity` says it had, such as adapters."""

    def generate(
        self,
        prompt: Any = None,
        *,
        n: int = 1,
        seed: int | None = None,
        on_step: Callable[[Step], None] | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> list[A]:
        """Make `n` artifacts for each prompt; one prompt or a list of them. Results are flat and prompt-major.

        seed: 0 to 2**63-1; item i draws from its own stream of `seed + i`. None draws one and records it in `origin`.
        on_step: called with a Step as work is done; raising in it cancels the call.
        progress: a bar on stderr; None shows one on a terminal when the call takes longer than two seconds.
        options: the fields of this backend's `Options`.
        """
        made = calls.generate(self, prompt, n, seed, on_step, progress, options)
        return cast(list[A], list(made))

    def stream(
        self,
        prompt: Any = None,
        *,
        n: int = 1,
        seed: int | None = None,
        on_step: Callable[[Step], None] | None = None,
        **options: Any,
    ) -> Iterator[A]:
        """The same as `generate`, chunk by chunk as they are made; joined, the chunks equal what `generate` returns.

        Bad input is refused here, not at the first `next`. Closing the iterator stops the work.
        While an `aigc_artifact` hook is switched on, each sample comes in one piece when it is finished, because
        the hook may replace it.
        """
        return cast(Iterator[A], calls.stream(self, prompt, n, seed, on_step, options))


@dataclass(frozen=True)
class Fit:
    """One training run, as `run` sees it: optimiser updates `1..max_steps`, and the seed of all its randomness."""

    max_steps: int
    seed: int
    options: Any


class Trainer(ABC, Generic[M]):
    """Trains a model. A backend writes `open`, `run`, `state_dict` and `load_state_dict`; users call `steps` or `fit`.

    Trainers that use torch subclass `aigc_sdk.training.TorchTrainer`, which does the last two and the optimisation.
    """

    Options: ClassVar[OptionsClass] = Options
    """What one run may set: batch size, learning rate and the like."""
    Config: ClassVar[OptionsClass] = Options
    """What `open` may set when it builds a new model: sizes, labels and the like."""
    rising: ClassVar[frozenset[str]] = frozenset()
    """The metrics of `validate` of which more is better, such as {"accuracy"}."""
    model: M
    device: str

    @classmethod
    @abstractmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        **config: Any,
    ) -> Self:
        """Start from the model at `source`, or from a new one made by `config`; the backend says which is the default."""

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Refuse data and options that cannot be trained with, before anything runs or is written."""

    @abstractmethod
    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        """Train, and yield one Step per optimiser update, from the one after the loaded state to `fit.max_steps`.

        The order of data and all randomness are functions of (`fit.seed`, step), so that a resumed run is the same run.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to go on exactly: nested dicts and lists of JSON values, numpy arrays, torch tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the next `run` goes on from there."""

    def averaged(self) -> AbstractContextManager[None]:
        """For as long as the block lasts, the model has the weights it is judged and saved with, where those differ
        from the ones that are trained: an average over updates, say."""
        return nullcontext()

    def settle(self) -> None:
        """Give the model the weights of `averaged` for good: the run is over."""

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """Metrics on held-out `data` with the model as it is now, such as {"loss": 2.1}."""
        raise NotOffered(f"{type(self).__name__} cannot validate during training; leave out `validation`")

    def preview(self, fit: Fit) -> Sequence[Artifact]:
        """A few artifacts from the model as it is now, made from the same latents or prompts each time; none by default.

        torch's global random state is lent and the same at each call. Leave weights, buffers and own random streams alone.
        """
        return []

    def steps(
        self,
        data: Any,
        *,
        max_steps: int,
        seed: int = 0,
        validation: Any = None,
        judge: Callable[[M], Report | Mapping[str, Score | float]] | None = None,
        evaluate_every: int | None = None,
        save_to: str | Path | None = None,
        save_every: int | None = None,
        preview_every: int | None = None,
        resume: bool | Literal["anyway"] = False,
        best: str | None = None,
        on_step: Callable[[Step], None] | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Iterator[Step]:
        """Train step by step; the loop is yours, so logging is a line in it and early stopping is `break`.

        max_steps: optimiser updates in the whole run, those before a resume included.
        validation, evaluate_every: held-out data, validated every so many steps (and at the end): such a Step carries
            `validation_*` metrics.
        judge: asked with the model whenever it is validated, such as `lambda model: metrics.evaluate(model.generate(n=64,
            seed=0))`; what it returns (a Report, Scores or losses by name) joins the `validation_*` metrics.
        save_to, save_every: a folder for checkpoints, `log.jsonl` and, with validation, the `best` model so far by the
            validation metric named `best` (None: the loss, or the first metric where there is none). A checkpoint is
            also written at the end, when the
            loop is left early and, at the step's edge, on SIGINT and SIGTERM.
        preview_every: samples of the model every so many steps (and at the end) in `samples/`, where the trainer makes
            previews, and at the end a page with curves, samples and options, `report.html`.
        resume: go on from the newest checkpoint in `save_to` that verifies, as if never interrupted; start anew if
            there is none. A change of data, seed, options or torch version is refused; "anyway" allows it.
        progress: a line on stderr with rate and remaining time; None shows it on a terminal.

        Raises TrainingDiverged when a loss or gradient becomes NaN or infinite; the last good checkpoint stays.
        """
        from .training.driver import drive

        return drive(
            self,
            data,
            max_steps=max_steps,
            seed=seed,
            validation=validation,
            judge=judge,
            evaluate_every=evaluate_every,
            save_to=save_to,
            save_every=save_every,
            preview_every=preview_every,
            resume=resume,
            best=best,
            on_step=on_step,
            progress=progress,
            options=options,
        )

    def fit(self, data: Any, *, max_steps: int, **arguments: Any) -> M:
        """Train to the end and return the model; takes what `steps` takes."""
        for _ in self.steps(data, max_steps=max_steps, **arguments):
            pass
        return self.model


@dataclass(frozen=True)
class Exam:
    """One evaluate call, as `run` sees it: samples, references (as many, or None), options."""

    samples: tuple[Artifact, ...]
    references: tuple[Any, ...] | None
    options: Any
    on_step: Callable[[Step], None] = ignore


class Evaluator(ABC):
    """Judges artifacts. A backend writes `open`, `run`, `save` and `to`; users call `evaluate`."""

    Options: ClassVar[OptionsClass] = Options
    device: str

    @classmethod
    @abstractmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """Load the judge: None for the backend's default, a folder, or a hub id."""

    @abstractmethod
    def run(self, exam: Exam) -> Report:
        """Judge all samples: one row each, in order, and the scores over all of them."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write a model folder that `open` reads."""

    @abstractmethod
    def to(self, device: Device) -> Self:
        """Move the judge to `device` and return it."""

    def evaluate(
        self,
        samples: Iterable[Artifact | str],
        references: Iterable[Any] | None = None,
        *,
        on_step: Callable[[Step], None] | None = None,
        **options: Any,
    ) -> Report:
        """Judge `samples` (artifacts, or plain strings for text), against as many `references` where a metric needs them.

        Raises DataError for no samples or another number of references, OptionError for a bad option.
        """
        parsed = self.Options.parse(type(self).__name__, options)
        if isinstance(samples, str | Artifact):
            raise DataError("samples is one sample; pass a list of them", field="samples")
        judged = tuple(Text(each) if isinstance(each, str) else each for each in samples)
        if not judged:
            raise DataError("there are no samples to evaluate; pass at least one", field="samples")
        for index, each in enumerate(judged):
            if not isinstance(each, Artifact):
                message = f"samples[{index}] is a {type(each).__name__}; pass artifacts, or strings for text"
                raise DataError(message, field="samples")
        against = None if references is None else tuple(references)
        if against is not None and len(against) != len(judged):
            message = f"{len(against)} references for {len(judged)} samples; pass one each"
            raise DataError(message, field="references")
        exam = Exam(judged, against, parsed, calls.watcher(on_step, self))
        return self.run(exam)
