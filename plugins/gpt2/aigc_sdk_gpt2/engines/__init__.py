"""Batches of growing sequences in, logits out: one engine for each way of computing them."""
