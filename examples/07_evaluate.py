"""Judging what was made: every score states its protocol, over how many samples it is, and its interval.

    python examples/07_evaluate.py

A report has a row for each sample as well, and saves as a table, a page, JSON or a picture.
"""

from pathlib import Path

import aigc_sdk
from aigc_sdk import media

folder = Path("runs/evaluate")
folder.mkdir(parents=True, exist_ok=True)

texts = aigc_sdk.load("gpt2").generate(["And the king said", "In the beginning"], n=12, seed=1, max_new_tokens=60)
metrics = ("perplexity", "distinct", "self_bleu", "repetition")
report = aigc_sdk.evaluator("text-metrics").evaluate(texts, metrics=metrics, scorer="gpt2")
for name, score in report.scores.items():
    low, high = score.interval
    print(f"{name:14}{score.value:8.3f}   95 %: {low:.3f} to {high:.3f}   n={score.n}")
print(f"\nHow distinct_2 is counted: {report['distinct_2'].protocol}\n")

digits = aigc_sdk.load("gan").generate(n=100, label=3, seed=0)
judged = aigc_sdk.evaluator("gan").evaluate(digits, ["3"] * 100)
print(judged)

order = sorted(range(100), key=lambda index: judged.rows[index]["probability"])
sheet = media.grid([digits[index] for index in order[:10] + order[-10:]], columns=10, scale=3)
print(f"\nThe threes that the judge doubts most, and is surest of: {sheet.save(folder / 'threes.png')}")
print(f"The scores as a page: {report.save(folder / 'texts.html')}")
