"""Films laid out for VBench (Huang et al. 2024), which judges folders of `PROMPT-INDEX.mp4`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aigc_sdk.artifacts import Video
from aigc_sdk.errors import DataError, printable, shown

LONGEST = 255  # bytes of a file's name
FORBIDDEN = '/\\:*?"<>|'


def write_vbench(films: Sequence[Video], folder: str | Path, prompts: Sequence[str] | None = None) -> list[Path]:
    """Write each film as PROMPT-INDEX.mp4, with the index counting up from 0 for films of one prompt; returns the paths.

    VBench wants five films per prompt, 0 to 4, of its own prompts. prompts: one each; None takes those in the films' origins.
    Raises DataError before anything is written for a prompt that no file can be named after, and for a name that is there.
    """
    if not films or not all(isinstance(each, Video) for each in films):
        raise DataError("films must be one Video or more", field="films")
    if prompts is not None and len(prompts) != len(films):
        raise DataError(f"{len(prompts)} prompts for {len(films)} films; pass one each", field="prompts")
    given = [each.origin.get("prompt") for each in films] if prompts is None else list(prompts)
    names = _names(given)
    place = Path(folder)
    for name in names:
        if (place / name).exists():
            raise DataError(f"{printable(str(place / name))} is there already; choose another folder", field="folder")
    place.mkdir(parents=True, exist_ok=True)
    return [film.save(place / name) for film, name in zip(films, names, strict=True)]


def _names(prompts: Sequence[object]) -> list[str]:
    counts: Counter[str] = Counter()
    names = []
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip() or not prompt.isprintable():
            raise DataError(
                f"prompts[{index}] is {shown(prompt)}; give the text that the film was made of", field="prompts"
            )
        name = f"{prompt}-{counts[prompt]}.mp4"
        bad = sorted(set(prompt) & set(FORBIDDEN))
        if bad or prompt.startswith(".") or len(name.encode("utf-8", "replace")) > LONGEST:
            what = f"prompts[{index}], {printable(prompt, 60)!r}, cannot name a file"
            rule = f"it may not have {FORBIDDEN} or begin with a dot, and with its ending has at most {LONGEST} bytes"
            raise DataError(f"{what}: {rule}", field="prompts")
        counts[prompt] += 1
        names.append(name)
    return names
