"""Cleaning and near-deduplicating lines of text: aigc_sdk_process beside datasketch used plainly, each in a process of its own.

    python benchmarks/prepare_text.py [--lines 1000000] [--peer-lines 100000] [--seed 0]

The file is made first: lines of 12 to 30 words drawn by their frequency in the sample text, so that no two are alike by
chance; a tenth of them are near duplicates of earlier ones (other case, other punctuation, a letter wrong, a word left out),
a twentieth exact ones, and one in a hundred is to be cleaned away (empty, boilerplate, repetitive).

ours    read -> clean_texts -> deduplicate -> write, with the journal in a file; both of `--lines` and of `--peer-lines` lines.
peer    for each line, in lower case and without punctuation as ours compares them, a MinHash of 128 permutations of its
        5-character shingles, asked for in a MinHashLSH and inserted where nothing was found, as its documentation shows; of
        `--peer-lines` lines, because its memory grows by some kB a line.

Lines per second are of processor time, of which each side uses one core's, so that a busy machine matters little.
Recall is the share of planted duplicates that are left out, precision the share of planted ones among those left out as
duplicates. Memory is the peak of the process, beside what the imports alone take.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

from machine import processor

from aigc_sdk.training.corpus import sample_text

SIMILARITY = 0.8
NEAR, EXACT, DIRT = 0.1, 0.05, 0.01


def make(folder: Path, count: int, seed: int) -> None:
    """Write lines.txt, and planted.json: the numbers of the lines that duplicate an earlier one."""
    rng = random.Random(seed)
    frequency = Counter(sample_text().split())
    words, weights = list(frequency), list(accumulate(frequency.values()))
    planted: list[int] = []
    recent: list[str] = []
    with (folder / "lines.txt").open("w") as file:
        for number in range(1, count + 1):
            way = rng.random()
            if way < DIRT:
                line = rng.choice(("  ", "We use cookies to improve your visit.", "click here to win " * 9))
            elif recent and way < DIRT + EXACT + NEAR:
                line = rng.choice(recent)
                line = line if way < DIRT + EXACT else edited(line, rng)
                planted.append(number)
            else:
                line = " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(12, 30)))
                if len(recent) < 100_000:
                    recent.append(line)
                else:
                    recent[rng.randrange(len(recent))] = line
            file.write(line + "\n")
    (folder / "planted.json").write_text(json.dumps(planted))


def edited(line: str, rng: random.Random) -> str:
    """A copy as they are found."""
    words = line.split(" ")
    way = rng.randrange(4)
    if way == 0:
        return line.upper() + "!"
    if way == 1:
        return line.replace(" ", "  ").replace(",", ";") + "."
    if way == 2:
        place = rng.randrange(len(line))
        return line[:place] + "x" + line[place + 1 :]
    del words[rng.randrange(len(words))]
    return " ".join(words)


def ours(path: Path) -> dict[str, Any]:
    """Our pipeline."""
    from aigc_sdk_process import prepare

    base, start, worked = peak(), time.perf_counter(), time.process_time()
    with prepare.Journal(path.with_suffix(".drops.jsonl")) as journal:
        items = prepare.clean_texts(prepare.progress(prepare.read(path, journal), "read"), journal)
        kept = prepare.write(prepare.deduplicate(items, journal, similarity=SIMILARITY), path.with_suffix(".jsonl"))
        took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - worked}
        found = [int(drop.id.rpartition(":")[2]) for drop in journal.drops if "duplicate" in drop.reason]
    return {**took, "base": base, "peak": peak(), "kept": kept, "found": found, "reasons": journal.reasons}


def peer(path: Path) -> dict[str, Any]:
    """datasketch, as its documentation shows."""
    from datasketch import MinHash, MinHashLSH

    from aigc_sdk_process.prepare.minhash import plain  # so that both compare the same shingles

    base, start, worked = peak(), time.perf_counter(), time.process_time()
    index, found, kept = MinHashLSH(threshold=SIMILARITY, num_perm=128), [], 0
    with path.open() as file, path.with_suffix(".peer.txt").open("w") as clean:
        for number, line in enumerate(file, 1):
            text = plain(line)
            if text.isspace():
                continue
            sketch = MinHash(num_perm=128)
            sketch.update_batch([text[place : place + 5].encode() for place in range(max(1, len(text) - 4))])
            if index.query(sketch):
                found.append(number)
            else:
                index.insert(number, sketch)
                clean.write(line)
                kept += 1
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - worked}
    return {**took, "base": base, "peak": peak(), "kept": kept, "found": found}


def peak() -> float:
    """The most memory that this process had so far, in MB; of Linux, where rusage would count the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def measured(side: str, folder: Path, count: int) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    planted, found = set(json.loads((folder / "planted.json").read_text())), set(row.pop("found"))
    row["recall"] = len(planted & found) / len(planted)
    row["precision"] = len(planted & found) / max(1, len(found))
    return {"side": side, "lines": count, **row, "lines_per_second": count / row["cpu"]}


def main() -> None:
    """Make the files, measure, print a table and the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--peer-lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=["ours", "peer"])
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps((ours if asked.side == "ours" else peer)(asked.folder / "lines.txt")))
        return
    rows = []
    for count, sides in ((asked.peer_lines, ("peer", "ours")), (asked.lines, ("ours",))):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count, asked.seed)
            for side in sides:
                rows.append(measured(side, Path(folder), count))
                print(json.dumps(rows[-1]), flush=True)
    print(f"{processor()}; Jaccard index of 5-character shingles from {SIMILARITY} on")
    titles = ("side", "lines", "seconds", "CPU s", "lines/s", "peak MB", "imports MB", "recall", "precision")
    print("".join(f"{title:>11}" for title in titles))
    for row in rows:
        figures = [row[key] for key in ("seconds", "cpu", "lines_per_second", "peak", "base")]
        cells = [row["side"], f"{row['lines']:,}", *(f"{figure:,.0f}" for figure in figures)]
        print("".join(f"{cell:>11}" for cell in (*cells, f"{row['recall']:.4f}", f"{row['precision']:.4f}")))


if __name__ == "__main__":
    main()
