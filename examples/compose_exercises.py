"""Teaching: exercises with gaps out of a text, each with four choices and, at the end, the answers.

    python examples/compose_exercises.py [TEXT.txt] [--encoder FOLDER] [--to FOLDER]

The right answer is the text's own word. The wrong ones are words that a masked language model thinks unlikely there though
not absurd, and a learner may still find one that fits: a teacher reads the sheet before it is used. The default
encoder has read the King James Bible, so a text in that style suits it best.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

import aigc_sdk
from aigc_sdk_process.finish import markup, text

TEXT = """And the king sent men to the city by night. The people of the land heard the voice of the prophet. He took the
bread and gave it to his servants. And the woman went out and drew water from the well. They came unto the house of the
priest in the morning."""
STOP = frozenset(
    word
    for line in (
        "the and his him her she they their them this these from for unto upon against with before after that then",
        "was were are out went not but all thy thee thou shall when which who",
    )
    for word in line.split()
)
RANKS = (15, 60)  # among what the model expects in the gap: neither what fits as well, nor nonsense


def main() -> None:
    """Write exercises.md and the same as a page that is safe to show."""
    parser = argparse.ArgumentParser()
    parser.add_argument("text", nargs="?", type=Path)
    parser.add_argument("--encoder", default="bert", help="a backend or a folder whose model has `suggest`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("runs/exercises"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    passage = " ".join((asked.text.read_text("utf-8") if asked.text else TEXT).split())

    encoder, draw = aigc_sdk.load(asked.encoder), random.Random(asked.seed)
    questions, answers = ["# Choose the word that is missing", ""], ["", "## Answers", ""]
    for number, sentence in enumerate(text.sentences(passage), 1):
        gap = hidden(sentence, draw)
        if gap is None:
            continue
        masked = f"{sentence[: gap.start()]}{encoder.mask}{sentence[gap.end() :]}"  # type: ignore[attr-defined]
        expected = [each.text for each in encoder.suggest(masked, k=RANKS[1])[0]]  # type: ignore[attr-defined]
        wrong = [each for each in expected[RANKS[0] :] if usable(each, gap[0], expected[: RANKS[0]])]
        choices = [gap[0], *draw.sample(wrong, 3)]
        draw.shuffle(choices)
        shown = "  ".join(f"({letter}) {choice}" for letter, choice in zip("abcd", choices, strict=True))
        questions += [f"{number}. {sentence[: gap.start()]}\\_\\_\\_\\_{sentence[gap.end() :]}  ", f"   {shown}", ""]
        answers.append(f"{number}. ({'abcd'[choices.index(gap[0])]}) {gap[0]}")
    sheet = "\n".join([*questions, *answers, ""])
    (asked.to / "exercises.md").write_text(sheet, "utf-8")
    (asked.to / "exercises.html").write_text(f"<!doctype html><meta charset=utf-8>{markup.safe_html(sheet)}", "utf-8")
    print(sheet)


def hidden(sentence: str, draw: random.Random) -> re.Match[str] | None:
    """A word with a meaning of its own, not the first."""
    words = [each for each in re.finditer(r"[A-Za-z]{3,}", sentence) if each[0].lower() not in STOP and each.start()]
    return draw.choice(words) if words else None


def usable(word: str, answer: str, likely: list[str]) -> bool:
    """Whether a word can be a wrong choice."""
    return word.isalpha() and len(word) > 2 and word not in STOP and word != answer.lower() and word not in likely


if __name__ == "__main__":
    main()
