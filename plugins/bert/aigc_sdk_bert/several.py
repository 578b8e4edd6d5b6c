"""Several tasks on one encoder: every update is of one of them, which is drawn by the sizes of their data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import nn

from aigc_sdk import folder, runtime
from aigc_sdk.errors import DataError, MismatchedFolder, OptionError, suggestion
from aigc_sdk.protocols import Device, DType, Fit, OptionsClass, Source, Step
from aigc_sdk.training import Loop, TorchTrainer, order, schedule

from .judge import Judge
from .network import groups
from .options import TrainingOptions
from .train import REMEDY, BERTTrainer, Ready
from .validate import RISING

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALONE = ("adversarial", "unlabelled", "patience", "class_weights")  # what a run of one task has, and this one has not


class SeveralOptions(TrainingOptions):
    """How one run trains on all tasks."""

    task_temperature: float = Field(
        2.0, ge=1, le=1e6, description="1: tasks are drawn as often as they have data; the higher the more alike"
    )


class Judges(dict[str, Judge]):
    """The judges of several tasks, by name; in memory they share their encoder.

    judges = Judges.open("runs/mine")
    judges["kind"].predict(["a text"])

    Every task has a whole model folder inside the folder that is saved, which opens as a judge of its own.
    """

    @classmethod
    def open(cls, source: str | Path, *, device: Device = "auto", dtype: DType = "float32") -> Self:
        """Open what `save` wrote. Raises FolderError."""
        opened = folder.read(source, backend="bert")
        names = (opened.manifest or {}).get("training", {}).get("tasks")
        if not isinstance(names, list):
            raise MismatchedFolder(
                f"{opened.source} holds no judges of several tasks; open it by aigc_sdk.evaluator('bert')"
            )
        return cls({name: Judge.open(opened.path / name, device=device, dtype=dtype) for name in names})

    def save(self, folder_: str | Path) -> None:
        """Write a folder with a model folder for each task in it."""
        with folder.writing(folder_, backend="bert", role="judges", training={"tasks": list(self)}) as path:
            for name, judge in self.items():
                judge.save(path / name)


class SeveralTrainer(TorchTrainer[Judges]):
    """Trains one encoder for several tasks at once.

        trainer = SeveralTrainer.open("default", tasks={"kind": {}, "length": {"task": "regression"}})
        judges = trainer.fit({"kind": [("a text", "law")], "length": [("a text", 6.0)]}, max_steps=200)

    tasks: for each name what `BERTTrainer.open` takes: `task`, `labels`, `seed`. data and validation: for each name what
    `BERTTrainer` takes. A task is drawn with a probability that goes with the size of its data to the power of
    1 / `task_temperature` (Devlin et al. 2019 for languages); which one, and which of its texts, are functions of
    the seed and the step.
    """

    Options: ClassVar[OptionsClass] = SeveralOptions

    def __init__(self, trainers: Mapping[str, BERTTrainer]) -> None:
        self.trainers = dict(trainers)
        self.device = next(iter(self.trainers.values())).device
        self.model = Judges()
        self.rising = frozenset(f"{name}_{metric}" for name in self.trainers for metric in RISING)  # type: ignore[misc]
        self._share()

    @classmethod
    def open(
        cls,
        source: Source = "default",
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        **config: Any,
    ) -> Self:
        """Start from the encoder at `source` with a head for each of `tasks`."""
        tasks = config.pop("tasks", None)
        if config:
            raise OptionError(f"{', '.join(config)}: only tasks can be given", field=next(iter(config)))
        if not isinstance(tasks, Mapping) or len(tasks) < 2 or not all(map(_is_name, tasks)):
            raise OptionError("tasks: give at least two, by names of letters, digits, - and _", field="tasks")
        if source is None:
            raise OptionError("several tasks begin with an encoder; pass its source, such as 'default'", field="source")
        trainers = {}
        for name, given in tasks.items():
            if given.get("task") == "masked" or given.get("adapter") is not None:
                raise OptionError(
                    f"tasks: {name!r} is not for a judge; leave out masked text and adapters", field="tasks"
                )
            trainers[name] = BERTTrainer.open(source, device=device, dtype=dtype, revision=revision, **given)
        return cls(trainers)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all data, and refuse what cannot be used."""
        for name in ALONE:
            if getattr(fit.options, name) is not None:
                raise OptionError(f"{name} is for a run of one task; leave it out", field=name)
        self._each(data, "data")
        if validation is not None:
            self._each(validation, "validation")
        for name, trainer in self.trainers.items():
            trainer.check(data[name], None if validation is None else validation[name], fit)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        options: SeveralOptions = fit.options
        ready = {name: trainer._install(data[name], options) for name, trainer in self.trainers.items()}
        self._share()
        names = list(ready)
        chosen = drawn([len(each.rows) for each in ready.values()], options.task_temperature, fit.max_steps, fit.seed)
        loop = Loop(self, fit, rows=sum(len(each.rows) for each in ready.values()), precision=options.precision)
        network = loop.trains(
            "network",
            self._optimizer(options),
            clip_norm=options.clip_norm,
            schedule=schedule(
                options.schedule, fit.max_steps, warmup_steps=options.warmup_steps, final=options.final_rate
            ),
            ema=options.ema_decay,
        )
        for index in loop:
            task = int(chosen[index - 1])
            before = int((chosen[: index - 1] == task).sum())
            loss = self._gradients(loop, network, names[task], ready[names[task]], before, fit)
            norm = loop.update("network")
            network.eval()  # between updates the judges are the user's to try
            yield loop.step(loss=loss, gradient_norm=norm, task=float(task))

    def _gradients(
        self, loop: Loop, network: nn.Module, name: str, ready: Ready, before: int, fit: Fit
    ) -> torch.Tensor:
        """Add up the gradients of one batch of one task, of which there have been `before` batches."""
        options: SeveralOptions = fit.options
        size = options.batch_size
        rows = order.rows(fit.seed, len(ready.rows), before * size, size)
        trainer = self.trainers[name]
        whole = trainer._total(ready, rows, options, None)
        loss = torch.zeros((), device=self.device)
        with runtime.memory_errors(f"an update of {size} texts", REMEDY):
            for part in loop.parts(rows, options.micro_batch_size):
                with loop.autocast():
                    found = (
                        network(name, trainer._batch(ready, part, options, 0), None, options.label_smoothing) / whole
                    )
                loop.backward(found)
                loss += found.detach()
        return loss

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The metrics of every task as `name_metric`, and the mean of their losses."""
        found = {name: trainer.validate(data[name], fit) for name, trainer in self.trainers.items()}
        mean = float(np.mean([each["loss"] for each in found.values()]))
        return {"loss": mean} | {f"{name}_{key}": value for name, some in found.items() for key, value in some.items()}

    def state_dict(self) -> dict[str, Any]:
        labels = {name: None if each._learns_labels else list(each.task.names) for name, each in self.trainers.items()}
        return {**super().state_dict(), "labels": labels}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rest = dict(state)
        labels = rest.pop("labels", {})
        if set(labels) != set(self.trainers):
            raise MismatchedFolder(f"the state is of the tasks {sorted(labels)}, not {sorted(self.trainers)}")
        for name, saved in labels.items():
            if saved is not None:
                self.trainers[name]._check_labels(saved)
        self._share()
        super().load_state_dict(rest)

    def _each(self, data: Any, name: str) -> None:
        if not isinstance(data, Mapping) or set(data) != set(self.trainers):
            there = sorted(map(str, data)) if isinstance(data, Mapping) else f"a {type(data).__name__}"
            near = "".join(suggestion(str(each), self.trainers) for each in data) if isinstance(data, Mapping) else ""
            message = f"{name} is {there}; pass a dict with the data of each task: {', '.join(self.trainers)}.{near}"
            raise DataError(message, field=name)

    def _share(self) -> None:
        """Give all heads one encoder: that of the first task whose has all parts, such as BERT's pooler."""
        networks: list[Any] = [trainer.model.network for trainer in self.trainers.values()]
        prefix = networks[0].base_model_prefix
        body = max((each.base_model for each in networks), key=lambda each: len(each.state_dict()))
        for network in networks:
            setattr(network, prefix, body)
        for name, trainer in self.trainers.items():
            assert isinstance(trainer.model, Judge)
            self.model[name] = trainer.model
        self.networks = {"network": _Shared({name: each.networks["network"] for name, each in self.trainers.items()})}

    def _optimizer(self, options: SeveralOptions) -> torch.optim.Optimizer:
        networks = [trainer.model.network for trainer in self.trainers.values()]
        parameters = groups(networks, options.learning_rate, options.weight_decay, options.layer_decay)
        return torch.optim.AdamW(parameters, lr=options.learning_rate, betas=options.betas, fused=True)


class _Shared(nn.Module):
    """The networks of all tasks, of which each call trains one."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.tasks = nn.ModuleDict(networks)

    def forward(self, name: str, *arguments: Any) -> Any:
        return self.tasks[name](*arguments)


def drawn(sizes: Sequence[int], temperature: float, steps: int, seed: int) -> NDArray[np.int64]:
    """The number of the task of every update, each drawn with a probability of size ** (1 / temperature)."""
    weights = np.asarray(sizes, np.float64) ** (1 / temperature)
    return np.random.default_rng([seed, len(sizes)]).choice(len(sizes), steps, p=weights / weights.sum())


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and name.replace("-", "").replace("_", "").isalnum() and name.isascii()
