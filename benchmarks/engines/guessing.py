"""Look-up speculation, with a model whose texts really repeat themselves, and with ordinary text.

The default model is trained for a few minutes on tables and code, then made as wide as is asked for without changing what it
computes, so that its passes take the time of a model of a usual size while its texts stay those of one that was trained.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import aigc_sdk
from aigc_sdk_gpt2.model import GPT2

from .ours import Ours, beginnings
from .turns import alternated, ratio

NAMES = ["Adam", "Seth", "Enos", "Noah", "Shem", "Ham", "Terah", "Lot", "Sarah", "Leah"]
TOWNS = ["Eden", "Nod", "Ararat", "Haran", "Ur", "Salem"]
NEW = 128
Row = dict[str, Any]


def guessed(folder: Path, dtypes: list[str], device: str, turns: int, steps: int) -> Iterator[Row]:
    """Speed with look-up over speed without, at batch 1; for tables and code, and for sampled ordinary text."""
    build(folder / "repeating", steps)
    wide, default = folder / "repeating", folder / "default"
    model = aigc_sdk.load("gpt2", device="cpu")
    widened(model, 4, 12).save(default)
    draw = random.Random(99)  # other tables than those that were learnt
    cases = [
        ("tables", wide, [table(draw, 5)], {"temperature": 0.0}),
        ("records", wide, [records(draw, 3)], {"temperature": 0.0}),
        ("code", wide, [code(draw, 3)], {"temperature": 0.0}),
        ("ordinary text, greedy", default, beginnings(model.tokenizer, [64]), {"temperature": 0.0}),
        ("ordinary text, sampled", default, beginnings(model.tokenizer, [64]), {"temperature": 0.8}),
    ]
    for dtype in dtypes:
        for case, of, prompts, options in cases:
            ours = Ours(of, dtype, device, kernels=True)
            side = partial(ours.generate, prompts, [NEW], **options)
            calls = {str(size): partial(side, speculate=size) for size in (0, 8, 16)}
            seconds, texts = alternated(calls, turns)
            yield {
                "case": f"look-up, {case}",
                "side": f"ours {dtype}",
                "times without, 8 tokens": ratio(seconds, "8", "0"),
                "times without, 16 tokens": ratio(seconds, "16", "0"),
                "passes": [passes(ours, prompts[0], size, options) for size in (0, 8, 16)],
                "same texts": texts["0"] == texts["8"] == texts["16"],
            }


def passes(ours: Ours, prompt: str, size: int, options: dict[str, Any]) -> int:
    """How many passes of the model one text takes."""
    steps: list[Any] = []
    ours.model.generate(prompt, seed=0, max_new_tokens=NEW, speculate=size, on_step=steps.append, **options)
    return len(steps)


def build(folder: Path, steps: int) -> None:
    """The default model after a training on tables and code, and widened."""
    draw = random.Random(0)
    kinds = (table, records, code)
    texts = [kinds[number % 3](draw, draw.randint(6, 20)) for number in range(600)]
    trainer = aigc_sdk.trainer("gpt2", "default", device="cpu")
    model = trainer.fit(texts, max_steps=steps, batch_size=8, block=256, learning_rate=1e-3, seed=0, progress=False)
    widened(model, 4, 12).save(folder)


def table(draw: random.Random, rows: int) -> str:
    """A table in Markdown."""
    lines = [f"| {draw.choice(NAMES)} | {draw.randint(1, 99)} | {draw.choice(TOWNS)} |\n" for _ in range(rows)]
    return "| name | years | town |\n|---|---|---|\n" + "".join(lines)


def records(draw: random.Random, rows: int) -> str:
    """A list of dicts."""
    return "".join(
        f"{{'name': '{draw.choice(NAMES)}', 'years': {draw.randint(1, 99)}, 'town': '{draw.choice(TOWNS)}'}},\n"
        for _ in range(rows)
    )


def code(draw: random.Random, rows: int) -> str:
    """Methods that differ by a word."""
    field = draw.choice(TOWNS).lower()
    names = draw.sample(NAMES, min(rows, len(NAMES)))
    return "".join(
        f"def {name.lower()}(self, {field}):\n    return self.{field}.get('{name}', {field})\n\n" for name in names
    )


def widened(model: GPT2, times: int, layers: int) -> GPT2:
    """A model that computes the same with `times` the width and heads (Net2Net, Chen et al. 2016), and with more layers.

    Every feature stands there `times` times, and what reads them is divided by `times`; layers that are added add nothing.
    """
    old: Any = model.network
    sizes = old.config
    config = GPT2Config(
        vocab_size=sizes.vocab_size,
        n_positions=sizes.n_positions,
        n_embd=sizes.n_embd * times,
        n_head=sizes.n_head * times,
        n_layer=layers,
        bos_token_id=sizes.bos_token_id,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    new: Any = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name in ("wte", "wpe"):
            getattr(new.transformer, name).weight.copy_(getattr(old.transformer, name).weight.repeat(1, times))
        _norm(old.transformer.ln_f, new.transformer.ln_f, times)
        new.lm_head.weight.copy_(old.lm_head.weight.repeat(1, times) / times)
        for number, layer in enumerate(new.transformer.h):
            if number >= sizes.n_layer:
                for module in (layer.attn.c_proj, layer.mlp.c_proj):
                    module.weight.zero_()
                continue
            source = old.transformer.h[number]
            for part in ("ln_1", "ln_2"):
                _norm(getattr(source, part), getattr(layer, part), times)
            for part in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
                _matrix(source.get_submodule(part), layer.get_submodule(part), times)
            for old_part, new_part in zip(
                source.attn.c_attn.weight.chunk(3, 1), layer.attn.c_attn.weight.chunk(3, 1), strict=True
            ):
                new_part.copy_(old_part.repeat(times, times) / times)
            layer.attn.c_attn.bias.copy_(torch.cat([part.repeat(times) for part in source.attn.c_attn.bias.chunk(3)]))
    return GPT2(new, model.tokenizer)


def _norm(old: Any, new: Any, times: int) -> None:
    new.weight.copy_(old.weight.repeat(times))
    new.bias.copy_(old.bias.repeat(times))


def _matrix(old: Any, new: Any, times: int) -> None:
    """inputs x outputs, each `times` times."""
    new.weight.copy_(old.weight.repeat(times, times) / times)
    new.bias.copy_(old.bias.repeat(times))
