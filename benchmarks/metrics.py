"""BLEU and ROUGE over 1,000 pairs: the evaluator beside sacrebleu and rouge_score used singly, and torchmetrics if it is there.

    python benchmarks/metrics.py [--quick] [--pairs 1000]

Each side in turns, as a whole: ours with checks, rows, protocols and 1,000 bootstrap resamplings of every score; theirs with the
scores alone. Every turn has other texts, since both tokenisers remember lines. Before the turns the values are compared to 1e-9.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import aigc_sdk

NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
Pairs = tuple[list[str], list[str]]
Scores = dict[str, float]


def pairs(count: int, seed: int) -> Pairs:
    """Texts of 10 to 40 words and references, of which four words in five are the same."""
    rng = random.Random(seed)
    known = [f"word{index}" for index in range(600)] + ["the", "of", "and", "a", "to,", "in."] * 40
    references = [" ".join(rng.choices(known, k=rng.randint(10, 40))) for _ in range(count)]
    texts = [" ".join(w if rng.random() < 0.8 else rng.choice(known) for w in each.split()) for each in references]
    return texts, references


def ours(given: Pairs) -> Scores:
    """One call."""
    report = aigc_sdk.evaluator("text-metrics").evaluate(*given, metrics=("bleu", "rouge"))
    return {name: score.value for name, score in report.scores.items()}


def singly(given: Pairs) -> Scores:
    """sacrebleu, then rouge_score."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    texts, references = given
    scorer = RougeScorer(NAMES)
    found = [scorer.score(reference, text) for text, reference in zip(texts, references, strict=True)]
    means = {name: sum(each[name].fmeasure for each in found) / len(found) for name in NAMES}
    return {"bleu": BLEU().corpus_score(texts, [references]).score, **means}


def torchmetrics(given: Pairs) -> Scores:
    """The same scores by torchmetrics, which needs nltk for sentences."""
    from torchmetrics.text import ROUGEScore, SacreBLEUScore

    texts, references = given
    found = ROUGEScore(rouge_keys=NAMES[:3])(texts, references)
    bleu = float(SacreBLEUScore(smooth=True)(texts, [[each] for each in references]))
    return {"bleu": 100 * bleu, **{name: float(found[f"{name}_fmeasure"]) for name in NAMES[:3]}}


def sides() -> dict[str, Callable[[Pairs], Scores]]:
    """Who is there to be measured."""
    import importlib.util

    found = {"ours": ours, "singly": singly}
    if importlib.util.find_spec("torchmetrics"):
        found["torchmetrics"] = torchmetrics
    return found


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description="BLEU and ROUGE: ours beside the libraries used singly.")
    parser.add_argument("--quick", action="store_true", help="one turn")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    chosen = sides()
    warm = pairs(50, seed=0)
    values = {name: side(warm) for name, side in chosen.items()}
    same = all(abs(value - values["ours"][name]) < 1e-9 for name, value in values["singly"].items())
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for turn in range(1 if arguments.quick else arguments.turns):
        for index, (name, side) in enumerate(chosen.items()):
            given = pairs(arguments.pairs, seed=1 + turn * len(chosen) + index)
            started = time.perf_counter()
            side(given)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: round(statistics.median(each), 3) for name, each in seconds.items()}
    ratio = round(medians["singly"] / medians["ours"], 2)
    print(
        json.dumps({"what": f"BLEU + ROUGE, {arguments.pairs} pairs", "seconds": medians, "ratio": ratio, "same": same})
    )


if __name__ == "__main__":
    main()
