"""The sample text of the text plugins, the King James Bible, and its held-out split; `text/NOTICE.md` states its rights."""

from __future__ import annotations

import lzma
from importlib.resources import files
from itertools import pairwise

CHUNKS = 10
HELD_OUT = 0.05  # of every chunk, at its end


def sample_text() -> str:
    """The whole text: 4,236,035 characters of ASCII, one verse a line."""
    packed = files("aigc_sdk.training").joinpath("text", "kjv.txt.xz").read_bytes()
    return lzma.decompress(packed).decode("ascii")


def split(text: str) -> tuple[str, str]:
    """`text` as (training, held-out): in each of 10 equal chunks the last 5 % is held out.

    Spreading the held-out part makes it resemble the whole: of the sample text, 211,810 bytes are held out.
    """
    size = len(text) // CHUNKS
    bounds = [*range(0, CHUNKS * size, size), len(text)]
    training, held_out = [], []
    for start, stop in pairwise(bounds):
        cut = start + int((stop - start) * (1 - HELD_OUT))
        training.append(text[start:cut])
        held_out.append(text[cut:stop])
    return "".join(training), "".join(held_out)
