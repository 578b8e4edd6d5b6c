"""A model's folder: what its config.json says."""

from __future__ import annotations

from aigc_sdk import folder
from aigc_sdk.labels import read_labels, read_sizes

from .network import Sizes


def described(opened: folder.Folder) -> tuple[Sizes | None, int | None, tuple[str, ...]]:
    """Sizes, or the latent of networks of somebody's own, and labels: what config.json says."""
    own = opened.config().get("own")
    if isinstance(own, dict) and isinstance(own.get("latent"), int):
        return None, own["latent"], read_labels(opened)
    sizes, labels = read_sizes(opened, Sizes, "gan", "no networks of a GAN")
    return sizes, None, labels
