"""Training: fine-tune an encoder for a task, train it further on plain text, or begin with a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import torch

from aigc_sdk import folder, runtime
from aigc_sdk.adapters import Tuned, method
from aigc_sdk.errors import MismatchedFolder, OptionError
from aigc_sdk.protocols import Device, DType, Fit, OptionsClass, Source, Step
from aigc_sdk.training import Loop, TorchTrainer, processes, schedule
from aigc_sdk.training.order import step_seed
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from . import consistency, folders, masking
from .adversarial import Ball, adversarial_gradients
from .consistency import Semi, Unlabelled, parted
from .data import Example, examples, labels_of
from .encode import Encoded, TooLong, context_of, encode
from .heads import head_of
from .judge import Judge
from .model import BERT
from .network import TrainingNetwork, groups
from .options import SIZES, Start, TrainingOptions
from .packed import word_embeddings
from .tasks import Batch, Task, batch, class_weights, targets, total
from .validate import RISING, metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

REMEDY = "choose a smaller micro_batch_size"
ADAPTER = "trained"  # the name of the adapter that a trainer trains


@dataclass(frozen=True)
class Ready:
    """Data as it is trained on or validated with."""

    data: Any
    tokenizer: PreTrainedTokenizerFast
    task: Task
    found: list[Example]
    rows: list[Encoded]
    values: list[Any]
    unlabelled: Unlabelled | None = None


class BERTTrainer(TorchTrainer[Judge | BERT]):
    """Trains an encoder.

        trainer = aigc_sdk.trainer("bert", "default")                       # the encoder that this package brings
        trainer = aigc_sdk.trainer("bert", "org/name", task="tokens")       # a folder or a hub id
        trainer = aigc_sdk.trainer("bert", width=256, layers=6)             # a new one
        judge = trainer.fit([("a text", "label"), ...], max_steps=200)

    `data` is what `aigc_sdk_bert.data.examples` reads. What is trained becomes a `Judge`, and for the task "masked" a
    `BERT`. Labels are those of the option `labels`, or of the opened judge, or of the data. A new model learns a
    WordPiece tokenizer from the data first. The loss is the mean over a batch's texts, or tokens.
    """

    Options: ClassVar[OptionsClass] = TrainingOptions
    Config: ClassVar[OptionsClass] = Start
    rising = RISING

    def __init__(
        self, model: Judge | BERT, start: Start, *, learns_tokenizer: bool = False, learns_labels: bool = False
    ):
        self.model = model
        self.device = model.device
        self.start = start
        self._method = None if start.adapter is None else method(start.adapter)
        self._learns_tokenizer = learns_tokenizer
        self._learns_labels = learns_labels
        self._ready: Ready | None = None
        self._validation: Ready | None = None
        self._watched: dict[int, float] = {}  # the watched metric, by the step that it was validated at
        self._take(model.network, Task.of_network(model.network))

    @classmethod
    def open(
        cls,
        source: Source = None,
        *,
        device: Device = "auto",
        dtype: DType = "float32",
        revision: str | None = None,
        **config: Any,
    ) -> Self:
        """Start from the encoder at `source` ("default": the one in this package), or from a new one of the given sizes.

        With `tasks`, a mapping, the trainer is a `aigc_sdk_bert.several.SeveralTrainer`: one encoder for all of them.
        """
        check_dtype(dtype)
        if "tasks" in config:
            from .several import SeveralTrainer  # which imports this module

            return cast(Self, SeveralTrainer.open(source, device=device, revision=revision, **config))
        start: Start = Start.parse("bert", config)
        place = runtime.device(device)
        if source is None and start.adapter is not None:
            raise OptionError(
                "adapter is for a model that is there already; pass its source, such as 'default'", field="adapter"
            )
        if source is None:
            return cls._new(start, place)
        check_no_sizes([name for name in config if name in SIZES], source)
        return cls._opened(source, start, place, revision)

    @classmethod
    def _opened(cls, source: Source, start: Start, device: str, revision: str | None) -> Self:
        default = source == "default" or source is None
        opened = folder.read(folders.DEFAULT if default else source, backend="bert", revision=revision)  # type: ignore[arg-type]
        tokenizer = folders.tokenizer_of(opened)
        known = folders.task_in(opened)
        keeps = known is not None and known.kind == start.task and start.labels is None
        task = known if keeps and known is not None else _task(start)
        network: Any = folders.load_whole(opened) if keeps else folders.load_head(opened, task, start.seed)
        network.to(device=device, dtype=torch.float32)
        made: Any = BERT if start.task == "masked" else Judge
        model = made(network, tokenizer, device=device, source="" if default else opened.source)
        model.own_head = start.adapter is None or start.task == "masked" or known == task
        return cls(model, start, learns_labels=not keeps and _learns_labels(start))

    @classmethod
    def _new(cls, start: Start, device: str) -> Self:
        tokenizer = folders.learn_tokenizer([], start.vocab_size, start.context, start.lowercase)
        what = f"a new model of {start.layers} layers, {start.width} wide"
        with runtime.memory_errors(what, "choose smaller sizes"):
            network: Any = folders.new_network(start, _task(start))
            network.to(device).eval()
        made: Any = BERT if start.task == "masked" else Judge
        model = made(network, tokenizer, device=device)
        return cls(model, start, learns_tokenizer=True, learns_labels=_learns_labels(start))

    @property
    def task(self) -> Task:
        """What is learnt."""
        return self._task

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all data, and refuse what cannot be used; the run then starts with what was read."""
        options: TrainingOptions = fit.options
        self._ready = self._validation = None
        self._watched = {}
        if self._method is not None and options.layer_decay != 1:
            message = (
                f"layer_decay={options.layer_decay} is for training the model itself; leave it out with an adapter"
            )
            raise OptionError(message, field="layer_decay")
        for name in ("adversarial", "unlabelled"):
            if getattr(options, name) is not None and processes.sharded():
                message = (
                    f"{name} looks into the network's parts, which FSDP holds back; train whole copies, without FSDP"
                )
                raise OptionError(message, field=name)
        ready = self._read(data, options, "data")
        if options.class_weights is not None:
            class_weights(ready.task, ready.values, options.class_weights)
        if options.patience is not None and validation is None:
            raise OptionError("patience needs validation data; pass validation=", field="patience")
        if validation is not None:
            self._validation = self._read(validation, options, "validation", ready)
        self._ready = ready

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        ready = self._install(data, fit.options)
        options: TrainingOptions = fit.options
        weights = class_weights(ready.task, ready.values, options.class_weights)
        weights = None if weights is None else weights.to(self.device)
        loop = Loop(self, fit, rows=len(ready.rows), precision=options.precision)
        optimizer = self._optimizer(options)
        if self._method is not None:
            self.model.adapters.follow(ADAPTER, optimizer, fit.max_steps, loop.done)
        network = loop.trains(
            "network",
            optimizer,
            clip_norm=options.clip_norm,
            schedule=schedule(
                options.schedule, fit.max_steps, warmup_steps=options.warmup_steps, final=options.final_rate
            ),
            ema=options.ema_decay,
        )
        for index in loop:
            if self._stops(options):
                return
            drawn = loop.draw(options.batch_size)
            whole = self._total(ready, drawn, options, weights)
            loss = torch.zeros((), device=self.device)
            with runtime.memory_errors(f"an update of {options.batch_size} texts", REMEDY):
                for number, part in enumerate(loop.parts(drawn, options.micro_batch_size)):
                    some = self._batch(ready, part, options, step_seed(fit.seed, index, number))
                    loss += self._gradients(loop, network, some, weights, whole, options)
                more = self._unlabelled(loop, network, ready, options, fit.seed, index)
                norm = loop.update("network")
            network.eval()  # between updates the model is the user's to try
            ranks = {} if self._method is None else self.model.adapters.metrics(ADAPTER)
            yield loop.step(loss=loss, gradient_norm=norm, **more, **ranks)

    def _gradients(
        self,
        loop: Loop,
        network: torch.nn.Module,
        some: Batch,
        weights: torch.Tensor | None,
        whole: float,
        options: TrainingOptions,
    ) -> torch.Tensor:
        """Add up the gradients of a batch, and return its part of the loss."""

        def loss_of(shift: torch.Tensor | None) -> torch.Tensor:
            with loop.autocast():
                return network(some, weights, options.label_smoothing, shift) / whole  # type: ignore[no-any-return]

        if options.adversarial is None:
            loss = loss_of(None)
            loop.backward(loss)
            return loss.detach()
        ball = Ball(options.adversarial_epsilon, options.adversarial_rate, options.adversarial_steps)
        with torch.no_grad():
            words = word_embeddings(self.model.network, some.packed)
        return adversarial_gradients(options.adversarial, ball, loss_of, words, some.packed, loop.backward)

    def _unlabelled(
        self, loop: Loop, network: torch.nn.Module, ready: Ready, options: TrainingOptions, seed: int, step: int
    ) -> dict[str, torch.Tensor]:
        """Add up the gradients of unlabelled texts, where the run learns from any."""
        semi = _semi(options)
        if semi is None or ready.unlabelled is None:
            return {}
        size = options.micro_batch_size
        loss, sure = consistency.gradients(loop, network, self.model.network, ready.unlabelled, semi, seed, step, size)
        return {"unlabelled_loss": loss, "confident": sure}

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The loss and the task's metrics on `data`; fits the temperature that calibrates the judge's probabilities."""
        options: TrainingOptions = fit.options
        if self._validation is None or self._validation.data is not data or self._validation.task != self._task:
            self._validation = self._read(data, options, "validation")
        found, temperature = metrics(self.model, self._task, self._validation, options.mask_probability, fit.seed)
        if temperature is not None and isinstance(self.model, Judge):
            self.model.temperature = temperature
        if options.patience is not None:
            if options.watch not in found:
                known = ", ".join(found)
                raise OptionError(f"watch={options.watch!r} is no validation metric; there are: {known}", field="watch")
            self._watched[self._loop.done if self._loop is not None else 0] = found[options.watch]
        return found

    def state_dict(self) -> dict[str, Any]:
        tokenizer = None if self._learns_tokenizer else self.model.tokenizer.backend_tokenizer.to_str()
        labels = None if self._learns_labels else list(self._task.names)
        watched = [[step, value] for step, value in self._watched.items()]
        return {**super().state_dict(), "tokenizer": tokenizer, "labels": labels, "watched": watched}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rest = dict(state)
        tokenizer, labels = rest.pop("tokenizer", None), rest.pop("labels", None)
        watched = rest.pop("watched", [])
        if tokenizer is not None:
            self._check_tokenizer(tokenizer)
        if labels is not None:
            self._check_labels(labels)
        super().load_state_dict(rest)
        self._watched = {int(step): float(value) for step, value in watched}

    def _check_tokenizer(self, saved: str) -> None:
        if self._learns_tokenizer:
            self._take_tokenizer(folders.saved_tokenizer(saved, self.start.context))
        elif saved != self.model.tokenizer.backend_tokenizer.to_str():
            raise MismatchedFolder("the state is of a training with another tokenizer; open the model it started from")

    def _check_labels(self, saved: Sequence[str]) -> None:
        if self._learns_labels:
            self._take_task(Task.of(self.start.task, saved))
        elif tuple(saved) != self._task.names:
            message = f"the state is of a training with the labels {', '.join(saved)}; this one has {self._task.names}"
            raise MismatchedFolder(message)

    def _read(self, data: Any, options: TrainingOptions, name: str, like: Ready | None = None) -> Ready:
        """Read and tokenise `data`; labels and tokenizer are those of the model, of `like`, or learnt from the data."""
        kind = self.start.task
        semi = _semi(options) if name == "data" else None
        if semi is not None:
            consistency.check(semi, kind)
        found = examples(data, kind, name, partly=semi is not None)
        texts = [each.text for each in found]
        pairs = [each.pair for each in found]
        if like is not None:
            tokenizer, task = like.tokenizer, like.task
        else:
            tokenizer, task = self.model.tokenizer, self._task
            if self._learns_tokenizer:
                shown = [text for each in found for text in (each.text, each.pair, *each.changed)]
                every = [text for text in shown if text is not None]
                tokenizer = folders.learn_tokenizer(
                    every, self.start.vocab_size, self.start.context, self.start.lowercase
                )
            if self._learns_labels:
                task = Task.of(kind, labels_of([each for each in found if semi is None or each.target], kind, name))
        too_long: TooLong = "split" if kind == "masked" else options.too_long
        rows = encode(tokenizer, texts, pairs, self._context(), too_long, name)
        rest = None
        if semi is not None:
            rows, rest = parted(rows, found, tokenizer, self._context(), name)
        return Ready(data, tokenizer, task, found, rows, targets(task, found, rows, name), rest)

    def _context(self) -> int:
        """The longest row; the virtual tokens of an adapter that is still to be made take their part."""
        tokens = getattr(self._method, "tokens", 0)
        return context_of(self.model.network) - tokens

    def _install(self, data: Any, options: TrainingOptions) -> Ready:
        """What was read of `data`; the model takes the tokenizer and the labels that were learnt from it."""
        ready = self._ready
        fits = ready is not None and ready.data is data
        fits = fits and (self._learns_tokenizer or ready.tokenizer is self.model.tokenizer)  # type: ignore[union-attr]
        fits = fits and (self._learns_labels or ready.task == self._task)  # type: ignore[union-attr]
        if ready is None or not fits:
            ready = self._read(data, options, "data")
        if self._learns_tokenizer:
            self._take_tokenizer(ready.tokenizer)
        if self._learns_labels:
            self._take_task(ready.task)
        self._ready = ready
        return ready

    def _take_tokenizer(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Give a new model its tokenizer; a text with few words needs fewer tokens than the model had room for."""
        self.model.tokenizer = tokenizer
        with runtime.LentState(self.start.seed):
            self.model.network.resize_token_embeddings(len(tokenizer))
        self._learns_tokenizer = False

    def _take_task(self, task: Task) -> None:
        """Give the model a head for the labels."""
        self.model.network = folders.rebuilt(self.model.network, task, self.start.seed)
        self._learns_labels = False
        self._take(self.model.network, task)

    def _take(self, network: PreTrainedModel, task: Task) -> None:
        self._task = task
        if isinstance(self.model, Judge):
            self.model.task = task
        whole = TrainingNetwork(network, task)
        self.networks = {"network": whole}
        if self._method is not None and not self._learns_labels:
            adapters = self.model.adapters
            adapters.add(ADAPTER, self._method, seed=self.start.seed, also=beside_the_encoder(network))
            self.networks = {"network": Tuned(whole, adapters, ADAPTER)}

    def _optimizer(self, options: TrainingOptions) -> torch.optim.Optimizer:
        if self._method is not None:
            parameters = self.model.adapters.groups(ADAPTER, options.weight_decay)
        else:
            parameters = groups([self.model.network], options.learning_rate, options.weight_decay, options.layer_decay)
        return torch.optim.AdamW(parameters, lr=options.learning_rate, betas=options.betas, fused=True)

    def _batch(self, ready: Ready, part: NDArray[Any], options: TrainingOptions, seed: int) -> Batch:
        rows = [ready.rows[index] for index in part]
        if self._task.kind == "masked":
            return masking.masked(ready.tokenizer, rows, options.mask_probability, seed, self.device)
        return batch(self._task, rows, [ready.values[index] for index in part], self.device)

    def _total(
        self, ready: Ready, drawn: NDArray[Any], options: TrainingOptions, weights: torch.Tensor | None
    ) -> float:
        if self._task.kind == "masked":
            return float(sum(masking.count(ready.rows[index], options.mask_probability) for index in drawn))
        return max(1.0, total(self._task, [ready.values[index] for index in drawn], weights))

    def _stops(self, options: TrainingOptions) -> bool:
        """Whether the last `patience` validations were all no better than one before them."""
        values = [self._watched[step] for step in sorted(self._watched)]
        if options.patience is None or len(values) <= options.patience:
            return False
        before, after = values[: -options.patience], values[-options.patience :]
        return max(after) <= max(before) if options.watch in RISING else min(after) >= min(before)


def _semi(options: TrainingOptions) -> Semi | None:
    if options.unlabelled is None:
        return None
    return Semi(
        way=options.unlabelled,
        batch_size=options.unlabelled_batch_size,
        weight=options.unlabelled_weight,
        after=options.unlabelled_after,
        confidence=options.confidence,
        sharpening=options.sharpening,
        change=options.change,
        share=options.change_share,
    )


def beside_the_encoder(network: PreTrainedModel) -> tuple[str, ...]:
    """The modules of a judge that are new with its task, and trained whole beside an adapter: the head, BERT's pooler."""
    if head_of(network) in ("masked", None):
        return ()
    body = network.base_model_prefix
    found = [name for name, each in network.named_children() if name != body and any(True for _ in each.parameters())]
    pooler = getattr(network.base_model, "pooler", None)
    return (*found, f"{body}.pooler") if pooler is not None else tuple(found)


def _task(start: Start) -> Task:
    """The task of a model whose labels may still be unknown: it has two then."""
    return Task.of(start.task, start.labels or (("0", "1") if _learns_labels(start) else ()))


def _learns_labels(start: Start) -> bool:
    return start.labels is None and start.task in ("classification", "multi-label", "tokens")
