"""What a judge and a masked language model have in common: a network in a folder, and the adapters beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aigc_sdk import folder, runtime
from aigc_sdk.adapters.beside import Adaptable, opened_base
from aigc_sdk.adapters.files import is_adapter
from aigc_sdk.adapters.manager import Names
from aigc_sdk.errors import MismatchedFolder, printable
from aigc_sdk.protocols import Device, DType, Source
from aigc_sdk.weights import load_tokenizer, quiet

from . import folders
from .encode import context_of
from .heads import head_of
from .tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Adapted(Adaptable):
    """An encoder with a head or without, its tokenizer, and its adapters."""

    backend = "bert"
    own_head: bool = True
    """Whether the model answers without an adapter; not where only its adapters have learnt the labels."""

    @classmethod
    def _open(cls, source: Source, default: Path, device: Device, dtype: DType, revision: str | None) -> Self:
        kind, place = runtime.dtype(dtype), runtime.device(device)
        own = source is None or source == "default"
        opened = folder.read(default if own or source is None else source, backend="bert", revision=revision)
        base = _base(opened) if is_adapter(opened) else opened
        with runtime.memory_errors(f"the model {opened.source}", "use a smaller model or dtype='bfloat16'"):
            network: Any = folders.load_whole(base) if base is opened else _beside(opened, base)
            network.to(device=place, dtype=kind)
        tokenizer = load_tokenizer(base) if head_of(network) is None else folders.tokenizer_of(base)
        shipped = base.path in (folders.DEFAULT, folders.JUDGE)
        model = cls(network, tokenizer, device=place, dtype=dtype, source="" if shipped else base.source)
        if base is not opened:
            model.own_head = head_of(network) in ("masked", None) or folders.task_in(base) == Task.of_network(network)
            model.use_adapter(model.add_adapter(opened))
        return model

    @property
    def context(self) -> int:
        """The longest text that is read at once, in tokens, special ones included, with the adapter in use."""
        return context_of(self.network) - self.adapters.tokens(self.adapter)

    def _check_adapter(self, opened: folder.Folder) -> None:
        """Refuse the adapter of other labels."""
        task = folders.task_in(opened) if opened.has("config.json") else None
        own = Task.of_network(self.network) if head_of(self.network) is not None else None
        if task is not None and task != own:
            labels = ", ".join(task.names) or task.kind
            message = f"{printable(str(opened.path))} is an adapter that tells {printable(labels)}, and this model tells others"
            raise MismatchedFolder(message)

    def _write_beside(self, path: Path) -> None:
        """The configuration, which says the adapter's labels."""
        # transformers names a network's class in its configuration only when it writes the weights too.
        with quiet(), told(self.network.config, architectures=[type(self.network).__name__]):
            self.network.config.save_pretrained(path)


def _base(opened: folder.Folder) -> folder.Folder:
    """The folder of the model that an adapter was trained beside."""
    return opened_base(opened, lambda base: folder.read(base or folders.DEFAULT, backend="bert"))


def _beside(opened: folder.Folder, base: folder.Folder) -> PreTrainedModel:
    """The base of an adapter, with a head for the adapter's labels, whose weights the adapter brings."""
    task = folders.task_in(opened) if opened.has("config.json") else None
    if task is None:
        return folders.load_whole(base)
    return folders.load_head(base, task, 0)


@contextmanager
def told(config: Any, **values: Any) -> Iterator[None]:
    """For as long as the block lasts, a configuration says this too."""
    before = dict(vars(config))
    vars(config).update(values)
    try:
        yield
    finally:
        for name in values:
            vars(config).pop(name)
        vars(config).update({name: before[name] for name in values if name in before})


def for_each(names: Names, count: int) -> tuple[str | None, ...]:
    """The adapter of each of `count` texts."""
    return (names,) * count if names is None or isinstance(names, str) else tuple(names)
