"""Pictures and captions as vectors that can be compared, by a CLIP model (Radford et al. 2021) from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aigc_sdk import runtime
from aigc_sdk.errors import DataError, printable

from .opening import open_transformers
from .prepare import FILE, Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 32  # pictures or captions at a time
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of the paper's training


class CLIP:
    """A CLIP model with its tokenizer.

    A caption that is longer than the model reads is refused. `described` names the model in protocols, `name` in the
    names of scores. prepare: None is the paper's, the middle square of the picture at the model's size, bicubic.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        *,
        source: str = "",
        prepare: Preparation | None = None,
    ) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.longest = int(network.config.text_config.max_position_embeddings)
        self.prepare = prepare or _prepare(int(network.config.vision_config.image_size))
        self.name = Path(source.split("@")[0]).name or "clip"
        fingerprint = runtime.fingerprint(network)[:12]
        self.described = f"CLIP {self.name} ({fingerprint}), {self.prepare}"

    @classmethod
    def open(cls, source: str | Path, *, device: str = "auto") -> Self:
        """The CLIP in a folder of transformers, or on the hub, such as openai/clip-vit-base-patch32. Raises FolderError."""
        opened, network = open_transformers(
            source, device, "AutoModel", backend="crossmodal-metrics", who="CLIP needs", kind="CLIP"
        )
        from aigc_sdk.weights import load_tokenizer

        prepare = Preparation.read(opened, None) if opened.has(FILE) else None
        return cls(network, load_tokenizer(opened), source=opened.source, prepare=prepare)

    def pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Unit vectors (n, d) of pictures (height, width, 3)."""
        import torch

        found = []
        for start in range(0, len(pictures), BATCH):
            with torch.inference_mode():
                pixels = torch.from_numpy(self.prepare(pictures[start : start + BATCH])).to(self._like())
                found.append(self.network.get_image_features(pixels).pooler_output.double().cpu().numpy())
        return _units(np.concatenate(found), "the pictures")

    def captions(self, captions: Sequence[str], name: str = "references") -> NDArray[np.float64]:
        """Unit vectors (n, d) of captions. Raises DataError for one that the model cannot read whole."""
        import torch

        found = []
        for caption in captions:  # one at a time: other captions' lengths change nothing
            tokens = self.tokenizer(caption)["input_ids"]
            if not 1 <= len(tokens) <= self.longest:
                what = f"{name}: {printable(caption, 40)!r} has {len(tokens)} tokens"
                raise DataError(f"{what}, and {self.name} reads 1 to {self.longest}; shorten it", field=name)
            with torch.inference_mode():
                inputs = torch.tensor([tokens], device=self._like().device)  # (1, tokens)
                features = self.network.get_text_features(inputs, attention_mask=torch.ones_like(inputs)).pooler_output
                found.append(features.double().cpu().numpy())
        return _units(np.concatenate(found), "the captions")

    def _like(self) -> Any:
        return next(self.network.parameters())


def _prepare(size: int) -> Preparation:
    return Preparation(size, crop=(size, size), mean=MEAN, std=DEVIATION)


def _units(vectors: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise DataError(f"CLIP makes no vector of {what}: a value is NaN, infinite, or all are 0", field="samples")
    return np.asarray(vectors / lengths)
