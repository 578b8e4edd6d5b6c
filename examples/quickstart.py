"""The whole way in three minutes, offline: generate, stream, fine-tune on a real text, generate again, replay.

    python examples/quickstart.py [FOLDER]

Everything it makes lies in FOLDER (runs/quickstart), with a page, index.html, that shows it.
"""

from __future__ import annotations

import html
import shutil
import sys
import time
from pathlib import Path
from pydoc_data import topics

import aigc_sdk

PROMPT = "The king said unto them,"
SECONDS = 60  # of fine-tuning


def main(folder: Path) -> None:
    """Run every step and leave the page."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = time.monotonic()

    say("1. Stream from the default model, trained on the King James Bible")
    model = aigc_sdk.load("gpt2")
    print(PROMPT, end="", flush=True)
    for piece in model.stream(PROMPT, seed=7, max_new_tokens=80):
        print(piece.text, end="", flush=True)
    print()

    say("2. Generate and save; the file carries its own recipe")
    [before] = model.generate(PROMPT, seed=7, max_new_tokens=80)
    story = before.save(folder / "before.txt")

    say("3. Replay the file")
    again = aigc_sdk.replay(story)
    print(f"{story.name}: {again}")

    say(f"4. Fine-tune on Python's own manual, for about {SECONDS} seconds")
    train, held_out = manual(folder)
    judge = aigc_sdk.evaluator("gpt2")
    bits_before = judge.evaluate([held_out.read_text()])["bits_per_byte"]
    tuned, curve = fine_tune(train)
    tuned.save(folder / "model")
    bits_after = aigc_sdk.evaluator("gpt2", folder / "model").evaluate([held_out.read_text()])["bits_per_byte"]
    print(f"bits per byte on held-out text: {bits_before.value:.3f} before, {bits_after.value:.3f} after")

    say("5. Generate again, same prompt, same seed")
    [after] = aigc_sdk.load(folder / "model").generate(PROMPT, seed=7, max_new_tokens=80)
    after.save(folder / "after.txt")
    print(PROMPT + after.text)

    page = folder / "index.html"
    page.write_text(show(before, after, bits_before, bits_after, curve, again), encoding="utf-8")
    say(f"Done in {time.monotonic() - started:.0f} s. Open {page}")


def manual(folder: Path) -> tuple[Path, Path]:
    """Two text files from the reference that comes with every Python: one to train on, one held out."""
    texts = [topics.topics[name] for name in sorted(topics.topics)]
    train, held_out = folder / "manual.txt", folder / "held-out.txt"
    train.write_text("\n\n".join(text for index, text in enumerate(texts) if index % 10), encoding="utf-8")
    held_out.write_text("\n\n".join(texts[::10]), encoding="utf-8")
    return train, held_out


def fine_tune(train: Path) -> tuple[aigc_sdk.Generator[aigc_sdk.Text], list[float]]:
    """The default model after a minute of training, and its loss at every step."""
    trainer = aigc_sdk.trainer("gpt2", "default")
    losses: list[float] = []
    started = time.monotonic()
    for step in trainer.steps(train, max_steps=1000, batch_size=8, schedule="constant", warmup_steps=10):
        losses.append(step.metrics["loss"])
        if step.index % 10 == 0:
            print(f"\rstep {step.index}  loss {step.metrics['loss']:.3f}  ", end="", flush=True)
        if time.monotonic() - started > SECONDS:  # early stopping is `break`
            break
    print()
    return trainer.model, losses


def show(
    before: aigc_sdk.Text,
    after: aigc_sdk.Text,
    bits_before: aigc_sdk.Score,
    bits_after: aigc_sdk.Score,
    curve: list[float],
    replayed: aigc_sdk.Replay,
) -> str:
    """The page."""
    top, width, height = max(curve), 640, 160
    points = " ".join(
        f"{index * width / max(1, len(curve) - 1):.1f},{height * (1 - loss / top):.1f}"
        for index, loss in enumerate(curve)
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>aigc_sdk quickstart</title>
<style>body{{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#223}}
pre{{background:#f5f5f0;padding:1rem;border-radius:.5rem;white-space:pre-wrap}}svg{{background:#f5f5f0;border-radius:.5rem}}
td{{padding-right:2rem}}</style>
<h1>aigc_sdk quickstart</h1>
<h2>Before fine-tuning</h2><pre><b>{html.escape(PROMPT)}</b>{html.escape(before.text)}</pre>
<p><code>before.txt</code>, replayed from its own file: {html.escape(str(replayed))}.</p>
<h2>Training loss, {len(curve)} steps</h2>
<svg viewBox="-8 -8 {width + 16} {height + 16}" width="100%">
<polyline points="{points}" fill="none" stroke="#36c" stroke-width="2"/></svg>
<table><tr><td>bits per byte, before</td><td>{bits_before.value:.3f}</td></tr>
<tr><td>bits per byte, after</td><td>{bits_after.value:.3f}</td></tr></table>
<p><small>{html.escape(bits_after.protocol)}; {bits_after.n} tokens or texts of Python's reference manual, held out</small></p>
<h2>After fine-tuning, same prompt and seed</h2><pre><b>{html.escape(PROMPT)}</b>{html.escape(after.text)}</pre>
<h2>How the last text was made</h2><pre>{html.escape(repr(dict(after.origin)))}</pre></html>
"""


def say(line: str) -> None:
    """A heading on the terminal."""
    print(f"\n\033[1m{line}\033[0m" if sys.stdout.isatty() else f"\n{line}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/quickstart"))
