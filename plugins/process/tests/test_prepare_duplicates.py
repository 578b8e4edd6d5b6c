"""Duplicates of every kind are found, planted ones with few mistakes, within a data set and across its splits."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from aigc_sdk import Audio, Image, Text, Video
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk.training.corpus import sample_text
from aigc_sdk_process import prepare
from aigc_sdk_process.prepare import minhash, prints


def items(texts: list[str]) -> list[prepare.Item]:
    return [prepare.Item(f"t{index}", Text(text)) for index, text in enumerate(texts)]


def verses(count: int) -> list[str]:
    return [line for line in sample_text()[:600_000].split("\n") if line][:count]


def edited(text: str, rng: np.random.Generator) -> str:
    """A copy as they are found: in other case, other punctuation, with a letter wrong or a word left out."""
    words = text.split(" ")
    way = rng.integers(4)
    if way == 0:
        return text.upper() + "!"
    if way == 1:
        return "  ".join(words).replace(",", ";")
    if way == 2:
        place = int(rng.integers(len(text)))
        return text[:place] + "x" + text[place + 1 :]
    del words[int(rng.integers(len(words)))]
    return " ".join(words)


def test_planted_near_duplicates_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    originals = [each for each in dict.fromkeys(verses(3000)) if len(each) > 100]
    journal = prepare.Journal()
    distinct = list(prepare.deduplicate(items(originals), journal))  # the book itself repeats some verses
    texts = [str(item.artifact) for item in distinct]
    copies = [edited(text, rng) for text in texts[:600]]
    journal = prepare.Journal()
    kept = list(prepare.deduplicate(items(texts + copies), journal))
    dropped = {int(drop.id[1:]): drop for drop in journal.drops}
    planted = set(range(len(texts), len(texts) + len(copies)))
    right = sum(drop.detail.startswith(f"of t{index - len(texts)},") for index, drop in dropped.items())
    assert len(planted & set(dropped)) / len(planted) >= 0.95
    assert right / len(dropped) >= 0.99
    assert len(kept) + len(dropped) == len(texts) + len(copies)


def test_every_pair_that_is_alike_enough_is_found_as_brute_force_finds_it(tmp_path: Path) -> None:
    texts = verses(700)

    def shingles(text: str) -> set[str]:
        plain = minhash.plain(text)
        return {plain[start : start + 5] for start in range(len(plain) - 4)}

    sets = [shingles(text) for text in texts]
    wanted = {}
    for later in range(len(texts)):
        for earlier in range(later):
            one, two = sets[later], sets[earlier]
            if min(len(one), len(two)) >= 0.7 * max(len(one), len(two)):
                jaccard = len(one & two) / len(one | two)
                if jaccard >= 0.7:
                    wanted[later, earlier] = jaccard
    found = {
        (each.later, each.earlier): each.similarity for each in minhash.matches(texts, 0.7, tmp_path, greedy=False)
    }
    assert len(wanted) > 10
    assert set(found) <= set(wanted)
    assert len(found) >= 0.95 * len(wanted)
    assert all(found[pair] == pytest.approx(wanted[pair], abs=1e-6) for pair in found)


def test_everything_left_out_is_alike_something_that_stays() -> None:
    words = verses(40)
    texts = [" ".join(words[:20]) + " " + " ".join(words[20:last]) for last in range(20, 40)]
    journal = prepare.Journal()
    kept = {item.id for item in prepare.deduplicate(items(texts), journal, similarity=0.9)}
    assert len(kept) > 2
    assert journal.dropped > 2
    assert all(drop.detail.removeprefix("of ").split(",")[0] in kept for drop in journal.drops)


def test_equal_texts_are_told_from_near_ones_and_can_be_all_that_is_wanted() -> None:
    texts = ["A sentence that is long enough to count.", "Another one altogether, of other words."] * 2
    texts.append("a sentence that is long enough to count")
    journal = prepare.Journal()
    assert len(list(prepare.deduplicate(items(texts), journal))) == 2
    assert journal.reasons == {"duplicate": 2, "near duplicate": 1}
    journal = prepare.Journal()
    assert len(list(prepare.deduplicate(items(texts), journal, near=False))) == 3
    assert journal.reasons == {"duplicate": 2}


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    given = [
        prepare.Item(
            "a", Text("one\nline \ud800", info={"words": [1, 2.5]}, origin={"seed": 1}), {"label": "x", "n": None}
        ),
        prepare.Item("b", Text("")),
        prepare.Item("c", Text("短")),
    ]
    found = list(prepare.deduplicate(given, prepare.Journal(), folder=tmp_path))
    assert found == given
    assert [(each.artifact.info, each.artifact.origin) for each in found[:1]] == [({"words": [1, 2.5]}, {"seed": 1})]
    assert not list(tmp_path.iterdir())


def test_the_parts_of_a_large_index_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = verses(1500)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = list(minhash.matches(texts, 0.8, tmp_path / "a"))
    monkeypatch.setattr(minhash, "SORTED", 100)
    monkeypatch.setattr(minhash, "WINDOW", 50)
    monkeypatch.setattr(minhash, "TOGETHER", 64)
    assert list(minhash.matches(texts, 0.8, tmp_path / "b")) == whole
    assert whole


MEASURED = """
import random, resource, sys
from aigc_sdk import Text
from aigc_sdk_process import prepare
rng, words = random.Random(1), [f"w{number}" for number in range(5000)]
items = (prepare.Item(str(index), Text(" ".join(rng.choices(words, k=60)))) for index in range(int(sys.argv[1])))
kept = sum(1 for _ in prepare.deduplicate(items, prepare.Journal()))
assert kept == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_texts() -> None:
    """Texts, shingles and keys are on disk: here some 2 kB a text."""
    pytest.importorskip("resource")

    def peak(count: int) -> int:
        command = [sys.executable, "-c", MEASURED, str(count)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # in kB

    assert peak(16_000) - peak(6_000) <= 6_000


def test_a_leak_between_splits_is_found() -> None:
    texts = list(dict.fromkeys(verses(900)))
    distinct = [str(item.artifact) for item in prepare.deduplicate(items(texts), prepare.Journal(), similarity=0.5)]
    train, test = items(distinct[:500]), items(distinct[500:600])
    test = [prepare.Item(f"test-{item.id}", item.artifact) for item in test]
    rng = np.random.default_rng(3)
    leaked = [prepare.Item(f"leak-{index}", Text(edited(distinct[index], rng))) for index in range(0, 100, 5)]
    exact = [prepare.Item("exact", Text(distinct[7]))]
    found = prepare.leakage({"train": train, "test": [*test, *leaked, *exact, *exact]})
    assert {leak.of for leak in found.leaks} <= {item.id for item in train}
    assert len(found.ids("test") & {item.id for item in leaked}) >= 19
    assert "exact" in found.ids("test")
    assert not found.ids("test") & {item.id for item in test}
    assert found.ids("train") == frozenset()
    assert found.sizes == {"train": 500, "test": 122}
    assert found.within == {"test": 1}
    assert "in test are in train too" in str(found)
    journal = prepare.Journal()
    kept = list(prepare.without_leaks([*test, *leaked], "test", found, journal))
    assert len(kept) + journal.dropped == 120
    assert journal.reasons.keys() == {"leak"}


def photographs() -> list[Image]:
    """Parts of two photographs that come with scikit-learn."""
    samples = pytest.importorskip("sklearn.datasets").load_sample_images().images
    return [
        Image(np.ascontiguousarray(picture[top : top + 200, left : left + 200]))
        for picture in samples
        for top in range(0, 400 - 200 + 1, 100)
        for left in range(0, 600 - 200 + 1, 100)
    ]


def recoded(image: Image, change: Callable[[PIL.Image.Image], PIL.Image.Image], quality: int) -> Image:
    file = io.BytesIO()
    change(image.to_pil()).save(file, "JPEG", quality=quality)
    return Image.from_pil(PIL.Image.open(file))


def test_pictures_that_were_coded_scaled_or_made_brighter_are_found() -> None:
    originals = photographs()
    changes = [
        lambda picture: picture,
        lambda picture: picture.resize((160, 160)),
        lambda picture: picture.point(lambda value: min(255, value + 12)),
    ]
    copies = [recoded(image, changes[index % 3], 40) for index, image in enumerate(originals)]
    given = [
        prepare.Item(f"{kind}{index}", each)
        for kind, some in (("o", originals), ("c", copies))
        for index, each in enumerate(some)
    ]
    journal = prepare.Journal()
    kept = [item.id for item in prepare.deduplicate(given, journal)]
    assert kept == [f"o{index}" for index in range(len(originals))]
    assert all(drop.detail.startswith(f"of o{drop.id[1:]},") for drop in journal.drops)


def test_a_leak_of_pictures_is_found_behind_a_copy_within_the_split() -> None:
    first, second, *_ = photographs()
    leaked = recoded(first, lambda picture: picture, 40)
    test = [prepare.Item(name, each) for name, each in (("one", leaked), ("two", leaked), ("other", second))]
    found = prepare.leakage({"train": [prepare.Item("o", first)], "test": test})
    assert found.ids("test") == {"one", "two"}
    assert found.within == {"test": 1}


def test_the_hash_of_a_picture_is_imagehash_s() -> None:
    imagehash = pytest.importorskip("imagehash")
    for image in photographs()[:6]:
        assert f"{prints.picture_hash(image.pixels):016x}" == str(imagehash.phash(image.to_pil()))


def test_pictures_of_one_colour_are_told_apart_by_it() -> None:
    given = [
        prepare.Item(name, Image(np.full((32, 32, 3), colour, np.uint8)))
        for name, colour in (("black", 0), ("white", 255))
    ]
    assert len(list(prepare.deduplicate(given, prepare.Journal()))) == 2


def tune(seed: int, seconds: float = 3.0) -> Audio:
    """Notes at random, with overtones and a little noise."""
    rng = np.random.default_rng(seed)
    rate, parts = 16_000, []
    for _ in range(round(seconds / 0.15)):
        times = np.arange(int(0.15 * rate)) / rate
        note = sum(np.sin(2 * np.pi * overtone * rng.uniform(150, 700) * times) / overtone for overtone in (1, 2, 3))
        parts.append(note * np.exp(-4 * times))
    samples = np.concatenate(parts) * 0.2 + rng.normal(0, 0.002, sum(map(len, parts)))
    return Audio(samples.clip(-1, 1).astype(np.float32)[None], sample_rate=rate)


def test_sounds_that_were_coded_shifted_or_made_softer_are_found(tmp_path: Path) -> None:
    originals = [tune(seed) for seed in range(6)]
    given = [prepare.Item(f"o{index}", sound) for index, sound in enumerate(originals)]
    for index, sound in enumerate(originals):
        samples = sound.samples * 0.4 if index % 2 else np.pad(sound.samples, ((0, 0), (3000, 0)))
        Audio(samples.astype(np.float32), sample_rate=16_000).save(
            tmp_path / f"c{index}.{'mp3' if index % 2 else 'ogg'}"
        )
    given += list(prepare.read(tmp_path, prepare.Journal()))
    journal = prepare.Journal()
    kept = [item.id for item in prepare.deduplicate(given, journal)]
    assert kept == [f"o{index}" for index in range(6)], str(journal)


def test_the_index_of_sounds_finds_the_same_when_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [prepare.Item(f"n{index}", tune(index % 5)) for index in range(10)]
    found = []
    for recent in (prints.RECENT, 300):
        monkeypatch.setattr(prints, "RECENT", recent)
        index = prints.SoundPrints(0.75)
        found.append([])
        for item in given:
            found[-1].append(index.find(item.artifact))  # type: ignore[arg-type]
            index.add()
    assert found[0] == found[1] == [None] * 5 + [(index, 1.0) for index in range(5)]


def film(seed: int, fps: int = 12, size: int = 64) -> Video:
    """Soft shapes that move."""
    rng = np.random.default_rng(seed)
    noise = [PIL.Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)) for _ in range(3)]
    frames = []
    for time in np.arange(2 * fps) / fps:
        one, two = noise[int(time)], noise[int(time) + 1]
        mixed = PIL.Image.blend(one, two, time % 1)
        frames.append(np.asarray(mixed.resize((size, size), PIL.Image.Resampling.BICUBIC)))
    return Video(np.stack(frames), fps=fps)


