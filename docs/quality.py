"""The figures of docs/quality.md, measured anew: `make reference` runs this for about ten minutes on two cores.

Every model here is trained from scratch, with three seeds. The tasks that have an exact answer are those of the plugins'
tests, which run shorter versions of them.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import aigc_sdk
from aigc_sdk import Step
from aigc_sdk.training.images import to_tensor
from aigc_sdk_vae.measure import measure

ROOT = Path(__file__).parents[1]
SEEDS = range(3)
PICTURES = 100  # of every digit

PAGE = """# Quality

What the backends reach, measured by `make reference`, which writes this page. Three seeds each, trained on the CPU.

## Handwritten digits

The 1,797 digits of scikit-learn at 16 x 16 pixels, 1,200 of them to train on. One judge for all, `aigc_sdk.evaluator("gan")`: a
classifier of the same training pictures, which takes {accuracy:.1%} of the 597 held-out ones for what they are. 100 pictures of
each digit. The Fréchet distance is in the judge's 64 features, from the held-out pictures; **the training pictures
themselves have {floor:.2f}**. Variety is the distance of two pictures of a digit, as part of real ones'.

| model | trained for | accuracy | Fréchet distance | variety |
|---|---|---|---|---|
{digits}

Wanted: after at most two minutes, an accuracy of 0.99 and a distance of at most 2.8 (GAN) and 6 (VAE); of the default models at
most 2.2 and 4.5; variety at least 0.85. `python -m aigc_sdk_gan.recipe --to FOLDER --max-steps 1200 --seed N` makes a row.

## Eight Gaussians on a ring

Does a GAN find every mode? 3,000 updates each; a mode is found when it has a fifth of its share, and a point is good within
three standard deviations of a centre (`plugins/gan/tests/test_ring.py`). Wanted: 8 modes, 0.9 good.

| loss | modes, three seeds | good points, three seeds |
|---|---|---|
{ring}

## A linear VAE is probabilistic PCA

Its highest likelihood is known in closed form (`plugins/vae/tests/test_linear.py`). Nats per picture; wanted within 0.5 %.

| | log likelihood | off by |
|---|---|---|
{linear}
"""


def digits() -> Iterator[str]:
    """A row per model."""
    for name in ("gan", "vae"):
        recipe = import_module(f"aigc_sdk_{name}.recipe")
        yield row(f"{name}, the default model", f"{recipe.MAX_STEPS:,} updates", aigc_sdk.load(name, device="cpu"))
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                model = recipe.train(Path(folder) / "run", max_steps=1200, seed=seed, on_step=quiet)
                seconds = time.perf_counter() - started
            yield row(f"{name}, seed {seed}", f"1,200 updates, {seconds:.0f} s", model)


def row(name: str, trained: str, model: Any) -> str:
    """What the judge says of one model."""
    made = [image for label in range(10) for image in model.generate(n=PICTURES, label=label, seed=1000 * label)]
    report = judge().evaluate(made)
    distance = report["frechet_distance[judge]"].value
    return f"| {name} | {trained} | {report['accuracy'].value:.3f} | {distance:.2f} | {report['variety'].value:.2f} |"


def ring() -> Iterator[str]:
    """A row per loss."""
    task = runpy.run_path(str(ROOT / "plugins/gan/tests/test_ring.py"))
    for loss in task["RECIPES"]:
        found = [task["found"](task["train"](loss, seed, 3000)) for seed in SEEDS]
        modes, good = (", ".join(f"{each[index]:.3g}" for each in found) for index in (0, 1))
        yield f"| {loss.replace('_', ' ')} | {modes} | {good} |"


def linear() -> Iterator[str]:
    """The exact value, and what three trained models reach."""
    task = runpy.run_path(str(ROOT / "plugins/vae/tests/test_linear.py"))
    data = task["rows"]()
    best = task["most_probable"](data)
    yield f"| the exact maximum | {best:.4f} | |"
    for name, options in (("evidence bound", {}), ("IWAE, 4 draws", {"objective": "iwae", "draws": 4})):
        for seed in SEEDS:
            model = task["trained"](data, 1500, seed=seed, **options)
            value = task["exact"](model, data)
            yield f"| {name}, seed {seed}: exact likelihood of the model | {value:.4f} | {abs(value / best - 1):.3%} |"
            if not options:
                found = measure(model.network, to_tensor(data), None, draws=1000, seed=0)
                bound, sampled = float(found.elbo.mean()), float(found.log_likelihood.mean())
                yield f"| the same by 1,000 importance samples | {sampled:.4f} | {abs(sampled / best - 1):.3%} |"
                yield f"| its evidence bound | {bound:.4f} | {abs(bound / best - 1):.3%} |"


def judge() -> Any:
    return aigc_sdk.evaluator("gan", device="cpu")


def quiet(step: Step) -> None:
    """Keep the recipes' own lines off the page."""


def shown(name: str, rows: Callable[[], Iterator[str]]) -> str:
    """The rows, printed as they come."""
    print(f"== {name}", file=sys.stderr)
    made = []
    for each in rows():
        print(each, file=sys.stderr, flush=True)
        made.append(each)
    return "\n".join(made)


def main() -> None:
    facts = judge().facts
    tables = {"digits": shown("digits", digits), "ring": shown("ring", ring), "linear": shown("linear", linear)}
    page = PAGE.format(accuracy=facts["accuracy"], floor=facts["floor"], **tables)
    (ROOT / "docs" / "quality.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
