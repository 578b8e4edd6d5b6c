"""The same script in one process and in two: `accelerate launch` shares each batch among them, and the result is the same.

    python examples/16_launch.py                                                    # does both, and compares
    accelerate launch --multi_gpu --num_processes 2 examples/16_launch.py runs/two  # the second by hand

On machines without a graphics card the processes talk by gloo, in spite of the flag's name.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import aigc_sdk
from aigc_sdk.training.corpus import sample_text

ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]  # what the command `accelerate launch` runs
FLAGS = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"


def train(folder: str) -> None:
    """What runs in every process; nothing in it knows how many there are."""
    print(f"process {os.environ.get('RANK', '0')} of {os.environ.get('WORLD_SIZE', '1')} trains", flush=True)
    trainer = aigc_sdk.trainer("gpt2", vocab_size=300, context=32, width=64, layers=2, heads=2)
    trainer.fit([sample_text()[:50_000]], max_steps=30, batch_size=16, save_to=folder)  # 16 rows over all processes


def main() -> None:
    """Both, and how far apart they are."""
    shutil.rmtree("runs/launch", ignore_errors=True)
    subprocess.run([sys.executable, __file__, "runs/launch/one"], check=True)
    subprocess.run([*ACCELERATE, *FLAGS.split(), __file__, "runs/launch/two"], check=True)

    logs = [Path(f"runs/launch/{name}/log.jsonl").read_text().splitlines() for name in ("one", "two")]
    for one, two in list(zip(*(map(json.loads, lines) for lines in logs), strict=True))[::10]:
        print(f"step {one['step']:2}: loss {one['loss']:.6f} in one process, {two['loss']:.6f} in two")
    weights = [load_file(f"runs/launch/{name}/model/model.safetensors") for name in ("one", "two")]
    apart = np.concatenate([abs(weights[0][name] - weights[1][name]).ravel() for name in weights[0]])
    print(
        f"half of the weights are within {np.median(apart):.0e}, the furthest is {apart.max():.0e} off: a sum in another order is"
    )
    print(
        "rounded otherwise, and an optimiser that divides by the size of the gradient enlarges that where it is next to 0"
    )


if __name__ == "__main__":
    train(sys.argv[1]) if len(sys.argv) > 1 else main()
