"""Hyper-parameter search: Optuna over a trainer's options, whose bounds say what to try; what falls behind is given up early.

    pip install "aigc-sdk[search]"
    python examples/20_search.py

The study lies in runs/search/study.db. Stop the script whenever you like; the same line goes on.
"""

import aigc_sdk
from aigc_sdk.training.corpus import sample_text
from aigc_sdk.training.search import search, space

text = sample_text()[:60_000]


def small() -> aigc_sdk.Trainer:
    """A new trainer for each trial."""
    return aigc_sdk.trainer("gpt2", vocab_size=300, context=32, width=48, layers=1, heads=2)


vary = space(small().Options, "learning_rate", "schedule", "weight_decay", warmup_steps=(1, 20), batch_size=[8, 16])
for name, values in vary.items():
    print(f"{name}: {values}")

study = search(
    small,
    [text[:50_000]],
    vary=vary,
    max_steps=48,
    trials=12,
    folder="runs/search",
    validation=[text[50_000:]],
    evaluate_every=12,
    on_trial=lambda trial: print(
        f"{trial.number:3} {trial.value:.3f} {'#' * round(12 * (6 - trial.value)):20} "
        f"rate {trial.params['learning_rate']:.5f}  {trial.user_attrs.get('reason', '')}"
    ),
)
print(f"\nbest: {study.best_value:.3f} nats per token with {study.best_params}")

model = aigc_sdk.load(study.best_trial.user_attrs["folder"])
[made] = model.generate("And ", seed=1, max_new_tokens=28)
print(f"And {made}")
