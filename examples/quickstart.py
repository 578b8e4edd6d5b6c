"""The whole way in two minutes, offline: generate, stream, replay, fine-tune on a real text; pictures; speech; a film.

    python examples/quickstart.py [FOLDER]

Everything it makes lies in FOLDER (runs/quickstart), with a page, index.html, that shows it.
"""

from __future__ import annotations

import html
import json
import shutil
import sys
import time
from pathlib import Path
from pydoc_data import topics

import aigc_sdk
from aigc_sdk import media

PROMPT = "The king said unto them,"
SPOKEN = "In 2026, a small voice costs $0.00, and speaks at once."
FILMED = "a 3 moving left and a 7 moving up"
SECONDS = 60  # of fine-tuning
LINE_END = "\r" if sys.stdout.isatty() else "\n"


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

    say("6. Digits from the GAN, a column each; and what the numbers of the VAE's latent mean")
    digits, traversal = pictures(folder)
    print(f"{digits}: {aigc_sdk.replay(folder / 'seven.png')} (seven.png)\n{traversal}")

    say("7. Speak")
    [speech] = aigc_sdk.load("tts").generate(SPOKEN, seed=0)
    print(f"{speech.save(folder / 'speech.wav')}: {speech.duration:.1f} s, {speech.info['normalized']}")

    say("8. Film")
    [film] = aigc_sdk.load("video").generate(FILMED, seed=0, num_frames=48)
    film.sheet(columns=12, scale=2).save(folder / "film.png")
    print(f"{film.save(folder / 'film.gif')}: {film.duration:.0f} s, {FILMED}; its frames are in film.png")

    page = folder / "index.html"
    page.write_text(show(before, after, bits_before, bits_after, curve, again), encoding="utf-8")
    say(f"Done in {time.monotonic() - started:.0f} s. Open {page}")


def manual(folder: Path) -> tuple[Path, Path]:
    """Two text files from the reference that comes with every Python: one to train on, one held out."""
    texts = [unwrapped(topics.topics[name]) for name in sorted(topics.topics)]
    train, held_out = folder / "manual.txt", folder / "held-out.txt"
    train.write_text("\n\n".join(text for index, text in enumerate(texts) if index % 10), encoding="utf-8")
    held_out.write_text("\n\n".join(texts[::10]), encoding="utf-8")
    return train, held_out


def unwrapped(text: str) -> str:
    """Paragraphs without what lays them out: line ends, spaces, and lines drawn under titles."""
    return "\n\n".join(" ".join(word for word in each.split() if not drawn(word)) for each in text.split("\n\n"))


def drawn(word: str) -> bool:
    """Whether it is one sign over and over."""
    return len(word) > 3 and len(set(word)) == 1 and not word.isalnum()


def fine_tune(train: Path) -> tuple[aigc_sdk.Generator[aigc_sdk.Text], list[float]]:
    """The default model after a minute of training, and its loss at every step."""
    trainer = aigc_sdk.trainer("gpt2", "default")
    losses: list[float] = []
    started = time.monotonic()
    for step in trainer.steps(train, max_steps=1000, batch_size=8, schedule="constant", warmup_steps=10):
        losses.append(step.metrics["loss"])
        passed = time.monotonic() - started
        if step.index % (10 if sys.stdout.isatty() else 100) == 0:
            line = f"step {step.index}  loss {step.metrics['loss']:.3f}  {step.index / passed:.1f} steps/s"
            print(f"{line}  {max(0, SECONDS - passed):.0f} s left  ", end=LINE_END, flush=True)
        if passed > SECONDS:  # early stopping is `break`
            break
    print(f"{len(losses)} steps, loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last")
    return trainer.model, losses


