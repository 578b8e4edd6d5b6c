"""Batch generation with Ray Data: each worker opens the model once, and what a row becomes depends on its number alone.

    pip install "aigc-sdk[ray]"
    python examples/17_ray.py

So the rows are the same by one worker or by a hundred, in whatever batches they come.
"""

import logging
import sys
from typing import Any

import numpy as np

import aigc_sdk

try:
    import ray
except ImportError:
    sys.exit('This example needs Ray, which takes 240 MB: pip install "aigc-sdk[ray]"')

SEED = 100
PROMPTS = ["In the beginning", "And the king said", "Blessed are they", "The voice of one"]


class Writer:
    """A worker."""

    def __init__(self, backend: str) -> None:
        self.model = aigc_sdk.load(backend)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Row i is written with the seed SEED + i: in one call for each stretch of rows that follow one another."""
        stretches = np.split(np.arange(len(batch["id"])), np.flatnonzero(np.diff(batch["id"]) != 1) + 1)
        texts = []
        for rows in stretches:
            first = SEED + int(batch["id"][rows[0]])
            texts += self.model.generate(
                [PROMPTS[each % 4] for each in batch["id"][rows]], seed=first, max_new_tokens=12
            )
        return {"id": batch["id"], "text": [str(each) for each in texts]}


def written(workers: int, rows: int) -> dict[int, str]:
    """Sixteen texts, by so many workers, so many rows at a time."""
    pool = ray.data.ActorPoolStrategy(size=workers)
    data = ray.data.from_items([{"id": each} for each in range(16)])
    made = data.map_batches(Writer, fn_constructor_args=("gpt2",), batch_size=rows, compute=pool)
    return {row["id"]: row["text"] for row in made.take_all()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel("ERROR")
    one, two = written(workers=1, rows=8), written(workers=2, rows=3)
    for row in range(4):
        print(f"{row}: {PROMPTS[row]}{' '.join(one[row].splitlines())}")
    print(f"{len(one)} rows; by one worker and by two: {'the same' if one == two else 'DIFFERENT'}")
