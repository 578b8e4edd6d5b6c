"""What is measured: one function per table, which yields its rows as plain data."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .ours import Ours, beginnings
from .sides import Field, Side
from .turns import alternated, ratio

NEW = (64, 128)  # tokens
Row = dict[str, Any]


def alike(field: Field, peers: Sequence[str], dtypes: Sequence[str], batch: int, turns: int) -> Iterator[Row]:
    """So many prompts of 64 tokens; each side's tokens per second in whole calls, and in decoding alone.

    Decoding alone is what the second 64 of 128 tokens take.
    """
    prompts = beginnings(field.model.tokenizer, [64] * batch)
    sides = field.sides(peers, dtypes)
    calls = {(name, new): _call(side, prompts, [new] * batch) for name, side in sides.items() for new in NEW}
    seconds, texts = alternated({f"{name} {new}": call for (name, new), call in calls.items()}, turns)
    short, long = ({name: seconds[f"{name} {new}"] for name in sides} for new in NEW)
    both = {name: [b - a for a, b in zip(short[name], long[name], strict=True)] for name in sides}
    same = {name: texts[f"{name} {NEW[1]}"] for name in sides}
    yield from _rows(f"batch {batch}, {NEW[0]} new", short, batch * NEW[0], same)
    yield from _rows(f"batch {batch}, {NEW[1]} new", long, batch * NEW[1], same)
    yield from _rows(f"batch {batch}, decoding", both, batch * (NEW[1] - NEW[0]), same)


def mixed(field: Field, peers: Sequence[str], dtypes: Sequence[str], turns: int) -> Iterator[Row]:
    """32 prompts of 5 to 200 tokens that want 10 to 200: useful tokens per second."""
    draw = random.Random(3)
    lengths, wants = ([draw.randint(least, 200) for _ in range(32)] for least in (5, 10))
    prompts = beginnings(field.model.tokenizer, lengths)
    sides = field.sides([each for each in peers if each in ("transformers", "llama.cpp")], dtypes)
    seconds, texts = alternated({name: _call(side, prompts, wants) for name, side in sides.items()}, turns)
    yield from _rows("mixed lengths", seconds, sum(wants), texts)


def shared(field: Field, dtypes: Sequence[str], turns: int) -> Iterator[Row]:
    """32 samples of one prompt of 200 tokens, and 32 prompts with a beginning of 180 in common, beside 32 that share nothing."""
    tokenizer = field.model.tokenizer
    apart = beginnings(tokenizer, [200] * 32)
    common = beginnings(tokenizer, [180])[0]
    ends = [f"{common} {text}" for text in beginnings(tokenizer, [20] * 32)]
    for name, side in field.sides([], dtypes).items():
        calls = {
            "apart": _call(side, apart, [64] * 32),
            "samples": _call(side, [apart[0]] * 32, [64] * 32),
            "beginning": _call(side, ends, [64] * 32),
        }
        seconds, _ = alternated(calls, turns)
        yield {
            "case": "32 of 200 tokens, 64 new",
            "side": name,
            "samples_of_one": ratio(seconds, "samples", "apart"),
            "one_beginning_of_180": ratio(seconds, "beginning", "apart"),
        }


def opening(field: Field, dtypes: Sequence[str], turns: int) -> Iterator[Row]:
    """Seconds until the model is open, and from there to the first token, for which its weights are packed."""
    for kernels in (False, True):
        for dtype in dtypes:
            opened, first = [], []
            for _ in range(turns):
                started = time.perf_counter()
                side = Ours(field.folder / "model", dtype, field.device, kernels=kernels)
                opened.append(time.perf_counter() - started)
                side.generate(["In the beginning"], [1])
                first.append(time.perf_counter() - started - opened[-1])
            yield {
                "case": "opening",
                "side": f"{'ours' if kernels else 'ours without kernels'} {dtype}",
                "seconds": round(statistics.median(opened), 2),
                "first token after": round(statistics.median(first), 2),
            }


def _call(side: Side, prompts: Sequence[str], wants: Sequence[int]) -> Any:
    return lambda: side(prompts, wants)


def _rows(case: str, seconds: dict[str, list[float]], tokens: int, texts: dict[str, list[str]]) -> Iterator[Row]:
    """A row for each side: its rate, the ratios to transformers, and for ours to the fastest peer of the precision."""
    for name, its in seconds.items():
        dtype = name.rsplit(" ", 1)[1]
        row: Row = {"case": case, "side": name, "tokens_per_second": round(tokens / statistics.median(its), 1)}
        for other in {f"transformers {dtype}", "transformers float32"} - {name}:
            if other in seconds:
                row[f"times {other}"] = ratio(seconds, name, other)
        rivals = [each for each in seconds if not each.startswith("ours") and each.endswith(dtype) and each != name]
        if name.startswith("ours") and rivals:
            fastest = min(rivals, key=lambda each: statistics.median(seconds[each]))
            row["fastest peer"] = fastest
            row["times fastest peer"] = ratio(seconds, name, fastest)
        reference = texts.get("transformers float32")
        if reference is not None and name != "transformers float32":
            row["same texts"] = sum(a == b for a, b in zip(texts[name], reference, strict=True)) / len(reference)
        row["seconds"] = [round(each, 3) for each in its]
        yield row
