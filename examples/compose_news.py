"""News: a summary made of the article's own sentences, with their places in it, and read out as a bulletin.

    python examples/compose_news.py [ARTICLE.txt] [--encoder FOLDER] [--to FOLDER]

Nothing is written that the article does not say: the sentences nearest to all others are taken as they are. The default
encoder is small and has read the King James Bible; give a real one for real work.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import aigc_sdk
from aigc_sdk_process import compose
from aigc_sdk_process.finish import loudness, subtitles, text

ARTICLE = """The city council voted on Tuesday to turn the old harbour into a public park. Work begins in March and should take
two years. The park will have a beach, a playground and a path for bicycles along the water. Eleven members voted for the
plan, and four against it. Those who opposed it said that the harbour should be kept for ships. The mayor answered that no
ship had used the harbour for nine years. Part of the money comes from the sale of two warehouses. The council will show the
drawings of the park in the town hall next week."""


def main() -> None:
    """Write summary.txt, summary.json with the places, and the bulletin with its subtitles."""
    parser = argparse.ArgumentParser()
    parser.add_argument("article", nargs="?", type=Path)
    parser.add_argument("--encoder", default="bert", help="a backend or a folder whose model has `similarity`")
    parser.add_argument("--to", type=Path, default=Path("runs/news"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    article = " ".join((asked.article.read_text("utf-8") if asked.article else ARTICLE).split())

    chosen = central(asked.encoder, article, 3)
    summary = text.joined([each["text"] for each in chosen], " ")
    summary.save(asked.to / "summary.txt")
    (asked.to / "summary.json").write_text(json.dumps(chosen, indent=2), "utf-8")
    for each in chosen:
        print(f"characters {each['start']}-{each['end']}, centrality {each['centrality']:.3f}: {each['text']}")

    [speech] = compose.generate(aigc_sdk.load("tts"), summary, seed=0)
    bulletin = loudness.normalized(speech, -16.0, peaks="limit").save(asked.to / "bulletin.wav")
    subtitles.save(subtitles.cues(speech, summary), asked.to / "bulletin.vtt")
    print(f"{bulletin}: {speech.duration:.1f} s; {compose.replay(bulletin)}")


def central(encoder: str, article: str, count: int) -> list[dict[str, object]]:
    """The sentences that are most like all others, in the order of the article (Radev et al. 2004: centroid summaries)."""
    sentences = text.sentences(article)
    likeness = aigc_sdk.load(encoder).similarity(sentences, sentences)  # type: ignore[attr-defined]
    centrality = (likeness.sum(axis=1) - 1) / max(1, len(sentences) - 1)
    best = sorted(sorted(range(len(sentences)), key=lambda index: -centrality[index])[:count])
    found = []
    for index in best:
        start = article.index(sentences[index])
        found.append(
            {
                "text": sentences[index],
                "start": start,
                "end": start + len(sentences[index]),
                "centrality": float(centrality[index]),
            }
        )
    return found


if __name__ == "__main__":
    main()
