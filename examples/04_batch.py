"""A batch: several prompts, several samples of each, in one call; every item is the same alone and in any company.

python examples/04_batch.py
"""

import time

import aigc_sdk

model = aigc_sdk.load("gpt2")
prompts = ["In the beginning", "And the king said", "Blessed are they that", "The voice of one crying"]
made = model.generate(prompts, n=2, seed=3, max_new_tokens=16)  # flat and prompt-major
for index, text in enumerate(made):
    print(f"{index}: {prompts[index // 2]}{' '.join(str(text).splitlines())}")

[alone] = model.generate(prompts[2], seed=3 + 5, max_new_tokens=16)  # item 5 draws from the stream of seed + 5
print(f"Item 5, made alone: {'the same' if alone == made[5] else 'another'}")


def seconds(many: list[list[str]]) -> float:
    """How long it takes to write on, batch by batch."""
    started = time.perf_counter()
    for batch in many:
        model.generate(batch, seed=0, max_new_tokens=40)
    return time.perf_counter() - started


single, together = seconds([[each] for each in prompts * 8]), seconds([prompts * 8])
print(f"32 texts one by one {single:.1f} s, in one batch {together:.1f} s: {single / together:.1f} times as fast")
