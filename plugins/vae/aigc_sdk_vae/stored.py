"""A model's folder: what its config.json says, and modules of somebody's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aigc_sdk import folder
from aigc_sdk.errors import CorruptFolder, MismatchedFolder
from aigc_sdk.labels import read_sizes

from .network import Sizes

if TYPE_CHECKING:
    from torch import nn

COMPONENTS_LIMIT = 1000  # of the fitted sampler


def described(opened: folder.Folder) -> tuple[Sizes, tuple[str, ...], int]:
    """Sizes, labels, and how many components the fitted sampler has: what config.json says."""
    sizes, labels = read_sizes(opened, Sizes, "vae", "no network of a VAE")
    components = opened.config().get("components", 0)
    if not isinstance(components, int) or not 0 <= components <= COMPONENTS_LIMIT:
        raise CorruptFolder(f"{opened.path}: config.json describes no network of a VAE")
    return sizes, labels, components


def check_own(opened: folder.Folder, encoder: nn.Module | None, decoder: nn.Module | None) -> None:
    """A folder of modules of somebody's own needs them, and another takes none."""
    own, given = opened.config().get("own") is True, encoder is not None or decoder is not None
    if own and not given:
        raise MismatchedFolder(
            f"{opened.path} has weights of modules that are not this package's; pass them: "
            "aigc_sdk_vae.model.VAE.open(folder, encoder=..., decoder=...)"
        )
    if given and not own:
        raise MismatchedFolder(f"{opened.path} is of this package's own modules; leave encoder and decoder out")
