"""Training where the loop is yours: a new, small language model learns to spell, and is watched while it does.

    python examples/05_train.py

Logging is a line in the loop, early stopping is `break`, and between two steps the model can be tried.
"""

import shutil

import aigc_sdk
from aigc_sdk.training.corpus import sample_text, split

training, held_out = split(sample_text()[:400_000])  # the beginning of the King James Bible
shutil.rmtree("runs/train", ignore_errors=True)

trainer = aigc_sdk.trainer("gpt2", vocab_size=512, context=64, width=96, layers=2, heads=4)
run = trainer.steps(
    [training],
    max_steps=400,
    batch_size=16,
    learning_rate=4e-3,
    validation=[held_out[:8000]],
    evaluate_every=50,
    save_to="runs/train",
)
losses, before = [], float("inf")
for step in run:
    losses.append(step.metrics["loss"])
    if "validation_loss" not in step.metrics:
        continue
    now = step.metrics["validation_loss"]
    curve = "".join("▁▂▃▄▅▆▇█"[max(0, min(7, round(4 * (loss - 3))))] for loss in losses[::8])  # from 3 nats to 4.75
    [text] = trainer.model.generate("And the", seed=1, max_new_tokens=20)
    print(f"{step.index:4} {now:.2f} {curve:51}And the{' '.join(str(text).splitlines())}")
    if now > before - 0.02:
        break
    before = now

[text] = aigc_sdk.load("runs/train/best").generate("In the beginning", seed=7, max_new_tokens=50)
print(f"\nIn the beginning{text}")
