"""An adapter for each user: three people, one model in memory, and one batch in which everybody gets their own voice.

python examples/10_personalise.py
"""

import aigc_sdk
from aigc_sdk.adapters import LoRA

WROTE = {
    "captain": "the ship sailed at dawn and the harbour fell silent. the wind held and the crew was glad. ",
    "cook": "the soup simmered at noon and the kitchen was warm. the bread rose and the table was laid. ",
    "pilot": "the plane climbed at dusk and the city grew small. the clouds parted and the engines sang. ",
}

for user, text in WROTE.items():
    trainer = aigc_sdk.trainer("gpt2", "default", adapter=LoRA(rank=4))
    trainer.fit([text * 6], max_steps=30, batch_size=4, block=32, learning_rate=1e-2, warmup_steps=5)
    trainer.model.save(f"runs/users/{user}")  # the adapter alone
    print(f"{user} has an adapter")

model = aigc_sdk.load("gpt2")
for user in WROTE:
    model.add_adapter(f"runs/users/{user}", user)

asked = [None, *WROTE]  # None: the model as it is
prompts = ["the morning was"] * len(asked)
made = model.generate(prompts, seed=2, max_new_tokens=24, temperature=0.5, adapter=asked)
for user, text in zip(asked, made, strict=True):
    print(f"{user or 'nobody':8} the morning was{' '.join(str(text).splitlines())}")

[alone] = model.generate("the morning was", seed=3, max_new_tokens=24, temperature=0.5, adapter="captain")
print(f"the captain's text, made alone: {'the same' if alone == made[1] else 'another'}")
