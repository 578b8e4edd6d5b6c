"""How much a media file may claim before anything is allocated for it: a few kB can claim a terabyte."""

from __future__ import annotations

from .errors import MediaError

FILE_LIMIT = 2_000_000_000  # bytes
PIXEL_LIMIT = 64_000_000  # of one picture or frame; below the 89 million at which Pillow warns
DECODED_LIMIT = 2**31  # bytes of frames or samples; 11 seconds of 1920 x 1080 at 30 frames per second


def refuse_pixels(width: int, height: int) -> None:
    """Refuse one picture or frame that is larger than PIXEL_LIMIT."""
    if width * height > PIXEL_LIMIT:
        raise MediaError(f"it claims {width:,} x {height:,} pixels; the limit is {PIXEL_LIMIT:,}")


def refuse_bytes(size: int) -> None:
    """Refuse frames or samples that need more than DECODED_LIMIT in memory."""
    if size > DECODED_LIMIT:
        raise MediaError(f"it needs {size:,} bytes of memory or more; the limit is {DECODED_LIMIT:,}, so split it")
