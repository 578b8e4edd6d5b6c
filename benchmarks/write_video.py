"""Writing MP4 beside imageio-ffmpeg where that is installed, both by x264 at the same settings: speed, and memory of long clips.

    python benchmarks/write_video.py [--quick] [--minutes 10]

The wheel of imageio-ffmpeg (68 MB) brings its own ffmpeg. Each write is a process of its own, so that its
peak of memory is its own; the frames are made as they are written, and the time to make them alone is taken off. Ours has
x264 take four threads everywhere, so that the bytes are always the same; the peer is measured with four and with as many as
it likes to take. Its ffmpeg is a second process: its seconds of CPU count, and its memory is shown apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor
from numpy.typing import NDArray

ALL = ("ours", "peer, 4 threads", "peer, its threads")
WRITERS = ALL if importlib.util.find_spec("imageio_ffmpeg") else ALL[:1]
SETTINGS = ("-crf", "18", "-preset", "medium", "-x264-params", "mbtree=0")


def frames(count: int, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Coloured blobs that drift over a slope, with a little noise, as cameras have."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: 2 * height, : 2 * width]
    scene = np.stack([(np.sin(x / a) + np.cos(y / b)) * 55 + 120 for a, b in ((31, 17), (23, 41), (13, 29))], -1)
    scene = (scene + rng.normal(0, 4, scene.shape)).clip(0, 255).astype(np.uint8)
    for index in range(count):
        top, left = index % height, 2 * index % width
        yield np.ascontiguousarray(scene[top : top + height, left : left + width])


def write(writer: str, path: str, count: int, height: int, width: int) -> None:
    """Write the clip by one of ALL."""
    if writer == "ours":
        from aigc_sdk import media

        media.write_film(path, frames(count, height, width), 24, quality=18)
        return
    import imageio_ffmpeg

    threads = ("-threads", "4") if writer == ALL[1] else ()
    film = imageio_ffmpeg.write_frames(
        path,
        (width, height),
        fps=24,
        quality=None,
        codec="libx264",
        macro_block_size=2,
        output_params=[*SETTINGS, *threads],
    )
    film.send(None)
    for frame in frames(count, height, width):
        film.send(frame)
    film.close()


def measured(writer: str, *size: int) -> dict[str, float]:
    """One clip written in a process of its own: seconds, of the clock and of CPU; MB of memory, ours and its ffmpeg's."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--write", writer, folder, *map(str, size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
    return found


def alone(writer: str, folder: str, count: int, height: int, width: int) -> None:
    path = Path(folder) / "a.mp4"
    write(writer, str(path), 2, height, width)  # imports, and what is read for the first time
    start = clocks()
    for _ in frames(count, height, width):
        pass
    between = clocks()
    write(writer, str(path), count, height, width)
    seconds, cpu = (after - 2 * middle + before for before, middle, after in zip(start, between, clocks(), strict=True))
    mine, child = (resource.getrusage(who).ru_maxrss / 1000 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mb": mine, "child_mb": child, "size": path.stat().st_size}))


def clocks() -> tuple[float, float]:
    """Seconds by the clock, and of CPU, those of the processes that were started and have ended among them."""
    return time.perf_counter(), sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few frames: does it run?")
    parser.add_argument("--minutes", type=float, default=10, help="length of the long clip, which is 320 x 180")
    parser.add_argument("--write", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        writer, folder, *size = arguments.write
        alone(writer, folder, *map(int, size))
        return
    print(f"{processor()}, {os.cpu_count()} cores; x264 {' '.join(SETTINGS)}")
    rounds, count = (1, 24) if arguments.quick else (5, 240)
    for height, width in ((180, 320), (480, 854), (720, 1280)):
        runs: dict[str, list[dict[str, Any]]] = {writer: [] for writer in WRITERS}
        for _ in range(rounds):  # in turn, so that a busy moment hits all
            for writer in WRITERS:
                runs[writer].append(measured(writer, count, height, width))
        print(f"{count} frames of {width} x {height}, the median of {rounds}")
        for writer, found in runs.items():
            wall, cpu = (statistics.median(each[key] for each in found) for key in ("seconds", "cpu"))
            print(
                f"  {writer:18} {count / wall:7.1f} frames/s, {1000 * cpu / count:6.2f} ms of CPU a frame, {found[0]['size']} B"
            )
    long = 100 if arguments.quick else round(arguments.minutes * 60 * 24)
    for count in (long // 10, long):
        for writer in WRITERS[:2]:
            found_long = measured(writer, count, 180, 320)
            print(
                f"{count / 24 / 60:.1f} min of 320 x 180, {writer}: {count / found_long['seconds']:.0f} frames/s, "
                f"peak {found_long['mb']:.0f} MB + {found_long['child_mb']:.0f} MB in its ffmpeg"
            )


if __name__ == "__main__":
    main()
