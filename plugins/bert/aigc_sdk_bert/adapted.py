"""What a judge and a masked language model have in common: a network in a folder, and the adapters beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aigc_sdk import folder, runtime
from aigc_sdk.adapters import Adapters
from aigc_sdk.adapters.files import base_of, is_adapter, saving
from aigc_sdk.errors import MismatchedFolder, NotAModel, OptionError, printable
from aigc_sdk.protocols import Device, DType, Source
from aigc_sdk.weights import load_tokenizer, quiet

from . import folders
from .encode import context_of
from .heads import head_of
from .tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class Adapted:
    """An encoder with a head or without, its tokenizer, and its adapters."""

    backend = "bert"
    role = ""
    """What aigc.json calls it."""

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        source: str = "",
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.device: str = device
        self.dtype: str = dtype
        self.source = source
        self._adapter_sources: dict[str, str] = {}

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
            model.use_adapter(model.add_adapter(opened))
        return model

    @property
    def context(self) -> int:
        """The longest text that is read at once, in tokens, special ones included, with the adapter in use."""
        return context_of(self.network) - self.adapters.tokens(self.adapter)

    @property
    def adapters(self) -> Adapters:
        """The adapters of the model's network, by name."""
        return Adapters.of(self.network)

    @property
    def adapter(self) -> str | None:
        """The adapter in use, or None."""
        found = self.adapters.in_use
        return found if isinstance(found, str) else None

    def add_adapter(self, source: str | Path | folder.Folder, name: str | None = None) -> str:
        """Load an adapter from its folder, or a hub id, and return its name: the one that it was saved with, or `name`.

        Adapters of peft open too. It changes nothing before `use_adapter`. Raises MismatchedFolder for the adapter of
        another model or of other labels, and OptionError for a name that is taken.
        """
        opened = source if isinstance(source, folder.Folder) else folder.read(source, backend="bert")
        task = folders.task_in(opened) if opened.has("config.json") else None
        own = Task.of_network(self.network) if head_of(self.network) is not None else None
        if task is not None and task != own:
            labels = ", ".join(task.names) or task.kind
            message = f"{printable(str(opened.path))} is an adapter that tells {printable(labels)}, and this model tells others"
            raise MismatchedFolder(message)
        name = self.adapters.load(opened, name, backend="bert")
        self._adapter_sources[name] = opened.source
        return name

    def use_adapter(self, name: str | None) -> None:
        """Work with an adapter from now on; None: with the model alone."""
        if name is not None and not isinstance(name, str):
            raise OptionError(f"name={name!r}: give the name of an adapter, or None", field="name")
        self.adapters.use(name)

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter."""
        self.adapters.remove(name)
        self._adapter_sources.pop(name, None)

    def merge_adapter(self, name: str | None = None) -> None:
        """Make an adapter, by default the one in use, part of the model's weights, which `save` then writes as a model.

        Raises NotOffered for methods that cannot be merged: bottlenecks, prompts and prefixes.
        """
        name = self.adapter if name is None else name
        if name is None:
            raise OptionError("no adapter is in use; name the one to merge", field="name")
        self.adapters.merge(name)
        self._adapter_sources.pop(name, None)

    def fingerprint(self) -> str:
        """A digest of the weights as they are now, with those of the adapter in use."""
        own = runtime.fingerprint(self.network)
        if self.adapter is None:
            return own
        return hashlib.sha256(f"{own} {self.adapters.fingerprint(self.adapter)}".encode()).hexdigest()

    def save(self, folder_: str | Path) -> None:
        """Write a model folder, which plain transformers opens too; or, with an adapter in use, the adapter's, for peft.

        An adapter's folder names the folder or hub id of the model that it was trained beside, and says its labels.
        """
        if self.adapter is not None:
            with saving(self.adapters, self.adapter, folder_, backend="bert", base=self._lasting_source()) as path:
                self._write_config(path)
            return
        with folder.writing(folder_, backend="bert", role=self.role, fingerprint=self.fingerprint()) as path:
            with quiet():
                self.network.save_pretrained(path)
            self.tokenizer.save_pretrained(path)

    def to(self, device: Device) -> Self:
        """Move the model to `device` and return it."""
        self.device = runtime.device(device)
        network: Any = self.network
        network.to(self.device)
        self.adapters.to(self.device)
        return self

    def _write_config(self, path: Path) -> None:
        with quiet(), _architecture(self.network):
            self.network.config.save_pretrained(path)

    def _lasting_source(self) -> str:
        """What opens the model from anywhere: a folder's whole path, or a name on the hub."""
        return os.path.abspath(self.source) if os.path.isdir(self.source) else self.source


def _base(opened: folder.Folder) -> folder.Folder:
    """The folder of the model that an adapter was trained beside."""
    base = base_of(opened)
    try:
        return folder.read(base or folders.DEFAULT, backend="bert")
    except NotAModel as error:
        raise NotAModel(
            f"{printable(str(opened.path))} is an adapter of the model {printable(base)!r}, which is not there: {error}. "
            "Open that model from where it is, and use its add_adapter"
        ) from error


def _beside(opened: folder.Folder, base: folder.Folder) -> PreTrainedModel:
    """The base of an adapter, with a head for the adapter's labels, whose weights the adapter brings."""
    task = folders.task_in(opened) if opened.has("config.json") else None
    if task is None:
        return folders.load_whole(base)
    network = folders.load_head(base, task, 0)
    folders.take_temperature(network, opened.config())
    return network


@contextmanager
def _architecture(network: PreTrainedModel) -> Iterator[None]:
    """transformers names a network's class in its configuration only when it writes the weights too."""
    config: Any = network.config
    before = config.architectures
    config.architectures = [type(network).__name__]
    try:
        yield
    finally:
        config.architectures = before
