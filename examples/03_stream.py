"""Streaming: a text token by token, speech clause by clause, a film window by window; and stopping in the middle.

    python examples/03_stream.py

Joined, the chunks are exactly what `generate` returns.
"""

import time

import aigc_sdk

writer = aigc_sdk.load("gpt2")
print("In the beginning", end="")
for piece in writer.stream("In the beginning", seed=7, max_new_tokens=60):
    print(piece, end="", flush=True)

voice, chunks = aigc_sdk.load("tts"), []
said = "The first sound is there at once. The rest follows, clause by clause, while you listen."
print(f"\n\n{said}")
started = time.monotonic()
for chunk in voice.stream(said, seed=7):
    chunks.append(chunk)
    print(f"  after {time.monotonic() - started:.2f} s there are {aigc_sdk.Audio.join(chunks).duration:.2f} s to hear")

print("\nA film of 40 frames")
for window in aigc_sdk.load("video").stream("a 7 moving right", seed=7, num_frames=40):
    print(f"  {len(window.frames)} more frames")

stream = writer.stream("And it came to pass", seed=7, max_new_tokens=200)
print(f"\nOnly the first piece of a long text: {next(stream).text!r}")
stream.close()  # stops the work, and frees what it held
