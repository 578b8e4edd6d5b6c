"""Fine-tuning with an adapter: LoRA learns beside a model that stays as it is, and the file is a small part of its size.

python examples/09_adapter.py
"""

import shutil
from pathlib import Path
from pydoc_data.topics import topics

import aigc_sdk
from aigc_sdk.adapters import LoRA

pages = [topics[name][:1500] for name in sorted(topics)]
training, held_out = [text for index, text in enumerate(pages) if index % 4], pages[::4][:12]
shutil.rmtree("runs/adapter", ignore_errors=True)

trainer = aigc_sdk.trainer("gpt2", "default", adapter=LoRA(rank=8))
for step in trainer.steps(
    training, max_steps=60, batch_size=8, block=128, learning_rate=5e-3, warmup_steps=10, save_to="runs/adapter"
):
    if step.index % 20 == 0:
        print(f"step {step.index}: loss {step.metrics['loss']:.2f}")


def size(folder: str | Path) -> int:
    """Bytes of weights in a folder."""
    return sum(each.stat().st_size for each in Path(folder).rglob("*.safetensors"))


aigc_sdk.load("gpt2").save("runs/adapter-base")
print(f"the model: {size('runs/adapter-base'):,} bytes; the adapter: {size('runs/adapter/model'):,}")

for name, source in (("the model alone", None), ("with the adapter", "runs/adapter/model")):
    score = aigc_sdk.evaluator("gpt2", source).evaluate(held_out)["bits_per_byte"]
    print(f"{name}: {score.value:.3f} bits per byte on {score.n} pages of Python's manual that it has not seen")

[text] = aigc_sdk.load("runs/adapter/model").generate("The import statement", seed=3, max_new_tokens=40)  # opens both
print(f"The import statement{text}")