def pictures(folder: Path) -> tuple[Path, Path]:
    """Two sheets of pictures from the default models: ten of every digit, and one digit changed in a latent per row."""
    gan = aigc_sdk.load("gan")
    columns = [gan.generate(n=10, label=digit, seed=10 * digit) for digit in range(10)]
    columns[7][0].save(folder / "seven.png")
    rows = [column[row] for row in range(10) for column in columns]
    digits = media.grid(rows, columns=10, scale=3).save(folder / "digits.png")
    vae = aigc_sdk.load("vae")
    changed = vae.traverse(label=3, latents=(1, 5, 8, 10, 13, 14), steps=9)
    return digits, media.grid(changed, columns=9, scale=3).save(folder / "traversal.png")


def show(
    before: aigc_sdk.Text,
    after: aigc_sdk.Text,
    bits_before: aigc_sdk.Score,
    bits_after: aigc_sdk.Score,
    curve: list[float],
    replayed: aigc_sdk.Replay,
) -> str:
    """The page."""
    recipe = html.escape(json.dumps(dict(after.origin), indent=2))
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>aigc_sdk quickstart</title>
<style>{STYLE}</style>
<h1>aigc_sdk quickstart</h1>
<h2>Before fine-tuning</h2>
<pre><b>{html.escape(PROMPT)}</b>{html.escape(before.text.rstrip())}</pre>
<p><code>before.txt</code>, made again from its own file: <b>{html.escape(str(replayed))}</b>.</p>
<h2>{len(curve)} steps of fine-tuning on Python's manual</h2>
{plot(curve)}
<table><tr><th>bits per byte on held-out text</th><th>before</th><th>after</th></tr>
<tr><td>a tenth of the manual</td><td>{bits_before.value:.3f}</td><td>{bits_after.value:.3f}</td></tr></table>
<p><small>{html.escape(bits_after.protocol)}</small></p>
<h2>After fine-tuning, same prompt, same seed</h2>
<pre><b>{html.escape(PROMPT)}</b>{html.escape(after.text.rstrip())}</pre>
<details><summary>How this text was made: <code>after.txt</code> carries it, <code>aigc replay</code> repeats it</summary>
<pre>{recipe}</pre></details>
<h2>Digits from the GAN: asked for 0 to 9, ten of each</h2>
<img src="digits.png" alt="ten rows of handwritten digits, a column for each">
<h2>A three from the VAE: along each row one number of its latent goes from -3 to 3</h2>
<img src="traversal.png" alt="six rows of threes that change from left to right">
<h2>Spoken by the default voice</h2>
<p>{html.escape(SPOKEN)}</p><audio controls src="speech.wav"></audio>
<h2>{html.escape(FILMED)}</h2>
<img src="film.gif" width="256" style="image-rendering:pixelated" alt="two handwritten digits that move"></html>
"""


STYLE = """
body{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#223}
pre,svg{background:#f6f5f1;border-radius:.5rem}pre{padding:1rem;white-space:pre-wrap}
th,td{padding:.2rem 2rem .2rem 0;text-align:left}small,summary,text{color:#667;fill:#667}
"""


def plot(curve: list[float]) -> str:
    """The loss at every step, as a picture in the page."""
    width, height, top = 640, 160, max(curve)
    across, down = width / max(1, len(curve) - 1), height / top
    points = " ".join(f"{index * across:.1f},{height - loss * down:.1f}" for index, loss in enumerate(curve))
    return f"""<svg viewBox="-40 -12 {width + 52} {height + 40}" width="100%" font-size="12">
<polyline points="{points}" fill="none" stroke="#36c" stroke-width="1.5"/>
<path d="M0 0V{height}H{width}" fill="none" stroke="#99a"/>
<text x="-6" y="8" text-anchor="end">{top:.1f}</text><text x="-6" y="{height}" text-anchor="end">0</text>
<text x="0" y="{height + 18}">loss in nats per token</text>
<text x="{width}" y="{height + 18}" text-anchor="end">step {len(curve)}</text></svg>"""


def say(line: str) -> None:
    """A heading on the terminal."""
    print(f"\n\033[1m{line}\033[0m" if sys.stdout.isatty() else f"\n{line}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/quickstart"))
