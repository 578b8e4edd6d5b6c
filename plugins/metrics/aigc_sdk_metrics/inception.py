"""The Inception network of the Inception Score and of FID, from a file of its weights.

It is the one of `inception-2015-12-05.tgz` (Szegedy et al. 2015), which the papers of FID (Heusel et al. 2017) and KID used,
ported to torch. To have it, download URL once (95,628,359 bytes) and give its path as the feature network. It is opened
only when its sha256 is SHA256: so its scores can bear the names "fid" and "inception_score" without a doubt. The layers bear
the names of that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_sdk import runtime, storage
from aigc_sdk.errors import CorruptFolder, printable

from .features import Backbone, Looked
from .networks import legacy_bilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIDE, CLASSES, FEATURES = 299, 1008, 2048
TITLES = {
    "frechet_distance": "fid",
    "frechet_infinity": "fid_infinity",
    "inception_score": "inception_score",
    "kernel_distance": "kid",
}
"""The names by which the papers call these scores, with this network."""

Sizes = int | tuple[int, int]


class Convolution(nn.Module):
    """A convolution without bias, batch norm and ReLU."""

    def __init__(self, before: int, after: int, size: Sizes, stride: int = 1, padding: Sizes = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Branches side by side, joined by channels."""

    def row(self, name: str, before: int, *layers: tuple[int, Sizes]) -> int:
        """Add convolutions one after the other, of stride 1 and the same size out as in; returns their last channels."""
        for index, (after, size) in enumerate(layers, 1):
            sides = (size, size) if isinstance(size, int) else size
            padding = (sides[0] // 2, sides[1] // 2)
            self.add_module(
                f"{name}_{index}" if len(layers) > 1 else name, Convolution(before, after, size, 1, padding)
            )
            before = after
        return before

    def through(self, x: Tensor, name: str) -> Tensor:
        """What the convolutions of a row make."""
        for each, layer in self.named_children():
            if each == name or each.rpartition("_")[0] == name:
                x = layer(x)
        return x


class BlockA(Block):
    """At 35 x 35: 1x1, 5x5, two 3x3, and pooling."""

    def __init__(self, before: int, pooled: int) -> None:
        super().__init__()
        self.row("branch1x1", before, (64, 1))
        self.row("branch5x5", before, (48, 1), (64, 5))
        self.row("branch3x3dbl", before, (64, 1), (96, 3), (96, 3))
        self.row("branch_pool", before, (pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.through(x, name) for name in ("branch1x1", "branch5x5", "branch3x3dbl")]
        return torch.cat([*rows, self.through(_averaged(x), "branch_pool")], 1)


class BlockB(Block):
    """From 35 x 35 to 17 x 17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = Convolution(288, 384, 3, stride=2)
        self.row("branch3x3dbl", 288, (64, 1), (96, 3))
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.branch3x3(x), self.through(x, "branch3x3dbl")]
        return torch.cat([*rows, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(Block):
    """At 17 x 17: 1x1, 7x7 in two parts, twice that, and pooling."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        wide, high = (1, 7), (7, 1)
        self.row("branch1x1", 768, (192, 1))
        self.row("branch7x7", 768, (inner, 1), (inner, wide), (192, high))
        self.row("branch7x7dbl", 768, (inner, 1), (inner, high), (inner, wide), (inner, high), (192, wide))
        self.row("branch_pool", 768, (192, 1))

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.through(x, name) for name in ("branch1x1", "branch7x7", "branch7x7dbl")]
        return torch.cat([*rows, self.through(_averaged(x), "branch_pool")], 1)


class BlockD(Block):
    """From 17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(768, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.row("branch7x7x3", 768, (192, 1), (192, (1, 7)), (192, (7, 1)))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.through(x, "branch3x3"), self.through(x, "branch7x7x3")]
        return torch.cat([*rows, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(Block):
    """At 8 x 8: 1x1, 3x3 in two halves, twice that, and pooling, which in the last block takes the largest."""

    def __init__(self, before: int, *, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.row("branch1x1", before, (320, 1))
        self.branch3x3_1 = Convolution(before, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(before, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.row("branch_pool", before, (192, 1))

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.largest else _averaged(x)
        return torch.cat(
            [
                self.through(x, "branch1x1"),
                self.branch3x3_2a(once),
                self.branch3x3_2b(once),
                self.branch3x3dbl_3a(twice),
                self.branch3x3dbl_3b(twice),
                self.through(pooled, "branch_pool"),
            ],
            1,
        )


class Inception(nn.Module):
    """From pictures (n, 3, 299, 299), values from -1 to 1, to features (n, 2048) and logits (n, 1008)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (BlockC(each) for each in (128, 160, 160, 192))
        self.Mixed_7a = BlockD()
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, largest=False), BlockE(2048, largest=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for name, layer in self.named_children():
            if name == "fc":
                break
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, stride=2)
        features = x.mean((2, 3))  # (n, 2048)
        return features, features @ self.fc.weight.T  # the papers' logits are without the bias


def _averaged(x: Tensor) -> Tensor:
    """The mean of 3 x 3, at the borders of fewer, as TensorFlow has it."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Look:
    """The papers' way of looking: TensorFlow 1's bilinear resize to 299 x 299, then (value - 128) / 128."""

    def __init__(self, network: Inception) -> None:
        self.network = network.eval()

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Looked:
        planes = np.stack([legacy_bilinear(each, SIDE) for each in pictures])  # (n, 299, 299, 3)
        scaled = torch.from_numpy((planes - np.float32(128)) / np.float32(128)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            features, logits = self.network(scaled.to(next(self.network.parameters()).device))
        return Looked(features.cpu().numpy(), logits.double().softmax(1).cpu().numpy())


def open_inception(path: str | Path, *, device: str = "auto", sha256: str = SHA256) -> Backbone:
    """The network of FID and IS, from the file that this module's text names. Raises CorruptFolder for any other file."""
    place = runtime.device(device)
    found = storage.sha256(Path(path))
    if found != sha256:
        raise CorruptFolder(
            f"{printable(str(path))} has the sha256 {found[:16]}..., not that of FID's Inception network, {sha256[:16]}...; "
            f"download {URL}"
        )
    # A pickle, but one whose every byte is known; torch reads nothing but tensors of it.
    weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    network = Inception()
    missing, unexpected = network.load_state_dict(weights, strict=False)
    wrong = [name for name in [*missing, *unexpected] if not name.endswith("num_batches_tracked")]
    if wrong:
        raise CorruptFolder(f"{printable(str(path))}: {wrong[0]} does not belong to this network, or is missing")
    about = (
        f"Inception 2015-12-05, sha256 {found[:12]}, TensorFlow 1's bilinear resize to {SIDE}x{SIDE}, values -1 to 1, 2,048 "
        "pooled features; classes: 1,008 logits without bias"
    )
    return Backbone(Look(network.to(place)), "inception-2015-12-05", about, titles=dict(TITLES))
