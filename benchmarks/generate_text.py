"""Text from a GPT-2 of 124 million weights: aigc_sdk_gpt2 beside transformers, CTranslate2, llama.cpp and OpenVINO.

    pip install ctranslate2 llama-cpp-python gguf openvino       # those of them that are to take part
    pip install -e plugins/kernels                                # "ours" without it is "ours without kernels"
    python benchmarks/generate_text.py [--quick] [--turns 3] [--threads 2] [--batches 1,8,32] [--dtypes float32,bfloat16,int8]
                                       [--tables alike,mixed,shared,guessed,opening] [--peers transformers,llama.cpp] [--device cpu]

One JSON object per line: the machine, then a row for each side of each table (`engines/cases.py` says what is measured). All
sides decode greedily from the same random weights, without an end of text, in one process and in turns, each after a call that
is not measured; a rate is of the median, a ratio the median of the turns' ratios. Ours are whole calls of `generate`, with
everything that its contract adds; the peers get tokens, ready for them. In float32 the texts must be transformers'; with
random weights, whose likeliest tokens lie close together, the share of same texts says nothing about other precisions.
All sides hold their weights at once: at batch 32 take one precision at a time, since 24 GB do not hold them all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from engines import cases
from engines.guessing import guessed
from engines.ours import build
from engines.sides import PEERS, Field, installed
from machine import processor

from aigc_sdk.weights import quiet

TABLES = ("alike", "mixed", "shared", "guessed", "opening")


def rows(asked: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """All rows of the tables that are asked for."""
    turns = 1 if asked.quick else asked.turns
    field = Field(build(), folder, asked.device, asked.threads, rows=32, places=448)
    if "alike" in asked.tables:
        for batch in map(int, asked.batches):
            yield from cases.alike(field, asked.peers, asked.dtypes, batch, turns)
    if "mixed" in asked.tables:
        yield from cases.mixed(field, asked.peers, asked.dtypes, turns)
    if "shared" in asked.tables:
        yield from cases.shared(field, asked.dtypes, turns)
    if "opening" in asked.tables:
        yield from cases.opening(field, asked.dtypes, turns)
    if "guessed" in asked.tables:
        yield from guessed(folder, asked.dtypes, asked.device, turns, steps=30 if asked.quick else 300)


def main() -> None:
    """Print the tables as JSON lines."""
    parser = argparse.ArgumentParser(description="Text from GPT-2 124M: ours beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one turn of each")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    for name, default in (
        ("batches", "1,8,32"),
        ("dtypes", "float32,bfloat16,int8"),
        ("tables", ",".join(TABLES)),
        ("peers", ",".join(PEERS)),
    ):
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=default.split(","))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    machine = {"torch": torch.__version__, "threads": asked.threads, "processor": processor(), "device": asked.device}
    print(json.dumps({"what": "GPT-2 124M, prompts of 64 tokens, greedy", **machine, "peers": dict(installed())}))
    with quiet(), tempfile.TemporaryDirectory() as folder:
        for row in rows(asked, Path(folder)):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
