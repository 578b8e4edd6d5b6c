"""One call for four media: a text, a picture, speech and a film, each saved with its own recipe inside.

    python examples/02_generate.py

The default models come with the packages; nothing is downloaded. Look at what they made in runs/generate.
"""

from pathlib import Path

import aigc_sdk

folder = Path("runs/generate")
folder.mkdir(parents=True, exist_ok=True)

[text] = aigc_sdk.load("gpt2").generate("And the king said", seed=7, max_new_tokens=40)
[picture] = aigc_sdk.load("gan").generate(label=3, seed=7)
[speech] = aigc_sdk.load("tts").generate("Four media, and one call for all of them.", seed=7)
[film] = aigc_sdk.load("video").generate("a 3 moving left", seed=7)

print(f"And the king said{text}\n")
for artifact, name in ((text, "king.txt"), (picture, "three.png"), (speech, "call.wav"), (film, "three.mp4")):
    place = artifact.save(folder / name)
    origin = aigc_sdk.read(place).origin  # out of the file itself
    weights = origin["model"]["fingerprint"][:8]
    print(f"{place}: {place.stat().st_size:,} bytes, by {origin['backend']} {weights} with seed {origin['seed']}")
