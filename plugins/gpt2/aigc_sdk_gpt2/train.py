"""Training: a new GPT-2 with a tokenizer of its own, or any decoder-only model that is opened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pydantic
import torch
from pydantic import Field

from aigc_sdk import runtime
from aigc_sdk.adapters import AdaLoRA, Method, Tuned, method
from aigc_sdk.errors import DataError, MismatchedFolder, OptionError
from aigc_sdk.protocols import Device, DType, Fit, Options, OptionsClass, Source, Step
from aigc_sdk.training import Loop, TorchTrainer, schedule
from aigc_sdk.training.torch_trainer import check_dtype, check_no_sizes

from .data import IGNORED, Blocks, Document, Tokens, documents, encode, train_tokenizer, wrapped
from .model import GPT2
from .network import TrainingNetwork, dropping

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Decay = Annotated[float, Field(ge=0, lt=1)]
REMEDY = "choose a smaller micro_batch_size or block"
BLOCK_LIMIT = 1024  # tokens; the default block of models whose context is longer, which few machines could train at


class NewModel(Options):
    """The sizes of a new GPT-2; the defaults are those of the default model."""

    vocab_size: int = Field(2048, ge=257, le=1 << 20, description="tokens at most: 256 bytes, end of text, and merges")
    context: int = Field(256, ge=2, le=1 << 20, description="the longest sequence, in tokens")
    width: int = Field(176, ge=1, le=1 << 16, description="features per token")
    layers: int = Field(5, ge=1, le=1024, description="transformer blocks")
    heads: int = Field(4, ge=1, le=1024, description="attention heads; they share the width evenly")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, on embeddings, attention and residuals")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the first weights, of the model or of its adapter")
    adapter: str | dict[str, Any] | Method | None = Field(
        None,
        description="train an adapter beside an opened model: lora, adalora, ia3, bottleneck, prompt or prefix, or one "
        "with its options, as JSON; None: the model itself",
    )

    @pydantic.model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is no multiple of heads={self.heads}")
        return self


class TrainingOptions(Options):
    """How one run trains."""

    batch_size: int = Field(16, ge=1, le=1 << 20, description="sequences per update, over all processes")
    micro_batch_size: int | None = Field(None, ge=1, description="sequences at a time; None: the whole batch")
    block: int | None = Field(None, ge=2, description="tokens per sequence; None: the model's context, at most 1,024")
    learning_rate: float = Field(5e-4, gt=0, le=10, description="highest rate of AdamW")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon (Jordan et al. 2024) takes the matrices inside the blocks, AdamW the rest"
    )
    muon_learning_rate: float = Field(0.02, gt=0, le=10, description="highest rate of Muon, where it is used")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), strict=False, description="decay of AdamW's two averages")
    weight_decay: float = Field(0.1, ge=0, le=1, description="of matrices; vectors do not decay")
    schedule: Literal["constant", "linear", "cosine"] = Field("linear", description="how the rate falls")
    warmup_steps: int = Field(50, ge=0, description="updates in which the rate rises from 0")
    hold: float = Field(0.0, ge=0, le=1, description="part of the run before the rate starts to fall")
    final_rate: float = Field(0.02, ge=0, le=1, description="the last rate, as part of the highest")
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient; None: any")
    dropout: float | None = Field(None, ge=0, lt=1, description="probability everywhere; None: what the model says")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="of a running average of the weights; None: none")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the arithmetic; auto: bfloat16 where the machine is fast at it. Weights stay float32"
    )


class GPT2Trainer(TorchTrainer[GPT2]):
    """Trains a language model.

        trainer = aigc_sdk.trainer("gpt2", width=256, layers=6)       # a new model
        trainer = aigc_sdk.trainer("gpt2", "default")                 # the model that this package brings
        trainer = aigc_sdk.trainer("gpt2", "distilbert/distilgpt2")   # a folder or a hub id
        trainer = aigc_sdk.trainer("gpt2", "default", adapter=LoRA(rank=8))   # beside it: an adapter, which is small

    An adapter's folder that is opened goes on being trained; the model beside it stays as it is, and checkpoints hold the
    adapter alone.

    `data` is what `aigc_sdk_gpt2.data.documents` reads. A new model knows the 256 bytes as its tokens until the first
    run, which learns a byte-level BPE from the data before anything else. The loss is the mean over all targets of a
    batch, in nats per token.
    """

    Options: ClassVar[OptionsClass] = TrainingOptions
    Config: ClassVar[OptionsClass] = NewModel

    def __init__(self, model: GPT2, *, vocab_size: int | None = None) -> None:
        """Train `model`, or the adapter that it has in use."""
        self.model = model
        self.device = model.device
        self.adapter = model.adapter
        network: torch.nn.Module = TrainingNetwork(model.network)
        self.networks = {"network": network if self.adapter is None else Tuned(network, model.adapters, self.adapter)}
        self._vocab_size = vocab_size  # of a tokenizer that is still to be learnt
        self._read: dict[int, tuple[Any, list[Document]]] = {}
        self._validation: tuple[Any, Blocks] | None = None

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
        """Start from the model at `source` ("default": the one in this package), or from a new one made by `config`."""
        check_dtype(dtype)
        if source is None:
            return cls._new(NewModel.parse("gpt2", config), runtime.device(device))
        sizes = [name for name in config if name not in ("adapter", "seed")]
        if sizes or set(config) == {"seed"}:
            check_no_sizes(config, source, field=next(iter(sizes or config)))
        parsed = NewModel.parse("gpt2", config)
        adapter = None if parsed.adapter is None else method(parsed.adapter)
        model = GPT2.open(source, device=device, revision=revision)
        if adapter is not None:
            _add_adapter(model, adapter, parsed.seed)
        return cls(model)

    @classmethod
    def _new(cls, sizes: NewModel, device: str) -> Self:
        from transformers import GPT2Config, GPT2LMHeadModel

        if sizes.adapter is not None:
            raise OptionError(
                "adapter: an adapter is trained beside a model that can write already; open one, such as 'default'",
                field="adapter",
            )
        tokenizer = train_tokenizer([], 257, sizes.context)
        end = tokenizer.eos_token_id
        config = GPT2Config(
            vocab_size=sizes.vocab_size,
            n_positions=sizes.context,
            n_embd=sizes.width,
            n_layer=sizes.layers,
            n_head=sizes.heads,
            embd_pdrop=sizes.dropout,
            attn_pdrop=sizes.dropout,
            resid_pdrop=sizes.dropout,
            activation_function="gelu_pytorch_tanh",
            bos_token_id=end,
            eos_token_id=end,
        )
        what = f"a new model of {sizes.layers} layers, {sizes.width} wide"
        with runtime.LentState(sizes.seed), runtime.memory_errors(what, "choose smaller sizes"):
            network: Any = GPT2LMHeadModel(config)
            network.to(device).eval()
        return cls(GPT2(network, tokenizer, device=device), vocab_size=sizes.vocab_size)

    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Read all data, and refuse what cannot be used; the run then starts with what was read."""
        self._check_adapter(fit.options)
        self._block(fit.options)
        self._validation = None
        self._documents(data, "data", keep=True)
        if validation is not None:
            self._documents(validation, "validation", keep=True)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        options: TrainingOptions = fit.options
        found = self._documents(data, "data")
        if self._vocab_size is not None:
            self._learn_tokenizer(found, self._vocab_size)
        blocks = Blocks(self._encoded(found, "data"), self._block(options))
        self.model.use_adapter(self.adapter)
        with dropping(self.model.network, options.dropout):
            yield from self._updates(blocks, fit)

    def _updates(self, blocks: Blocks, fit: Fit) -> Iterator[Step]:
        options: TrainingOptions = fit.options
        loop = Loop(self, fit, rows=len(blocks), precision=options.precision)
        network = loop.trains(
            "network",
            self._optimizers(options, fit.max_steps, loop.done),
            clip_norm=options.clip_norm,
            schedule=schedule(
                options.schedule,
                fit.max_steps,
                warmup_steps=options.warmup_steps,
                hold=options.hold,
                final=options.final_rate,
            ),
            ema=options.ema_decay,
        )
        for _ in loop:
            first = loop.position
            starts = blocks.starts(loop.draw(options.batch_size), first, fit.seed)
            total = blocks.targets(starts)
            loss = torch.zeros((), device=self.device)
            with runtime.memory_errors(f"an update of {options.batch_size} sequences", REMEDY):
                for part in loop.parts(starts, options.micro_batch_size):
                    inputs, targets = blocks.at(part)
                    with loop.autocast():
                        part_loss = network(inputs.to(self.device), targets.to(self.device)) / total
                    loop.backward(part_loss)
                    loss += part_loss.detach()
                norm = loop.update("network")
            network.eval()  # between updates the model is the user's to try
            told = {} if self.adapter is None else self.model.adapters.metrics(self.adapter)
            yield loop.step(loss=loss, gradient_norm=norm, **told)

    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        """The mean loss in nats per token, and bits per byte, over consecutive blocks of `data`.

        No token is predicted with more context than its block gives, so that the figures are a little higher than
        those of the evaluator, whose windows overlap.
        """
        if self._validation is None or self._validation[0] is not data:
            tokens = self._encoded(self._documents(data, "validation"), "validation")
            self._validation = (data, Blocks(tokens, self._block(fit.options)))
        blocks = self._validation[1]
        network = self.networks["network"]
        was_training = network.training
        network.eval()
        nats = count = 0.0
        with torch.no_grad():
            for inputs, targets in blocks.once(fit.options.micro_batch_size or fit.options.batch_size):
                nats += network(inputs.to(self.device), targets.to(self.device)).item()
                count += int((targets != IGNORED).sum())
        network.train(was_training)
        return {"loss": nats / count, "bits_per_byte": nats / math.log(2) / blocks.tokens.size}

    def state_dict(self) -> dict[str, Any]:
        learnt = self._vocab_size is None
        tokenizer = self.model.tokenizer.backend_tokenizer.to_str() if learnt else None
        return {**super().state_dict(), "tokenizer": tokenizer, "adapter": self._described_adapter()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        rest = dict(state)
        adapter, own = rest.pop("adapter", None), self._described_adapter()
        if adapter != own and {"networks", "loop"} <= set(rest):
            raise MismatchedFolder(f"the state is of a training of {_shown(adapter)}, and this is one of {_shown(own)}")
        learnt = rest.pop("tokenizer", None)
        if learnt is not None and self._vocab_size is not None:
            from tokenizers import Tokenizer

            self._take_tokenizer(wrapped(Tokenizer.from_str(learnt), self.model.context))
        elif learnt is not None and learnt != self.model.tokenizer.backend_tokenizer.to_str():
            raise MismatchedFolder("the state is of a training with another tokenizer; open the model it started from")
        super().load_state_dict(rest)

    def _optimizers(self, options: TrainingOptions, steps: int, done: int) -> list[torch.optim.Optimizer]:
        if self.adapter is None:
            return optimizers(self.model.network, options)
        adapters = self.model.adapters
        made = _adamw(adapters.groups(self.adapter, options.weight_decay), options)
        adapters.follow(self.adapter, made, steps, done)
        return [made]

    def _check_adapter(self, options: TrainingOptions) -> None:
        if self.adapter is None:
            return
        if options.optimizer == "muon":
            raise OptionError(
                "optimizer='muon' takes the matrices of a model; an adapter takes 'adamw'", field="optimizer"
            )
        if options.ema_decay is not None and isinstance(self.model.adapters.method(self.adapter), AdaLoRA):
            raise OptionError(
                f"ema_decay={options.ema_decay}: an average over AdaLoRA's ranks would have all of them; leave it out",
                field="ema_decay",
            )

    def _described_adapter(self) -> dict[str, Any] | None:
        """What makes an adapter's training this one: the method, and the model beside it."""
        if self.adapter is None:
            return None
        adapters = self.model.adapters
        described = adapters.method(self.adapter).model_dump(mode="json")
        return {"method": described, "base": adapters.base_fingerprint(self.adapter)}

    def _documents(self, data: Any, name: str, *, keep: bool = False) -> list[Document]:
        """The documents in `data`, read once: an iterator would give nothing the second time."""
        kept = self._read.pop(id(data), None)
        found = kept[1] if kept is not None else list(documents(data, name))
        if not found:
            raise DataError(f"{name} holds no documents; pass at least one", field=name)
        if keep:
            self._read[id(data)] = (data, found)
        return found

    def _encoded(self, found: list[Document], name: str) -> Tokens:
        tokens, known = encode(found, self.model.tokenizer, name), self.model.network.config.vocab_size
        if tokens.ids.max() >= known:
            raise DataError(
                f"{name} has the token {tokens.ids.max()}, and the model has {known} tokens; its tokenizer is of another "
                "model",
                field=name,
            )
        return tokens

    def _block(self, options: TrainingOptions) -> int:
        context = self.model.context
        if options.block is None:
            return min(context, BLOCK_LIMIT)
        if options.block > context:
            raise OptionError(f"block={options.block}: the model's context is {context} tokens", field="block")
        return options.block

    def _learn_tokenizer(self, found: list[Document], vocab_size: int) -> None:
        texts = (piece.text for document in found for piece in document)
        self._take_tokenizer(train_tokenizer(texts, vocab_size, self.model.context))

    def _take_tokenizer(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Give a new model its tokenizer; a text with few words needs fewer tokens than the model had room for."""
        self.model.tokenizer = tokenizer
        self.model.network.resize_token_embeddings(len(tokenizer))
        self._vocab_size = None


def optimizers(model: PreTrainedModel, options: TrainingOptions) -> list[torch.optim.Optimizer]:
    """AdamW for everything; or Muon for the matrices inside the blocks, and AdamW for the rest."""
    inner = _inner_matrices(model) if options.optimizer == "muon" else []
    taken = {id(each) for each in inner}
    rest = [each for each in model.parameters() if each.requires_grad and id(each) not in taken]
    groups = [
        {"params": [each for each in rest if each.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [each for each in rest if each.ndim < 2], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [_adamw(groups, options)]
    if inner:
        rate, decay = options.muon_learning_rate, options.weight_decay
        found.append(torch.optim.Muon(inner, lr=rate, momentum=0.95, weight_decay=decay))
    return found


def _adamw(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.AdamW:
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)


def _inner_matrices(model: PreTrainedModel) -> list[torch.nn.Parameter]:
    """The matrices that map features to features: no embeddings, no output layer."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    outer = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding) or module is head
        for parameter in module.parameters()
    }
    return [each for each in model.parameters() if each.ndim == 2 and each.requires_grad and id(each) not in outer]


def _add_adapter(model: GPT2, adapter: Method, seed: int) -> None:
    if model.adapter is not None:
        raise OptionError(
            f"adapter={adapter.method!r}: the folder holds an adapter already, {model.adapter!r}; leave it out to go on "
            "training that one, or open the model beside it",
            field="adapter",
        )
    model.adapters.add(adapter.method, adapter, seed=seed)
    model.use_adapter(adapter.method)


def _shown(described: Any) -> str:
    if not isinstance(described, Mapping):
        return "a whole model"
    return f"an adapter {described.get('method')} beside the weights {str(described.get('base'))[:12]}"
