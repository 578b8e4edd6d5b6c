"""What the evaluators share that keep nothing of their own: models are named in a call's options, or given as functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from aigc_sdk import folder, runtime
from aigc_sdk.errors import (
    MismatchedFolder,
    MissingDependency,
    NotAModel,
    NotOffered,
    OptionError,
    printable,
    suggestion,
)
from aigc_sdk.protocols import Device, DType, Evaluator, Exam, Options, Report, Source

from .accumulate import Batch, Metric, judge


class MetricsEvaluator(Evaluator):
    """The base of this package's evaluators. A subclass says what it judges, and makes its metrics.

    own: functions, models and samples of the caller's, instead of the options of these names; None where there is none.
    """

    name: ClassVar[str]
    """Of the backend."""
    batch: ClassVar[type[Batch]]
    """Of what is judged, checked."""

    def __init__(self, *, device: str = "auto", **own: Any) -> None:
        self.device = device
        self._own = own
        self._opened: dict[tuple[Any, ...], Any] = {}

    @classmethod
    def open(
        cls, source: Source = None, *, device: Device = "auto", dtype: DType = "float32", revision: str | None = None
    ) -> Self:
        """There is nothing to load; a folder that `save` wrote is checked. Models are named in a call's options."""
        _check_device(device)
        _check_saved(source, cls.name, revision)
        return cls(device=device)

    def run(self, exam: Exam) -> Report:
        """All metrics in one pass; what several of them need of a sample is computed once."""
        options: Any = exam.options
        metrics = list(self.metrics(options))
        return judge(metrics, self.prepared(exam), self.batch, times=options.bootstrap, seed=options.seed)

    @abstractmethod
    def metrics(self, options: Any = None) -> Iterator[Metric]:
        """The metrics that a call with these options would use, to be updated and merged by yourself."""

    def prepared(self, exam: Exam) -> Exam:
        """What is judged: the exam as it is, once its metrics are known to be there."""
        return exam

    def save(self, folder_: str | Path) -> None:
        """Write a folder that `open` reads. Raises NotOffered for one with functions, models or samples of your own."""
        given = [name for name, each in self._own.items() if each is not None]
        if given:
            what = f"a {type(self).__name__} with its own {' and '.join(given)} cannot be saved"
            raise NotOffered(f"{what}; name it in the call's options")
        with folder.writing(folder_, backend=self.name, role="evaluator"):
            pass  # the manifest alone: there is nothing else to keep

    def to(self, device: Device) -> Self:
        """Open models on `device` from now on."""
        _check_device(device)
        self.device = device
        self._opened.clear()
        return self

    def needed(self, name: str, options: Options, who: str) -> Any:
        """The model of one's own, or what the option names. Raises OptionError where there is neither."""
        given = self._own[name] if self._own[name] is not None else getattr(options, name)
        if not given:
            needs = type(options).model_fields[name].description
            raise OptionError(f"{who} needs the option {name}: {needs}; pass {name}=", field=name)
        return given

    def once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was opened for an earlier call is used again."""
        if key not in self._opened:
            self._opened[key] = make()
        return self._opened[key]


def known(names: Sequence[str], makers: Iterable[str]) -> tuple[str, ...]:
    """The names of metrics, each once. Raises ValueError for one that is not there."""
    there = [*makers]
    for name in names:
        if name not in there:
            raise ValueError(f"there is no metric {name!r}.{suggestion(name, there)} Metrics: {', '.join(there)}")
    return tuple(dict.fromkeys(names))


def open_transformers(
    source: str | Path, device: str, class_name: str, *, backend: str, who: str, kind: str | None = None
) -> tuple[folder.Folder, Any]:
    """A folder of transformers, or on the hub, and the network in it.

    class_name: an auto class. who: needs it, for an error. kind: what the model must be, such as "CLIP"; None: any.
    Raises MissingDependency and FolderError.
    """
    try:
        import transformers

        from aigc_sdk.weights import load_transformers, quiet
    except ImportError as error:
        message = f'{who} transformers and torch; pip install "aigc-sdk-metrics[encoder]": {error}'
        raise MissingDependency(message) from error
    place = runtime.device(device)
    opened = folder.read(source, backend=backend)
    found = opened.config().get("model_type")
    if kind is not None and found != kind.lower():
        raise MismatchedFolder(
            f"{opened.path} holds a {printable(str(found))} model; give the folder of a {kind} model"
        )
    with quiet(), runtime.memory_errors(f"the model {opened.source}", "use a smaller one"):
        network: Any = load_transformers(opened, getattr(transformers, class_name)).to(place)  # type: ignore[arg-type]
    return opened, network


def _check_device(device: str) -> None:
    """Refuse a device that is not there; torch is imported only for what needs it."""
    if device not in ("auto", "cpu"):
        runtime.device(device)


def _check_saved(source: Source, backend: str, revision: str | None) -> None:
    """Refuse a folder that no evaluator of `backend` has saved; None and "default" are none."""
    if source is None or source == "default":
        return
    opened = folder.read(source, backend=backend, revision=revision)
    if opened.manifest is None:
        raise NotAModel(f"{opened.path} has no {folder.MANIFEST}; open a folder that this evaluator has saved")
    if opened.manifest["role"] != "evaluator":
        raise MismatchedFolder(f"{opened.path} holds no evaluator")
