"""Pictures and films, with what they are compared with, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import aigc_sdk
from aigc_sdk.artifacts import Artifact, Image, Text, Video
from aigc_sdk.errors import DataError, printable, shown

from .accumulate import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


class VisualBatch(Batch):
    """Samples of one kind. References are of the same kind, or what a metric reads as labels or captions."""

    kind: ClassVar[type[Artifact]]
    suffixes: ClassVar[tuple[str, ...]]
    """Of the files that hold such samples."""

    def __init__(self, samples: Sequence[Any], references: Sequence[Any] | None = None) -> None:
        word = self.kind.__name__
        for index, each in enumerate(samples):
            if not isinstance(each, self.kind):
                message = f"samples[{index}] is a {type(each).__name__}; these metrics judge {word}"
                raise DataError(message, field="samples")
            if not self.content(each).size:
                raise DataError(f"samples[{index}] has no pixels; leave it out", field="samples")
        for index, each in enumerate(references or ()):
            if isinstance(each, Artifact) and not isinstance(each, self.kind | Text):
                message = f"references[{index}] is a {type(each).__name__}; pass {word}, or a label or caption"
                raise DataError(message, field="references")
            if isinstance(each, self.kind) and not self.content(each).size:
                raise DataError(f"references[{index}] has no pixels; leave it out", field="references")
        super().__init__(samples, references)

    @classmethod
    def content(cls, artifact: Any) -> Pixels:
        """The pixels, h x w x 3, or the frames, t x h x w x 3."""
        return artifact.pixels if isinstance(artifact, Image) else artifact.frames

    @classmethod
    def files(cls, folder: Path) -> Iterator[Pixels]:
        """The contents of all files in a folder and its sub-folders, in the order of their paths."""
        paths = sorted(each for each in folder.rglob("*") if each.suffix[1:].lower() in cls.suffixes)
        if not paths:
            message = f"{printable(str(folder))} holds no files with a suffix of {', '.join(cls.suffixes)}"
            raise DataError(message, field="real")
        for path in paths:
            found = aigc_sdk.read(path)
            if isinstance(found, cls.kind):
                yield cls.content(found)

    @property
    def contents(self) -> list[Pixels]:
        """Of the samples."""
        return [self.content(each) for each in self.samples]

    def reference_contents(self, who: str) -> list[Pixels]:
        """Of the references. Raises DataError where they are something else; `who` needs them."""
        for index, each in enumerate(self.references or ()):
            if not isinstance(each, self.kind):
                message = f"references[{index}] is {shown(each, 40)}; {who} compares with {self.kind.__name__}"
                raise DataError(message, field="references")
        return [self.content(each) for each in self.references or ()]

    def pairs(self, who: str) -> list[tuple[Pixels, Pixels]]:
        """Each sample with its reference, of one shape."""
        found = list(zip(self.contents, self.reference_contents(who), strict=True))
        for index, (mine, its) in enumerate(found):
            if mine.shape != its.shape:
                message = (
                    f"samples[{index}] is {_size(mine)} and references[{index}] is {_size(its)}; {who} compares equal sizes, so "
                    "resize or cut one of them"
                )
                raise DataError(message, field="references")
        return found

    def words(self, who: str, key: str, *, kind: str) -> list[str]:
        """The label or caption of each sample: the references, or what the samples say of themselves under `key`."""
        given: Sequence[Any] = self.references or ()
        if not given or isinstance(given[0], self.kind):
            given = [each.info.get(key, each.origin.get(key)) for each in self.samples]
        for index, each in enumerate(given):
            if isinstance(each, bool) or not isinstance(each, str | int | Text) or not str(each).strip():
                message = f"{who} needs the {kind} of samples[{index}], got {shown(each, 40)}; pass references={kind}s"
                raise DataError(message, field="references")
        return [str(each) for each in given]

    def digests(self) -> NDArray[np.uint64]:
        """A number for each sample that its content alone decides: (n,)."""
        return self.once("digests", lambda: digests(self.contents))

    def reference_digests(self) -> NDArray[np.uint64]:
        """The same of the references."""
        return self.once("reference digests", lambda: digests(self.reference_contents("a set")))


class ImageBatch(VisualBatch):
    """Pictures."""

    kind = Image
    suffixes = ("png", "jpg", "jpeg", "webp")


class VideoBatch(VisualBatch):
    """Films."""

    kind = Video
    suffixes = ("mp4", "gif")

    def pairs(self, who: str) -> list[tuple[Pixels, Pixels]]:
        """Each film with its reference, of one shape and rate."""
        found = super().pairs(who)
        for index, (mine, its) in enumerate(zip(self.samples, self.references or (), strict=True)):
            if not np.isclose(mine.fps, its.fps):
                rates = f"samples[{index}] has {mine.fps:g} and references[{index}] {its.fps:g} frames per second"
                raise DataError(f"{rates}; {who} compares films of one rate", field="references")
        return found

    def least(self, frames: int, who: str) -> None:
        """Refuse films of fewer frames."""
        for index, each in enumerate(self.contents):
            if len(each) < frames:
                message = (
                    f"samples[{index}] has {len(each)} frame{'s' * (len(each) != 1)}; {who} needs {frames} or more"
                )
                raise DataError(message, field="samples")


def digests(contents: Sequence[Pixels]) -> NDArray[np.uint64]:
    """Eight bytes of BLAKE2 of each content."""
    made = [blake2b(np.ascontiguousarray(each).data, digest_size=8).digest() for each in contents]
    return np.frombuffer(b"".join(made), np.uint64)


def _size(content: Pixels) -> str:
    *frames, height, width, _ = content.shape
    return f"{width}x{height}" + "".join(f" with {count} frames" for count in frames)
