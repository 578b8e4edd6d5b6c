"""Which of two models is better, and is the difference more than chance? The same texts, judged in pairs.

    python examples/08_compare.py

The default model knows one book, of 1611. Some seconds on Python's own manual should make it better at that manual.
"""

from pydoc_data.topics import topics

import aigc_sdk
from aigc_sdk.comparison import compare

pages = [topics[name] for name in sorted(topics)]
training, held_out = [text[:1500] for index, text in enumerate(pages) if index % 4], [text[:300] for text in pages[::4]]

trainer = aigc_sdk.trainer("gpt2", "default")
for step in trainer.steps(training, max_steps=60, batch_size=8, block=128, learning_rate=2e-3, warmup_steps=10):
    if step.index % 20 == 0:
        print(f"step {step.index}: loss {step.metrics['loss']:.2f}")
trainer.model.save("runs/compare/after")

judge = aigc_sdk.evaluator("text-metrics")
reports = {}
for name, model in {"before": "gpt2", "after": "runs/compare/after"}.items():
    reports[name] = judge.evaluate(held_out, metrics=("perplexity",), scorer=model)
    score = reports[name]["bits_per_byte"]
    low, high = score.interval
    print(f"{name}: {score.value:.3f} [{low:.3f}, {high:.3f}] bits per byte of {score.n} pages that it has not seen")

found = compare(reports["before"], reports["after"], other_protocol=True)["bits_per_byte"]  # it names the model: two
low, high = found.interval
print(f"difference: {found.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {found.p_value:.4f}; better: {found.better}")

itself = compare(reports["before"], reports["before"])["bits_per_byte"]
print(f"a model and itself: {itself.difference:+.3f}, p = {itself.p_value:.4f}; better: {itself.better or 'neither'}\n")

for name, model in {"before": aigc_sdk.load("gpt2"), "after": trainer.model}.items():
    [text] = model.generate("The import statement", seed=3, max_new_tokens=40)
    print(f"{name}: The import statement{' '.join(str(text).split(chr(10)))}")
