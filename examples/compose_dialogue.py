"""Games: a dialogue between two characters with a voice each, and the quest that it leads to, as JSON for the engine.

    python examples/compose_dialogue.py [--writer FOLDER] [--to FOLDER]

The quest is a plan that is drawn by a seed, so that it can always be played; the model speaks around it. The default
writer knows the King James Bible alone, and the characters talk like it.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import aigc_sdk
from aigc_sdk import Audio, Generator, Text
from aigc_sdk.errors import InputError
from aigc_sdk_process import compose
from aigc_sdk_process.finish import audio, loudness, subtitles, text

VOICES = {"Elder": {"pitch": 0.8, "speed": 0.9}, "Traveller": {"pitch": 1.25, "speed": 1.05}}
PLACES, THINGS, REWARDS = (
    ("the well", "the hill", "the gate"),
    ("a lamp", "a harp", "a seal"),
    ("bread", "a ring", "a horse"),
)


def main() -> None:
    """Write quest.json, and the scene as it is heard, with subtitles."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--writer", default="gpt2", help="a backend or a folder of a model of texts")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--to", type=Path, default=Path("runs/dialogue"))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)

    quest = plan(asked.seed)
    writer, voice = aigc_sdk.load(asked.writer), aigc_sdk.load("tts")
    spoken: list[Audio] = []
    for turn, (speaker, opening) in enumerate(openings(quest)):
        words = said(writer, opening, asked.seed + 100 * turn)
        quest["dialogue"].append({"speaker": speaker, "text": str(words)})
        print(f"{speaker}: {words}")
        [speech] = compose.generate(voice, words, seed=turn, **VOICES[speaker])
        lines = subtitles.cues(speech, words)
        named = [{"start": each.start, "end": each.end, "text": f"{speaker}: {each.text}"} for each in lines]
        spoken.append(
            Audio(speech.samples, sample_rate=speech.sample_rate, origin=speech.origin, info={"sentences": named})
        )
    scene = loudness.normalized(audio.concatenate(spoken, gap=0.4), -18.0, peaks="limit")
    subtitles.save(subtitles.cues(scene), asked.to / "scene.srt")
    (asked.to / "quest.json").write_text(json.dumps(quest, indent=2), "utf-8")
    place = scene.save(asked.to / "scene.flac")
    print(f"{place}: {scene.duration:.1f} s; {compose.replay(place)}")


def plan(seed: int) -> dict[str, list[dict[str, str]]]:
    """What the player has to do, step by step."""
    draw = random.Random(seed)
    place, thing, reward = draw.choice(PLACES), draw.choice(THINGS), draw.choice(REWARDS)
    steps = [
        {"do": "talk", "to": "Elder"},
        {"do": "fetch", "what": thing, "from": place},
        {"do": "bring", "what": thing, "to": "Elder", "for": reward},
    ]
    return {"steps": steps, "dialogue": []}


def openings(quest: dict[str, list[dict[str, str]]]) -> list[tuple[str, str]]:
    """How each turn begins; the model goes on."""
    thing, place, reward = quest["steps"][1]["what"], quest["steps"][1]["from"], quest["steps"][2]["for"]
    return [
        ("Elder", f"Go to {place}, and bring me {thing}, for"),
        ("Traveller", "Why should I go? For"),
        ("Elder", f"I will give thee {reward}, and"),
    ]


def said(writer: Generator[Text], opening: str, seed: int) -> Text:
    """One sentence that begins so: of several drafts the first that ends."""
    for draft in writer.generate(opening, n=8, seed=seed, max_new_tokens=40):
        try:
            whole = text.tidy(text.finished(text.joined([opening, draft])))
        except InputError:
            continue
        return text.joined(text.sentences(whole)[: opening.count("?") + 1], " ")
    raise SystemExit(f"no draft that begins with {opening!r} ends; try another seed")


if __name__ == "__main__":
    main()
