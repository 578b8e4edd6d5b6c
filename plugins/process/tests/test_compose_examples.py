"""The example of each domain runs offline with the default models, and what it promises is there."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from aigc_sdk import media
from aigc_sdk_process.finish import loudness

pytestmark = pytest.mark.docs

EXAMPLES = Path(__file__).parents[3] / "examples"
SAME = "the same, to the byte"

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--to", str(tmp_path)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_news_are_summed_up_in_the_articles_own_sentences_and_read_out(run: Run, tmp_path: Path) -> None:
    article = tmp_path / "article.txt"
    article.write_text("The river rose on Monday. Nobody was hurt. The bridge is closed. It opens again in May.")
    assert SAME in run("compose_news", str(article))
    chosen = json.loads((tmp_path / "summary.json").read_text())
    assert len(chosen) == 3
    assert all(article.read_text()[each["start"] : each["end"]] == each["text"] for each in chosen)
    assert (tmp_path / "bulletin.vtt").read_text().startswith("WEBVTT")


def test_advertising_ranks_variants_by_a_judge(run: Run, tmp_path: Path) -> None:
    assert SAME in run("compose_advertising")
    rows = (tmp_path / "copy.md").read_text().splitlines()[2:]
    values = [float(row.split("|")[1]) for row in rows]
    assert len(values) > 1
    assert values == sorted(values)


def test_a_dialogue_leads_to_a_quest_that_can_be_played(run: Run, tmp_path: Path) -> None:
    assert SAME in run("compose_dialogue")
    quest = json.loads((tmp_path / "quest.json").read_text())
    assert [each["do"] for each in quest["steps"]] == ["talk", "fetch", "bring"]
    assert {each["speaker"] for each in quest["dialogue"]} == {"Elder", "Traveller"}
    assert "Traveller: " in (tmp_path / "scene.srt").read_text()


def test_exercises_have_their_answers_among_the_choices(run: Run, tmp_path: Path) -> None:
    sheet = run("compose_exercises")
    assert sheet.count("____") + sheet.count("\\_\\_\\_\\_") == 5
    answers = sheet.split("## Answers")[1].strip().splitlines()
    choices = [line for line in sheet.splitlines() if line.startswith("   (a)")]
    for answer, line in zip(answers, choices, strict=True):
        assert answer.split(". ", 1)[1] in line
    assert "<h1>" in (tmp_path / "exercises.html").read_text()


def test_medical_text_comes_with_a_disclaimer_and_its_places_in_the_source(run: Run, tmp_path: Path) -> None:
    page = run("compose_medical")
    assert "It is no medical advice" in page
    source = page.split("## Source")[1].split("\n\n")[1]
    spans = json.loads((tmp_path / "spans.json").read_text())
    assert len(spans) >= 4
    assert all(source[each["start"] : each["end"]] == each["text"] for each in spans)


def test_a_product_film_has_narration_music_and_subtitles(run: Run, tmp_path: Path) -> None:
    assert SAME in run("compose_product")
    film = media.read(tmp_path / "product.mp4")
    assert film.sound is not None  # type: ignore[attr-defined]
    assert loudness.loudness(film.sound) == pytest.approx(-16, abs=0.5)  # type: ignore[attr-defined]
    assert (tmp_path / "product.srt").exists()
    assert (tmp_path / "poster.jpg").exists()


def test_designs_vary_along_latent_directions(run: Run, tmp_path: Path) -> None:
    assert SAME in run("compose_design")
    assert media.read(tmp_path / "chosen.png").pixels.shape == (512, 512, 3)  # type: ignore[attr-defined]
    assert (tmp_path / "variants.png").exists()


def test_a_prompt_becomes_a_narrated_film_and_a_rerun_makes_only_what_changed(run: Run, tmp_path: Path) -> None:
    assert SAME in run("narrated_film", "And the king said")
    with av.open(str(tmp_path / "film.mp4")) as file:
        pictures, sound = file.streams.video[0], file.streams.audio[0]
        lengths = [float((each.duration or 0) * (each.time_base or 0)) for each in (pictures, sound)]
        frames = sum(1 for _ in file.decode(pictures))
    assert abs(lengths[0] - lengths[1]) <= 0.04
    assert frames == round(lengths[0] * 25)
    assert "made nothing" in run("narrated_film", "And the king said", "--no-replay")
