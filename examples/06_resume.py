"""Kill a training with SIGKILL in the middle, go on, and compare every byte with a run that nobody disturbed.

python examples/06_resume.py
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import aigc_sdk
from aigc_sdk.training.corpus import sample_text

RUNS = Path("runs/resume")


def train(folder: Path) -> None:
    """The run of this script; `resume=True` begins it where there is nothing to go on from."""
    trainer = aigc_sdk.trainer("gpt2", vocab_size=300, context=32, width=64, layers=2, heads=2, dropout=0.1)
    trainer.fit([sample_text()[:50_000]], max_steps=60, batch_size=8, save_to=folder, save_every=5, resume=True)


def started(folder: Path) -> subprocess.Popen[bytes]:
    """The same run in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, str(folder)])


def main() -> None:
    """Kill it twice, then look."""
    shutil.rmtree(RUNS, ignore_errors=True)
    for checkpoint in ("checkpoint-000015", "checkpoint-000040"):
        child = started(RUNS / "killed")
        while not (RUNS / "killed" / checkpoint).exists():
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        print(f"after {checkpoint}: killed, exit status {child.wait()}")
    print(f"to the end: exit status {started(RUNS / 'killed').wait()}")
    print(f"never disturbed: exit status {started(RUNS / 'whole').wait()}")

    for name in (
        "model/model.safetensors",
        "checkpoint-000060/state.safetensors",
        "log.jsonl",
    ):  # the optimiser's state too
        one, other = ((RUNS / run / name).read_bytes() for run in ("killed", "whole"))
        print(f"{name}: {len(one):,} bytes, {'the same' if one == other else 'DIFFERENT'}")


if __name__ == "__main__":
    train(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
