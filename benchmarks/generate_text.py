"""Greedy text from a GPT-2 of 124 million weights: aigc_sdk_gpt2 beside transformers' `generate`, in turns, in one process.

    python benchmarks/generate_text.py [--quick] [--threads 2] [--device cpu]

Both decode the same random weights from the same prompts of 64 tokens, 64 new tokens each, without an end of text.
A figure is the median of whole calls, prompts read and texts put together; ours with everything that its contract
adds. In float32 the tokens must be the same. "mixed" has prompts of 8 to 120 tokens, which the peer fills up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch
from machine import processor
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_sdk.training.corpus import sample_text
from aigc_sdk.weights import quiet
from aigc_sdk_gpt2.data import train_tokenizer
from aigc_sdk_gpt2.model import GPT2

VOCABULARY, NEW = 50257, 64
CASES: dict[str, list[int]] = {
    "1": [64],
    "8": [64] * 8,
    "32": [64] * 32,
    "16, mixed": [8, 120, 33, 64, 90, 17, 48, 105, 12, 77, 29, 58, 111, 21, 84, 40],
}
"""Each batch, as the lengths of its prompts in tokens."""


def build(device: str, dtype: str) -> GPT2:
    """The usual sizes of GPT-2 small, with random weights."""
    tokenizer = train_tokenizer([sample_text()[:300_000]], 4096, 1024)
    tokenizer.add_tokens([f"<{index}>" for index in range(VOCABULARY - len(tokenizer))])  # every token has its text
    tokenizer.pad_token = tokenizer.eos_token  # the peer fills up rows
    torch.manual_seed(0)
    # Larger first weights than usual keep the likeliest tokens from ties, which rounding would decide.
    config = GPT2Config(bos_token_id=0, eos_token_id=None, initializer_range=0.1)
    network: Any = GPT2LMHeadModel(config).eval()
    network.to(device=device, dtype=getattr(torch, dtype))
    return GPT2(network, tokenizer, device=device, dtype=dtype)  # type: ignore[arg-type]


def prompts(model: GPT2, lengths: list[int]) -> list[str]:
    """Different beginnings of just so many tokens."""
    encode, words = model.tokenizer.backend_tokenizer.encode, sample_text()[:100_000].split()
    found, first = [], 0
    for length in lengths:
        while True:
            last = next(n for n in range(first, len(words)) if len(encode(" ".join(words[first:n])).ids) >= length)
            first, text = last, " ".join(words[first:last])
            if len(encode(text).ids) == length:
                found.append(text)
                break
    return found


def ours(model: GPT2, given: list[str]) -> list[str]:
    """One call of ours."""
    return [str(each) for each in model.generate(given, seed=0, temperature=0.0, max_new_tokens=NEW)]


def theirs(model: GPT2, given: list[str]) -> list[str]:
    """One call of transformers."""
    tokenizer, network = model.tokenizer, model.network
    batch: Any = tokenizer(given, return_tensors="pt", padding=True, padding_side="left").to(model.device)
    made: Any = network.generate(**batch, max_new_tokens=NEW, do_sample=False, pad_token_id=0)  # type: ignore[operator]
    rows = made[:, batch["input_ids"].shape[1] :].tolist()
    return tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)


def measure(model: GPT2, name: str, lengths: list[int], turns: int) -> dict[str, Any]:
    """Both sides in turns, after a first call of each that only compares."""
    given = prompts(model, lengths)
    same = ours(model, given) == theirs(model, given)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(turns):
        for side, call in (("theirs", theirs), ("ours", ours)):
            started = time.perf_counter()
            call(model, given)
            if model.device != "cpu":
                torch.cuda.synchronize()
            seconds[side].append(time.perf_counter() - started)
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    rates = [round(len(given) * NEW / statistics.median(seconds[side]), 1) for side in ("ours", "theirs")]
    return {
        "batch": name,
        "dtype": model.dtype,
        "tokens_per_second": rates,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_turn": [round(each, 3) for each in ratios],
        "same_tokens": same,
    }


def main() -> None:
    """Print one JSON object per batch."""
    parser = argparse.ArgumentParser(description="Text from GPT-2 124M: ours beside transformers' generate.")
    parser.add_argument("--quick", action="store_true", help="one turn of each batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine = {"torch": torch.__version__, "threads": arguments.threads, "processor": processor()}
    print(json.dumps({"what": "GPT-2 124M, greedy, 64 new tokens; [ours, theirs]", **machine}))
    model = build(arguments.device, arguments.dtype)
    with quiet():
        for name, lengths in CASES.items():
            print(json.dumps(measure(model, name, lengths, 1 if arguments.quick else arguments.turns)), flush=True)


if __name__ == "__main__":
    main()
