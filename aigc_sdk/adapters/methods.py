"""The methods, as options: what each is, and what may be set about it. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from aigc_sdk.errors import OptionError, suggestion
from aigc_sdk.protocols import Options

RANK_LIMIT = 4096
TOKENS_LIMIT = 4096


class Method(Options):
    """What an adapter is made of; a name in `METHODS` chooses one of the six."""

    method: str


class Targeted(Method):
    """A method that changes linear layers."""

    targets: tuple[str, ...] | None = Field(
        None,
        strict=False,
        min_length=1,
        max_length=1024,
        description="endings of the names of the linear layers that are adapted; None: the usual ones",
    )
    role: ClassVar[str] = "usual"
    """Which layers of an architecture `targets=None` means; see layouts.py."""


class LoRA(Targeted):
    """W + alpha / rank * B A, with A and B of a low rank (Hu et al. 2021). Can be merged. Rates near 1e-3 suit it."""

    method: Literal["lora"] = Field("lora", description="the method's name")
    rank: int = Field(8, ge=1, le=RANK_LIMIT, description="rank of each layer's change")
    alpha: float = Field(16.0, gt=0, le=1e6, description="the change is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, on the input of the change")


class AdaLoRA(Targeted):
    """W + alpha / initial_rank * P diag(E) Q, whose ranks are taken from the layers that need them least (Zhang et al. 2023).

    All layers start at `initial_rank`. From `warmup` on, singular values are dropped by their importance, over all
    layers together, until the mean is `rank`; with the last `final` of the run the ranks stay. Can be merged.
    """

    method: Literal["adalora"] = Field("adalora", description="the method's name")
    rank: int = Field(4, ge=1, le=RANK_LIMIT, description="mean rank in the end")
    initial_rank: int = Field(8, ge=1, le=RANK_LIMIT, description="rank of every layer in the beginning")
    alpha: float = Field(16.0, gt=0, le=1e6, description="the change is scaled by alpha / initial_rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, on the input of the change")
    warmup: float = Field(0.1, ge=0, lt=1, description="part of the run before ranks fall")
    final: float = Field(0.3, ge=0, lt=1, description="part of the run after ranks have fallen")
    every: int = Field(1, ge=1, le=1 << 20, description="updates from one choice of ranks to the next")
    decay: float = Field(0.85, gt=0, lt=1, description="of the two averages of importance, per update")
    orthogonality: float = Field(0.1, ge=0, le=100, description="weight of the penalty that keeps P and Q orthonormal")
    role: ClassVar[str] = "all"

    @model_validator(mode="after")
    def _ranks_fall(self) -> Self:
        if self.rank > self.initial_rank:
            raise ValueError(f"rank={self.rank} is above initial_rank={self.initial_rank}, and ranks only fall")
        if self.warmup + self.final >= 1:
            raise ValueError(f"warmup={self.warmup} and final={self.final} leave no time for ranks to fall")
        return self


class IA3(Targeted):
    """Keys, values and the features inside the feed-forward layers are rescaled (Liu et al. 2022). Can be merged.

    Rates near 1e-2 suit it.
    """

    method: Literal["ia3"] = Field("ia3", description="the method's name")
    role: ClassVar[str] = "rescaled"


class Bottleneck(Targeted):
    """x + up(gelu(down(x))) after each block's attention and feed-forward layer (Houlsby et al. 2019).

    In the beginning it changes next to nothing. peft has no such method, so that its folders open here alone.
    """

    method: Literal["bottleneck"] = Field("bottleneck", description="the method's name")
    width: int = Field(16, ge=1, le=1 << 16, description="features inside the bottleneck")
    role: ClassVar[str] = "outputs"


class PromptTuning(Method):
    """Learnt embeddings before the tokens (Lester et al. 2021). They take room in the context. Rates near 0.03 suit it."""

    method: Literal["prompt"] = Field("prompt", description="the method's name")
    tokens: int = Field(16, ge=1, le=TOKENS_LIMIT, description="virtual tokens")


class PrefixTuning(Method):
    """Learnt keys and values in every layer, before those of the tokens (Li and Liang 2021). Rates near 1e-2 suit it.

    hidden: the prefix is made by a network of that width while it is trained, which is steadier, and costs memory;
    the folder holds the finished keys and values.
    """

    method: Literal["prefix"] = Field("prefix", description="the method's name")
    tokens: int = Field(16, ge=1, le=TOKENS_LIMIT, description="virtual tokens")
    hidden: int = Field(0, ge=0, le=1 << 16, description="width of the reparametrising network; 0: none")


METHODS: dict[str, type[Method]] = {
    "lora": LoRA,
    "adalora": AdaLoRA,
    "ia3": IA3,
    "bottleneck": Bottleneck,
    "prompt": PromptTuning,
    "prefix": PrefixTuning,
}


def method(given: str | Mapping[str, Any] | Method) -> Method:
    """The method that `given` means: a name, {"method": name, option: value ...}, or one already. Raises OptionError."""
    if isinstance(given, Method):
        return given
    options = dict(given) if isinstance(given, Mapping) else {"method": given}
    name = options.get("method")
    if not isinstance(name, str) or name not in METHODS:
        near = suggestion(name, METHODS) if isinstance(name, str) else ""
        raise OptionError(f"adapter={name!r} is no method.{near} Methods: {', '.join(METHODS)}.", field="adapter")
    return METHODS[name].parse(name, options)
