"""What is installed: the backends, what each of them does, and the options of one.

    python examples/01_list.py

Listing imports no backend. Options are pydantic models: the checks of a call, the flags of `aigc` and this list are made of them.
"""

import aigc_sdk
from aigc_sdk.registry import backend, resolve

print(f"{'backend':20}{'makes':8}{'generate':10}{'train':10}{'evaluate':10}distribution")
for listing in aigc_sdk.backends():
    about = backend(listing.name)  # the manifest alone, which is importable without torch
    roles = ["yes" if each else "-" for each in (about.generator, about.trainer, about.evaluator)]
    print(f"{listing.name:20}{about.artifact:8}{roles[0]:10}{roles[1]:10}{roles[2]:10}{listing.distribution}")

print("\nWhat aigc_sdk.load('vae').generate takes beside n and seed:")
for name, field in resolve("vae", "generator").Options.model_fields.items():
    print(f"  {name} = {field.default!r}: {field.description}")

try:
    aigc_sdk.load("gtp2")
except aigc_sdk.errors.UnknownBackend as error:
    print(f"\nA name that is not there: {error}")
