"""Advertising: many variants of a line, those with forbidden words taken out, the rest ranked by a judge.

    python examples/compose_advertising.py ["BEGINNING"] [--writer FOLDER] [--to FOLDER]

The default writer knows the King James Bible alone, so its copy sells bread as a prophet would. The judge is the writer's
own surprise, in bits per byte; any Evaluator with a number per text can take its place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import aigc_sdk
from aigc_sdk import Text
from aigc_sdk.errors import InputError
from aigc_sdk_process import compose
from aigc_sdk_process.finish import suggestions, text

BEGINNING = "Come and buy our bread, for"
FORBIDDEN = ("slay", "slain", "smite", "smote", "sword", "blood", "die", "death", "kill", "curse")  # of a bakery


def main() -> None:
    """Print the ranking, and write copy.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("beginning", nargs="?", default=BEGINNING)
    parser.add_argument("--writer", default="gpt2", help="a backend or a folder of a model of texts")
    parser.add_argument("--to", type=Path, default=Path("runs/advertising"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)

    drafts = aigc_sdk.load(asked.writer).generate(asked.beginning, n=16, seed=1, max_new_tokens=40, temperature=0.9)
    variants = [each for draft in drafts if (each := line(asked.beginning, draft)) is not None]
    allowed = [each for each in variants if not any(word in str(each).lower().split() for word in FORBIDDEN)]
    if not allowed:
        raise SystemExit("every variant holds a forbidden word or has no end; ask with another beginning")
    order = compose.ranked(allowed, aigc_sdk.evaluator("gpt2"), by="bits_per_byte")
    print(f"{len(drafts)} drafts, {len(variants)} with an end, {len(allowed)} without forbidden words")
    rows = ["| bits per byte | copy | to look at |", "|---|---|---|"]
    for each in order:
        doubtful = ", ".join(found.found for found in suggestions.spelling(each.artifact))
        rows.append(f"| {each.value:.2f} | {str(each.artifact).replace('|', '/')} | {doubtful} |")
    Text("\n".join(rows), origin=order[0].artifact.origin).save(asked.to / "copy.md", origin=False)
    print("\n".join(rows[:5]))
    best = order[0].artifact.save(asked.to / "best.txt")
    print(f"{best}: {compose.replay(best)}")


def line(beginning: str, draft: Text) -> Text | None:
    """A variant on one line, without what is unfinished or said twice; None where no sentence ends."""
    try:
        whole = text.without_repeats(text.finished(text.joined([beginning, draft])))
    except InputError:
        return None
    return text.tidy(text.joined(text.sentences(whole)[:1]))


if __name__ == "__main__":
    main()