def test_films_at_another_rate_and_size_are_found(tmp_path: Path) -> None:
    given = [prepare.Item(f"o{seed}", film(seed)) for seed in range(4)]
    for seed in range(4):
        film(seed, fps=24 if seed % 2 else 12, size=48).save(tmp_path / f"c{seed}.mp4")
    given += list(prepare.read(tmp_path, prepare.Journal()))
    journal = prepare.Journal()
    assert [item.id for item in prepare.deduplicate(given, journal)] == [f"o{seed}" for seed in range(4)]
    assert [drop.detail[:5] for drop in journal.drops] == [f"of o{seed}" for seed in range(4)]


def test_bad_calls_are_refused() -> None:
    good = items(["one", "two"])
    picture = prepare.Item("p", Image(np.zeros((2, 2, 3), np.uint8)))
    for similarity in (0, 1.5, "high", True):
        with pytest.raises(OptionError, match="similarity"):
            prepare.deduplicate(good, prepare.Journal(), similarity=similarity)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="folder"):
        prepare.deduplicate(good, prepare.Journal(), folder="/nowhere/at/all")
    with pytest.raises(DataError, match="is of kind 'image'"):
        list(prepare.deduplicate([*good, picture], prepare.Journal()))
    with pytest.raises(DataError, match="facts that JSON cannot hold"):
        list(prepare.deduplicate([prepare.Item("a", Text("x"), {"when": object()})], prepare.Journal()))
    with pytest.raises(DataError, match="splits"):
        prepare.leakage([good])  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="the splits are a, b"):
        prepare.leakage({"a": good, "b": good}).ids("c")
    with pytest.raises(DataError, match="compare each kind by itself"):
        prepare.leakage({"a": good, "b": [picture]})
    assert list(prepare.deduplicate([], prepare.Journal())) == []
