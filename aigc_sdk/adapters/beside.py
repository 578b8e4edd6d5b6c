"""What a backend's text models have in common once adapters can lie beside them: adding, switching, merging, saving, replaying."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from aigc_sdk import folder, runtime
from aigc_sdk.errors import MediaError, NotAModel, OptionError, printable
from aigc_sdk.protocols import A, Device, DType, Generator, Job
from aigc_sdk.weights import quiet

from .files import base_of, saving
from .manager import Adapters

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

T = TypeVar("T")


class Adaptable:
    """A network of transformers, its tokenizer, and the adapters beside it; a backend writes how it is opened.

    network: a transformers model. tokenizer: a fast tokenizer. source: what opened it, "" for the backend's own.
    """

    backend: ClassVar[str]
    """The backend's name: what aigc.json calls it."""
    role: ClassVar[str] = "generator"
    """What the model is: what aigc.json calls it."""

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

        Adapters of peft open too. It changes nothing before it is used, as by `use_adapter`. Raises MismatchedFolder for
        the adapter of another model, and OptionError for a name that is taken.
        """
        opened = source if isinstance(source, folder.Folder) else folder.read(source, backend=self.backend)
        self._check_adapter(opened)
        name = self.adapters.load(opened, name, backend=self.backend)
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

        An adapter's folder names the folder or hub id of the model that it was trained beside.
        """
        if self.adapter is not None:
            base = self._lasting_source()
            with saving(self.adapters, self.adapter, folder_, backend=self.backend, base=base) as path:
                self._write_beside(path)
            return
        with folder.writing(folder_, backend=self.backend, role=self.role, fingerprint=self.fingerprint()) as path:
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

    def _check_adapter(self, opened: folder.Folder) -> None:
        """Refuse an adapter that is none for this model, for a reason that only the backend knows."""

    def _write_beside(self, path: Path) -> None:
        """Write into an adapter's folder what the backend needs besides the adapter's own files."""

    def _lasting_source(self) -> str:
        """What opens the model from anywhere: a folder's whole path, or a name on the hub."""
        return os.path.abspath(self.source) if os.path.isdir(self.source) else self.source


class AdaptableGenerator(Adaptable, Generator[A]):
    """A Generator whose origins name the adapters that were used, so that a replay loads them again."""

    def identity(self, job: Job) -> dict[str, Any]:
        """The model's source and fingerprint, and those of the adapters that the job uses."""
        used = sorted({each for each in (*self._adapters(job), self.adapter) if each is not None})
        if not used:
            return super().identity(job)
        adapters = {
            name: {"source": self._adapter_sources.get(name, ""), "fingerprint": self.adapters.fingerprint(name)}
            for name in used
        }
        return {**super().identity(job), "adapters": adapters, "adapter": self.adapter}

    def restore(self, identity: Mapping[str, Any]) -> None:
        """Load the adapters that `identity` names. Raises MediaError for those that were never in a folder."""
        adapters = identity.get("adapters") or {}
        for name, of in adapters.items():
            source = of.get("source") if isinstance(of, Mapping) else None
            if not source:
                raise MediaError(f"the text was made with the adapter {printable(name)!r}, which had not been saved")
            if name not in self.adapters:
                self.add_adapter(source, name)
        if adapters:
            self.use_adapter(identity.get("adapter"))

    def _adapters(self, job: Job) -> Sequence[str | None]:
        """The adapters that a job asks for besides the one in use."""
        return ()


def opened_base(opened: folder.Folder, open_: Callable[[str], T]) -> T:
    """What `open_` makes of the source of the model that an adapter was trained beside; "" is the backend's default."""
    base = base_of(opened)
    try:
        return open_(base)
    except NotAModel as error:
        raise NotAModel(
            f"{printable(str(opened.path))} is an adapter of the model {printable(base)!r}, which is not there: {error}. "
            "Open that model from where it is, and use its add_adapter"
        ) from error
