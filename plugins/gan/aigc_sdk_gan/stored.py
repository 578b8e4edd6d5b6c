"""A model's folder: what its config.json says, and the weights of its modules."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from aigc_sdk import folder
from aigc_sdk.errors import CorruptFolder, OptionError
from aigc_sdk.weights import read_weights

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


def fill(module: nn.Module, path: Path, device: str, dtype: torch.dtype) -> None:
    """Give a module the weights in a folder, which must be just its own; a module on "meta" gets memory by that."""
    expected = {name: tuple(each.shape) for name, each in module.state_dict().items()}
    module.load_state_dict(read_weights(path, expected), assign=True)
    module.to(device=device, dtype=dtype)


def write(module: nn.Module, path: Path) -> None:
    """Write a module's weights into a folder."""
    from safetensors.torch import save_file

    path.mkdir(exist_ok=True)
    tensors = {
        name: each.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, each in module.state_dict().items()
    }
    save_file(tensors, path / "model.safetensors")
