"""Why did the model say that? What each token adds to a judge's decision, and to a writer's next word.

    python examples/11_explain.py

Integrated gradients add up to what is explained; the error that is left is printed with it.
"""

from pathlib import Path

import aigc_sdk
from aigc_sdk_bert.explain import explain as why
from aigc_sdk_gpt2.explain import explain as why_next

judge = aigc_sdk.evaluator("bert")  # tells on which shelf of the Bible a passage stands
passage = "Praise ye the LORD with the sound of the harp: make a joyful noise"
probabilities = judge.predict([passage])[0]
label = judge.labels[int(probabilities.argmax())]
print(f"{passage!r}: {label}, {probabilities.max():.0%}")
found = why(judge, passage, label)
print(found)

page = Path("runs/explain.html")
page.parent.mkdir(exist_ok=True)
page.write_text(found.to_html(), encoding="utf-8")
print(f"The same in colours: {page}\n")

model = aigc_sdk.load("gpt2")
print(why_next(model, "And God said, Let there be", " light"))
