"""Texts that the tests share: random ones of several scripts, and hand-picked ones."""

import random

import pytest

TALE = (
    "the of and a in to is was that it for on with he as his at by from they we say her she or an will my one all would "
    "there their what so up out if about who get which go me when make can like time no just him know take people into "
    "year your good some could them see other than then now look only come its over think also back after use two how"
)
WORDS = TALE.split()
ODD = [
    "U.S.",
    "3.14",
    "1,000",
    "don't",
    "well-known",
    "&quot;",
    "&amp;",
    "—",
    "¿qué?",
    "naïve",
    "Straße",
    "(a)",
    "x-1",
    "5-6",
    "…",
]
CHINESE = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
HAND_PICKED = [
    ("", ""),
    ("", "something"),
    ("something", ""),
    ("a", "a"),
    ("the the the the the the the", "the cat is on the mat"),
    ("A b C", "a B c"),
    ("one two three", "one two three"),
    ("  spaces   all\tover ", "spaces all over"),
    ("first line\nsecond line\n", "second line\nfirst line"),
    ("same words\nsame words", "same words"),
    ("\n\n", "\n"),
    ("...", "!!!"),
    ("i\u0307stanbul İSTANBUL", "istanbul"),
    ("天地玄黄", "天地玄黄宇宙"),
    ("mixed 天地 text 42", "mixed 天地 42"),
    ("<skipped> hello- \nworld", "hello world"),
    ("a" * 200, "a" * 199),
]


def sentence(rng: random.Random, longest: int = 30) -> str:
    """Words, odd things, ends of lines."""
    kind = rng.random()
    if kind < 0.1:
        return "".join(rng.choices(CHINESE, k=rng.randint(0, longest)))
    words = [
        rng.choice(ODD) if rng.random() < 0.1 else rng.choice(WORDS[: rng.choice([5, 20, 80])])
        for _ in range(rng.randint(0, longest))
    ]
    glue = "\n" if kind > 0.85 else " "
    return "".join(word + (glue if rng.random() < 0.2 else rng.choice([" ", " ", " ", ", ", ". "])) for word in words)


def altered(rng: random.Random, text: str) -> str:
    """The same with some words gone, other or twice, or the order of lines changed."""
    pieces = text.split(" ")
    found = [word for word in pieces if rng.random() > 0.1 for _ in range(1 + (rng.random() < 0.05))]
    found = [rng.choice(WORDS) if rng.random() < 0.1 else word for word in found]
    lines = " ".join(found).split("\n")
    if rng.random() < 0.2:
        rng.shuffle(lines)
    return "\n".join(lines)


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    """2,000 pairs of a text and its reference."""
    rng = random.Random(7)
    found = list(HAND_PICKED)
    while len(found) < 2000:
        reference = sentence(rng)
        found.append((altered(rng, reference) if rng.random() < 0.8 else sentence(rng), reference))
    return found


@pytest.fixture(scope="session")
def several(pairs: list[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """500 texts with one to four references each."""
    rng = random.Random(8)
    return [
        (text, (reference, *(altered(rng, reference) for _ in range(rng.randint(0, 3)))))
        for text, reference in pairs[:500]
    ]
