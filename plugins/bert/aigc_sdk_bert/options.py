"""What `open` and a run take: the task and the sizes of a new model, and how one run trains."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from aigc_sdk.adapters import Method
from aigc_sdk.protocols import Options

from .data import Kind
from .encode import TooLong

Decay = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0, le=1e6)]
SIZES = ("vocab_size", "lowercase", "context", "width", "layers", "heads", "dropout")


class Start(Options):
    """What is trained: the task, and for a new model its sizes."""

    task: Kind = Field("classification", description="what the model learns to tell")
    labels: tuple[str, ...] | None = Field(
        None, strict=False, min_length=1, description="what is told apart; None: those of the model or of the data"
    )
    adapter: str | dict[str, Any] | Method | None = Field(
        None,
        description="train an adapter beside the model, which stays as it is: 'lora', 'adalora', 'ia3', 'bottleneck', 'prompt', "
        "'prefix', or {'method': name} with its options; None: train the model",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of first weights: of a new head, or of a new model")
    vocab_size: int = Field(4096, ge=8, le=1 << 20, description="tokens of a new model at most")
    lowercase: bool = Field(True, description="whether a new model takes capitals for small letters")
    context: int = Field(128, ge=8, le=1 << 20, description="the longest text of a new model, in tokens")
    width: int = Field(128, ge=1, le=1 << 16, description="features per token of a new model")
    layers: int = Field(4, ge=1, le=1024, description="transformer blocks of a new model")
    heads: int = Field(4, ge=1, le=1024, description="attention heads of a new model; they share the width evenly")
    dropout: float = Field(0.1, ge=0, lt=1, description="probability of a new model, on states and on attention")

    @pydantic.model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is no multiple of heads={self.heads}")
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels={self.labels} names one twice")
        if self.labels is not None and self.task == "classification" and len(self.labels) < 2:
            raise ValueError(f"labels={self.labels}: there is nothing to tell apart")
        return self


class TrainingOptions(Options):
    """How one run trains."""

    batch_size: int = Field(16, ge=1, le=1 << 20, description="texts per update, over all processes")
    micro_batch_size: int | None = Field(None, ge=1, description="texts at a time; None: the whole batch")
    too_long: TooLong = Field(
        "refuse",
        description="of a text that the model cannot read at once: refuse it, truncate it, or split it into windows",
    )
    learning_rate: float = Field(1e-4, gt=0, le=10, description="highest rate of AdamW")
    layer_decay: float = Field(1.0, gt=0, le=1, description="each layer learns so many times as fast as the next one")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), strict=False, description="decay of AdamW's two averages")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of matrices; vectors do not decay")
    schedule: Literal["constant", "linear", "cosine"] = Field("linear", description="how the rate falls")
    warmup_steps: int = Field(10, ge=0, description="updates in which the rate rises from 0")
    final_rate: float = Field(0.0, ge=0, le=1, description="the last rate, as part of the highest")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    class_weights: Literal["balanced"] | dict[str, Weight] | None = Field(
        None, description="weight of each label in the loss; balanced: the rarer the heavier"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="part of each target that is shared by all labels")
    mask_probability: float = Field(
        0.15, gt=0, lt=1, description="part of the tokens that is masked, in the task masked"
    )
    adversarial: Literal["fgm", "pgd", "freelb"] | None = Field(
        None,
        description="train on texts whose word embeddings are moved so that the loss rises: Miyato et al. 2017, "
        "Madry et al. 2018, Zhu et al. 2020",
    )
    adversarial_epsilon: float = Field(
        0.1, gt=0, le=100, description="how far a text is moved at most, as part of the length of all its embeddings"
    )
    adversarial_rate: float = Field(
        0.05, gt=0, le=100, description="length of a step of pgd and freelb, as adversarial_epsilon"
    )
    adversarial_steps: int = Field(2, ge=1, le=100, description="steps of pgd and freelb; each costs a pass")
    unlabelled: Literal["pseudo", "consistency"] | None = Field(
        None, description="learn from examples whose label is None as well: Lee 2013, Xie et al. 2020"
    )
    unlabelled_batch_size: int = Field(32, ge=1, le=1 << 20, description="unlabelled texts per update")
    unlabelled_weight: float = Field(1.0, gt=0, le=1e3, description="of their loss beside that of the labelled ones")
    unlabelled_after: int = Field(
        0, ge=0, description="updates by labelled texts alone, before there is an answer worth learning"
    )
    confidence: float = Field(
        0.9, ge=0, lt=1, description="probability from which the model's own answer to an unlabelled text is learnt"
    )
    sharpening: float = Field(
        0.4, gt=0, le=1, description="temperature of the answers that consistency learns; smaller is surer"
    )
    change: Literal["delete", "swap", "none"] = Field(
        "delete", description="how an unlabelled text that brings no changed ones is changed before it is learnt"
    )
    change_share: float = Field(0.2, gt=0, le=1, description="of the words that are deleted or swapped")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of a running average of the weights; None: none")
    patience: int | None = Field(
        None,
        ge=1,
        description="validations without a better `watch` after which the run ends; None: it runs to its end",
    )
    watch: str = Field("loss", description="the validation metric that `patience` is about")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the arithmetic; auto: bfloat16 where the machine is fast at it. Weights stay float32"
    )
