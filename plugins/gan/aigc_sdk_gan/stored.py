"""A model's folder: what its config.json says."""

from __future__ import annotations

from aigc_sdk import folder
from aigc_sdk.errors import CorruptFolder, OptionError

from .network import Sizes


def described(opened: folder.Folder) -> tuple[Sizes | None, int | None, tuple[str, ...]]:
    """Sizes, or the latent of networks of somebody's own, and labels: what config.json says."""
    config = opened.config()
    labels, sizes, own = config.get("labels", []), config.get("sizes"), config.get("own")
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise CorruptFolder(f"{opened.path}: config.json has no list of labels")
    if isinstance(own, dict) and isinstance(own.get("latent"), int):
        return None, own["latent"], tuple(labels)
    if not isinstance(sizes, dict):
        raise CorruptFolder(f"{opened.path}: config.json describes no networks of a GAN")
    try:
        parsed = Sizes.parse("gan", sizes)
    except OptionError as error:
        raise CorruptFolder(f"{opened.path}: config.json describes no networks of a GAN: {error}") from error
    if len(labels) != parsed.classes:
        raise CorruptFolder(f"{opened.path}: config.json names {len(labels)} labels for {parsed.classes} classes")
    return parsed, None, tuple(labels)
