"""Every file carries its own recipe: read it, make the file again and compare every byte; and see what is no longer so.

python examples/14_replay.py
"""

from dataclasses import replace
from pathlib import Path

import aigc_sdk

folder = Path("runs/replay")
folder.mkdir(parents=True, exist_ok=True)

files = [
    aigc_sdk.load("gpt2").generate("The voice of", seed=5, max_new_tokens=30)[0].save(folder / "voice.txt"),
    aigc_sdk.load("vae").generate(label=5, seed=5)[0].save(folder / "five.png"),
    aigc_sdk.load("tts").generate("Say it again.", seed=5, speed=1.2)[0].save(folder / "again.flac"),
    aigc_sdk.load("video").generate("a 5 moving up", seed=5)[0].save(folder / "five.mp4"),
]
for place in files:
    print(f"{place}: {aigc_sdk.replay(place)}")

print("\nWhat voice.txt says of itself")
for name, value in aigc_sdk.read(files[0]).origin.items():
    print(f"  {name}: {value if name != 'options' else '...'}")

text = aigc_sdk.read(files[0])
text.save(folder / "private.txt", origin=False)  # such as for a prompt that nobody should see
try:
    aigc_sdk.replay(folder / "private.txt")
except aigc_sdk.errors.MediaError as error:
    print(f"\n{error}")

changed = replace(text, text=f"{text} Amen.")  # a text that this model did not write
print(f"\nA file that somebody has changed: {aigc_sdk.replay(changed.save(folder / 'changed.txt'))}")
