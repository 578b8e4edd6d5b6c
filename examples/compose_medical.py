"""Medicine: a leaflet in plain words: what answers a question, with its place in the source, and a disclaimer.

    python examples/compose_medical.py [LEAFLET.txt] [--question "..."] [--encoder FOLDER] [--to FOLDER]

No sentence is generated, because a model's sentence can be wrong in a way that harms. Sentences of the source are chosen
by an encoder, and terms of a glossary that one can read are explained beside the term. The default encoder is small and has
read the King James Bible: its choice is not to be relied on.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import aigc_sdk
from aigc_sdk_process.finish import markup, text

LEAFLET = """Hypertension is usually asymptomatic, so that it is often found only when blood pressure is measured. Blood
pressure is measured with a cuff around the upper arm. Persistent hypertension damages the arteries. Regular exercise and a
diet with less sodium reduce blood pressure. If these do not suffice, an antihypertensive can be prescribed. Dizziness is a
common adverse effect of an antihypertensive. Do not discontinue the treatment without asking your doctor."""
QUESTION = "What can I do about high blood pressure?"
GLOSSARY = {
    "hypertension": "high blood pressure",
    "asymptomatic": "without signs that one feels",
    "arteries": "the vessels that carry blood from the heart",
    "sodium": "a part of salt",
    "antihypertensive": "a medicine that lowers blood pressure",
    "adverse effect": "an unwanted effect of a medicine",
    "discontinue": "stop",
}
LEANING = re.compile(r"(?:(?:if|but|and|when|although) )?(?:these|this|those|that|it|they|he|she)\b", re.IGNORECASE)
DISCLAIMER = (
    "This is a selection of sentences from the source below, made by a program. It is no medical advice, it may leave out "
    "what matters to you, and nobody with medical training has checked it. Ask a doctor or a pharmacist; in an emergency "
    "call the emergency number."
)


def main() -> None:
    """Write plain.md, the same as a safe page, and the places as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("leaflet", nargs="?", type=Path)
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--encoder", default="bert", help="a backend or a folder whose model has `similarity`")
    parser.add_argument("--to", type=Path, default=Path("runs/medical"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    source = " ".join((asked.leaflet.read_text("utf-8") if asked.leaflet else LEAFLET).split())

    spans = chosen(asked.encoder, source, asked.question, 4)
    plain = [explained(str(each["text"])) for each in spans]
    lines = [f"# {asked.question}", "", f"**{DISCLAIMER}**", ""]
    lines += [f"- {each} *(source, {span['start']}-{span['end']})*" for each, span in zip(plain, spans, strict=True)]
    lines += ["", "## Source", "", source, ""]
    page = "\n".join(lines)
    (asked.to / "plain.md").write_text(page, "utf-8")
    (asked.to / "plain.html").write_text(f"<!doctype html><meta charset=utf-8>{markup.safe_html(page)}", "utf-8")
    (asked.to / "spans.json").write_text(json.dumps(spans, indent=2), "utf-8")
    print(page)
    grades = aigc_sdk.evaluator("text-metrics").evaluate([source], metrics=("readability",))
    print(f"the source needs {grades['flesch_kincaid_grade'].value:.1f} years of school by Flesch-Kincaid")


def chosen(encoder: str, source: str, question: str, count: int) -> list[dict[str, object]]:
    """The sentences nearest to the question, in the source's order, with the characters at which they stand; a sentence
    that leans on the one before it brings that along."""
    sentences = text.sentences(source)
    likeness = aigc_sdk.load(encoder).similarity([question], sentences)[0]  # type: ignore[attr-defined]
    wanted = set(sorted(range(len(sentences)), key=lambda index: -likeness[index])[:count])
    wanted |= {index - 1 for index in wanted if index and LEANING.match(sentences[index])}
    best = sorted(wanted)
    starts = [source.index(sentences[index]) for index in best]
    return [
        {"text": sentences[index], "start": start, "end": start + len(sentences[index])}
        for index, start in zip(best, starts, strict=True)
    ]


def explained(sentence: str) -> str:
    """The sentence with what each term of the glossary means behind its first mention; no word is replaced."""
    for term, meaning in GLOSSARY.items():
        sentence = re.sub(rf"\b({term})\b", rf"\1 ({meaning})", sentence, count=1, flags=re.IGNORECASE)
    return sentence


if __name__ == "__main__":
    main()
