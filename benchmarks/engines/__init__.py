"""The peers that benchmarks/generate_text.py measures: one weights folder in, a contestant out.

Every peer is a class with `generate(prompts, wants)`: lists of token numbers, and how many tokens are wanted after each, in; the
tokens that it made out, greedily and without an end of text. Loading is not measured.
"""
