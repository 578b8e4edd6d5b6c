"""One training, logged to TensorBoard and to Weights & Biases at once, both without a network.

    pip install "aigc-sdk[tensorboard,wandb]"
    python examples/15_track.py

A tracker is an observer like any other: switched on for a block, and told of every step.
"""

import importlib.util
import os
from pathlib import Path

import aigc_sdk
from aigc_sdk.training import Tracker

os.environ.setdefault("WANDB_SILENT", "true")
trackers = []
for kind in ("tensorboard", "wandb"):
    if importlib.util.find_spec(kind) is None:
        print(f'{kind} is not installed: pip install "aigc-sdk[{kind}]"')
    else:
        trackers.append(Tracker(kind, f"runs/track/{kind}", name="digits"))

trainer = aigc_sdk.trainer("vae", size=16, classes=10)
with aigc_sdk.using(*trackers):
    for step in trainer.steps("digits/train", max_steps=100, validation="digits/test", evaluate_every=20):
        if "validation_loss" in step.metrics:
            print(f"step {step.index}: {step.metrics['validation_loss']:.1f} nats per held-out picture")
for tracker in trackers:
    tracker.close()
    print(f"\n{tracker.kind} wrote")
    for file in sorted(each for each in Path(f"runs/track/{tracker.kind}").rglob("*") if each.is_file()):
        print(f"  {file}, {file.stat().st_size:,} bytes")

print("\nLook at them: tensorboard --logdir runs/track/tensorboard")
print("Upload, if you want to: wandb sync runs/track/wandb/wandb/offline-run-*")
