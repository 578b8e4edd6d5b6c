"""The decode engines: a batch of growing sequences in, the logits of the next token out.

`plain.PlainGPT2` runs GPT-2 in plain torch, `native.NativeGPT2` on compiled kernels where they are installed, and
`compiled.CompiledGPT2` as one program; `hugging.HuggingFace` runs any decoder of transformers that keeps keys and values,
`recurrent.Recurrent` those that keep a state. `engine_for` takes the fastest that computes what a model does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from aigc_sdk.adapters import Adapters
from aigc_sdk.adapters.manager import Names
from aigc_sdk.errors import InputError, NotOffered, OptionError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Choice = Literal["auto", "kernels", "torch", "compiled"]
"""Which engine: the fastest; or the compiled kernels, plain torch, or a program that torch makes of a step at the first call."""


class Engine(ABC):
    """A batch of growing sequences, its rows. They are of any lengths, and no row's logits depend on another row.

    Made for one decode call; nothing is computed before it is asked for, and no state outlives the engine.
    `torch.inference_mode` is entered and left within each call.
    """

    title: ClassVar[str] = "torch"
    """What an origin calls it."""
    rewinds: ClassVar[bool] = True
    """Whether `rewind` is offered: a state that sums up what was read cannot forget the end of it."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self.adapters = Adapters.of(network)
        self.lengths: list[int] = []
        """Tokens that each row holds."""
        self.names: list[str | None] = []
        """The adapter of each row."""

    @abstractmethod
    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int], names: Names = None) -> torch.Tensor:
        """Add rows behind those that are there, and read their prompts. The logits of their next tokens: new x vocabulary.

        room: how many tokens, at most, will follow each. names: the adapters, one for all new rows or one each.
        """

    @abstractmethod
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token (int64, rows) to every row. The logits of the next: rows x vocabulary."""

    @abstractmethod
    def extend(self, tokens: Sequence[Sequence[int]], last: bool = False) -> torch.Tensor:
        """Append any number of tokens to each row. The logits after each of them, row by row: all of them x vocabulary.

        last: only those that follow the last token of each row that gets any.
        """

    @abstractmethod
    def rewind(self, counts: Sequence[int]) -> None:
        """Forget the last `counts[i]` tokens of row i."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order; a row that is named twice goes on twice, one that is not is dropped."""

    def _joined(self, prompts: Sequence[Sequence[int]], names: Names) -> list[str | None]:
        """The adapter of each new row."""
        if not all(prompts):
            raise InputError("a prompt without tokens cannot be read; begin it with the model's first token")
        return [names] * len(prompts) if names is None or isinstance(names, str) else list(names)

    def _keep(self, rows: Sequence[int]) -> None:
        self.lengths = [self.lengths[row] for row in rows]
        self.names = [self.names[row] for row in rows]

    def _check_rewind(self, counts: Sequence[int]) -> None:
        if len(counts) != len(self.lengths):
            raise InputError(f"{len(counts)} counts for {len(self.lengths)} rows; give one each")
        for count, length in zip(counts, self.lengths, strict=True):
            if not 0 <= count < length:
                raise InputError(f"a row of {length} tokens cannot forget {count}")


def engine_for(network: PreTrainedModel, names: Names = None, choice: Choice = "auto") -> Engine:
    """The engine for `network` with rows whose adapters are among `names`: the fastest, or the one that is asked for.

    Raises OptionError where the one that is asked for cannot run it, MissingDependency where it is not installed.
    """
    kind = kind_of_engine(network, names, choice)
    from .native import NativeGPT2, packed
    from .precision import Packed

    if kind is NativeGPT2:
        return NativeGPT2(network, Packed.of(network).native(network, packed))
    return kind(network)


def kind_of_engine(network: PreTrainedModel, names: Names = None, choice: Choice = "auto") -> type[Engine]:
    """Which engine `engine_for` makes."""
    from . import compiled, hugging, native, plain, recurrent

    if choice == "kernels":
        native.kernels()
    if recurrent.keeps_state(network):
        found: type[Engine] = recurrent.Recurrent
    else:
        with Adapters.of(network).using(names):
            found = plain.PlainGPT2 if plain.PlainGPT2.runs(network) else hugging.HuggingFace
    if choice in ("auto", "kernels") and found is plain.PlainGPT2 and native.takes(network, names):
        found = native.NativeGPT2
    if choice == "compiled" and found is plain.PlainGPT2 and compiled.runs(network, names):
        found = compiled.CompiledGPT2
    wanted = {"kernels": native.NativeGPT2, "compiled": compiled.CompiledGPT2}.get(choice, found)
    if found is not wanted:
        raise OptionError(
            f"gpt2 option engine={choice!r}: it runs an unchanged GPT-2 without adapters"
            f"{' on the CPU' if choice == 'kernels' else ' in float32 or bfloat16'}; use engine='auto'",
            field="engine",
        )
    return found


def described(kind: type[Engine]) -> str:
    """What an origin says of an engine: its name, and the version of what is not of this package."""
    from . import native

    return f"kernels {native.version()}" if kind is native.NativeGPT2 else kind.title


def read_limit(network: PreTrainedModel) -> int:
    """How many tokens are read at a time: on a CPU no more than its cache holds the activations of."""
    return 512 if network.device.type == "cpu" else 4096


def cache_bytes(network: PreTrainedModel) -> int:
    """Bytes of keys and values per token of one sequence; 0 where a state of one size takes their place."""
    from .recurrent import keeps_state

    if keeps_state(network):
        return 0
    config: Any = network.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * network.dtype.itemsize)


def one_or_each(names: Sequence[str | None]) -> Names:
    """One adapter for all where it is one: nothing is then done row by row."""
    return names[0] if len(set(names)) == 1 else tuple(names)


def refuse_rewinding(network: PreTrainedModel) -> NotOffered:
    """What to raise where a row would have to forget tokens, and cannot."""
    kind = getattr(network.config, "model_type", type(network).__name__)
    return NotOffered(f"a {kind!r} model keeps one state of all that it has read and cannot forget its last tokens")
