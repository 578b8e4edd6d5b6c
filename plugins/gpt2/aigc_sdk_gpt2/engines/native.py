"""GPT-2 on the compiled kernels of another distribution, where one that offers them is installed.

It is found by an entry point of the group `aigc_sdk_gpt2.kernels`, and never imported by name: `pip install
aigc-sdk-kernels` is all that there is to do. Without it the other engines do the same work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aigc_sdk.adapters.manager import Names
from aigc_sdk.errors import MissingDependency, NotOffered, printable
from aigc_sdk_gpt2.network import is_tanh_gelu

from .engine import Engine
from .plain import PlainGPT2

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP = "aigc_sdk_gpt2.kernels"
KINDS = (torch.float32, torch.bfloat16)  # of parameters that can be packed


def kernels() -> Any:
    """The module of the kernels. Raises MissingDependency, which says why there are none."""
    module, reason = _found()
    if reason:
        raise MissingDependency(f"gpt2 has no compiled kernels here: {reason}")
    return module


def available() -> bool:
    """Whether there are kernels for this machine."""
    return not _found()[1]


def version() -> str:
    """Distribution and version of the kernels, for an artifact's origin, and the instructions that they take."""
    found = kernels()
    return f"{_distribution()} {found.__version__} {found.paths()[-1]}"


def runs(network: PreTrainedModel, names: Names = None) -> bool:
    """Whether the kernels compute what `network` does: a GPT-2 in the CPU's memory without adapters in use, unchanged."""
    return PlainGPT2.runs(network) and takes(network, names)


def takes(network: PreTrainedModel, names: Names = None) -> bool:
    """Whether the kernels compute a network that PlainGPT2 runs."""
    adapters = [names] if names is None or isinstance(names, str) else list(names)
    body: Any = network.transformer
    return (
        available()
        and not any(adapters)
        and all(is_tanh_gelu(each.mlp.act) for each in body.h)
        and all(each.device.type == "cpu" and each.dtype in KINDS for each in network.parameters())
    )


@torch.no_grad()
def packed(network: PreTrainedModel, precision: str, path: str = "auto") -> Any:
    """The weights of `network` in the kernels' form, for any number of engines: made once, they do not follow changes.

    precision: "float32", "bfloat16" or "int8". path: the kind of instructions, as `paths()` of the kernels names them.
    Raises MissingDependency, OptionError, OutOfMemory, or NotOffered where the kernels cannot compute `network`.
    """
    found = kernels()
    if not runs(network):
        raise NotOffered(
            "the compiled kernels run an unchanged GPT-2 on the CPU, and this model is none; use another engine"
        )
    body: Any = network.transformer
    blocks = [
        found.Block(
            (_norm(each.ln_1), _norm(each.ln_2)),
            _affine(each.attn.c_attn),
            _affine(each.attn.c_proj),
            _affine(each.mlp.c_fc),
            _affine(each.mlp.c_proj),
            each.attn.scaling,
        )
        for each in body.h
    ]
    return found.Network(
        blocks,
        tokens=_array(body.wte.weight),
        positions=_array(body.wpe.weight),
        norm=_norm(body.ln_f),
        head=_array(network.lm_head.weight).T,
        heads=network.config.n_head,
        precision=precision,
        path=path,
        threads=torch.get_num_threads(),
    )


class NativeGPT2(Engine):
    """GPT-2 over packed weights: every call is one call of the compiled library, on torch's number of threads.

    weights: what `packed` made of `network`. No bit of a row's logits depends on the other rows, on the number of
    threads, or on whether its tokens came one by one.
    """

    def __init__(self, network: PreTrainedModel, weights: Any) -> None:
        super().__init__(network)
        self.weights = weights
        self._rows = kernels().Rows(weights)
        self.lengths = self._rows.lengths

    def join(self, prompts: Sequence[Sequence[int]], room: Sequence[int], names: Names = None) -> torch.Tensor:
        """See Engine."""
        joined = self._joined(prompts, names)
        if any(joined):
            raise NotOffered("an adapter joined an engine of compiled kernels, which run without")
        first = len(self.lengths)
        most = self.weights.context
        self._rows.add([min(len(prompt) + more, most) for prompt, more in zip(prompts, room, strict=True)])
        try:
            made = self._forward(prompts, first)
        except BaseException:
            self._rows.select(range(first))
            self.lengths = self._rows.lengths
            raise
        self.names += joined
        return made

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See Engine."""
        given = tokens.detach().to("cpu", torch.int64).numpy()
        made = self._rows.forward(given, [1] * len(given), threads=torch.get_num_threads())
        self.lengths = self._rows.lengths
        return torch.from_numpy(made)

    def extend(self, tokens: Sequence[Sequence[int]], last: bool = False) -> torch.Tensor:
        """See Engine."""
        return self._forward(tokens, 0, every=not last)

    def rewind(self, counts: Sequence[int]) -> None:
        """See Engine."""
        self._check_rewind(counts)
        self._rows.rewind(counts)
        self.lengths = self._rows.lengths

    def select(self, rows: Sequence[int]) -> None:
        """See Engine."""
        self._rows.select(rows)
        self._keep(rows)
        self.lengths = self._rows.lengths

    def _forward(self, tokens: Sequence[Sequence[int]], first: int, every: bool = False) -> torch.Tensor:
        flat = np.fromiter((token for each in tokens for token in each), np.int64)
        counts = [len(each) for each in tokens]
        made = self._rows.forward(flat, counts, first=first, every=every, threads=torch.get_num_threads())
        self.lengths = self._rows.lengths
        return torch.from_numpy(made)


@cache
def _found() -> tuple[Any, str]:
    """The module, or the reason why there is none."""
    entry = _entry()
    if entry is None:
        return None, "no package that offers them is installed; pip install aigc-sdk-kernels"
    try:
        module = entry.load()
        answer = module.available()
    except Exception as error:  # a broken plugin breaks nothing else
        return None, f"{_distribution()} is broken: {type(error).__name__}: {printable(str(error))}; reinstall it"
    return (module, "") if answer else (None, str(answer.reason))


@cache
def _entry() -> Any:
    return next(iter(sorted(entry_points(group=GROUP), key=lambda each: each.name)), None)


def _distribution() -> str:
    entry = _entry()
    return str(entry.dist.name if entry.dist is not None else entry.value)


def _norm(module: Any) -> Any:
    return kernels().Norm(_array(module.weight), _array(module.bias), module.eps)


def _affine(module: Any) -> Any:
    return kernels().Affine(_array(module.weight), _array(module.bias))


def _array(parameter: torch.Tensor) -> Any:
    """The parameter's own memory; bfloat16, which numpy has not, as its bits."""
    value = parameter.detach()
    return value.view(torch.uint16).numpy() if value.dtype == torch.bfloat16 else value.numpy()
